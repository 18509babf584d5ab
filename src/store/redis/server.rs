//! Whether the server is one that can keep credentials: asked once on each new connection.

use super::fault::Fault;
use super::link::Connection;

/// The first version with what the layout needs: `SET … NX GET`, and stream ids that survive.
const OLDEST: u32 = 7;

/// The server is too old.
#[derive(Debug, thiserror::Error)]
#[error("the server speaks Redis {found}, at least {OLDEST}.0 is needed")]
struct TooOld {
    found: String,
}

/// Refuses a server that is too old, and warns of one that may forget keys. A server that does
/// not let us ask is taken as it is.
pub(super) async fn inspect(mut connection: Connection) -> Result<(), Fault> {
    let answer = ::redis::cmd("INFO")
        .query_async::<String>(&mut connection)
        .await;
    let info = match answer.map_err(Fault::from) {
        Ok(info) => info,
        Err(away @ Fault::Away(_)) => return Err(away),
        Err(Fault::Refused(_) | Fault::Corrupt(_)) => return Ok(()),
    };
    if let Some(found) = field(&info, "redis_version")
        && major(found).is_some_and(|major| major < OLDEST)
    {
        let found = found.to_owned();
        return Err(Fault::away(TooOld { found }));
    }
    warn_of_eviction(&info);
    Ok(())
}

/// An evicted record is a 401 for a paying customer, an evicted denial a revoked token alive.
fn warn_of_eviction(info: &str) {
    let policy = field(info, "maxmemory_policy").unwrap_or("noeviction");
    if policy != "noeviction" {
        tracing::warn!(
            policy,
            "Redis may evict credentials and revocations when its memory is full: \
             set maxmemory-policy to noeviction"
        );
    }
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
}
