//! The access log: one JSON line a request.
//!
//! Each worker collects lines in a buffer of its own and hands it, when it is full or a moment
//! old, to one writer thread. Not here: what a line says ([`crate::gateway`]). Invariants: no
//! request waits for a disk or a pipe; a line that cannot be kept is counted
//! (`access_log_dropped_total`), and nothing from a client can begin a new line, since every value
//! is a JSON string.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use prometheus::IntCounter;

use crate::clock::Timestamp;

/// Whether and where access-log lines are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLogSettings {
    /// Where to.
    pub target: AccessLogTarget,
}

/// Where access-log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLogTarget {
    /// Appended to a file, reopened on reload.
    File(PathBuf),
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
}

/// What a line says. The order of the fields is the order in the line.
#[derive(Debug)]
#[expect(
    missing_docs,
    reason = "docs/metrics-and-logs.md explains each field under its own name"
)]
pub struct AccessLine<'a> {
    pub time: Timestamp,
    pub request_id: &'a str,
    pub client: IpAddr,
    pub method: &'a str,
    pub path: Option<&'a str>,
    pub route: Option<&'a str>,
    pub status: u16,
    pub reason: Option<&'a str>,
    pub credential_kind: &'a str,
    pub credential_id: Option<&'a str>,
    pub account: Option<&'a str>,
    pub client_id: Option<&'a str>,
    pub upstream: Option<&'a str>,
    pub upstream_seconds: Option<f64>,
    pub seconds: f64,
    pub bytes_sent: u64,
    pub end: &'a str,
}

