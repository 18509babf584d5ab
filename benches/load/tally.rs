//! What happened, counted: by one thread in one second, or in all.

use std::collections::BTreeMap;
use std::time::Duration;

use super::failure::Kind;
use super::histogram::Histogram;
use super::line::Answer;

/// Answers with their latencies, and what did not become an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) latency: Histogram,
    pub(crate) statuses: BTreeMap<u16, u64>,
    pub(crate) failures: BTreeMap<Kind, u64>,
    /// Bytes of the answers' bodies.
    pub(crate) received: u64,
    /// Connections that had to be made again.
    pub(crate) reconnected: u64,
}

impl Tally {
    pub(crate) fn answer(&mut self, answer: Answer, latency: Duration) {
        self.latency.record(latency);
        *self.statuses.entry(answer.status.as_u16()).or_default() += 1;
        self.received += answer.bytes;
    }

    pub(crate) fn fail(&mut self, kind: Kind, times: u64) {
        if times > 0 {
            *self.failures.entry(kind).or_default() += times;
        }
    }

    pub(crate) fn merge(&mut self, other: &Tally) {
        self.latency.merge(&other.latency);
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        for (kind, count) in &other.failures {
            self.fail(*kind, *count);
        }
        self.received += other.received;
        self.reconnected += other.reconnected;
    }

    /// Answers of any status.
    pub(crate) fn answers(&self) -> u64 {
        self.latency.count()
    }

    /// Answers of 2xx and 3xx.
    pub(crate) fn successes(&self) -> u64 {
        self.statuses.range(200..400).map(|(_, count)| count).sum()
    }

    /// Requests without an answer.
    pub(crate) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }
}
