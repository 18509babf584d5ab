//! OAuth clients: what the operator registered.
//!
//! Not here: whether a request is from the client it names, and what its redirect URIs mean.
//! Invariants: at most two secrets of a client work at a time; a client that was disabled stays
//! so, and is denied before it is marked.

use crate::clock::Timestamp;
use crate::id::{AccountId, ClientId, RequestId};
use crate::scope::ScopeSet;
use crate::secret::Digest;

use super::shelf::{self, Cursor, Index, Listing, Member, Page, Place, Plan};
use super::{Denial, DenialKind, Rehash, Shelf, StoreError};

mod secret;

pub use secret::{ClientRotation, ClientSecret, RotateClientSecret};

/// Whether a client can keep a secret (RFC 6749 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientKind {
    /// It can.
    Confidential,
    /// It cannot: an app on a user's device.
    Public,
}

/// How a client shows who it is at the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthentication {
    /// Its secret, in the `Authorization` header or in the form.
    AnySecret,
    /// Its secret in the `Authorization` header (`client_secret_basic`).
    Basic,
    /// Not at all (`none`).
    None,
    /// Its secret in the form (`client_secret_post`).
    Post,
}

/// A way to an access token.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum GrantType {
    /// RFC 6749 §4.1.
    AuthorizationCode,
    /// RFC 6749 §4.4.
    ClientCredentials,
    /// RFC 6749 §6.
    RefreshToken,
}

/// Whether an authorization request must carry a PKCE challenge (RFC 7636).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PkceRule {
    /// It may.
    Optional,
    /// It must.
    Required,
}

/// When a user is asked for consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consent {
    /// Each time.
    Always,
    /// Never: the operator's own client.
    Never,
    /// Unless the same was granted before.
    Once,
}

/// What an operator decides about a client, and may change.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientSettings {
    /// What consent pages call it.
    pub name: String,
    /// Its redirect URIs, compared byte for byte.
    pub redirects: Vec<String>,
    /// Its ways to an access token.
    pub grants: Vec<GrantType>,
    /// What it may ask for.
    pub scopes: ScopeSet,
    /// How it shows who it is.
    pub authentication: ClientAuthentication,
    /// Whether it must use PKCE.
    pub pkce: PkceRule,
    /// When its users are asked.
    pub consent: Consent,
    /// The account it acts for by itself (client credentials).
    pub account: Option<AccountId>,
}

/// What the store knows of one client.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientRecord {
    /// Its `client_id`.
    pub id: ClientId,
    /// Whether it can keep a secret.
    pub kind: ClientKind,
    /// What the operator decided.
    pub settings: ClientSettings,
    /// Its secrets, the newest first. Ask for [`ClientRecord::live_secrets`].
    pub secrets: Vec<ClientSecret>,
    /// The wish that the newest secret came from, where it came from a rotation.
    pub rotation: Option<RequestId>,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was disabled, if it was.
    pub disabled_at: Option<Timestamp>,
}

impl ClientRecord {
    /// The secrets that work now.
    pub fn live_secrets(&self, now: Timestamp) -> impl Iterator<Item = &ClientSecret> {
        let live = move |secret: &&ClientSecret| secret.ends_at.is_none_or(|end| end > now);
        self.secrets.iter().filter(live)
    }
}

/// What became of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum CreateClient {
    /// Written.
    Created,
    /// Nothing written: there is a client of this id.
    Exists,
}

/// What became of new settings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum UpdateClient {
    /// The client is disabled. Nothing changed.
    Disabled,
    /// There is no such client.
    Unknown,
    /// The record as it is now.
    Updated(ClientRecord),
}

/// What became of disabling a client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum DisableClient {
    /// It had been disabled before; the first time stands.
    AlreadyDisabled(ClientRecord),
    /// It was live until now.
    Disabled(ClientRecord),
    /// There is no such client.
    Unknown,
}

