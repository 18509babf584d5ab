//! What can go wrong with one call to the server, seen from the breaker.

use std::error::Error;
use std::io;
use std::time::Duration;

use ::redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::store::StoreError;

/// Why a call gave no value.
#[derive(Debug)]
pub(super) enum Fault {
    /// The server is not there, or what is there does not speak the protocol.
    Away(Box<dyn Error + Send + Sync>),
    /// It did not answer by the deadline of the call.
    Late,
    /// It is there, and is not the primary, or not any more.
    Demoted(Box<dyn Error + Send + Sync>),
    /// It answered something that is not ours.
    Corrupt(String),
    /// It is there and says no: no permission, no memory, loading.
    Refused(RedisError),
}

/// Redis refused the introduction: wrong password, unknown user, no such database.
#[derive(Debug, thiserror::Error)]
#[error("Redis refused the connection: {code}")]
struct IntroductionRefused {
    code: String,
}

/// The server is there and says no.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct CommandRefused(String);

/// The server is known to be away, so it was not asked.
#[derive(Debug, thiserror::Error)]
#[error("Redis did not answer before, and is not asked again yet")]
pub(super) struct KnownAway;

impl Fault {
    pub(super) fn away(error: impl Into<Box<dyn Error + Send + Sync>>) -> Fault {
        Fault::Away(error.into())
    }

    pub(super) fn corrupt(what: impl Into<String>) -> Fault {
        Fault::Corrupt(what.into())
    }

    /// For errors of the introduction, whose commands hold the password. Redis quotes the
    /// arguments of a command that it does not know (`rename-command AUTH ""`). The crate drops
    /// that text for `AUTH` today; so as not to rely on it, only the error's code is kept.
    pub(super) fn introduction(error: RedisError) -> Fault {
        if error.is_io_error() {
            return Fault::away(error);
        }
        let code = error.code().unwrap_or(error.category()).to_owned();
        Fault::away(IntroductionRefused { code })
    }
}

impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Fault {
        match error.kind() {
            ErrorKind::Io if error.is_timeout() => Fault::Late,
            ErrorKind::Io | ErrorKind::Parse => Fault::away(error),
            ErrorKind::UnexpectedReturnType => Fault::corrupt("an answer of an unexpected type"),
            ErrorKind::Server(ServerErrorKind::ReadOnly) => Fault::Demoted(error.into()),
            _ if error.code() == Some("WRONGTYPE") => {
                Fault::corrupt("one of our keys has another type")
            }
            _ => Fault::Refused(error),
        }
    }
}

/// No answer by the deadline, where the crate's error type has to say it.
#[derive(Debug, thiserror::Error)]
#[error("no answer by the deadline")]
struct NoAnswer;

impl Fault {
    /// What a caller of the store hears, who waited for as long as `deadline`.
    pub(super) fn told(self, deadline: Duration) -> StoreError {
        match self {
            Fault::Away(error) | Fault::Demoted(error) => StoreError::Unavailable(error),
            Fault::Late => StoreError::Deadline(deadline),
            Fault::Corrupt(what) => StoreError::Corrupt(what),
            Fault::Refused(error) => StoreError::Unavailable(refused(&error).into()),
        }
    }

    /// What an error that wraps this one names as its cause.
    pub(super) fn into_cause(self) -> Box<dyn Error + Send + Sync> {
        match self {
            Fault::Away(error) | Fault::Demoted(error) => error,
            Fault::Late => NoAnswer.into(),
            Fault::Corrupt(what) => what.into(),
            Fault::Refused(error) => refused(&error).into(),
        }
    }

    /// Through the crate's commands, which know its own errors only. `From<RedisError>` brings back
    /// an equal one.
    pub(super) fn into_redis(self) -> RedisError {
        match self {
            Fault::Refused(error) => error,
            Fault::Late => io::Error::new(io::ErrorKind::TimedOut, NoAnswer).into(),
            Fault::Away(error) | Fault::Demoted(error) => io::Error::other(error).into(),
            Fault::Corrupt(what) => (ErrorKind::UnexpectedReturnType, "corrupt", what).into(),
        }
    }
}

/// In words, with what to do. Of a command that the server does not know, what it quotes of the
/// arguments is left out.
fn refused(error: &RedisError) -> CommandRefused {
    let said = error.to_string();
    let said = said.split(", with args").next().unwrap_or(&said);
    let help = match error.code() {
        Some("NOAUTH") => "set `username` and `password`",
        _ if ["'scan'", "'pexpiretime'", "'cluster|nodes'"]
            .iter()
            .any(|only| said.contains(only)) =>
        {
            "exports and imports need +scan and +pexpiretime, in a Cluster +cluster|nodes: docs/store.md"
        }
        _ if said.contains("NoPerm") => "deploy/redis/users.acl has what a gateway needs",
        _ => return CommandRefused(said.to_owned()),
    };
    CommandRefused(format!("{said} ({help})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::redis::{Value, parse_redis_value};

    fn told(answer: &str) -> String {
        let Ok(Value::ServerError(error)) = parse_redis_value(answer.as_bytes()) else {
            panic!("an error of the server's");
        };
        refused(&error.into()).to_string()
    }

    #[test]
    fn a_refusal_says_what_to_do_and_repeats_no_argument() {
        assert_eq!(
            told("-NOPERM this user has no permissions to run the 'xread' command\r\n"),
            "NoPerm: this user has no permissions to run the 'xread' command \
             (deploy/redis/users.acl has what a gateway needs)"
        );
        let export = told("-NOPERM this user has no permissions to run the 'scan' command\r\n");
        assert!(export.contains("need +scan and +pexpiretime"), "{export}");
        let unknown =
            told("-ERR unknown command 'HGETALL', with args beginning with: 'pc:k:9f' \r\n");
        assert!(unknown.ends_with("unknown command 'HGETALL'"), "{unknown}");
        let nobody = told("-NOAUTH Authentication required.\r\n");
        assert!(
            nobody.ends_with("(set `username` and `password`)"),
            "{nobody}"
        );
    }
}
