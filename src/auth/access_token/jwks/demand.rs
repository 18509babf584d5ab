//! Requests that want a fetch before its time: at most one in 30 s, shared by all who ask.

use std::time::Duration;

use tokio::time::Instant;

/// Between two fetches that tokens brought about. Tokens are free to make; fetches are not.
pub(super) const DEMAND_INTERVAL: Duration = Duration::from_secs(30);

/// How far the fetching is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) started: u64,
    pub(super) finished: u64,
    pub(super) last: Outcome,
}

/// What came of the last attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Outcome {
    Failure,
    #[default]
    Pending,
    Success,
}

/// What a demand comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A fetch is under way: wait until this many are finished.
    Join(u64),
    /// Asked too recently: the last outcome is the answer.
    Rest,
    /// Wake the task, and wait until this many are finished.
    Start(u64),
}

/// What was demanded so far.
#[derive(Debug, Default)]
pub(super) struct Demand {
    last: Option<Instant>,
    /// The number of the fetch that answers the last demand.
    awaited: u64,
}

impl Demand {
    pub(super) fn make(&mut self, progress: Progress, now: Instant) -> Verdict {
        if progress.started > progress.finished {
            return Verdict::Join(progress.started);
        }
        // Demanded, and not begun yet.
        if self.awaited > progress.finished {
            return Verdict::Join(self.awaited);
        }
        let rests = |last: Instant| now.duration_since(last) < DEMAND_INTERVAL;
        if self.last.is_some_and(rests) {
            return Verdict::Rest;
        }
        self.last = Some(now);
        self.awaited = progress.finished + 1;
        Verdict::Start(self.awaited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(started: u64, finished: u64) -> Progress {
        Progress {
            started,
            finished,
            last: Outcome::Success,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_demand_starts_a_fetch_and_the_others_join_it() {
        let mut demand = Demand::default();
        let now = Instant::now();
        assert_eq!(demand.make(progress(1, 1), now), Verdict::Start(2));
        assert_eq!(demand.make(progress(1, 1), now), Verdict::Join(2));
        assert_eq!(demand.make(progress(2, 1), now), Verdict::Join(2));
        assert_eq!(demand.make(progress(2, 2), now), Verdict::Rest);
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_fetch_may_be_demanded_after_thirty_seconds() {
        let mut demand = Demand::default();
        let start = Instant::now();
        assert_eq!(demand.make(progress(1, 1), start), Verdict::Start(2));
        let soon = start + DEMAND_INTERVAL - Duration::from_millis(1);
        assert_eq!(demand.make(progress(2, 2), soon), Verdict::Rest);
        assert_eq!(
            demand.make(progress(2, 2), start + DEMAND_INTERVAL),
            Verdict::Start(3)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_scheduled_fetch_under_way_answers_a_demand_and_is_not_counted_as_one() {
        let mut demand = Demand::default();
        let now = Instant::now();
        assert_eq!(demand.make(progress(5, 4), now), Verdict::Join(5));
        assert_eq!(demand.make(progress(5, 5), now), Verdict::Start(6));
    }
}