/// The verbs on clients.
#[async_trait::async_trait]
pub trait ClientStore: Send + Sync + 'static {
    /// Registers a client.
    async fn create_client(&self, record: ClientRecord) -> Result<CreateClient, StoreError>;

    /// The client of an id.
    async fn client(&self, id: &ClientId) -> Result<Option<ClientRecord>, StoreError>;

    /// Clients in the order of their ids.
    async fn clients(
        &self,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<ClientRecord>, StoreError>;

    /// Puts settings in place of a client's.
    async fn update_client(
        &self,
        id: &ClientId,
        settings: ClientSettings,
        at: Timestamp,
    ) -> Result<UpdateClient, StoreError>;

    /// Gives a client another secret; the old one goes on until the overlap ends.
    async fn rotate_client_secret(
        &self,
        rotation: ClientRotation,
    ) -> Result<RotateClientSecret, StoreError>;

    /// Puts another digest of the same secret in place of one: for a pepper that changes.
    async fn rehash_client_secret(
        &self,
        id: &ClientId,
        old: &Digest,
        new: &Digest,
        at: Timestamp,
    ) -> Result<Rehash, StoreError>;

    /// Denies everything of a client that was issued before, and marks it disabled for good.
    async fn disable_client(
        &self,
        id: &ClientId,
        at: Timestamp,
    ) -> Result<DisableClient, StoreError>;
}

#[async_trait::async_trait]
impl<S: Shelf> ClientStore for S {
    async fn create_client(&self, record: ClientRecord) -> Result<CreateClient, StoreError> {
        let (place, at) = (place(record.id.as_str()), record.created_at);
        shelf::change(self, place, at, move |found| match found {
            Some(_) => Ok(Plan::keep(CreateClient::Exists)),
            None => {
                Ok(Plan::write(CreateClient::Created, &record, None)?.listed([listing(&record)]))
            }
        })
        .await
    }

    async fn client(&self, id: &ClientId) -> Result<Option<ClientRecord>, StoreError> {
        shelf::read(self, place(id.as_str())).await
    }

    async fn clients(
        &self,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<ClientRecord>, StoreError> {
        shelf::page(self, index(), after, limit, place, |_| true).await
    }

    async fn update_client(
        &self,
        id: &ClientId,
        settings: ClientSettings,
        at: Timestamp,
    ) -> Result<UpdateClient, StoreError> {
        let decide = move |found: Option<&str>| update(shelf::parse(found)?, &settings);
        shelf::change(self, place(id.as_str()), at, decide).await
    }

    async fn rotate_client_secret(
        &self,
        rotation: ClientRotation,
    ) -> Result<RotateClientSecret, StoreError> {
        let (place, at) = (place(rotation.id.as_str()), rotation.at);
        let decide = move |found: Option<&str>| secret::rotate(shelf::parse(found)?, &rotation);
        shelf::change(self, place, at, decide).await
    }

    async fn rehash_client_secret(
        &self,
        id: &ClientId,
        old: &Digest,
        new: &Digest,
        at: Timestamp,
    ) -> Result<Rehash, StoreError> {
        let (old, new) = (*old, *new);
        let decide = move |found: Option<&str>| secret::rehash(shelf::parse(found)?, &old, new);
        shelf::change(self, place(id.as_str()), at, decide).await
    }

    async fn disable_client(
        &self,
        id: &ClientId,
        at: Timestamp,
    ) -> Result<DisableClient, StoreError> {
        let decide = move |found: Option<&str>| disable(shelf::parse(found)?, at);
        shelf::change(self, place(id.as_str()), at, decide).await
    }
}

fn update(
    found: Option<ClientRecord>,
    settings: &ClientSettings,
) -> Result<Plan<UpdateClient>, StoreError> {
    let Some(mut record) = found else {
        return Ok(Plan::keep(UpdateClient::Unknown));
    };
    if record.disabled_at.is_some() {
        return Ok(Plan::keep(UpdateClient::Disabled));
    }
    record.settings = settings.clone();
    Plan::write(UpdateClient::Updated(record.clone()), &record, None)
}

fn disable(found: Option<ClientRecord>, at: Timestamp) -> Result<Plan<DisableClient>, StoreError> {
    let Some(mut record) = found else {
        return Ok(Plan::keep(DisableClient::Unknown));
    };
    if record.disabled_at.is_some() {
        return Ok(Plan::keep(DisableClient::AlreadyDisabled(record)));
    }
    record.disabled_at = Some(at);
    let denial = Denial {
        kind: DenialKind::Client,
        id: record.id.to_string(),
        at,
    };
    let answer = DisableClient::Disabled(record.clone());
    Ok(Plan::write(answer, &record, None)?.denied(denial))
}

fn place(id: &str) -> Place {
    Place::new("cl", id)
}

fn index() -> Index {
    Index::new("clients", "")
}

fn listing(record: &ClientRecord) -> Listing {
    Listing {
        index: index(),
        member: Member::new(None, &record.id),
        until: None,
        cap: None,
    }
}
