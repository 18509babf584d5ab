//! API keys: from a text of the right shape to a principal.
//!
//! Not here: shapes and checksums ([`super::credential`]), caching ([`super::cache`]). Invariants:
//! the raw key ends at its digest; revocation, expiry and beginning are judged on every use, also
//! of a cached record; without a fresh lease on the revocation log there is no verdict.

use std::sync::Arc;

use crate::clock::{Clock, Timestamp};
use crate::id::{AccountId, CredentialId, KeyId};
use crate::secret::Pepper;
use crate::store::{DenialKind, KeyRecord};

use super::cache::{KeyCache, Lookup};
use super::principal::{Holder, Identity};
use super::revocation::Revocation;
use super::{CredentialKind, Failure, Principal, Refusal, Unavailable};

/// Verifies API keys.
#[derive(Debug)]
pub(super) struct ApiKeys {
    pepper: Pepper,
    cache: Arc<KeyCache>,
    revocation: Arc<Revocation>,
    clock: Clock,
}

/// A key as the cache keeps it: what of its record a request can depend on.
#[derive(Debug)]
pub(super) struct Key {
    id: KeyId,
    account: AccountId,
    issued_at: Timestamp,
    standing: Standing,
    identity: Arc<Holder>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Live,
    Revoked,
}

impl ApiKeys {
    pub(super) fn new(
        pepper: Pepper,
        cache: Arc<KeyCache>,
        revocation: Arc<Revocation>,
        clock: Clock,
    ) -> ApiKeys {
        ApiKeys {
            pepper,
            cache,
            revocation,
            clock,
        }
    }

    /// Who holds this key.
    pub(super) async fn verify(&self, text: &str) -> Result<Principal, Failure> {
        // First: with a stale lease there is no use in asking a store that is likely away.
        self.revocation.require_fresh()?;
        let digest = self.pepper.digest(text);
        let key = match self.cache.look(&digest).await {
            Lookup::Absent => return Err(Failure::Refused(Refusal::Unknown)),
            Lookup::Known(key) => key,
            Lookup::Miss => {
                // Boxed: rare, and large.
                let loaded = Box::pin(self.cache.load(digest)).await;
                // The lease may have run out while the load was waited for.
                self.revocation.require_fresh()?;
                let loaded = loaded.map_err(Failure::Unavailable)?;
                loaded.ok_or(Failure::Refused(Refusal::Unknown))?
            }
        };
        self.judge(&key)
    }

    /// Whose key this is, be it good or not.
    pub(super) async fn identify(&self, text: &str) -> Result<Option<KeyId>, Unavailable> {
        let digest = self.pepper.digest(text);
        let key = match self.cache.look(&digest).await {
            Lookup::Absent => None,
            Lookup::Known(key) => Some(key),
            Lookup::Miss => self.cache.load(digest).await?,
        };
        Ok(key.map(|key| key.id.clone()))
    }

    fn judge(&self, key: &Key) -> Result<Principal, Failure> {
        let now = self.clock.now();
        let Identity {
            not_before,
            expires_at,
            ..
        } = **key.identity;
        let refusal = if self.is_revoked(key) {
            Refusal::Revoked
        } else if expires_at.is_some_and(|end| end <= now) {
            Refusal::Expired
        } else if not_before.is_some_and(|beginning| now < beginning) {
            Refusal::NotYetValid
        } else {
            return Ok(Principal::new(Arc::clone(&key.identity)));
        };
        Err(Failure::Refused(refusal))
    }

    fn is_revoked(&self, key: &Key) -> bool {
        let marks = [
            (DenialKind::Key, key.id.as_str()),
            (DenialKind::Account, key.account.as_str()),
        ];
        key.standing == Standing::Revoked || self.revocation.denies(key.issued_at, marks)
    }
}

impl From<KeyRecord> for Key {
    fn from(record: KeyRecord) -> Key {
        let identity = Identity {
            kind: CredentialKind::ApiKey,
            credential_id: CredentialId::from(&record.id),
            subject: record.account.to_string(),
            account: Some(record.account.clone()),
            client_id: None,
            issuer: None,
            scopes: record.scopes,
            environment: record.environment,
            allowed_ips: record.allowed_ips,
            not_before: record.not_before,
            expires_at: record.expires_at,
        };
        Key {
            id: record.id,
            account: record.account,
            issued_at: record.created_at,
            // A revocation has no beginning: one that is dated ahead holds at once.
            standing: match record.revoked_at {
                Some(_) => Standing::Revoked,
                None => Standing::Live,
            },
            identity: Arc::new(Holder::from(identity)),
        }
    }
}
