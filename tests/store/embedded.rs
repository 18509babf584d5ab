//! What is particular to the embedded store: a file of this machine and one process.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use portcullis::clock::Clock;
use portcullis::store::{
    EmbeddedStore, Event, EventStore as _, Follow, Gap, KeyStore as _, StoreError,
};
use redb::TableDefinition;

use crate::fixtures::{create, end, new_key, now, since};

const RECORDS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("records");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");

fn open(path: &Path) -> Result<EmbeddedStore, StoreError> {
    EmbeddedStore::open(path, &Clock::system())
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder can be made")
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let folder = folder();
    let path = folder.path().join("store.redb");
    let (key, gone) = (new_key(), new_key());
    let store = open(&path).expect("it opens");
    create(&store, &key).await;
    create(&store, &gone).await;
    let position = end(&store).await;
    let at = now();
    let _first = store
        .revoke_key(&gone.record.id, at)
        .await
        .expect("it answers");
    drop(store);

    let store = open(&path).expect("it opens");
    let found = store.key_by_digest(&key.digest).await.expect("it answers");
    assert_eq!(found, Some(key.record));
    let found = store.key(&gone.record.id).await.expect("it answers");
    assert_eq!(found.expect("still there").revoked_at, Some(at));
    let denials = store.denials().await.expect("it answers").entries;
    assert_eq!(denials.len(), 1);
    let (_, events) = since(&store, &position).await;
    assert_eq!(events, [Event::Deny(denials[0].clone())]);
}

#[tokio::test]
async fn every_secret_that_is_found_is_at_hand_page_by_page_in_the_order_of_the_digests() {
    let folder = folder();
    let store = open(&folder.path().join("store.redb")).expect("it opens");
    assert_eq!(store.keys_at_hand(None, 5).await.expect("it answers"), []);
    let mut keys = [new_key(), new_key(), new_key()];
    for key in &keys {
        create(&store, key).await;
    }
    keys.sort_by_key(|key| key.digest);
    let [first, second, third] = keys.map(|key| (key.digest, key.record));
    let page = store.keys_at_hand(None, 2).await.expect("it answers");
    assert_eq!(page, [first, second.clone()]);
    let page = store.keys_at_hand(Some(&second.0), 2).await;
    let end = third.0;
    assert_eq!(page.expect("it answers"), [third]);
    let page = store.keys_at_hand(Some(&end), 2).await;
    assert_eq!(page.expect("it answers"), []);
}

#[tokio::test]
async fn a_second_process_is_told_which_file_is_in_use_and_what_to_do() {
    let folder = folder();
    let path = folder.path().join("store.redb");
    let store = open(&path).expect("it opens");
    assert!(matches!(open(&path), Err(StoreError::Locked { .. })));
    let expected = format!(
        "the embedded store {} is in use by another process, and one at a time can have it: reach \
         the running gateway through its admin API (`listen.admin`), or stop it first\n",
        path.display()
    );
    let told = in_another_process(&path);
    assert!(told.contains(&expected), "{told}");
    drop(store);
    let told = in_another_process(&path);
    assert!(told.contains("it opened"), "{told}");
}

/// Runs [`opens_in_this_process`] in a process of its own and returns what it says.
fn in_another_process(path: &Path) -> String {
    let output = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "embedded::opens_in_this_process"])
        .args(["--ignored", "--nocapture"])
        .env("PORTCULLIS_TEST_STORE", path)
        .output()
        .expect("it runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
#[ignore = "the other process of a_second_process_is_told_which_file_is_in_use_and_what_to_do"]
fn opens_in_this_process() {
    let Some(path) = std::env::var_os("PORTCULLIS_TEST_STORE") else {
        return;
    };
    match open(Path::new(&path)) {
        Ok(_) => println!("it opened"),
        Err(error) => println!("{error}"),
    }
}

#[test]
fn only_the_owner_can_read_the_file_and_the_folders_made_for_it() {
    let folder = folder();
    let path = folder.path().join("made/for/it/store.redb");
    drop(open(&path).expect("it opens"));
    let mode = |path: &Path| {
        let permissions = std::fs::metadata(path).expect("it is there").permissions();
        permissions.mode() & 0o7777
    };
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&folder.path().join("made")), 0o700);
    assert_eq!(mode(&folder.path().join("made/for/it")), 0o700);

    std::fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("it is ours");
    drop(open(&path).expect("it opens"));
    assert_eq!(
        mode(&path),
        0o600,
        "a file that was open to others is closed"
    );
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_an_error_and_not_an_absence() {
    let folder = folder();
    let path = folder.path().join("store.redb");
    let (bad, good) = (new_key(), new_key());
    let store = open(&path).expect("it opens");
    create(&store, &bad).await;
    create(&store, &good).await;
    drop(store);
    alter(&path, |transaction| {
        let mut records = transaction.open_table(RECORDS).expect("our table");
        let digest = bad.digest.as_bytes();
        records.insert(digest, &b"{\"id\":1}"[..]).expect("written");
    });

    let store = open(&path).expect("it opens");
    for answer in [
        store.key_by_digest(&bad.digest).await,
        store.key(&bad.record.id).await,
    ] {
        assert!(matches!(answer, Err(StoreError::Corrupt(_))), "{answer:?}");
    }
    let revoked = store.revoke_key(&bad.record.id, now()).await;
    assert!(
        matches!(revoked, Err(StoreError::Corrupt(_))),
        "{revoked:?}"
    );
    let found = store.key_by_digest(&good.digest).await.expect("it answers");
    assert_eq!(found, Some(good.record));
}

