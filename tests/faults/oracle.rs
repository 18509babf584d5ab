//! Who may be let in when, and whether the gateways kept to it.
//!
//! A revocation counts from the moment at which its caller had the answer. After that and the bound
//! (`credentials.cache.stale`), no request that is *sent* may be answered with 200: between sending
//! and answering lies the verdict, so this accuses no gateway that is right, however slow the
//! machine. Where a proof came with the answer (`?wait=`), it counts in the bound's place: from a
//! complete one on nobody lets it in. Not here: asking. Invariant: whoever is let in without ever having been entitled, or
//! entitled no more, is a wrong allow; whoever is refused by more than 503 while entitled is a
//! wrong refusal, unless the store itself has lost him.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// How the figures are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    Key,
    Session,
    Jwt,
    AccessToken,
    Refresh,
    Code,
    RevokedKey,
    RevokedSession,
    RevokedJwt,
    RevokedGrant,
    Wrong,
}

/// Whether somebody was ever entitled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// Until it is revoked.
    Entitled,
    /// Never.
    None,
}

/// One credential.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) class: Class,
    pub(crate) right: Right,
    /// Since when somebody has been trying to revoke it.
    pub(crate) condemned: Option<Instant>,
    /// When a revocation was acknowledged.
    pub(crate) revoked: Option<Instant>,
    /// Until when it might be let in by the proof that was given with the acknowledgement.
    pub(crate) proven: Option<Instant>,
}

/// One request with a credential.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Which subject, by its number.
    pub(crate) subject: usize,
    /// At which gateway.
    pub(crate) gateway: usize,
    pub(crate) sent: Instant,
    pub(crate) ended: Instant,
    /// The status; `None` is no answer.
    pub(crate) status: Option<u16>,
}

/// By what a run is judged.
#[derive(Clone, Debug)]
pub(crate) struct Law {
    /// The bound on trust in what may be out of date.
    pub(crate) bound: Duration,
    /// When the store lost what it knew, if it did.
    pub(crate) lost: Option<Instant>,
    /// Who may be refused because of the fault, as its description says.
    pub(crate) excused: Vec<Class>,
    /// Which gateway gave no answers from when to when, since there was none.
    pub(crate) down: Option<(usize, Instant, Instant)>,
}

/// What came out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Judgement {
    /// How often each class got which status; 0 is no answer.
    pub(crate) counts: BTreeMap<Class, BTreeMap<u16, u64>>,
    pub(crate) wrong_allows: Vec<String>,
    pub(crate) wrong_refusals: Vec<String>,
    /// The latest request that was let in after its credential's revocation was acknowledged, as
    /// time since then.
    pub(crate) latest_allow: Duration,
}

/// Clocks of milliseconds are rounded.
const ROUNDING: Duration = Duration::from_millis(50);

impl Law {
    pub(crate) fn judge(&self, subjects: &[Subject], samples: &[Sample]) -> Judgement {
        let mut judgement = Judgement::default();
        for sample in samples {
            let subject = &subjects[sample.subject];
            let counts = judgement.counts.entry(subject.class).or_default();
            *counts.entry(sample.status.unwrap_or(0)).or_default() += 1;
            if sample.status == Some(200) {
                let since = subject.revoked.map(|at| {
                    let since = sample.sent.checked_duration_since(at);
                    since.unwrap_or(Duration::ZERO)
                });
                judgement.latest_allow = judgement.latest_allow.max(since.unwrap_or_default());
                let late = since.is_some_and(|since| since > self.bound + ROUNDING);
                let belied = subject.proven.is_some_and(|until| sample.sent > until);
                if late || belied || subject.right == Right::None {
                    judgement.wrong_allows.push(tell(subject, sample, since));
                }
            } else if self.wrongs(subject, sample) {
                judgement.wrong_refusals.push(tell(subject, sample, None));
            }
        }
        judgement
    }

    /// Whether a refusal is wrong.
    fn wrongs(&self, subject: &Subject, sample: &Sample) -> bool {
        match sample.status {
            Some(503) => false,
            // Of a credential and of a grant.
            Some(401 | 400) => {
                subject.right == Right::Entitled
                    && subject.condemned.is_none_or(|at| sample.ended < at)
                    && self.lost.is_none_or(|at| sample.ended < at)
                    && !self.excused.contains(&subject.class)
            }
            // A request that was under way while the process was not there.
            None => self.down.is_none_or(|(gateway, from, to)| {
                sample.gateway != gateway || sample.ended < from || sample.sent > to
            }),
            // Nothing here is answered so.
            Some(_) => true,
        }
    }
}

fn tell(subject: &Subject, sample: &Sample, since: Option<Duration>) -> String {
    let Sample {
        subject: number,
        gateway,
        status,
        ..
    } = sample;
    let class = subject.class;
    format!("{class:?} {number} at gateway {gateway}: {status:?}, {since:?} after its revocation")
}

impl Judgement {
    /// How often a class got a status.
    pub(crate) fn count(&self, class: Class, status: u16) -> u64 {
        let counts = self.counts.get(&class);
        counts
            .and_then(|counts| counts.get(&status))
            .copied()
            .unwrap_or(0)
    }
}

