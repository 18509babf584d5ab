//! A primary that sentinels watch: found by what most of them say, followed over a fail-over, and
//! not believed without them. All servers and sentinels run under the ACLs of deploy/redis.

use std::error::Error as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use portcullis::secret::Secret;
use portcullis::store::{
    Event, EventStore as _, Follow, KeyStore as _, Position, RedisSentinels, RedisServers,
    RedisSettings, RedisStore, StoreError,
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::fixtures::{create, end, new_key, now};
use crate::redis_server::{
    Demands, PASSWORD, RedisServer, USER, eventually, free_port, password_hash,
};

const NAME: &str = "portcullis";
/// A fail-over takes a second until the primary counts as down, and then some: 3 s where nothing else
/// runs. Sentinels that were kept from running elect later; this is generous.
const FOLLOWED: Duration = Duration::from_secs(30);

/// A running sentinel.
struct Sentinel {
    port: u16,
    child: Child,
    _folder: TempDir,
}

impl Sentinel {
    fn start(primary: u16) -> Sentinel {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let port = free_port();
        let conf = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nlogfile sentinel.log\n{}\
             user operator on >{PASSWORD} ~* &* +@all\n\
             sentinel sentinel-user sentinel\nsentinel sentinel-pass {PASSWORD}\n\
             sentinel monitor {NAME} 127.0.0.1 {primary} 2\n\
             sentinel auth-user {NAME} sentinel\nsentinel auth-pass {NAME} {PASSWORD}\n\
             sentinel down-after-milliseconds {NAME} 1000\n\
             sentinel failover-timeout {NAME} 1000\n",
            folder.path().display(),
            users(),
        );
        let path = folder.path().join("sentinel.conf");
        std::fs::write(&path, conf).expect("the folder is ours");
        let child = Command::new("redis-server")
            .arg(&path)
            .arg("--sentinel")
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        Sentinel {
            port,
            child,
            _folder: folder,
        }
    }

    fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> Option<T> {
        let url = format!("redis://operator:{PASSWORD}@127.0.0.1:{}", self.port);
        let client = redis::Client::open(url).expect("a good URL");
        let mut connection = client.get_connection().ok()?;
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]).query(&mut connection).ok()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("our own child");
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The users of deploy/redis/sentinel.conf, with a password.
fn users() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/redis/sentinel.conf");
    let text = std::fs::read_to_string(path).expect("it is in the repository");
    let lines = text.lines().filter(|line| line.starts_with("user "));
    let users: String = lines.map(|line| format!("{line}\n")).collect();
    assert_eq!(users.lines().count(), 3, "{users}");
    password_hash(&users)
}

/// A primary, a replica and three sentinels that know of each other.
struct Watched {
    primary: RedisServer,
    replica: RedisServer,
    sentinels: Vec<Sentinel>,
}

impl Watched {
    fn start() -> Watched {
        let user = ["--masteruser", "replica", "--masterauth", PASSWORD];
        let mut options = user.to_vec();
        options.extend(["--repl-diskless-sync-delay", "0"]);
        let primary = RedisServer::demanding(Demands::Hardened, &options);
        let port = primary.port().to_string();
        options.extend(["--replicaof", "127.0.0.1", &port]);
        let replica = RedisServer::demanding(Demands::Hardened, &options);
        eventually("the replica is there", || {
            let info: String = primary.command(&["INFO", "replication"]);
            info.contains("state=online").then_some(())
        });
        let sentinels: Vec<Sentinel> = (0..3).map(|_| Sentinel::start(primary.port())).collect();
        for sentinel in &sentinels {
            eventually("the sentinels know of everyone", || {
                let facts: Vec<String> = sentinel.ask(&["SENTINEL", "MASTER", NAME])?;
                let has = |name: &str, value: &str| {
                    facts
                        .chunks(2)
                        .any(|fact| fact[0] == name && fact[1] == value)
                };
                (has("num-slaves", "1") && has("num-other-sentinels", "2")).then_some(())
            });
        }
        Watched {
            primary,
            replica,
            sentinels,
        }
    }

    fn settings(&self) -> RedisSettings {
        let url = |sentinel: &Sentinel| format!("redis://127.0.0.1:{}", sentinel.port);
        RedisSettings {
            servers: RedisServers::Sentinel(Box::new(RedisSentinels {
                urls: self.sentinels.iter().map(url).collect(),
                primary: NAME.into(),
                username: Some(USER.into()),
                password: Some(Secret::new(PASSWORD)),
            })),
            ..self.primary.settings()
        }
    }

    fn open(&self) -> RedisStore {
        RedisStore::open(&self.settings()).expect("good settings")
    }
}

