//! What is particular to the Redis store while the server is well: what it holds, whom it lets in,
//! and what a gateway that stopped half-way through a verb leaves.

use std::error::Error as _;
use std::time::Duration;

use portcullis::secret::Secret;
use portcullis::store::{
    CreateKey, Denial, DenialKind, Event, EventStore as _, Follow, Gap, KeyRecord, KeyStore as _,
    RedisServers, RedisSettings, RedisStore, RevokeKey, StoreError,
};
use tokio::time::timeout;

use crate::fixtures::{PATIENCE, create, create_one, end, events, named, new_key, now, since};
use crate::redis_server::{Demands, PASSWORD, RedisServer, eventually};

fn open(settings: &RedisSettings) -> RedisStore {
    RedisStore::open(settings).expect("good settings")
}

/// An error with all its causes, as a log would show it.
fn told(error: &StoreError) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(" {error} {error:?}"));
        cause = error.source();
    }
    text
}

#[tokio::test]
async fn a_user_with_only_the_documented_permissions_can_do_everything() {
    let server = RedisServer::demanding(Demands::Password, &[]);
    let store = open(&server.settings());
    let start = end(&store).await;
    let (key, mut stray) = (new_key(), new_key());
    stray.digest = key.digest;
    create(&store, &key).await;
    assert_eq!(create_one(&store, &stray).await, CreateKey::Exists);
    assert_eq!(store.keys(None, 9).await.expect("it answers").len(), 1);
    let found = store.key(&key.record.id).await.expect("it answers");
    assert_eq!(found, Some(key.record.clone()));
    let _first = store
        .revoke_key(&key.record.id, now())
        .await
        .expect("it answers");
    let wait = Duration::from_millis(20);
    let (position, events) = events(store.follow(&start, wait).await.expect("it answers"));
    assert_eq!(events.len(), 2);
    let _none = store.follow(&position, wait).await.expect("it answers");
    assert_eq!(store.denials().await.expect("it answers").entries.len(), 1);
    store.ping().await.expect("it answers");
}

#[tokio::test]
async fn no_key_is_at_hand_where_another_machine_has_them() {
    let server = RedisServer::demanding(Demands::Nothing, &[]);
    let store = open(&server.settings());
    create(&store, &new_key()).await;
    assert_eq!(store.keys_at_hand(None, 9).await.expect("it answers"), []);
}

#[tokio::test]
async fn a_wrong_password_is_an_error_that_shows_no_password() {
    let server = RedisServer::demanding(Demands::Password, &[]);
    let mut settings = server.settings();
    settings.password = Some(Secret::new(format!("{PASSWORD}-but-wrong")));
    let store = open(&settings);
    assert!(!format!("{settings:?} {store:?}").contains(PASSWORD));
    let error = store.ping().await.expect_err("refused");
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(!told(&error).contains(PASSWORD), "{}", told(&error));

    let mut settings = server.settings();
    settings.username = None;
    open(&settings)
        .ping()
        .await
        .expect("Redis' default user has the same");
    settings.password = None;
    let error = open(&settings).ping().await.expect_err("refused");
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    let words = "the server asks for a user and a password: set `username` and `password`";
    assert!(told(&error).contains(words), "{}", told(&error));
}

/// Redis quotes the arguments of a command that it does not know.
#[tokio::test]
async fn a_server_without_auth_does_not_bring_the_password_back_in_its_error() {
    let renamed = ["--rename-command", "AUTH", "KNOCK"];
    let server = RedisServer::demanding(Demands::Nothing, &renamed);
    let mut settings = server.settings();
    settings.username = Some("gateway".into());
    settings.password = Some(Secret::new(PASSWORD));
    let error = open(&settings).ping().await.expect_err("refused");
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(!told(&error).contains(PASSWORD), "{}", told(&error));
}

#[tokio::test]
async fn tls_is_checked_against_the_private_ca() {
    let server = RedisServer::demanding(Demands::Tls, &[]);
    let store = open(&server.settings());
    let key = new_key();
    create(&store, &key).await;
    let found = store.key_by_digest(&key.digest).await.expect("it answers");
    assert_eq!(found, Some(key.record));
    // The connection that waits for events is made the same way.
    let start = end(&store).await;
    let wait = Duration::from_millis(20);
    let _none = store.follow(&start, wait).await.expect("it answers");

    let mut settings = server.settings();
    settings.ca = Some(server.other_ca());
    let foreign = open(&settings).ping().await.expect_err("another CA");
    assert!(
        told(&foreign).contains("BadSignature"),
        "{}",
        told(&foreign)
    );
    settings.ca = None;
    let public = open(&settings).ping().await.expect_err("the public CAs");
    assert!(told(&public).contains("UnknownIssuer"), "{}", told(&public));
    settings = server.settings();
    settings.servers = RedisServers::One {
        url: server.url().replace("127.0.0.1", "localhost"),
    };
    let name = open(&settings).ping().await.expect_err("another name");
    assert!(told(&name).contains("NotValidForName"), "{}", told(&name));
    settings.servers = RedisServers::One {
        url: server.url().replace("rediss", "redis"),
    };
    let clear = open(&settings).ping().await.expect_err("no TLS");
    assert!(matches!(clear, StoreError::Unavailable(_)), "{clear:?}");
}

