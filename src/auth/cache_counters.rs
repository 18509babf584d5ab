//! What one cache counts: every handle is resolved at its beginning.

use prometheus::IntCounter;

use crate::observe::Metrics;

/// `credential_cache_total`, of one cache.
#[derive(Debug)]
pub(super) struct Counters {
    /// Known to be none.
    pub(super) absent: IntCounter,
    /// Served.
    pub(super) hit: IntCounter,
    /// The store was asked.
    pub(super) miss: IntCounter,
    /// Served, and the store was asked behind it.
    pub(super) refresh: IntCounter,
    /// Another request's question was waited for.
    pub(super) shared: IntCounter,
}

impl Counters {
    pub(super) fn new(cache: &str, metrics: &Metrics) -> Counters {
        let counter = |outcome| {
            let labels = [cache, outcome];
            metrics.credential_cache.with_label_values(&labels)
        };
        Counters {
            absent: counter("absent"),
            hit: counter("hit"),
            miss: counter("miss"),
            refresh: counter("refresh"),
            shared: counter("shared"),
        }
    }
}
