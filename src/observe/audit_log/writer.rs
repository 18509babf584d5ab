//! The writer thread of the audit log, and the queue before it.
//!
//! Invariants: whoever offers a message never waits; a line that is given up is counted, and
//! tells its number in a `gap` line once writing works again; what a full disk tore is taken off
//! again, so that the file holds whole lines, each linked to the one before it ([`super::chain`]).

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus::IntCounter;
use tokio::sync::oneshot;

use super::chain::{Chain, HeadFile, Tail};
use super::copy::Copies;
use super::line::Line;
use super::{AuditEvent, AuditSettings};
use crate::clock::Timestamp;
use crate::secret::MacKeys;

/// The way to the writer thread.
#[derive(Debug)]
pub(super) struct Queue {
    /// `None` only while the last clone is being dropped.
    sender: Option<SyncSender<Message>>,
    /// Closed by the writer when it ends.
    ended: Mutex<Receiver<()>>,
    lost: Arc<AtomicU64>,
    dropped: IntCounter,
}

#[derive(Debug)]
pub(super) enum Message {
    Keys(Box<MacKeys>),
    Line(Timestamp, Box<AuditEvent>),
    Reopen,
    Settle(oneshot::Sender<bool>),
    TellHead(Timestamp),
}

/// Lines that may wait. At some 500 bytes each this is two megabytes, or seconds of a flood.
pub(super) const QUEUE: usize = 4096;
/// Bytes written at once.
const BATCH: usize = 64 * 1024;
/// How often the process log is told where the log stands, while lines come.
const TELL: Duration = Duration::from_secs(60 * 60);
/// How long the last drop waits for a slow disk.
const LAST_LINES: Duration = Duration::from_secs(5);

impl Queue {
    pub(super) fn start(
        settings: &AuditSettings,
        keys: MacKeys,
        dropped: IntCounter,
    ) -> io::Result<Queue> {
        let (sender, messages) = sync_channel(QUEUE);
        let (alive, ended) = sync_channel::<()>(0);
        let lost = Arc::new(AtomicU64::new(0));
        let mut writer = Writer {
            log: Log::open(&settings.file, keys, &lost)?,
            copies: Copies::open(settings.copy)?,
            batch: Vec::with_capacity(BATCH),
            queued: 0,
            told_at: None,
            lost: Arc::clone(&lost),
            dropped: dropped.clone(),
        };
        std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || {
                let _alive = alive;
                writer.run(&messages);
            })?;
        Ok(Queue {
            sender: Some(sender),
            ended: Mutex::new(ended),
            lost,
            dropped,
        })
    }

    pub(super) fn offer(&self, message: Message) -> Result<(), TrySendError<Message>> {
        match &self.sender {
            Some(sender) => sender.try_send(message),
            None => Err(TrySendError::Disconnected(message)),
        }
    }

    pub(super) fn lost(&self, lines: u64) {
        self.lost.fetch_add(lines, Ordering::Relaxed);
        self.dropped.inc_by(lines);
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.sender = None;
        if let Ok(ended) = self.ended.get_mut() {
            // An error either way: the writer has ended, or the disk is too slow to wait for.
            let _ = ended.recv_timeout(LAST_LINES);
        }
    }
}

/// The writer thread's own state.
#[derive(Debug)]
struct Writer {
    log: Log,
    copies: Copies,
    /// Objects that are not lines yet, each with a line end behind it.
    batch: Vec<u8>,
    queued: u64,
    /// When the process log was told where the log stands, if it is to know.
    told_at: Option<Timestamp>,
    lost: Arc<AtomicU64>,
    dropped: IntCounter,
}

impl Writer {
    /// Until every sender is gone and the queue is empty.
    fn run(&mut self, messages: &Receiver<Message>) {
        while let Ok(first) = messages.recv() {
            self.take(first);
            while self.batch.len() < BATCH
                && let Ok(next) = messages.try_recv()
            {
                self.take(next);
            }
            self.write();
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Keys(keys) => {
                self.write();
                self.log.chain.set_keys(*keys);
            }
            Message::Line(time, event) => {
                self.compose(time, &event);
                if self
                    .told_at
                    .is_some_and(|told_at| time.since(told_at) >= TELL)
                {
                    self.tell_head(time);
                }
            }
            Message::Reopen => {
                self.write();
                match append_to(&self.log.path) {
                    Ok(file) => (self.log.file, self.log.torn) = (file, Torn::No),
                    Err(error) => tracing::error!(%error, "the audit log was not reopened"),
                }
            }
            Message::Settle(done) => {
                let settled = self.write() && self.log.file.sync_data().is_ok();
                // The caller may have given up waiting.
                let _ = done.send(settled);
            }
            Message::TellHead(now) => self.tell_head(now),
        }
    }

