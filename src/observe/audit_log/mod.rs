//! The audit log: one JSON line for each denial and each change of a credential or the config.
//!
//! Not here: what is worth a line; each room says so itself. Invariants: recording never blocks
//! (lines wait in a bounded queue for one writer thread; what does not fit is counted and leaves
//! a `gap` line); the file is only ever appended to, by whole lines; an event has fields for ids
//! and fixed words only, so there is no place for a secret.

use std::borrow::Cow;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::TrySendError;
use std::time::Duration;

use prometheus::IntCounter;
use tokio::sync::oneshot;

use crate::clock::{Clock, Timestamp};
use crate::id::{AccountId, ClientId, CredentialId, RequestId, SubjectId};
use crate::scope::ScopeSet;

mod line;
mod writer;

use writer::{Message, Queue, append_to};

/// Records events. Cheap to clone; the file is complete once the last clone is dropped.
#[derive(Clone, Debug)]
pub struct AuditLog {
    queue: Arc<Queue>,
    clock: Clock,
}

/// One thing that happened, without its time.
#[derive(Clone, Debug)]
#[must_use = "an event is written by `AuditLog::record`"]
pub struct AuditEvent {
    action: AuditAction,
    actor: Actor,
    outcome: AuditOutcome,
    credential: Option<CredentialId>,
    account: Option<AccountId>,
    client: Option<ClientId>,
    subject: Option<SubjectId>,
    request: Option<RequestId>,
    route: Option<Arc<str>>,
    scopes: Option<ScopeSet>,
    expires_at: Option<Timestamp>,
    count: Option<u64>,
    reason: Option<Cow<'static, str>>,
}

/// What was done or tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditAction {
    /// An OAuth client was registered.
    ClientCreate,
    /// An OAuth client was disabled.
    ClientDisable,
    /// An OAuth client got another secret.
    ClientRotate,
    /// A code of the authorization server came a second time: its grant was revoked.
    CodeReplay,
    /// The configuration was read again.
    ConfigReload,
    /// A user did not grant a client what it asked for.
    ConsentDeny,
    /// A user granted a client access.
    ConsentGive,
    /// What a user had granted to a client was taken back.
    GrantRevoke,
    /// A key was made.
    KeyCreate,
    /// An existing key of another system was taken over.
    KeyImport,
    /// An import came to its end.
    KeyImportEnd,
    /// A key was revoked.
    KeyRevoke,
    /// A key got another secret.
    KeyRotate,
    /// The operator's login page said that somebody logged in.
    LoginAccept,
    /// The operator's login page said no.
    LoginReject,
    /// A credential was seen in clear text.
    PlaintextCredential,
    /// An old refresh token came back: its grant was revoked.
    RefreshReuse,
    /// A request was answered.
    Request,
    /// A session was made.
    SessionCreate,
    /// A session was ended.
    SessionEnd,
    /// The keys that sign access tokens were rotated.
    SigningKeyRotate,
    /// Access tokens were revoked.
    TokenRevoke,
    /// A user was made.
    UserCreate,
    /// A user was disabled.
    UserDisable,
    /// A disabled user may log in again.
    UserEnable,
    /// A user got another password.
    UserPassword,
}

/// Who did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Someone over the admin API's unix socket.
    AdminSocket {
        /// The peer's user id, as the kernel tells it.
        uid: u32,
    },
    /// Someone with the admin token.
    AdminTcp {
        /// From where.
        address: IpAddr,
    },
    /// Someone at the command line, directly on the store.
    Cli {
        /// Their user id.
        uid: u32,
    },
    /// A client of the API.
    Client {
        /// From where.
        address: IpAddr,
    },
    /// The gateway by itself.
    Gateway,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditOutcome {
    /// Refused by policy.
    Denied,
    /// Done.
    Done,
    /// Could not be done, or only in part.
    Failed,
}

/// The audit log cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("the audit log {path} cannot be opened", path = .path.display())]
pub struct AuditLogError {
    path: PathBuf,
    source: io::Error,
}

impl AuditLog {
    /// Opens `path` for appending, making it (mode 0600) and its folder when missing, and starts
    /// the writer. `dropped` counts lines that could not be written.
    pub fn open(path: &Path, clock: Clock, dropped: IntCounter) -> Result<AuditLog, AuditLogError> {
        let failed = |source| AuditLogError {
            path: path.to_owned(),
            source,
        };
        let file = append_to(path).map_err(failed)?;
        let queue = Queue::start(file, path.to_owned(), dropped).map_err(failed)?;
        Ok(AuditLog {
            queue: Arc::new(queue),
            clock,
        })
    }

    /// Queues one event. Never blocks.
    pub fn record(&self, event: AuditEvent) {
        let line = Message::Line(self.clock.now(), Box::new(event));
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.queue.offer(line) {
            self.queue.lost(1);
        }
    }

    /// Waits until what was recorded before is on disk, at most for `deadline`. True if it is.
    pub async fn settle(&self, deadline: Duration) -> bool {
        let settled = async {
            let (done, written) = oneshot::channel();
            let mut message = Message::Settle(done);
            while let Err(TrySendError::Full(back)) = self.queue.offer(message) {
                message = back;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            written.await.unwrap_or(false)
        };
        tokio::time::timeout(deadline, settled)
            .await
            .unwrap_or(false)
    }

    /// Opens the file anew, after it was moved away by log rotation.
    pub fn reopen(&self) {
        if self.queue.offer(Message::Reopen).is_err() {
            tracing::warn!("the audit log was not reopened: its queue is full");
        }
    }
}

impl AuditEvent {
    /// An event with its three obligatory parts.
    pub fn new(action: AuditAction, actor: Actor, outcome: AuditOutcome) -> AuditEvent {
        AuditEvent {
            action,
            actor,
            outcome,
            credential: None,
            account: None,
            client: None,
            subject: None,
            request: None,
            route: None,
            scopes: None,
            expires_at: None,
            count: None,
            reason: None,
        }
    }

