//! The secret of a key that a request showed, for one more look at the store.
//!
//! A verdict may be older than a rotation that this gateway has not heard of yet. What would outlive
//! that, a session, is written first and asked about then; an emergency rotation ends a secret first
//! and the key's sessions then. So whichever is faster, one of the two sees the other. Not here:
//! whether a request is admitted, which caches may answer. Invariant: only digests are held.

use crate::clock::Timestamp;
use crate::secret::{Digest, Pepper};
use crate::store::{Store, StoreError};

/// A secret, by everything that the store may know it by.
#[derive(Debug)]
pub struct ShownSecret(Vec<Digest>);

impl ShownSecret {
    pub(super) fn new(text: &str, pepper: &Pepper, previous: Option<&Pepper>) -> ShownSecret {
        let current = pepper.digest(text);
        let mut digests = vec![current];
        if let Some(previous) = previous {
            // Between the two looks it may have moved from one to the other.
            digests.extend([previous.digest(text), current]);
        }
        ShownSecret(digests)
    }

    /// Whether the store, asked now, says that it works.
    pub(super) async fn works(
        &self,
        store: &dyn Store,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        for digest in &self.0 {
            if let Some(record) = store.key_by_digest(digest).await? {
                let has_ended = record.expires_at.is_some_and(|end| end <= now);
                return Ok(record.revoked_at.is_none() && !has_ended);
            }
        }
        Ok(false)
    }
}
