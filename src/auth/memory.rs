//! Keeps on disk what this instance has seen of the revocation log, so that a restart forgets none
//! of it, also while the store is away or has lost it.
//!
//! Not here: the file ([`Memory`]), and what a store that lost revocations is told
//! ([`super::heal`]). Invariants: no request and no step of following waits for the disk; a disk
//! that is full or cannot be written stops nothing, is told once and counted each time, and gets all
//! that it missed when it works again; the position is read before the list that it is written with,
//! so that list has everything up to it.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use prometheus::IntCounter;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::clock::Clock;
use crate::observe::{Causes, Metrics};
use crate::store::{Memory, Position, Remembered, StoreError};

use super::denial_list::DenialList;
use super::revocation::Revocation;

/// The file while it is open, for whoever reads it.
pub(super) type MemoryFile = Arc<ArcSwapOption<Memory>>;

/// Writes the file. Runs on the control runtime.
pub(super) struct MemoryWriter {
    path: Option<PathBuf>,
    file: MemoryFile,
    revocation: Arc<Revocation>,
    reached: watch::Receiver<Option<Position>>,
    /// What is in the file of all that this process knew.
    kept: Arc<DenialList>,
    clock: Clock,
    failures: IntCounter,
    failing: bool,
}

/// The first of several changes is written at once, the others together after this.
const GATHER: Duration = Duration::from_millis(500);
/// How long after a failure the disk is tried again.
const RETRY: Duration = Duration::from_secs(5);

impl MemoryWriter {
    /// Writes nothing until [`MemoryWriter::begin`] says where.
    pub(super) fn new(
        revocation: Arc<Revocation>,
        reached: watch::Receiver<Option<Position>>,
        clock: Clock,
        metrics: &Metrics,
    ) -> MemoryWriter {
        MemoryWriter {
            path: None,
            file: Arc::default(),
            revocation,
            reached,
            kept: Arc::default(),
            clock,
            failures: metrics.revocation_memory_failures.clone(),
            failing: false,
        }
    }

    pub(super) fn file(&self) -> MemoryFile {
        Arc::clone(&self.file)
    }

    /// Takes in what the file has, and gives up to where the log was seen. If it cannot be read
    /// now, that is tried again while the gateway serves.
    pub(super) async fn begin(&mut self, path: PathBuf) -> Option<Position> {
        self.path = Some(path);
        match self.open().await {
            Ok(position) => position,
            Err(error) => {
                self.fail(&error);
                None
            }
        }
    }

    /// Never ends.
    pub(super) async fn run(mut self) -> Infallible {
        if self.path.is_none() {
            std::future::pending::<()>().await;
        }
        loop {
            if self.reached.changed().await.is_err() {
                // Nobody follows the log any more.
                std::future::pending::<()>().await;
            }
            while let Err(error) = self.write().await {
                self.fail(&error);
                sleep(RETRY).await;
            }
            if std::mem::take(&mut self.failing) {
                tracing::info!("revocations are kept on disk again");
            }
            sleep(GATHER).await;
        }
    }

    /// Writes what is new. After a failure the file is opened anew: redb goes on with no file that
    /// failed it.
    async fn write(&mut self) -> Result<(), StoreError> {
        let file = match self.file.load_full() {
            Some(file) => file,
            None => {
                self.open().await?;
                let path = self.path.clone().unwrap_or_default();
                self.file.load_full().ok_or(StoreError::Locked { path })?
            }
        };
        let position = self.reached.borrow_and_update().clone();
        let Some(position) = position else {
            return Ok(());
        };
        let list = self.revocation.list();
        let (known, kept) = (Arc::clone(&list), Arc::clone(&self.kept));
        let written = blocking(move || file.keep(&known.news_since(&kept), &position)).await;
        match written {
            Ok(()) => self.kept = list,
            Err(_) => self.file.store(None),
        }
        written
    }

    async fn open(&mut self) -> Result<Option<Position>, StoreError> {
        let Some(path) = self.path.clone() else {
            return Ok(None);
        };
        let now = self.clock.now();
        let (file, remembered, aside) = blocking(move || {
            let (file, aside) = Memory::open(&path, now)?;
            let remembered = file.read()?;
            Ok((file, remembered, aside))
        })
        .await?;
        if let Some(aside) = aside {
            self.failures.inc();
            let aside = aside.display();
            tracing::error!(
                "the file of seen revocations could not be read: it is {aside} now, and a new one is \
                 kept"
            );
        }
        let Remembered { position, denials } = remembered;
        self.revocation.deny(denials, now);
        self.file.store(Some(Arc::new(file)));
        Ok(position)
    }

    /// Told once, counted each time.
    fn fail(&mut self, error: &StoreError) {
        self.failures.inc();
        if std::mem::replace(&mut self.failing, true) {
            return;
        }
        let path = self.path.as_deref().unwrap_or("".as_ref()).display();
        let hint = match error {
            StoreError::Locked { .. } => {
                "; another process has it: each gateway needs one of its own"
            }
            _ => "",
        };
        tracing::warn!(
            error = %Causes(error),
            "revocations cannot be kept in {path}{hint}. The gateway serves on; until this works, a \
             restart forgets those that the store has lost. It is tried every {RETRY:?}"
        );
    }
}

/// Runs work on the disk where nobody waits for it but the caller.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(error) => Err(StoreError::Unavailable(error.into())),
    }
}
