//! Counts verdicts: `authentications_total{kind,outcome,reason}`.
//!
//! Every handle is resolved at construction, so that a request looks no label up and a series
//! begins at zero instead of with its first event.

use prometheus::IntCounter;

use crate::observe::Metrics;

use super::{CredentialKind, Failure, Principal, Refusal, Unavailable};

/// The counters, by kind.
#[derive(Debug)]
pub(super) struct Tally {
    kinds: [OfKind; CredentialKind::ALL.len()],
}

#[derive(Debug)]
struct OfKind {
    absent: IntCounter,
    accepted: IntCounter,
    refused: [IntCounter; Refusal::ALL.len()],
    unavailable: [IntCounter; Unavailable::ALL.len()],
}

impl Tally {
    pub(super) fn new(metrics: &Metrics) -> Tally {
        Tally {
            kinds: CredentialKind::ALL.map(|kind| OfKind::new(kind, metrics)),
        }
    }

    pub(super) fn count(&self, kind: CredentialKind, verdict: &Result<Principal, Failure>) {
        let of_kind = &self.kinds[kind.index()];
        let counter = match verdict {
            Ok(_) => &of_kind.accepted,
            Err(Failure::Absent) => &of_kind.absent,
            Err(Failure::Refused(refusal)) => &of_kind.refused[refusal.index()],
            Err(Failure::Unavailable(unavailable)) => &of_kind.unavailable[unavailable.index()],
        };
        counter.inc();
    }
}

impl OfKind {
    fn new(kind: CredentialKind, metrics: &Metrics) -> OfKind {
        let counter = |outcome, reason| {
            let labels = [kind.label(), outcome, reason];
            metrics.authentications.with_label_values(&labels)
        };
        OfKind {
            absent: counter("absent", "none"),
            accepted: counter("accepted", "none"),
            refused: Refusal::ALL.map(|refusal| counter("refused", refusal.label())),
            unavailable: Unavailable::ALL
                .map(|unavailable| counter("unavailable", unavailable.label())),
        }
    }
}
