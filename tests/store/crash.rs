//! The embedded store is killed while it writes, and its file is damaged: what was acknowledged is
//! there afterwards, or opening says that the file is bad.
//!
//! The writer is this test binary in a process of its own, killed with SIGKILL. It tells each write
//! once that was answered, so whatever it has told has to be there. `PORTCULLIS_CRASH_ROUNDS` asks
//! for a longer run. What a power cut does to a disk that lies about its cache is not tested.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use portcullis::clock::{Clock, Timestamp};
use portcullis::id::{GrantId, KeyId, SessionId};
use portcullis::secret::{Digest, random_bytes};
use portcullis::store::{
    Denial, DenialKind, EmbeddedStore, Event, EventStore as _, Follow, GrantStore as _,
    KeyStore as _, Position, RotateKey, SessionStore as _, Store, StoreError, Touch,
    UsageStore as _,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::fixtures::{create, new_key, now};
use crate::grants::Flow;
use crate::rotation::{rotate, wish};
use crate::sessions;

/// Kills of a normal run, some 300 ms each.
const ROUNDS: u64 = 12;
/// For a writer to begin.
const PATIENCE: Duration = Duration::from_secs(20);
const FILE: &str = "PORTCULLIS_TEST_CRASH_STORE";

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let rounds = std::env::var("PORTCULLIS_CRASH_ROUNDS");
    let rounds = rounds.map_or(ROUNDS, |rounds| rounds.parse().expect("a number"));
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("store.redb");
    let runtime = runtime();
    let mut told = Vec::new();
    for _ in 0..rounds {
        let before = told.len();
        write_until_killed(&path, &mut told);
        assert!(told.len() > before, "the writer told of its writes");
        runtime.block_on(check(&path, &told));
    }
}

/// Starts the writer, and kills it at a moment between its first write and some tens of writes on.
fn write_until_killed(path: &Path, told: &mut Vec<Value>) {
    let mut writer = Writer::start(path);
    // The moment is not tied to a write: a few writes, and a little more.
    let [writes, micros, more] = random_bytes::<3>().map(u64::from);
    for _ in 0..=writes % 40 {
        told.push(writer.next().expect("it writes until it is killed"));
    }
    let until = Instant::now() + Duration::from_micros(micros * 16 + more);
    while Instant::now() < until {
        std::thread::yield_now();
    }
    writer.child.kill().expect("our own child");
    while let Some(line) = writer.next() {
        told.push(line);
    }
    writer.child.wait().expect("our own child");
}

struct Writer {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Writer {
    fn start(path: &Path) -> Writer {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "crash::writes_until_it_is_killed"])
            .args(["--ignored", "--nocapture"])
            .env(FILE, path)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it runs");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        Writer { child, lines }
    }

    /// The next write that it tells of; `None` is its end. A line that was cut was not told.
    fn next(&mut self) -> Option<Value> {
        loop {
            let mut line = String::new();
            self.lines.read_line(&mut line).expect("readable");
            if !line.ends_with('\n') {
                return None;
            }
            // The test harness says things of its own, also on the same line.
            if let Some((_, told)) = line.split_once("told ") {
                return Some(serde_json::from_str(told).expect("JSON"));
            }
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all();
    builder.build().expect("a runtime")
}

fn tell(what: &Value) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "told {what}").expect("whoever listens is there");
    out.flush().expect("whoever listens is there");
}

#[test]
#[ignore = "the other process of nothing_acknowledged_is_lost_when_the_process_is_killed"]
fn writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(FILE) else {
        return;
    };
    let store = EmbeddedStore::open(Path::new(&path), &Clock::system()).expect("it opens");
    let store: Arc<dyn Store> = Arc::new(store);
    let writers = async {
        // Beside each other, so that a kill meets one of them in the middle of its commit.
        let keys = tokio::spawn(write_keys(Arc::clone(&store)));
        let grants = tokio::spawn(write_grants(Arc::clone(&store)));
        let _never = tokio::join!(keys, grants);
    };
    // Whoever started it may be gone: it must not write for ever.
    let _ended = runtime().block_on(async { tokio::time::timeout(PATIENCE, writers).await });
}