#[tokio::test]
async fn settings_that_describe_no_server_are_refused_without_repeating_them() {
    let settings = |url: &str| RedisSettings {
        timeout: Duration::from_secs(1),
        ..RedisSettings::at(url)
    };
    for url in [
        "",
        "127.0.0.1:6379",
        "http://127.0.0.1",
        "redis://",
        "redis+unix:///tmp/hush",
        "redis://:hush@127.0.0.1",
        "redis://hush@127.0.0.1",
        "rediss://127.0.0.1/#insecure",
        "redis://127.0.0.1/hush",
    ] {
        let error = RedisStore::open(&settings(url)).expect_err(url);
        assert!(!told(&error).contains("hush"), "{}", told(&error));
    }
    let mut absent = settings("rediss://127.0.0.1");
    absent.ca = Some("/does/not/exist.pem".into());
    assert!(RedisStore::open(&absent).is_err());
    let empty = tempfile::NamedTempFile::new().expect("a file can be made");
    absent.ca = Some(empty.path().into());
    assert!(RedisStore::open(&absent).is_err());
}

#[tokio::test]
async fn a_creation_that_stopped_half_way_is_nobodys_until_it_is_repeated() {
    let server = RedisServer::start();
    let store = open(&server.settings());
    let key = named("key_half");
    let digest = key.digest.to_text();
    let _: () = server.command(&["SET", "pc:kid:key_half", &digest]);
    let _: u64 = server.command(&["ZADD", "pc:kids", "0", "key_half"]);
    create(&store, &named("key_z")).await;

    assert_eq!(store.key(&key.record.id).await.expect("it answers"), None);
    let revoked = store.revoke_key(&key.record.id, now()).await;
    assert_eq!(revoked.expect("it answers"), RevokeKey::Unknown);
    // It takes no place on a page: one that came back short would pass for the last.
    let page = store.keys(None, 1).await.expect("it answers");
    assert_eq!(ids(&page), ["key_z"]);
    create(&store, &key).await;
    let page = store.keys(None, 9).await.expect("it answers");
    assert_eq!(ids(&page), ["key_half", "key_z"]);
}

#[tokio::test]
async fn an_id_that_was_claimed_for_another_ids_key_is_nobodys() {
    let server = RedisServer::start();
    let store = open(&server.settings());
    let key = named("key_a");
    create(&store, &key).await;
    let _: () = server.command(&["SET", "pc:kid:key_stray", &key.digest.to_text()]);
    let _: u64 = server.command(&["ZADD", "pc:kids", "0", "key_stray"]);

    let mut stray = named("key_stray");
    assert_eq!(store.key(&stray.record.id).await.expect("it answers"), None);
    let revoked = store.revoke_key(&stray.record.id, now()).await;
    assert_eq!(revoked.expect("it answers"), RevokeKey::Unknown);
    let page = store.keys(None, 9).await.expect("it answers");
    assert_eq!(page, [key.record]);
    // Whoever claimed it and comes back frees it.
    stray.digest = key.digest;
    assert_eq!(create_one(&store, &stray).await, CreateKey::Exists);
    let listed: Vec<String> = server.command(&["ZRANGE", "pc:kids", "0", "-1"]);
    assert_eq!(listed, ["key_a"]);
    create(&store, &named("key_stray")).await;
}

#[tokio::test]
async fn a_creation_that_stopped_before_its_event_is_completed_by_a_repetition() {
    let server = RedisServer::start();
    let store = open(&server.settings());
    let key = new_key();
    create(&store, &key).await;
    let start = end(&store).await;
    let _: u64 = server.command(&["DEL", "pc:kids"]);
    assert_eq!(create_one(&store, &key).await, CreateKey::Exists);
    assert_eq!(since(&store, &start).await.1, [Event::Publish(key.digest)]);
    assert_eq!(store.keys(None, 9).await.expect("it answers"), [key.record]);
}

