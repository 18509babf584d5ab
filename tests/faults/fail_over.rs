//! The primary is lost in the middle of something, and its replica goes on.
//!
//! The relays stand for whoever tells the gateways where the new primary is; sentinels are tested in
//! `tests/store/topology_sentinel.rs`. Redis replicates after it has answered, so the last of the
//! other clients' refreshes and codes may be lost, which excuses these; what is in the middle
//! here is not excused.

use std::time::Duration;

use portcullis::id::GrantId;
use portcullis::store::GrantRecord;
use portcullis::token::OpaqueFormat;
use tokio::time::Instant;

use crate::fault::{Fault, run};
use crate::oracle::Class;
use crate::redis_server::{Demands, RedisServer};
use crate::traffic;
use crate::world::{EVERY_SECOND, GATEWAYS, Wiring, World, address};

fn fault(name: &'static str) -> Fault {
    Fault {
        name,
        wiring: Wiring::Relayed,
        excused: &[Class::Refresh, Class::Code],
    }
}

/// A replica that has all that its primary has.
async fn replica(world: &World) -> RedisServer {
    let replica = RedisServer::demanding(Demands::Nothing, &EVERY_SECOND);
    let primary = address(&world.redis);
    let (host, port) = (primary.ip().to_string(), primary.port().to_string());
    let _: String = replica.command(&["REPLICAOF", &host, &port]);
    world
        .eventually("the replica follows", || {
            let info: String = replica.command(&["INFO", "replication"]);
            info.contains("master_link_status:up")
        })
        .await;
    replica
}

/// The primary goes, and everybody is led to the replica.
async fn fail_over(world: &mut World, replica: RedisServer) -> Instant {
    world.redis.kill();
    world.go_on(Duration::from_millis(300)).await;
    let _: String = replica.command(&["REPLICAOF", "NO", "ONE"]);
    for relay in &world.relays {
        relay.turn_to(address(&replica));
    }
    world.redis = replica;
    Instant::now()
}

/// What a relay sees when this grant is written: the script with one key, which is the document.
fn write_of(grant: &GrantId) -> String {
    let document = document(grant);
    format!("$1\r\n1\r\n${}\r\n{document}\r\n", document.len())
}

fn document(grant: &GrantId) -> String {
    format!("pc:g:{grant}")
}

/// Until a server has a grant as `is` wants it.
async fn has(
    world: &World,
    server: &RedisServer,
    grant: &GrantId,
    is: impl Fn(&GrantRecord) -> bool,
) {
    world
        .eventually("it is carried out", || {
            let text: Option<String> = server.command(&["GET", &document(grant)]);
            let text = text.expect("the grant is there");
            is(&serde_json::from_str(&text).expect("a record"))
        })
        .await;
}

/// The client that had no answer asks again, and is told that its code is used up: a code that
/// comes twice may be stolen, so what it gave is over too. Another one goes on working.
#[test]
fn a_redemption_is_cut_off() {
    let fault = fault("fail-over in the middle of a code redemption");
    run(&fault, async |world| {
        let replica = replica(world).await;
        let (code, other) = (world.code(), world.code());
        let grant = OpaqueFormat::new("osir")
            .grant_of_code(&code)
            .expect("a code");
        let quiet = world.hush().await;
        world.relays[0].lose_the_answer_to(&write_of(&grant));
        let first = traffic::exchange_code(&mut world.client(0), &code).await;
        assert_eq!(first.status(), Some(503), "{first:?}");
        has(world, &replica, &grant, |record| record.refresh.is_some()).await;
        let end = fail_over(world, replica).await;
        drop(quiet);
        let _ = world.recovers(end).await;
        for gateway in 0..GATEWAYS {
            let again = traffic::exchange_code(&mut world.client(gateway), &code).await;
            assert_eq!(again.status(), Some(400), "{again:?}");
        }
        let given = traffic::exchange_code(&mut world.client(1), &other).await;
        assert_eq!(given.status(), Some(200), "{given:?}");
        let again = traffic::exchange_code(&mut world.client(2), &other).await;
        assert_eq!(again.status(), Some(400), "{again:?}");
        end
    });
}

/// The client that had no answer asks again within its grace, and goes on.
#[test]
fn a_rotation_is_cut_off() {
    let fault = fault("fail-over in the middle of a refresh rotation");
    run(&fault, async |world| {
        let replica = replica(world).await;
        let code = world.code();
        let grant = OpaqueFormat::new("osir")
            .grant_of_code(&code)
            .expect("a code");
        let given = traffic::exchange_code(&mut world.client(0), &code).await;
        let token = traffic::text(&given.json(), "refresh_token");
        let quiet = world.hush().await;
        world.relays[0].lose_the_answer_to(&write_of(&grant));
        let first = traffic::refresh(&mut world.client(0), &token).await;
        assert_eq!(first.status(), Some(503), "{first:?}");
        let rotated = |record: &GrantRecord| {
            let refresh = record.refresh.as_ref();
            refresh.is_some_and(|refresh| refresh.generation == 1)
        };
        has(world, &replica, &grant, rotated).await;
        let end = fail_over(world, replica).await;
        drop(quiet);
        let _ = world.recovers(end).await;
        let again = traffic::refresh(&mut world.client(1), &token).await;
        assert_eq!(again.status(), Some(200), "{again:?}");
        let bearer = format!("Bearer {}", traffic::text(&again.json(), "access_token"));
        let next = traffic::text(&again.json(), "refresh_token");
        for gateway in 0..GATEWAYS {
            let used = world.client(gateway).get(("authorization", &bearer)).await;
            assert_eq!(used.status(), Some(200), "{used:?}");
        }
        let next = traffic::refresh(&mut world.client(2), &next).await;
        assert_eq!(next.status(), Some(200), "{next:?}");
        end
    });
}

#[test]
fn a_cluster_loses_a_node() {
    let fault = Fault {
        wiring: Wiring::Cluster,
        ..fault("Redis Cluster: the node with the log lost, its replica goes on")
    };
    run(&fault, async |world| {
        let quiet = world.hush().await;
        let cluster = world.cluster.as_mut().expect("a Cluster");
        let share = cluster.share_of("pc:{rev}:log");
        tokio::task::block_in_place(|| cluster.kill_primary(share));
        let cluster = world.cluster.as_ref().expect("a Cluster");
        world
            .eventually("the replica takes over", || {
                let info: String = cluster.replica(share).command(&["INFO", "replication"]);
                info.contains("role:master")
            })
            .await;
        drop(quiet);
        Instant::now()
    });
}
