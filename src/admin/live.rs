//! What the admin API asks of the running gateway. Implemented in [`crate::app`].

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use crate::auth::{Failure, VerifiedToken};
use crate::oauth::OAuthSettings;
use crate::policy::ExplainRequest;
use crate::secret::Secret;

/// The running gateway, seen by an operator.
#[async_trait]
pub trait LiveGateway: Send + Sync + 'static {
    /// Which route a request would take, and each check with its verdict:
    /// `{"verdict":"allow"|"deny","status":…,"route":…,"checks":[{"step","verdict","detail"}]}`.
    async fn explain(&self, request: ExplainRequest) -> Value;

    /// The effective policy table: a list of objects with the members `route`, `hosts`,
    /// `methods`, `path`, `access` and `upstream`, each a text.
    fn routes(&self) -> Value;

    /// Reads the configuration again. On an error, whose text the operator sees, the old one
    /// stays.
    async fn reload(&self) -> Result<(), String>;

    /// Whether an issuer made this access token, and what it says; be it revoked or not.
    async fn read_access_token(&self, token: &Secret) -> Result<Arc<VerifiedToken>, Failure>;

    /// Tells the store now what this gateway has counted of the uses of keys.
    async fn tell_usage(&self);

    /// Whether this instance should get traffic.
    fn readiness(&self) -> Readiness;

    /// How the authorization server is set up now, if there is one.
    fn authorization_server(&self) -> Option<OAuthSettings>;

    /// The public key set (RFC 7517) of the tokens that tell upstreams who calls.
    fn internal_jwks(&self) -> Value;
}

/// Whether this instance should get traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Empty is ready.
    pub missing: Vec<NotReady>,
}

/// One reason for no traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotReady {
    /// It is shutting down.
    Draining,
    /// An issuer's key set was never had.
    Jwks {
        /// Whose.
        issuer: String,
    },
    /// The revocation log was not confirmed for longer than the bound.
    Lease,
    /// The store does not answer.
    Store,
}

impl Readiness {
    /// The body of `/readyz`.
    pub(super) fn to_json(&self) -> Value {
        let reasons: Vec<Value> = self.missing.iter().map(NotReady::to_json).collect();
        serde_json::json!({ "ready": reasons.is_empty(), "reasons": reasons })
    }
}

impl NotReady {
    fn to_json(&self) -> Value {
        match self {
            NotReady::Draining => serde_json::json!({ "reason": "draining" }),
            NotReady::Jwks { issuer } => {
                serde_json::json!({ "reason": "jwks_unavailable", "issuer": issuer })
            }
            NotReady::Lease => serde_json::json!({ "reason": "lease_stale" }),
            NotReady::Store => serde_json::json!({ "reason": "store_unavailable" }),
        }
    }
}
