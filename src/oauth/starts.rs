//! How many interactions may begin. Whoever sends a browser to `/oauth/authorize` makes the store keep
//! a record, and no login comes before that.
//!
//! Two token buckets: one for each network, generous to an office behind one address, and one for the
//! whole gateway, which bounds the store. A record is kept for ten minutes and two more, so that at
//! most 1,000 + 720 s × 50/s = 37,000 of one gateway are kept at a time. Invariants: bounded memory; a
//! start that is refused takes nothing from either bucket.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::network::Network;
use super::recent::Recent;

/// The buckets of one gateway.
#[derive(Debug)]
pub(super) struct Starts {
    buckets: Mutex<Buckets>,
}

#[derive(Debug)]
struct Buckets {
    all: Bucket,
    networks: Recent<Network, Bucket>,
}

/// What is left, as the time at which it will be full again if nothing more is taken; `None` is full.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket(Option<Instant>);

/// How much a bucket holds, and how long each takes to come back.
struct Size {
    holds: u32,
    each: Duration,
}

const OF_A_NETWORK: Size = Size {
    holds: 120,
    each: Duration::from_millis(500),
};
const OF_ALL: Size = Size {
    holds: 1_000,
    each: Duration::from_millis(20),
};
/// Whoever has more than this is bounded by the bucket of all.
const MOST_NETWORKS: usize = 50_000;

impl Starts {
    /// With full buckets.
    pub(super) fn new() -> Starts {
        Starts {
            buckets: Mutex::new(Buckets {
                all: Bucket::default(),
                networks: Recent::new(MOST_NETWORKS),
            }),
        }
    }

    /// Whether one more may begin, which counts it.
    pub(super) fn take(&self, address: IpAddr) -> bool {
        let now = Instant::now();
        // Whole after every statement, so a panic elsewhere does not matter.
        let buckets = &mut *self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let network = Network::of(address);
        let network = buckets.networks.touch(network, Bucket::default);
        let (Some(own), Some(all)) = (
            network.without_one(&OF_A_NETWORK, now),
            buckets.all.without_one(&OF_ALL, now),
        ) else {
            return false;
        };
        (*network, buckets.all) = (own, all);
        true
    }
}

impl Bucket {
    /// What is left after one is taken, if there is one.
    fn without_one(self, size: &Size, now: Instant) -> Option<Bucket> {
        let full = self.0.map_or(now, |full| full.max(now)) + size.each;
        (full.duration_since(now) <= size.each * size.holds).then_some(Bucket(Some(full)))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_has_its_share_and_gets_it_back_bit_by_bit() {
        let starts = Starts::new();
        for host in 0..120 {
            assert!(starts.take(address(&format!("2001:db8::{host:x}"))));
        }
        assert!(!starts.take(address("2001:db8::ffff")));
        assert!(starts.take(address("2001:db8:0:1::1")));
        for _ in 0..3 {
            advance(Duration::from_millis(500)).await;
            assert!(starts.take(address("2001:db8::1")));
            assert!(!starts.take(address("2001:db8::1")));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn all_networks_together_have_theirs() {
        let starts = Starts::new();
        let from = |host: u32| IpAddr::from(host.to_be_bytes());
        let begun = (0..5_000).filter(|host| starts.take(from(*host))).count();
        assert_eq!(begun, 1_000);
        // Whoever was refused then has lost nothing of its own.
        advance(Duration::from_secs(20)).await;
        let begun = (0..200).filter(|_| starts.take(from(4_000))).count();
        assert_eq!(begun, 120);
    }
}
