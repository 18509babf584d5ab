//! One server: client certificates, the ACL that deploy/redis has, replicas, and what is waited for.

use std::error::Error as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis::observe::Metrics;
use portcullis::store::{EventStore as _, KeyStore as _, RedisSettings, RedisStore, StoreError};
use tokio::time::Instant;

use crate::fixtures::{PATIENCE, create, end, new_key, now};
use crate::redis_server::{Demands, RedisServer, eventually};

fn open(settings: &RedisSettings) -> RedisStore {
    RedisStore::open(settings).expect("good settings")
}

fn cause(error: &StoreError) -> String {
    error.source().map(ToString::to_string).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_demands_a_certificate_is_shown_one() {
    let server = RedisServer::demanding(Demands::Certificate, &[]);
    let store = open(&server.settings());
    create(&store, &new_key()).await;
    let start = end(&store).await;
    let wait = Duration::from_millis(20);
    let _none = store.follow(&start, wait).await.expect("it answers");

    let mut settings = server.settings();
    settings.certificate = None;
    let none = open(&settings).ping().await.expect_err("no certificate");
    assert!(matches!(none, StoreError::Unavailable(_)), "{none:?}");
    settings.certificate = Some(server.certificate("stranger"));
    let stranger = open(&settings).ping().await.expect_err("another CA's");
    assert!(
        matches!(stranger, StoreError::Unavailable(_)),
        "{stranger:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_cannot_be_used_is_refused_on_opening() {
    let server = RedisServer::demanding(Demands::Certificate, &[]);
    let mut settings = server.settings();
    let mut mixed = server.certificate("client");
    mixed.key = server.certificate("stranger").key;
    settings.certificate = Some(mixed);
    let error = RedisStore::open(&settings).expect_err("another's key");
    assert!(
        cause(&error).contains("cannot be used with its key"),
        "{error:?}"
    );
    let mut absent = server.certificate("client");
    absent.chain = "/does/not/exist.pem".into();
    settings.certificate = Some(absent);
    let error = RedisStore::open(&settings).expect_err("no such file");
    assert!(cause(&error).contains("cannot be read"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_is_refused_whatever_it_would_say() {
    let primary = RedisServer::start();
    let port = primary.port().to_string();
    let replica = RedisServer::demanding(Demands::Nothing, &["--replicaof", "127.0.0.1", &port]);
    let key = new_key();
    create(&open(&primary.settings()), &key).await;
    eventually("the replica has everything", || {
        let info: String = replica.command(&["INFO", "replication"]);
        info.contains("master_link_status:up").then_some(())
    });
    let store = open(&replica.settings());
    let position = end(&open(&primary.settings())).await;
    for answer in [
        store.key_by_digest(&key.digest).await.map(drop),
        store.denials().await.map(drop),
    ] {
        let error = answer.expect_err("a replica");
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    }
    // Of its own connection, too.
    let store = open(&replica.settings());
    let error = store.follow(&position, Duration::ZERO).await;
    let cause = cause(&error.expect_err("a replica"));
    assert!(cause.contains("the server is a replica (slave)"), "{cause}");
}

/// Nothing that is read from it afterwards can extend a lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_becomes_a_replica_is_noticed_by_whoever_follows() {
    let (primary, other) = (RedisServer::start(), RedisServer::start());
    let store = open(&primary.settings());
    let key = new_key();
    create(&store, &key).await;
    let position = end(&store).await;
    let _none = store
        .follow(&position, Duration::ZERO)
        .await
        .expect("it answers");

    let port = other.port().to_string();
    let _: () = primary.command(&["REPLICAOF", "127.0.0.1", &port]);
    let error = store.follow(&position, Duration::ZERO).await;
    let error = error.expect_err("a replica");
    assert!(cause(&error).contains("replica"), "{error:?}");
    let error = store
        .key_by_digest(&key.digest)
        .await
        .expect_err("a replica");
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
}

/// It keeps to min-replicas-to-write, so another may have taken over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_lost_its_replicas_extends_no_lease() {
    let server = RedisServer::start();
    let store = open(&server.settings());
    let key = new_key();
    create(&store, &key).await;
    let position = end(&store).await;
    let _none = store
        .follow(&position, Duration::ZERO)
        .await
        .expect("it answers");
    let _: () = server.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let error = store.follow(&position, Duration::ZERO).await;
    let error = error.expect_err("cut off");
    assert!(
        cause(&error).contains("lost all of its replicas"),
        "{error:?}"
    );
    // Records may be looked at until the lease lapses.
    eventually("a look-up is answered", || {
        let found = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(store.key_by_digest(&key.digest))
        });
        found.ok().map(|found| assert!(found.is_some()))
    });
}

/// On this thread alone, so that it hears what is said here.
#[tokio::test]
async fn what_may_forget_credentials_is_warned_of_in_words() {
    let heard = Heard::default();
    let writer = heard.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone());
    let _guard = tracing::subscriber::set_default(subscriber.finish());

    let well = RedisServer::start();
    open(&well.settings()).ping().await.expect("it answers");
    assert_eq!(heard.text(), "");

    let options = ["--maxmemory-policy", "allkeys-lru", "--appendonly", "no"];
    let forgetful = RedisServer::demanding(Demands::Nothing, &options);
    let store = open(&forgetful.settings());
    store.ping().await.expect("it is used all the same");
    store.ping().await.expect("it answers");
    let text = heard.text();
    for words in [
        "maxmemory-policy is allkeys-lru",
        "set maxmemory-policy to noeviction",
        "Redis keeps no append-only file",
        &format!("127.0.0.1:{}", forgetful.port()),
    ] {
        assert!(text.contains(words), "{words} in\n{text}");
    }
    assert_eq!(text.lines().count(), 2, "each once a connection:\n{text}");
}

