//! A whole store is written out and taken in, between all kinds of stores.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use portcullis::clock::Timestamp;
use portcullis::id::RequestId;
use portcullis::scope::ScopeSet;
use portcullis::store::{
    Denial, DenialKind, Entry, Event, KeyEntry, NewKey, RedisStore, Restored, RotateKey,
    RotationEntry, Store, StoreError, Touch,
};
use tokio::sync::mpsc;

use crate::contract::contract;
use crate::fixtures::{Ground, PATIENCE, create, create_one, end, new_key, now, since};
use crate::grants::Flow;
use crate::redis_cluster::RedisCluster;
use crate::redis_server::{Demands, RedisServer, USER};
use crate::rotation::{rotate, under, wish, without_end};
use crate::{clients, interactions, sessions, signing_keys, users};

contract! {
    an_interrupted_restoration_is_completed_by_a_repetition
    what_is_there_stays_and_what_is_revoked_on_either_side_is_revoked
    every_write_before_an_export_is_in_it_whatever_is_written_meanwhile
    an_export_ends_when_nobody_takes_it
    what_has_ended_is_not_brought_back
}

const DAY: Duration = Duration::from_secs(24 * 3600);

macro_rules! directions {
    ($($name:ident: $from:ident $to:ident;)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            everything_moves(Ground::$from(), Ground::$to()).await;
        })*
    };
}

directions! {
    everything_moves_from_embedded_to_embedded: embedded embedded;
    everything_moves_from_embedded_to_redis: embedded redis;
    everything_moves_from_redis_to_embedded: redis embedded;
    everything_moves_from_redis_to_redis: redis redis;
}

/// One after the other: a Cluster takes seconds to come up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_moves_into_a_cluster_and_out_of_it() {
    let [one, other] = [(); 2].map(|()| Arc::new(RedisCluster::start()));
    let empty = |cluster: &Arc<RedisCluster>| {
        cluster.empty();
        Ground::cluster(cluster)
    };
    everything_moves(Ground::embedded(), empty(&one)).await;
    everything_moves(Ground::redis(), empty(&one)).await;
    everything_moves(empty(&one), Ground::embedded()).await;
    everything_moves(empty(&one), Ground::redis()).await;
    everything_moves(empty(&one), empty(&other)).await;
}

/// What there is to look for after a move.
struct Filled {
    live: NewKey,
    revoked: NewKey,
    rotated: NewKey,
    wish: portcullis::store::KeyRotation,
    session: portcullis::store::NewSession,
    ended: portcullis::store::NewSession,
    flow: Flow,
    nonce: portcullis::secret::Digest,
    user: portcullis::store::UserRecord,
    client: portcullis::store::ClientRecord,
    seen_at: Timestamp,
}

async fn fill(store: &Arc<dyn Store>) -> Filled {
    let (live, revoked, rotated) = (without_end(), new_key(), without_end());
    for key in [&live, &revoked, &rotated] {
        create(&**store, key).await;
    }
    let _record = store
        .revoke_key(&revoked.record.id, now())
        .await
        .expect("it answers");
    let wish = wish(&rotated.record.id, "r1", DAY, now());
    assert!(matches!(
        rotate(&**store, &wish).await,
        RotateKey::Rotated(_)
    ));
    // The grants' clock is ahead of the others', and what has ended by it is swept away.
    let flow = Flow::active(store).await;
    let nonce = flow.rotated_twice().await;
    let _pending = Flow::begun(store).await;
    let parent = portcullis::store::SessionParent::Key(live.record.id.clone());
    let [session, ended] = [(); 2].map(|()| {
        let mut session = sessions::new_session(&parent);
        session.record.expires_at = now().plus(DAY);
        session
    });
    for session in [&session, &ended] {
        let _created = sessions::create(&**store, session).await;
    }
    let _record = store
        .end_session(&ended.record.id, now())
        .await
        .expect("it answers");
    let (user, client) = (users::user("ada@example.com"), clients::client());
    let _created = store.create_user(user.clone()).await.expect("it answers");
    let _created = store
        .create_client(client.clone())
        .await
        .expect("it answers");
    let scopes = ScopeSet::parse("domains:read").expect("valid");
    let consent = store.remember_consent(&client.id, &user.id, scopes, now());
    consent.await.expect("it answers");
    let _published = signing_keys::publish(&**store, "k1", now()).await;
    let seen_at = now();
    let touch = |digest, keep_until| Touch {
        digest,
        seen_at,
        keep_until,
    };
    let touches = vec![
        touch(live.digest, None),
        touch(session.digest, Some(now().plus(DAY))),
    ];
    store.touch(touches).await.expect("it answers");
    let denial = Denial {
        kind: DenialKind::Jti,
        id: "jti:with:colons".into(),
        at: now(),
    };
    store.deny(vec![denial]).await.expect("it answers");
    let _left_behind = interactions::begun(&**store).await;
    Filled {
        live,
        revoked,
        rotated,
        wish,
        session,
        ended,
        flow,
        nonce,
        user,
        client,
        seen_at,
    }
}

