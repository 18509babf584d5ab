//! Making access tokens (RFC 9068).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::AuthorizationServer;
use super::problem::Problem;
use crate::clock::Timestamp;
use crate::id::{AccountId, ClientId, FamilyId};
use crate::scope::ScopeSet;
use crate::secret::{Secret, random_bytes};
use crate::store::GrantRecord;

/// RFC 9068 §2.1.
const TOKEN_TYPE: &str = "at+jwt";

/// What an access token is to say.
pub(super) struct Issuance {
    pub(super) subject: String,
    pub(super) client: ClientId,
    pub(super) account: Option<AccountId>,
    pub(super) scopes: ScopeSet,
    /// `None` is the default resource.
    pub(super) resource: Option<String>,
    pub(super) family: Option<FamilyId>,
    pub(super) auth_time: Option<Timestamp>,
    pub(super) acr: Option<String>,
    pub(super) amr: Vec<String>,
}

/// What a client gets.
pub(super) struct Issued {
    pub(super) access_token: Secret,
    pub(super) lifetime: Duration,
    pub(super) scopes: ScopeSet,
    pub(super) refresh_token: Option<Secret>,
}

/// The claims of our access tokens. Nothing in them is about a person but the `sub`.
#[derive(Serialize, Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    pub(super) aud: String,
    pub(super) sub: String,
    pub(super) client_id: String,
    pub(super) iat: i64,
    pub(super) exp: i64,
    pub(super) jti: String,
    pub(super) scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fam: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) acct: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) auth_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) acr: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) amr: Vec<String>,
}

impl Issuance {
    /// On behalf of a user, for the resource that this request asks for, else that of the consent.
    pub(super) fn of_grant(
        grant: &GrantRecord,
        asked: Option<String>,
        scopes: ScopeSet,
    ) -> Issuance {
        Issuance {
            subject: grant.subject.to_string(),
            client: grant.client.clone(),
            account: grant.account.clone(),
            scopes,
            resource: asked.or_else(|| grant.resource.clone()),
            family: Some(grant.id.family()),
            auth_time: Some(grant.auth_time),
            acr: grant.acr.clone(),
            amr: grant.amr.clone(),
        }
    }
}

impl AuthorizationServer {
    /// Signs an access token.
    pub(super) fn issue(
        &self,
        access: Issuance,
        refresh_token: Option<Secret>,
    ) -> Result<Issued, Problem> {
        let key = self.parts.keys.active().ok_or(Problem::Unavailable)?;
        let lifetime = self.settings.access_token_ttl;
        let now = self.parts.clock.now();
        let default = self.settings.resources.first().cloned();
        let claims = Claims {
            iss: self.settings.issuer.clone(),
            aud: access.resource.or(default).unwrap_or_default(),
            sub: access.subject,
            client_id: access.client.to_string(),
            iat: now.as_secs(),
            exp: now.plus(lifetime).as_secs(),
            jti: URL_SAFE_NO_PAD.encode(random_bytes::<16>()),
            scope: access.scopes.to_string(),
            fam: access.family.map(|family| family.to_string()),
            acct: access.account.map(|account| account.to_string()),
            auth_time: access.auth_time.map(Timestamp::as_secs),
            acr: access.acr,
            amr: access.amr,
        };
        let token = key.sign(TOKEN_TYPE, &claims).ok_or(Problem::Unavailable)?;
        Ok(Issued {
            access_token: Secret::new(token),
            lifetime,
            scopes: access.scopes,
            refresh_token,
        })
    }
}
