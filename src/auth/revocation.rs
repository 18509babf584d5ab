//! What is revoked, and for how long this instance may trust that it knows.
//!
//! The not-before list holds every denial that this instance has read from the log; the lease
//! tells how old the last proof is that nothing else was revoked. Not here: reading the log
//! ([`super::follower`]). Invariants: a denial once seen stays, also when the store loses it;
//! the lease runs on monotonic time, so no step of the wall clock extends trust, and none makes a
//! denial be forgotten that still matters; a lease that was never confirmed is not fresh.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use crate::clock::Timestamp;
use crate::store::{Denial, DenialKind};

use super::denial_list::{DenialList, Moment};
use super::{CacheSettings, Failure, IssuerSettings, Unavailable};

/// The not-before list and the lease on it. One per process, shared by its workers.
#[derive(Debug)]
pub struct Revocation {
    denials: ArcSwap<DenialList>,
    /// The oldest confirmation that is trusted.
    stale: Duration,
    /// Milliseconds before a denial within which an issue is not safely before it.
    skew: AtomicU64,
    /// Milliseconds for which a denial of tokens matters: none that it could hit lives longer.
    retention: AtomicU64,
    origin: Instant,
    /// Milliseconds from `origin` to the last confirmation, plus one; zero is never.
    confirmed: AtomicU64,
}

/// The state of the lease, as `/readyz` asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// Confirmed so long ago, within the bound.
    Fresh(Duration),
    /// Confirmed too long ago: whatever depends on it is 503.
    Stale(Duration),
    /// Not confirmed since the process started: whatever depends on it is 503.
    Unconfirmed,
}

/// The least that is allowed for: clocks differ by as much, tokens live as long.
const DEFAULT_SKEW: Duration = Duration::from_secs(60);
const DEFAULT_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

impl Revocation {
    /// Nothing known, never confirmed.
    pub fn new(cache: &CacheSettings, issuers: &[IssuerSettings]) -> Revocation {
        let revocation = Revocation {
            denials: ArcSwap::default(),
            stale: cache.stale,
            skew: AtomicU64::new(millis(DEFAULT_SKEW)),
            retention: AtomicU64::new(millis(DEFAULT_LIFETIME + 2 * DEFAULT_SKEW)),
            origin: Instant::now(),
            confirmed: AtomicU64::new(0),
        };
        revocation.allow_for(issuers);
        revocation
    }

    /// Takes the widest skew and the longest life that a reload allows. Never back to less:
    /// tokens of the issuers before are still out there.
    pub fn allow_for(&self, issuers: &[IssuerSettings]) {
        for issuer in issuers {
            let (skew, lifetime) = (issuer.clock_skew, issuer.max_lifetime);
            self.skew.fetch_max(millis(skew), Ordering::Relaxed);
            // Skew on both ends: of the issue, and of the expiry.
            let retention = lifetime.saturating_add(skew.saturating_mul(2));
            self.retention
                .fetch_max(millis(retention), Ordering::Relaxed);
        }
    }

    /// The state of the lease.
    pub fn lease(&self) -> Lease {
        match self.lease_age() {
            None => Lease::Unconfirmed,
            Some(age) if age <= self.stale => Lease::Fresh(age),
            Some(age) => Lease::Stale(age),
        }
    }

    /// How long ago the log was last confirmed; `None` is never.
    pub fn lease_age(&self) -> Option<Duration> {
        let confirmed = self.confirmed.load(Ordering::Acquire).checked_sub(1)?;
        let now = self.origin.elapsed();
        Some(now.saturating_sub(Duration::from_millis(confirmed)))
    }

    /// Whether what is known may be served.
    pub(super) fn require_fresh(&self) -> Result<(), Failure> {
        match self.lease() {
            Lease::Fresh(_) => Ok(()),
            Lease::Stale(_) | Lease::Unconfirmed => Err(Failure::Unavailable(Unavailable::Lease)),
        }
    }

