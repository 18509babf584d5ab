//! The writer thread of the audit log, and the queue before it.
//!
//! Invariants: whoever offers a message never waits; a line that is given up is counted, and
//! tells its number in a `gap` line once writing works again; a line torn by a full disk is
//! ended before the next one.

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

use super::AuditEvent;
use super::line::Line;
use crate::clock::Timestamp;

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
    Line(Timestamp, Box<AuditEvent>),
    Reopen,
    Settle(oneshot::Sender<bool>),
}

/// Lines that may wait. At some 300 bytes each this is a megabyte, or seconds of a flood.
pub(super) const QUEUE: usize = 4096;
/// Bytes written at once.
const BATCH: usize = 64 * 1024;
/// How long the last drop waits for a slow disk.
const LAST_LINES: Duration = Duration::from_secs(5);

impl Queue {
    pub(super) fn start(file: File, path: PathBuf, dropped: IntCounter) -> io::Result<Queue> {
        let (sender, messages) = sync_channel(QUEUE);
        let (alive, ended) = sync_channel::<()>(0);
        let lost = Arc::new(AtomicU64::new(0));
        let mut writer = Writer {
            file,
            path,
            batch: Vec::with_capacity(BATCH),
            queued: 0,
            torn: Torn::No,
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

/// Whether the file ends in the middle of a line.
#[derive(Debug, PartialEq, Eq)]
enum Torn {
    No,
    Yes,
}

/// The writer thread's own state.
#[derive(Debug)]
struct Writer {
    file: File,
    path: PathBuf,
    batch: Vec<u8>,
    queued: u64,
    torn: Torn,
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
            Message::Line(time, event) => self.compose(time, &event),
            Message::Reopen => {
                self.write();
                match append_to(&self.path) {
                    Ok(file) => (self.file, self.torn) = (file, Torn::No),
                    Err(error) => tracing::error!(%error, "the audit log was not reopened"),
                }
            }
            Message::Settle(done) => {
                let settled = self.write() && self.file.sync_data().is_ok();
                // The caller may have given up waiting.
                let _ = done.send(settled);
            }
        }
    }

    fn compose(&mut self, time: Timestamp, event: &AuditEvent) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let gap = serde_json::json!({"time": time.to_string(), "event": "gap", "count": lost});
            self.batch.extend_from_slice(format!("{gap}\n").as_bytes());
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
        if self.torn == Torn::Yes {
            self.batch.insert(0, b'\n');
        }
        let written = self.file.write_all(&self.batch);
        if let Err(error) = &written {
            // The lines are given up: a full disk must not fill the memory too.
            tracing::error!(%error, lines = self.queued, "audit lines could not be written");
            self.lost.fetch_add(self.queued, Ordering::Relaxed);
            self.dropped.inc_by(self.queued);
        }
        self.torn = if written.is_ok() { Torn::No } else { Torn::Yes };
        self.batch.clear();
        self.queued = 0;
        written.is_ok()
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
