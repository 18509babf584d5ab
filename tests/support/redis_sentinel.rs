//! A primary that sentinels watch, for tests: with a replica, and all of them under the ACLs of
//! deploy/redis.

use std::process::{Child, Command, Stdio};

use portcullis::secret::Secret;
use portcullis::store::{RedisSentinels, RedisServers, RedisSettings};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::redis_server::{
    Demands, PASSWORD, RedisServer, USER, eventually, free_port, password_hash,
};

/// What the sentinels call the primary.
pub const NAME: &str = "portcullis";

/// A running sentinel.
pub struct Sentinel {
    pub port: u16,
    child: Child,
    folder: TempDir,
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
            folder,
        }
    }

    pub fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> Option<T> {
        let url = format!("redis://operator:{PASSWORD}@127.0.0.1:{}", self.port);
        let client = redis::Client::open(url).expect("a good URL");
        let mut connection = client.get_connection().ok()?;
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]).query(&mut connection).ok()
    }

    pub fn signal(&self, signal: Signal) {
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
pub struct Watched {
    pub primary: RedisServer,
    pub replica: RedisServer,
    pub sentinels: Vec<Sentinel>,
}

impl Watched {
    pub fn start() -> Watched {
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

    pub fn settings(&self) -> RedisSettings {
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

    /// Whether more than half of the sentinels say that the replica is the primary now: from then on
    /// a gateway can know.
    pub fn is_replaced(&self) -> bool {
        let port = self.replica.port().to_string();
        let asked = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME];
        let naming = self.sentinels.iter().filter(|sentinel| {
            let answer: Option<Vec<String>> = sentinel.ask(&asked);
            answer.is_some_and(|answer| answer.get(1) == Some(&port))
        });
        naming.count() * 2 > self.sentinels.len()
    }

    /// What the sentinels wrote: `+tilt` is one that was kept from running, and does nothing for 30 s.
    pub fn logs(&self) -> String {
        let logs = self.sentinels.iter().map(|sentinel| {
            let log = std::fs::read_to_string(sentinel.folder.path().join("sentinel.log"));
            format!("sentinel {}:\n{}\n", sentinel.port, log.unwrap_or_default())
        });
        logs.collect()
    }
}