impl AccessLine<'_> {
    /// Member by member: the names need no escapes, and serde_json would look for some in each.
    fn write_to(&self, line: &mut Vec<u8>) -> io::Result<()> {
        write!(line, r#"{{"time":"{}""#, self.time)?;
        member(line, r#","request_id":"#, &self.request_id)?;
        member(line, r#","client":"#, &self.client)?;
        member(line, r#","method":"#, &self.method)?;
        member(line, r#","path":"#, &self.path)?;
        member(line, r#","route":"#, &self.route)?;
        member(line, r#","status":"#, &self.status)?;
        member(line, r#","reason":"#, &self.reason)?;
        member(line, r#","credential_kind":"#, &self.credential_kind)?;
        member(line, r#","credential_id":"#, &self.credential_id)?;
        member(line, r#","account":"#, &self.account)?;
        member(line, r#","client_id":"#, &self.client_id)?;
        member(line, r#","upstream":"#, &self.upstream)?;
        member(line, r#","upstream_seconds":"#, &self.upstream_seconds)?;
        member(line, r#","seconds":"#, &self.seconds)?;
        member(line, r#","bytes_sent":"#, &self.bytes_sent)?;
        member(line, r#","end":"#, &self.end)?;
        line.extend_from_slice(b"}\n");
        Ok(())
    }
}

fn member<T: serde::Serialize>(line: &mut Vec<u8>, name: &str, value: &T) -> io::Result<()> {
    line.extend_from_slice(name.as_bytes());
    Ok(serde_json::to_writer(line, value)?)
}

/// One worker's end of the log.
#[derive(Debug)]
pub struct AccessLog {
    buffer: RefCell<Vec<u8>>,
    sink: AccessLogSink,
}

/// The way to the writer thread; one clone for each worker.
#[derive(Clone, Debug)]
pub struct AccessLogSink {
    sender: SyncSender<Work>,
    dropped: IntCounter,
}

enum Work {
    Lines(Vec<u8>),
    Reopen,
    /// Answered when everything before is written.
    Flush(SyncSender<()>),
}

/// A buffer is handed over at this size at the latest.
const BUFFER: usize = 32 * 1024;
/// Buffers under way to the writer before lines are dropped.
const QUEUE: usize = 256;

impl AccessLogSink {
    /// Opens the target and starts its writer thread. `None` if the log is off.
    pub fn open(
        settings: &AccessLogSettings,
        dropped: IntCounter,
    ) -> io::Result<Option<AccessLogSink>> {
        let output = match &settings.target {
            AccessLogTarget::Off => return Ok(None),
            AccessLogTarget::Stdout => Output::Stdout(io::stdout()),
            AccessLogTarget::File(path) => Output::File {
                file: append(path)?,
                path: path.clone(),
            },
        };
        let (sender, receiver) = sync_channel(QUEUE);
        std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || write_all(output, &receiver))?;
        Ok(Some(AccessLogSink { sender, dropped }))
    }

    /// One worker's end.
    pub fn worker(&self) -> AccessLog {
        AccessLog {
            buffer: RefCell::new(Vec::with_capacity(BUFFER)),
            sink: self.clone(),
        }
    }

    /// Opens the file anew: after log rotation.
    pub fn reopen(&self) {
        // A full queue means that the disk does not keep up; it will see the next one.
        let _ = self.sender.try_send(Work::Reopen);
    }

    /// Waits until every line handed over before is written. Blocks: only for the end of the
    /// process.
    pub fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.sender.send(Work::Flush(done)).is_ok() {
            let _ = written.recv();
        }
    }
}

impl AccessLog {
    /// Adds a line.
    pub fn write(&self, line: &AccessLine<'_>) {
        let mut buffer = self.buffer.borrow_mut();
        let start = buffer.len();
        if line.write_to(&mut buffer).is_err() {
            buffer.truncate(start);
            self.sink.dropped.inc();
            return;
        }
        if buffer.len() >= BUFFER - 1024 {
            drop(buffer);
            self.hand_over();
        }
    }

    /// Passes on what has been collected; called every moment by the worker.
    pub fn hand_over(&self) {
        if self.buffer.borrow().is_empty() {
            return;
        }
        let lines = self.buffer.replace(Vec::with_capacity(BUFFER));
        if let Err(
            TrySendError::Full(Work::Lines(lines)) | TrySendError::Disconnected(Work::Lines(lines)),
        ) = self.sink.sender.try_send(Work::Lines(lines))
        {
            let count = lines.iter().filter(|byte| **byte == b'\n').count();
            self.sink.dropped.inc_by(count as u64);
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.hand_over();
    }
}

enum Output {
    File { file: File, path: PathBuf },
    Stdout(io::Stdout),
}

impl Output {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Output::File { file, .. } => file.write_all(lines),
            Output::Stdout(stdout) => stdout.write_all(lines).and_then(|()| stdout.flush()),
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        if let Output::File { file, path } = self {
            *file = append(path)?;
        }
        Ok(())
    }
}

fn append(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o640)
        .open(path)
}

fn write_all(mut output: Output, work: &Receiver<Work>) {
    while let Ok(work) = work.recv() {
        let done = match work {
            Work::Lines(lines) => output.write(&lines),
            Work::Reopen => output.reopen(),
            Work::Flush(done) => {
                let _ = done.send(());
                Ok(())
            }
        };
        if let Err(error) = done {
            tracing::error!(%error, "the access log cannot be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line<'a>(path: &'a str) -> AccessLine<'a> {
        AccessLine {
            time: Timestamp::from_millis(0),
            request_id: "r-1",
            client: IpAddr::from([127, 0, 0, 1]),
            method: "GET",
            path: Some(path),
            route: None,
            status: 404,
            reason: Some("not_found"),
            credential_kind: "none",
            credential_id: None,
            account: None,
            client_id: None,
            upstream: None,
            upstream_seconds: None,
            seconds: 0.5,
            bytes_sent: 3,
            end: "complete",
        }
    }

    #[test]
    fn row_108_nothing_in_a_line_can_begin_another() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("access.log");
        let settings = AccessLogSettings {
            target: AccessLogTarget::File(path.clone()),
        };
        let dropped = IntCounter::new("dropped", "dropped").expect("valid");
        let sink = AccessLogSink::open(&settings, dropped)
            .expect("opens")
            .expect("on");
        let worker = sink.worker();
        worker.write(&line("/a\r\n{\"b\":1}\u{1b}[31m\u{2028}"));
        worker.hand_over();
        sink.flush();
        let text = std::fs::read_to_string(&path).expect("readable");
        assert_eq!(
            text,
            concat!(
                r#"{"time":"1970-01-01T00:00:00.000Z","request_id":"r-1","client":"127.0.0.1","#,
                r#""method":"GET","path":"/a\r\n{\"b\":1}\u001b[31m"#,
                "\u{2028}",
                r#"","route":null,"#,
                r#""status":404,"reason":"not_found","credential_kind":"none","credential_id":null,"#,
                r#""account":null,"client_id":null,"upstream":null,"upstream_seconds":null,"seconds":0.5,"#,
                r#""bytes_sent":3,"end":"complete"}"#,
                "\n"
            )
        );
    }
}
