//! Slowing down whoever keeps failing (OAuth 2.1 §2.4.1): each instance counts for itself.
//!
//! A number of failures is free; after that each further one doubles the wait, up to a bound. A login
//! counts as failed from the moment at which it may be tried, in the same lock, so that many at once
//! are no more than many in turn; whoever succeeds, or was not tried, gets that back.
//! Invariants: bounded memory, and no flood of addresses or names makes it forget all at once; a
//! success is no excuse for failures of others from the same network; nobody waits for what others
//! did from other networks. A name that is guessed at from everywhere only leaves each network less
//! that is free, but always the first try, so that nobody can lock a user out. Few logins of one network or
//! name are under way at a time ([`super::under_way`]).

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::network::Network;
use super::recent::Recent;
use super::under_way::UnderWay;

/// The failures of the last while.
#[derive(Debug)]
pub(super) struct Throttle {
    counts: Mutex<Counts>,
    names: RandomState,
}

/// Kinds apart: what there is much of displaces only its own.
#[derive(Debug)]
struct Counts {
    /// One network that tries to be clients.
    clients: Recent<Network, Count>,
    /// One network that tries to log in, as whomever.
    logins: Recent<Network, Count>,
    /// One network that tries to log in under one name.
    guesses: Recent<(Name, Network), Count>,
    /// One name, from everywhere.
    names: Recent<Name, Count>,
    under_way: UnderWay,
}

/// A login name, under a hash of this process: of one size, and no list of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name(u64);

#[derive(Clone, Copy, Debug)]
struct Count {
    failures: u32,
    last: Instant,
}

/// Why a login may not be tried now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// Others of the same network or name are under way.
    Busy,
    /// For so long.
    Wait(Duration),
}

/// A login that may be tried, and counts as failed if nothing else is said of it. It is under way until
/// this is dropped.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    throttle: &'a Throttle,
    name: Name,
    network: Network,
    at: Instant,
    /// The last failures before: of the network, of its guesses at the name, and of the name.
    before: [Instant; 3],
}

/// Past this the failures of a subject are forgotten.
const MEMORY: Duration = Duration::from_secs(15 * 60);
const LONGEST_WAIT: Duration = Duration::from_secs(5 * 60);
/// Of each kind: a few megabytes in all.
const MOST_SUBJECTS: usize = 50_000;

/// How many failures are free.
const FREE_CLIENTS: u32 = 30;
const FREE_LOGINS: u32 = 20;
const FREE_GUESSES: u32 = 5;
/// The same where a name has more failures than its owner would make, from everywhere together.
const FREE_GUESSES_AT_A_TARGET: u32 = 1;
const TARGET: u32 = 20;

impl Throttle {
    /// Nobody has failed.
    pub(super) fn new() -> Throttle {
        Throttle {
            counts: Mutex::new(Counts {
                clients: Recent::new(MOST_SUBJECTS),
                logins: Recent::new(MOST_SUBJECTS),
                guesses: Recent::new(MOST_SUBJECTS),
                names: Recent::new(MOST_SUBJECTS),
                under_way: UnderWay::default(),
            }),
            names: RandomState::new(),
        }
    }

    /// How long an address has to wait before it tries to be a client; `None` is not at all.
    pub(super) fn client_wait(&self, address: IpAddr) -> Option<Duration> {
        let counts = self.counts();
        let count = counts.clients.get(&Network::of(address));
        Count::wait(count, FREE_CLIENTS, Instant::now())
    }

    /// Counts that an address failed to be a client.
    pub(super) fn client_failed(&self, address: IpAddr) {
        let now = Instant::now();
        let mut counts = self.counts();
        let network = Network::of(address);
        counts.clients.touch(network, || Count::new(now)).add(now);
    }

