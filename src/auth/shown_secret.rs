//! The secret of a key that a request showed, for one more look at the store.
//!
//! A verdict may be older than a rotation that this gateway has not heard of yet. What would outlive
//! that, a session, is written first and asked about then; an emergency rotation ends a secret first
//! and the key's sessions then. So whichever is faster, one of the two sees the other. Not here:
//! whether a request is admitted, which caches may answer. Invariant: only digests are held.

use crate::clock::Timestamp;
use crate::secret::{Digest, Peppers};
use crate::store::{Store, StoreError};

/// A secret, by everything that the store may know it by.
#[derive(Debug)]
pub struct ShownSecret(Vec<Digest>);

impl ShownSecret {
    pub(super) fn new(text: &str, peppers: &Peppers) -> ShownSecret {
        let mut digests: Vec<_> = peppers.all().map(|pepper| pepper.digest(text)).collect();
        if let [current, _, ..] = digests[..] {
            // Between the looks it may have moved to the current one.
            digests.push(current);
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
