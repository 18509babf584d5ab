//! A Cluster under the ACL of deploy/redis: slots that move under load, a server that is lost, and
//! one that is replaced.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use portcullis::store::{
    Event, EventStore as _, Follow, KeyStore as _, NewKey, Position, RedisServers, RedisSettings,
    RedisStore, RevokeKey, StoreError,
};
use tokio::time::{Instant, timeout};

use crate::fixtures::{PATIENCE, create, end, events, new_key, now, since};
use crate::redis_cluster::RedisCluster;
use crate::redis_server::{Demands, RedisServer, eventually};

/// A server counts as lost after 1.5 s, and its replica is elected soon after; this is generous.
const REPLACED: Duration = Duration::from_secs(15);
const LOG: &str = "pc:{rev}:log";

fn open(cluster: &RedisCluster) -> Arc<RedisStore> {
    Arc::new(RedisStore::open(&cluster.settings()).expect("good settings"))
}

pub(crate) fn record(key: &NewKey) -> String {
    format!("pc:k:{}", key.digest.to_text())
}

/// A key whose record the share has.
fn key_on(cluster: &RedisCluster, share: usize) -> NewKey {
    loop {
        let key = new_key();
        if cluster.share_of(&record(&key)) == share {
            return key;
        }
    }
}

/// Moves a slot, key by key, as `redis-cli --cluster reshard` does.
pub(crate) struct Move<'a> {
    from: &'a RedisServer,
    to: &'a RedisServer,
    slot: String,
    introduction: &'static [&'static str],
}

impl<'a> Move<'a> {
    pub(crate) fn begin(cluster: &'a RedisCluster, key: &str) -> Move<'a> {
        let share = cluster.share_of(key);
        let (from, to) = (cluster.primary(share), cluster.primary((share + 1) % 3));
        let slot = cluster.slot_of(key).to_string();
        let id = |server: &RedisServer| server.command::<String>(&["CLUSTER", "MYID"]);
        let _: () = to.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(from)]);
        let _: () = from.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(to)]);
        Move {
            from,
            to,
            slot,
            introduction: cluster.introduction(),
        }
    }

    /// Moves one key, if there is one left.
    pub(crate) fn one_key(&self) -> bool {
        let keys: Vec<String> = self
            .from
            .command(&["CLUSTER", "GETKEYSINSLOT", &self.slot, "1"]);
        let Some(key) = keys.first() else {
            return false;
        };
        let port = self.to.port().to_string();
        let mut words = vec!["MIGRATE", "127.0.0.1", &port, key, "0", "5000"];
        words.extend(self.introduction);
        let _: String = self.from.command(&words);
        true
    }

    pub(crate) fn end(self) {
        let id: String = self.to.command(&["CLUSTER", "MYID"]);
        for server in [self.to, self.from] {
            let _: () = server.command(&["CLUSTER", "SETSLOT", &self.slot, "NODE", &id]);
        }
    }
}