    /// Whether a credential issued at `issued_at` is denied by one of its `marks`: its own id or
    /// the ids of what it belongs to.
    pub(super) fn denies<'a>(
        &self,
        issued_at: Timestamp,
        marks: impl IntoIterator<Item = (DenialKind, &'a str)>,
    ) -> bool {
        let denials = self.denials.load();
        let skew = Duration::from_millis(self.skew.load(Ordering::Relaxed));
        marks.into_iter().any(|(kind, id)| {
            denials.at(kind, id).is_some_and(|at| match reach(kind) {
                Reach::Absolute => true,
                // interface.md §7.2: better a few refused just after than one let through.
                Reach::IssuedBefore => issued_at < at.plus(skew),
            })
        })
    }

    /// Adds denials. The follower does, and once whoever reads the memory on disk: of two at a
    /// time none loses what the other added.
    pub(super) fn deny(&self, denials: impl IntoIterator<Item = Denial>, now: Timestamp) {
        let denials: Vec<Denial> = denials.into_iter().collect();
        if denials.is_empty() {
            return;
        }
        let retention = Duration::from_millis(self.retention.load(Ordering::Relaxed));
        let now = Moment {
            wall: now,
            lived: self.origin.elapsed(),
        };
        self.denials.rcu(|list| {
            let mut list = DenialList::clone(list);
            for denial in denials.iter().cloned() {
                list.add(denial, now, retention);
            }
            list
        });
    }

    /// The list as it is now.
    pub(super) fn list(&self) -> Arc<DenialList> {
        self.denials.load_full()
    }

    /// Everything that was revoked up to `at` is in the list.
    pub(super) fn confirm(&self, at: Instant) {
        let millis = millis(at.saturating_duration_since(self.origin));
        self.confirmed
            .store(millis.saturating_add(1), Ordering::Release);
    }
}

/// What a denial does to credentials that were issued after it.
enum Reach {
    Absolute,
    IssuedBefore,
}

