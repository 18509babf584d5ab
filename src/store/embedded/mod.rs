//! The embedded store: one redb file, one process.
//!
//! Not here: what a record means. Invariants: each verb is one transaction, so a record, its
//! denial and its event are on disk together or not at all; an answer to a write means that it is
//! on disk; every transaction runs on Tokio's blocking pool, so no async worker waits for a disk;
//! the file is readable by its owner only.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use redb::backends::FileBackend;
use redb::{Builder, Database, ReadTransaction, ReadableDatabase as _, WriteTransaction};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use crate::clock::{Clock, Timestamp};
use crate::id::KeyId;
use crate::secret::Digest;

use super::{
    CreateKey, Denial, Denials, EventStore, Follow, KeyRecord, KeyRotated, KeyRotation, KeyStore,
    NewKey, Position, Rehash, RevokeKey, RotateKey, StoreError, retention,
};

mod archive;
mod denials;
mod fault;
mod file;
mod fleet;
mod log;
mod rotation;
mod shelf;
mod tables;

pub(super) use file::open_private;

/// Bytes of pages that redb keeps in memory; its own default is 1 GiB.
const PAGE_CACHE: usize = 64 << 20;

/// A store in one file of this machine. Cheap to clone.
#[derive(Clone)]
pub struct EmbeddedStore {
    shared: Arc<Shared>,
}

struct Shared {
    database: Database,
    /// How many events the log keeps.
    events: u64,
    /// Held over each write transaction: writers queue here as tasks, rather than each in a
    /// blocking thread of its own inside redb.
    turn: Mutex<()>,
    /// Marked as changed after each commit.
    committed: watch::Sender<()>,
    /// The one instance that there can be. In memory, since it goes with this process.
    fleet: fleet::Listed,
}

impl EmbeddedStore {
    /// Opens the file, or makes it and the directories above it.
    pub fn open(path: &Path, clock: &Clock) -> Result<EmbeddedStore, StoreError> {
        EmbeddedStore::open_with_log(path, clock, retention::EVENTS)
    }

    /// Like [`EmbeddedStore::open`] with a log of at most `events` events (at least one): who
    /// falls behind further than that meets [`Follow::Gap`].
    pub fn open_with_log(
        path: &Path,
        clock: &Clock,
        events: u64,
    ) -> Result<EmbeddedStore, StoreError> {
        let database = open_database(file::open(path)?, clock.now());
        let database = database.map_err(|error| file::named(path, error))?;
        file::keep_name(path)?;
        let shared = Shared {
            database,
            events: events.max(1),
            turn: Mutex::new(()),
            committed: watch::Sender::new(()),
            fleet: fleet::Listed::default(),
        };
        Ok(EmbeddedStore {
            shared: Arc::new(shared),
        })
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || work(&shared.database.begin_read()?)).await
    }

    /// Runs `work` in one transaction, which an error or a panic rolls back. Once begun it is
    /// carried to its end, also when the caller stops waiting.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let _turn = self.shared.turn.lock().await;
        let shared = Arc::clone(&self.shared);
        blocking(move || {
            let transaction = shared.database.begin_write()?;
            let answer = work(&transaction)?;
            log::trim(&transaction, shared.events)?;
            transaction.commit()?;
            shared.committed.send_replace(());
            Ok(answer)
        })
        .await
    }
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore").finish_non_exhaustive()
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(error) => Err(StoreError::Unavailable(error.into())),
    }
}

fn open_database(file: File, now: Timestamp) -> Result<Database, StoreError> {
    let database = Builder::new()
        .set_cache_size(PAGE_CACHE)
        // A file that something else altered is refused here instead of being trusted.
        .set_check_integrity_on_open(true)
        .create_with_backend(FileBackend::new(file)?)?;
    prepare(&database, now)?;
    Ok(database)
}

/// Brings a new or known file into the state that every verb relies on.
fn prepare(database: &Database, now: Timestamp) -> Result<(), StoreError> {
    let transaction = database.begin_write()?;
    tables::check_schema(&transaction)?;
    rotation::prepare(&transaction)?;
    shelf::prepare(&transaction)?;
    shelf::sweep(&transaction, now, usize::MAX)?;
    denials::forget(&transaction, now.minus(retention::DENIALS))?;
    log::begin(&transaction)?;
    transaction.commit()?;
    Ok(())
}