pub(crate) async fn export(store: &dyn Store) -> Vec<Entry> {
    let (to, mut taken) = mpsc::channel(4);
    let take = async {
        let mut entries = Vec::new();
        while let Some(entry) = taken.recv().await {
            entries.push(entry);
        }
        entries
    };
    let (exported, entries) = tokio::join!(store.archive(to), take);
    exported.expect("it answers");
    entries
}

/// In the order of restoration.
fn ranked(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by_key(Entry::rank);
    entries
}

pub(crate) async fn restore(store: &dyn Store, entries: Vec<Entry>) -> Restored {
    let entries = ranked(entries).into_iter().map(Ok);
    let restored = store.restore(Box::new(entries), now()).await;
    restored.expect("it answers")
}

/// Each entry as a line, in the order of letters.
fn lines(entries: &[Entry]) -> BTreeSet<String> {
    let line = |entry| serde_json::to_string(entry).expect("JSON");
    let lines: BTreeSet<String> = entries.iter().map(line).collect();
    assert_eq!(lines.len(), entries.len(), "an entry came twice");
    lines
}

async fn everything_moves(from: Ground, to: Ground) {
    let source = from.store();
    let filled = fill(&source).await;
    let entries = export(&*source).await;
    let told = lines(&entries);
    assert!(
        told.iter().all(|line| !line.contains(r#""place":"i:"#)),
        "{told:?}"
    );

    let target = to.store();
    let start = end(&*target).await;
    let restored = restore(&*target, entries.clone()).await;
    let denials = entries.iter().filter(|entry| entry.rank() == 0).count();
    let things = entries.iter().filter(|entry| entry.rank() == 2).count();
    let expected = Restored {
        written: things as u64,
        existing: 0,
        denials: denials as u64,
    };
    assert_eq!(restored, expected);
    assert_eq!(lines(&export(&*target).await), told);
    check(&*source, &*target, &filled).await;
    check_told(&*target, &start, &filled).await;

    // Once more: everything is there, and nothing changes.
    let again = restore(&*target, entries).await;
    let expected = Restored {
        written: 0,
        existing: things as u64,
        denials: denials as u64,
    };
    assert_eq!(again, expected);
    assert_eq!(lines(&export(&*target).await), told);
}

/// The verbs say the same on both sides.
async fn check(source: &dyn Store, target: &dyn Store, filled: &Filled) {
    for digest in [
        &filled.live.digest,
        &filled.revoked.digest,
        &filled.rotated.digest,
        &filled.wish.digest,
    ] {
        let found = under(target, digest).await;
        assert!(found.is_some());
        assert_eq!(found, under(source, digest).await);
    }
    let id = &filled.rotated.record.id;
    let [one, other] = [source.key_rotation(id).await, target.key_rotation(id).await];
    assert_eq!(one.expect("it answers"), other.expect("it answers"));
    let keys = target.keys(None, 99).await.expect("it answers");
    assert_eq!(keys, source.keys(None, 99).await.expect("it answers"));
    assert_eq!(keys.len(), 3);
    for session in [&filled.session, &filled.ended] {
        let found = target
            .session(&session.record.id)
            .await
            .expect("it answers")
            .expect("kept");
        assert_eq!(
            found.ended_at.is_some(),
            session.digest == filled.ended.digest
        );
        let by_digest = target
            .session_by_digest(&session.digest)
            .await
            .expect("it answers");
        assert_eq!(by_digest, Some(found));
    }
    let owner = portcullis::store::SessionOwner::Everyone;
    let listed = target
        .sessions(&owner, None, 99)
        .await
        .expect("it answers")
        .items;
    assert_eq!(listed, std::slice::from_ref(&filled.session.record));
    let grant = target
        .grant(&filled.flow.record.id)
        .await
        .expect("it answers")
        .expect("kept");
    assert_eq!(grant.refresh.expect("redeemed").live, [filled.nonce]);
    let owner = portcullis::store::GrantOwner::Subject(filled.flow.record.subject.clone());
    assert_eq!(
        target
            .grants(&owner, None, 9)
            .await
            .expect("it answers")
            .items
            .len(),
        1
    );
    let user = target.user(&filled.user.id).await.expect("it answers");
    assert_eq!(user.as_ref(), Some(&filled.user));
    assert_eq!(
        target.users(None, 9).await.expect("it answers").items,
        std::slice::from_ref(&filled.user)
    );
    assert_eq!(
        target.clients(None, 9).await.expect("it answers").items,
        std::slice::from_ref(&filled.client)
    );
    let consent = target.consent(&filled.client.id, &filled.user.id).await;
    assert!(consent.expect("it answers").is_some());
    let [one, other] = [source.signing_keys().await, target.signing_keys().await];
    assert_eq!(one.expect("it answers"), other.expect("it answers"));
    let seen = target
        .last_seen(vec![filled.live.digest, filled.session.digest])
        .await;
    assert_eq!(seen.expect("it answers"), [Some(filled.seen_at); 2]);
    let [one, other] = [denied(source).await, denied(target).await];
    assert_eq!(one, other);
    assert_eq!(one.len(), 3);
}

async fn denied(store: &dyn Store) -> BTreeSet<String> {
    let denials = store.denials().await.expect("it answers").entries;
    denials.iter().map(|denial| format!("{denial:?}")).collect()
}

/// Gateways that run on the target hear of everything that they may have cached.
async fn check_told(target: &dyn Store, start: &portcullis::store::Position, filled: &Filled) {
    let (_, events) = since(target, start).await;
    for digest in [
        filled.live.digest,
        filled.revoked.digest,
        filled.rotated.digest,
        filled.wish.digest,
        filled.session.digest,
        filled.ended.digest,
    ] {
        assert!(events.contains(&Event::Publish(digest)));
    }
    for denial in target.denials().await.expect("it answers").entries {
        assert!(events.contains(&Event::Deny(denial)));
    }
}

async fn an_interrupted_restoration_is_completed_by_a_repetition(ground: Ground) {
    let source = Ground::embedded();
    let source = source.store();
    let _filled = fill(&source).await;
    let entries = ranked(export(&*source).await);
    let told = lines(&entries);
    let target = ground.store();
    let denials = entries.iter().filter(|entry| entry.rank() == 0).count();
    for length in [1, denials, entries.len() / 2, entries.len() - 1] {
        let broken = io::Error::other("the file broke off");
        let some: Vec<Entry> = entries[..length].to_vec();
        let some = some.into_iter().map(Ok).chain([Err(broken)]);
        let answer = target.restore(Box::new(some), now()).await;
        assert!(
            matches!(answer, Err(StoreError::Unavailable(_))),
            "{answer:?}"
        );
        let there = lines(&export(&*target).await);
        assert!(there.is_subset(&told));
        if target.backend() == "embedded" {
            assert!(there.is_empty(), "all or none");
        }
    }
    restore(&*target, entries).await;
    assert_eq!(lines(&export(&*target).await), told);
}

async fn what_is_there_stays_and_what_is_revoked_on_either_side_is_revoked(ground: Ground) {
    let store = ground.store();
    let (here, there, other) = (new_key(), new_key(), new_key());
    for key in [&here, &there] {
        create(&*store, key).await;
    }
    let backup = export(&*store).await;
    let at = now();
    let _record = store
        .revoke_key(&here.record.id, at)
        .await
        .expect("it answers");
    create(&*store, &other).await;
    let mut revoked = there.record.clone();
    revoked.revoked_at = Some(at);
    revoked.name = "another name".into();
    let entry = |digest, record| {
        let rotation = None;
        Entry::Key(Box::new(KeyEntry {
            digest,
            record,
            rotation,
        }))
    };
    let mut entries = backup;
    entries.retain(|entry| entry.rank() != 2);
    entries.push(entry(here.digest, here.record.clone()));
    entries.push(entry(there.digest, revoked));
    // A secret or an id of another key's is not taken from it.
    let mut thief = new_key();
    thief.digest = other.digest;
    entries.push(entry(thief.digest, thief.record.clone()));
    entries.push(entry(new_key().digest, other.record.clone()));

    let restored = restore(&*store, entries).await;
    assert_eq!((restored.written, restored.existing), (0, 4));
    for key in [&here, &there] {
        let found = under(&*store, &key.digest).await.expect("kept");
        assert_eq!(found.revoked_at, Some(at));
        assert_eq!(found.name, key.record.name);
    }
    assert_eq!(denied(&*store).await.len(), 2);
    assert_eq!(
        under(&*store, &other.digest).await,
        Some(other.record.clone())
    );
    assert_eq!(store.key(&thief.record.id).await.expect("it answers"), None);
    // The id that led to nothing is free.
    create(
        &*store,
        &NewKey {
            digest: new_key().digest,
            record: thief.record,
        },
    )
    .await;
}

async fn every_write_before_an_export_is_in_it_whatever_is_written_meanwhile(ground: Ground) {
    let store = ground.store();
    let mut before = Vec::new();
    for _ in 0..300 {
        let key = new_key();
        create(&*store, &key).await;
        before.push(key);
    }
    // Writers go on while it is exported: keys come, move to other secrets, and are revoked.
    let ids: Vec<_> = before.iter().map(|key| key.record.id.clone()).collect();
    let writers: Vec<_> = ids
        .chunks(100)
        .map(|ids| {
            let (store, ids) = (Arc::clone(&store), ids.to_vec());
            tokio::spawn(async move {
                for (number, id) in ids.iter().enumerate() {
                    let _created = create_one(&*store, &new_key()).await;
                    let wish = wish(id, "r1", DAY, now());
                    assert!(matches!(
                        rotate(&*store, &wish).await,
                        RotateKey::Rotated(_)
                    ));
                    if number % 2 == 0 {
                        let _record = store.revoke_key(id, now()).await.expect("it answers");
                    }
                }
            })
        })
        .collect();
    let mut exports = Vec::new();
    while exports.is_empty() || !writers.iter().all(|writer| writer.is_finished()) {
        let denied = denied(&*store).await;
        let entries = export(&*store).await;
        exports.push((denied, entries));
    }
    for writer in writers {
        writer.await.expect("it wrote");
    }
    assert!(exports.len() > 1, "nothing was exported under way");
    for (denied, entries) in &exports {
        let mut keys = BTreeSet::new();
        let mut listed = BTreeSet::new();
        for entry in entries {
            match entry {
                Entry::Key(key) => {
                    if let Some(RotationEntry { record, .. }) = &key.rotation {
                        let before = record.as_ref().expect("it goes on for a day");
                        assert_eq!(before.id, key.record.id);
                    }
                    keys.insert(key.record.id.clone());
                }
                Entry::Denial(denial) => {
                    listed.insert(format!("{denial:?}"));
                }
                Entry::Listing { .. } | Entry::Document { .. } => {}
            }
        }
        assert!(ids.iter().all(|id| keys.contains(id)), "a key is missing");
        assert!(denied.is_subset(&listed), "a revocation is missing");
    }
    // The last of them opens in a store of its own.
    let (_, last) = exports.pop().expect("there is one");
    let target = Ground::embedded();
    let target = target.store();
    restore(&*target, last).await;
    for id in &ids {
        assert!(target.key(id).await.expect("it answers").is_some());
    }
}

async fn an_export_ends_when_nobody_takes_it(ground: Ground) {
    let store = ground.store();
    for _ in 0..100 {
        create(&*store, &new_key()).await;
    }
    let (to, mut taken) = mpsc::channel(1);
    let take = async move {
        assert!(taken.recv().await.is_some());
        drop(taken);
    };
    let both = async { tokio::join!(store.archive(to), take).0 };
    let ended = tokio::time::timeout(PATIENCE, both).await.expect("it ends");
    assert!(
        matches!(ended, Err(StoreError::Unavailable(_))),
        "{ended:?}"
    );
    store.ping().await.expect("it goes on");
}

async fn what_has_ended_is_not_brought_back(ground: Ground) {
    let store = ground.store();
    let key = without_end();
    let long_ago = now().minus(DAY * 3);
    let rotation = RotationEntry {
        request: RequestId::parse("r1").expect("valid"),
        at: long_ago,
        previous: new_key().digest,
        previous_ends_at: long_ago,
        record: Some(key.record.clone()),
    };
    let previous = rotation.previous;
    let entries = vec![
        Entry::Listing {
            index: "users:".into(),
            member: "00000000000009:x".into(),
        },
        Entry::Document {
            place: format!("u:{}", new_key().digest.to_text()),
            until: Some(long_ago),
            text: "5".into(),
        },
        Entry::Key(Box::new(KeyEntry {
            digest: key.digest,
            record: key.record.clone(),
            rotation: Some(rotation),
        })),
    ];
    restore(&*store, entries).await;
    assert_eq!(under(&*store, &previous).await, None);
    let there = export(&*store).await;
    let ended = there.iter().filter(|entry| entry.has_ended(now())).count();
    assert_eq!((there.len(), ended), (1, 0), "{there:?}");
    let rotated = store
        .key_rotation(&key.record.id)
        .await
        .expect("it answers");
    assert_eq!(rotated.expect("kept").previous, previous);
}

/// What docs/store.md says that the user needs beside what a gateway has to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_more_commands_are_all_that_an_export_from_redis_needs() {
    let server = RedisServer::demanding(Demands::Password, &[]);
    let store = RedisStore::open(&server.settings()).expect("good settings");
    let store: Arc<dyn Store> = Arc::new(store);
    let key = new_key();
    create(&*store, &key).await;
    let (to, _taken) = mpsc::channel(99);
    let answer = store.archive(to).await.expect_err("no permission");
    let cause = std::error::Error::source(&answer)
        .expect("a cause")
        .to_string();
    assert!(cause.contains("scan"), "{answer:?}");
    let command = ["ACL", "SETUSER", USER, "+scan", "+pexpiretime"];
    let _ok: String = server.command(&command);
    let _filled = fill(&store).await;
    let entries = export(&*store).await;
    let _restored = restore(&*store, entries.clone()).await;
    assert_eq!(lines(&export(&*store).await), lines(&entries));
}

/// Whoever adds a kind of document or list decides whether it is carried.
#[test]
fn each_kind_of_document_and_list_has_its_fate() {
    let table = fs::read_to_string("src/store/archive/mod.rs").expect("readable");
    let mut kinds = 0;
    let mut folders = vec![Path::new("src/store").to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).expect("readable");
            for name in ["Place::new(\"", "Index::new(\""] {
                for rest in text.split(name).skip(1) {
                    let kind = rest.split('"').next().expect("a kind");
                    kinds += 1;
                    let known = table.contains(&format!("\"{kind}\""));
                    assert!(known, "{}: what becomes of {kind:?}?", path.display());
                }
            }
        }
    }
    assert!(kinds > 15, "{kinds} kinds were found");
}
