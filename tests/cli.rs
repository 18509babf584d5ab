//! The command line, through the binary: exit codes, and what is printed where.

#[path = "support/redis.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "the tests of the store use more of it"
)]
mod redis;
#[path = "cli/audit.rs"]
mod audit;
#[path = "cli/dev.rs"]
mod dev;
#[path = "cli/key_report.rs"]
mod key_report;
#[path = "cli/mistakes.rs"]
mod mistakes;
#[path = "cli/paste.rs"]
mod paste;
#[path = "cli/policy.rs"]
mod policy;
#[path = "cli/registry.rs"]
mod registry;
#[path = "cli/seed.rs"]
mod seed;
#[path = "cli/store.rs"]
mod store_files;
#[path = "cli/tokens.rs"]
mod tokens;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use portcullis::clock::{Clock, Timestamp};
use portcullis::config::Config;
use portcullis::id::{AccountId, KeyId, SessionId};
use portcullis::observe::Metrics;
use portcullis::scope::ScopeSet;
use portcullis::secret::Pepper;
use portcullis::store::{
    self, CreateSession, NewSession, SessionParent, SessionRecord, StoreSettings, Touch,
};
use portcullis::token::{OpaqueFormat, OpaqueKind};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde_json::Value;
use tempfile::TempDir;

/// The binary, deaf to this process's own environment.
fn portcullis(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.current_dir(folder);
    for name in [
        "PORTCULLIS_ADMIN",
        "PORTCULLIS_ADMIN_TOKEN",
        "PORTCULLIS_LOG",
    ] {
        command.env_remove(name);
    }
    command
}

/// A folder with a valid configuration, at rest.
struct Home {
    folder: TempDir,
}

impl Home {
    fn build() -> Home {
        let home = Home {
            folder: tempfile::tempdir().expect("a folder"),
        };
        home.run(&["certs"]).succeeds();
        home.write("pepper", "0123456789abcdefghijklmnopqrstuvwxyz");
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(home.path("pepper"), private).expect("set");
        home.write("gateway.yaml", CONFIG);
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("readable")
    }

    fn run(&self, arguments: &[&str]) -> Run {
        self.run_with_input(arguments, "")
    }

    fn run_with_input(&self, arguments: &[&str], input: &str) -> Run {
        let mut child = portcullis(self.folder.path())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut stdin = child.stdin.take().expect("piped");
        // A command that reads no input may have ended already.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        Run(child.wait_with_output().expect("ends"))
    }
}

const CONFIG: &str = "\
listen: { https: 127.0.0.1:0, metrics: off, admin: off }
tls: { certificates: [{ cert: certs/gateway.pem, key: certs/gateway-key.pem }] }
store: { embedded: data/keys.redb }
credentials: { realm: osir, prefix: osir, pepper: { file: pepper }, checksum: optional }
audit_log: data/audit.jsonl
scopes: { domains:read: View domains, domains:write: Manage domains }
upstreams: { domains: { endpoints: [http://127.0.0.1:9] } }
routes:
  - name: domains-read
    prefix: /v1/domains
    methods: [GET]
    access: { scopes: [domains:read] }
    upstream: domains
";

/// How a command went.
#[derive(Debug)]
struct Run(Output);

impl Run {
    fn code(&self) -> i32 {
        self.0.status.code().expect("not killed")
    }

    fn stdout(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).expect("text")
    }

    fn stderr(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).expect("text")
    }

    fn succeeds(self) -> Run {
        assert_eq!(self.code(), 0, "{self:?}");
        self
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout()).expect("JSON on stdout")
    }
}

#[test]
fn a_command_line_that_makes_no_sense_ends_with_2() {
    let home = Home::build();
    for arguments in [
        &[][..],
        &["frobnicate"],
        &["key"],
        &["key", "create", "--account", "a", "--name", "n"],
        &[
            "key",
            "create",
            "--account",
            "a b",
            "--name",
            "n",
            "--scope",
            "x",
        ],
        &[
            "key",
            "create",
            "--account",
            "a",
            "--name",
            "n",
            "--scope",
            "x y",
        ],
        &[
            "key",
            "create",
            "--account",
            "a",
            "--name",
            "n",
            "--scope",
            "x",
            "--expires",
            "soon",
        ],
        &[
            "key",
            "create",
            "--account",
            "a",
            "--name",
            "n",
            "--scope",
            "x",
            "--allow-ip",
            "1/8",
        ],
        &[
            "key",
            "create",
            "--account",
            "a",
            "--name",
            "n",
            "--scope",
            "x",
            "--env",
            "prod",
        ],
        &["key", "show", "a b"],
        &["key", "list", "--format", "yaml"],
        &["explain", "GET", "/", "--key", "a", "--scopes", "b"],
    ] {
        let run = home.run(arguments);
        assert_eq!(
            (run.code(), run.stdout()),
            (2, String::new()),
            "{arguments:?}"
        );
    }
    assert_eq!(home.run(&["--help"]).code(), 0);
    assert_eq!(
        home.run(&["--version"]).succeeds().stdout(),
        "portcullis 0.1.0\n"
    );
}

