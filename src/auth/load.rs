//! One load per digest at a time, however many requests wait for it.
//!
//! Not here: what a load does ([`super::cache`]). moka coalesces loads too, but its `invalidate`
//! does not stop a load in flight from caching what it read before the change (identity.md §3.5),
//! and an aborted leader makes it load again. Invariants: what a load brings carries the
//! [`Validity`] that was taken before the load began; a load that ends in any way, also by a
//! panic, leaves no waiter behind.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::secret::Digest;

use super::changes::Validity;

/// The loads that are under way.
#[derive(Debug)]
pub(super) struct Loads<T> {
    under_way: Mutex<HashMap<Digest, Arrival<T>>>,
}

/// How a waiter learns of a load's end.
#[derive(Clone, Debug)]
pub(super) struct Arrival<T> {
    outcome: watch::Receiver<Option<Outcome<T>>>,
}

/// How a load ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome<T> {
    /// No answer.
    Failed,
    /// The answer.
    Loaded(T),
    /// The record changed meanwhile: load again.
    Void,
}

/// The duty to load, held by one task.
#[derive(Debug)]
pub(super) struct Errand<T> {
    loads: Arc<Loads<T>>,
    digest: Digest,
    validity: Validity,
    outcome: watch::Sender<Option<Outcome<T>>>,
    /// The other end, to be told from that of a later load.
    own: watch::Receiver<Option<Outcome<T>>>,
}

impl<T: Clone> Loads<T> {
    pub(super) fn new() -> Loads<T> {
        Loads {
            under_way: Mutex::default(),
        }
    }

    /// Waits for the load of `digest`; comes with the errand where none was under way.
    pub(super) fn join(
        self: &Arc<Self>,
        digest: Digest,
        validity: Validity,
    ) -> (Arrival<T>, Option<Errand<T>>) {
        match self.lock().entry(digest) {
            Entry::Occupied(entry) => (entry.get().clone(), None),
            Entry::Vacant(entry) => {
                let (sender, outcome) = watch::channel(None);
                let arrival = entry.insert(Arrival { outcome });
                let errand = Errand {
                    loads: Arc::clone(self),
                    digest,
                    validity,
                    own: sender.subscribe(),
                    outcome: sender,
                };
                (arrival.clone(), Some(errand))
            }
        }
    }

    /// The record of `digest` changed: nobody joins a load under way any more.
    pub(super) fn leave(&self, digest: &Digest) {
        self.lock().remove(digest);
    }

    /// Any record may have changed.
    pub(super) fn leave_all(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Arrival<T>>> {
        // No code under this lock can leave the map half changed.
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> Arrival<T> {
    /// The end of the load. A task that was lost is a load that failed.
    pub(super) async fn outcome(mut self) -> Outcome<T> {
        match self.outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Outcome::Failed),
            Err(_) => Outcome::Failed,
        }
    }
}

impl<T> Errand<T> {
    pub(super) fn digest(&self) -> &Digest {
        &self.digest
    }

    /// From before the load began.
    pub(super) fn validity(&self) -> Validity {
        self.validity
    }

    /// Ends the load. Whatever is to be cached must be in the cache by now: who comes after
    /// this looks there first, and then begins a load of its own.
    pub(super) fn end(self, outcome: Outcome<T>) {
        self.retire();
        self.outcome.send_replace(Some(outcome));
    }

    /// After [`Loads::leave`] another load may be under way in this one's place.
    fn retire(&self) {
        let mut under_way = self
            .loads
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(entry) = under_way.entry(self.digest)
            && entry.get().outcome.same_channel(&self.own)
        {
            entry.remove();
        }
    }
}

/// Also when the task panics, or its runtime ends.
impl<T> Drop for Errand<T> {
    fn drop(&mut self) {
        self.retire();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::changes::Changes;

    const DIGEST: Digest = Digest::from_bytes([1; 32]);

    #[test]
    fn a_load_that_was_replaced_leaves_its_successor_alone() {
        let loads: Arc<Loads<u8>> = Arc::new(Loads::new());
        let validity = Changes::new().validity(&DIGEST);
        let (_, first) = loads.join(DIGEST, validity);
        loads.leave(&DIGEST);
        let (_, second) = loads.join(DIGEST, validity);
        first.expect("nothing was under way").end(Outcome::Void);
        let (_, third) = loads.join(DIGEST, validity);
        assert!(third.is_none());
        drop(second.expect("the first was left"));
        let (_, fourth) = loads.join(DIGEST, validity);
        assert!(fourth.is_some());
    }
}