async fn write_keys(store: Arc<dyn Store>) {
    for number in 0u64.. {
        let (key, other) = (new_key(), new_key());
        let id = &key.record.id;
        create(&*store, &key).await;
        tell(&json!({ "key": id, "digest": key.digest.to_text() }));

        let at = now();
        let wish = wish(id, &format!("r{number}"), Duration::from_secs(600), at);
        let rotated = rotate(&*store, &wish).await;
        assert!(matches!(rotated, RotateKey::Rotated(_)), "{rotated:?}");
        let (new, old) = (wish.digest.to_text(), key.digest.to_text());
        tell(&json!({ "rotated": id, "digest": new, "previous": old }));

        create(&*store, &other).await;
        let revoked = store.revoke_key(&other.record.id, now()).await;
        let _record = revoked.expect("it answers");
        tell(&json!({ "revoked": other.record.id, "digest": other.digest.to_text() }));

        let touch = Touch {
            digest: key.digest,
            seen_at: at,
            keep_until: None,
        };
        store.touch(vec![touch]).await.expect("it answers");
        tell(&json!({ "seen": key.digest.to_text(), "at": at.as_millis() }));
        let position = store.denials().await.expect("it answers").position;
        tell(&json!({ "position": position }));
    }
}

async fn write_grants(store: Arc<dyn Store>) {
    for number in 0u64.. {
        let denial = Denial {
            kind: DenialKind::Jti,
            id: format!("{}-{number}", KeyId::random()),
            at: now(),
        };
        store.deny(vec![denial.clone()]).await.expect("it answers");
        tell(&json!({ "denied": denial }));

        let flow = Flow::active(&store).await;
        let nonce = flow.rotated_twice().await;
        tell(&json!({ "grant": flow.record.id.to_string(), "nonce": nonce.to_text() }));

        let mut session = sessions::new_session(&sessions::key());
        // The grants' clock is ahead, and what has ended by it is swept away.
        session.record.expires_at = now().plus(Duration::from_secs(24 * 3600));
        let _created = sessions::create(&*store, &session).await;
        tell(&json!({ "session": session.record.id.to_string() }));
        let ended = store.end_session(&session.record.id, now()).await;
        let _record = ended.expect("it answers");
        tell(&json!({ "ended": session.record.id.to_string() }));
    }
}

/// Everything told is there, and the parts of the store agree with each other.
async fn check(path: &Path, told: &[Value]) {
    let store = EmbeddedStore::open(path, &Clock::system()).expect("it opens after a kill");
    let denials = store.denials().await.expect("it answers");
    let denied: BTreeSet<String> = denials.entries.iter().map(name).collect();
    for write in told {
        check_write(&store, write, &denied).await;
    }
    check_log(&store, told, &denials.entries).await;
    check_keys(&store, &denials.entries).await;
}

fn name(denial: &Denial) -> String {
    format!("{}:{}", denial.kind.label(), denial.id)
}

async fn check_write(store: &EmbeddedStore, write: &Value, denied: &BTreeSet<String>) {
    let text = |member: &str| write[member].as_str().expect("a text").to_owned();
    let digest = |member: &str| Digest::from_text(&text(member)).expect("a digest");
    let (name, value) = write
        .as_object()
        .and_then(|write| {
            let known = [
                "key", "rotated", "revoked", "seen", "denied", "grant", "session", "ended",
            ];
            let named = known.iter().find(|known| write.contains_key(**known));
            named.map(|name| (*name, &write[*name]))
        })
        .unwrap_or(("position", &write["position"]));
    let id = || KeyId::parse(value.as_str().expect("a text")).expect("an id");
    match name {
        "key" => {
            let found = store.key_by_digest(&digest("digest")).await;
            assert_eq!(
                found.expect("it answers").expect("kept").id,
                id(),
                "{write}"
            );
        }
        "rotated" => {
            let last = store.key_rotation(&id()).await.expect("it answers");
            let last = last.expect("kept");
            assert_eq!(last.current, digest("digest"), "{write}");
            assert_eq!(last.previous, digest("previous"), "{write}");
        }
        "revoked" => {
            let found = store.key_by_digest(&digest("digest")).await;
            let found = found.expect("it answers").expect("kept");
            assert!(found.revoked_at.is_some(), "{write}");
            assert!(denied.contains(&format!("key:{}", found.id)), "{write}");
        }
        "seen" => {
            let seen = store.last_seen(vec![digest("seen")]).await;
            let at = write["at"].as_i64().map(Timestamp::from_millis);
            assert_eq!(seen.expect("it answers"), [at], "{write}");
        }
        "denied" => {
            let denial: Denial = serde_json::from_value(value.clone()).expect("a denial");
            assert!(denied.contains(&self::name(&denial)), "{write}");
        }
        "grant" => {
            let grant = GrantId::parse(&text("grant")).expect("an id");
            let found = store.grant(&grant).await.expect("it answers");
            let refresh = found.expect("kept").refresh.expect("redeemed");
            assert_eq!(refresh.live, [digest("nonce")], "{write}");
        }
        "session" | "ended" => {
            let id = SessionId::parse(&text(name)).expect("an id");
            let found = store.session(&id).await.expect("it answers").expect("kept");
            if name == "ended" {
                assert!(found.ended_at.is_some(), "{write}");
                assert!(denied.contains(&format!("session:{id}")), "{write}");
            }
        }
        _ => assert!(write.get("position").is_some(), "{write}"),
    }
}

