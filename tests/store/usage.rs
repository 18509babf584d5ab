//! What every store promises of the uses of keys, asked of both.

use std::sync::Arc;
use std::time::Duration;

use portcullis::clock::{Clock, Timestamp};
use portcullis::id::KeyId;
use portcullis::scope::Scope;
use portcullis::store::{Day, EmbeddedStore, KeyUsage, KeyUses, Store, Uses};
use tokio::task::JoinSet;

use crate::contract::contract;
use crate::fixtures::{Ground, end, now, since};
use crate::redis_server::RedisServer;

contract! {
    counting_begins_once
    uses_add_up_by_key_and_day
    of_twenty_parallel_additions_none_is_lost
    more_keys_than_one_batch_are_counted
    the_latest_sight_of_a_key_stands
}

fn scope(name: &str) -> Scope {
    Scope::parse(name).expect("valid")
}

fn uses(requests: u64, used: &[(&str, u64)], missing: &[(&str, u64)]) -> Uses {
    let named = |counts: &[(&str, u64)]| counts.iter().map(|(s, n)| (scope(s), *n)).collect();
    Uses {
        requests,
        used: named(used),
        missing: named(missing),
    }
}

fn seen(key: &KeyId, at: Timestamp, uses: Uses) -> KeyUses {
    KeyUses {
        key: key.clone(),
        day: Day::of(at),
        seen_at: Some(at),
        uses,
    }
}

async fn add(store: &dyn Store, uses: Vec<KeyUses>) {
    store.add_usage(uses, now()).await.expect("it answers");
}

async fn usage(store: &dyn Store, keys: &[&KeyId], days: u32) -> Vec<KeyUsage> {
    let (keys, today) = (keys.iter().copied().cloned().collect(), Day::of(now()));
    let usage = store.usage(keys, today.back(days), today).await;
    usage.expect("it answers")
}

async fn counting_begins_once(ground: Ground) {
    let store = ground.store();
    assert_eq!(store.usage_began().await.expect("it answers"), None);
    let first = now();
    for at in [first, first.plus(Duration::from_secs(5))] {
        let began = store.begin_usage(at).await.expect("it answers");
        assert_eq!(began, first);
    }
    let began = store.usage_began().await.expect("it answers");
    assert_eq!(began, Some(first));
}

async fn uses_add_up_by_key_and_day(ground: Ground) {
    let store = ground.store();
    let start = end(&*store).await;
    let (one, other, unused) = (KeyId::random(), KeyId::random(), KeyId::random());
    let (today, yesterday) = (now(), Day::of(now()).back(1).start());
    let long_ago = Day::of(now()).back(40).start();
    let first = uses(3, &[("domains:read", 2), ("a/b\u{7e}", 1)], &[]);
    add(&*store, vec![seen(&one, long_ago, first)]).await;
    let denied = uses(0, &[], &[("domains:write", 7)]);
    add(
        &*store,
        vec![
            seen(&one, yesterday, uses(5, &[("domains:read", 5)], &[])),
            seen(&other, yesterday, denied.clone()),
        ],
    )
    .await;
    let last = uses(2, &[("domains:read", 1)], &[("vps:read", 1)]);
    add(&*store, vec![seen(&one, today, last)]).await;
    add(&*store, Vec::new()).await;

    let known = |seen_at, uses| KeyUsage {
        seen_at: Some(seen_at),
        uses,
    };
    for (days, counted) in [
        (0, uses(2, &[("domains:read", 1)], &[("vps:read", 1)])),
        (1, uses(7, &[("domains:read", 6)], &[("vps:read", 1)])),
        (
            60,
            uses(
                10,
                &[("domains:read", 8), ("a/b\u{7e}", 1)],
                &[("vps:read", 1)],
            ),
        ),
    ] {
        let found = usage(&*store, &[&other, &unused, &one], days).await;
        let denied = if days == 0 {
            Uses::default()
        } else {
            denied.clone()
        };
        assert_eq!(
            found,
            [
                known(yesterday, denied),
                KeyUsage::default(),
                known(today, counted)
            ],
            "{days}"
        );
    }
    assert_eq!(since(&*store, &start).await.1, [], "nobody is told of it");
}

