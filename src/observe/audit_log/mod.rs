//! The audit log: one JSON line for each denial and each change of a credential or the config.
//!
//! Not here: what is worth a line; each room says so itself. Invariants: recording never blocks
//! (lines wait in a bounded queue for one writer thread; what does not fit is counted and leaves
//! a `gap` line), and a flood of denials takes no change's place; the file is only ever appended to,
//! by whole lines, each of which vouches for all before it ([`chain`]); an event has fields for ids
//! and fixed words only, so there is no place for a secret.

use std::borrow::Cow;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::mpsc::TrySendError;
use std::time::Duration;

use prometheus::IntCounter;
use tokio::sync::oneshot;

use crate::clock::{Clock, Timestamp};
use crate::id::{AccountId, ClientId, CredentialId, InstanceId, RequestId, SubjectId};
use crate::scope::ScopeSet;
use crate::secret::MacKeys;

mod chain;
mod copy;
mod line;
mod verify;
mod writer;

pub use chain::Head;
pub use copy::AuditCopy;
pub use verify::{Finding, Flaw, Verification, verify};

use writer::{Message, Queue};

/// Where audit lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditSettings {
    /// The file (JSONL, append only).
    pub file: PathBuf,
    /// Where else.
    pub copy: AuditCopy,
}

/// Records events. Cheap to clone; the file is complete once the last clone is dropped.
#[derive(Clone, Debug)]
pub struct AuditLog {
    queue: Arc<Queue>,
    denials: Arc<Denials>,
    clock: Clock,
}

/// Denials of the second that runs.
#[derive(Debug, Default)]
struct Denials {
    second: AtomicI64,
    count: AtomicU32,
}

/// Denied requests that leave a line, each second; more are counted in a `gap` line. Whoever sends
/// bad requests as fast as they can fills some 50 KB of disk a second, and keeps no change out.
const DENIALS_PER_SECOND: u32 = 100;

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
    instance: Option<InstanceId>,
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
    /// A gateway that has ended was taken off the list of those that share the store.
    FleetForget,
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
    /// The whole store was written into an export.
    StoreExport,
    /// An export was taken in.
    StoreImport,
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
    /// Opens the file for appending, making it (mode 0600) and its folder when missing, goes on with
    /// the chain in it, and starts the writer. `dropped` counts lines that could not be written.
    pub fn open(
        settings: &AuditSettings,
        keys: MacKeys,
        clock: Clock,
        dropped: IntCounter,
    ) -> Result<AuditLog, AuditLogError> {
        let failed = |source| AuditLogError {
            path: settings.file.clone(),
            source,
        };
        let queue = Queue::start(settings, keys, dropped).map_err(failed)?;
        Ok(AuditLog {
            queue: Arc::new(queue),
            denials: Arc::default(),
            clock,
        })
    }

    /// Seals the lines from here on with other keys, after the pepper changed.
    pub fn set_keys(&self, keys: MacKeys) {
        if self.queue.offer(Message::Keys(Box::new(keys))).is_err() {
            tracing::warn!("the audit log is sealed under the pepper before: its queue is full");
        }
    }

    /// Queues the denial of a request, unless there were many this second. Never blocks.
    pub fn record_denial(&self, event: AuditEvent) {
        let second = self.clock.now().as_millis() / 1000;
        if self.denials.second.swap(second, Ordering::Relaxed) != second {
            self.denials.count.store(0, Ordering::Relaxed);
        }
        match self.denials.count.fetch_add(1, Ordering::Relaxed) < DENIALS_PER_SECOND {
            true => self.record(event),
            false => self.queue.lost(1),
        }
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

    /// Tells the process log where the log stands; from then on, it is told each hour.
    pub fn tell_head(&self) {
        if self
            .queue
            .offer(Message::TellHead(self.clock.now()))
            .is_err()
        {
            tracing::warn!("where the audit log stands was not told: its queue is full");
        }
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
            instance: None,
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

    /// Which gateway it is about.
    pub fn instance(mut self, id: InstanceId) -> AuditEvent {
        self.instance = Some(id);
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
    use std::path::Path;

    use super::*;
    use crate::secret::{Pepper, Purpose};

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

    fn keys() -> MacKeys {
        MacKeys::new(&Pepper::of_test(b'a').into(), Purpose::AuditSeals)
    }

    fn open(path: &Path) -> AuditLog {
        open_counted(path, counter())
    }

    fn open_counted(path: &Path, dropped: IntCounter) -> AuditLog {
        let settings = AuditSettings {
            file: path.to_owned(),
            copy: AuditCopy::Nowhere,
        };
        AuditLog::open(&settings, keys(), clock(), dropped).expect("opens")
    }

    /// A line without what makes it part of the chain.
    fn unlinked(line: &str) -> String {
        let (event, _) = line.split_once(r#","chain":"#).expect("a link");
        format!("{event}}}")
    }

    fn clock() -> Clock {
        Clock::manual(Timestamp::from_millis(1_790_000_000_123))
    }

    #[test]
    fn the_file_is_private_and_holds_every_line_once_the_last_handle_is_dropped() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("logs/audit.jsonl");
        for _ in 0..2 {
            let log = open(&path);
            log.record(event());
        }
        let line = concat!(
            r#"{"time":"2026-09-21T14:13:20.123Z","event":"key_revoke","actor":"cli","uid":7,"#,
            r#""credential_id":"key_1","account":"acct_1","outcome":"done"}"#,
        );
        let written = std::fs::read_to_string(&path).expect("readable");
        let lines: Vec<_> = written.lines().map(unlinked).collect();
        assert_eq!(lines, [line, line]);
        assert!(written.ends_with('\n'));
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
        let log = open(&path);
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
        let log = open(&path);
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
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        std::os::unix::fs::symlink("/dev/full", &path).expect("a link");
        let log = open_counted(&path, dropped.clone());
        let offered = 3 * writer::QUEUE as u64;
        for _ in 0..offered {
            log.record(event());
        }
        drop(log);
        assert_eq!(dropped.get(), offered);
    }

    #[test]
    fn a_flood_of_denials_takes_no_change_s_place() {
        let (folder, dropped) = (tempfile::tempdir().expect("a folder"), counter());
        let path = folder.path().join("audit.jsonl");
        let log = open_counted(&path, dropped.clone());
        let (client, denied) = ([192, 0, 2, 1].into(), AuditOutcome::Denied);
        let client = Actor::Client { address: client };
        for _ in 0..DENIALS_PER_SECOND + 7 {
            log.record_denial(AuditEvent::new(AuditAction::Request, client, denied));
        }
        log.record(event());
        drop(log);
        assert_eq!(dropped.get(), 7);
        let written = std::fs::read_to_string(&path).expect("readable");
        // The gap line may come earlier, in parts: it tells what was lost so far.
        let revoked = written.lines().filter(|line| line.contains("key_revoke"));
        assert_eq!(revoked.count(), 1);
        let verified = verify(&[path], &keys(), None).expect("readable");
        assert_eq!((verified.lost, verified.findings.len()), (7, 0));
    }

    #[test]
    fn lost_lines_leave_a_gap_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        let log = open(&path);
        log.queue.lost(3);
        log.record(event());
        drop(log);
        let written = std::fs::read_to_string(&path).expect("readable");
        let gap = r#"{"time":"2026-09-21T14:13:20.123Z","event":"gap","count":3}"#;
        let first = written.lines().next().map(unlinked);
        assert_eq!(first.as_deref(), Some(gap));
        assert_eq!(written.lines().count(), 2);
    }
}
