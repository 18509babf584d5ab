//! A change of the pepper: what the store knows by the one before moves to the current one on use.
//!
//! Invariants: a request waits for no write; each cached record is moved at most once; only a
//! credential that was found good is moved.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Handle;

use crate::id::KeyId;
use crate::secret::{Digest, Pepper};
use crate::store::{Rehash, Store};

/// The pepper before, and the way to leave it.
pub(super) struct Repepper {
    previous: Pepper,
    store: Arc<dyn Store>,
    control: Handle,
}

/// Whether a cached record has been sent on its way.
#[derive(Debug, Default)]
pub(super) struct Repeppered(AtomicBool);

impl Repepper {
    pub(super) fn new(previous: Pepper, store: Arc<dyn Store>, control: Handle) -> Repepper {
        Repepper {
            previous,
            store,
            control,
        }
    }

    /// The pepper before.
    pub(super) fn previous(&self) -> &Pepper {
        &self.previous
    }

    /// Has a key found by its current digest from now on. Detached, and bounded by the store's
    /// own deadlines; where it fails, the next load of the record tries again.
    pub(super) fn rehash(&self, once: &Repeppered, id: &KeyId, old: Digest, new: Digest) {
        if once.0.swap(true, Ordering::Relaxed) {
            return;
        }
        let (store, id) = (Arc::clone(&self.store), id.clone());
        self.control.spawn(async move {
            match store.rehash_key(&id, &old, &new).await {
                Ok(Rehash::Rehashed) => tracing::debug!(key = %id, "found by the new pepper now"),
                Ok(Rehash::Unknown) => {}
                Err(error) => tracing::warn!(key = %id, %error, "not found by the new pepper yet"),
            }
        });
    }
}

impl fmt::Debug for Repepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repepper").finish_non_exhaustive()
    }
}