async fn of_twenty_parallel_additions_none_is_lost(ground: Ground) {
    let store = ground.store();
    let (key, at) = (KeyId::random(), now());
    let mut adding = JoinSet::new();
    for count in 1..=20 {
        let (store, key) = (Arc::clone(&store), key.clone());
        let more = uses(count, &[("domains:read", count)], &[]);
        adding.spawn(async move { add(&*store, vec![seen(&key, at, more)]).await });
    }
    adding.join_all().await;
    let found = usage(&*store, &[&key], 0).await;
    assert_eq!(found[0].uses, uses(210, &[("domains:read", 210)], &[]));
}

async fn more_keys_than_one_batch_are_counted(ground: Ground) {
    let store = ground.store();
    let keys: Vec<KeyId> = std::iter::repeat_with(KeyId::random).take(1200).collect();
    let one = || uses(1, &[("domains:read", 1)], &[]);
    for _ in 0..2 {
        let all = keys.iter().map(|key| seen(key, now(), one()));
        add(&*store, all.collect()).await;
    }
    let found = usage(&*store, &keys.iter().collect::<Vec<_>>(), 0).await;
    assert_eq!(found.len(), 1200);
    let twice = uses(2, &[("domains:read", 2)], &[]);
    assert!(found.iter().all(|found| found.uses == twice));
}

async fn the_latest_sight_of_a_key_stands(ground: Ground) {
    let store = ground.store();
    let (key, at) = (KeyId::random(), now());
    for seconds in [5, 3, 4] {
        let at = at.minus(Duration::from_secs(seconds));
        add(&*store, vec![seen(&key, at, Uses::default())]).await;
    }
    let nothing_new = KeyUses {
        seen_at: None,
        ..seen(&key, at, uses(1, &[], &[]))
    };
    add(&*store, vec![nothing_new]).await;
    let latest = at.minus(Duration::from_secs(3));
    let found = usage(&*store, &[&key], 0).await;
    assert_eq!(
        (found[0].seen_at, found[0].uses.requests),
        (Some(latest), 1)
    );
}

#[tokio::test]
async fn redis_forgets_a_day_ninety_days_later() {
    let server = RedisServer::start();
    let settings = portcullis::store::StoreSettings::Redis(server.settings());
    let metrics = portcullis::observe::Metrics::new();
    let store = portcullis::store::open(&settings, &Clock::system(), &metrics).expect("it opens");
    let (key, at) = (KeyId::random(), now());
    add(&*store, vec![seen(&key, at, uses(1, &[], &[]))]).await;
    let day = at.as_secs() / 86_400;
    let left: i64 = server.command(&["TTL", &format!("pc:ud:{day}:{key}")]);
    let end = (day + 91) * 86_400;
    assert!((end - now().as_secs() - left).abs() <= 2, "{left}");
}

#[tokio::test]
async fn the_embedded_store_forgets_a_day_ninety_days_later() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("store.redb");
    let clock = Clock::manual(now());
    let (key, day) = (KeyId::random(), Day::of(now()));
    for (days_later, counted) in [(0, 1), (90, 1), (91, 0)] {
        clock.advance(Duration::from_secs(86_400 * days_later) - clock.now().since(now()));
        let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(&path, &clock).expect("it opens"));
        if days_later == 0 {
            add(&*store, vec![seen(&key, now(), uses(1, &[], &[]))]).await;
        }
        let found = store.usage(vec![key.clone()], day, day).await;
        let found = found.expect("it answers");
        assert_eq!(found[0].uses.requests, counted, "{days_later} days later");
        assert!(found[0].seen_at.is_some(), "the last sight stays");
    }
}
