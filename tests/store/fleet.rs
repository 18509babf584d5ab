//! The list of instances, and how far each has read: what both stores promise, and what only a store
//! that others share has to.

use std::time::Duration;

use portcullis::clock::Timestamp;
use portcullis::id::InstanceId;
use portcullis::store::{
    EventStore as _, FleetStore, Forget, Instance, InstanceReport, InstanceStage, Position,
    RedisStore, ReportKind, StoreError,
};

use crate::contract::contract;
use crate::fixtures::{Ground, PATIENCE, create, new_key};
use crate::redis_server::{Demands, RedisServer};

const HOUR: Duration = Duration::from_secs(3600);
const STARTED: Timestamp = Timestamp::from_secs(1_790_000_000);

contract! {
    an_instance_is_listed_as_it_reported_itself_until_it_leaves
    a_report_stands_in_the_place_of_the_one_before
    a_place_is_reached_by_whoever_has_read_up_to_it_or_further
    the_end_of_the_log_is_a_place_that_it_holds
    an_instance_that_is_silent_for_longer_than_it_is_kept_is_not_listed
    only_an_instance_that_is_silent_is_forgotten
}

fn report(id: &str) -> InstanceReport {
    InstanceReport {
        id: InstanceId::parse(id).expect("an id"),
        name: "edge-1 \u{2013} \"a b\":4711".into(),
        version: "0.1.0".into(),
        config: "ab12".into(),
        started_at: STARTED,
        stale: Duration::from_secs(300),
        lease_age: Some(Duration::from_millis(1500)),
        last_revocation: Some(STARTED),
        stage: InstanceStage::Serving,
        confirmed: None,
        keep: HOUR,
        kind: ReportKind::First,
    }
}

async fn listed(store: &(impl FleetStore + ?Sized)) -> Vec<Instance> {
    store.fleet().await.expect("it answers").instances
}

async fn reports(store: &(impl FleetStore + ?Sized)) -> Vec<InstanceReport> {
    let listed = listed(store).await.into_iter();
    listed.map(|instance| instance.report).collect()
}

async fn an_instance_is_listed_as_it_reported_itself_until_it_leaves(ground: Ground) {
    let store = ground.store();
    assert_eq!(listed(&*store).await, []);
    let end = store.log_end().await.expect("it answers");
    let (mut one, mut two) = (report("gw_1"), report("gw_2"));
    one.confirmed = Some(end);
    (two.lease_age, two.last_revocation) = (None, None);
    for each in [&two, &one] {
        store.report(each.clone()).await.expect("it answers");
    }
    assert_eq!(reports(&*store).await, [one.clone(), two.clone()]);
    for instance in listed(&*store).await {
        assert!(
            instance.silent_for < Duration::from_secs(20),
            "{instance:?}"
        );
    }
    store.leave(&one.id).await.expect("it answers");
    store.leave(&one.id).await.expect("to repeat it is safe");
    assert_eq!(reports(&*store).await, [two]);
    assert_eq!(store.fleet().await.expect("it answers").lost, None);
}

async fn a_report_stands_in_the_place_of_the_one_before(ground: Ground) {
    let store = ground.store();
    let first = report("gw_1");
    store.report(first.clone()).await.expect("it answers");
    let second = InstanceReport {
        stage: InstanceStage::Draining,
        config: "cd34".into(),
        kind: ReportKind::Renewal,
        ..first
    };
    store.report(second.clone()).await.expect("it answers");
    assert_eq!(reports(&*store).await, [second]);
    assert_eq!(store.fleet().await.expect("it answers").lost, None);
}

async fn a_place_is_reached_by_whoever_has_read_up_to_it_or_further(ground: Ground) {
    let store = ground.store();
    let end = async || store.log_end().await.expect("it answers");
    let before = end().await;
    assert_eq!(end().await, before, "nothing has happened");
    create(&*store, &new_key()).await;
    let after = end().await;
    assert!(store.has_reached(&after, &before));
    assert!(store.has_reached(&before, &before));
    assert!(!store.has_reached(&before, &after));
    let other = Ground::redis();
    let other = other.store().log_end().await.expect("it answers");
    assert!(!store.has_reached(&other, &before), "another log");
    assert!(!store.has_reached(&Position::new("?"), &before));
}

