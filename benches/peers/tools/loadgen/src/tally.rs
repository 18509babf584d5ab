//! What came of the requests, and its one line of JSON.

use std::cell::RefCell;
use std::fmt::Debug;
use std::time::Duration;

use tokio::time::Instant;

/// Errors are shown up to this many, and counted beyond.
const SHOWN: u64 = 3;

pub struct Tally {
    started: Instant,
    counts: RefCell<Counts>,
}

#[derive(Default)]
struct Counts {
    good: u64,
    errors: u64,
    bytes: u64,
    /// Microseconds.
    latencies: Vec<u32>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            counts: RefCell::default(),
        }
    }
}

impl Tally {
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub fn good(&self, latency: Duration) {
        let mut counts = self.counts.borrow_mut();
        counts.good += 1;
        counts
            .latencies
            .push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
    }

    pub fn transferred(&self, bytes: u64) {
        let mut counts = self.counts.borrow_mut();
        counts.good += 1;
        counts.bytes += bytes;
    }

    pub fn error(&self, what: &impl Debug) {
        let mut counts = self.counts.borrow_mut();
        if counts.errors < SHOWN {
            eprintln!("{what:?}");
        }
        counts.errors += 1;
    }

    pub fn json(&self) -> String {
        let mut counts = self.counts.borrow_mut();
        counts.latencies.sort_unstable();
        let (good, errors, bytes, seconds) = (
            counts.good,
            counts.errors,
            counts.bytes,
            self.elapsed().as_secs_f64(),
        );
        let [p50, p90, p99, p999] =
            [0.5, 0.9, 0.99, 0.999].map(|part| quantile(&counts.latencies, part));
        format!(
            r#"{{"ok":{good},"err":{errors},"bytes":{bytes},"secs":{seconds:.3},"p50":{p50},"p90":{p90},"p99":{p99},"p999":{p999}}}"#
        )
    }
}

fn quantile(sorted: &[u32], part: f64) -> u32 {
    let rank = (sorted.len() as f64 * part) as usize;
    sorted
        .get(rank.min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or(0)
}