    /// Whoever keeps the process log elsewhere can hold the audit log to this.
    fn tell_head(&mut self, now: Timestamp) {
        self.write();
        self.told_at = Some(now);
        if let Some(head) = &self.log.chain.head {
            let (chain, head) = (&head.chain, head.to_text());
            tracing::info!(chain, head, "the audit log stands here");
        }
    }

    fn compose(&mut self, time: Timestamp, event: &AuditEvent) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let gap = format!(r#"{{"time":"{time}","event":"gap","count":{lost}}}"#);
            self.batch.extend_from_slice(gap.as_bytes());
            self.batch.push(b'\n');
        }
        let line = Line::new(time, event);
        match serde_json::to_writer(&mut self.batch, &line) {
            Ok(()) => self.batch.push(b'\n'),
            Err(error) => tracing::error!(%error, "an audit line could not be formed"),
        }
        self.queued += 1;
    }

    /// Whether everything that was queued is in the file.
    fn write(&mut self) -> bool {
        if self.batch.is_empty() {
            return true;
        }
        let written = self.log.append(&self.batch);
        match &written {
            Ok(lines) => self.copies.write(lines),
            Err(error) => {
                // The lines are given up: a full disk must not fill the memory too.
                tracing::error!(%error, lines = self.queued, "audit lines could not be written");
                self.lost.fetch_add(self.queued, Ordering::Relaxed);
                self.dropped.inc_by(self.queued);
            }
        }
        self.batch.clear();
        self.queued = 0;
        written.is_ok()
    }
}

/// The file, and the chain in it.
#[derive(Debug)]
struct Log {
    path: PathBuf,
    file: File,
    chain: Chain,
    head: HeadFile,
    torn: Torn,
}

/// Whether the file ends in the middle of a line.
#[derive(Debug, PartialEq, Eq)]
enum Torn {
    No,
    Yes,
}

impl Log {
    fn open(path: &Path, keys: MacKeys, lost: &AtomicU64) -> io::Result<Log> {
        let mut log = Log {
            path: path.to_owned(),
            file: append_to(path)?,
            chain: Chain::new(keys),
            head: HeadFile::open(path)?,
            torn: Torn::No,
        };
        let kept = log.head.lock()?;
        let resumed = log.resume(&kept, lost);
        log.head.unlock()?;
        resumed?;
        Ok(log)
    }

    fn resume(&mut self, kept: &[u8], lost: &AtomicU64) -> io::Result<()> {
        // What is no file (a pipe, a device) is only written.
        let tail = match self.file.metadata()?.is_file() {
            true => Tail::read(&self.path)?,
            false => Tail::default(),
        };
        if tail.torn > 0 {
            let length = self.file.metadata()?.len();
            self.cut(length.saturating_sub(tail.torn));
            lost.fetch_add(1, Ordering::Relaxed);
        }
        let kept = self.chain.kept(kept);
        self.chain.resume(tail.line.as_deref(), kept);
        Ok(())
    }

    /// Links objects and appends them, all or none; what was written.
    fn append(&mut self, objects: &[u8]) -> io::Result<Vec<u8>> {
        let kept = self.head.lock()?;
        let before = self.chain.kept(&kept);
        self.chain.catch_up(before);
        let appended = self.append_locked(objects);
        self.head.unlock()?;
        appended
    }

    fn append_locked(&mut self, objects: &[u8]) -> io::Result<Vec<u8>> {
        let (before, length) = (self.chain.head.clone(), self.file.metadata()?.len());
        let mut lines = Vec::with_capacity(2 * objects.len());
        if self.torn == Torn::Yes {
            lines.push(b'\n');
        }
        for object in objects.split(|byte| *byte == b'\n') {
            if !object.is_empty() {
                self.chain.link(object, &mut lines);
            }
        }
        if let Err(error) = self.file.write_all(&lines) {
            self.chain.head = before;
            // A part of the lines may be there.
            self.cut(length);
            return Err(error);
        }
        self.torn = Torn::No;
        // The lines are there; without the head file the last of them counts.
        if let Some(head) = self.chain.to_keep()
            && let Err(error) = self.head.keep(&head)
        {
            tracing::warn!(%error, "the head of the audit log could not be noted");
        }
        Ok(lines)
    }

    /// Takes off what was torn; where that may not be (`chattr +a`), the next line begins a new one.
    fn cut(&mut self, length: u64) {
        self.torn = match self.file.set_len(length) {
            Ok(()) => Torn::No,
            Err(_) => Torn::Yes,
        };
    }
}

pub(super) fn append_to(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}
