//! The store is exported over the admin API while it is written.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use portcullis::admin::AdminClient;
use portcullis::auth::ArchiveDesk;
use portcullis::clock::Clock;
use portcullis::id::{AccountId, KeyId};
use portcullis::observe::{Actor, Metrics};
use portcullis::scope::ScopeSet;
use portcullis::secret::{Digest, random_bytes};
use portcullis::store::{
    self, Denial, DenialKind, Entry, Environment, ExportReader, ExportWriter, KeyRecord, NewKey,
    Store, StoreSettings,
};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use crate::broken_store::BrokenStore;
use crate::house::{House, exchange, request};

fn new_key(name: String) -> NewKey {
    NewKey {
        digest: Digest::from_bytes(random_bytes()),
        record: KeyRecord {
            id: KeyId::random(),
            account: AccountId::parse("acct_1").expect("valid"),
            name,
            environment: Environment::Live,
            scopes: ScopeSet::parse("domains:read").expect("valid"),
            created_at: Clock::system().now(),
            not_before: None,
            expires_at: None,
            revoked_at: None,
            allowed_ips: Vec::new(),
            hint: "osir_live_\u{2026}abcd".into(),
        },
    }
}

async fn create(store: &dyn Store, key: NewKey) -> KeyId {
    let id = key.record.id.clone();
    let _created = store.create_keys(vec![key]).await.expect("it answers");
    id
}

async fn fetch(client: &AdminClient) -> Vec<u8> {
    let (to, mut taken) = mpsc::channel::<Bytes>(2);
    let take = async {
        let mut bytes = Vec::new();
        while let Some(piece) = taken.recv().await {
            bytes.extend_from_slice(&piece);
        }
        bytes
    };
    let (exported, bytes) = tokio::join!(client.export_store(to), take);
    exported.expect("a whole answer");
    bytes
}

