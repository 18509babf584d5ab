//! Which records have changed, so that nothing read before a change is used after it.
//!
//! Digests share counters, some thousands of them: a change of one record also makes a few others
//! be read again, which costs a look-up and never a wrong verdict. Not here: what a record says.
//! Invariant: a [`Validity`] taken before a read holds only until the first change after it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::secret::Digest;

/// Counts changes. Shared by all workers and loads.
#[derive(Debug)]
pub(super) struct Changes {
    all: AtomicU64,
    by_digest: Box<[AtomicU64]>,
}

/// The counts of one digest at one moment. To be taken before the record is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    all: u64,
    digest: u64,
}

/// The counts of all digests at one moment, for whoever learns only by reading which digests it is
/// about. To be taken before anything is read.
#[derive(Debug)]
pub(super) struct Snapshot {
    all: u64,
    by_digest: Box<[u64]>,
}

/// 128 KiB of counters. An import of 10,000 keys makes every second of the others be read again.
const COUNTERS: usize = 1 << 14;

impl Changes {
    pub(super) fn new() -> Changes {
        Changes {
            all: AtomicU64::new(0),
            by_digest: std::iter::repeat_with(|| AtomicU64::new(0))
                .take(COUNTERS)
                .collect(),
        }
    }

    /// What holds from now on.
    pub(super) fn validity(&self, digest: &Digest) -> Validity {
        Validity {
            all: self.all.load(Ordering::Acquire),
            digest: self.counter(digest).load(Ordering::Acquire),
        }
    }

    /// What holds of every digest from now on.
    pub(super) fn snapshot(&self) -> Snapshot {
        let count = |counter: &AtomicU64| counter.load(Ordering::Acquire);
        Snapshot {
            all: count(&self.all),
            by_digest: self.by_digest.iter().map(count).collect(),
        }
    }

    /// Whether nothing has changed since.
    pub(super) fn still_hold(&self, digest: &Digest, validity: Validity) -> bool {
        self.validity(digest) == validity
    }

    /// The record of this digest changed.
    pub(super) fn note(&self, digest: &Digest) {
        self.counter(digest).fetch_add(1, Ordering::AcqRel);
    }

    /// Any record may have changed.
    pub(super) fn note_all(&self) {
        self.all.fetch_add(1, Ordering::AcqRel);
    }

    fn counter(&self, digest: &Digest) -> &AtomicU64 {
        &self.by_digest[place(digest.as_bytes(), COUNTERS)]
    }
}

impl Snapshot {
    pub(super) fn validity(&self, digest: &Digest) -> Validity {
        Validity {
            all: self.all,
            digest: self.by_digest[place(digest.as_bytes(), COUNTERS)],
        }
    }
}

/// Which of `places`, a power of two, a digest has: its bits are evenly spread as they are.
pub(super) fn place(digest: &[u8; 32], places: usize) -> usize {
    debug_assert!(places.is_power_of_two());
    let [a, b, c, d, ..] = *digest;
    u32::from_le_bytes([a, b, c, d]) as usize & (places - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_validity_holds_until_its_record_or_all_have_changed() {
        let changes = Changes::new();
        let (one, other) = (Digest::from_bytes([1; 32]), Digest::from_bytes([2; 32]));
        let validity = changes.validity(&one);
        changes.note(&other);
        assert!(changes.still_hold(&one, validity));
        changes.note(&one);
        assert!(!changes.still_hold(&one, validity));
        let validity = changes.validity(&one);
        changes.note_all();
        assert!(!changes.still_hold(&one, validity));
    }

    #[test]
    fn a_snapshot_has_the_validity_of_each_digest_at_its_moment() {
        let changes = Changes::new();
        let (one, other) = (Digest::from_bytes([1; 32]), Digest::from_bytes([2; 32]));
        changes.note(&one);
        changes.note_all();
        let snapshot = changes.snapshot();
        let holds = |digest| changes.still_hold(digest, snapshot.validity(digest));
        assert!(holds(&one) && holds(&other));
        changes.note(&one);
        assert!(!holds(&one) && holds(&other));
        changes.note_all();
        assert!(!holds(&one) && !holds(&other));
    }
}