async fn the_end_of_the_log_is_a_place_that_it_holds(ground: Ground) {
    let store = ground.forgetful_store();
    let end = store.log_end().await.expect("it answers");
    let holds = async |place: &Position| store.log_holds(place).await.expect("it answers");
    assert!(holds(&end).await);
    assert!(!holds(&Position::new("r00/1-1")).await);
    assert!(!holds(&Position::new("?")).await);
    ground.forget(&*store).await;
    assert!(!holds(&end).await, "the log has left it behind");
}

async fn an_instance_that_is_silent_for_longer_than_it_is_kept_is_not_listed(ground: Ground) {
    let store = ground.store();
    let brief = InstanceReport {
        keep: Duration::from_millis(1),
        ..report("gw_1")
    };
    store.report(brief).await.expect("it answers");
    store.report(report("gw_2")).await.expect("it answers");
    while reports(&*store).await.len() > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(reports(&*store).await, [report("gw_2")]);
}

async fn only_an_instance_that_is_silent_is_forgotten(ground: Ground) {
    let store = ground.store();
    let (one, two) = (report("gw_1"), report("gw_2"));
    for each in [&one, &two] {
        store.report(each.clone()).await.expect("it answers");
    }
    let forget = async |id: &InstanceId, silent_for| {
        let answer = store.forget(id, silent_for).await;
        answer.expect("it answers")
    };
    assert_eq!(forget(&one.id, HOUR).await, Forget::Reports);
    assert_eq!(reports(&*store).await, [one.clone(), two.clone()]);
    // It is silent from the first millisecond on.
    while forget(&one.id, Duration::ZERO).await == Forget::Reports {
        tokio::task::yield_now().await;
    }
    assert_eq!(reports(&*store).await, [two]);
    assert_eq!(store.fleet().await.expect("it answers").lost, None);
    assert_eq!(forget(&one.id, Duration::ZERO).await, Forget::Unknown);
    let stranger = InstanceId::parse("lost").expect("an id");
    assert_eq!(forget(&stranger, Duration::ZERO).await, Forget::Unknown);
}

fn open(server: &RedisServer) -> RedisStore {
    RedisStore::open(&server.settings()).expect("good settings")
}

#[tokio::test]
async fn a_place_that_the_log_does_not_have_is_not_listed_as_read() {
    let server = RedisServer::start();
    let store = open(&server);
    let end = store.log_end().await.expect("it answers");
    let mut told = report("gw_1");
    assert_eq!(store.report(told.clone()).await.expect("it answers"), None);
    told.confirmed = Some(end);
    let behind = store.report(told.clone()).await.expect("it answers");
    assert!(behind.is_some_and(|behind| behind < PATIENCE), "{behind:?}");
    assert_eq!(reports(&store).await, [told.clone()]);
    // As a replica that took over without the last entries, and as one that lost all.
    for lose in [&["DEL", "pc:{rev}:log"][..], &["FLUSHALL"]] {
        let _: ::redis::Value = server.command(lose);
        let _begun = store.log_end().await.expect("it answers");
        store.report(told.clone()).await.expect("it answers");
        assert_eq!(reports(&store).await[0].confirmed, None, "{lose:?}");
    }
}

#[tokio::test]
async fn an_instance_whose_entry_is_gone_tells_that_the_list_lost_entries() {
    let server = RedisServer::start();
    let store = open(&server);
    let lost = async || store.fleet().await.expect("it answers").lost;
    store.report(report("gw_1")).await.expect("it answers");
    let _: ::redis::Value = server.command(&["FLUSHALL"]);
    store.report(report("gw_2")).await.expect("it answers");
    assert_eq!(lost().await, None, "one that comes says nothing of others");
    let again = InstanceReport {
        kind: ReportKind::Renewal,
        ..report("gw_1")
    };
    store.report(again.clone()).await.expect("it answers");
    assert!(lost().await.is_some_and(|ago| ago < PATIENCE));
    assert_eq!(listed(&store).await.len(), 2, "a loss is no instance");
    store.report(again).await.expect("it answers");
    store.leave(&report("gw_1").id).await.expect("it answers");
    assert!(lost().await.is_some());
    // The field that tells of it is no instance either.
    let field = InstanceId::parse("lost").expect("an id");
    let forgotten = store.forget(&field, Duration::ZERO).await;
    assert_eq!(forgotten.expect("it answers"), Forget::Unknown);
    assert!(lost().await.is_some());
}

