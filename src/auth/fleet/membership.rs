//! The rules by which the list of instances is complete: pure, with time handed in.
//!
//! An instance serves while its lease is at most `stale` old. It confirms the lease only if the store
//! took a report of it at most [`BOUND`] before it asked, so it serves at most `stale + BOUND` after
//! its last report, and is listed for longer than that. Invariant: whoever is not on the list, or
//! [has lapsed](has_lapsed), serves nothing, unless the store lost entries.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::store::RENEWED_WITHIN;

/// How long ago the last report that the store took may be for the lease to be confirmed. Long: a
/// store that refuses writes, because its memory is full, does not take the fleet down before.
pub(super) const BOUND: Duration = RENEWED_WITHIN;
/// The longest time between two reports.
pub(super) const INTERVAL: Duration = Duration::from_secs(2);
/// Silent for longer than this is worth a word.
pub(super) const SILENT: Duration = Duration::from_secs(6);
/// For clocks that run differently, and for a replica that took over without the last reports.
const SLACK: Duration = Duration::from_secs(60);
/// For how long people can read that an instance has lapsed.
const REMEMBERED: Duration = Duration::from_secs(5 * 60);

/// Whether this instance is on the list.
#[derive(Debug)]
pub(super) struct Membership {
    /// When the last report was begun that the store took.
    reported: watch::Sender<Option<Instant>>,
}

impl Membership {
    /// Not yet.
    pub(super) fn new() -> Membership {
        Membership {
            reported: watch::Sender::new(None),
        }
    }

    /// The store took a report that was begun then.
    pub(super) fn reported(&self, begun: Instant) {
        self.reported.send_replace(Some(begun));
    }

    /// How long ago that was.
    pub(super) fn age(&self, now: Instant) -> Option<Duration> {
        let reported = *self.reported.borrow();
        reported.map(|reported| now.saturating_duration_since(reported))
    }

    /// Whether what the log is asked now may confirm the lease.
    pub(super) fn holds(&self, now: Instant) -> bool {
        self.age(now).is_some_and(|age| age <= BOUND)
    }

    /// Waits for the first report.
    pub(super) async fn begun(&self) {
        let mut reported = self.reported.subscribe();
        // The sender lives in `self`, so the wait cannot end in its being gone.
        let _ = reported.wait_for(Option::is_some).await;
    }
}

/// For how long an instance is listed after a report.
pub(super) fn keep(stale: Duration) -> Duration {
    lapses_after(stale).saturating_add(REMEMBERED)
}

/// Whether an instance that is silent for so long can serve no more.
pub(super) fn has_lapsed(silent_for: Duration, stale: Duration) -> bool {
    silent_for > lapses_after(stale)
}

/// Whether an instance has missed its reports.
pub(super) fn is_silent(silent_for: Duration) -> bool {
    silent_for > SILENT
}

fn lapses_after(stale: Duration) -> Duration {
    BOUND.saturating_add(stale).saturating_add(SLACK)
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const STALE: Duration = Duration::from_secs(300);
    const MILLI: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn nothing_is_confirmed_before_the_first_report_and_long_after_the_last() {
        let membership = Membership::new();
        assert!(!membership.holds(Instant::now()));
        membership.reported(Instant::now());
        advance(BOUND).await;
        assert!(membership.holds(Instant::now()));
        advance(MILLI).await;
        assert!(!membership.holds(Instant::now()));
        membership.reported(Instant::now());
        assert!(membership.holds(Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_can_serve_has_not_lapsed_and_is_kept() {
        let membership = Membership::new();
        membership.reported(Instant::now());
        let report = Instant::now();
        // The latest question that may confirm a lease, and the latest moment that it allows.
        advance(BOUND).await;
        assert!(membership.holds(Instant::now()));
        advance(STALE).await;
        let silent_for = report.elapsed();
        assert!(!has_lapsed(silent_for, STALE) && silent_for < keep(STALE));
        // A minute for what clocks and replicas are wrong by.
        assert!(!has_lapsed(silent_for + SLACK, STALE));
        assert!(has_lapsed(silent_for + SLACK + MILLI, STALE));
        assert!(silent_for + SLACK + MILLI < keep(STALE), "and is told so");
    }

    #[test]
    fn an_instance_that_reports_in_time_is_not_silent() {
        assert!(!is_silent(INTERVAL * 2));
        assert!(is_silent(INTERVAL * 4));
        assert!(!has_lapsed(INTERVAL * 4, Duration::ZERO));
    }
}
