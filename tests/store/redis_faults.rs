//! The Redis store while the server is away, hangs, comes back, is full or speaks something else
//! (security.md row 110).

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use portcullis::store::{
    Event, EventStore as _, Follow, KeyStore as _, RedisSettings, RedisStore, StoreError,
};
use tokio::time::{Instant, timeout};

use crate::fixtures::{PATIENCE, create, end, events, new_key, now, since};
use crate::redis_server::{RedisServer, eventually, free_port};

/// Of each call. Short, so that a test of hanging does not take long.
const DEADLINE: Duration = Duration::from_millis(250);
/// For the machine: threads that have to wait for their turn.
const SLACK: Duration = Duration::from_millis(750);
/// Row 110: back in ≤ 5 s.
const BACK: Duration = Duration::from_secs(5);

fn open(settings: RedisSettings) -> Arc<RedisStore> {
    let settings = RedisSettings {
        timeout: DEADLINE,
        ..settings
    };
    Arc::new(RedisStore::open(&settings).expect("good settings"))
}

fn nowhere(port: u16) -> RedisSettings {
    RedisSettings {
        timeout: DEADLINE,
        ..RedisSettings::at(format!("redis://127.0.0.1:{port}"))
    }
}

/// Each verb ends in an error, in time.
async fn assert_away(store: &RedisStore) {
    let (key, position) = (new_key(), portcullis::store::Position::new("r0/1-1"));
    let id = &key.record.id;
    let within = |verb: &'static str| (verb, Instant::now());
    let check = |(verb, asked): (&str, Instant), failed: bool| {
        let took = asked.elapsed();
        assert!(failed, "{verb} answered");
        assert!(took < DEADLINE + SLACK, "{verb} took {took:?}");
    };
    let asked = within("key_by_digest");
    check(asked, away(store.key_by_digest(&key.digest).await));
    let asked = within("key");
    check(asked, away(store.key(id).await));
    let asked = within("keys");
    check(asked, away(store.keys(None, 10).await));
    let asked = within("revoke_key");
    check(asked, away(store.revoke_key(id, now()).await));
    let asked = within("denials");
    check(asked, away(store.denials().await));
    let asked = within("follow");
    check(asked, away(store.follow(&position, PATIENCE).await));
    let asked = within("ping");
    check(asked, away(store.ping().await));
    let asked = within("create_keys");
    check(asked, away(store.create_keys(vec![key.clone()]).await));
}

fn away<T>(answer: Result<T, StoreError>) -> bool {
    match answer {
        Ok(_) => false,
        Err(StoreError::Deadline(_) | StoreError::Unavailable(_)) => true,
        Err(other) => panic!("{other:?}"),
    }
}