    /// A login that may be tried now, or why not.
    pub(super) fn try_login(&self, name: &str, address: IpAddr) -> Result<Attempt<'_>, Held> {
        let now = Instant::now();
        let (name, network) = (Name(self.names.hash_one(name)), Network::of(address));
        let mut counts = self.counts();
        let from_everywhere = counts.names.get(&name);
        let free = match from_everywhere.map_or(0, |count| count.failures(now)) {
            TARGET.. => FREE_GUESSES_AT_A_TARGET,
            _ => FREE_GUESSES,
        };
        let waits = [
            Count::wait(counts.logins.get(&network), FREE_LOGINS, now),
            Count::wait(counts.guesses.get(&(name, network)), free, now),
        ];
        if let Some(wait) = waits.into_iter().flatten().max() {
            return Err(Held::Wait(wait));
        }
        if !counts.under_way.enter(name, network) {
            return Err(Held::Busy);
        }
        let new = || Count::new(now);
        let before = [
            counts.logins.touch(network, new).add(now),
            counts.guesses.touch((name, network), new).add(now),
            counts.names.touch(name, new).add(now),
        ];
        Ok(Attempt {
            throttle: self,
            name,
            network,
            at: now,
            before,
        })
    }

    /// Whole after every statement, so a panic elsewhere does not matter.
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// It was the right password: what this network guessed at the name before were slips.
    pub(super) fn succeeded(self) {
        let guesses = (self.name, self.network);
        self.throttle.counts().guesses.remove(&guesses);
        self.give_back();
    }

    /// It was not tried.
    pub(super) fn give_back(self) {
        let counts = &mut *self.throttle.counts();
        let counted = [
            counts.logins.get_mut(&self.network),
            counts.guesses.get_mut(&(self.name, self.network)),
            counts.names.get_mut(&self.name),
        ];
        for (count, before) in counted.into_iter().zip(self.before) {
            if let Some(count) = count {
                count.give_back(self.at, before);
            }
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut counts = self.throttle.counts();
        counts.under_way.leave(self.name, self.network);
    }
}

impl Count {
    const fn new(now: Instant) -> Count {
        Count {
            failures: 0,
            last: now,
        }
    }

    /// Those that are not forgotten.
    fn failures(&self, now: Instant) -> u32 {
        match now.duration_since(self.last) < MEMORY {
            true => self.failures,
            false => 0,
        }
    }

    fn wait(count: Option<&Count>, free: u32, now: Instant) -> Option<Duration> {
        let count = count?;
        let over = count.failures(now).checked_sub(free)?;
        let wait = Duration::from_secs(1 << over.min(16)).min(LONGEST_WAIT);
        let left = wait.checked_sub(now.duration_since(count.last))?;
        (!left.is_zero()).then_some(left)
    }

    /// One more; says when the last one before was.
    fn add(&mut self, now: Instant) -> Instant {
        self.failures = self.failures(now).saturating_add(1);
        std::mem::replace(&mut self.last, now)
    }

