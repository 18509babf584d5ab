//! Reads the keys that the store has at hand into the cache at start.
//!
//! The first uses of thousands of keys would otherwise each ask the store, all in the first seconds,
//! and each request would wait for its answer. Not here: how what is read stays true
//! ([`super::cache`]). Invariants: no more is read than the cache keeps, and for no longer than
//! [`LONGEST`]; nothing depends on it, so whatever goes wrong only ends it.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::observe::Causes;
use crate::secret::Digest;
use crate::store::{KeyRecord, Store};

use super::api_key::{ApiKeys, Key};
use super::usage::UsageBook;

/// Keys that are read at once: the control runtime does nothing else while it takes them in.
const PAGE: usize = 256;
/// How long the reading may go on.
const LONGEST: Duration = Duration::from_secs(10);
/// A second bound around the store's own deadline.
const DEADLINE: Duration = Duration::from_secs(2);

impl ApiKeys {
    /// Fills the cache with keys that may be used. Sensible once the revocation log was read: what
    /// was read before that is void.
    pub(super) async fn warm_up(&self, store: &dyn Store, usage: &UsageBook) {
        let (began, mut count) = (Instant::now(), 0);
        let mut after = None;
        while began.elapsed() < LONGEST && count < self.cache.capacity() {
            let bulk = self.cache.begin_bulk_read();
            let left = self.cache.capacity() - count;
            let limit = usize::try_from(left).map_or(PAGE, |left| left.min(PAGE));
            let Some(page) = page(store, after.as_ref(), limit).await else {
                return;
            };
            let Some((last, _)) = page.last() else {
                break;
            };
            after = Some(*last);
            for (digest, record) in page {
                if self.may_be_used(&record) {
                    let counts = usage.counts(&record.id, &record.scopes);
                    let key = Key::new(digest, record, counts);
                    bulk.take_in(digest, key).await;
                    count += 1;
                }
            }
        }
        if count > 0 {
            tracing::info!(count, took = ?began.elapsed(), "keys were read into the cache");
        }
    }

    /// Others are no use in the cache: they are refused whenever they are shown.
    fn may_be_used(&self, record: &KeyRecord) -> bool {
        let now = self.clock.now();
        record.revoked_at.is_none() && record.expires_at.is_none_or(|end| now < end)
    }
}

async fn page(
    store: &dyn Store,
    after: Option<&Digest>,
    limit: usize,
) -> Option<Vec<(Digest, KeyRecord)>> {
    match timeout(DEADLINE, store.keys_at_hand(after, limit)).await {
        Ok(Ok(page)) => Some(page),
        Ok(Err(error)) => {
            tracing::warn!(error = %Causes(&error), "the keys of the store were not all read into the cache");
            None
        }
        Err(_) => {
            tracing::warn!("the store gave no keys to the cache within {DEADLINE:?}");
            None
        }
    }
}
