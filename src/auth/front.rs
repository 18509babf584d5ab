//! The entries used last, in front of a moka cache.
//!
//! A hit in moka is also booked: in its frequency sketch, its queue of reads and its order of use,
//! which touches a dozen places in memory. With many credentials in turn none of them is in the
//! processor's cache, and that costs more than all other work of a look-up. Here an entry has one
//! place, and is found with one read. Not here: whether an entry may still be used, which whoever
//! looks has to judge as it does with moka's. Invariants: no lock; an entry that is replaced is
//! only forgotten, since moka still has it; use is booked in moka every [`UNBOOKED`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::time::Instant;

use super::changes::place;

/// A table of one entry a place.
pub(super) struct Front<E> {
    places: Box<[ArcSwapOption<E>]>,
    origin: Instant,
}

/// What such a table holds.
pub(super) trait Entry {
    /// What it is found by: evenly spread bits, a digest.
    fn digest(&self) -> &[u8; 32];

    /// Of this entry.
    fn booking(&self) -> &Booking;
}

/// When moka is to hear of an entry's use again, in milliseconds from the table's origin.
#[derive(Debug, Default)]
pub(super) struct Booking(AtomicU64);

/// How long an entry is used from here before moka hears of it. Short against the time that it
/// takes to fill a cache, so that what is in use is not what moka evicts.
const UNBOOKED: Duration = Duration::from_secs(2);

/// More places than this are not worth their memory: they miss the processor's caches too.
const MOST: u64 = 1 << 17;

impl<E: Entry> Front<E> {
    /// For a cache of `capacity` entries.
    pub(super) fn new(capacity: u64) -> Front<E> {
        let places = capacity.clamp(1, MOST).next_power_of_two();
        Front {
            places: std::iter::repeat_with(ArcSwapOption::empty)
                .take(usize::try_from(places).unwrap_or(1))
                .collect(),
            origin: Instant::now(),
        }
    }

    /// The entry of a digest, if it is the last that was put into its place, and its use need not
    /// be booked yet.
    pub(super) fn get(&self, digest: &[u8; 32], now: Instant) -> Option<Arc<E>> {
        let entry = self.place(digest).load();
        let entry = entry.as_ref().filter(|entry| entry.digest() == digest)?;
        let book_at = entry.booking().0.load(Ordering::Relaxed);
        (self.millis(now) < book_at).then(|| Arc::clone(entry))
    }

    /// Takes in an entry that moka has just given or got.
    pub(super) fn put(&self, entry: &Arc<E>, now: Instant) {
        let book_at = self.millis(now + UNBOOKED);
        entry.booking().0.store(book_at, Ordering::Relaxed);
        self.place(entry.digest()).store(Some(Arc::clone(entry)));
    }

    /// Lets go of whatever is in a digest's place. Frees memory; nobody may rely on it.
    pub(super) fn clear(&self, digest: &[u8; 32]) {
        self.place(digest).store(None);
    }

    fn millis(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.origin);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn place(&self, digest: &[u8; 32]) -> &ArcSwapOption<E> {
        &self.places[place(digest, self.places.len())]
    }
}

impl<E> fmt::Debug for Front<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Front")
            .field("places", &self.places.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Number {
        digest: [u8; 32],
        booking: Booking,
        number: u8,
    }

    impl Entry for Number {
        fn digest(&self) -> &[u8; 32] {
            &self.digest
        }

        fn booking(&self) -> &Booking {
            &self.booking
        }
    }

    fn number(digest: [u8; 32], number: u8) -> Arc<Number> {
        let booking = Booking::default();
        Arc::new(Number {
            digest,
            booking,
            number,
        })
    }

    #[test]
    fn an_entry_is_found_until_another_takes_its_place() {
        let front: Front<Number> = Front::new(1);
        let now = Instant::now();
        let found = |digest| front.get(digest, now).map(|entry| entry.number);
        let (one, other) = ([1; 32], [2; 32]);
        assert_eq!(found(&one), None);
        front.put(&number(one, 7), now);
        assert_eq!((found(&one), found(&other)), (Some(7), None));
        front.put(&number(other, 8), now);
        assert_eq!((found(&one), found(&other)), (None, Some(8)));
        front.clear(&other);
        assert_eq!(found(&other), None);
    }

    #[test]
    fn an_entry_whose_use_is_to_be_booked_is_not_found() {
        let (front, now): (Front<Number>, _) = (Front::new(1), Instant::now());
        let entry = number([1; 32], 7);
        front.put(&entry, now);
        let soon = now + UNBOOKED - Duration::from_millis(2);
        assert!(front.get(&[1; 32], soon).is_some());
        assert!(front.get(&[1; 32], now + UNBOOKED).is_none());
        front.put(&entry, now + UNBOOKED);
        assert!(front.get(&[1; 32], now + UNBOOKED).is_some());
    }

    #[test]
    fn there_are_as_many_places_as_the_cache_has_entries_within_bounds() {
        let places = |capacity| Front::<Number>::new(capacity).places.len();
        assert_eq!([places(0), places(3), places(u64::MAX)], [1, 4, 1 << 17]);
    }
}