/// Follows until everything so far is known; what a gateway does over gaps and errors.
async fn caught_up(store: &RedisStore, position: &Position) -> Vec<Event> {
    let since = Instant::now();
    loop {
        match store.follow(position, Duration::ZERO).await {
            Ok(Follow::Events { events, .. }) => return events,
            Ok(Follow::Gap(_)) => return Vec::new(),
            Err(_) => assert!(since.elapsed() < FOLLOWED, "it is not followed again"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_primary_is_found_and_a_fail_over_is_followed() {
    let mut watched = Watched::start();
    let store = watched.open();
    let (key, other) = (new_key(), new_key());
    create(&store, &key).await;
    create(&store, &other).await;
    let position = end(&store).await;
    // Waits for the replica, so nothing of this is lost.
    let revoked = store.revoke_key(&other.record.id, now()).await;
    let _revoked = revoked.expect("it answers");

    watched.primary.kill();
    let lost = Instant::now();
    let error = loop {
        match store.key_by_digest(&key.digest).await {
            Ok(found) => assert!(found.is_some(), "an absence that is none"),
            Err(error) => break error,
        }
    };
    assert!(matches!(
        error,
        StoreError::Unavailable(_) | StoreError::Deadline(_)
    ));
    // Absence is never what is answered meanwhile, and writes work again.
    let revoked = loop {
        if let Ok(found) = store.key_by_digest(&key.digest).await {
            assert!(found.is_some(), "an absence that is none");
        }
        if let Ok(revoked) = store.revoke_key(&key.record.id, now()).await {
            break revoked;
        }
        assert!(
            lost.elapsed() < FOLLOWED,
            "no writes after {:?}",
            lost.elapsed()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    eprintln!("followed after {:?}: {revoked:?}", lost.elapsed());
    let events = caught_up(&store, &position).await;
    let denied: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Deny(denial) => Some(denial.id.clone()),
            Event::Publish(_) => None,
        })
        .collect();
    assert_eq!(
        denied,
        [other.record.id.to_string(), key.record.id.to_string()]
    );
    let info: String = watched.replica.command(&["INFO", "replication"]);
    assert!(info.contains("role:master"), "{info}");
}

/// The primary lives on as a replica, and says READONLY or nothing at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_demoted_is_left() {
    let watched = Watched::start();
    let store = watched.open();
    let key = new_key();
    create(&store, &key).await;
    let position = end(&store).await;
    let _none = caught_up(&store, &position).await;
    eventually("the fail-over begins", || {
        let sentinel = &watched.sentinels[0];
        sentinel.ask::<String>(&["SENTINEL", "FAILOVER", NAME])
    });
    eventually("the replica is the primary", || {
        let info: String = watched.replica.try_command(&["INFO", "replication"])?;
        info.contains("role:master").then_some(())
    });
    let since = Instant::now();
    let id = key.record.id.to_string();
    loop {
        if let Ok(found) = store.key_by_digest(&key.digest).await {
            assert!(found.is_some(), "an absence that is none");
        }
        let _perhaps = store.revoke_key(&key.record.id, now()).await;
        let denial = format!("key:{id}");
        let there: Option<Option<f64>> =
            watched
                .replica
                .try_command(&["ZSCORE", "pc:{rev}:nb", &denial]);
        if matches!(there, Some(Some(_))) {
            break;
        }
        assert!(since.elapsed() < FOLLOWED, "writes still go elsewhere");
    }
    let events = caught_up(&store, &position).await;
    assert!(matches!(events.last(), Some(Event::Deny(_))), "{events:?}");
}

/// As in a partition that has the gateway, the primary and a minority of the sentinels on one side.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_most_of_the_sentinels_nothing_is_confirmed() {
    let watched = Watched::start();
    let store = watched.open();
    let key = new_key();
    create(&store, &key).await;
    let position = end(&store).await;
    let follow = async || store.follow(&position, Duration::ZERO).await;
    let _none = follow().await.expect("all of them agree");

    watched.sentinels[0].signal(Signal::STOP);
    let _none = follow().await.expect("two of three are enough");
    watched.sentinels[1].signal(Signal::STOP);
    let error = follow().await.expect_err("one of three is not");
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    assert!(
        matches!(error, StoreError::Deadline(_)) || cause.contains("of 3 sentinels answered"),
        "{error:?}"
    );
    // What was connected before goes on with look-ups: no lease follows from them.
    let found = store.key_by_digest(&key.digest).await.expect("it answers");
    assert!(found.is_some());

    for sentinel in &watched.sentinels[..2] {
        sentinel.signal(Signal::CONT);
    }
    assert_eq!(caught_up(&store, &position).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_the_sentinels_do_not_know_is_told_as_such() {
    let watched = Watched::start();
    let mut settings = watched.settings();
    if let RedisServers::Sentinel(sentinels) = &mut settings.servers {
        sentinels.primary = "another".into();
    }
    let store = RedisStore::open(&settings).expect("good settings");
    let error = store.ping().await.expect_err("nobody has this name");
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    assert_eq!(cause, "the sentinels know no primary of this name");
    if let RedisServers::Sentinel(sentinels) = &mut settings.servers {
        sentinels.password = Some(Secret::new("not-the-sentinels-password"));
    }
    let store = RedisStore::open(&settings).expect("good settings");
    let error = store.ping().await.expect_err("refused");
    assert!(
        !format!("{error:?}").contains("not-the-sentinels-password"),
        "{error:?}"
    );
}
