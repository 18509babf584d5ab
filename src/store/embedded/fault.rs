//! What redb's errors mean to whoever uses the store.

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
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => StoreError::Locked,
        redb::Error::Corrupted(what) => StoreError::Corrupt(what),
        redb::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            StoreError::Corrupt("the file is no redb database".into())
        }
        other => StoreError::Unavailable(other.into()),
    }
}
