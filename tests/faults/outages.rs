//! The store is away, or as good as.

use std::time::Duration;

use tokio::time::Instant;

use crate::fault::{Fault, run};
use crate::oracle::Class;
use crate::relay::Traffic;
use crate::world::{BOUND, DEADLINE, GATEWAYS, Wiring, World};

fn fault(name: &'static str, wiring: Wiring) -> Fault {
    Fault {
        name,
        wiring,
        excused: &[],
    }
}

/// Row 110 of the security page promises 5 s; the rest is for a busy machine.
const WITHIN: Duration = Duration::from_secs(10);

async fn past_the_bound(world: &World) {
    world.go_on(BOUND + world.length.beyond).await;
}

#[test]
fn redis_is_killed() {
    let fault = fault("Redis killed, and started again", Wiring::Direct);
    let seen = run(&fault, async |world| {
        world.redis.kill();
        past_the_bound(world).await;
        tokio::task::block_in_place(|| world.redis.launch());
        let end = Instant::now();
        assert!(world.recovers(end).await < WITHIN, "row 110");
        end
    });
    for class in [Class::Key, Class::Session, Class::Jwt] {
        assert!(seen.judgement.count(class, 503) > 0, "past the bound");
    }
}

#[test]
fn redis_is_stopped() {
    let fault = fault("Redis stopped (SIGSTOP), and continued", Wiring::Direct);
    run(&fault, async |world| {
        tokio::task::block_in_place(|| world.redis.pause());
        world.go_on(world.length.fault).await;
        world.redis.resume();
        let end = Instant::now();
        assert!(world.recovers(end).await < WITHIN, "row 110");
        end
    });
}

async fn slow(world: &mut World, by: Duration, time: Duration) -> Instant {
    for relay in &world.relays {
        relay.set(Traffic::Late(by));
    }
    world.go_on(time).await;
    for relay in &world.relays {
        relay.set(Traffic::Open);
    }
    Instant::now()
}

#[test]
fn redis_is_slow() {
    let fault = fault("Redis slow: answers 100 ms late", Wiring::Relayed);
    let seen = run(&fault, async |world| {
        let time = world.length.fault;
        slow(world, Duration::from_millis(100), time).await
    });
    for class in [Class::Key, Class::Session, Class::Jwt] {
        assert_eq!(seen.judgement.count(class, 503), 0, "it is in time");
    }
}

#[test]
fn redis_is_slower_than_its_deadline() {
    let name = "Redis slower than its deadline: answers 1 s late";
    let seen = run(&fault(name, Wiring::Relayed), async |world| {
        let time = BOUND + world.length.beyond;
        slow(world, 2 * DEADLINE, time).await
    });
    let late = seen.judgement.count(Class::Key, 503);
    assert!(late > 0, "too late is away");
}

#[test]
fn one_gateway_is_cut_off() {
    let name = "one gateway of three cut off from Redis";
    let seen = run(&fault(name, Wiring::Relayed), async |world| {
        let last = GATEWAYS - 1;
        world.relays[last].set(Traffic::Cut);
        past_the_bound(world).await;
        world.relays[last].set(Traffic::Open);
        Instant::now()
    });
    assert!(seen.during(GATEWAYS - 1, 503) > 0, "past the bound");
    for gateway in 0..GATEWAYS - 1 {
        assert_eq!(seen.during(gateway, 503), 0, "the others go on");
    }
}

#[test]
fn memory_is_full() {
    let seen = run(&fault("memory full", Wiring::Direct), async |world| {
        let set = |most| {
            let words = ["CONFIG", "SET", "maxmemory", most];
            let _: String = tokio::task::block_in_place(|| world.redis.command(&words));
        };
        set("1");
        world.go_on(world.length.fault).await;
        set("0");
        Instant::now()
    });
    for class in [Class::Key, Class::Session, Class::Jwt] {
        assert_eq!(seen.judgement.count(class, 503), 0, "reads go on");
    }
    assert!(seen.judgement.count(Class::Refresh, 503) > 0, "no writes");
}

#[test]
fn scripts_are_forgotten() {
    let seen = run(&fault("SCRIPT FLUSH", Wiring::Direct), async |world| {
        for _ in 0..2 {
            let _: String =
                tokio::task::block_in_place(|| world.redis.command(&["SCRIPT", "FLUSH"]));
            world.go_on(world.length.fault / 2).await;
        }
        Instant::now()
    });
    for gateway in 0..GATEWAYS {
        assert_eq!(seen.during(gateway, 503), 0, "nobody sees it");
    }
}

/// It has confirmed nothing, so it lets nobody in, however well it knew them before.
#[test]
fn a_gateway_is_killed_while_redis_is_away() {
    let name = "a gateway killed while Redis is away, and started again";
    let seen = run(&fault(name, Wiring::Direct), async |world| {
        world.redis.kill();
        let last = GATEWAYS - 1;
        world.restart(last).await;
        let restarted = Instant::now();
        let answers = |world: &World, status| {
            let samples = world.board.samples().into_iter();
            let of_it = samples.filter(|sample| sample.gateway == last && sample.sent > restarted);
            of_it.filter(|sample| sample.status == Some(status)).count()
        };
        world
            .eventually("it answers again", || answers(world, 503) > 10)
            .await;
        world.go_on(world.length.fault).await;
        assert_eq!(answers(world, 200), 0, "it cannot know");
        tokio::task::block_in_place(|| world.redis.launch());
        Instant::now()
    });
    assert!(seen.during(0, 200) > 0, "the others have their lease");
}
