//! Real Redis Clusters for tests: three primaries, each with a replica where that is asked for.

use portcullis::store::{RedisServers, RedisSettings};
use tempfile::TempDir;

use crate::redis_server::{Demands, PASSWORD, RedisServer, eventually, free_port};

/// How soon a server that is silent is taken for lost, in milliseconds.
const NODE_TIMEOUT: &str = "1500";
/// The first slot of each primary, and the end.
const SHARES: [u16; 4] = [0, 5461, 10923, 16384];

/// A running Cluster.
pub struct RedisCluster {
    primaries: Vec<RedisServer>,
    replicas: Vec<RedisServer>,
    demands: Demands,
}

impl RedisCluster {
    /// Under the permissions that deploy/redis gives a gateway.
    pub fn start() -> RedisCluster {
        RedisCluster::with(Demands::Hardened, false)
    }

    pub fn with(demands: Demands, replicas: bool) -> RedisCluster {
        let launch = || {
            let bus = free_port().to_string();
            let user = ["--masteruser", "operator", "--masterauth", PASSWORD];
            let mut options = vec![
                "--cluster-enabled",
                "yes",
                "--cluster-port",
                &bus,
                "--cluster-node-timeout",
                NODE_TIMEOUT,
                "--cluster-require-full-coverage",
                "no",
                "--repl-diskless-sync-delay",
                "0",
                "--appendfsync",
                "no",
            ];
            if demands == Demands::Hardened {
                options.extend(user);
            }
            (RedisServer::demanding(demands, &options), bus)
        };
        let (primaries, mut buses): (Vec<_>, Vec<_>) = (0..3).map(|_| launch()).unzip();
        let (replicas, more): (Vec<_>, Vec<_>) =
            (0..if replicas { 3 } else { 0 }).map(|_| launch()).unzip();
        buses.extend(more);
        let cluster = RedisCluster {
            primaries,
            replicas,
            demands,
        };
        cluster.introduce(&buses);
        cluster
    }

    fn introduce(&self, buses: &[String]) {
        for (index, server) in self.primaries.iter().enumerate() {
            let (first, last) = (SHARES[index], SHARES[index + 1] - 1);
            let range = [first.to_string(), last.to_string()];
            let _: () = server.command(&["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]]);
            let epoch = (index + 1).to_string();
            let _: () = server.command(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]);
        }
        // Everyone meets everyone: gossip would take longer.
        let all: Vec<&RedisServer> = self.servers().chain(&self.replicas).collect();
        for server in &all {
            for (other, bus) in all.iter().zip(buses) {
                if other.port() != server.port() {
                    let port = other.port().to_string();
                    let _: () = server.command(&["CLUSTER", "MEET", "127.0.0.1", &port, bus]);
                }
            }
        }
        for server in &all {
            eventually("the Cluster comes up", || {
                let info: String = server.command(&["CLUSTER", "INFO"]);
                let known = format!("cluster_known_nodes:{}\r\n", all.len());
                (info.contains("cluster_state:ok") && info.contains(&known)).then_some(())
            });
        }
        for (primary, replica) in self.primaries.iter().zip(&self.replicas) {
            let id: String = primary.command(&["CLUSTER", "MYID"]);
            let _: () = replica.command(&["CLUSTER", "REPLICATE", &id]);
        }
        for replica in &self.replicas {
            eventually("the replica has everything", || {
                let info: String = replica.command(&["INFO", "replication"]);
                info.contains("master_link_status:up").then_some(())
            });
        }
    }

    /// How a gateway reaches it: it is told of one server.
    pub fn settings(&self) -> RedisSettings {
        let first = &self.primaries[0];
        RedisSettings {
            servers: RedisServers::Cluster {
                urls: vec![first.url()],
            },
            ..first.settings()
        }
    }

    /// What `MIGRATE` has to show the other server.
    pub fn introduction(&self) -> &'static [&'static str] {
        match self.demands {
            Demands::Hardened => &["AUTH2", "operator", PASSWORD],
            _ => &[],
        }
    }

    pub fn servers(&self) -> impl Iterator<Item = &RedisServer> {
        self.primaries.iter()
    }

    /// The primary that had a key when the Cluster was made.
    pub fn server_of(&self, key: &str) -> &RedisServer {
        &self.primaries[self.share_of(key)]
    }

    pub fn share_of(&self, key: &str) -> usize {
        let slot = self.slot_of(key);
        (0..3)
            .find(|&share| slot < SHARES[share + 1])
            .expect("one of them")
    }

    pub fn slot_of(&self, key: &str) -> u16 {
        self.primaries[0].command(&["CLUSTER", "KEYSLOT", key])
    }

    pub fn primary(&self, share: usize) -> &RedisServer {
        &self.primaries[share]
    }

    pub fn replica(&self, share: usize) -> &RedisServer {
        &self.replicas[share]
    }

    pub fn kill_primary(&mut self, share: usize) {
        self.primaries[share].kill();
    }

    /// A copy of every key, each in a file of its own.
    pub fn copy(&self) -> TempDir {
        let copy = tempfile::tempdir().expect("a folder can be made");
        for (share, server) in self.servers().enumerate() {
            let folder = copy.path().join(share.to_string());
            std::fs::create_dir(&folder).expect("the folder is ours");
            let keys: Vec<String> = server.command(&["KEYS", "*"]);
            for (number, key) in keys.iter().enumerate() {
                let life: i64 = server.command(&["PTTL", key]);
                let dump: Vec<u8> = server.command(&["DUMP", key]);
                let mut bytes = format!("{key}\n{}\n", life.max(0)).into_bytes();
                bytes.extend(dump);
                std::fs::write(folder.join(number.to_string()), bytes).expect("the folder is ours");
            }
        }
        copy
    }

    /// Puts a copy in the place of what it has.
    pub fn restore(&self, copy: &TempDir) {
        self.empty();
        for (share, server) in self.servers().enumerate() {
            let folder = copy.path().join(share.to_string());
            for entry in std::fs::read_dir(folder).expect("it is there").flatten() {
                let bytes = std::fs::read(entry.path()).expect("it is there");
                let mut parts = bytes.splitn(3, |byte| *byte == b'\n');
                let mut part = || parts.next().expect("our own form");
                let mut command = redis::cmd("RESTORE");
                command.arg(part()).arg(part()).arg(part());
                let _: () = server.give(&command);
            }
        }
    }

    /// As if it were new.
    pub fn empty(&self) {
        for server in self.servers() {
            let _: () = server.command(&["FLUSHALL"]);
        }
    }
}
