//! Whether a server is one that can keep credentials: asked once on each new shared connection, and
//! whether it is the primary, on each step of following the log.
//!
//! Not here: which server is asked. Invariants: nothing is read for a verdict from a server that
//! did not say that it is a primary; what is merely unwise is a warning in words.

use ::redis::aio::MultiplexedConnection;
use ::redis::{Cmd, cmd};

use super::fault::Fault;
use super::settings::Address;

/// The first version with what the layout needs: `SET … NX GET`, and stream ids that survive.
const OLDEST: u32 = 7;

/// What a server is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The one that all keys are on.
    Primary,
    /// One of a Cluster. What it does not own, it says so itself.
    OfCluster,
}

/// Why a server is not spoken to.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("the server speaks Redis {found}, at least {OLDEST}.0 is needed")]
    TooOld { found: String },
    #[error(
        "the server is a replica ({role}): what it knows may be old, so nothing is read from it; \
         name the primary, or the sentinels that do"
    )]
    Replica { role: String },
    #[error(
        "the server does not say whether it is a primary: its user may not run INFO \
         (deploy/redis/users.acl has what a gateway needs)"
    )]
    Silent,
    #[error(
        "the server asks for a user and a password: set `username` and `password` under `store.redis`"
    )]
    NobodyNamed,
    #[error("the server is one of a Cluster: name it under `cluster` and not as `url`")]
    OfCluster,
    #[error("the server is not one of a Cluster: name it as `url` and not under `cluster`")]
    NotOfCluster,
    #[error(
        "the primary has lost all of its replicas, and may have been replaced: it takes no writes \
         (min-replicas-to-write)"
    )]
    CutOff,
}

/// The command that [`primary`] judges the answer of.
pub(super) fn replication() -> Cmd {
    let mut command = cmd("INFO");
    command.arg("replication");
    command
}

/// The command that [`run_of_primary`] reads the answer of.
pub(super) fn run_and_role() -> Cmd {
    let mut command = cmd("INFO");
    command.arg("server").arg("replication");
    command
}

/// Which run of which server this is, of one that is a primary.
pub(super) fn run_of_primary(info: &str) -> Result<&str, Fault> {
    primary(info)?;
    field(info, "run_id").ok_or_else(|| Fault::corrupt("which run of a server this is"))
}

/// Refuses the word of a server that is no primary, or that cannot know whether it still is one.
pub(super) fn primary(replication: &str) -> Result<(), Fault> {
    match field(replication, "role") {
        Some("master") => {}
        Some(role) => {
            let role = role.to_owned();
            return Err(Fault::Demoted(Unfit::Replica { role }.into()));
        }
        None => return Err(Fault::Demoted(Unfit::Silent.into())),
    }
    // There only where the operator set min-replicas-to-write.
    match field(replication, "min_slaves_good_slaves") {
        Some("0") => Err(Fault::Demoted(Unfit::CutOff.into())),
        _ => Ok(()),
    }
}

/// Whether a revocation can be waited for on another server.
pub(super) fn has_replicas(replication: &str) -> bool {
    field(replication, "connected_slaves").is_some_and(|count| count != "0")
}

/// Refuses a server that is unfit, and warns of one that may forget keys.
pub(super) async fn inspect(
    mut connection: MultiplexedConnection,
    part: Part,
    address: &Address,
) -> Result<(), Fault> {
    let answer = cmd("INFO").query_async::<String>(&mut connection).await;
    let info = match answer.map_err(Fault::from) {
        Ok(info) => info,
        Err(Fault::Refused(error)) if error.code() == Some("NOAUTH") => {
            return Err(Fault::away(Unfit::NobodyNamed));
        }
        Err(Fault::Refused(_) | Fault::Corrupt(_)) => {
            return Err(Fault::away(Unfit::Silent));
        }
        Err(away) => return Err(away),
    };
    judge(&info, part)?;
    for warning in warnings(&info) {
        tracing::warn!(server = %address, "{warning}");
    }
    Ok(())
}

