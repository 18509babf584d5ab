//! Look-ups at the store: how many are under way, and which of them come first.
//!
//! After an outage, or when the caches were emptied, every credential in use is looked up at once;
//! a store that has just come back would get them all. So there is a bound; whoever waits for an
//! answer queues for a place, within the deadline that a request has anyway, and a refresh, which
//! nobody waits for, takes a place only while many are free. One look-up a credential is for
//! [`super::load`] to see to. Invariant: a place is held from before the store is asked until it has
//! answered or the deadline is over.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::secret::Digest;
use crate::store::Store;

use super::cache::Kept;
use super::usage::UsageBook;

/// The store, the runtime that its connections live on, and the places at it. Shared by all caches
/// of an instance.
#[derive(Clone)]
pub(super) struct Source {
    store: Arc<dyn Store>,
    /// Where the uses of what is found are counted.
    usage: Arc<UsageBook>,
    control: Handle,
    places: Arc<Semaphore>,
}

/// Leave to ask the store.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
}

/// Look-ups under way at a time. A store that answers in 1 ms serves 64,000 a second so.
pub(super) const MOST: usize = 64;
/// Of these, refreshes leave so many to those who wait.
const FOR_MISSES: usize = MOST / 2;
/// A second bound around the store's own deadline: no request waits longer for a look-up.
const DEADLINE: Duration = Duration::from_secs(2);

impl Source {
    pub(super) fn new(store: Arc<dyn Store>, usage: Arc<UsageBook>, control: Handle) -> Source {
        Source {
            store,
            usage,
            control,
            places: Arc::new(Semaphore::new(MOST)),
        }
    }

    /// A place for what nobody waits for, if there is room now.
    pub(super) fn spare_place(&self) -> Option<Place> {
        // Two at a time may both find the last spare place, and one takes one that is not. It only
        // means that one more refreshes.
        if self.places.available_permits() <= FOR_MISSES {
            return None;
        }
        let permit = Arc::clone(&self.places).try_acquire_owned();
        permit.ok().map(|permit| Place { _permit: permit })
    }

    /// Goes on when whoever caused it goes away. Detached, and bounded by its deadline.
    pub(super) fn spawn(&self, look_up: impl Future<Output = ()> + Send + 'static) {
        drop(self.control.spawn(look_up));
    }

    /// The store's answer, if there is one, from a place that is held or waited for. The store
    /// counts and times its own failures.
    pub(super) async fn record<K: Kept>(
        &self,
        digest: &Digest,
        place: Option<Place>,
    ) -> Option<Option<K>> {
        let answer = async {
            let _place = match place {
                Some(place) => Some(place),
                None => self.place().await,
            };
            K::load(&*self.store, &self.usage, *digest).await
        };
        match timeout(DEADLINE, answer).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) => {
                tracing::debug!(%error, cache = K::CACHE, "a record could not be looked up");
                None
            }
            Err(_) => {
                let cache = K::CACHE;
                tracing::debug!(cache, "no record within {DEADLINE:?}");
                None
            }
        }
    }

    /// In the order of asking. The semaphore is never closed.
    async fn place(&self) -> Option<Place> {
        let permit = Arc::clone(&self.places).acquire_owned().await;
        permit.ok().map(|permit| Place { _permit: permit })
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use crate::auth::scripted_store::ScriptedStore;
    use crate::clock::Clock;
    use crate::observe::Metrics;

    use super::*;

    #[tokio::test]
    async fn refreshes_leave_half_of_the_places_to_those_who_wait() {
        let (store, clock) = (Arc::new(ScriptedStore::new()), Clock::system());
        let book = UsageBook::new(Arc::clone(&store) as _, clock, &Metrics::new());
        let source = Source::new(store, Arc::new(book), Handle::current());
        let refreshes: Vec<Place> = std::iter::from_fn(|| source.spare_place()).collect();
        assert_eq!(refreshes.len(), MOST - FOR_MISSES);
        let mut misses = Vec::new();
        for _ in 0..FOR_MISSES {
            misses.extend(source.place().await);
        }
        assert_eq!(misses.len(), FOR_MISSES);
        drop(refreshes);
        assert_eq!(std::iter::from_fn(|| source.spare_place()).count(), 0);
    }
}
