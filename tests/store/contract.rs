//! What every store promises, asked of each.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use portcullis::clock::Timestamp;
use portcullis::id::KeyId;
use portcullis::observe::Metrics;
use portcullis::store::{
    CreateKey, Denial, DenialKind, Event, Follow, Gap, NewKey, Position, RevokeKey, Store,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::fixtures::{
    Ground, PATIENCE, create, create_one, end, events, named, new_key, now, since,
};

macro_rules! contract {
    ($($promise:ident)*) => {
        mod embedded {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                super::$promise(Ground::embedded()).await;
            })*
        }

        mod redis {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                super::$promise(Ground::redis()).await;
            })*
        }

        /// One after the other: a Cluster takes seconds to come up.
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn a_cluster_keeps_each_promise_too() {
            let cluster = std::sync::Arc::new(crate::redis_cluster::RedisCluster::start());
            $(
                eprintln!(stringify!($promise));
                cluster.empty();
                Box::pin($promise(Ground::cluster(&cluster))).await;
            )*
        }
    };
}

pub(crate) use contract;

contract! {
    a_key_that_is_not_there_is_none_and_one_that_is_comes_back_whole
    a_key_is_created_once_whatever_its_id
    an_id_belongs_to_one_key
    repetitions_within_one_call_are_noticed
    of_fifty_parallel_creations_exactly_one_creates
    ids_that_compete_for_one_key_leave_one_id
    keys_are_listed_page_by_page_in_the_order_of_their_ids
    ten_thousand_keys_are_imported_listed_and_announced
    a_revocation_marks_the_record_once_and_its_first_time_stands
    of_twenty_parallel_revocations_one_is_the_first
    what_does_not_exist_cannot_be_revoked
    a_revocation_is_on_the_list_and_in_the_log
    a_key_that_is_revoked_is_not_created_again
    a_creation_is_in_the_log
    the_log_is_followed_in_order_from_any_position
    following_waits_for_the_first_event
    following_ends_empty_after_the_wait
    a_position_that_the_log_has_left_behind_is_a_gap
    a_position_of_another_store_is_a_gap
    each_verb_is_counted_and_follow_is_not_timed
}

async fn a_key_that_is_not_there_is_none_and_one_that_is_comes_back_whole(ground: Ground) {
    let store = ground.store();
    let key = new_key();
    assert_eq!(
        store.key_by_digest(&key.digest).await.expect("it answers"),
        None
    );
    assert_eq!(store.key(&key.record.id).await.expect("it answers"), None);

    create(&*store, &key).await;
    let found = store.key_by_digest(&key.digest).await.expect("it answers");
    assert_eq!(found.as_ref(), Some(&key.record));
    assert_eq!(store.key(&key.record.id).await.expect("it answers"), found);
    store.ping().await.expect("it answers");
}

async fn a_key_is_created_once_whatever_its_id(ground: Ground) {
    let store = ground.store();
    let key = new_key();
    create(&*store, &key).await;
    assert_eq!(create_one(&*store, &key).await, CreateKey::Exists);

    let mut again = new_key();
    again.digest = key.digest;
    assert_eq!(create_one(&*store, &again).await, CreateKey::Exists);
    let found = store.key_by_digest(&key.digest).await.expect("it answers");
    assert_eq!(found.as_ref(), Some(&key.record));
    assert_eq!(store.key(&again.record.id).await.expect("it answers"), None);
    assert_eq!(
        store.keys(None, 10).await.expect("it answers"),
        [key.record]
    );

    // The id that was refused is still free.
    let other = named(again.record.id.as_str());
    create(&*store, &other).await;
}

async fn an_id_belongs_to_one_key(ground: Ground) {
    let store = ground.store();
    let key = new_key();
    create(&*store, &key).await;
    let mut thief = new_key();
    thief.record.id = key.record.id.clone();
    assert_eq!(create_one(&*store, &thief).await, CreateKey::Exists);
    assert_eq!(
        store
            .key_by_digest(&thief.digest)
            .await
            .expect("it answers"),
        None
    );
    let found = store.key(&key.record.id).await.expect("it answers");
    assert_eq!(found, Some(key.record));
}

