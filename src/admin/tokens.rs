//! `/v1/tokens/revoke`: access tokens as operators revoke them.
//!
//! Not here: which tokens can be revoked, and what goes with them ([`crate::auth::TokenDesk`]).

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};

use super::api::{ok, read};
use super::problem::AdminProblem;
use super::{AdminClient, ClientError};
use crate::auth::{RevokeTokens, RevokedTokens, TokenDesk};
use crate::id::GrantId;
use crate::observe::Actor;

/// The answer to `POST /v1/tokens/revoke`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedTokensView {
    /// Since when they are refused.
    pub revoked_at: String,
    /// Grants that were ended with them.
    pub grants_ended: Vec<GrantId>,
}

impl From<RevokedTokens> for RevokedTokensView {
    fn from(revoked: RevokedTokens) -> RevokedTokensView {
        RevokedTokensView {
            revoked_at: revoked.at.to_string(),
            grants_ended: revoked.grants,
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
}

pub(super) async fn revoke(
    desk: &TokenDesk,
    actor: Actor,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, AdminProblem> {
    if request.method() != Method::POST {
        return Err(AdminProblem::Method("POST"));
    }
    let wish: RevokeTokens = read(request).await?;
    let revoked = desk.revoke(&wish, actor).await?;
    Ok(ok(&RevokedTokensView::from(revoked)))
}