#[async_trait::async_trait]
impl KeyStore for EmbeddedStore {
    async fn key_by_digest(&self, digest: &Digest) -> Result<Option<KeyRecord>, StoreError> {
        let digest = *digest;
        self.read(move |transaction| tables::record(transaction, &digest))
            .await
    }

    async fn key(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        let id = id.clone();
        self.read(move |transaction| tables::record_of(transaction, &id))
            .await
    }

    async fn keys(
        &self,
        after: Option<&KeyId>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        let after = after.cloned();
        self.read(move |transaction| tables::page(transaction, after.as_ref(), limit))
            .await
    }

    async fn keys_at_hand(
        &self,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<(Digest, KeyRecord)>, StoreError> {
        let after = after.copied();
        self.read(move |transaction| tables::records(transaction, after.as_ref(), limit))
            .await
    }

    async fn create_keys(&self, keys: Vec<NewKey>) -> Result<Vec<CreateKey>, StoreError> {
        self.write(move |transaction| {
            keys.iter()
                .map(|key| tables::create(transaction, key))
                .collect()
        })
        .await
    }

    async fn revoke_key(&self, id: &KeyId, at: Timestamp) -> Result<RevokeKey, StoreError> {
        let id = id.clone();
        self.write(move |transaction| tables::revoke(transaction, &id, at))
            .await
    }

    async fn rotate_key(&self, rotation: KeyRotation) -> Result<RotateKey, StoreError> {
        self.write(move |transaction| rotation::rotate(transaction, &rotation))
            .await
    }

    async fn key_rotation(&self, id: &KeyId) -> Result<Option<KeyRotated>, StoreError> {
        let id = id.clone();
        self.read(move |transaction| rotation::last(transaction, &id))
            .await
    }

    async fn rehash_key(
        &self,
        id: &KeyId,
        old: &Digest,
        new: &Digest,
    ) -> Result<Rehash, StoreError> {
        let (id, old, new) = (id.clone(), *old, *new);
        self.write(move |transaction| rotation::rehash(transaction, &id, &old, &new))
            .await
    }
}

#[async_trait::async_trait]
impl EventStore for EmbeddedStore {
    async fn deny(&self, denials: Vec<Denial>) -> Result<(), StoreError> {
        self.write(move |transaction| {
            denials
                .into_iter()
                .try_for_each(|denial| denials::deny(transaction, denial))
        })
        .await
    }

    async fn denials(&self) -> Result<Denials, StoreError> {
        // One snapshot holds both, so they fit whatever is written meanwhile.
        self.read(|transaction| {
            Ok(Denials {
                position: log::end(transaction)?,
                entries: denials::all(transaction)?,
            })
        })
        .await
    }

    async fn follow(&self, position: &Position, wait: Duration) -> Result<Follow, StoreError> {
        let until = Instant::now() + wait;
        // Subscribed before the first look: a commit between look and wait is not missed.
        let mut committed = self.shared.committed.subscribe();
        loop {
            let from = position.clone();
            let found = self
                .read(move |transaction| log::after(transaction, &from))
                .await?;
            let empty = matches!(&found, Follow::Events { events, .. } if events.is_empty());
            if !empty || Instant::now() >= until {
                return Ok(found);
            }
            // Woken or timed out, the log is looked at again: the answer is as of now. The
            // sender lives in `self`, so the wait cannot end in its being gone.
            let _ = tokio::time::timeout_at(until, committed.changed()).await;
        }
    }

    async fn log_end(&self) -> Result<Position, StoreError> {
        self.read(log::end).await
    }

    async fn log_holds(&self, position: &Position) -> Result<bool, StoreError> {
        let position = position.clone();
        self.read(move |transaction| log::holds(transaction, &position))
            .await
    }

    fn has_reached(&self, position: &Position, target: &Position) -> bool {
        log::has_reached(position, target)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.read(|_| Ok(())).await
    }
}