async fn repetitions_within_one_call_are_noticed(ground: Ground) {
    let store = ground.store();
    let (first, second) = (new_key(), new_key());
    let mut same_digest = new_key();
    same_digest.digest = first.digest;
    let mut same_id = new_key();
    same_id.record.id = first.record.id.clone();
    let batch = vec![
        first.clone(),
        first.clone(),
        same_digest,
        same_id,
        second.clone(),
    ];
    let answers = store.create_keys(batch).await.expect("it answers");
    assert_eq!(
        answers,
        [
            CreateKey::Created,
            CreateKey::Exists,
            CreateKey::Exists,
            CreateKey::Exists,
            CreateKey::Created
        ]
    );
    let mut written = vec![first.record, second.record];
    written.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(store.keys(None, 10).await.expect("it answers"), written);
    assert_eq!(store.create_keys(Vec::new()).await.expect("it answers"), []);
}

async fn of_fifty_parallel_creations_exactly_one_creates(ground: Ground) {
    let store = ground.store();
    let key = new_key();
    let answers = create_in_parallel(&store, (0..50).map(|_| key.clone())).await;
    assert_eq!(count(&answers, CreateKey::Created), 1);
    assert_eq!(
        store.keys(None, 99).await.expect("it answers"),
        [key.record]
    );
}

async fn ids_that_compete_for_one_key_leave_one_id(ground: Ground) {
    let store = ground.store();
    let digest = new_key().digest;
    let candidates: Vec<NewKey> = (0..50)
        .map(|_| NewKey {
            digest,
            ..new_key()
        })
        .collect();
    let answers = create_in_parallel(&store, candidates.iter().cloned()).await;
    assert_eq!(count(&answers, CreateKey::Created), 1);
    let winner = store.key_by_digest(&digest).await.expect("it answers");
    let winner = winner.expect("one of them was created");
    for candidate in &candidates {
        let found = store.key(&candidate.record.id).await.expect("it answers");
        let expected = (candidate.record.id == winner.id).then(|| winner.clone());
        assert_eq!(found, expected);
    }
    assert_eq!(store.keys(None, 99).await.expect("it answers"), [winner]);
}

async fn create_in_parallel(
    store: &Arc<dyn Store>,
    keys: impl Iterator<Item = NewKey>,
) -> Vec<CreateKey> {
    let mut tasks = JoinSet::new();
    for key in keys {
        let store = Arc::clone(store);
        tasks.spawn(async move { create_one(&*store, &key).await });
    }
    tasks.join_all().await
}

fn count(answers: &[CreateKey], wanted: CreateKey) -> usize {
    answers.iter().filter(|answer| **answer == wanted).count()
}

async fn keys_are_listed_page_by_page_in_the_order_of_their_ids(ground: Ground) {
    let store = ground.store();
    assert_eq!(store.keys(None, 10).await.expect("it answers"), []);
    // Bytes decide, not letters: upper case comes first, and `{` after everything.
    for id in ["key_b", "key_{x}", "key_B", "key_a", "key_aa"] {
        create(&*store, &named(id)).await;
    }
    let page = async |after: Option<&str>, limit| {
        let after = after.map(|id| KeyId::parse(id).expect("valid"));
        let page = store.keys(after.as_ref(), limit).await.expect("it answers");
        page.iter()
            .map(|key| key.id.to_string())
            .collect::<Vec<_>>()
    };
    let all = ["key_B", "key_a", "key_aa", "key_b", "key_{x}"];
    assert_eq!(page(None, 99).await, all);
    assert_eq!(page(None, 2).await, all[..2]);
    assert_eq!(page(Some("key_a"), 2).await, all[2..4]);
    assert_eq!(page(Some("key_a0"), 99).await, all[2..]);
    assert_eq!(page(Some("key_{x}"), 99).await, [""; 0]);
    assert_eq!(page(None, 0).await, [""; 0]);
}

async fn ten_thousand_keys_are_imported_listed_and_announced(ground: Ground) {
    let store = ground.store();
    let start = end(&*store).await;
    let keys: Vec<NewKey> = (0..10_000).map(|_| new_key()).collect();
    let answers = timeout(PATIENCE, store.create_keys(keys.clone())).await;
    let answers = answers.expect("in seconds").expect("it answers");
    assert_eq!(count(&answers, CreateKey::Created), 10_000);

    let mut records: Vec<_> = keys.iter().map(|key| key.record.clone()).collect();
    records.sort_by(|a, b| a.id.cmp(&b.id));
    let listed = store.keys(None, usize::MAX).await.expect("it answers");
    assert!(listed == records, "every record, in order");

    // One answer has them all: one that stopped early would pass for proof of silence.
    let (_, events) = since(&*store, &start).await;
    let announced: Vec<_> = keys.iter().map(|key| Event::Publish(key.digest)).collect();
    assert!(events == announced, "every event, in order");
}

