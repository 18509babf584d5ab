//! Taking over the keys of a live API: lines in, batches to the store, a report out.
//!
//! Invariants: a key is hashed as soon as its line is read; a bad line is told by its number and
//! never stops the others; to feed the same file twice is safe, known keys stay as they are.

use super::import_line::ImportLine;
use super::lines::{Line, Lines};
use super::{KeyDesk, KeyProblem, key_event};
use crate::id::KeyId;
use crate::observe::{Actor, AuditAction, AuditEvent, AuditOutcome};
use crate::store::{CreateKey, NewKey, StoreError};

/// Keys written in one call to the store.
const BATCH: usize = 500;
/// Notes kept in a report; the counts go on.
const NOTES: usize = 1000;

/// An import under way.
pub struct Import<'a> {
    desk: &'a KeyDesk,
    actor: Actor,
    lines: Lines,
    number: u64,
    batch: Vec<(u64, NewKey)>,
    report: ImportReport,
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ImportReport {
    /// Keys written.
    pub created: u64,
    /// Keys that were there already, under this or another id; nothing was changed.
    pub existing: u64,
    /// Lines that were not taken.
    pub refused: u64,
    /// About each line that did not become a key; the first 1,000 of them.
    pub notes: Vec<ImportNote>,
}

/// What happened to one line.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ImportNote {
    /// Its number, from 1.
    pub line: u64,
    /// Refused, or not needed.
    pub kind: NoteKind,
    /// Why.
    pub reason: String,
}

/// Why a line did not become a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteKind {
    /// The key, or its id, is there already.
    Existing,
    /// The line is not good.
    Refused,
}

/// The store failed in the middle. What the report counts is written; the same file may be fed
/// again.
#[derive(Debug, thiserror::Error)]
#[error("the import stopped after {} new keys", .report.created)]
pub struct ImportStopped {
    /// How far it came.
    pub report: ImportReport,
    /// Why it stopped.
    pub source: StoreError,
}

impl<'a> Import<'a> {
    pub(super) fn new(desk: &'a KeyDesk, actor: Actor) -> Import<'a> {
        Import {
            desk,
            actor,
            lines: Lines::new(),
            number: 0,
            batch: Vec::with_capacity(BATCH),
            report: ImportReport::default(),
        }
    }

    /// Takes the next bytes of the file, split anywhere. After an error only
    /// [`Import::abandon`] is left to do.
    pub async fn feed(&mut self, mut bytes: &[u8]) -> Result<(), ImportStopped> {
        while let Some(line) = self.lines.next(&mut bytes) {
            self.number += 1;
            match draft(self.desk, &line) {
                Ok(None) => {}
                Ok(Some(key)) => self.batch.push((self.number, key)),
                Err(problem) => self.report.refuse(self.number, &problem),
            }
            if self.batch.len() == BATCH {
                self.write().await?;
            }
        }
        Ok(())
    }

    /// Takes the last line, writes what waits, and tells how it went.
    pub async fn finish(mut self) -> Result<ImportReport, ImportStopped> {
        self.number += 1;
        match draft(self.desk, &self.lines.last()) {
            Ok(None) => {}
            Ok(Some(key)) => self.batch.push((self.number, key)),
            Err(problem) => self.report.refuse(self.number, &problem),
        }
        let written = self.write().await;
        let outcome = match written {
            Ok(()) => AuditOutcome::Done,
            Err(_) => AuditOutcome::Failed,
        };
        self.tell_end(outcome).await;
        written.map(|()| self.report)
    }

    /// Ends without the lines that wait, because the rest of the file does not come.
    pub async fn abandon(self) {
        self.tell_end(AuditOutcome::Failed).await;
    }

    async fn write(&mut self) -> Result<(), ImportStopped> {
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
        if batch.is_empty() {
            return Ok(());
        }
        let keys = batch.iter().map(|(_, key)| key.clone()).collect();
        match self.desk.store.create_keys(keys).await {
            Ok(outcomes) => {
                for ((number, key), outcome) in batch.iter().zip(outcomes) {
                    self.note(*number, key, outcome);
                }
                // Batch by batch, so that an import never floods the audit log's queue.
                self.desk.audit.settle(super::AUDIT_WAIT).await;
                Ok(())
            }
            Err(source) => {
                let report = self.report.clone();
                Err(ImportStopped { report, source })
            }
        }
    }

    fn note(&mut self, number: u64, key: &NewKey, outcome: CreateKey) {
        match outcome {
            CreateKey::Created => {
                self.report.created += 1;
                let event = key_event(AuditAction::KeyImport, self.actor, &key.record);
                self.desk.audit.record(event);
            }
            CreateKey::Exists => self.report.exists(number),
        }
    }

    async fn tell_end(&self, outcome: AuditOutcome) {
        let event = AuditEvent::new(AuditAction::KeyImportEnd, self.actor, outcome)
            .count(self.report.created)
            .reason(format!(
                "{} existed already, {} lines refused",
                self.report.existing, self.report.refused
            ));
        self.desk.audit.record(event);
        self.desk.audit.settle(super::AUDIT_WAIT).await;
    }
}

/// The key that a line asks for; `None` for an empty line.
fn draft(desk: &KeyDesk, line: &Line<'_>) -> Result<Option<NewKey>, KeyProblem> {
    let text = match line {
        Line::Text(text) => text.trim_ascii(),
        Line::TooLong => return Err(KeyProblem::LineTooLong),
    };
    if text.is_empty() {
        return Ok(None);
    }
    let line = ImportLine::parse(text, &desk.format, desk.checksum)?;
    let id = line.id.unwrap_or_else(KeyId::random);
    let hint = desk.format.hint(line.key.expose());
    Ok(Some(NewKey {
        digest: desk.digest(&line.key),
        record: desk.draft(line.request, id, hint)?,
    }))
}

impl ImportReport {
    fn refuse(&mut self, line: u64, problem: &KeyProblem) {
        self.refused += 1;
        self.keep(line, NoteKind::Refused, problem.to_string());
    }

    fn exists(&mut self, line: u64) {
        self.existing += 1;
        let reason = "this key, or this id, is in the store already";
        self.keep(line, NoteKind::Existing, reason.into());
    }

    fn keep(&mut self, line: u64, kind: NoteKind, reason: String) {
        if self.notes.len() < NOTES {
            self.notes.push(ImportNote { line, kind, reason });
        }
    }
}
