//! Key ids that the issuer, asked for, did not have: not asked for again for a while.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// As long as the shortest life of a key set.
const LIFE: Duration = Duration::from_secs(5 * 60);
/// Each id has at most a header's 1 KiB, so this is bounded by 256 KiB an issuer.
const CAPACITY: usize = 256;

/// The newest [`CAPACITY`] of them, oldest first.
#[derive(Default)]
pub(super) struct UnknownKids(VecDeque<(Instant, Box<str>)>);

impl UnknownKids {
    pub(super) fn contains(&mut self, kid: &str, now: Instant) -> bool {
        while self
            .0
            .front()
            .is_some_and(|(since, _)| now.duration_since(*since) >= LIFE)
        {
            self.0.pop_front();
        }
        self.0.iter().any(|(_, known)| **known == *kid)
    }

    pub(super) fn insert(&mut self, kid: &str, now: Instant) {
        if self.contains(kid, now) {
            return;
        }
        if self.0.len() == CAPACITY {
            self.0.pop_front();
        }
        self.0.push_back((now, kid.into()));
    }

    /// The issuer has other keys now: any of these may be among them.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_unknown_id_is_remembered_for_five_minutes() {
        let mut kids = UnknownKids::default();
        kids.insert("a", Instant::now());
        tokio::time::advance(LIFE - Duration::from_millis(1)).await;
        assert!(kids.contains("a", Instant::now()));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!kids.contains("a", Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_ids_pushes_out_the_oldest_and_takes_no_more_room() {
        let mut kids = UnknownKids::default();
        for number in 0..1000 {
            kids.insert(&number.to_string(), Instant::now());
        }
        assert_eq!(kids.0.len(), CAPACITY);
        assert!(!kids.contains("743", Instant::now()));
        assert!(kids.contains("744", Instant::now()));
        kids.clear();
        assert!(!kids.contains("999", Instant::now()));
    }
}
