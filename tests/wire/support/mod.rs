//! What the tests stand on: a gateway of their own, a client that sends any bytes, an upstream that
//! records what arrives and answers as scripted, and real Redis processes.

mod client;
mod gateway;
mod redis;
mod upstream;

pub use client::{Answer, Raw, Tls};
pub use gateway::{Gateway, PEPPER, Setup, change_pepper};
pub use redis::{PASSWORD as REDIS_PASSWORD, RedisServer};
pub use upstream::{Reply, Upstream};

use std::time::Duration;

use tokio::time::Instant;

/// Waits for something that another thread brings about; fails the test if it does not come.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not come: {what}");
        std::thread::yield_now();
    }
}

/// The seed's bodies, to the byte.
pub const UNAUTHORIZED: &str = r#"{"error":"unauthorized","message":"Invalid or missing API key"}"#;
pub const FORBIDDEN: &str =
    r#"{"error":"forbidden","message":"Insufficient permissions for this action"}"#;
