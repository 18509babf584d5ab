//! A fleet of real gateway processes on one Redis, also behind sentinels and in a Cluster: revocations with their proof, the list of
//! instances, and what of it stands when processes stop, hang, or lose their store's data.

#[path = "../wire/support/client.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "the tests of the wire use more of it"
)]
mod client;
#[expect(unreachable_pub, reason = "a test binary has no outside")]
mod house;
#[path = "../support/redis.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "the tests of the store use more of it"
)]
mod redis_server;
#[path = "../support/redis_cluster.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "the tests of the store use more of it"
)]
mod redis_cluster;
#[path = "../support/redis_sentinel.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "the tests of the store use more of it"
)]
mod redis_sentinel;
#[path = "../wire/support/upstream.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "the tests of the wire use more of it"
)]
mod upstream;

mod commands;
mod kills;
mod list;
mod proof;
mod topologies;
