//! The archive desk: writes a store into an export and takes one in, for the admin API and the
//! command line alike.
//!
//! Not here: what an export is made of ([`crate::store`]), and where its bytes go. Invariants: one
//! export at a time, in bounded memory; an export is read to its end, and its peppers are known
//! here, before the first of it is written; a key that is denied anywhere in it, or in the store that
//! takes it in, is revoked; each export and import leaves an audit line.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Seek as _};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{DeskTools, KeyDesk};
use crate::clock::Timestamp;
use crate::observe::{Actor, AuditAction, AuditEvent, AuditOutcome};
use crate::secret::{MacKeys, Peppers, Purpose};
use crate::store::{
    DenialKind, Entry, ExportProblem, ExportReader, ExportWriter, Restored, StoreError,
};

/// Exports a store and takes exports in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ArchiveDesk {
    tools: DeskTools,
    turn: Arc<Semaphore>,
}

/// An export that may begin.
#[derive(Debug)]
pub struct Export {
    tools: DeskTools,
    actor: Actor,
    _turn: OwnedSemaphorePermit,
}

/// Why an export broke off.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Whoever took it has gone.
    #[error("whoever asked for the export has gone")]
    Gone,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an export is not taken in.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// There is something in the store.
    #[error(
        "the store is not empty: --merge adds what it does not have, and completes an import that \
         broke off"
    )]
    NotEmpty,
    /// Its digests are of no use here.
    #[error(
        "it was made under a pepper that this configuration has neither as `pepper` nor as \
         `previous_pepper` or `next_pepper` (credentials): its keys would not be known here"
    )]
    OtherPepper,
    /// The file is not good.
    #[error(transparent)]
    Problem(#[from] ExportProblem),
    /// The store failed. In Redis some may be written; a repetition with --merge completes it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Bytes that leave at once.
const PIECE: usize = 64 * 1024;
/// Entries on their way from the store.
const QUEUE: usize = 64;

impl ArchiveDesk {
    /// The desk beside that one, on its store.
    pub fn beside(desk: &KeyDesk) -> ArchiveDesk {
        ArchiveDesk {
            tools: desk.tools(),
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// An export, unless one is under way.
    pub fn export(&self, actor: Actor) -> Option<Export> {
        let turn = Arc::clone(&self.turn).try_acquire_owned().ok()?;
        Some(Export {
            tools: self.tools.clone(),
            actor,
            _turn: turn,
        })
    }

    /// Takes an export in. What is there already stays as it is; without `merge`, nothing may be.
    pub async fn import(
        &self,
        file: File,
        merge: bool,
        actor: Actor,
    ) -> Result<Restored, ImportError> {
        let imported = self.take_in(file, merge).await;
        let event = |outcome| AuditEvent::new(AuditAction::StoreImport, actor, outcome);
        let event = match &imported {
            Ok(restored) => event(AuditOutcome::Done).count(restored.written),
            Err(error) => event(AuditOutcome::Failed).reason(error.to_string()),
        };
        self.tools.tell(event).await;
        imported
    }

    async fn take_in(&self, file: File, merge: bool) -> Result<Restored, ImportError> {
        let peppers = marks(&self.tools.peppers());
        let checked = tokio::task::spawn_blocking(move || check(file, &peppers)).await;
        let (file, mut denied) =
            checked.map_err(|error| StoreError::Unavailable(error.into()))??;
        if !merge && !self.is_empty().await? {
            return Err(ImportError::NotEmpty);
        }
        // A store that lost its keys may know denials of them, which it forgets after a while.
        for denial in self.tools.store().denials().await?.entries {
            if denial.kind == DenialKind::Key {
                denied.entry(denial.id).or_insert(denial.at);
            }
        }
        let now = self.tools.now();
        let entries = Passes {
            file,
            denied,
            rank: *Entry::RANKS.start(),
            pass: None,
        };
        Ok(self.tools.store().restore(Box::new(entries), now).await?)
    }

    /// Whether an export would be empty.
    async fn is_empty(&self) -> Result<bool, StoreError> {
        let (entries, mut taken) = mpsc::channel(1);
        let first = async move { taken.recv().await.is_some() };
        let (archived, found) = tokio::join!(self.tools.store().archive(entries), first);
        // Whoever found an entry received no more, which ends the export with an error.
        if !found {
            archived?;
        }
        Ok(!found)
    }
}

impl Export {
    /// Sends the whole file in pieces, and answers how many entries it has. Nothing is sent before
    /// the store has answered.
    pub async fn run(self, to: mpsc::Sender<Bytes>) -> Result<u64, ExportError> {
        let exported = self.send(to).await;
        let event = |outcome| AuditEvent::new(AuditAction::StoreExport, self.actor, outcome);
        let event = match &exported {
            Ok(entries) => event(AuditOutcome::Done).count(*entries),
            Err(error) => event(AuditOutcome::Failed).reason(error.to_string()),
        };
        self.tools.tell(event).await;
        exported
    }

    async fn send(&self, to: mpsc::Sender<Bytes>) -> Result<u64, ExportError> {
        let (entries, mut taken) = mpsc::channel(QUEUE);
        let store = self.tools.store();
        let peppers = marks(&self.tools.peppers());
        let mut piece = Vec::with_capacity(PIECE);
        let mut writer =
            ExportWriter::begin(self.tools.now(), store.backend(), peppers, &mut piece);
        let gather = async move {
            while let Some(entry) = taken.recv().await {
                if piece.len() >= PIECE {
                    let full = std::mem::replace(&mut piece, Vec::with_capacity(PIECE));
                    send(&to, full).await?;
                }
                writer.entry(&entry, &mut piece);
            }
            Ok::<_, ExportError>((writer, piece, to))
        };
        let (archived, gathered) = tokio::join!(store.archive(entries), gather);
        let (writer, mut piece, to) = gathered?;
        // Without its end, what was sent is no export.
        archived?;
        let entries = writer.end(&mut piece);
        send(&to, piece).await?;
        Ok(entries)
    }
}

async fn send(to: &mpsc::Sender<Bytes>, piece: Vec<u8>) -> Result<(), ExportError> {
    to.send(piece.into()).await.map_err(|_| ExportError::Gone)
}

/// What tells peppers apart, and nothing of them.
fn marks(peppers: &Peppers) -> Vec<String> {
    let marks = MacKeys::new(peppers, Purpose::Archives);
    marks.all(&[b"export"]).map(|mark| mark.to_text()).collect()
}

/// Reads the file to its end; which keys are denied in it.
fn check(
    mut file: File,
    peppers: &[String],
) -> Result<(File, HashMap<String, Timestamp>), ImportError> {
    let mut reader = begin(&mut file)?;
    let made_under = &reader.head().peppers;
    if made_under.is_empty() || !made_under.iter().all(|mark| peppers.contains(mark)) {
        return Err(ImportError::OtherPepper);
    }
    let mut denied = HashMap::new();
    for entry in reader.by_ref() {
        match entry? {
            Entry::Denial(denial) if denial.kind == DenialKind::Key => {
                denied.insert(denial.id, denial.at);
            }
            _ => {}
        }
    }
    Ok((file, denied))
}

type Reader = ExportReader<BufReader<File>>;

fn begin(file: &mut File) -> Result<Reader, ExportProblem> {
    file.rewind()?;
    ExportReader::begin(BufReader::with_capacity(PIECE, file.try_clone()?))
}

/// The entries of a file in the order of their ranks: the file is read once for each.
struct Passes {
    file: File,
    denied: HashMap<String, Timestamp>,
    rank: u8,
    pass: Option<Reader>,
}

impl Passes {
    fn next_entry(&mut self) -> Result<Option<Entry>, ExportProblem> {
        while Entry::RANKS.contains(&self.rank) {
            let pass = match &mut self.pass {
                Some(pass) => pass,
                None => self.pass.insert(begin(&mut self.file)?),
            };
            match pass.next().transpose()? {
                Some(entry) if entry.rank() == self.rank => return Ok(Some(entry)),
                Some(_) => {}
                None => {
                    self.pass = None;
                    self.rank += 1;
                }
            }
        }
        Ok(None)
    }

    /// The denials are forgotten after a while; then the record has to say it.
    fn revoke_denied(&self, entry: &mut Entry) {
        let Entry::Key(key) = entry else { return };
        let denied_at = self.denied.get(key.record.id.as_str()).copied();
        let at = key.record.revoked_at.or(denied_at);
        key.record.revoked_at = at;
        if let Some(before) = key.rotation.as_mut().and_then(|r| r.record.as_mut()) {
            before.revoked_at = at;
        }
    }
}

impl Iterator for Passes {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<io::Result<Entry>> {
        let next = self.next_entry().map_err(io::Error::other).transpose();
        next.map(|entry| {
            let mut entry = entry?;
            self.revoke_denied(&mut entry);
            Ok(entry)
        })
    }
}