#[test]
fn a_configuration_that_is_not_valid_ends_with_78_and_says_where() {
    let home = Home::build();
    home.run(&["check"]).succeeds();
    home.write(
        "gateway.yaml",
        &CONFIG.replace("scopes: [domains:read]", "scopes: [domains:raed]"),
    );
    for arguments in [
        &["check"][..],
        &["serve"],
        &["routes"],
        &["explain", "GET", "/"],
        &["key", "list"],
    ] {
        let run = home.run(arguments);
        assert_eq!(
            (run.code(), run.stdout()),
            (78, String::new()),
            "{arguments:?}"
        );
        assert!(run.stderr().contains("gateway.yaml:12:24"), "{run:?}");
        assert!(run.stderr().contains("domains:read"), "{run:?}");
    }
    assert_eq!(home.run(&["check", "--config", "absent.yaml"]).code(), 78);
    assert!(!home.path("data").exists(), "nothing was opened");
}

#[test]
fn the_schema_is_json_on_stdout() {
    let home = Home::build();
    let schema = home.run(&["schema"]).succeeds().json();
    assert!(schema["properties"]["routes"].is_object(), "{schema}");
}

#[test]
fn a_created_key_is_one_json_object_and_the_secret_is_nowhere_else() {
    let home = Home::build();
    let run = home
        .run(&[
            "key",
            "create",
            "--account",
            "acct_1",
            "--name",
            "CI",
            "--scope",
            "domains:write",
            "--scope",
            "domains:read",
            "--expires",
            "2999-01-01T00:00:00Z",
            "--allow-ip",
            "192.0.2.0/24",
            "--env",
            "test",
            "--format",
            "json",
        ])
        .succeeds();
    let made = run.json();
    let (id, key) = (text(&made["id"]), text(&made["key"]));
    assert_eq!(
        run.stdout(),
        format!(
            "{{\"id\":\"{id}\",\"key\":\"{key}\",\"scopes\":[\"domains:read\",\"domains:write\"],\
             \"expires_at\":\"2999-01-01T00:00:00.000Z\"}}\n"
        )
    );
    assert!(
        id.starts_with("key_") && key.starts_with("osir_test_"),
        "{made}"
    );

    // A key made by one command is known to the next; `-` keeps it out of `ps`.
    let told = home.explained(&key);
    assert!(told["checks"].to_string().contains("allow"), "{told}");

    let body = key.rsplit('_').next().expect("a body").to_owned();
    let later = [
        home.run(&["key", "list"]).succeeds(),
        home.run(&["key", "show", &id, "--format", "json"])
            .succeeds(),
        home.run(&["key", "revoke", &id]).succeeds(),
        home.run(&["key", "list", "--account", "acct_1", "--format", "json"])
            .succeeds(),
    ];
    let audit = home.read("data/audit.jsonl");
    for seen in [
        run.stderr(),
        audit.clone(),
        told.to_string(),
        format!("{later:?}"),
    ] {
        assert!(!seen.contains(&body), "{seen}");
    }
    let listed = later[3].json();
    assert_eq!(
        (&listed[0]["id"], &listed[0]["allowed_ips"][0]),
        (&made["id"], &"192.0.2.0/24".into())
    );
    assert!(listed[0]["revoked_at"].is_string());

    let lines: Vec<Value> = audit
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            (
                text(&line["event"]),
                text(&line["actor"]),
                text(&line["credential_id"]),
            )
        })
        .collect();
    let line = |event: &str| (event.to_owned(), "cli".to_owned(), id.clone());
    assert_eq!(told, [line("key_create"), line("key_revoke")]);
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

