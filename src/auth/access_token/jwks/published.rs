//! The set that workers read, replaced whole.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use crate::token::jwt::KeySet;

/// The public keys of the gateway's own authorization server: put in place by it, fetched by
/// nobody. All clones are one.
#[derive(Clone, Default)]
pub struct OwnKeys(pub(super) Arc<PublishedKeys>);

impl OwnKeys {
    /// Puts a key set in place of the one before.
    pub fn publish(&self, keys: KeySet) {
        self.0.publish(keys);
    }
}

impl fmt::Debug for OwnKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnKeys")
            .field(&self.0.generation())
            .finish()
    }
}

/// A key set and its number. Two sets never share a number.
pub(super) struct Published {
    pub(super) generation: u64,
    pub(super) keys: KeySet,
}

/// The present set, or none yet.
#[derive(Default)]
pub(super) struct PublishedKeys {
    current: ArcSwapOption<Published>,
    /// Written by one task only.
    generations: AtomicU64,
}

/// Whether a publication changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Changed,
    Same,
}

impl PublishedKeys {
    pub(super) fn current(&self) -> Option<Arc<Published>> {
        self.current.load_full()
    }

    pub(super) fn generation(&self) -> Option<u64> {
        self.current.load().as_ref().map(|set| set.generation)
    }

    /// Puts a set in place. The same keys again are no new generation: what was verified with
    /// them stays verified.
    pub(super) fn publish(&self, keys: KeySet) -> Change {
        if self
            .current
            .load()
            .as_ref()
            .is_some_and(|set| set.keys == keys)
        {
            return Change::Same;
        }
        let generation = self.generations.fetch_add(1, Ordering::Relaxed);
        self.current
            .store(Some(Arc::new(Published { generation, keys })));
        Change::Changed
    }

    /// Takes the set away, because nobody vouches for it any more.
    pub(super) fn withdraw(&self) {
        self.current.store(None);
    }
}