/// Waits until it answers again.
async fn assert_back(store: &RedisStore) {
    let since = Instant::now();
    while store.ping().await.is_err() {
        assert!(since.elapsed() < BACK, "row 110: back in 5 s");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_110_without_a_server_the_store_opens_and_each_call_is_refused() {
    let store = open(nowhere(free_port()));
    assert_away(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_110_a_server_that_hangs_makes_nobody_wait_longer_than_the_deadline() {
    let server = RedisServer::start();
    let store = open(server.settings());
    let key = new_key();
    create(&*store, &key).await;
    let position = end(&*store).await;

    server.pause();
    assert_away(&store).await;
    server.resume();
    assert_back(&store).await;
    let found = store.key_by_digest(&key.digest).await.expect("it answers");
    assert_eq!(found, Some(key.record));
    assert_eq!(since(&*store, &position).await.1.len(), 0);
}

/// As a gateway finds it that was off for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_longer_than_one_deadline_can_read_is_read_to_its_end() {
    let server = RedisServer::start();
    let store = open(server.settings());
    let position = end(&*store).await;
    let digest = new_key().digest.to_text();
    let fill = "for _ = 1, 50000 do redis.call('XADD', KEYS[1], '*', 'publish', ARGV[1]) end";
    let _: ::redis::Value = server.command(&["EVAL", fill, "1", "pc:{rev}:log", &digest]);
    let found = store.follow(&position, Duration::ZERO).await;
    match found.expect("it answers") {
        Follow::Events { events, .. } => assert_eq!(events.len(), 50_000),
        Follow::Gap(gap) => panic!("{gap:?}"),
    }
}

/// Row 97: callers do not pile up on a server that does not answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_97_once_a_server_is_known_to_hang_calls_fail_at_once() {
    let server = RedisServer::start();
    let store = open(server.settings());
    store.ping().await.expect("it answers");
    server.pause();
    let outage = Instant::now();
    let mut at_once = 0;
    for _ in 0..1000 {
        let asked = Instant::now();
        assert!(away(store.key_by_digest(&new_key().digest).await));
        at_once += usize::from(asked.elapsed() < DEADLINE / 2);
    }
    // A thousand deadlines one after the other would be 250 s.
    assert!(at_once > 900, "{at_once} of 1000");
    assert!(outage.elapsed() < PATIENCE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_110_a_server_that_hangs_during_a_wait_ends_it_in_an_error() {
    let server = RedisServer::start();
    let store = open(server.settings());
    let start = end(&*store).await;
    let wait = Duration::from_millis(500);
    let follower = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let asked = Instant::now();
            (store.follow(&start, wait).await, asked.elapsed())
        })
    };
    eventually("someone waits", || {
        let info: String = server.command(&["INFO", "clients"]);
        info.contains("blocked_clients:1").then_some(())
    });
    server.pause();
    let (answer, took) = timeout(PATIENCE, follower)
        .await
        .expect("in time")
        .expect("no panic");
    assert!(away(answer));
    assert!(took < wait + DEADLINE + SLACK, "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_110_a_restarted_server_is_found_again_and_nothing_was_missed() {
    let mut server = RedisServer::start();
    let store = open(server.settings());
    let position = end(&*store).await;
    let key = new_key();
    create(&*store, &key).await;

    server.kill();
    assert_away(&store).await;
    server.launch();
    assert_back(&store).await;
    let found = store.key(&key.record.id).await.expect("it answers");
    assert_eq!(found, Some(key.record.clone()));
    assert_eq!(
        since(&*store, &position).await.1,
        [Event::Publish(key.digest)]
    );
    let _first = store
        .revoke_key(&key.record.id, now())
        .await
        .expect("it answers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_110_a_server_that_ends_during_a_wait_ends_the_wait() {
    let mut server = RedisServer::start();
    let store = open(server.settings());
    let start = end(&*store).await;
    let follower = {
        let (store, start) = (Arc::clone(&store), start.clone());
        tokio::spawn(async move { store.follow(&start, PATIENCE * 10).await })
    };
    eventually("someone waits", || {
        let info: String = server.command(&["INFO", "clients"]);
        info.contains("blocked_clients:1").then_some(())
    });
    server.kill();
    let answer = timeout(PATIENCE, follower)
        .await
        .expect("in time")
        .expect("no panic");
    assert!(away(answer));
    server.launch();
    assert_back(&store).await;
    let answer = store
        .follow(&start, Duration::ZERO)
        .await
        .expect("it answers");
    assert_eq!(events(answer).1, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_the_server_closes_while_idle_are_replaced() {
    let server = RedisServer::start();
    let store = open(server.settings());
    let start = end(&*store).await;
    let _none = since(&*store, &start).await;
    for round in 0..10 {
        let closed: u64 = server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        assert!(closed >= 2, "round {round}: {closed}");
        // Both ends have to have seen it: until then a call may meet the closed connection.
        assert_back(&store).await;
        eventually("following works", || {
            let answer = futures_now(store.follow(&start, Duration::ZERO));
            answer.is_ok().then_some(())
        });
    }
}

/// Runs a future to its end from a thread that may block.
fn futures_now<T>(future: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(future))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_110_a_full_server_is_read_from_and_says_no_to_writes() {
    let server = RedisServer::start();
    let store = open(server.settings());
    let key = new_key();
    create(&*store, &key).await;
    let start = end(&*store).await;
    let _: () = server.command(&["CONFIG", "SET", "maxmemory", "1"]);

    let created = store.create_keys(vec![new_key()]).await;
    assert!(
        matches!(created, Err(StoreError::Unavailable(_))),
        "{created:?}"
    );
    let revoked = store.revoke_key(&key.record.id, now()).await;
    assert!(
        matches!(revoked, Err(StoreError::Unavailable(_))),
        "{revoked:?}"
    );
    let found = store.key_by_digest(&key.digest).await.expect("it answers");
    assert_eq!(found, Some(key.record.clone()));
    assert_eq!(end(&*store).await, start);
    assert_eq!(since(&*store, &start).await, (start, Vec::new()));

    let _: () = server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    let _first = store
        .revoke_key(&key.record.id, now())
        .await
        .expect("it answers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_110_what_is_not_redis_is_a_store_that_is_away() {
    for says in [
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "\0\0\0\0",
        "",
        "+OK\r\n",
    ] {
        let store = open(nowhere(impostor(says)));
        assert_away(&store).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_too_old_is_refused() {
    let info = "redis_version:6.2.14\r\n";
    let port = impostor(format!("${}\r\n{info}\r\n", info.len()).leak());
    let error = open(nowhere(port)).ping().await.expect_err("refused");
    let cause = std::error::Error::source(&error)
        .expect("a reason")
        .to_string();
    assert_eq!(
        cause,
        "the server speaks Redis 6.2.14, at least 7.0 is needed"
    );
}

/// As when a firewall forgets a connection: nothing comes back, and nothing says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_missed_a_deadline_is_replaced() {
    let store = open(nowhere(forgets_its_first_connection()));
    let error = store.ping().await.expect_err("silence");
    assert!(matches!(error, StoreError::Deadline(_)), "{error:?}");
    store.ping().await.expect("another connection answers");
}

/// Answers the look at the server on each connection, and `PING` on each but the first.
fn forgets_its_first_connection() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.expect("a connection");
            std::thread::spawn(move || {
                let mut bytes = [0; 1024];
                while let Ok(length @ 1..) = stream.read(&mut bytes) {
                    let answer = match bytes[..length].windows(4).any(|word| word == b"INFO") {
                        true => "$32\r\nredis_version:7.0.0\r\nrole:master\r\n",
                        false if number > 0 => "+PONG\r\n",
                        false => "",
                    };
                    let _ = stream.write_all(answer.as_bytes());
                }
            });
        }
    });
    port
}

/// Answers the first bytes on each connection with `says` and then says nothing more; the thread
/// ends with the process.
fn impostor(says: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(says.as_bytes());
            open.push(stream);
        }
    });
    port
}