#[test]
fn for_people_the_key_is_on_stdout_once_and_the_warning_on_stderr() {
    let home = Home::build();
    let run = home.run(&[
        "key",
        "create",
        "--account",
        "a",
        "--name",
        "n",
        "--scope",
        "domains:read",
    ]);
    let run = run.succeeds();
    assert_eq!(run.stdout().matches("osir_live_").count(), 1);
    assert!(run.stderr().contains("shown this once"), "{run:?}");

    let unknown = home.run(&[
        "key",
        "create",
        "--account",
        "a",
        "--name",
        "n",
        "--scope",
        "domain:read",
    ]);
    assert_eq!(unknown.code(), 1);
    assert!(
        unknown.stderr().contains("did you mean \"domains:read\"?"),
        "{unknown:?}"
    );
    let missing = home.run(&["key", "show", "key_missing"]);
    assert_eq!(
        (missing.code(), missing.stderr().trim()),
        (1, "error: there is no key key_missing")
    );
}

#[test]
fn an_import_with_a_bad_line_ends_with_1_and_keeps_the_good_ones() {
    let home = Home::build();
    let rest = r#""account":"acct_1","name":"n","scopes":["domains:read"]"#;
    home.write(
        "keys.jsonl",
        &format!("{{\"key\":\"legacy-key-0123456789\",{rest}}}\n{{\"key\":\"short\",{rest}}}\n"),
    );
    let run = home.run(&["key", "import", "keys.jsonl"]);
    assert_eq!(
        (run.code(), run.stdout().as_str()),
        (1, "1 created, 0 there already, 1 refused\n")
    );
    assert_eq!(run.stderr(), "line 2: key: 16 to 256 characters\n");

    let good = format!("{{\"key\":\"legacy-key-0123456789\",{rest}}}");
    let again = home
        .run_with_input(&["key", "import", "-", "--format", "json"], &good)
        .succeeds();
    assert_eq!(
        (&again.json()["created"], &again.json()["existing"]),
        (&0.into(), &1.into())
    );
    assert_eq!(home.run(&["key", "import", "absent.jsonl"]).code(), 1);
    assert!(!home.read("data/audit.jsonl").contains("legacy-key"));
}

#[test]
fn a_store_held_by_a_gateway_without_an_admin_api_is_told_in_words() {
    let home = Home::build();
    home.run(&["key", "list"]).succeeds();
    let path = home.path("data/keys.redb");
    let settings = StoreSettings::Embedded { path };
    let held = store::open(&settings, &Clock::system(), &Metrics::new()).expect("opens");
    let run = home.run(&["key", "list"]);
    assert_eq!(run.code(), 1);
    assert!(run.stderr().contains("listen.admin"), "{run:?}");
    drop(held);
}

#[test]
fn a_reader_who_went_away_is_no_error() {
    let home = Home::build();
    let mut child = portcullis(home.folder.path())
        .arg("schema")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    drop(child.stdout.take());
    let run = Run(child.wait_with_output().expect("ends"));
    assert_eq!((run.code(), run.stderr()), (0, String::new()));
}

#[test]
fn certs_makes_a_chain_that_verifies_and_keeps_its_ca() {
    let home = Home::build();
    let ca = home.read("certs/ca.pem");
    for host in [
        "localhost",
        "127.0.0.1",
        "::1",
        "api.osir.test",
        "osir.com",
        "api.osir.com",
    ] {
        assert_eq!(verify(&home.path("certs"), host), Ok(()), "{host}");
    }
    assert!(verify(&home.path("certs"), "example.com").is_err());
    for key in ["certs/ca-key.pem", "certs/gateway-key.pem"] {
        let mode = fs::metadata(home.path(key))
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }

    home.run(&["certs", "--host", "example.com"]).succeeds();
    assert_eq!(home.read("certs/ca.pem"), ca);
    assert_eq!(verify(&home.path("certs"), "example.com"), Ok(()));
    assert!(verify(&home.path("certs"), "localhost").is_err());

    // Half a CA is not silently replaced: someone trusts it.
    fs::remove_file(home.path("certs/ca-key.pem")).expect("removed");
    let refused = home.run(&["certs"]);
    assert_eq!(refused.code(), 1);
    assert!(
        refused.stderr().contains("ca-key.pem: missing"),
        "{refused:?}"
    );
    assert_eq!(home.read("certs/ca.pem"), ca);
    assert_eq!(
        home.run(&["certs", "--out", "other", "--host", "a\u{e4}"])
            .code(),
        2
    );
}