#[tokio::test]
async fn a_revocation_that_stopped_half_way_is_completed_by_a_repetition() {
    let server = RedisServer::start();
    let store = open(&server.settings());
    let key = new_key();
    create(&store, &key).await;
    let start = end(&store).await;
    let at = now();
    let record = format!("pc:k:{}", key.digest.to_text());
    let _: u64 = server.command(&["HSET", &record, "rv", &at.as_millis().to_string()]);

    let later = at.plus(Duration::from_secs(9));
    let answer = store.revoke_key(&key.record.id, later).await;
    let mut revoked = key.record.clone();
    revoked.revoked_at = Some(at);
    assert_eq!(
        answer.expect("it answers"),
        RevokeKey::AlreadyRevoked(revoked)
    );
    let denial = Denial {
        kind: DenialKind::Key,
        id: key.record.id.to_string(),
        at,
    };
    assert_eq!(since(&store, &start).await.1, [Event::Deny(denial.clone())]);
    assert_eq!(store.denials().await.expect("it answers").entries, [denial]);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_an_error_and_not_an_absence() {
    let server = RedisServer::start();
    let store = open(&server.settings());
    let (bad, wrong, good) = (new_key(), new_key(), new_key());
    for key in [&bad, &wrong, &good] {
        create(&store, key).await;
    }
    let record = format!("pc:k:{}", bad.digest.to_text());
    let _: u64 = server.command(&["HSET", &record, "env", "mars"]);
    let _: () = server.command(&["SET", &format!("pc:k:{}", wrong.digest.to_text()), "x"]);
    for key in [&bad, &wrong] {
        for answer in [
            store.key_by_digest(&key.digest).await,
            store.key(&key.record.id).await,
        ] {
            assert!(matches!(answer, Err(StoreError::Corrupt(_))), "{answer:?}");
        }
    }
    // What can be known of such a key is enough to deny it, whatever else is wrong with it.
    let revoked = store.revoke_key(&bad.record.id, now()).await;
    assert!(
        matches!(revoked, Err(StoreError::Corrupt(_))),
        "{revoked:?}"
    );
    let denials = store.denials().await.expect("it answers").entries;
    assert_eq!(denials[0].id, bad.record.id.as_str());
    let found = store.key_by_digest(&good.digest).await.expect("it answers");
    assert_eq!(found, Some(good.record));
}

#[tokio::test]
async fn what_a_newer_version_wrote_is_an_error_and_not_skipped() {
    let server = RedisServer::start();
    let store = open(&server.settings());
    let start = end(&store).await;
    let _: String = server.command(&["XADD", "pc:{rev}:log", "*", "banish", "everyone"]);
    let answer = store.follow(&start, Duration::ZERO).await;
    assert!(matches!(answer, Err(StoreError::Corrupt(_))), "{answer:?}");
    let _: u64 = server.command(&["ZADD", "pc:{rev}:nb", "1", "planet:mars"]);
    let answer = store.denials().await;
    assert!(matches!(answer, Err(StoreError::Corrupt(_))), "{answer:?}");
}

#[tokio::test]
async fn denials_are_kept_for_ninety_days() {
    let server = RedisServer::start();
    let store = open(&server.settings());
    let day = Duration::from_secs(24 * 60 * 60);
    for (id, days) in [("old", 91), ("recent", 89)] {
        let at = now().minus(day * days).as_millis().to_string();
        let _: u64 = server.command(&["ZADD", "pc:{rev}:nb", &at, &format!("key:{id}")]);
    }
    let key = new_key();
    create(&store, &key).await;
    let _first = store
        .revoke_key(&key.record.id, now())
        .await
        .expect("it answers");
    let denials = store.denials().await.expect("it answers").entries;
    let mut ids: Vec<_> = denials.iter().map(|denial| denial.id.as_str()).collect();
    ids.sort_unstable();
    let mut expected = [key.record.id.as_str(), "recent"];
    expected.sort_unstable();
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn a_denial_never_moves_back_in_time() {
    let server = RedisServer::start();
    let store = open(&server.settings());
    let key = new_key();
    create(&store, &key).await;
    let later = now().plus(Duration::from_secs(60));
    let (member, score) = (
        format!("key:{}", key.record.id),
        later.as_millis().to_string(),
    );
    let _: u64 = server.command(&["ZADD", "pc:{rev}:nb", &score, &member]);
    let _first = store
        .revoke_key(&key.record.id, now())
        .await
        .expect("it answers");
    let denials = store.denials().await.expect("it answers").entries;
    assert_eq!((denials.len(), denials[0].at), (1, later));
}

#[tokio::test]
async fn long_lists_of_denials_are_read_completely() {
    let server = RedisServer::start();
    let store = open(&server.settings());
    let at = now().as_millis().to_string();
    let members: Vec<String> = (0..5000).map(|number| format!("jti:{number}")).collect();
    for chunk in members.chunks(500) {
        let mut words = vec!["ZADD", "pc:{rev}:nb"];
        words.extend(chunk.iter().flat_map(|member| [at.as_str(), member]));
        let _: u64 = server.command(&words);
    }
    let denials = store.denials().await.expect("it answers").entries;
    assert_eq!(denials.len(), 5000);
    assert!(denials.iter().all(|denial| denial.kind == DenialKind::Jti));
}

#[tokio::test]
async fn an_emptied_server_is_a_gap_for_whoever_follows() {
    let server = RedisServer::start();
    let store = open(&server.settings());
    create(&store, &new_key()).await;
    let before = end(&store).await;
    let _: () = server.command(&["FLUSHALL"]);
    let gap = store
        .follow(&before, Duration::ZERO)
        .await
        .expect("it answers");
    assert_eq!(gap, Follow::Gap(Gap::Emptied));

    // Also when others have begun to write again.
    create(&store, &new_key()).await;
    let gap = store
        .follow(&before, Duration::ZERO)
        .await
        .expect("it answers");
    assert_eq!(gap, Follow::Gap(Gap::Emptied));
    let after = end(&store).await;
    let gap = store
        .follow(&before, Duration::ZERO)
        .await
        .expect("it answers");
    assert_eq!(gap, Follow::Gap(Gap::Another));
    let key = new_key();
    create(&store, &key).await;
    assert_eq!(since(&store, &after).await.1, [Event::Publish(key.digest)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_emptied_while_someone_waits_is_a_gap_after_the_wait() {
    let server = RedisServer::start();
    let store = std::sync::Arc::new(open(&server.settings()));
    let before = end(&*store).await;
    let follower = {
        let store = std::sync::Arc::clone(&store);
        tokio::spawn(async move { store.follow(&before, Duration::from_secs(1)).await })
    };
    eventually("someone waits", || (blocked(&server) == 1).then_some(()));
    let _: () = server.command(&["FLUSHALL"]);
    let answer = timeout(PATIENCE, follower)
        .await
        .expect("in time")
        .expect("no panic");
    assert_eq!(answer.expect("it answers"), Follow::Gap(Gap::Emptied));
}

#[tokio::test]
async fn two_servers_whose_clocks_gave_out_the_same_id_are_told_apart() {
    let (one, other) = (RedisServer::start(), RedisServer::start());
    let position = end(&open(&one.settings())).await;
    let entry = position.as_str().split_once('/').expect("our own form").1;
    let _: String = other.command(&["XADD", "pc:{rev}:log", entry, "begin", "another"]);
    let store = open(&other.settings());
    assert!(end(&store).await.as_str().ends_with(entry));
    let gap = store
        .follow(&position, Duration::ZERO)
        .await
        .expect("it answers");
    assert_eq!(gap, Follow::Gap(Gap::Another));
}

/// As after a failover to a replica that had not seen the last event.
#[tokio::test]
async fn a_server_that_lost_the_last_event_is_a_gap_for_whoever_has_seen_it() {
    let server = RedisServer::start();
    let store = open(&server.settings());
    create(&store, &new_key()).await;
    let earlier = end(&store).await;
    create(&store, &new_key()).await;
    let seen = end(&store).await;
    let entry = seen.as_str().split_once('/').expect("our own form").1;
    let _: u64 = server.command(&["XDEL", "pc:{rev}:log", entry]);
    create(&store, &new_key()).await;
    let gap = store
        .follow(&seen, Duration::ZERO)
        .await
        .expect("it answers");
    assert_eq!(gap, Follow::Gap(Gap::Behind));
    assert_eq!(since(&store, &earlier).await.1.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_stops_waiting_leaves_no_wait_behind_and_delays_nobody() {
    let server = RedisServer::start();
    let store = std::sync::Arc::new(open(&server.settings()));
    let start = end(&*store).await;
    let follower = {
        let (store, start) = (std::sync::Arc::clone(&store), start.clone());
        tokio::spawn(async move { store.follow(&start, Duration::from_secs(300)).await })
    };
    eventually("someone waits", || (blocked(&server) == 1).then_some(()));
    // Others go on meanwhile, also those who follow.
    let key = timeout(PATIENCE, store.key(&new_key().record.id)).await;
    assert_eq!(key.expect("at once").expect("it answers"), None);
    assert_eq!(since(&*store, &start).await, (start.clone(), Vec::new()));
    follower.abort();
    eventually("nobody waits", || (blocked(&server) == 0).then_some(()));
    assert_eq!(since(&*store, &start).await, (start, Vec::new()));
}

fn blocked(server: &RedisServer) -> u32 {
    let info: String = server.command(&["INFO", "clients"]);
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("blocked_clients:"));
    line.expect("Redis tells").trim().parse().expect("a number")
}

fn ids(page: &[KeyRecord]) -> Vec<&str> {
    page.iter().map(|key| key.id.as_str()).collect()
}