/// All entries of a whole export.
fn entries(bytes: &[u8]) -> Vec<Entry> {
    let reader = ExportReader::begin(bytes).expect("an export");
    let entries: Result<_, _> = reader.collect();
    entries.expect("whole")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_backup_has_every_write_that_was_answered_before_it() {
    let house = House::build();
    let (open, client, _) = house.open_socket().await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..2)
        .map(|_| {
            let (store, stop) = (Arc::clone(&house.store), Arc::clone(&stop));
            let (told, answered) = mpsc::unbounded_channel();
            let writer = tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let id = create(&*store, new_key("n".repeat(200))).await;
                    let revoked = store.revoke_key(&id, Clock::system().now()).await;
                    let _record = revoked.expect("it answers");
                    // Whoever listened has enough.
                    let _ = told.send(id);
                }
            });
            (writer, answered)
        })
        .collect();
    let mut answered = BTreeSet::new();
    let (tasks, mut told): (Vec<_>, Vec<_>) = writers.into_iter().unzip();
    let mut last = Vec::new();
    for _ in 0..4 {
        for told in &mut told {
            for _ in 0..20 {
                answered.insert(told.recv().await.expect("it writes"));
            }
        }
        last = entries(&fetch(&client).await);
        let exported: BTreeSet<KeyId> = last
            .iter()
            .filter_map(|entry| match entry {
                Entry::Key(key) => key.record.revoked_at.map(|_| key.record.id.clone()),
                _ => None,
            })
            .collect();
        assert!(
            answered.is_subset(&exported),
            "an answered write is missing"
        );
    }
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.expect("it wrote");
    }
    open.close().await;

    // It opens as a store of its own.
    let path = house.folder.path().join("restored.redb");
    let settings = StoreSettings::Embedded { path };
    let restored = store::open(&settings, &Clock::system(), &Metrics::new()).expect("opens");
    last.sort_by_key(Entry::rank);
    let all = Box::new(last.into_iter().map(Ok));
    let now = Clock::system().now();
    let report = restored.restore(all, now).await.expect("it answers");
    assert!(report.written >= answered.len() as u64);
    for id in &answered {
        let found = restored.key(id).await.expect("it answers").expect("kept");
        assert!(found.revoked_at.is_some());
    }
    assert_eq!(
        restored.denials().await.expect("it answers").entries.len(),
        usize::try_from(report.denials).expect("few")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_export_at_a_time_and_whoever_leaves_makes_room() {
    let house = House::build();
    // More than all buffers on the way hold.
    let keys = (0..20_000).map(|_| new_key("n".repeat(200))).collect();
    let _created = house.store.create_keys(keys).await.expect("it answers");
    let (open, _, path) = house.open_socket().await;
    let connect = async || UnixStream::connect(&path).await.expect("connects");
    let ask = request("GET", "/v1/store/export", "", "");

    let mut slow = connect().await;
    slow.write_all(&ask).await.expect("written");
    let mut begun = [0; 1024];
    slow.read_exact(&mut begun).await.expect("it begins");
    let head = String::from_utf8_lossy(&begun).to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200 ok\r\n"), "{head}");
    for field in [
        "content-type: application/x-ndjson\r\n",
        "cache-control: no-store\r\n",
        "transfer-encoding: chunked\r\n",
    ] {
        assert!(head.contains(field), "{head}");
    }
    let second = exchange(connect().await, &ask).await;
    assert_eq!(second.status, 409);
    assert_eq!(
        second.body,
        r#"{"error":"conflict","message":"an export is under way: one at a time"}"#
    );
    let other = exchange(
        connect().await,
        &request("POST", "/v1/store/export", "", ""),
    )
    .await;
    assert_eq!(other.status, 405);
    assert!(other.head.contains("allow: get\r\n"), "{other:?}");
    drop(slow);

    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    let third = loop {
        let answer = exchange(connect().await, &ask).await;
        if answer.status == 200 {
            break answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "there is no room");
    };
    assert!(third.body.contains(r#"{"end":{"entries":20000,"#));
    let lines = house.audit_lines().await;
    let told: Vec<_> = lines
        .iter()
        .map(|line| json!([line["event"], line["outcome"], line["count"]]))
        .collect();
    assert_eq!(
        told,
        [
            json!(["store_export", "failed", null]),
            json!(["store_export", "done", 20_000]),
        ]
    );
    open.close().await;
}

#[tokio::test]
async fn an_export_that_fails_before_it_begins_is_an_answer_in_words() {
    let house = House::over(|_, _| Arc::new(BrokenStore));
    let (open, client, path) = house.open_socket().await;
    let stream = UnixStream::connect(&path).await.expect("connects");
    let answer = exchange(stream, &request("GET", "/v1/store/export", "", "")).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    let message = answer.json()["message"].clone();
    assert_eq!(message, "the store did not answer within 250ms");
    let (to, _taken) = mpsc::channel(1);
    let error = client.export_store(to).await.expect_err("refused");
    assert_eq!(error.to_string(), message);
    open.close().await;
}

/// A key that was read before it was revoked, by an export that saw the denial.
#[tokio::test]
async fn a_key_that_is_denied_anywhere_in_an_export_is_revoked_in_its_record() {
    let house = House::build();
    let (open, client, _) = house.open_socket().await;
    let key = new_key("n".into());
    let (digest, at) = (key.digest, Clock::system().now());
    let id = create(&*house.store, key).await;
    let before = fetch(&client).await;
    let head = ExportReader::begin(&before[..])
        .expect("an export")
        .head()
        .clone();
    open.close().await;

    let mut bytes = Vec::new();
    let mut writer = ExportWriter::begin("now", "redis", head.peppers, &mut bytes);
    for entry in entries(&before) {
        writer.entry(&entry, &mut bytes);
    }
    let late = Denial {
        kind: DenialKind::Key,
        id: id.to_string(),
        at,
    };
    writer.entry(&Entry::Denial(late), &mut bytes);
    assert_eq!(writer.end(&mut bytes), 2);
    let path = house.folder.path().join("late.jsonl");
    std::fs::write(&path, &bytes).expect("written");

    let other = House::build();
    let file = std::fs::File::open(&path).expect("readable");
    let desk = ArchiveDesk::beside(&other.desk);
    let imported = desk.import(file, false, Actor::Cli { uid: 7 }).await;
    assert_eq!(imported.expect("taken in").written, 1);
    let found = other
        .store
        .key_by_digest(&digest)
        .await
        .expect("it answers");
    assert_eq!(found.expect("there").revoked_at, Some(at));
}

#[tokio::test]
async fn over_tcp_the_token_comes_before_an_export() {
    let house = House::build();
    let (open, address) = house.open_tcp().await;
    let stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("connects");
    let ask = request("GET", "/v1/store/export", "Host: localhost\r\n", "");
    let answer = exchange(stream, &ask).await;
    assert_eq!(answer.status, 401, "{answer:?}");
    assert_eq!(house.audit_lines().await.len(), 0);
    open.close().await;
}
