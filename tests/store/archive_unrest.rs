//! An export while servers change: none is silently without a key.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::sync::Arc;

use portcullis::store::{CreateKey, Entry, NewKey, RedisStore, Store, StoreError};
use tokio::sync::mpsc;

use crate::archive::export;
use crate::fixtures::{Ground, new_key};
use crate::redis_cluster::RedisCluster;
use crate::redis_server::{Demands, RedisServer, eventually};
use crate::topology_cluster::{Move, record};

/// So many that each server has several pages of names.
const KEYS: usize = 900;

const ANOTHER_RUN: &str = "a Redis server was started again, or another took its place";
const SLOTS_MOVE: &str = "slots of the Cluster move";

async fn create(store: &dyn Store) -> Vec<NewKey> {
    let keys: Vec<NewKey> = (0..KEYS).map(|_| new_key()).collect();
    let created = store.create_keys(keys.clone()).await.expect("it answers");
    assert!(created.iter().all(|answer| *answer == CreateKey::Created));
    keys
}

/// An export that stands still after its first entry, while the store goes on.
struct Begun {
    rest: mpsc::Receiver<Entry>,
    work: tokio::task::JoinHandle<Result<(), StoreError>>,
}

impl Begun {
    async fn on(store: &Arc<dyn Store>) -> Begun {
        let (to, mut rest) = mpsc::channel(1);
        let store = Arc::clone(store);
        let work = tokio::spawn(async move { store.archive(to).await });
        assert!(rest.recv().await.is_some(), "there is a first entry");
        Begun { rest, work }
    }

    /// Takes what is left, and gives the words that it failed with.
    async fn fails(mut self) -> String {
        while self.rest.recv().await.is_some() {}
        let ended = self.work.await.expect("no panic");
        words(&ended.expect_err("it may be without a key"))
    }
}

fn words(error: &StoreError) -> String {
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    error.source().expect("a cause").to_string()
}

/// The words that a whole export fails with.
async fn refused(store: &dyn Store) -> String {
    let (to, mut taken) = mpsc::channel(1);
    let take = async { while taken.recv().await.is_some() {} };
    let (ended, ()) = tokio::join!(store.archive(to), take);
    words(&ended.expect_err("it may be without a key"))
}

async fn is_whole(store: &dyn Store, keys: &[NewKey]) {
    let entries = export(store).await;
    let exported: BTreeSet<_> = entries.iter().filter_map(id).collect();
    let created: BTreeSet<_> = keys.iter().map(|key| &key.record.id).collect();
    let missing = created.difference(&exported).count();
    assert_eq!((missing, exported.len()), (0, created.len()));
}

fn id(entry: &Entry) -> Option<&portcullis::id::KeyId> {
    match entry {
        Entry::Key(key) => Some(&key.record.id),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_are_an_error_until_they_rest() {
    let cluster = Arc::new(RedisCluster::start());
    let ground = Ground::cluster(&cluster);
    let store = ground.store();
    let keys = create(&*store).await;
    is_whole(&*store, &keys).await;

    // The map is the same before and after: only the servers' marks tell of it.
    let begun = Begun::on(&store).await;
    let moving = Move::begin(&cluster, &record(&keys[0]));
    assert!(moving.one_key());
    let told = begun.fails().await;
    assert!(told.starts_with(SLOTS_MOVE), "{told}");
    let told = refused(&*store).await;
    assert!(told.starts_with(SLOTS_MOVE), "{told}");
    while moving.one_key() {}
    moving.end();
    eventually_at_rest(&cluster);
    is_whole(&*store, &keys).await;

    // There are no marks before and after: only the map tells of it.
    let begun = Begun::on(&store).await;
    let other = keys.iter().find(|key| {
        let slot = |key| cluster.slot_of(&record(key));
        slot(key) != slot(&keys[0])
    });
    let moving = Move::begin(&cluster, &record(other.expect("there are many")));
    while moving.one_key() {}
    moving.end();
    let told = begun.fails().await;
    assert!(told.starts_with(SLOTS_MOVE), "{told}");
    eventually_at_rest(&cluster);
    is_whole(&*store, &keys).await;
}

/// Everyone has the same map, the third as well, which was told by the others.
fn eventually_at_rest(cluster: &RedisCluster) {
    eventually("all have the same map", || {
        let maps: BTreeSet<String> = cluster.servers().map(slots).collect();
        (maps.len() == 1).then_some(())
    });
}

/// Who has which slots, as a server sees it.
fn slots(server: &RedisServer) -> String {
    let nodes: String = server.command(&["CLUSTER", "NODES"]);
    let mut lines: Vec<String> = nodes
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            format!("{} {:?}", words[0], &words[8..])
        })
        .collect();
    lines.sort();
    lines.join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_takes_over_is_an_error_and_then_asked() {
    let cluster = Arc::new(RedisCluster::with(Demands::Nothing, true));
    let store = RedisStore::open(&cluster.settings()).expect("good settings");
    let store: Arc<dyn Store> = Arc::new(store);
    let keys = create(&*store).await;
    is_whole(&*store, &keys).await;
    eventually("the replica has all that its primary has", || {
        let count = |server: &RedisServer| server.command::<u64>(&["DBSIZE"]);
        (count(cluster.replica(2)) == count(cluster.primary(2))).then_some(())
    });
    // The old primary answers on: it is a replica then, which has all names as well.
    let begun = Begun::on(&store).await;
    let take = ["CLUSTER", "FAILOVER", "TAKEOVER"];
    let _: () = cluster.replica(2).command(&take);
    eventually("the replica is the primary", || {
        let role = |server: &RedisServer| server.command::<String>(&["INFO", "replication"]);
        let replaced = role(cluster.replica(2)).contains("role:master")
            && role(cluster.primary(2)).contains("role:slave");
        replaced.then_some(())
    });
    let told = begun.fails().await;
    let expected = [ANOTHER_RUN, "the server is a replica"];
    assert!(
        expected.iter().any(|words| told.starts_with(words)),
        "{told}"
    );
    let whole = async {
        // The others hear of it soon.
        while store.keys(None, 1).await.is_err() || !answers(&*store).await {
            tokio::task::yield_now().await;
        }
        is_whole(&*store, &keys).await;
    };
    tokio::time::timeout(crate::fixtures::PATIENCE, whole)
        .await
        .expect("in time");
}

/// Whether an export ends well.
async fn answers(store: &dyn Store) -> bool {
    let (to, mut taken) = mpsc::channel(1);
    let take = async { while taken.recv().await.is_some() {} };
    tokio::join!(store.archive(to), take).0.is_ok()
}

/// Its cursors are numbers to the new run, which would go on anywhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_started_again_is_an_error() {
    let mut server = RedisServer::start();
    let store = RedisStore::open(&server.settings()).expect("good settings");
    let store: Arc<dyn Store> = Arc::new(store);
    let keys = create(&*store).await;
    let begun = Begun::on(&store).await;
    server.kill();
    server.launch();
    // So the export meets a connection that is well.
    let well = async { while store.ping().await.is_err() {} };
    tokio::time::timeout(crate::fixtures::PATIENCE, well)
        .await
        .expect("in time");
    let told = begun.fails().await;
    assert!(told.starts_with(ANOTHER_RUN), "{told}");
    is_whole(&*store, &keys).await;
}