fn judge(info: &str, part: Part) -> Result<(), Fault> {
    if let Some(found) = field(info, "redis_version")
        && major(found).is_some_and(|major| major < OLDEST)
    {
        let found = found.to_owned();
        return Err(Fault::away(Unfit::TooOld { found }));
    }
    let of_cluster = field(info, "cluster_enabled") == Some("1");
    match part {
        Part::Primary if of_cluster => Err(Fault::away(Unfit::OfCluster)),
        Part::OfCluster if !of_cluster => Err(Fault::away(Unfit::NotOfCluster)),
        // Its replicas redirect whoever asks them.
        Part::OfCluster => Ok(()),
        // What a cut-off primary holds may still be looked up: no lease follows from it.
        Part::Primary => match primary(info) {
            Err(_) if field(info, "role") == Some("master") => Ok(()),
            judged => judged,
        },
    }
}

/// What an operator should know, in words.
fn warnings(info: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    // An evicted record is a 401 for a paying customer, an evicted denial a revoked token alive.
    let policy = field(info, "maxmemory_policy").unwrap_or("noeviction");
    if policy != "noeviction" {
        warnings.push(format!(
            "Redis may evict credentials and revocations when its memory is full \
             (maxmemory-policy is {policy}): set maxmemory-policy to noeviction"
        ));
    }
    if field(info, "aof_enabled") == Some("0") {
        warnings.push(
            "Redis keeps no append-only file: when it restarts, what was written since its last \
             snapshot is gone, revocations too; set appendonly to yes (appendfsync always, where \
             not even a second may be lost)"
                .into(),
        );
    }
    if field(info, "aof_last_write_status") == Some("err") {
        warnings.push(
            "Redis could not write its append-only file the last time: look at its disk".into(),
        );
    }
    if field(info, "rdb_last_bgsave_status") == Some("err") {
        warnings.push("Redis could not write its last snapshot: look at its disk".into());
    }
    warnings
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let info = "# Server\r\nredis_version_x:1\r\nredis_version:7.0.15\r\nmaxmemory_policy:noeviction\r\n";
        assert_eq!(field(info, "redis_version"), Some("7.0.15"));
        assert_eq!(field(info, "maxmemory"), None);
        assert_eq!(major("7.0.15"), Some(7));
        assert_eq!(major("255.255.255"), Some(255));
    }

    #[test]
    fn only_a_primary_that_is_not_cut_off_is_believed() {
        assert!(primary("role:master\r\n").is_ok());
        assert!(primary("role:master\r\nmin_slaves_good_slaves:1\r\n").is_ok());
        assert!(primary("role:master\r\nmin_slaves_good_slaves:0\r\n").is_err());
        assert!(primary("role:slave\r\n").is_err());
        assert!(primary("").is_err());
        assert!(judge("role:master\r\nmin_slaves_good_slaves:0\r\n", Part::Primary).is_ok());
        assert!(judge("role:slave\r\n", Part::Primary).is_err());
        assert!(judge("role:master\r\ncluster_enabled:1\r\n", Part::Primary).is_err());
        assert!(judge("role:master\r\ncluster_enabled:0\r\n", Part::OfCluster).is_err());
        assert!(judge("role:slave\r\ncluster_enabled:1\r\n", Part::OfCluster).is_ok());
    }

    #[test]
    fn what_may_forget_keys_is_told_in_words() {
        let told = |info: &str| warnings(info).join("\n");
        assert_eq!(told("maxmemory_policy:noeviction\r\naof_enabled:1\r\n"), "");
        let evicts = told("maxmemory_policy:allkeys-lru\r\n");
        assert!(
            evicts.contains("allkeys-lru") && evicts.contains("noeviction"),
            "{evicts}"
        );
        assert!(told("aof_enabled:0\r\n").contains("appendonly"));
        assert!(told("aof_last_write_status:err\r\n").contains("disk"));
        assert!(told("rdb_last_bgsave_status:err\r\n").contains("disk"));
    }
}
