//! Clients: registered, given another secret, disabled.
//!
//! The secret of a rotation is a MAC of what was asked and of when it was carried out, under a key
//! that only the pepper gives: asked again under the same request id, the answer is the same, and
//! nothing secret is stored. Without the moment, a request id that is used again after others would
//! bring a secret back that was ended.

use std::time::Duration;

use super::{Registry, RegistryError, RegistryProblem, check_name};
use crate::clock::Timestamp;
use crate::id::{AccountId, ClientId, RequestId};
use crate::oauth::redirect_fault;
use crate::observe::{Actor, AuditAction};
use crate::scope::ScopeSet;
use crate::secret::Secret;
use crate::store::{
    ClientAuthentication, ClientKind, ClientRecord, ClientRotation, ClientSecret, ClientSettings,
    Consent, CreateClient, Cursor, DisableClient, GrantType, Page, PkceRule, RotateClientSecret,
    StoreError,
};
use crate::token::MintedSecret;

/// A wish for a client. Its JSON is the body of `POST /v1/clients`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewClientRequest {
    /// What consent pages call it: 1 to 200 characters, no control characters.
    pub name: String,
    /// Whether it can keep a secret.
    pub kind: ClientKind,
    /// Its ways to an access token. None makes a confidential client a resource server, which
    /// introspects the tokens of all.
    pub grants: Vec<GrantType>,
    /// Its redirect URIs.
    #[serde(default)]
    pub redirects: Vec<String>,
    /// What it may ask for.
    #[serde(default = "ScopeSet::empty")]
    pub scopes: ScopeSet,
    /// How it shows who it is; `None` is in any way that its kind allows.
    #[serde(default)]
    pub authentication: Option<ClientAuthentication>,
    /// Whether it must use PKCE; a public client must in any case.
    #[serde(default)]
    pub pkce: Option<PkceRule>,
    /// When its users are asked; `None` is unless the same was granted before.
    #[serde(default)]
    pub consent: Option<Consent>,
    /// The account that it acts for by itself.
    #[serde(default)]
    pub account: Option<AccountId>,
}

/// A wish for another secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotateClientRequest {
    /// How long the old secret goes on working; zero ends every old one at once.
    pub overlap: Duration,
    /// Names the wish: asked again under the same name, the answer is the same.
    pub request: RequestId,
}

/// What became of it.
#[derive(Clone, Debug)]
pub struct RotatedClient {
    /// The client as it is now.
    pub record: ClientRecord,
    /// Its new secret.
    pub secret: Secret,
    /// When the old one stops working.
    pub previous_ends_at: Timestamp,
}

