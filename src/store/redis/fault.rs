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
            Fault::Refused(error) => StoreError::Unavailable(error.into()),
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
