//! Two gateways outlive the loss of the primary that has the log, behind sentinels and in a Cluster.

use std::time::Duration;

use tokio::time::Instant;

use crate::house::{Fleet, text};
use crate::proof::confirmed;
use crate::redis_cluster::RedisCluster;
use crate::redis_sentinel::{NAME, Watched};
use crate::redis_server::{Demands, RedisServer, USER, eventually};

/// A replica takes over within seconds. Sentinels that were kept from running may need a minute.
const REPLACED: Duration = Duration::from_secs(120);

const CREATE: [&str; 10] = [
    "key",
    "create",
    "--account",
    "acct_1",
    "--name",
    "n",
    "--scope",
    "domains:read",
    "--format",
    "json",
];

/// A key is revoked before the loss; afterwards keys are made, found and revoked again.
fn outlives<R>(fleet: &mut Fleet<R>, kill: impl FnOnce(&mut R), logs: impl Fn(&R) -> String) {
    let mut instances: Vec<_> = fleet.gateways.iter().map(|g| g.instance.clone()).collect();
    instances.sort();
    let ((revoked, refused), (id, kept)) = (fleet.key("acct_1"), fleet.key("acct_1"));
    for key in [&refused, &kept] {
        assert_eq!(fleet.verdicts(key), [200; 2]);
    }
    let revoke = ["key", "revoke", &revoked, "--wait", "20s"];
    assert_eq!(confirmed(&fleet.tell(&revoke, "")), instances);
    assert_eq!(fleet.verdicts(&refused), [401; 2]);

    kill(&mut fleet.redis);
    let lost = Instant::now();
    let goes_on = |fleet: &Fleet<R>, what: &str| {
        // Not for a moment: the gateways keep to what they have seen, or say nothing.
        let verdicts = fleet.verdicts(&refused);
        assert!(
            verdicts.iter().all(|status| [401, 503].contains(status)),
            "{verdicts:?}"
        );
        let late = lost.elapsed();
        assert!(
            late < REPLACED,
            "{what} for {late:?}:\n{}",
            logs(&fleet.redis)
        );
    };
    let new = loop {
        let made = fleet.run(&CREATE);
        if made.code() == 0 {
            break text(&made.json()["key"]);
        }
        goes_on(fleet, "no key is made");
    };
    eprintln!("a key is made after {:?}", lost.elapsed());
    while fleet.verdicts(&new) != [200; 2] {
        goes_on(fleet, "the new key is not found");
    }
    loop {
        let revoke = ["key", "revoke", &id, "--wait", "5s", "--format", "json"];
        let run = fleet.run(&revoke);
        if run.code() == 0 {
            let answer = run.json();
            assert_eq!(confirmed(&answer), instances, "{answer}");
            break;
        }
        goes_on(fleet, &format!("no proof ({run:?})"));
    }
    eprintln!("a revocation is proven after {:?}", lost.elapsed());
    assert_eq!(fleet.verdicts(&kept), [401; 2]);
    assert_eq!(fleet.verdicts(&new), [200; 2]);
    while fleet.verdicts(&refused) != [401; 2] {
        goes_on(fleet, "the key that was revoked before is not refused");
    }
}

/// `username` and `password`, as the gateway's user of deploy/redis.
fn introduction() -> String {
    format!("username: {USER}, password: {{ file: ../redis-password }}")
}

#[test]
fn gateways_behind_sentinels_outlive_their_primary() {
    let watched = Watched::start();
    let address = |port: u16| format!("redis://127.0.0.1:{port}");
    let sentinels = watched.sentinels.iter();
    let addresses: Vec<String> = sentinels.map(|each| address(each.port)).collect();
    let place = format!(
        "sentinel: {{ addresses: [{}], primary: {NAME}, {} }}, {}",
        addresses.join(", "),
        introduction(),
        introduction()
    );
    let mut fleet = Fleet::on(watched, &place, 2);
    outlives(&mut fleet, |watched| watched.primary.kill(), Watched::logs);
}

/// How far its primary or it itself has written.
fn offset(server: &RedisServer, name: &str) -> Option<String> {
    let info: String = server.command(&["INFO", "replication"]);
    let mut lines = info.lines();
    lines
        .find_map(|line| line.strip_prefix(name))
        .map(str::to_owned)
}

#[test]
fn gateways_on_a_cluster_outlive_the_primary_of_the_log() {
    let cluster = RedisCluster::with(Demands::Hardened, true);
    let urls: Vec<String> = cluster.servers().map(RedisServer::url).collect();
    let place = format!("cluster: [{}], {}", urls.join(", "), introduction());
    let mut fleet = Fleet::on(cluster, &place, 2);
    let kill = |cluster: &mut RedisCluster| {
        let log = cluster.share_of("pc:{rev}:log");
        eventually("the replica has the log", || {
            let replica = offset(cluster.replica(log), "slave_repl_offset:")?;
            (Some(replica) == offset(cluster.primary(log), "master_repl_offset:")).then_some(())
        });
        cluster.kill_primary(log);
    };
    outlives(&mut fleet, kill, |_| String::new());
}