/// From a fault's end to the first whole second without 503. `None` is: there was none.
pub(crate) fn recovery(samples: &[Sample], end: Instant, now: Instant) -> Option<Duration> {
    const CALM: Duration = Duration::from_secs(1);
    let unavailable = samples.iter().filter(|sample| sample.status == Some(503));
    let mut times: Vec<Instant> = unavailable.map(|sample| sample.ended).collect();
    times.retain(|at| *at >= end);
    times.sort();
    let mut calm_since = end;
    for at in times {
        if at >= calm_since + CALM {
            break;
        }
        calm_since = at;
    }
    (now >= calm_since + CALM).then(|| calm_since - end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_secs(3);

    fn after(at: Instant, millis: u64) -> Instant {
        at + Duration::from_millis(millis)
    }

    fn law() -> Law {
        Law {
            bound: BOUND,
            lost: None,
            excused: Vec::new(),
            down: None,
        }
    }

    fn subject(right: Right) -> Subject {
        Subject {
            class: Class::Key,
            right,
            condemned: None,
            revoked: None,
            proven: None,
        }
    }

    fn sample(sent: Instant, status: Option<u16>) -> Sample {
        Sample {
            subject: 0,
            gateway: 0,
            sent,
            ended: after(sent, 10),
            status,
        }
    }

    #[test]
    fn an_allow_past_the_bound_is_wrong_and_one_within_it_is_told() {
        let begun = Instant::now();
        let revoked = Subject {
            condemned: Some(begun),
            revoked: Some(after(begun, 100)),
            ..subject(Right::Entitled)
        };
        let at = |millis| sample(after(begun, millis), Some(200));
        let judgement = law().judge(std::slice::from_ref(&revoked), &[at(50), at(3100)]);
        assert!(judgement.wrong_allows.is_empty());
        assert_eq!(judgement.latest_allow, BOUND);
        let judgement = law().judge(&[revoked], &[at(3151)]);
        assert_eq!(judgement.wrong_allows.len(), 1);
    }

    #[test]
    fn an_allow_after_a_proof_is_wrong_however_soon() {
        let begun = Instant::now();
        let proven = Subject {
            revoked: Some(begun),
            proven: Some(begun),
            ..subject(Right::Entitled)
        };
        let at = |millis| sample(after(begun, millis), Some(200));
        let judgement = law().judge(&[proven], &[at(0), at(1)]);
        assert_eq!(judgement.wrong_allows.len(), 1);
    }

    #[test]
    fn who_was_never_entitled_is_never_let_in() {
        let now = Instant::now();
        let wrong = [subject(Right::None)];
        let seen = [401, 503, 200].map(|status| sample(now, Some(status)));
        let judgement = law().judge(&wrong, &seen);
        assert_eq!(judgement.wrong_allows.len(), 1);
        assert!(judgement.wrong_refusals.is_empty());
    }

    #[test]
    fn who_is_entitled_is_let_in_or_told_to_come_later() {
        let now = Instant::now();
        let good = [subject(Right::Entitled)];
        let seen = [Some(200), Some(503), Some(401), Some(502), None];
        let seen = seen.map(|status| sample(now, status));
        let judgement = law().judge(&good, &seen);
        assert_eq!(judgement.wrong_refusals.len(), 3, "{judgement:?}");
        assert_eq!(judgement.count(Class::Key, 0), 1);
        let lost = Law {
            lost: Some(now),
            ..law()
        };
        // No loss explains a bad gateway or silence.
        assert_eq!(lost.judge(&good, &seen).wrong_refusals.len(), 2);
        let excused = Law {
            excused: vec![Class::Key],
            ..law()
        };
        assert_eq!(excused.judge(&good, &seen).wrong_refusals.len(), 2);
    }

    #[test]
    fn silence_is_excused_only_of_who_is_not_there() {
        let now = Instant::now();
        let good = [subject(Right::Entitled)];
        let down = |gateway| Law {
            down: Some((gateway, now, after(now, 100))),
            ..law()
        };
        let seen = [0, 101].map(|millis| sample(after(now, millis), None));
        assert_eq!(down(0).judge(&good, &seen).wrong_refusals.len(), 1);
        assert_eq!(down(1).judge(&good, &seen).wrong_refusals.len(), 2);
    }

    #[test]
    fn who_is_being_revoked_may_be_refused_before_anybody_is_told() {
        let now = Instant::now();
        let condemned = Subject {
            condemned: Some(after(now, 500)),
            ..subject(Right::Entitled)
        };
        let seen = [0, 500].map(|millis| sample(after(now, millis), Some(401)));
        let judgement = law().judge(&[condemned], &seen);
        assert_eq!(judgement.wrong_refusals.len(), 1);
    }

    #[test]
    fn recovery_is_the_first_whole_second_without_503() {
        let end = Instant::now();
        let at = |millis, status| sample(after(end, millis), Some(status));
        let seen = [at(300, 503), at(900, 200), at(1200, 503), at(5000, 503)];
        let told = |now| recovery(&seen, end, after(end, now));
        assert_eq!(told(2000), None);
        assert_eq!(told(2210), Some(Duration::from_millis(1210)));
        assert_eq!(told(9000), Some(Duration::from_millis(1210)));
        assert_eq!(recovery(&[], end, after(end, 1000)), Some(Duration::ZERO));
    }
}
