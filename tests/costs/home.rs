//! A folder with everything that one gateway needs, an upstream, and the process that serves.
//!
//! The gateway is always a process of its own, so that what is counted is the gateway's alone:
//! client and upstream live in the test.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use portcullis::dev::certificates;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Configuration, certificates, secrets, and a store with one key.
pub(crate) struct Home {
    folder: TempDir,
    pub(crate) key: String,
}

/// A gateway that serves; ended when dropped.
pub(crate) struct Gateway {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
}

/// Production settings with one worker, as the figures in docs/performance.md have them.
const CONFIG: &str = "\
listen: { https: 127.0.0.1:0, metrics: off, admin: off }
workers: 1
tls: { certificates: [{ cert: certs/gateway.pem, key: certs/gateway-key.pem }] }
store: { embedded: store.redb }
credentials: { realm: osir, prefix: osir, pepper: { file: pepper } }
audit_log: audit.jsonl
access_log: off
scopes: { domains:read: View domains, domains:write: Manage domains }
upstreams: { domains: { endpoints: [http://UPSTREAM] } }
routes:
  - { name: domains-read, prefix: /v1/domains, methods: [GET], access: { scopes: [domains:read] }, upstream: domains }
  - { name: domains-write, prefix: /v1/domains, methods: [POST], access: { scopes: [domains:write] }, upstream: domains }
";

/// The shipped binary.
pub(crate) fn portcullis() -> Command {
    Command::new(env!("CARGO_BIN_EXE_portcullis"))
}

impl Home {
    /// Everything for a gateway before this upstream.
    pub(crate) fn build(upstream: SocketAddr) -> Home {
        let folder = tempfile::tempdir().expect("a folder");
        let hosts = ["api.osir.com"].map(String::from);
        certificates::make(&folder.path().join("certs"), &hosts).expect("certificates");
        let config = CONFIG.replace("UPSTREAM", &upstream.to_string());
        std::fs::write(folder.path().join("gateway.yaml"), config).expect("writable");
        write_private(
            &folder.path().join("pepper"),
            "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0",
        );
        let key = make_key(folder.path());
        Home { folder, key }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a gateway, its arguments given but for what belongs to this folder.
    pub(crate) fn serve(&self, mut command: Command) -> Gateway {
        let mut child = command
            .arg("serve")
            .current_dir(self.folder.path())
            .env("PORTCULLIS_LOG", "info")
            .env_remove("PORTCULLIS_ADMIN")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut log = BufReader::new(child.stderr.take().expect("piped"));
        let address = serving_at(&mut log);
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Gateway { child, address }
    }
}

fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).expect("writable");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
}

fn make_key(folder: &Path) -> String {
    let made = portcullis()
        .args(["key", "create", "--account", "acct_1", "--name", "costs"])
        .args(["--scope", "domains:read", "--scope", "domains:write"])
        .args(["--format", "json"])
        .current_dir(folder)
        .output()
        .expect("it starts");
    assert!(made.status.success(), "{made:?}");
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).expect("JSON");
    made["key"].as_str().expect("a key").to_owned()
}

/// Reads the log up to the line that says where the API is.
fn serving_at(log: &mut impl std::io::BufRead) -> SocketAddr {
    let mut all = String::new();
    loop {
        let begin = all.len();
        let read = log.read_line(&mut all).expect("a log in UTF-8");
        assert!(read > 0, "the gateway ended:\n{all}");
        let line: serde_json::Value = serde_json::from_str(&all[begin..]).unwrap_or_default();
        if line["fields"]["message"] == "serving" || line["message"] == "serving" {
            let address = line["fields"]["https"].as_str().or(line["https"].as_str());
            return address.and_then(|at| at.parse().ok()).expect("an address");
        }
    }
}

impl Gateway {
    /// Ends it in good order.
    pub(crate) fn stop(&mut self) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // An error is: it has ended.
        let _ = kill_process(id.expect("a process id"), Signal::TERM);
        self.child.wait().expect("a child");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Bytes of every answer's body.
pub(crate) const BODY: usize = 600;

/// An upstream that answers every request with the same JSON, over keep-alive.
pub(crate) fn start_upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            std::thread::spawn(move || answer_all(tcp));
        }
    });
    address
}

fn answer_all(mut tcp: TcpStream) {
    let body = format!("{{\"data\":\"{}\"}}", "x".repeat(BODY - 11));
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ndate: Tue, 24 Nov 2026 11:00:00 GMT\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    tcp.set_nodelay(true).expect("nodelay");
    let (mut buffer, mut filled) = ([0; 8 * 1024], 0);
    while let Ok(read @ 1..) = tcp.read(&mut buffer[filled..]) {
        filled += read;
        // The gateway sends one request at a time on a connection, and none here has a body.
        if buffer[..filled].ends_with(b"\r\n\r\n") {
            filled = 0;
            if tcp.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}
