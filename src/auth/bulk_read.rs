//! Records that nobody asked for, read many at a time: taken in as those of a load are.
//!
//! Not here: which records, and when ([`super::warm_up`]). Invariants: a [`BulkRead`] is begun
//! before the store is asked, so that a change after that makes what was read void, as with a load;
//! what a load has brought is never replaced.

use std::sync::Arc;
use std::time::Duration;

use crate::secret::Digest;

use super::cache::{Kept, RecordCache};
use super::changes::Snapshot;

/// One answer of the store with many records in it.
#[derive(Debug)]
pub(super) struct BulkRead<'a, K: Kept> {
    cache: &'a RecordCache<K>,
    before: Snapshot,
}

impl<K: Kept> RecordCache<K> {
    /// The most entries that it keeps.
    pub(super) fn capacity(&self) -> u64 {
        self.settings.capacity
    }

    /// To be begun before the store is asked.
    pub(super) fn begin_bulk_read(&self) -> BulkRead<'_, K> {
        BulkRead {
            cache: self,
            before: self.changes.snapshot(),
        }
    }
}

impl<K: Kept> BulkRead<'_, K> {
    /// Takes in one record of the answer, unless it is void or its digest has an entry.
    pub(super) async fn take_in(&self, digest: Digest, record: K) {
        let (cache, validity) = (self.cache, self.before.validity(&digest));
        if !cache.changes.still_hold(&digest, validity) {
            return;
        }
        let fresh = spread(cache.settings.fresh, &digest);
        let entry = cache.entry(digest, Arc::new(record), validity, fresh);
        // Not into the front, where it would push out what is in use.
        let _entry = cache.known.entry(digest).or_insert(entry).await;
    }
}

/// A fifth of `fresh` to all of it, the same for a digest each time: what was read together would
/// otherwise be refreshed together, by the first uses after one moment.
fn spread(fresh: Duration, digest: &Digest) -> Duration {
    let [.., step] = *digest.as_bytes();
    fresh.mul_f64(0.2 + 0.8 * f64::from(step) / 255.0)
}
