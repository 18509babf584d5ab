//! The stores: one contract for all, and what is particular to each.
//!
//! One binary for all of it, so that it links once. Rows are those of the security page.

mod archive;
mod archive_unrest;
mod contract;
mod clients;
mod crash;
mod fleet;
mod grants;
mod interactions;
mod rotation;
mod sessions;
mod signing_keys;
mod usage;
mod users;
mod embedded;
#[expect(unreachable_pub, reason = "a test binary has no outside")]
mod fixtures;
mod expiry;
mod redis_faults;
mod redis_identity;
mod redis_server_side;
mod topology_cluster;
mod topology_sentinel;
mod topology_single;
#[expect(
    dead_code,
    unreachable_pub,
    reason = "a test binary has no outside, and others use more of it"
)]
#[path = "../support/redis.rs"]
mod redis_server;
#[expect(unreachable_pub, reason = "a test binary has no outside")]
#[path = "../support/redis_cluster.rs"]
mod redis_cluster;
#[expect(unreachable_pub, reason = "a test binary has no outside")]
#[path = "../support/redis_sentinel.rs"]
mod redis_sentinel;
