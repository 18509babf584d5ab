//! A change of the pepper: what the store knows by the one before moves to the current one on use.
//!
//! Not here: sessions, codes and interactions, which end before the pepper before is taken out.
//! Invariants: a request waits for no write; each cached record is moved at most once; only a
//! secret that was found good is moved; however many come along, a few are moved at a time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::clock::Timestamp;
use crate::id::{ClientId, KeyId};
use crate::observe::Causes;
use crate::secret::Digest;
use crate::store::{Rehash, Store, StoreError};

/// The way from one digest to another. All clones share one bound.
#[derive(Clone)]
pub struct Repepper {
    store: Arc<dyn Store>,
    control: Handle,
    permits: Arc<Semaphore>,
}

/// Whether a cached record has been sent on its way.
#[derive(Debug, Default)]
pub(super) struct Repeppered(AtomicBool);

/// Moves at a time. Whoever finds no room is moved when it comes along again.
const AT_ONCE: usize = 64;

impl Repepper {
    /// The store is only ever called on `control`.
    pub fn new(store: Arc<dyn Store>, control: Handle) -> Repepper {
        Repepper {
            store,
            control,
            permits: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Has a key found by its current digest from now on. Where it fails, the next load of the
    /// record tries again.
    pub(super) fn move_key(&self, once: &Repeppered, id: &KeyId, old: Digest, new: Digest) {
        if once.0.swap(true, Ordering::Relaxed) {
            return;
        }
        let id = id.clone();
        let sent = self.send(id.to_string(), move |store| async move {
            store.rehash_key(&id, &old, &new).await
        });
        if !sent {
            once.0.store(false, Ordering::Relaxed);
        }
    }

    /// Has a client's secret known by its current digest from now on. Where it fails, the next use
    /// tries again.
    pub fn move_client_secret(&self, id: &ClientId, old: Digest, new: Digest, at: Timestamp) {
        let id = id.clone();
        self.send(id.to_string(), move |store| async move {
            store.rehash_client_secret(&id, &old, &new, at).await
        });
    }

    /// Detached, and bounded by the store's own deadlines. `false` is: no room now.
    fn send<F>(&self, whose: String, work: impl FnOnce(Arc<dyn Store>) -> F) -> bool
    where
        F: Future<Output = Result<Rehash, StoreError>> + Send + 'static,
    {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return false;
        };
        let work = work(Arc::clone(&self.store));
        self.control.spawn(async move {
            match work.await {
                Ok(Rehash::Rehashed) => tracing::debug!(whose, "known by the new pepper now"),
                Ok(Rehash::Unknown) => {}
                Err(error) => {
                    tracing::warn!(whose, cause = %Causes(&error), "not known by the new pepper yet");
                }
            }
            drop(permit);
        });
        true
    }
}

impl fmt::Debug for Repepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repepper").finish_non_exhaustive()
    }
}