    /// Which credential it is about.
    pub fn credential(mut self, id: impl Into<CredentialId>) -> AuditEvent {
        self.credential = Some(id.into());
        self
    }

    /// Whose account.
    pub fn account(mut self, account: AccountId) -> AuditEvent {
        self.account = Some(account);
        self
    }

    /// Which OAuth client.
    pub fn client(mut self, id: ClientId) -> AuditEvent {
        self.client = Some(id);
        self
    }

    /// Which user.
    pub fn subject(mut self, id: SubjectId) -> AuditEvent {
        self.subject = Some(id);
        self
    }

    /// Which request.
    pub fn request(mut self, id: RequestId) -> AuditEvent {
        self.request = Some(id);
        self
    }

    /// Which route.
    pub fn route(mut self, name: Arc<str>) -> AuditEvent {
        self.route = Some(name);
        self
    }

    /// Which rights were given, until when.
    pub fn grants(mut self, scopes: ScopeSet, expires_at: Option<Timestamp>) -> AuditEvent {
        self.scopes = Some(scopes);
        self.expires_at = expires_at;
        self
    }

    /// How many.
    pub fn count(mut self, count: u64) -> AuditEvent {
        self.count = Some(count);
        self
    }

    /// Why: a word of ours, never what a client sent.
    pub fn reason(mut self, reason: impl Into<Cow<'static, str>>) -> AuditEvent {
        self.reason = Some(reason.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn event() -> AuditEvent {
        AuditEvent::new(
            AuditAction::KeyRevoke,
            Actor::Cli { uid: 7 },
            AuditOutcome::Done,
        )
        .credential(CredentialId::parse("key_1").expect("an id"))
        .account(AccountId::parse("acct_1").expect("an id"))
    }

    fn counter() -> IntCounter {
        IntCounter::new("dropped", "dropped").expect("valid name")
    }

    fn clock() -> Clock {
        Clock::manual(Timestamp::from_millis(1_790_000_000_123))
    }

    #[test]
    fn the_file_is_private_and_holds_every_line_once_the_last_handle_is_dropped() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("logs/audit.jsonl");
        for _ in 0..2 {
            let log = AuditLog::open(&path, clock(), counter()).expect("opens");
            log.record(event());
        }
        let line = concat!(
            r#"{"time":"2026-09-21T14:13:20.123Z","event":"key_revoke","actor":"cli","uid":7,"#,
            r#""credential_id":"key_1","account":"acct_1","outcome":"done"}"#,
            "\n"
        );
        let written = std::fs::read_to_string(&path).expect("readable");
        assert_eq!(written, format!("{line}{line}"));
        let mode = std::fs::metadata(&path)
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn row_108_one_object_a_line_whatever_the_text() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        let log = AuditLog::open(&path, clock(), counter()).expect("opens");
        log.record(event().reason("a\r\nb\u{1b}[31m\"}\0"));
        drop(log);
        let written = std::fs::read_to_string(&path).expect("readable");
        assert_eq!(written.lines().count(), 1);
        assert!(written.trim_end().bytes().all(|byte| byte >= 0x20));
        let parsed: serde_json::Value = serde_json::from_str(&written).expect("JSON");
        assert_eq!(parsed["reason"], "a\r\nb\u{1b}[31m\"}\0");
    }

    #[tokio::test]
    async fn settled_lines_can_be_read_while_the_log_is_open() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        let log = AuditLog::open(&path, clock(), counter()).expect("opens");
        log.record(event());
        assert!(log.settle(Duration::from_secs(20)).await);
        let lines = |path: &Path| {
            std::fs::read_to_string(path)
                .expect("readable")
                .lines()
                .count()
        };
        assert_eq!(lines(&path), 1);

        let moved = folder.path().join("audit.1");
        std::fs::rename(&path, &moved).expect("moves");
        log.reopen();
        log.record(event());
        assert!(log.settle(Duration::from_secs(20)).await);
        assert_eq!((lines(&moved), lines(&path)), (1, 1));
    }

    #[test]
    fn a_full_disk_is_counted_and_blocks_nobody() {
        let dropped = counter();
        let log = AuditLog::open(Path::new("/dev/full"), clock(), dropped.clone()).expect("opens");
        let offered = 3 * writer::QUEUE as u64;
        for _ in 0..offered {
            log.record(event());
        }
        drop(log);
        assert_eq!(dropped.get(), offered);
    }

    #[test]
    fn lost_lines_leave_a_gap_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        let log = AuditLog::open(&path, clock(), counter()).expect("opens");
        log.queue.lost(3);
        log.record(event());
        drop(log);
        let written = std::fs::read_to_string(&path).expect("readable");
        let gap = r#"{"time":"2026-09-21T14:13:20.123Z","event":"gap","count":3}"#;
        assert_eq!(written.lines().next(), Some(gap));
        assert_eq!(written.lines().count(), 2);
    }
}