async fn a_revocation_marks_the_record_once_and_its_first_time_stands(ground: Ground) {
    let store = ground.store();
    let key = new_key();
    create(&*store, &key).await;
    let (id, first) = (&key.record.id, now());
    let mut revoked = key.record.clone();
    revoked.revoked_at = Some(first);

    let answer = store.revoke_key(id, first).await.expect("it answers");
    assert_eq!(answer, RevokeKey::Revoked(revoked.clone()));
    let later = first.plus(Duration::from_secs(60));
    let answer = store.revoke_key(id, later).await.expect("it answers");
    assert_eq!(answer, RevokeKey::AlreadyRevoked(revoked.clone()));

    let found = store.key_by_digest(&key.digest).await.expect("it answers");
    assert_eq!(found.as_ref(), Some(&revoked));
    assert_eq!(store.keys(None, 9).await.expect("it answers"), [revoked]);
    assert_eq!(denials(&*store).await, [denial(id, first)]);
}

async fn of_twenty_parallel_revocations_one_is_the_first(ground: Ground) {
    let store = ground.store();
    let key = new_key();
    create(&*store, &key).await;
    let mut tasks = JoinSet::new();
    for second in 0..20 {
        let (store, id) = (Arc::clone(&store), key.record.id.clone());
        let at = now().plus(Duration::from_secs(second));
        tasks.spawn(async move { store.revoke_key(&id, at).await.expect("it answers") });
    }
    let mut first = 0;
    let mut times = BTreeSet::new();
    for answer in tasks.join_all().await {
        match answer {
            RevokeKey::Revoked(record) => {
                first += 1;
                times.insert(record.revoked_at);
            }
            RevokeKey::AlreadyRevoked(record) => {
                times.insert(record.revoked_at);
            }
            RevokeKey::Unknown => panic!("it exists"),
        }
    }
    assert_eq!((first, times.len()), (1, 1));
    let at = times.first().copied().flatten().expect("a time");
    assert_eq!(denials(&*store).await, [denial(&key.record.id, at)]);
}

async fn what_does_not_exist_cannot_be_revoked(ground: Ground) {
    let store = ground.store();
    let start = end(&*store).await;
    let answer = store.revoke_key(&KeyId::random(), now()).await;
    assert_eq!(answer.expect("it answers"), RevokeKey::Unknown);
    assert_eq!(denials(&*store).await, []);
    assert_eq!(since(&*store, &start).await, (start, Vec::new()));
}

async fn a_revocation_is_on_the_list_and_in_the_log(ground: Ground) {
    let store = ground.store();
    let (one, other) = (new_key(), new_key());
    create(&*store, &one).await;
    create(&*store, &other).await;
    let before = store.denials().await.expect("it answers");
    assert_eq!(before.entries, []);

    let at = now();
    let _first = store
        .revoke_key(&one.record.id, at)
        .await
        .expect("it answers");
    let expected = denial(&one.record.id, at);
    let (position, events) = since(&*store, &before.position).await;
    assert_eq!(events, [Event::Deny(expected.clone())]);

    let after = store.denials().await.expect("it answers");
    assert_eq!(after.entries, [expected]);
    // The list includes the event, so following from its position does not bring it again.
    assert_eq!(after.position, position);
}

async fn a_key_that_is_revoked_is_not_created_again(ground: Ground) {
    let store = ground.store();
    let key = new_key();
    create(&*store, &key).await;
    let at = now();
    let _first = store
        .revoke_key(&key.record.id, at)
        .await
        .expect("it answers");
    assert_eq!(create_one(&*store, &key).await, CreateKey::Exists);
    let found = store.key_by_digest(&key.digest).await.expect("it answers");
    assert_eq!(found.expect("still there").revoked_at, Some(at));
}

/// Row 96: without this event, a key that was probed before it existed would stay unknown.
async fn a_creation_is_in_the_log(ground: Ground) {
    let store = ground.store();
    let start = end(&*store).await;
    let key = new_key();
    create(&*store, &key).await;
    let (_, events) = since(&*store, &start).await;
    assert_eq!(events, [Event::Publish(key.digest)]);
}

