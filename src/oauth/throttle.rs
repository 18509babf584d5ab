//! Slowing down whoever keeps failing (OAuth 2.1 §2.4.1): each instance counts for itself.
//!
//! A number of failures is free; after that each further one doubles the wait, up to a bound.
//! Invariants: bounded memory; a success is no excuse for failures of others from the same
//! address; a name that is guessed at from everywhere waits too, but never for long, so that
//! nobody can lock a user out for good.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What failures are counted for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// One address that tries to be clients.
    Clients(IpAddr),
    /// One address that tries to log in.
    Logins(IpAddr),
    /// One login name, from wherever.
    Name(String),
}

/// The failures of the last while.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    counts: Mutex<HashMap<Subject, Count>>,
}

#[derive(Debug)]
struct Count {
    failures: u32,
    last: Instant,
}

/// Past this the failures of a subject are forgotten.
const MEMORY: Duration = Duration::from_secs(15 * 60);
const LONGEST_WAIT: Duration = Duration::from_secs(5 * 60);
const MOST_SUBJECTS: usize = 50_000;

impl Subject {
    /// How many failures are free.
    const fn free(&self) -> u32 {
        match self {
            Subject::Clients(_) => 30,
            Subject::Logins(_) => 20,
            Subject::Name(_) => 5,
        }
    }

    /// Whoever has one IPv6 address has the network of 2^64 around it.
    fn normal(self) -> Subject {
        let network = |address: IpAddr| match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        };
        match self {
            Subject::Clients(address) => Subject::Clients(network(address)),
            Subject::Logins(address) => Subject::Logins(network(address)),
            name @ Subject::Name(_) => name,
        }
    }
}

impl Throttle {
    /// How long a subject has to wait; `None` is not at all.
    pub(super) fn wait(&self, subject: &Subject) -> Option<Duration> {
        let subject = subject.clone().normal();
        let counts = self.counts();
        let count = counts.get(&subject)?;
        let over = count.failures.checked_sub(subject.free())?;
        let wait = Duration::from_secs(1 << over.min(16)).min(LONGEST_WAIT);
        let left = wait.checked_sub(count.last.elapsed())?;
        (!left.is_zero()).then_some(left)
    }

    /// Counts a failure.
    pub(super) fn failed(&self, subject: Subject) {
        let now = Instant::now();
        let mut counts = self.counts();
        if counts.len() >= MOST_SUBJECTS {
            counts.retain(|_, count| now.duration_since(count.last) < MEMORY);
        }
        // Still full: an attack from a botnet, whose addresses it would be of no use to remember.
        if counts.len() >= MOST_SUBJECTS {
            counts.clear();
        }
        let count = counts.entry(subject.normal()).or_insert(Count {
            failures: 0,
            last: now,
        });
        if now.duration_since(count.last) >= MEMORY {
            count.failures = 0;
        }
        count.failures = count.failures.saturating_add(1);
        count.last = now;
    }

    /// Forgets a name's failures: its owner has shown up.
    pub(super) fn succeeded(&self, subject: &Subject) {
        self.counts().remove(subject);
    }

    /// Whole after every statement, so a panic elsewhere does not matter.
    fn counts(&self) -> MutexGuard<'_, HashMap<Subject, Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn some_failures_are_free_and_each_further_one_doubles_the_wait() {
        let (throttle, name) = (Throttle::default(), Subject::Name("alice".into()));
        for _ in 0..4 {
            throttle.failed(name.clone());
            assert_eq!(throttle.wait(&name), None);
        }
        for seconds in [1, 2, 4, 8] {
            throttle.failed(name.clone());
            assert_eq!(throttle.wait(&name), Some(Duration::from_secs(seconds)));
            advance(Duration::from_secs(seconds)).await;
            assert_eq!(throttle.wait(&name), None);
        }
        for _ in 0..40 {
            throttle.failed(name.clone());
        }
        assert_eq!(throttle.wait(&name), Some(LONGEST_WAIT));
        throttle.succeeded(&name);
        assert_eq!(throttle.wait(&name), None);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_forgotten_after_a_while_and_networks_count_as_one() {
        let throttle = Throttle::default();
        let at = |text: &str| Subject::Logins(text.parse().expect("an address"));
        for host in 0..40 {
            throttle.failed(at(&format!("2001:db8::{host:x}")));
        }
        assert!(throttle.wait(&at("2001:db8::ffff")).is_some());
        assert!(throttle.wait(&at("2001:db8:0:1::1")).is_none());
        advance(MEMORY).await;
        throttle.failed(at("2001:db8::1"));
        assert!(throttle.wait(&at("2001:db8::1")).is_none());
    }
}
