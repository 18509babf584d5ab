//! Everything that can go wrong with the store of a fleet, with real processes under load.
//!
//! Three gateways (the built binary) on one `redis-server`, and clients that go on while the fault
//! comes and goes: [`traffic`]. Whoever is let in is judged afterwards by [`oracle`]. What the
//! clients saw becomes a row of docs/reliability.md: [`report`].
//!
//! One fault at a time, since each takes both cores. Short by default; `scripts/faults` runs them
//! longer and writes the page.

mod board;
mod client;
mod clock;
mod credentials;
mod fault;
mod gateway;
mod oracle;
mod relay;
mod report;
mod traffic;
mod upstream;
mod world;

mod clocks;
mod fail_over;
mod loss;
mod outages;
mod page;

#[expect(dead_code, reason = "this issuer signs with one algorithm")]
#[path = "../support/jwks_issuer.rs"]
mod jwks_issuer;
#[expect(dead_code, unreachable_pub, reason = "other tests use more of it")]
#[path = "../support/redis_cluster.rs"]
mod redis_cluster;
#[expect(dead_code, unreachable_pub, reason = "other tests use more of it")]
#[path = "../support/redis.rs"]
mod redis_server;
