//! Who has confirmed a revocation, and until when the others may still serve what it revokes.
//!
//! Pure: lists of instances are handed in as they are read. Invariants: an instance counts as having
//! confirmed only if it has read up to a place that the log still has; "nobody is missing" is said
//! only where nobody can be.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::membership::has_lapsed;
use crate::clock::Timestamp;
use crate::id::InstanceId;
use crate::store::{Fleet, Instance};

/// The moment right before a revocation is asked for: milliseconds are counted from here.
#[derive(Clone, Copy, Debug)]
pub struct Begun(pub(super) Instant);

/// What waiting for the fleet came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// A line for each instance that was listed, in the order of their ids.
    pub confirmations: Vec<Confirmation>,
    /// Why these may not be all, or not be true.
    pub doubt: Option<Doubt>,
}

/// One instance's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmation {
    /// Which.
    pub instance: InstanceId,
    /// Where it runs.
    pub name: String,
    /// What is known of it.
    pub outcome: ConfirmationOutcome,
}

/// What is known of an instance after waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfirmationOutcome {
    /// It knows the revocation, at the latest this long after it was asked for.
    Confirmed(Duration),
    /// It has been silent for so long that it can serve nothing.
    Lapsed,
    /// It left the list: it serves no more.
    Left,
    /// Not known. It may serve what is revoked until then at most, if it still runs.
    Silent {
        /// By the clock of whoever waited.
        may_serve_until: Timestamp,
    },
}

/// Why the confirmations prove less than they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// Instances that were cut off before the store lost its list are not on it.
    #[error(
        "the store lost its list of gateways: one that is cut off from it since then is not listed, \
         and may serve until {0}"
    )]
    ListLost(Timestamp),
    /// After a failover, a restore or FLUSHALL.
    #[error(
        "the revocation log was lost or replaced meanwhile, and perhaps the revocation with it: \
         repeat the command"
    )]
    LogLost,
    /// It could not be asked who has confirmed.
    #[error("it was revoked, but the store did not say which gateways know: repeat the command")]
    Store,
}

impl Proof {
    /// Whether nobody serves what is revoked.
    pub fn is_complete(&self) -> bool {
        let silent =
            |each: &Confirmation| matches!(each.outcome, ConfirmationOutcome::Silent { .. });
        self.doubt.is_none() && !self.confirmations.iter().any(silent)
    }

    /// Nothing can be said but why.
    pub(super) fn doubtful(doubt: Doubt) -> Proof {
        Proof {
            confirmations: Vec::new(),
            doubt: Some(doubt),
        }
    }
}

/// Collects confirmations, look by look.
pub(super) struct Roll {
    /// When the revocation was surely in the log, by the wall clock.
    revoked_at: Timestamp,
    entries: BTreeMap<InstanceId, Entry>,
    lost: Option<Duration>,
}

struct Entry {
    last: Instance,
    is_listed: bool,
    confirmed: Option<Duration>,
}

impl Roll {
    /// From the first look. Who comes later has registered after the revocation, and reads the log
    /// only then.
    pub(super) fn new(revoked_at: Timestamp, first: Fleet) -> Roll {
        let entries = first.instances.into_iter().map(|instance| {
            let entry = Entry {
                last: instance,
                is_listed: true,
                confirmed: None,
            };
            (entry.last.report.id.clone(), entry)
        });
        Roll {
            revoked_at,
            entries: entries.collect(),
            lost: first.lost,
        }
    }

    /// Who has not confirmed before and has now, by this look.
    pub(super) fn look(
        &mut self,
        fleet: Fleet,
        has_confirmed: impl Fn(&Instance) -> bool,
    ) -> Vec<InstanceId> {
        self.lost = fleet.lost;
        let mut listed: BTreeMap<InstanceId, Instance> = BTreeMap::new();
        for instance in fleet.instances {
            listed.insert(instance.report.id.clone(), instance);
        }
        let mut news = Vec::new();
        for (id, entry) in &mut self.entries {
            let now = listed.remove(id);
            entry.is_listed = now.is_some();
            entry.last = now.unwrap_or_else(|| entry.last.clone());
            if entry.is_listed && entry.confirmed.is_none() && has_confirmed(&entry.last) {
                news.push(id.clone());
            }
        }
        news
    }

    /// The log still has the place that these have reached: it counts.
    pub(super) fn confirm(&mut self, instances: &[InstanceId], after: Duration) {
        for id in instances {
            if let Some(entry) = self.entries.get_mut(id) {
                entry.confirmed = Some(after);
            }
        }
    }

    /// Whether there is nobody (any more) to wait for.
    pub(super) fn is_settled(&self) -> bool {
        self.entries.values().all(|entry| {
            let lapsed = has_lapsed(entry.last.silent_for, entry.last.report.stale);
            entry.confirmed.is_some() || !entry.is_listed || lapsed
        })
    }

    /// Whether it counts that somebody is not on the list: who left, or that there is nobody.
    pub(super) fn misses_somebody(&self) -> bool {
        let has_left = |entry: &Entry| !entry.is_listed && entry.confirmed.is_none();
        self.entries.is_empty() || self.entries.values().any(has_left)
    }

