//! API keys: from a text of the right shape to a principal.
//!
//! Not here: shapes and checksums ([`super::credential`]), caching ([`super::cache`]). Invariants:
//! the raw key ends at its digest; revocation, expiry and beginning are judged on every use, also
//! of a cached record; without a fresh lease on the revocation log there is no verdict.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::id::{AccountId, CredentialId, KeyId};
use crate::secret::{Digest, Peppers};
use crate::store::{DenialKind, KeyRecord, Store, StoreError};

use super::cache::{Kept, RecordCache};
use super::principal::{Holder, Identity};
use super::repepper::{Repepper, Repeppered};
use super::revocation::Revocation;
use super::shown_secret::ShownSecret;
use super::sight::{Occasion, Sight, Witness};
use super::usage::{UsageBook, UseCounts};
use super::{CredentialKind, Failure, Principal, Refusal, Unavailable};

/// Verifies API keys.
#[derive(Clone, Debug)]
pub(super) struct ApiKeys {
    pub(super) peppers: Peppers,
    pub(super) repepper: Repepper,
    pub(super) cache: Arc<RecordCache<Key>>,
    pub(super) revocation: Arc<Revocation>,
    pub(super) witness: Witness,
    pub(super) clock: Clock,
}

/// A key as the cache keeps it: what of its record a request can depend on.
#[derive(Debug)]
pub(super) struct Key {
    digest: Digest,
    id: KeyId,
    account: AccountId,
    issued_at: Timestamp,
    standing: Standing,
    identity: Arc<Holder>,
    sight: Sight,
    repeppered: Repeppered,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Live,
    Revoked,
}

/// How often the store hears that a key is in use: people ask in days.
const SIGHT: Duration = Duration::from_secs(60);

impl ApiKeys {
    /// The same under other peppers: what is cached stays.
    pub(super) fn with_peppers(&self, peppers: Peppers) -> ApiKeys {
        ApiKeys {
            peppers,
            ..self.clone()
        }
    }

    /// Who holds this key.
    pub(super) async fn verify(
        &self,
        text: &str,
        occasion: Occasion,
    ) -> Result<Principal, Failure> {
        // First: with a stale lease there is no use in asking a store that is likely away.
        self.revocation.require_fresh()?;
        let digest = self.peppers.current().digest(text);
        if let Some(key) = self.cache.find(&digest, &self.revocation).await? {
            return self.judge(&key, occasion);
        }
        if self.peppers.others().next().is_none() {
            return Err(Failure::Refused(Refusal::Unknown));
        }
        // Boxed: rare.
        Box::pin(self.verify_by_others(text, digest, occasion)).await
    }

    /// The pepper is being changed: the store may know this key by the one before, or by the next
    /// one, which other instances use already.
    async fn verify_by_others(
        &self,
        text: &str,
        digest: Digest,
        occasion: Occasion,
    ) -> Result<Principal, Failure> {
        if let Some(previous) = self.peppers.previous() {
            let old = previous.digest(text);
            if let Some(key) = self.cache.find(&old, &self.revocation).await? {
                let principal = self.judge(&key, occasion)?;
                self.repepper
                    .move_key(&key.repeppered, &key.id, old, digest);
                return Ok(principal);
            }
        }
        if let Some(next) = self.peppers.next() {
            let new = next.digest(text);
            if let Some(key) = self.cache.find(&new, &self.revocation).await? {
                return self.judge(&key, occasion);
            }
        }
        // Between the looks it may have moved to the current one.
        let key = self.cache.find(&digest, &self.revocation).await?;
        let key = key.ok_or(Failure::Refused(Refusal::Unknown))?;
        self.judge(&key, occasion)
    }

    /// Whose key this is, be it good or not.
    pub(super) async fn identify(&self, text: &str) -> Result<Option<KeyId>, Unavailable> {
        for pepper in self.peppers.all() {
            let digest = pepper.digest(text);
            if let Some(key) = self.cache.find_anyway(&digest).await? {
                return Ok(Some(key.id.clone()));
            }
        }
        Ok(None)
    }

    pub(super) fn shown_secret(&self, text: &str) -> ShownSecret {
        ShownSecret::new(text, &self.peppers)
    }

    fn judge(&self, key: &Key, occasion: Occasion) -> Result<Principal, Failure> {
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
            let principal = Principal::new(Arc::clone(&key.identity));
            if occasion.is_use_of(&principal) {
                key.identity.see(now);
                self.witness
                    .note(&key.sight, key.digest, now, SIGHT, expires_at);
            }
            return Ok(principal);
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

impl Kept for Key {
    const CACHE: &'static str = "api_key";

    async fn load(
        store: &dyn Store,
        usage: &UsageBook,
        digest: Digest,
    ) -> Result<Option<Key>, StoreError> {
        let record = store.key_by_digest(&digest).await?;
        Ok(record.map(|record| {
            let counts = usage.counts(&record.id, &record.scopes);
            Key::new(digest, record, counts)
        }))
    }

    fn succeed(&mut self, before: &Key) {
        self.sight = before.sight.clone();
    }
}

impl Key {
    pub(super) fn new(digest: Digest, record: KeyRecord, counts: Arc<UseCounts>) -> Key {
        let identity = Identity {
            kind: CredentialKind::ApiKey,
            credential_id: CredentialId::from(&record.id),
            subject: record.account.to_string(),
            account: Some(record.account.clone()),
            client_id: None,
            issuer: None,
            resource: None,
            grant: None,
            jti: None,
            issued_at: record.created_at,
            scopes: record.scopes,
            environment: record.environment,
            allowed_ips: record.allowed_ips,
            not_before: record.not_before,
            expires_at: record.expires_at,
        };
        Key {
            digest,
            id: record.id,
            account: record.account,
            issued_at: record.created_at,
            // A revocation has no beginning: one that is dated ahead holds at once.
            standing: match record.revoked_at {
                Some(_) => Standing::Revoked,
                None => Standing::Live,
            },
            identity: Arc::new(Holder::counted(identity, counts)),
            sight: Sight::default(),
            repeppered: Repeppered::default(),
        }
    }
}
