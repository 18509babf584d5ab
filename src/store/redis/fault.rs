//! What can go wrong with one call to the server, seen from the breaker.

use std::error::Error;

use ::redis::{ErrorKind, RedisError};

use crate::store::StoreError;

/// Why a call gave no value.
#[derive(Debug)]
pub(super) enum Fault {
    /// The server is not there, or what is there does not speak the protocol.
    Away(Box<dyn Error + Send + Sync>),
    /// It answered something that is not ours.
    Corrupt(String),
    /// It is there and says no: no permission, no memory, loading, read-only.
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
            ErrorKind::Io | ErrorKind::Parse => Fault::away(error),
            ErrorKind::UnexpectedReturnType => Fault::corrupt("an answer of an unexpected type"),
            _ if error.code() == Some("WRONGTYPE") => {
                Fault::corrupt("one of our keys has another type")
            }
            _ => Fault::Refused(error),
        }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> StoreError {
        match fault {
            Fault::Away(error) => StoreError::Unavailable(error),
            Fault::Corrupt(what) => StoreError::Corrupt(what),
            Fault::Refused(error) => StoreError::Unavailable(error.into()),
        }
    }
}