#[tokio::test]
async fn an_event_of_an_unknown_kind_is_an_error_and_not_skipped() {
    let folder = folder();
    let path = folder.path().join("store.redb");
    let store = open(&path).expect("it opens");
    let position = end(&store).await;
    drop(store);
    alter(&path, |transaction| {
        let mut log = transaction.open_table(LOG).expect("our table");
        let entry = br#"{"tag":1,"event":{"banish":"everyone"}}"#;
        log.insert(1, &entry[..]).expect("written");
    });
    let store = open(&path).expect("it opens");
    let answer = store.follow(&position, Duration::ZERO).await;
    assert!(matches!(answer, Err(StoreError::Corrupt(_))), "{answer:?}");
}

#[test]
fn a_file_of_another_layout_or_of_something_else_is_refused() {
    let folder = folder();
    let path = folder.path().join("store.redb");
    drop(open(&path).expect("it opens"));
    alter(&path, |transaction| {
        let mut meta = transaction.open_table(META).expect("our table");
        meta.insert("schema", 2).expect("written");
    });
    let error = open(&path).expect_err("a newer layout");
    assert!(
        matches!(&error, StoreError::Corrupt(what) if what.contains("version 2")),
        "{error}"
    );

    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "x".repeat(100_000)).expect("written");
    let error = open(&path).expect_err("no store at all");
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
}

#[tokio::test]
async fn an_older_copy_of_the_file_is_noticed_by_whoever_knows_more() {
    let folder = folder();
    let (path, copy) = (
        folder.path().join("store.redb"),
        folder.path().join("copy.redb"),
    );
    let store = open(&path).expect("it opens");
    create(&store, &new_key()).await;
    let shared = end(&store).await;
    drop(store);
    std::fs::copy(&path, &copy).expect("copied");
    let store = open(&path).expect("it opens");
    create(&store, &new_key()).await;
    let newer = end(&store).await;
    drop(store);

    std::fs::rename(&copy, &path).expect("restored");
    let store = open(&path).expect("it opens");
    let gap = store
        .follow(&newer, Duration::ZERO)
        .await
        .expect("it answers");
    assert_eq!(gap, Follow::Gap(Gap::Behind));
    // Also when as much has been written since, so that the numbers are the same again.
    create(&store, &new_key()).await;
    let gap = store
        .follow(&newer, Duration::ZERO)
        .await
        .expect("it answers");
    assert_eq!(gap, Follow::Gap(Gap::Another));
    assert_eq!(since(&store, &shared).await.1.len(), 1);
}

#[tokio::test]
async fn denials_are_kept_for_ninety_days() {
    let folder = folder();
    let path = folder.path().join("store.redb");
    let day = Duration::from_secs(24 * 60 * 60);
    let store = open(&path).expect("it opens");
    let (old, recent) = (new_key(), new_key());
    for (key, at) in [
        (&old, now().minus(day * 91)),
        (&recent, now().minus(day * 89)),
    ] {
        create(&store, key).await;
        let _first = store
            .revoke_key(&key.record.id, at)
            .await
            .expect("it answers");
    }
    drop(store);

    let store = open(&path).expect("it opens");
    let denials = store.denials().await.expect("it answers").entries;
    let ids: Vec<_> = denials.iter().map(|denial| denial.id.as_str()).collect();
    assert_eq!(ids, [recent.record.id.as_str()]);
    let found = store.key_by_digest(&old.digest).await.expect("it answers");
    assert!(
        found.expect("still there").revoked_at.is_some(),
        "the record itself still says so"
    );
}

fn alter(path: &Path, work: impl FnOnce(&redb::WriteTransaction)) {
    let database = redb::Database::open(path).expect("it opens");
    let transaction = database.begin_write().expect("it begins");
    work(&transaction);
    transaction.commit().expect("it commits");
}