fn reach(kind: DenialKind) -> Reach {
    match kind {
        DenialKind::Grant | DenialKind::Jti | DenialKind::Key | DenialKind::Session => {
            Reach::Absolute
        }
        DenialKind::Account | DenialKind::Client | DenialKind::Issuer | DenialKind::Subject => {
            Reach::IssuedBefore
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tokio::time::advance;

    use crate::auth::{IssuerRevocation, JwksSource, TokenType};

    use super::*;

    const AT: Timestamp = Timestamp::from_secs(1_790_000_000);
    const MINUTE: Duration = Duration::from_secs(60);
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn revocation(issuers: &[IssuerSettings]) -> Revocation {
        let cache = CacheSettings {
            capacity: 1,
            fresh: MINUTE,
            stale: 5 * MINUTE,
            negative: Duration::from_secs(2),
        };
        Revocation::new(&cache, issuers)
    }

    fn issuer(clock_skew: Duration, max_lifetime: Duration) -> IssuerSettings {
        IssuerSettings {
            issuer: "https://idp.example".into(),
            jwks: JwksSource::File(PathBuf::new()),
            audiences: Vec::new(),
            algorithms: Vec::new(),
            token_type: TokenType::AccessToken,
            clock_skew,
            max_lifetime,
            revocation: IssuerRevocation::Log,
        }
    }

    fn denial(kind: DenialKind, id: &str, at: Timestamp) -> Denial {
        Denial {
            kind,
            id: id.into(),
            at,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn absolute_kinds_deny_whatever_was_issued_when() {
        let revocation = revocation(&[]);
        for kind in [
            DenialKind::Grant,
            DenialKind::Jti,
            DenialKind::Key,
            DenialKind::Session,
        ] {
            revocation.deny([denial(kind, "id", AT)], AT);
            assert!(revocation.denies(AT.plus(365 * DAY), [(kind, "id")]));
            assert!(!revocation.denies(AT, [(kind, "other")]));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_other_kinds_deny_what_was_issued_before_their_time_and_the_skew() {
        let revocation = revocation(&[issuer(2 * MINUTE, DAY)]);
        let milli = Duration::from_millis(1);
        for kind in [
            DenialKind::Account,
            DenialKind::Client,
            DenialKind::Issuer,
            DenialKind::Subject,
        ] {
            revocation.deny([denial(kind, "id", AT)], AT);
            let edge = AT.plus(2 * MINUTE);
            assert!(revocation.denies(edge.minus(milli), [(kind, "id")]));
            assert!(!revocation.denies(edge, [(kind, "id")]));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_denials_of_one_id_the_later_counts() {
        let revocation = revocation(&[]);
        let later = AT.plus(10 * MINUTE);
        for at in [AT, later, AT] {
            revocation.deny([denial(DenialKind::Subject, "id", at)], later);
        }
        assert!(revocation.denies(later, [(DenialKind::Subject, "id")]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_denial_of_tokens_is_kept_for_as_long_as_a_token_lives_and_one_of_keys_for_good() {
        let revocation = revocation(&[issuer(MINUTE, 2 * DAY)]);
        let kinds = DenialKind::ALL;
        let denies = |id| kinds.map(|kind| revocation.denies(AT, [(kind, id)]));
        let deny = |id: &str, at: Timestamp| {
            revocation.deny(kinds.map(|kind| denial(kind, id, at)), at);
        };
        let end = AT.plus(2 * DAY + 2 * MINUTE);
        deny("first", AT);
        advance(2 * DAY + 2 * MINUTE).await;
        deny("second", end.minus(Duration::from_millis(1)));
        assert_eq!(denies("first"), [true; 8]);
        deny("third", end);
        // The list forgets part by part, as new denials come.
        (0..5000).for_each(|number| deny(&format!("other-{number}"), end));
        let kept = kinds.map(|kind| matches!(kind, DenialKind::Account | DenialKind::Key));
        assert_eq!(denies("first"), kept);
        assert_eq!(denies("second"), [true; 8]);
        assert_eq!(denies("third"), [true; 8]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_ahead_for_a_while_makes_no_denial_be_forgotten() {
        let revocation = revocation(&[]);
        let wrong = AT.plus(30 * DAY);
        revocation.deny([denial(DenialKind::Jti, "id", AT)], AT);
        advance(60 * MINUTE).await;
        for number in 0..5000 {
            let other = format!("other-{number}");
            revocation.deny([denial(DenialKind::Jti, &other, wrong)], wrong);
        }
        assert!(revocation.denies(AT, [(DenialKind::Jti, "id")]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reload_widens_the_bounds_and_never_narrows_them() {
        let revocation = revocation(&[issuer(5 * MINUTE, DAY)]);
        revocation.allow_for(&[issuer(MINUTE, DAY)]);
        revocation.deny([denial(DenialKind::Client, "id", AT)], AT);
        let marks = [(DenialKind::Client, "id")];
        assert!(revocation.denies(AT.plus(4 * MINUTE), marks));
        revocation.allow_for(&[issuer(9 * MINUTE, DAY)]);
        assert!(revocation.denies(AT.plus(8 * MINUTE), marks));
    }

    #[tokio::test(start_paused = true)]
    async fn the_lease_is_fresh_up_to_its_bound_and_only_once_confirmed() {
        let revocation = revocation(&[]);
        assert_eq!(revocation.lease(), Lease::Unconfirmed);
        advance(MINUTE).await;
        revocation.confirm(Instant::now());
        assert_eq!(revocation.lease(), Lease::Fresh(Duration::ZERO));
        advance(5 * MINUTE).await;
        assert_eq!(revocation.lease(), Lease::Fresh(5 * MINUTE));
        assert_eq!(revocation.require_fresh(), Ok(()));
        advance(Duration::from_millis(1)).await;
        let age = 5 * MINUTE + Duration::from_millis(1);
        assert_eq!(revocation.lease(), Lease::Stale(age));
        let failure = Failure::Unavailable(Unavailable::Lease);
        assert_eq!(revocation.require_fresh(), Err(failure));
    }
}
