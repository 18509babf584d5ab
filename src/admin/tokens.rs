//! `/v1/tokens/…`: tokens as operators revoke them, by name or by showing one.
//!
//! Not here: which tokens can be revoked, and what goes with them ([`crate::auth::TokenDesk`],
//! [`crate::auth::KeyDesk`]). Invariant: no answer holds what was shown.

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

use super::body::read;
use super::problem::AdminProblem;
use super::proof::{Wait, proven};
use super::wire::expose;
use super::{AdminClient, ClientError, LiveGateway};
use crate::auth::{FleetDesk, KeyDesk, RevokeTokens, RevokedShown, RevokedTokens, ShownKind};
use crate::id::{GrantId, KeyId, SessionId};
use crate::observe::Actor;
use crate::secret::Secret;

/// The answer to `POST /v1/tokens/revoke`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedTokensView {
    /// Since when they are refused.
    pub revoked_at: String,
    /// What was issued before this is refused; left out where that was by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_before: Option<String>,
    /// Grants that were ended with them.
    pub grants_ended: Vec<GrantId>,
    /// Of an account: its keys that were live until now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys_revoked: Vec<KeyId>,
    /// Of an account: its sessions that were live until now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sessions_ended: Vec<SessionId>,
}

/// The body of `POST /v1/tokens/revoke-shown`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShownTokenBody {
    /// The access token, refresh token, code, session token or API key itself.
    #[serde(serialize_with = "expose", deserialize_with = "token")]
    pub token: Secret,
}

/// The answer to `POST /v1/tokens/revoke-shown`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedShownView {
    /// What it was.
    pub kind: ShownKind,
    /// The name of what was revoked: a `jti`, or the id of a key, a grant or a session.
    pub id: String,
    /// Since when it is refused.
    pub revoked_at: String,
    /// Grants that were ended by this.
    pub grants_ended: Vec<GrantId>,
}

/// An error that says nothing of the value.
fn token<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    let text = String::deserialize(deserializer);
    text.map(Secret::new)
        .map_err(|_| D::Error::custom("a token is a text"))
}

impl From<RevokedShown> for RevokedShownView {
    fn from(revoked: RevokedShown) -> RevokedShownView {
        RevokedShownView {
            kind: revoked.kind,
            id: revoked.id,
            revoked_at: revoked.at.to_string(),
            grants_ended: revoked.grants,
        }
    }
}

impl From<RevokedTokens> for RevokedTokensView {
    fn from(revoked: RevokedTokens) -> RevokedTokensView {
        RevokedTokensView {
            revoked_at: revoked.at.to_string(),
            issued_before: revoked.issued_before.map(|at| at.to_string()),
            grants_ended: revoked.grants,
            keys_revoked: revoked.keys,
            sessions_ended: revoked.sessions,
        }
    }
}

impl AdminClient {
    /// `POST /v1/tokens/revoke`.
    pub async fn revoke_tokens(
        &self,
        wish: &RevokeTokens,
    ) -> Result<RevokedTokensView, ClientError> {
        let body = serde_json::to_vec(wish).expect("this type has no failing parts");
        self.call(Method::POST, "/v1/tokens/revoke", Some(body))
            .await
    }

    /// `POST /v1/tokens/revoke-shown`.
    pub async fn revoke_shown(
        &self,
        shown: &ShownTokenBody,
    ) -> Result<RevokedShownView, ClientError> {
        let body = serde_json::to_vec(shown).expect("this type has no failing parts");
        self.call(Method::POST, "/v1/tokens/revoke-shown", Some(body))
            .await
    }
}

/// What there is.
pub(super) enum Resource {
    Revoke,
    RevokeShown,
}

impl Resource {
    /// From what follows `/v1/tokens`.
    pub(super) fn parse(rest: &[&str]) -> Result<Resource, AdminProblem> {
        match rest {
            ["revoke"] => Ok(Resource::Revoke),
            ["revoke-shown"] => Ok(Resource::RevokeShown),
            _ => Err(AdminProblem::Path),
        }
    }

    pub(super) async fn carry_out(
        self,
        desk: &KeyDesk,
        fleet: &FleetDesk,
        gateway: &dyn LiveGateway,
        actor: Actor,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, AdminProblem> {
        if request.method() != Method::POST {
            return Err(AdminProblem::Method("POST"));
        }
        let wait = Wait::of_query(request.uri().query())?;
        match self {
            Resource::Revoke => {
                let wish: RevokeTokens = read(request).await?;
                proven(fleet, wait, revoke(desk, actor, &wish)).await
            }
            Resource::RevokeShown => {
                let ShownTokenBody { token } = read(request).await?;
                proven(fleet, wait, revoke_shown(desk, gateway, actor, &token)).await
            }
        }
    }
}

async fn revoke(
    desk: &KeyDesk,
    actor: Actor,
    wish: &RevokeTokens,
) -> Result<RevokedTokensView, AdminProblem> {
    let revoked = desk.tokens().revoke(wish, actor).await?;
    Ok(RevokedTokensView::from(revoked))
}

async fn revoke_shown(
    desk: &KeyDesk,
    gateway: &dyn LiveGateway,
    actor: Actor,
    token: &Secret,
) -> Result<RevokedShownView, AdminProblem> {
    let revoked = match desk.is_access_token(token) {
        true => {
            let verified = gateway.read_access_token(token).await;
            desk.revoke_access_token(verified, actor).await?
        }
        false => desk.revoke_shown(token, actor).await?,
    };
    Ok(RevokedShownView::from(revoked))
}
