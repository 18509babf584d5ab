//! Keys to store and a ground of either kind to store them on.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use portcullis::clock::{Clock, Timestamp};
use portcullis::id::{AccountId, KeyId};
use portcullis::observe::Metrics;
use portcullis::scope::ScopeSet;
use portcullis::secret::{Digest, random_bytes};
use portcullis::store::{
    CreateKey, EmbeddedStore, Environment, Event, Follow, KeyRecord, NewKey, Position, RedisStore,
    Store, StoreSettings,
};
use redb::{ReadableDatabase as _, ReadableTableMetadata as _};
use tempfile::TempDir;

use crate::redis_cluster::RedisCluster;
use crate::redis_server::{Demands, RedisServer, USER};

/// Long enough for anything that does not hang.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A key like any other, with an id and a digest of its own.
pub fn new_key() -> NewKey {
    NewKey {
        digest: Digest::from_bytes(random_bytes()),
        record: KeyRecord {
            id: KeyId::random(),
            account: AccountId::parse("acct_1").expect("valid"),
            name: "deploy \u{2013} \"nightly\"".into(),
            environment: Environment::Live,
            scopes: ScopeSet::parse("domains:read vps:write").expect("valid"),
            created_at: now(),
            not_before: Some(now()),
            expires_at: Some(now().plus(Duration::from_secs(3600))),
            revoked_at: None,
            allowed_ips: vec!["203.0.113.0/24".parse().expect("a network")],
            hint: "osir_live_\u{2026}abcd".into(),
        },
    }
}

pub fn named(id: &str) -> NewKey {
    let mut key = new_key();
    key.record.id = KeyId::parse(id).expect("valid");
    key
}

pub fn now() -> Timestamp {
    Clock::system().now()
}

/// Somewhere to put a store, which goes with it.
pub struct Ground {
    place: Place,
}

enum Place {
    Folder(TempDir),
    Server(RedisServer),
    Cluster(Arc<RedisCluster>),
}

impl Ground {
    pub fn embedded() -> Ground {
        let folder = tempfile::tempdir().expect("a folder can be made");
        Ground {
            place: Place::Folder(folder),
        }
    }

    /// Under the permissions that deploy/redis gives a gateway, and what exports need besides.
    pub fn redis() -> Ground {
        let server = RedisServer::demanding(Demands::Hardened, &[]);
        permit_exports(&server);
        Ground {
            place: Place::Server(server),
        }
    }

    /// What is in it stays when this goes. Under the same permissions.
    pub fn cluster(cluster: &Arc<RedisCluster>) -> Ground {
        for server in cluster.servers() {
            permit_exports(server);
            let _: () = server.command(&["ACL", "SETUSER", USER, "+cluster|nodes"]);
        }
        Ground {
            place: Place::Cluster(Arc::clone(cluster)),
        }
    }

    /// The store as the gateway opens it.
    pub fn open(&self, metrics: &Metrics) -> Arc<dyn Store> {
        let settings = match &self.place {
            Place::Folder(_) => StoreSettings::Embedded { path: self.path() },
            Place::Server(server) => StoreSettings::Redis(server.settings()),
            Place::Cluster(cluster) => StoreSettings::Redis(cluster.settings()),
        };
        portcullis::store::open(&settings, &Clock::system(), metrics).expect("it opens")
    }

    pub fn store(&self) -> Arc<dyn Store> {
        self.open(&Metrics::new())
    }

    /// A store whose log holds few events.
    pub fn forgetful_store(&self) -> Arc<dyn Store> {
        match &self.place {
            Place::Folder(_) => {
                let path = self.path();
                Arc::new(
                    EmbeddedStore::open_with_log(&path, &Clock::system(), 4).expect("it opens"),
                )
            }
            Place::Server(server) => {
                Arc::new(RedisStore::open(&server.settings()).expect("good settings"))
            }
            Place::Cluster(cluster) => {
                Arc::new(RedisStore::open(&cluster.settings()).expect("good settings"))
            }
        }
    }