#[tokio::test]
async fn an_instance_whose_entry_seems_too_old_tells_that_the_clock_of_the_store_leapt() {
    let server = RedisServer::start();
    let store = open(&server);
    let renewal = |id| InstanceReport {
        kind: ReportKind::Renewal,
        ..report(id)
    };
    let lost = async || store.fleet().await.expect("it answers").lost;
    for (minutes, is_told) in [(10, false), (12, true)] {
        store.report(report("gw_1")).await.expect("it answers");
        let entry: String = server.command(&["HGET", "pc:{rev}:fleet", "gw_1"]);
        let (at, rest) = entry.split_once(' ').expect("a time");
        let at = at.parse::<i64>().expect("milliseconds") - minutes * 60_000;
        let older = format!("{at} {rest}");
        let _: u64 = server.command(&["HSET", "pc:{rev}:fleet", "gw_1", &older]);
        store.report(renewal("gw_1")).await.expect("it answers");
        assert_eq!(lost().await.is_some(), is_told, "{minutes}");
    }
}

#[tokio::test]
async fn the_list_is_readable_while_the_memory_is_full() {
    let server = RedisServer::start();
    let store = open(&server);
    store.report(report("gw_1")).await.expect("it answers");
    let end = store.log_end().await.expect("it answers");
    let _: () = server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = store.report(report("gw_1")).await;
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(reports(&store).await, [report("gw_1")]);
    assert_eq!(store.log_end().await.expect("it answers"), end);
    assert!(store.log_holds(&end).await.expect("it answers"));
    store.leave(&report("gw_1").id).await.expect("it answers");
    assert_eq!(reports(&store).await, []);
}

#[tokio::test]
async fn lapsed_entries_are_dropped_when_another_instance_comes() {
    let server = RedisServer::start();
    let store = open(&server);
    let brief = InstanceReport {
        keep: Duration::ZERO,
        ..report("gw_1")
    };
    store.report(brief).await.expect("it answers");
    while !reports(&store).await.is_empty() {
        tokio::task::yield_now().await;
    }
    store.report(report("gw_2")).await.expect("it answers");
    let left: Vec<String> = server.command(&["HKEYS", "pc:{rev}:fleet"]);
    assert_eq!(left, ["gw_2"]);
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_is_an_error_and_not_skipped() {
    let server = RedisServer::start();
    let store = open(&server);
    for entry in ["", "1 9 - {}", "x 9999999999999 - {}"] {
        let _: u64 = server.command(&["HSET", "pc:{rev}:fleet", "gw_1", entry]);
        let read = store.fleet().await;
        assert!(matches!(read, Err(StoreError::Corrupt(_))), "{read:?}");
    }
    let id = InstanceId::parse("gw_1").expect("an id");
    let forgotten = store.forget(&id, Duration::ZERO).await;
    assert!(
        matches!(forgotten, Err(StoreError::Corrupt(_))),
        "{forgotten:?}"
    );
    let left: u64 = server.command(&["HLEN", "pc:{rev}:fleet"]);
    assert_eq!(left, 1);
}

#[tokio::test]
async fn a_user_with_only_the_documented_permissions_can_be_of_the_fleet() {
    let server = RedisServer::demanding(Demands::Password, &[]);
    let store = open(&server);
    let brief = InstanceReport {
        keep: Duration::ZERO,
        ..report("gw_1")
    };
    store.report(brief).await.expect("it answers");
    let mut second = report("gw_2");
    second.confirmed = Some(store.log_end().await.expect("it answers"));
    second.kind = ReportKind::Renewal;
    while !reports(&store).await.is_empty() {
        tokio::task::yield_now().await;
    }
    store.report(second.clone()).await.expect("it answers");
    assert_eq!(reports(&store).await, [second.clone()]);
    store.leave(&second.id).await.expect("it answers");
    assert_eq!(reports(&store).await, []);
}
