//! `portcullis dev`: what it makes, keeps and tells.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use portcullis::admin::{AdminAddress, AdminClient};
use portcullis::secret::Secret;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{Run, eventually, portcullis, text};

/// `portcullis dev`, ended by its process id.
pub(super) struct Dev {
    child: Child,
    pub(super) ready: Value,
    /// What it has printed, which is all when it is ready.
    pub(super) printed: String,
}

impl Dev {
    pub(super) fn start(folder: &Path) -> Dev {
        Dev::start_with(folder, &[])
    }

    pub(super) fn start_with(folder: &Path, more: &[&str]) -> Dev {
        // A file, so that nobody has to read while it runs.
        let stdout = folder.join("dev.out");
        let mut child = portcullis(folder)
            .args(["dev", "--ready-file", "ready.json"])
            .args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"])
            .args(["--metrics", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(more)
            .stdout(fs::File::create(&stdout).expect("made"))
            .stderr(fs::File::create(folder.join("dev.log")).expect("made"))
            .spawn()
            .expect("starts");
        let ready = eventually(|| {
            let ended = child.try_wait().expect("a child");
            let log = || fs::read_to_string(folder.join("dev.log"));
            assert!(ended.is_none(), "ended: {:?}", log());
            fs::read_to_string(folder.join("ready.json")).ok()
        });
        fs::remove_file(folder.join("ready.json")).expect("removed");
        Dev {
            child,
            ready: serde_json::from_str(&ready).expect("JSON"),
            printed: fs::read_to_string(stdout).expect("text"),
        }
    }

    pub(super) fn address(&self, listener: &str) -> SocketAddr {
        text(&self.ready[listener]).parse().expect("an address")
    }

    pub(super) fn stop(mut self) {
        let id = i32::try_from(self.child.id()).expect("a process id");
        let id = Pid::from_raw(id).expect("not zero");
        kill_process(id, Signal::TERM).expect("signalled");
        assert_eq!(self.child.wait().expect("ends").code(), Some(0));
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // A test that failed before `stop`. Both fail where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn dev_starts_from_nothing_survives_a_restart_and_is_managed_over_its_admin_api() {
    let folder = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(folder.path());
    let state = folder.path().join(".portcullis");
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    for secret in [
        "pepper",
        "admin-token",
        "dev-keys.json",
        "dev-client.json",
        "dev-user.json",
        "certs/ca-key.pem",
    ] {
        assert_eq!(mode(&state.join(secret)), 0o600, "{secret}");
    }

    // Row 109: no core dump.
    let limits = fs::read_to_string(format!("/proc/{}/limits", dev.child.id())).expect("Linux");
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    assert_eq!(
        core.expect("listed").split_whitespace().collect::<Vec<_>>()[4..6],
        ["0", "0"]
    );

    let refused = plain_http(dev.address("http"), "GET /v1/domains");
    assert!(refused.starts_with("HTTP/1.1 426 "), "{refused}");
    let health = plain_http(dev.address("metrics"), "GET /healthz");
    assert!(health.ends_with("\r\n\r\nok"), "{health}");

    let manage = |arguments: &[&str]| manage(&dev, folder.path(), arguments);
    let keys = manage(&["key", "list"]).succeeds().json();
    assert_eq!(keys.as_array().map(Vec::len), Some(2));
    let read_only = text(&dev.ready["keys"]["read_only"]["key"]);
    let explain = |method| manage(&["explain", method, "/v1/domains", "--key", &read_only]);
    assert_eq!((explain("GET").code(), explain("POST").code()), (0, 1));
    let intruder = manage_with(&dev, folder.path(), &["key", "list"], "0000000000000000");
    assert_eq!(intruder.code(), 1);
    assert!(
        intruder
            .stderr()
            .contains("the admin token is missing or wrong"),
        "{intruder:?}"
    );
    assert!(
        intruder.stderr().contains("PORTCULLIS_ADMIN_TOKEN"),
        "{intruder:?}"
    );
    assert!(
        !dev.printed.contains("export"),
        "a variable that stays sends later commands to the demo: {}",
        dev.printed
    );

    let first = made(&dev);
    dev.stop();

    let again = Dev::start(folder.path());
    assert_eq!(made(&again), first, "everything survives a restart");

    // A second one that cannot start changes nothing of the first.
    let config = fs::read_to_string(state.join("gateway.yaml")).expect("there");
    let certificate = fs::read(state.join("certs/gateway.pem")).expect("there");
    let second = portcullis(folder.path())
        .args(["dev", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"])
        .args(["--metrics", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .output()
        .expect("runs");
    let second = Run(second);
    let words = "error: another portcullis dev uses .portcullis: stop it, or use --state OTHER\n";
    assert_eq!((second.code(), second.stderr().as_str()), (1, words));
    assert_eq!(
        fs::read_to_string(state.join("gateway.yaml")).expect("there"),
        config
    );
    let kept = fs::read(state.join("certs/gateway.pem")).expect("there");
    assert!(kept == certificate, "nothing was written");
    again.stop();
}

fn plain_http(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("not zero");
    let request = format!("{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("taken");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    String::from_utf8(answer).expect("text")
}

/// What opens the demo, and the server's key that browsers are told to accept.
fn made(dev: &Dev) -> Value {
    let (ready, printed) = (&dev.ready, &dev.printed);
    let accepted = printed.lines().find(|line| line.contains("spki-list="));
    json!([
        accepted.expect("printed"),
        ready["keys"],
        ready["client"],
        ready["user"],
        ready["authorize_url"]
    ])
}

#[test]
fn the_ready_file_tells_the_client_the_user_and_the_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(folder.path());
    let (client, user) = (&dev.ready["client"], &dev.ready["user"]);
    assert_eq!(client["redirect_uri"], "https://yourapp.com/callback");
    assert_eq!(user["name"], "alice");
    assert_eq!(
        dev.ready["authorize_url"],
        format!(
            "https://osir.com/oauth/authorize?client_id={}&redirect_uri=https://yourapp.com/callback\
             &response_type=code&scope=domains:read%20domains:write",
            text(&client["client_id"])
        )
    );
    let admin = |arguments: &[&str]| manage(&dev, folder.path(), arguments).succeeds().json();
    let shown = admin(&["client", "show", &text(&client["client_id"])]);
    assert_eq!(shown["name"], "Your App");
    assert_eq!(shown["kind"], "confidential");
    // The page that `dev` serves, and an app of one's own on this machine.
    let redirects = json!([client["redirect_uri"], "http://127.0.0.1/callback"]);
    assert_eq!(shown["redirects"], redirects);
    let alice = admin(&["user", "show", "alice"]);
    let all = json!([
        "billing:read",
        "billing:write",
        "domains:read",
        "domains:write",
        "email:read",
        "email:write",
        "vps:read",
        "vps:write"
    ]);
    assert_eq!((&alice["scopes"], &shown["scopes"]), (&all, &all));
    dev.stop();
}

#[test]
fn the_gateway_that_runs_tells_the_same_routes_as_its_configuration() {
    let folder = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(folder.path());
    let token = fs::read_to_string(text(&dev.ready["admin_token_file"])).expect("readable");
    let address = AdminAddress::Tcp(dev.address("admin"));
    let admin = AdminClient::new(address, Some(&Secret::new(token))).expect("loopback");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let live = runtime.block_on(admin.routes()).expect("an answer");
    let config = [".portcullis/gateway.yaml", "--format", "json"];
    let told = portcullis(folder.path())
        .args(["routes", "--config"])
        .args(config)
        .output();
    assert_eq!(live, Run(told.expect("runs")).succeeds().json());
    let own = |row: &&Value| text(&row["route"]).starts_with("own:");
    assert_eq!(
        live.as_array().expect("a list").iter().filter(own).count(),
        13
    );
    dev.stop();
}

/// What is told always works: what somebody ended meanwhile is made anew, and nothing else.
#[test]
fn what_was_ended_meanwhile_is_made_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(folder.path());
    let first = dev.ready.clone();
    let client = text(&first["client"]["client_id"]);
    manage(&dev, folder.path(), &["client", "rotate-secret", &client]).succeeds();
    manage(&dev, folder.path(), &["user", "disable", "alice"]).succeeds();
    dev.stop();

    let dev = Dev::start(folder.path());
    assert_eq!(dev.ready["keys"], first["keys"]);
    assert_ne!(
        dev.ready["client"]["client_id"],
        first["client"]["client_id"]
    );
    assert_eq!(dev.ready["user"], first["user"]);
    let alice = manage(&dev, folder.path(), &["user", "show", "alice"]);
    assert_eq!(alice.succeeds().json()["disabled_at"], Value::Null);
    let key = text(&first["keys"]["full"]["id"]);
    manage(&dev, folder.path(), &["key", "revoke", &key]).succeeds();
    let second = dev.ready.clone();
    dev.stop();

    // The files are lost, the store is not: the same user gets another password.
    fs::remove_file(folder.path().join(".portcullis/dev-user.json")).expect("removed");
    let dev = Dev::start(folder.path());
    assert_ne!(dev.ready["keys"], second["keys"]);
    assert_eq!(dev.ready["client"], second["client"]);
    assert_ne!(dev.ready["user"], second["user"]);
    assert_eq!(dev.ready["user"]["name"], "alice");
    dev.stop();
}

/// A management command to its admin API.
pub(super) fn manage(dev: &Dev, folder: &Path, arguments: &[&str]) -> Run {
    let token = fs::read_to_string(text(&dev.ready["admin_token_file"])).expect("readable");
    manage_with(dev, folder, arguments, &token)
}

fn manage_with(dev: &Dev, folder: &Path, arguments: &[&str], token: &str) -> Run {
    let mut command: Command = portcullis(folder);
    command.args(arguments).args(["--format", "json"]);
    command.env("PORTCULLIS_ADMIN", text(&dev.ready["admin"]));
    command.env("PORTCULLIS_ADMIN_TOKEN", token);
    Run(command.output().expect("runs"))
}
