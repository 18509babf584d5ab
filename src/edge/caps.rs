//! How many connections there may be: in all, and from one address.
//!
//! Invariant: a connection is counted as long as its [`Permit`] lives, and no longer.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// The counts over all workers. Locked once when a connection comes and once when it goes.
#[derive(Debug)]
pub(super) struct Caps {
    total: usize,
    per_address: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One counted connection.
#[derive(Debug)]
pub(super) struct Permit {
    caps: Arc<Caps>,
    network: IpAddr,
}

/// Which cap is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    Address,
    Total,
}

impl Full {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Full::Address => "address",
            Full::Total => "total",
        }
    }
}

impl Caps {
    pub(super) fn new(total: usize, per_address: usize) -> Arc<Caps> {
        Arc::new(Caps {
            total,
            per_address,
            open: Mutex::default(),
        })
    }

    /// Counts a connection from `address`, or says which cap it would break.
    pub(super) fn enter(self: &Arc<Caps>, address: IpAddr) -> Result<Permit, Full> {
        let network = network(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.total >= self.total {
            return Err(Full::Total);
        }
        let from_here = open.by_address.entry(network).or_insert(0);
        if *from_here >= self.per_address {
            return Err(Full::Address);
        }
        *from_here += 1;
        open.total += 1;
        Ok(Permit {
            caps: Arc::clone(self),
            network,
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = self
            .caps
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        open.total -= 1;
        if let Some(from_here) = open.by_address.get_mut(&self.network) {
            *from_here -= 1;
            if *from_here == 0 {
                open.by_address.remove(&self.network);
            }
        }
    }
}

/// Whoever has one IPv6 address has its whole /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_cap_is_free_again_when_a_permit_is_dropped() {
        let caps = Caps::new(3, 2);
        let first = caps.enter(ip("192.0.2.1")).expect("free");
        let _second = caps.enter(ip("::ffff:192.0.2.1")).expect("free");
        assert_eq!(caps.enter(ip("192.0.2.1")).err(), Some(Full::Address));
        let _third = caps.enter(ip("192.0.2.2")).expect("free");
        assert_eq!(caps.enter(ip("192.0.2.3")).err(), Some(Full::Total));
        drop(first);
        assert!(caps.enter(ip("192.0.2.1")).is_ok());
    }

    #[test]
    fn one_ipv6_network_counts_as_one_address() {
        let caps = Caps::new(9, 1);
        let _first = caps.enter(ip("2001:db8::1")).expect("free");
        assert_eq!(caps.enter(ip("2001:db8::ffff")).err(), Some(Full::Address));
        assert!(caps.enter(ip("2001:db8:0:1::1")).is_ok());
    }
}