/// From each position that was told the log goes on to its end without a gap, and what was told
/// later is in it.
async fn check_log(store: &EmbeddedStore, told: &[Value], denials: &[Denial]) {
    let mut positions = told.iter().enumerate().filter_map(|(at, write)| {
        let text = write.get("position")?.as_str()?;
        Some((at, Position::new(text)))
    });
    let end = store.denials().await.expect("it answers").position;
    let first = positions.next();
    for (_, position) in first.iter().cloned().chain(positions.next_back()) {
        match store
            .follow(&position, Duration::ZERO)
            .await
            .expect("it answers")
        {
            Follow::Events { position, .. } => assert_eq!(position, end),
            Follow::Gap(_) => panic!("the log has lost {position:?}"),
        }
    }
    let Some((at, position)) = first else { return };
    let Follow::Events { events, .. } = store
        .follow(&position, Duration::ZERO)
        .await
        .expect("it answers")
    else {
        panic!("the log has lost {position:?}");
    };
    let mut logged = BTreeSet::new();
    for event in &events {
        logged.insert(match event {
            Event::Deny(denial) => name(denial),
            Event::Publish(digest) => digest.to_text(),
        });
        if let Event::Deny(denial) = event {
            assert!(
                denials.contains(denial),
                "{denial:?} is in the log and not on the list"
            );
        }
    }
    // The two writers tell in no order of each other's: the keys' writer told the position.
    for write in &told[at..] {
        let of_keys = write
            .get("key")
            .or(write.get("rotated"))
            .or(write.get("revoked"));
        if of_keys.is_some() {
            let digest = write["digest"].as_str().expect("a text");
            assert!(logged.contains(digest), "{write} is not in the log");
        }
    }
}

/// Each listed key has a record, each revoked one a denial, and each denial of a key its record.
async fn check_keys(store: &EmbeddedStore, denials: &[Denial]) {
    let mut listed = BTreeMap::new();
    for record in store.keys(None, usize::MAX).await.expect("it answers") {
        assert_eq!(
            store.key(&record.id).await.expect("it answers").as_ref(),
            Some(&record)
        );
        listed.insert(record.id.to_string(), record);
    }
    let of_keys = denials
        .iter()
        .filter(|denial| denial.kind == DenialKind::Key);
    let denied: BTreeSet<&str> = of_keys.map(|denial| denial.id.as_str()).collect();
    let revoked = listed.values().filter(|record| record.revoked_at.is_some());
    let revoked: BTreeSet<&str> = revoked.map(|record| record.id.as_str()).collect();
    assert_eq!(revoked, denied);
}

/// A store with a thousand records, closed.
fn filled(path: &Path) -> Vec<u8> {
    runtime().block_on(async {
        let store = EmbeddedStore::open(path, &Clock::system()).expect("it opens");
        let keys = (0..1000).map(|_| new_key()).collect();
        let _created = store.create_keys(keys).await.expect("it answers");
    });
    std::fs::read(path).expect("readable")
}

#[test]
fn a_file_that_was_cut_is_refused_and_never_an_empty_store() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("store.redb");
    let whole = filled(&path);
    let lengths = [
        0,
        1,
        100,
        512,
        4096,
        8192,
        whole.len() / 2,
        whole.len() - 4096,
        whole.len() - 1,
    ];
    for length in lengths {
        std::fs::write(&path, &whole[..length]).expect("written");
        let error = EmbeddedStore::open(&path, &Clock::system());
        let error = error.map(drop).expect_err("a file that was cut");
        let words = error.to_string();
        assert!(
            matches!(error, StoreError::Corrupt(_)),
            "{length} bytes: {error:?}"
        );
        assert!(words.contains(&path.display().to_string()), "{words}");
        assert_eq!(
            std::fs::read(&path).expect("readable").len(),
            length,
            "what is left of it was altered"
        );
    }
}

#[test]
fn a_file_that_was_damaged_is_refused_or_whole() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("store.redb");
    let whole = filled(&path);
    let mut refused = 0;
    for at in (0..whole.len()).step_by(whole.len() / 60) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        std::fs::write(&path, &bytes).expect("written");
        match EmbeddedStore::open(&path, &Clock::system()) {
            // It was a byte that nothing is in.
            Ok(store) => {
                let keys = runtime().block_on(async { store.keys(None, usize::MAX).await });
                assert_eq!(keys.expect("it answers").len(), 1000, "byte {at}");
            }
            Err(StoreError::Corrupt(_)) => refused += 1,
            Err(other) => panic!("byte {at}: {other:?}"),
        }
    }
    assert!(refused > 10, "the damage was met {refused} times");
}