async fn the_log_is_followed_in_order_from_any_position(ground: Ground) {
    let store = ground.store();
    let start = end(&*store).await;
    let key = new_key();
    create(&*store, &key).await;
    let (middle, first) = since(&*store, &start).await;
    let at = now();
    let _first = store
        .revoke_key(&key.record.id, at)
        .await
        .expect("it answers");
    let (last, second) = since(&*store, &middle).await;
    assert_eq!(first, [Event::Publish(key.digest)]);
    assert_eq!(second, [Event::Deny(denial(&key.record.id, at))]);

    let (position, both) = since(&*store, &start).await;
    assert_eq!((position, both), (last.clone(), [first, second].concat()));
    assert_eq!(since(&*store, &last).await, (last.clone(), Vec::new()));
    assert_eq!(end(&*store).await, last);

    // A position may be written down and read again.
    let text = serde_json::to_string(&middle).expect("it is text");
    let read: Position = serde_json::from_str(&text).expect("our own text");
    assert_eq!(since(&*store, &read).await.1.len(), 1);
}

async fn following_waits_for_the_first_event(ground: Ground) {
    let store = ground.store();
    let start = end(&*store).await;
    let asked = Instant::now();
    let follower = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.follow(&start, Duration::from_secs(300)).await })
    };
    let key = new_key();
    create(&*store, &key).await;
    let answer = timeout(PATIENCE, follower)
        .await
        .expect("the event ends the wait");
    let (_, events) = events(answer.expect("no panic").expect("it answers"));
    assert_eq!(events, [Event::Publish(key.digest)]);
    assert!(asked.elapsed() < PATIENCE);
}

async fn following_ends_empty_after_the_wait(ground: Ground) {
    let store = ground.store();
    let start = end(&*store).await;
    let (asked, wait) = (Instant::now(), Duration::from_millis(150));
    let answer = store.follow(&start, wait).await.expect("it answers");
    assert_eq!(events(answer), (start, Vec::new()));
    assert!(asked.elapsed() >= wait && asked.elapsed() < PATIENCE);
}

async fn a_position_that_the_log_has_left_behind_is_a_gap(ground: Ground) {
    let store = ground.forgetful_store();
    let start = end(&*store).await;
    ground.forget(&*store).await;
    assert_gap(&*store, &start, Gap::Trimmed).await;

    // From what the list says now, it goes on.
    let start = end(&*store).await;
    let key = new_key();
    create(&*store, &key).await;
    assert_eq!(since(&*store, &start).await.1, [Event::Publish(key.digest)]);
}

async fn a_position_of_another_store_is_a_gap(ground: Ground) {
    let store = ground.store();
    create(&*store, &new_key()).await;
    let own = end(&*store).await;
    for other in [Ground::embedded(), Ground::redis()] {
        let other = other.store();
        create(&*other, &new_key()).await;
        assert_gap(&*store, &end(&*other).await, Gap::Another).await;
    }
    for text in ["", "0", "0-0", "$", "e1", "e1-", "r/", "r0/0-0", "r0/$"] {
        assert_gap(&*store, &Position::new(text), Gap::Another).await;
    }
    assert_eq!(since(&*store, &own).await, (own, Vec::new()));
}

async fn each_verb_is_counted_and_follow_is_not_timed(ground: Ground) {
    let metrics = Metrics::new();
    let store = ground.open(&metrics);
    let key = new_key();
    create(&*store, &key).await;
    let _found = store.key_by_digest(&key.digest).await.expect("it answers");
    let start = end(&*store).await;
    let _none = since(&*store, &start).await;
    let text = metrics.render();
    for line in [
        r#"portcullis_store_operations_total{op="create_keys",outcome="ok"} 1"#,
        r#"portcullis_store_operations_total{op="denials",outcome="ok"} 1"#,
        r#"portcullis_store_operations_total{op="follow",outcome="ok"} 1"#,
        r#"portcullis_store_operations_total{op="key_by_digest",outcome="ok"} 1"#,
        r#"portcullis_store_operations_total{op="ping",outcome="error"} 0"#,
        r#"portcullis_store_operations_total{op="redeem_code",outcome="ok"} 0"#,
        "portcullis_store_operation_duration_seconds_count 3",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} in\n{text}");
    }
}

async fn assert_gap(store: &dyn Store, position: &Position, gap: Gap) {
    // A gap is known at once; it does not wait for an event.
    let answer = timeout(PATIENCE, store.follow(position, PATIENCE * 2)).await;
    let answer = answer.expect("no wait").expect("it answers");
    assert_eq!(answer, Follow::Gap(gap), "{position:?}");
}

async fn denials(store: &dyn Store) -> Vec<Denial> {
    store.denials().await.expect("it answers").entries
}

fn denial(id: &KeyId, at: Timestamp) -> Denial {
    Denial {
        kind: DenialKind::Key,
        id: id.to_string(),
        at,
    }
}