    /// One less, as it was before unless there was another since.
    fn give_back(&mut self, at: Instant, before: Instant) {
        self.failures = self.failures.saturating_sub(1);
        if self.last == at {
            self.last = before;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// The IPv4 address of this number.
    fn nth(host: u32) -> IpAddr {
        IpAddr::from(host.to_be_bytes())
    }

    fn wait(throttle: &Throttle, name: &str, from: IpAddr) -> Option<Duration> {
        match throttle.try_login(name, from) {
            Ok(attempt) => {
                attempt.give_back();
                None
            }
            Err(Held::Wait(wait)) => Some(wait),
            Err(Held::Busy) => panic!("nothing is under way"),
        }
    }

    fn fail(throttle: &Throttle, name: &str, from: IpAddr) {
        drop(throttle.try_login(name, from).expect("no wait"));
    }

    #[tokio::test(start_paused = true)]
    async fn some_failures_are_free_and_each_further_one_doubles_the_wait() {
        let (throttle, home) = (Throttle::new(), address("192.0.2.1"));
        for _ in 0..4 {
            fail(&throttle, "alice", home);
            assert_eq!(wait(&throttle, "alice", home), None);
        }
        for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            fail(&throttle, "alice", home);
            let seconds = Duration::from_secs(seconds);
            assert_eq!(wait(&throttle, "alice", home), Some(seconds));
            advance(seconds).await;
        }
        throttle
            .try_login("alice", home)
            .expect("no wait")
            .succeeded();
        for _ in 0..5 {
            assert_eq!(wait(&throttle, "alice", home), None);
            fail(&throttle, "alice", home);
        }
        assert!(wait(&throttle, "alice", home).is_some());
        advance(MEMORY).await;
        fail(&throttle, "alice", home);
        assert_eq!(wait(&throttle, "alice", home), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_counts_as_failed_while_it_is_under_way() {
        let (throttle, home) = (Throttle::new(), address("192.0.2.1"));
        let held = |name: &str| throttle.try_login(name, home).err();
        for _ in 0..4 {
            fail(&throttle, "alice", home);
        }
        let under_way = throttle
            .try_login("alice", home)
            .expect("the last free one");
        assert_eq!(held("alice"), Some(Held::Wait(Duration::from_secs(1))));
        // Too busy to be tried: that is free again.
        under_way.give_back();
        assert_eq!(wait(&throttle, "alice", home), None);
        // The same of a network.
        for other in 0..15 {
            fail(&throttle, &format!("user{other}"), home);
        }
        let under_way = throttle
            .try_login("carol", home)
            .expect("the last free one");
        assert_eq!(held("dave"), Some(Held::Wait(Duration::from_secs(1))));
        drop(under_way);
        assert_eq!(held("dave"), Some(Held::Wait(Duration::from_secs(1))));
    }

    #[tokio::test(start_paused = true)]
    async fn few_logins_of_a_network_or_a_name_are_under_way_at_a_time() {
        let throttle = Throttle::new();
        let log_in = |name: &str, host| throttle.try_login(name, nth(host));
        let alice = log_in("alice", 1).expect("room");
        let carol = log_in("carol", 1).expect("room");
        for name in ["alice", "dave"] {
            assert_eq!(log_in(name, 1).err(), Some(Held::Busy), "{name}");
        }
        let elsewhere: Vec<_> = (2..5)
            .map(|host| log_in("alice", host).expect("room"))
            .collect();
        assert_eq!(log_in("alice", 5).err(), Some(Held::Busy));
        // However it ends, its place is free again, and whoever found none has not failed.
        alice.succeeded();
        drop(log_in("alice", 5).expect("room"));
        carol.give_back();
        drop(elsewhere);
        for _ in 0..4 {
            fail(&throttle, "dave", nth(1));
            assert_eq!(wait(&throttle, "dave", nth(1)), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_back_leaves_the_wait_of_others_as_it_was() {
        let (throttle, office) = (Throttle::new(), address("192.0.2.1"));
        for other in 0..20 {
            fail(&throttle, &format!("user{other}"), office);
        }
        advance(Duration::from_secs(1)).await;
        fail(&throttle, "user0", office);
        advance(Duration::from_secs(2)).await;
        throttle
            .try_login("alice", office)
            .expect("no wait")
            .succeeded();
        assert_eq!(wait(&throttle, "carol", office), None);
        fail(&throttle, "user0", office);
        assert_eq!(
            wait(&throttle, "carol", office),
            Some(Duration::from_secs(4))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_everybody_guesses_at_still_opens_at_the_first_try_from_elsewhere() {
        let (throttle, home) = (Throttle::new(), address("2001:db8::1"));
        // Ten times as many as there are seconds, from ever new networks, and each whenever it may.
        for second in 0..3600 {
            for host in 0..10 {
                let from = nth(second % 600 * 10 + host);
                let _ = throttle.try_login("alice", from);
            }
            assert_eq!(wait(&throttle, "alice", home), None, "{second}");
            advance(Duration::from_secs(1)).await;
        }
        // One slip is a second's wait then, and the wait is of that network only.
        fail(&throttle, "alice", home);
        assert_eq!(wait(&throttle, "alice", home), Some(Duration::from_secs(1)));
        assert_eq!(wait(&throttle, "alice", address("2001:db8:0:1::1")), None);
        assert_eq!(wait(&throttle, "carol", home), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_names_or_addresses_forgets_nobody_who_goes_on() {
        let (throttle, thief) = (Throttle::new(), address("192.0.2.1"));
        for _ in 0..5 {
            fail(&throttle, "alice", thief);
        }
        for other in 0..60_000 {
            throttle.client_failed(nth(other));
            // Names and networks of the flood are ever new ones, but fewer than half of what is kept.
            if other < 24_000 {
                let _ = throttle.try_login(&format!("user{other}"), nth(other));
            }
        }
        assert_eq!(
            wait(&throttle, "alice", thief),
            Some(Duration::from_secs(1))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_counts_as_one_and_is_forgotten_after_a_while() {
        let throttle = Throttle::new();
        for host in 0..20 {
            let from = address(&format!("2001:db8::{host:x}"));
            fail(&throttle, &format!("user{host}"), from);
        }
        for host in 0..31 {
            throttle.client_failed(address(&format!("2001:db8::{host:x}")));
        }
        assert!(wait(&throttle, "alice", address("2001:db8::ffff")).is_some());
        assert!(throttle.client_wait(address("2001:db8::ffff")).is_some());
        assert!(wait(&throttle, "alice", address("2001:db8:0:1::1")).is_none());
        assert!(throttle.client_wait(address("2001:db8:0:1::1")).is_none());
        advance(MEMORY).await;
        fail(&throttle, "alice", address("2001:db8::1"));
        throttle.client_failed(address("2001:db8::1"));
        assert!(wait(&throttle, "alice", address("2001:db8::1")).is_none());
        assert!(throttle.client_wait(address("2001:db8::1")).is_none());
    }
}
