//! What the tests of the admin room stand on: a key desk over an embedded store in a folder of
//! its own, a gateway that says what it is told to, and raw HTTP over a stream.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis::admin::{
    AdminAddress, AdminClient, AdminListener, LiveGateway, NotReady, Readiness,
};
use portcullis::auth::{
    CacheSettings, Checksum, CredentialSettings, Failure, KeyDesk, KeyDeskParts, Refusal,
    VerifiedToken,
};
use portcullis::clock::{Clock, Timestamp};
use portcullis::oauth::OAuthSettings;
use portcullis::observe::{AuditCopy, AuditLog, AuditSettings, Metrics};
use portcullis::policy::ExplainRequest;
use portcullis::scope::ScopeSet;
use portcullis::secret::{MacKeys, Pepper, Purpose, Secret};
use portcullis::store::{self, Store, StoreSettings};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A folder with everything in it.
pub(crate) struct House {
    pub(crate) folder: TempDir,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) desk: Arc<KeyDesk>,
    pub(crate) gateway: Arc<Puppet>,
    pub(crate) audit: AuditLog,
    pub(crate) clock: Clock,
}

impl House {
    pub(crate) fn build() -> House {
        House::over(|folder, clock| {
            let path = folder.join("keys.redb");
            store::open(&StoreSettings::Embedded { path }, clock, &Metrics::new()).expect("opens")
        })
    }

    pub(crate) fn over(open: impl FnOnce(&Path, &Clock) -> Arc<dyn Store>) -> House {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Clock::manual(Timestamp::from_millis(1_790_000_000_123));
        let store = open(folder.path(), &clock);
        let dropped = Metrics::new().audit_dropped;
        let settings = AuditSettings {
            file: folder.path().join("audit.jsonl"),
            copy: AuditCopy::Nowhere,
        };
        let seals = MacKeys::new(&credentials().peppers, Purpose::AuditSeals);
        let audit = AuditLog::open(&settings, seals, clock.clone(), dropped).expect("opens");
        let desk = KeyDesk::new(KeyDeskParts {
            store: Arc::clone(&store),
            credentials: &credentials(),
            scopes: ScopeSet::parse("domains:read domains:write vps:read").expect("scopes"),
            clock: clock.clone(),
            audit: audit.clone(),
        });
        House {
            folder,
            store,
            desk: Arc::new(desk),
            gateway: Arc::new(Puppet::default()),
            audit,
            clock,
        }
    }

    /// Opens the admin API on a socket in the folder.
    pub(crate) async fn open_socket(&self) -> (Open, AdminClient, PathBuf) {
        let path = self.folder.path().join("run/admin.sock");
        let address = AdminAddress::Unix(path.clone());
        let listener = AdminListener::bind(&address, None).await.expect("binds");
        let client = AdminClient::new(address, None).expect("a client");
        (self.open(listener), client, path)
    }

    /// Opens the admin API on a loopback port.
    pub(crate) async fn open_tcp(&self) -> (Open, std::net::SocketAddr) {
        let any = AdminAddress::Tcp(([127, 0, 0, 1], 0).into());
        let listener = AdminListener::bind(&any, Some(Secret::new(TOKEN))).await;
        let listener = listener.expect("binds");
        let AdminAddress::Tcp(address) = *listener.address() else {
            panic!("asked for TCP");
        };
        (self.open(listener), address)
    }

    fn open(&self, listener: AdminListener) -> Open {
        let (stop, stopped) = oneshot::channel::<()>();
        let (desk, gateway) = (Arc::clone(&self.desk), self.gateway.clone());
        let served = tokio::spawn(listener.serve(desk, gateway, async {
            // Either way it is the wish to stop.
            let _ = stopped.await;
        }));
        Open { stop, served }
    }

    /// The audit lines so far.
    pub(crate) async fn audit_lines(&self) -> Vec<Value> {
        assert!(self.audit.settle(Duration::from_secs(30)).await, "written");
        let text = std::fs::read_to_string(self.folder.path().join("audit.jsonl"));
        let text = text.expect("readable");
        let line = |line| {
            let mut line: Value = serde_json::from_str(line).expect("JSON");
            let members = line.as_object_mut().expect("an object");
            // What makes it part of the chain has tests of its own.
            members.retain(|name, _| !["chain", "seq", "prev", "seal"].contains(&name.as_str()));
            line
        };
        text.lines().map(line).collect()
    }
}

pub(crate) fn credentials() -> CredentialSettings {
    CredentialSettings {
        realm: "osir".into(),
        prefix: "osir".into(),
        peppers: pepper().into(),
        checksum: Checksum::Optional,
        cache: CacheSettings {
            capacity: 1,
            fresh: Duration::ZERO,
            stale: Duration::ZERO,
            negative: Duration::ZERO,
        },
    }
}

pub(crate) fn pepper() -> Pepper {
    Pepper::new(b"0123456789abcdefghijklmnopqrstuvwxyz").expect("strong")
}

/// A listener that serves.
pub(crate) struct Open {
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Open {
    pub(crate) async fn close(self) {
        drop(self.stop);
        self.served.await.expect("no panic");
    }
}

/// A gateway that says what it is told to.
#[derive(Default)]
pub(crate) struct Puppet {
    pub(crate) missing: Mutex<Vec<NotReady>>,
    pub(crate) reload_problem: Mutex<Option<String>>,
    pub(crate) oauth: Mutex<Option<OAuthSettings>>,
}

#[async_trait::async_trait]
impl LiveGateway for Puppet {
    async fn explain(&self, request: ExplainRequest) -> Value {
        json!({ "verdict": "deny", "asked": format!("{request:?}") })
    }

    fn routes(&self) -> Value {
        json!([{ "route": "domains-read" }])
    }

    async fn reload(&self) -> Result<(), String> {
        let problem = self.reload_problem.lock().expect("no panic").clone();
        problem.map_or(Ok(()), Err)
    }

    fn authorization_server(&self) -> Option<OAuthSettings> {
        self.oauth.lock().expect("no panic").clone()
    }

    async fn read_access_token(&self, _: &Secret) -> Result<Arc<VerifiedToken>, Failure> {
        Err(Failure::Refused(Refusal::Signature))
    }

    async fn tell_usage(&self) {}

    fn internal_jwks(&self) -> Value {
        json!({ "keys": [] })
    }

    fn readiness(&self) -> Readiness {
        Readiness {
            missing: self.missing.lock().expect("no panic").clone(),
        }
    }
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Raw {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("a JSON body")
    }
}

/// Sends bytes and reads to the end of the connection.
pub(crate) async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &[u8],
) -> Raw {
    // The answer may come, and the connection end, before all of it was taken.
    let _ = stream.write_all(request).await;
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    let text = String::from_utf8(bytes).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).expect("a status");
    Raw {
        status: status.parse().expect("a number"),
        head: head.to_ascii_lowercase(),
        body: body.into(),
    }
}

/// A request that ends its connection. `fields` are whole lines, each ended.
pub(crate) fn request(method: &str, path: &str, fields: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nConnection: close\r\n{fields}Content-Length: {length}\r\n\r\n\
         {body}"
    )
    .into_bytes()
}
