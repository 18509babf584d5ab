//! What redb's errors mean to whoever uses the store.

use std::path::PathBuf;

use crate::store::StoreError;

/// `?` on each of redb's errors.
macro_rules! from_redb {
    ($($error:ident),*) => {
        $(impl From<redb::$error> for StoreError {
            fn from(error: redb::$error) -> StoreError {
                meaning(error.into())
            }
        })*
    };
}

from_redb!(
    CommitError,
    DatabaseError,
    StorageError,
    TableError,
    TransactionError
);

fn meaning(error: redb::Error) -> StoreError {
    match error {
        // Which file it is, whoever opens it knows.
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
            let path = PathBuf::new();
            StoreError::Locked { path }
        }
        redb::Error::Corrupted(what) => StoreError::Corrupt(what),
        redb::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            StoreError::Corrupt("the file is no redb database".into())
        }
        redb::Error::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            StoreError::Corrupt("the file ends too early".into())
        }
        other => StoreError::Unavailable(other.into()),
    }
}