    /// What there is to tell at `now`.
    pub(super) fn proof(self, now: Timestamp) -> Proof {
        let longest = self.entries.values().map(|entry| entry.last.report.stale);
        let longest = longest.max().unwrap_or_default();
        let unlisted = self.lost.and_then(|ago| longest.checked_sub(ago));
        let confirmations = self
            .entries
            .into_iter()
            .map(|(instance, entry)| Confirmation {
                instance,
                outcome: entry.outcome(self.revoked_at),
                name: entry.last.report.name,
            });
        Proof {
            confirmations: confirmations.collect(),
            doubt: unlisted.map(|rest| Doubt::ListLost(now.plus(rest))),
        }
    }
}

impl Entry {
    fn outcome(&self, revoked_at: Timestamp) -> ConfirmationOutcome {
        let stale = self.last.report.stale;
        match self.confirmed {
            Some(after) => ConfirmationOutcome::Confirmed(after),
            None if !self.is_listed => ConfirmationOutcome::Left,
            None if has_lapsed(self.last.silent_for, stale) => ConfirmationOutcome::Lapsed,
            // It confirmed its lease before the revocation was in the log, or it would know it.
            None => ConfirmationOutcome::Silent {
                may_serve_until: revoked_at.plus(stale),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::store::{FleetReach, InstanceReport, InstanceStage, Position, ReportKind};

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);
    const STALE: Duration = Duration::from_secs(300);

    fn instance(id: &str, confirmed: bool, silent_for: Duration) -> Instance {
        Instance {
            report: InstanceReport {
                id: InstanceId::parse(id).expect("an id"),
                name: format!("host:{id}"),
                version: "1".into(),
                config: "c".into(),
                started_at: NOW,
                stale: STALE,
                lease_age: None,
                last_revocation: None,
                stage: InstanceStage::Serving,
                confirmed: confirmed.then(|| Position::new("end")),
                keep: STALE,
                kind: ReportKind::First,
            },
            silent_for,
        }
    }

    fn fleet(instances: &[Instance]) -> Fleet {
        Fleet {
            instances: instances.to_vec(),
            lost: None,
            reach: FleetReach::Shared,
        }
    }

    fn look(roll: &mut Roll, fleet: Fleet, after: Duration) {
        let news = roll.look(fleet, |instance| instance.report.confirmed.is_some());
        roll.confirm(&news, after);
    }

    fn outcomes(proof: &Proof) -> Vec<ConfirmationOutcome> {
        proof
            .confirmations
            .iter()
            .map(|each| each.outcome)
            .collect()
    }

    const ZERO: Duration = Duration::ZERO;
    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn the_first_sight_of_a_confirmation_counts_and_silence_has_an_end() {
        let all = |one, two| fleet(&[instance("a", one, ZERO), instance("b", two, ZERO)]);
        let mut roll = Roll::new(NOW, all(false, false));
        look(&mut roll, all(false, false), MILLI);
        assert!(!roll.is_settled());
        look(&mut roll, all(true, false), 2 * MILLI);
        look(&mut roll, all(true, false), 3 * MILLI);
        assert!(!roll.is_settled());
        let proof = roll.proof(NOW.plus(MILLI));
        let silent = ConfirmationOutcome::Silent {
            may_serve_until: NOW.plus(STALE),
        };
        let confirmed = ConfirmationOutcome::Confirmed(2 * MILLI);
        assert_eq!(outcomes(&proof), [confirmed, silent]);
        assert!(!proof.is_complete());
    }

    #[test]
    fn who_left_or_lapsed_is_not_waited_for() {
        let long = Duration::from_secs(961);
        let gone = instance("a", false, ZERO);
        let old = instance("b", false, long);
        let mut roll = Roll::new(NOW, fleet(&[gone, old.clone()]));
        look(&mut roll, fleet(&[old]), MILLI);
        assert!(roll.is_settled());
        let proof = roll.proof(NOW);
        let expected = [ConfirmationOutcome::Left, ConfirmationOutcome::Lapsed];
        assert_eq!(outcomes(&proof), expected);
        assert!(proof.is_complete());
    }

    #[test]
    fn who_comes_later_is_not_waited_for_because_it_reads_the_log_after() {
        let mut roll = Roll::new(NOW, fleet(&[]));
        look(&mut roll, fleet(&[instance("a", false, ZERO)]), MILLI);
        assert!(roll.is_settled());
        let proof = roll.proof(NOW);
        assert!(proof.is_complete() && proof.confirmations.is_empty());
    }

    #[test]
    fn a_list_that_lost_entries_proves_nothing_until_the_longest_lease_has_ended() {
        let lost = |ago| Fleet {
            lost: Some(ago),
            ..fleet(&[instance("a", true, ZERO)])
        };
        let mut roll = Roll::new(NOW, lost(ZERO));
        look(&mut roll, lost(Duration::from_secs(100)), MILLI);
        let proof = roll.proof(NOW);
        let until = NOW.plus(Duration::from_secs(200));
        assert_eq!(proof.doubt, Some(Doubt::ListLost(until)));
        assert!(!proof.is_complete());
        let mut roll = Roll::new(NOW, lost(ZERO));
        look(&mut roll, lost(STALE + MILLI), MILLI);
        assert!(roll.proof(NOW).is_complete());
    }
}