/// Looks a key up without a pause until it is told to stop; how often. Fails on any wrong answer.
fn load(store: &Arc<RedisStore>, key: &NewKey) -> (Arc<AtomicBool>, Arc<AtomicU64>) {
    let (stop, count) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let (store, key) = (Arc::clone(store), key.clone());
    let (told, counted) = (Arc::clone(&stop), Arc::clone(&count));
    tokio::spawn(async move {
        while !told.load(Ordering::Relaxed) {
            let found = store.key_by_digest(&key.digest).await;
            assert_eq!(found.expect("it answers"), Some(key.record.clone()));
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    (stop, count)
}

/// Waits until many more look-ups were answered: the load fails the test by standing still.
fn go_on(count: &AtomicU64) {
    let target = count.load(Ordering::Relaxed) + 50;
    eventually("the load goes on", || {
        (count.load(Ordering::Relaxed) > target).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_slot_moves_under_load_and_no_answer_is_wrong() {
    let cluster = RedisCluster::start();
    let store = open(&cluster);
    let key = new_key();
    create(&*store, &key).await;
    let (stop, count) = load(&store, &key);
    go_on(&count);

    let moving = Move::begin(&cluster, &record(&key));
    go_on(&count);
    // From here, the old server says ASK; a script meets a server that has never seen it.
    while moving.one_key() {}
    go_on(&count);
    // From here, MOVED.
    moving.end();
    go_on(&count);
    stop.store(true, Ordering::Relaxed);

    let at = now();
    let revoked = store.revoke_key(&key.record.id, at).await;
    assert!(matches!(revoked, Ok(RevokeKey::Revoked(_))), "{revoked:?}");
    let found = store.key_by_digest(&key.digest).await.expect("it answers");
    assert_eq!(found.expect("it is there").revoked_at, Some(at));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_script_runs_where_its_slot_is_moving_to() {
    let cluster = RedisCluster::start();
    let store = open(&cluster);
    let key = new_key();
    create(&*store, &key).await;
    let moving = Move::begin(&cluster, &record(&key));
    while moving.one_key() {}
    let revoked = store.revoke_key(&key.record.id, now()).await;
    assert!(matches!(revoked, Ok(RevokeKey::Revoked(_))), "{revoked:?}");
    moving.end();
    let revoked = store.revoke_key(&key.record.id, now()).await;
    assert!(
        matches!(revoked, Ok(RevokeKey::AlreadyRevoked(_))),
        "{revoked:?}"
    );
}

/// List, log and epoch move one after the other, while revocations are written and followed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_log_moves_and_no_revocation_is_missed() {
    let cluster = RedisCluster::start();
    let store = open(&cluster);
    let keys: Vec<NewKey> = (0..40).map(|_| new_key()).collect();
    for key in &keys {
        create(&*store, key).await;
    }
    let start = end(&*store).await;
    let follower = tokio::spawn(follow_to(Arc::clone(&store), start, keys.len()));
    let revoker = {
        let (store, keys) = (Arc::clone(&store), keys.clone());
        tokio::spawn(async move {
            for key in &keys {
                let revoked = store.revoke_key(&key.record.id, now()).await;
                let _revoked = revoked.expect("it answers");
            }
        })
    };
    let moving = Move::begin(&cluster, LOG);
    while moving.one_key() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    moving.end();
    timeout(PATIENCE, revoker)
        .await
        .expect("in time")
        .expect("no panic");
    let denied = timeout(PATIENCE, follower)
        .await
        .expect("in time")
        .expect("no panic");
    let ids: Vec<String> = keys.iter().map(|key| key.record.id.to_string()).collect();
    assert_eq!(denied, ids);
    assert_eq!(
        store.denials().await.expect("it answers").entries.len(),
        keys.len()
    );
}

/// The ids of so many denials, in the order of the log. A gap or an error fails it.
async fn follow_to(store: Arc<RedisStore>, mut position: Position, count: usize) -> Vec<String> {
    let mut denied = Vec::new();
    while denied.len() < count {
        let answer = store.follow(&position, Duration::from_secs(1)).await;
        let (next, found) = events(answer.expect("it answers"));
        position = next;
        denied.extend(found.into_iter().filter_map(|event| match event {
            Event::Deny(denial) => Some(denial.id),
            Event::Publish(_) => None,
        }));
    }
    denied
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_ends_soon_when_the_log_has_moved() {
    let cluster = RedisCluster::start();
    let store = open(&cluster);
    let key = new_key();
    create(&*store, &key).await;
    let start = end(&*store).await;
    let follower = {
        let (store, start) = (Arc::clone(&store), start.clone());
        tokio::spawn(async move { store.follow(&start, PATIENCE * 10).await })
    };
    eventually("someone waits", || {
        let info: String = cluster.server_of(LOG).command(&["INFO", "clients"]);
        info.contains("blocked_clients:1").then_some(())
    });
    let moving = Move::begin(&cluster, LOG);
    while moving.one_key() {}
    moving.end();
    // Redis ends the wait with MOVED; the log is then read where it is now.
    let answer = timeout(PATIENCE, follower)
        .await
        .expect("it ends")
        .expect("no panic");
    assert_eq!(
        events(answer.expect("it answers")),
        (start.clone(), Vec::new())
    );
    let revoked = store.revoke_key(&key.record.id, now()).await;
    let _revoked = revoked.expect("it answers");
    assert_eq!(since(&*store, &start).await.1.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_server_is_an_error_for_its_slots_and_costs_the_others_nothing() {
    let mut cluster = RedisCluster::start();
    let store = open(&cluster);
    let log = cluster.share_of(LOG);
    let lost = (log + 1) % 3;
    let (gone, kept) = (key_on(&cluster, lost), key_on(&cluster, log));
    create(&*store, &gone).await;
    create(&*store, &kept).await;
    cluster.kill_primary(lost);
    let since = Instant::now();
    // Before and after the others have noticed.
    while since.elapsed() < Duration::from_secs(3) {
        let answer = store.key_by_digest(&gone.digest).await;
        assert!(
            matches!(
                answer,
                Err(StoreError::Unavailable(_) | StoreError::Deadline(_))
            ),
            "{answer:?}"
        );
        let asked = Instant::now();
        let found = store.key_by_digest(&kept.digest).await.expect("it answers");
        assert_eq!(found.as_ref(), Some(&kept.record));
        assert!(
            asked.elapsed() < Duration::from_secs(2),
            "{:?}",
            asked.elapsed()
        );
        // A list that leaves out what is not there would pass for the whole.
        assert!(store.keys(None, 10).await.is_err());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_takes_over_and_is_followed() {
    let mut cluster = RedisCluster::with(Demands::Hardened, true);
    let store = open(&cluster);
    let (key, other) = (new_key(), new_key());
    create(&*store, &key).await;
    create(&*store, &other).await;
    let start = end(&*store).await;
    // Waits for a replica of the log; the record is waited for here.
    let revoked = store.revoke_key(&other.record.id, now()).await;
    let _revoked = revoked.expect("it answers");
    let log = cluster.share_of(LOG);
    eventually("the replica has the log", || {
        let info: String = cluster.replica(log).command(&["INFO", "replication"]);
        let offset = |info: &str, name: &str| {
            info.lines()
                .find_map(|line| line.strip_prefix(name))
                .map(str::to_owned)
        };
        let primary: String = cluster.primary(log).command(&["INFO", "replication"]);
        (offset(&info, "slave_repl_offset:")? == offset(&primary, "master_repl_offset:")?)
            .then_some(())
    });
    cluster.kill_primary(log);
    let lost = Instant::now();
    while store.revoke_key(&key.record.id, now()).await.is_err() {
        assert!(
            lost.elapsed() < REPLACED,
            "no writes after {:?}",
            lost.elapsed()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    eprintln!("replaced after {:?}", lost.elapsed());
    let found = loop {
        match store.follow(&start, Duration::ZERO).await {
            Ok(Follow::Events { events, .. }) => break events,
            Ok(Follow::Gap(_)) => panic!("nothing was lost"),
            Err(_) => assert!(lost.elapsed() < REPLACED, "it is not followed again"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(found.len(), 2, "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_cluster_is_not_taken_for_one() {
    let server = RedisServer::start();
    let settings = RedisSettings {
        servers: RedisServers::Cluster {
            urls: vec![server.url()],
        },
        ..server.settings()
    };
    let store = RedisStore::open(&settings).expect("good settings");
    let error = store.ping().await.expect_err("refused");
    let mut causes = error.source().map(ToString::to_string).unwrap_or_default();
    let mut cause = error.source();
    while let Some(next) = cause {
        causes.push_str(&next.to_string());
        cause = next.source();
    }
    assert!(causes.contains("name it as `url`"), "{causes}");
}