fn verify(folder: &Path, host: &str) -> Result<(), rustls::Error> {
    let read = |name: &str| CertificateDer::from_pem_file(folder.join(name)).expect("PEM");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(read("ca.pem")).expect("a CA");
    let provider = Arc::new(default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = verifier.build().expect("a verifier");
    let name = ServerName::try_from(host).expect("a name");
    let leaf = read("gateway.pem");
    verifier
        .verify_server_cert(&leaf, &[], &name, &[], UnixTime::now())
        .map(drop)
}

/// `portcullis serve`, ended by its process id.
struct Served(Child);

impl Served {
    fn start(home: &Home) -> Served {
        let child = portcullis(home.folder.path())
            .arg("serve")
            .stdout(Stdio::null())
            .stderr(fs::File::create(home.path("serve.log")).expect("made"))
            .spawn()
            .expect("starts");
        let mut served = Served(child);
        eventually(|| {
            assert!(
                served.0.try_wait().expect("a child").is_none(),
                "{}",
                home.read("serve.log")
            );
            home.read("serve.log").contains("\"serving\"").then_some(())
        });
        served
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_file_that_is_broken_meanwhile_keeps_nobody_from_revoking_a_key() {
    let home = Home::build();
    let config = CONFIG.replace("admin: off", "admin: unix:data/admin.sock");
    home.write("gateway.yaml", &config);
    let key = home.run(&[
        "key",
        "create",
        "--account",
        "a",
        "--name",
        "n",
        "--scope",
        "domains:read",
        "--format",
        "json",
    ]);
    let id = text(&key.succeeds().json()["id"]);
    let _served = Served::start(&home);
    home.write(
        "gateway.yaml",
        &config.replace("scopes: [domains:read]", "scopes: [domains:raed]"),
    );
    let run = home.run(&["key", "revoke", &id]).succeeds();
    assert!(
        run.stderr().contains("gateway.yaml is not valid"),
        "{run:?}"
    );
    let shown = home
        .run(&["key", "show", &id, "--format", "json"])
        .succeeds()
        .json();
    assert!(!shown["revoked_at"].is_null(), "{shown}");
    assert_eq!(
        home.run(&["explain", "GET", "/v1/domains"]).code(),
        1,
        "it answers, and denies"
    );
}

#[test]
fn certs_leaves_someones_own_certificate_alone() {
    let home = Home::build();
    for name in ["ca.pem", "ca-key.pem"] {
        fs::remove_file(home.path("certs").join(name)).expect("removed");
    }
    let (cert, key) = (
        home.read("certs/gateway.pem"),
        home.read("certs/gateway-key.pem"),
    );
    let run = home.run(&["certs"]);
    assert_eq!(run.code(), 1);
    assert!(
        run.stderr().contains("gateway.pem: not made here"),
        "{run:?}"
    );
    assert_eq!(
        (
            home.read("certs/gateway.pem"),
            home.read("certs/gateway-key.pem")
        ),
        (cert, key)
    );
    assert!(!home.path("certs/ca.pem").exists());
}

/// Until it is there; a process that starts has no channel to tell it by.
fn eventually<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    for _ in 0..3_000 {
        if let Some(value) = attempt() {
            return value;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("not within 30 seconds");
}

/// The same configuration with an admin socket, for a gateway that runs.
fn with_admin() -> String {
    CONFIG.replace("admin: off", "admin: unix:data/admin.sock")
}

impl Home {
    /// A key that may read domains: its id and secret.
    fn key(&self) -> (String, String) {
        let arguments = [
            "--account",
            "acct_1",
            "--name",
            "n",
            "--scope",
            "domains:read",
            "--format",
            "json",
        ];
        let made = self.run(&[&["key", "create"], &arguments[..]].concat());
        let made = made.succeeds().json();
        (text(&made["id"]), text(&made["key"]))
    }

    /// Does something with the store, while nothing else has it.
    fn with_store<T>(&self, work: impl AsyncFnOnce(Arc<dyn store::Store>) -> T) -> T {
        let config = Config::load(&self.path("gateway.yaml"));
        let settings = config.unwrap_or_else(|problems| panic!("{problems}")).store;
        fs::create_dir_all(self.path("data")).expect("made");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async {
            let store = store::open(&settings, &Clock::system(), &Metrics::new()).expect("opens");
            work(store).await
        })
    }

    /// As the gateway gives one: its id and token.
    fn session(&self, key: &str) -> (String, String) {
        let now = Clock::system().now();
        let minted = OpaqueFormat::new("osir").mint(OpaqueKind::Session);
        let token = minted.secret.expose().to_owned();
        let record = SessionRecord {
            id: SessionId::random(),
            parent: SessionParent::Key(KeyId::parse(key).expect("an id")),
            subject: "acct_1".into(),
            account: AccountId::parse("acct_1").ok(),
            client: None,
            resource: None,
            environment: store::Environment::Live,
            scopes: ScopeSet::parse("domains:read").expect("scopes"),
            created_at: now,
            expires_at: now.plus(Duration::from_secs(3600)),
            idle_timeout: None,
            ended_at: None,
            allowed_ips: Vec::new(),
            label: "CI".into(),
            hint: minted.hint,
        };
        let id = record.id.to_string();
        let new = NewSession {
            digest: pepper().digest(minted.secret.expose()),
            record,
            cap: 100,
        };
        let created = self.with_store(async |store| store.create_session(new).await);
        assert_eq!(created.expect("written"), CreateSession::Created);
        (id, token)
    }

    /// What becomes of a request with this key, step by step.
    fn explained(&self, key: &str) -> Value {
        let explain = [
            "explain",
            "GET",
            "/v1/domains",
            "--key",
            "-",
            "--format",
            "json",
        ];
        self.run_with_input(&explain, &format!("{key}\n")).json()
    }

    fn verdict(&self, key: &str) -> String {
        text(&self.explained(key)["verdict"])
    }

    fn audit_lines(&self, event: &str) -> usize {
        let event = format!("\"event\":\"{event}\"");
        self.read("data/audit.jsonl").matches(&event).count()
    }
}

fn pepper() -> Pepper {
    Pepper::new(b"0123456789abcdefghijklmnopqrstuvwxyz").expect("strong")
}

/// `key rotate` in full: the same whether or not the gateway runs.
fn rotates(home: &Home, id: &str, old: &str) {
    let rotate = |overlap: &str, request: &str| {
        home.run(&[
            "key",
            "rotate",
            id,
            "--overlap",
            overlap,
            "--request-id",
            request,
            "--format",
            "json",
        ])
    };
    let first = rotate("1h", "wish-1").succeeds();
    let rotated = first.json();
    let new = text(&rotated["key"]);
    assert_eq!(text(&rotated["id"]), id);
    assert!(new.starts_with("osir_live_") && new != old, "{rotated}");
    assert_eq!(rotated["scopes"], serde_json::json!(["domains:read"]));
    let again = rotate("1h", "wish-1").succeeds();
    assert_eq!(
        again.stdout(),
        first.stdout(),
        "the same wish, the same answer"
    );
    assert_eq!(home.audit_lines("key_rotate"), 1);
    for key in [old, &new] {
        eventually(|| (home.verdict(key) == "allow").then_some(()));
    }
    let third = rotate("1h", "wish-2");
    assert_eq!((third.code(), third.stdout()), (1, String::new()));
    assert!(
        third
            .stderr()
            .contains("two secrets of this key work until"),
        "{third:?}"
    );
    let shown = home.run(&["key", "show", id, "--format", "json"]);
    let shown = shown.succeeds().json();
    assert_eq!(
        shown["rotation"]["previous_ends_at"],
        rotated["previous_ends_at"]
    );
    assert!(!shown.to_string().contains(&new), "{shown}");

    let last = rotate("0s", "wish-3").succeeds().json();
    assert_eq!(home.audit_lines("key_rotate"), 2);
    for dead in [old, &new] {
        eventually(|| (home.verdict(dead) == "deny").then_some(()));
    }
    eventually(|| (home.verdict(&text(&last["key"])) == "allow").then_some(()));
    assert_eq!(rotate("31d", "wish-4").code(), 1, "30 days at most");
    home.run(&["key", "revoke", id]).succeeds();
    assert_eq!(rotate("0s", "wish-5").code(), 1, "a revoked key stays so");
}

#[test]
fn a_key_is_rotated_with_the_gateway_stopped() {
    let home = Home::build();
    let (id, old) = home.key();
    rotates(&home, &id, &old);
}

#[test]
fn a_key_is_rotated_with_the_gateway_running() {
    let home = Home::build();
    home.write("gateway.yaml", &with_admin());
    let (id, old) = home.key();
    let _served = Served::start(&home);
    rotates(&home, &id, &old);
}

#[test]
fn key_show_tells_when_the_old_secret_was_last_seen() {
    let home = Home::build();
    let (id, old) = home.key();
    home.run(&["key", "rotate", &id]).succeeds();
    let shown = || {
        let shown = home.run(&["key", "show", &id, "--format", "json"]);
        shown.succeeds().json()["rotation"].clone()
    };
    assert_eq!(shown()["previous_last_seen"], Value::Null);
    let seen_at = Timestamp::from_secs(1_790_000_000);
    let touch = Touch {
        digest: pepper().digest(&old),
        seen_at,
        keep_until: None,
    };
    let touched = home.with_store(async |store| store.touch(vec![touch]).await);
    touched.expect("written");
    assert_eq!(
        (&shown()["previous_last_seen"], &shown()["last_seen"]),
        (&Value::from(seen_at.to_string()), &Value::Null)
    );
}

#[test]
fn a_rotation_for_people_shows_the_secret_on_stdout_once() {
    let home = Home::build();
    let (id, _) = home.key();
    let run = home.run(&["key", "rotate", &id]).succeeds();
    assert_eq!(run.stdout().matches("osir_live_").count(), 1);
    assert!(!run.stderr().contains("osir_live_"), "{run:?}");
    for arguments in [
        &["key", "rotate"][..],
        &["key", "rotate", &id, "--overlap", "soon"],
        &["key", "rotate", &id, "--request-id", "a b"],
        &["session", "end-all"],
        &["session", "end-all", "--everyone", "--key", &id],
        &["session", "end"],
    ] {
        assert_eq!(home.run(arguments).code(), 2, "{arguments:?}");
    }
}

/// `session list|end|end-all`: the same whether or not the gateway runs.
fn ends_sessions(home: &Home, (one, other): (&str, &str), sessions: &[String; 4]) {
    let listed = |arguments: &[&str]| {
        let mut all = vec!["session", "list", "--format", "json"];
        all.extend(arguments);
        let list = home.run(&all).succeeds().json();
        let ids = list.as_array().expect("a list").iter();
        let mut ids: Vec<String> = ids.map(|session| text(&session["id"])).collect();
        ids.sort();
        ids
    };
    let sorted = |ids: &[String]| {
        let mut ids = ids.to_vec();
        ids.sort();
        ids
    };
    assert_eq!(listed(&[]), sorted(sessions));
    assert_eq!(listed(&["--key", one]), sorted(&sessions[..3]));
    assert_eq!(listed(&["--key", other]), sessions[3..]);
    assert_eq!(listed(&["--account", "acct_2"]), [""; 0]);
    let table = home.run(&["session", "list"]).succeeds().stdout();
    assert!(
        table.starts_with("ID") && table.contains(&sessions[0]) && table.contains("CI"),
        "{table}"
    );

    let end = ["session", "end", &sessions[0], "--format", "json"];
    let ended = home.run(&end).succeeds().json();
    assert!(ended["ended_at"].is_string(), "{ended}");
    assert_eq!(
        home.run(&end).succeeds().json()["ended_at"],
        ended["ended_at"],
        "to repeat it is safe"
    );
    assert_eq!(listed(&["--key", one]), sorted(&sessions[1..3]));
    let unknown = home.run(&["session", "end", "ses_none"]);
    assert_eq!(
        (unknown.code(), unknown.stderr().trim()),
        (1, "error: there is no session ses_none")
    );

    let all = ["session", "end-all", "--key", one, "--format", "json"];
    let ended = home.run(&all).succeeds().json();
    assert_eq!(ended["ended"].as_array().map(Vec::len), Some(2), "{ended}");
    assert_eq!(listed(&[]), sessions[3..]);
    let rest = home.run(&["session", "end-all", "--everyone"]).succeeds();
    assert_eq!(rest.stdout(), "sessions ended: 1\n");
    assert_eq!(listed(&[]), [""; 0]);
    assert_eq!(home.audit_lines("session_end"), 4);
}

/// Two keys, three sessions of the one and one of the other.
fn with_sessions(home: &Home) -> ((String, String), [String; 4]) {
    let ((one, _), (other, _)) = (home.key(), home.key());
    let sessions = [&one, &one, &one, &other].map(|key| home.session(key).0);
    ((one, other), sessions)
}

#[test]
fn sessions_are_listed_and_ended_with_the_gateway_stopped() {
    let home = Home::build();
    let ((one, other), sessions) = with_sessions(&home);
    ends_sessions(&home, (&one, &other), &sessions);
}

#[test]
fn sessions_are_listed_and_ended_with_the_gateway_running() {
    let home = Home::build();
    home.write("gateway.yaml", &with_admin());
    let ((one, other), sessions) = with_sessions(&home);
    let _served = Served::start(&home);
    ends_sessions(&home, (&one, &other), &sessions);
}