/// The longest time for which two secrets work.
const LONGEST_OVERLAP: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl Registry {
    /// Registers a client. The secret of a confidential one is in this answer and nowhere else.
    pub async fn create_client(
        &self,
        request: NewClientRequest,
        actor: Actor,
    ) -> Result<(ClientRecord, Option<Secret>), RegistryError> {
        let now = self.tools.now();
        let kind = request.kind;
        let minted = match kind {
            ClientKind::Confidential => Some(self.tools.format().mint_client_secret()),
            ClientKind::Public => None,
        };
        let first = |minted: &MintedSecret| ClientSecret {
            digest: self.tools.digest(&minted.secret),
            hint: minted.hint.clone(),
            created_at: now,
            ends_at: None,
        };
        let record = ClientRecord {
            id: ClientId::random(),
            kind,
            settings: self.settings(request)?,
            secrets: minted.iter().map(first).collect(),
            rotation: None,
            created_at: now,
            disabled_at: None,
        };
        match self.tools.store().create_client(record.clone()).await? {
            CreateClient::Created => {}
            // 95 random bits hardly repeat: the store is not sound.
            CreateClient::Exists => {
                let text = "a new random client exists already".into();
                return Err(StoreError::Corrupt(text).into());
            }
        }
        self.tell_client(AuditAction::ClientCreate, actor, &record)
            .await;
        Ok((record, minted.map(|minted| minted.secret)))
    }

    /// Clients in the order of their ids.
    pub async fn clients(
        &self,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<ClientRecord>, RegistryError> {
        Ok(self.tools.store().clients(after, limit).await?)
    }

    /// One client.
    pub async fn client(&self, id: &ClientId) -> Result<ClientRecord, RegistryError> {
        let client = self.tools.store().client(id).await?;
        client.ok_or_else(|| RegistryError::UnknownClient(id.clone()))
    }

    /// Gives a client another secret. It is in this answer, and in that to the same wish.
    pub async fn rotate_client_secret(
        &self,
        id: &ClientId,
        request: RotateClientRequest,
        actor: Actor,
    ) -> Result<RotatedClient, RegistryError> {
        if request.overlap > LONGEST_OVERLAP {
            return Err(RegistryProblem::Overlap.into());
        }
        let at = self.tools.now();
        let wish = wish(id, &request.request, at);
        let minted = self.tools.answer(&wish, |bits| self.mint(bits));
        let rotation = ClientRotation {
            id: id.clone(),
            digest: self.tools.digest(&minted.secret),
            hint: minted.hint,
            request: request.request.clone(),
            overlap: request.overlap,
            at,
        };
        let record = match self.tools.store().rotate_client_secret(rotation).await? {
            RotateClientSecret::Rotated(record) => {
                self.tell_client(AuditAction::ClientRotate, actor, &record)
                    .await;
                record
            }
            RotateClientSecret::Repeated(record) => record,
            RotateClientSecret::Disabled => return Err(RegistryProblem::ClientDisabled.into()),
            RotateClientSecret::Overlapping(until) => {
                return Err(RegistryProblem::Overlapping(until).into());
            }
            RotateClientSecret::Public => return Err(RegistryProblem::PublicClient.into()),
            RotateClientSecret::Unknown => return Err(RegistryError::UnknownClient(id.clone())),
        };
        self.rotated(record, &request.request)
    }

    /// Disables a client for good: its tokens and grants are denied at once. To repeat it is safe.
    pub async fn disable_client(
        &self,
        id: &ClientId,
        actor: Actor,
    ) -> Result<ClientRecord, RegistryError> {
        let now = self.tools.now();
        match self.tools.store().disable_client(id, now).await? {
            DisableClient::Disabled(record) => {
                self.tell_client(AuditAction::ClientDisable, actor, &record)
                    .await;
                Ok(record)
            }
            DisableClient::AlreadyDisabled(record) => Ok(record),
            DisableClient::Unknown => Err(RegistryError::UnknownClient(id.clone())),
        }
    }

    /// The answer to a wish that was carried out, now or before.
    fn rotated(
        &self,
        record: ClientRecord,
        request: &RequestId,
    ) -> Result<RotatedClient, RegistryError> {
        let newest = record.secrets.first().ok_or(RegistryProblem::AnswerLost)?;
        let wish = wish(&record.id, request, newest.created_at);
        // The pepper may have changed since; when the one of then is gone, so is the secret.
        let minted = self
            .tools
            .answer_again(&wish, &newest.digest, |bits| self.mint(bits))
            .ok_or(RegistryProblem::AnswerLost)?;
        let previous = record.secrets.get(1).and_then(|secret| secret.ends_at);
        Ok(RotatedClient {
            previous_ends_at: previous.unwrap_or(newest.created_at),
            secret: minted.secret,
            record,
        })
    }

    fn mint(&self, bits: &[u8; 32]) -> MintedSecret {
        self.tools.format().mint_client_secret_from(bits)
    }

    /// Checks a wish and turns it into what is kept.
    fn settings(&self, request: NewClientRequest) -> Result<ClientSettings, RegistryProblem> {
        check_name(&request.name)?;
        self.tools.check_scopes(&request.scopes)?;
        let grants = grants(&request)?;
        if !grants.is_empty() && request.scopes.is_empty() {
            return Err(RegistryProblem::NoScopes);
        }
        Ok(ClientSettings {
            redirects: redirects(&request)?,
            grants,
            authentication: authentication(&request)?,
            pkce: match request.kind {
                // RFC 9700 §2.1.1.
                ClientKind::Public => PkceRule::Required,
                ClientKind::Confidential => request.pkce.unwrap_or(PkceRule::Optional),
            },
            name: request.name,
            scopes: request.scopes,
            consent: request.consent.unwrap_or(Consent::Once),
            account: request.account,
        })
    }
}

/// The same secret for the same wish, carried out then.
fn wish(id: &ClientId, request: &RequestId, at: Timestamp) -> String {
    // No id holds a line end.
    format!("rotate client\n{id}\n{request}\n{}", at.as_millis())
}

fn grants(request: &NewClientRequest) -> Result<Vec<GrantType>, RegistryProblem> {
    let mut grants = request.grants.clone();
    grants.sort_unstable();
    grants.dedup();
    let has = |grant| grants.contains(&grant);
    if request.kind == ClientKind::Public && has(GrantType::ClientCredentials) {
        return Err(RegistryProblem::ClientCredentials);
    }
    if request.kind == ClientKind::Public && grants.is_empty() {
        return Err(RegistryProblem::NoGrants);
    }
    if has(GrantType::RefreshToken) && !has(GrantType::AuthorizationCode) {
        return Err(RegistryProblem::RefreshAlone);
    }
    Ok(grants)
}

fn redirects(request: &NewClientRequest) -> Result<Vec<String>, RegistryProblem> {
    let mut redirects: Vec<String> = Vec::new();
    for uri in &request.redirects {
        if let Some(fault) = redirect_fault(uri) {
            return Err(RegistryProblem::Redirect(fault));
        }
        if !redirects.contains(uri) {
            redirects.push(uri.clone());
        }
    }
    let needed = request.grants.contains(&GrantType::AuthorizationCode);
    match needed && redirects.is_empty() {
        true => Err(RegistryProblem::NoRedirects),
        false => Ok(redirects),
    }
}

fn authentication(request: &NewClientRequest) -> Result<ClientAuthentication, RegistryProblem> {
    match (request.kind, request.authentication) {
        (ClientKind::Confidential, None) => Ok(ClientAuthentication::AnySecret),
        (ClientKind::Public, None | Some(ClientAuthentication::None)) => {
            Ok(ClientAuthentication::None)
        }
        (ClientKind::Public, Some(_)) | (_, Some(ClientAuthentication::None)) => {
            Err(RegistryProblem::Authentication)
        }
        (ClientKind::Confidential, Some(way)) => Ok(way),
    }
}
