//! Stub: replaced when the branch that verifies JWTs is merged.

use std::sync::Arc;

use crate::clock::Timestamp;

use super::principal::Identity;
use super::{Failure, IssuerRevocation, Refusal};

/// Verifies access tokens.
#[derive(Debug, Default)]
pub struct AccessTokens {}

#[derive(Debug)]
pub(super) struct VerifiedToken {
    pub(super) identity: Arc<Identity>,
    pub(super) issued_at: Timestamp,
    pub(super) jti: Option<String>,
    pub(super) grant: Option<String>,
    pub(super) revocation: IssuerRevocation,
}

impl AccessTokens {
    pub(super) async fn verify(&self, _token: &str) -> Result<Arc<VerifiedToken>, Failure> {
        Err(Failure::Refused(Refusal::Issuer))
    }
}
