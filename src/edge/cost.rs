//! Openings for the counts in tests/costs/ and benches/stages.rs: what they measure is private.
//!
//! Not part of the API, and nothing in the gateway calls it. Invariant: it does no work of its
//! own, so that what is counted is what runs.

use tokio::net::TcpStream;

use super::guard::{Guard, HeadLimits};
use super::serve::{Accepted, Door};
use super::{ConnectionLimits, Handler};

/// The wire guard of one connection.
#[derive(Debug)]
pub struct WireGuard(Guard);

impl WireGuard {
    /// Before a connection's first byte.
    pub fn new(limits: &ConnectionLimits) -> WireGuard {
        WireGuard(Guard::new(HeadLimits::new(limits)))
    }

    /// How many of these bytes may go on to hyper.
    pub fn scan(&mut self, bytes: &[u8]) -> usize {
        self.0.scan(bytes).pass
    }
}

/// Bytes of the future that a TLS connection is.
pub fn connection_future<H: Handler>() -> usize {
    future_of(|accepted: Accepted<H>, tcp: TcpStream| accepted.run(tcp, Door::Tls))
}

/// The size of the future that a function returns; it is not called.
fn future_of<A, B, F>(_: impl FnOnce(A, B) -> F) -> usize {
    size_of::<F>()
}