    /// Makes its log forget what is older than the last events.
    pub async fn forget(&self, store: &dyn Store) {
        for _ in 0..8 {
            create(store, &new_key()).await;
        }
        let server = match &self.place {
            Place::Folder(_) => return,
            Place::Server(server) => server,
            Place::Cluster(cluster) => cluster.server_of("pc:{rev}:log"),
        };
        let _: u64 = server.command(&["XTRIM", "pc:{rev}:log", "MAXLEN", "4"]);
    }

    /// A copy of what is on disk, of a store that is not open.
    pub fn copy(&self) -> TempDir {
        match &self.place {
            Place::Folder(_) => {
                let copy = tempfile::tempdir().expect("a folder can be made");
                let file = copy.path().join("store.redb");
                std::fs::copy(self.path(), file).expect("copied");
                copy
            }
            Place::Server(server) => server.copy(),
            Place::Cluster(cluster) => cluster.copy(),
        }
    }

    /// Puts a copy in its place.
    pub fn restore(&mut self, copy: &TempDir) {
        let path = match &mut self.place {
            Place::Folder(folder) => folder.path().join("store.redb"),
            Place::Server(server) => return server.restore(copy),
            Place::Cluster(cluster) => return cluster.restore(copy),
        };
        std::fs::copy(copy.path().join("store.redb"), path).expect("copied");
    }

    /// How many documents there are, looked up beside the store, which the file admits no other of.
    pub fn documents(&self, store: Arc<dyn Store>) -> usize {
        drop(store);
        match &self.place {
            Place::Folder(_) => {
                let file = redb::Database::open(self.path()).expect("nobody else has it open");
                let read = file.begin_read().expect("readable");
                let table = redb::TableDefinition::<&str, (i64, &str)>::new("documents");
                let documents = read.open_table(table).expect("the table");
                usize::try_from(documents.len().expect("readable")).expect("few")
            }
            Place::Server(server) => documents_on(server),
            Place::Cluster(cluster) => cluster.servers().map(documents_on).sum(),
        }
    }

    fn path(&self) -> PathBuf {
        match &self.place {
            Place::Folder(folder) => folder.path().join("store.redb"),
            Place::Server(_) | Place::Cluster(_) => {
                unreachable!("only the embedded store is a file")
            }
        }
    }
}

/// What docs/store.md says that the user needs beside what a gateway has to do.
fn permit_exports(server: &RedisServer) {
    let _: () = server.command(&["ACL", "SETUSER", USER, "+scan", "+pexpiretime"]);
}

fn documents_on(server: &RedisServer) -> usize {
    let keys: Vec<String> = server.command(&["KEYS", "pc:*"]);
    let is_list = |key: &String| key.starts_with("pc:ix:") || key.contains('{');
    keys.iter().filter(|key| !is_list(key)).count()
}

/// Creates a key that is new.
pub async fn create(store: &dyn Store, key: &NewKey) {
    let answers = store
        .create_keys(vec![key.clone()])
        .await
        .expect("it answers");
    assert_eq!(answers, [CreateKey::Created]);
}

pub async fn create_one(store: &dyn Store, key: &NewKey) -> CreateKey {
    let mut answers = store
        .create_keys(vec![key.clone()])
        .await
        .expect("it answers");
    assert_eq!(answers.len(), 1);
    answers.remove(0)
}

/// The position after everything so far.
pub async fn end(store: &dyn Store) -> Position {
    store.denials().await.expect("it answers").position
}

/// What has happened since, without waiting.
pub async fn since(store: &dyn Store, position: &Position) -> (Position, Vec<Event>) {
    events(
        store
            .follow(position, Duration::ZERO)
            .await
            .expect("it answers"),
    )
}

pub fn events(follow: Follow) -> (Position, Vec<Event>) {
    match follow {
        Follow::Events { position, events } => (position, events),
        Follow::Gap(gap) => panic!("{gap:?}"),
    }
}
