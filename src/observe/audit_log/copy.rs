//! Where audit lines go besides their file: standard output, or the machine's syslog.
//!
//! Not here: any guarantee. The file is the log; a copy is for whoever collects lines elsewhere, and
//! what cannot be handed over is not tried again. Invariant: a copy is of a line that is in the file.

use std::io::{self, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// Where copies go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuditCopy {
    /// Nowhere.
    #[default]
    Nowhere,
    /// Standard output.
    Stdout,
    /// The machine's syslog, over `/dev/log`.
    Syslog,
}

#[derive(Debug)]
pub(super) enum Copies {
    None,
    Stdout,
    Syslog(Syslog),
}

/// One datagram a line (RFC 3164 §4.1.3 without a time and host, which the receiver adds).
#[derive(Debug)]
pub(super) struct Syslog {
    socket: UnixDatagram,
    told: Told,
}

/// Whether it was said that lines are not taken.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    No,
    Yes,
}

const SYSLOG: &str = "/dev/log";
/// Facility 13 (log audit, RFC 5424 table 1), severity 6 (informational).
const PRIORITY: u8 = 13 * 8 + 6;

impl Copies {
    pub(super) fn open(copy: AuditCopy) -> io::Result<Copies> {
        Ok(match copy {
            AuditCopy::Nowhere => Copies::None,
            AuditCopy::Stdout => Copies::Stdout,
            AuditCopy::Syslog => Copies::Syslog(Syslog::open(Path::new(SYSLOG))?),
        })
    }

    pub(super) fn write(&mut self, lines: &[u8]) {
        match self {
            Copies::None => {}
            Copies::Stdout => {
                // Whoever read it may be gone; the file has the lines.
                let mut out = io::stdout().lock();
                let _ = out.write_all(lines).and_then(|()| out.flush());
            }
            Copies::Syslog(syslog) => {
                let lines = lines.split(|byte| *byte == b'\n');
                lines
                    .filter(|line| !line.is_empty())
                    .for_each(|line| syslog.send(line));
            }
        }
    }
}

impl Syslog {
    pub(super) fn open(path: &Path) -> io::Result<Syslog> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        // A receiver that does not read must not hold the file up.
        socket.set_nonblocking(true)?;
        Ok(Syslog {
            socket,
            told: Told::No,
        })
    }

    fn send(&mut self, line: &[u8]) {
        let head = format!("<{PRIORITY}>portcullis[{}]: ", std::process::id());
        let sent = self.socket.send(&[head.as_bytes(), line].concat());
        match (sent, &self.told) {
            (Ok(_), _) => self.told = Told::No,
            (Err(error), Told::No) => {
                tracing::warn!(%error, "syslog does not take audit lines; the file has them");
                self.told = Told::Yes;
            }
            (Err(_), Told::Yes) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_one_datagram() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let receiver = UnixDatagram::bind(&path).expect("binds");
        let mut copies = Copies::Syslog(Syslog::open(&path).expect("connects"));
        copies.write(b"{\"seq\":1}\n{\"seq\":2}\n");
        for seq in [1, 2] {
            let mut datagram = [0; 200];
            let length = receiver.recv(&mut datagram).expect("a datagram");
            let id = std::process::id();
            let text = format!("<110>portcullis[{id}]: {{\"seq\":{seq}}}");
            assert_eq!(std::str::from_utf8(&datagram[..length]), Ok(text.as_str()));
        }
        drop(receiver);
        copies.write(b"{}\n");
    }
}
