//! Clocks that differ.

use std::time::Duration;

use portcullis::clock::{Clock, Timestamp};
use tokio::time::Instant;

use crate::fault::{Fault, run};
use crate::oracle::Class;
use crate::world::{GATEWAYS, Wiring, World};

const AHEAD: Duration = Duration::from_secs(600);

/// Steps the clock, waits until its process sees it, lets the load go on, and steps it back.
async fn step(world: &World, now: impl AsyncFn(&World) -> Timestamp) -> Instant {
    let clock = world.clock.as_ref().expect("a clock of its own");
    let is_ahead = |seen: Timestamp| {
        let here = Clock::system().now();
        seen.since(here) > AHEAD / 2
    };
    assert!(!is_ahead(now(world).await));
    clock.step(AHEAD);
    while !is_ahead(now(world).await) {
        world.go_on(Duration::from_millis(50)).await;
    }
    world.go_on(world.length.fault).await;
    clock.step(Duration::ZERO);
    while is_ahead(now(world).await) {
        world.go_on(Duration::from_millis(50)).await;
    }
    Instant::now()
}

/// Its own access tokens are issued in the others' future, beyond the allowed skew.
#[test]
fn a_gateway_is_ahead() {
    let fault = Fault {
        name: "a gateway's clock ten minutes ahead",
        wiring: Wiring::GatewayClock,
        excused: &[Class::AccessToken],
    };
    let seen = run(&fault, async |world| {
        step(world, async |world| world.time_at(GATEWAYS - 1).await).await
    });
    for class in [Class::Key, Class::Session, Class::Jwt] {
        assert_eq!(seen.judgement.count(class, 503), 0, "nobody is away");
    }
}

#[test]
fn redis_is_ahead() {
    let fault = Fault {
        name: "Redis' clock ten minutes ahead",
        wiring: Wiring::RedisClock,
        excused: &[],
    };
    let seen = run(&fault, async |world| {
        let now = async |world: &World| {
            let time: (i64, i64) = tokio::task::block_in_place(|| world.redis.command(&["TIME"]));
            Timestamp::from_secs(time.0)
        };
        step(world, now).await
    });
    for class in [Class::Key, Class::Session, Class::Jwt] {
        assert_eq!(seen.judgement.count(class, 503), 0, "nobody is away");
    }
}