/// What was logged.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<u8>>>);

impl Heard {
    fn text(&self) -> String {
        let bytes = self.0.lock().expect("nobody panicked").clone();
        String::from_utf8(bytes).expect("text")
    }
}

impl std::io::Write for Heard {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panicked").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_a_cluster_is_not_taken_for_one_alone() {
    let bus = crate::redis_server::free_port().to_string();
    let options = ["--cluster-enabled", "yes", "--cluster-port", &bus];
    let server = RedisServer::demanding(Demands::Nothing, &options);
    let error = open(&server.settings()).ping().await.expect_err("refused");
    assert!(
        cause(&error).contains("name it under `cluster`"),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_that_no_replica_acknowledges_stands_and_is_counted() {
    let primary = RedisServer::start();
    let port = primary.port().to_string();
    let replica = RedisServer::demanding(Demands::Nothing, &["--replicaof", "127.0.0.1", &port]);
    eventually("the replica is there", || {
        let info: String = primary.command(&["INFO", "replication"]);
        info.contains("state=online").then_some(())
    });
    let metrics = Metrics::new();
    let store = RedisStore::open_counted(&primary.settings(), &metrics).expect("good settings");
    let revoke_another = async || {
        let key = new_key();
        create(&store, &key).await;
        let before = metrics.revocations_unwitnessed.get();
        let revoked = store.revoke_key(&key.record.id, now()).await;
        let _revoked = revoked.expect("it answers, witnessed or not");
        let witnessed = metrics.revocations_unwitnessed.get() == before;
        (format!("key:{}", key.record.id), witnessed)
    };
    // A busy machine may take longer than it is waited for; once it did not, the replica has it.
    let since = Instant::now();
    let denial = loop {
        let (denial, witnessed) = revoke_another().await;
        if witnessed {
            break denial;
        }
        assert!(since.elapsed() < PATIENCE, "nothing is witnessed");
    };
    let there: Option<f64> = replica.command(&["ZSCORE", "pc:{rev}:nb", &denial]);
    assert!(there.is_some(), "before the answer");

    replica.pause();
    let (denial, witnessed) = revoke_another().await;
    assert!(!witnessed);
    let there: Option<f64> = primary.command(&["ZSCORE", "pc:{rev}:nb", &denial]);
    assert!(there.is_some(), "it stands");
    replica.resume();
}
