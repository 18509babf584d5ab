//! Gateways of one fleet, each a process in a folder of its own, and the command line beside them.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use portcullis::clock::Clock;
use portcullis::token::jwt::{SignatureAlgorithm, SigningKey};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::Tls;
use crate::redis_server::{PASSWORD, RedisServer, eventually};
use crate::upstream::Upstream;

/// An issuer beside the gateway's own.
pub const IDP: &str = "https://idp.example";

/// How old a lease may be in these tests.
pub const STALE: &str = "40s";

/// Redis, an upstream, what gateways share, and the gateways.
pub struct Fleet<R = RedisServer> {
    pub redis: R,
    pub gateways: Vec<Gateway>,
    _upstream: Upstream,
    folder: TempDir,
    config: String,
    key: SigningKey,
}

/// One process.
pub struct Gateway {
    child: Child,
    home: PathBuf,
    tls: Tls,
    pub instance: String,
}

/// How a command went.
#[derive(Debug)]
pub struct Run(Output);

impl Fleet {
    pub fn start(count: usize) -> Fleet {
        let redis = RedisServer::start();
        let place = format!("url: \"{}\"", redis.url());
        Fleet::on(redis, &place, count)
    }
}

impl<R> Fleet<R> {
    /// On servers that `place` says, as beneath `store.redis`.
    pub fn on(redis: R, place: &str, count: usize) -> Fleet<R> {
        let folder = tempfile::tempdir().expect("a folder");
        let upstream = Upstream::start();
        let (key, _) = SigningKey::generate(SignatureAlgorithm::Es256).expect("a key");
        let jwks = format!(r#"{{"keys":[{}]}}"#, key.public_jwk());
        fs::write(folder.path().join("jwks.json"), jwks).expect("written");
        for (name, secret) in [
            ("pepper", "0123456789abcdefghijklmnopqrstuvwxyz"),
            ("redis-password", PASSWORD),
        ] {
            let path = folder.path().join(name);
            fs::write(&path, secret).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("set");
        }
        let certs = ["certs", "--host", "api.osir.com", "--host", "osir.com"];
        Run::of(folder.path(), &certs, "").succeeds();
        let mut fleet = Fleet {
            config: config(place, upstream.address),
            gateways: Vec::new(),
            redis,
            _upstream: upstream,
            folder,
            key,
        };
        // For a command line that finds no gateway through its configuration.
        fleet.write_home(
            "desk",
            &fleet.config.replace("admin: unix:admin.sock", "admin: off"),
        );
        for number in 0..count {
            fleet.join(&format!("gateway-{number}"));
        }
        fleet
    }

    /// Another gateway.
    pub fn join(&mut self, name: &str) {
        let home = self.write_home(name, &self.config);
        let ca = self.folder.path().join("certs/ca.pem");
        self.gateways.push(Gateway::start(home, &ca));
    }

    fn write_home(&self, name: &str, config: &str) -> PathBuf {
        let home = self.folder.path().join(name);
        fs::create_dir_all(&home).expect("made");
        fs::write(home.join("gateway.yaml"), config).expect("written");
        home
    }

    /// A command on the first gateway.
    pub fn run(&self, arguments: &[&str]) -> Run {
        Run::of(&self.gateways[0].home, arguments, "")
    }

    /// A command directly on the store.
    pub fn run_on_store(&self, arguments: &[&str]) -> Run {
        Run::of(&self.folder.path().join("desk"), arguments, "")
    }

    /// A command on the first gateway, with an input and with JSON for its answer.
    pub fn tell(&self, arguments: &[&str], input: &str) -> Value {
        let arguments = [arguments, &["--format", "json"]].concat();
        Run::of(&self.gateways[0].home, &arguments, input)
            .succeeds()
            .json()
    }

    /// A key that may read domains: its id and itself.
    pub fn key(&self, account: &str) -> (String, String) {
        let create = ["key", "create", "--account", account, "--name", "n"];
        let made = self.tell(&[&create[..], &["--scope", "domains:read"]].concat(), "");
        (text(&made["id"]), text(&made["key"]))
    }

    /// A session of a key: its id and token.
    pub fn session(&self, key: &str) -> (String, String) {
        let answer = self.gateways[0].send(&format!(
            "POST /auth/sessions HTTP/1.1\r\nhost: api.osir.com\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
        ));
        assert_eq!(answer.0, 201, "{answer:?}");
        let made: Value = serde_json::from_str(&answer.1).expect("JSON");
        (text(&made["session_id"]), text(&made["session_token"]))
    }

    /// An access token of the other issuer.
    pub fn token(&self, jti: &str, change: impl FnOnce(&mut Value)) -> String {
        let now = Clock::system().now().as_secs();
        let mut claims = json!({
            "iss": IDP, "aud": "api", "sub": "user-7", "client_id": "app-1", "jti": jti,
            "iat": now, "exp": now + 3600, "scope": "domains:read",
        });
        change(&mut claims);
        self.key.sign("at+jwt", &claims).expect("signed")
    }

    /// What each gateway says to a credential.
    pub fn verdicts(&self, credential: &str) -> Vec<u16> {
        let gateways = self.gateways.iter();
        gateways.map(|gateway| gateway.get(credential)).collect()
    }

    /// The list, as the first gateway tells it.
    pub fn list(&self) -> Value {
        self.tell(&["fleet"], "")
    }

    /// Waits until each instance that is listed is in one of these states, by instance.
    pub fn await_states(&self, states: &[(&str, &str)]) {
        let mut states: Vec<(String, String)> = states
            .iter()
            .map(|(instance, state)| ((*instance).into(), (*state).into()))
            .collect();
        states.sort();
        eventually("the list is as it should be", || {
            (listed(&self.list()) == states).then_some(())
        });
    }
}

/// Instances and their states.
pub fn listed(list: &Value) -> Vec<(String, String)> {
    let instances = list["instances"].as_array().expect("a list").iter();
    instances
        .map(|each| (text(&each["instance"]), text(&each["state"])))
        .collect()
}

fn config(place: &str, upstream: SocketAddr) -> String {
    format!(
        "listen: {{ https: 127.0.0.1:0, metrics: off, admin: unix:admin.sock }}\n\
         tls: {{ certificates: [{{ cert: ../certs/gateway.pem, key: ../certs/gateway-key.pem }}] }}\n\
         store: {{ redis: {{ {place}, timeout: 1s }} }}\n\
         credentials: {{ realm: osir, prefix: osir, pepper: {{ file: ../pepper }}, cache: {{ fresh: 10s, stale: {STALE} }} }}\n\
         access_tokens:\n  - {{ issuer: https://osir.com, builtin: true, audience: https://api.osir.com }}\n  \
           - {{ issuer: {IDP}, jwks: ../jwks.json, audience: api, algorithms: [ES256] }}\n\
         oauth: {{ issuer: https://osir.com }}\n\
         audit_log: audit.jsonl\nworkers: 1\n\
         scopes: {{ \"domains:read\": View domains }}\n\
         upstreams: {{ domains: {{ endpoints: [http://{upstream}] }} }}\n\
         routes:\n  - {{ name: domains-read, prefix: /v1/domains, methods: [GET], access: {{ scopes: [domains:read] }}, upstream: domains }}\n"
    )
}

impl Gateway {
    fn start(home: PathBuf, ca: &Path) -> Gateway {
        let log = home.join("serve.log");
        let mut child = portcullis(&home)
            .arg("serve")
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).expect("made"))
            .spawn()
            .expect("starts");
        let (https, instance) = eventually("the gateway serves", || {
            let ended = child.try_wait().expect("our own child");
            let log = fs::read_to_string(&log).expect("readable");
            assert!(ended.is_none(), "{log}");
            let lines = log
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok());
            let lines: Vec<Value> = lines.collect();
            let field = |name: &str| {
                let mut found = lines
                    .iter()
                    .filter_map(|line| line["fields"][name].as_str());
                found.next().map(str::to_owned)
            };
            Some((field("https")?, field("instance")?))
        });
        let tls = Tls::new(https.parse().expect("an address"), ca, "api.osir.com");
        Gateway {
            child,
            home,
            tls,
            instance,
        }
    }

    /// The status that this credential gets.
    pub fn get(&self, credential: &str) -> u16 {
        let head = "GET /v1/domains HTTP/1.1\r\nhost: api.osir.com";
        self.send(&format!(
            "{head}\r\nauthorization: Bearer {credential}\r\n\r\n"
        ))
        .0
    }

    /// Status and body.
    pub fn send(&self, request: &str) -> (u16, String) {
        let mut connection = self.tls.connect();
        connection.send(request);
        let answer = connection.answer();
        (answer.status, answer.body)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    pub fn name(&self, list: &Value) -> String {
        let instances = list["instances"].as_array().expect("a list").iter();
        let mut own = instances.filter(|each| each["instance"] == *self.instance);
        text(&own.next().expect("it is listed")["name"])
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("our own child");
    }

    /// Stops the process without ending it.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        let stat = format!("/proc/{}/stat", self.pid());
        eventually("the process stands still", || {
            let stat = fs::read_to_string(&stat).expect("it runs");
            stat.contains(") T ").then_some(())
        });
    }

    /// Waits for its end; whether that was in order.
    pub fn ends_well(&mut self) -> bool {
        self.child.wait().expect("our own child").success()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // SIGKILL also ends a process that stands still.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

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

impl Run {
    pub fn of(folder: &Path, arguments: &[&str], input: &str) -> Run {
        use std::io::Write as _;
        let mut child = portcullis(folder)
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

    pub fn code(&self) -> i32 {
        self.0.status.code().expect("not killed")
    }

    pub fn stdout(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).expect("text")
    }

    pub fn stderr(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).expect("text")
    }

    pub fn succeeds(self) -> Run {
        assert_eq!(self.code(), 0, "{self:?}");
        self
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout()).expect("JSON on stdout")
    }
}

pub fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// One HTTP request on an admin socket: status and body.
pub fn ask(socket: &Path, method: &str, path: &str, body: &str) -> (u16, Value) {
    use std::io::{Read as _, Write as _};
    let mut stream = std::os::unix::net::UnixStream::connect(socket).expect("it listens");
    let head = "host: localhost\r\nconnection: close\r\ncontent-type: application/json";
    let length = body.len();
    let request =
        format!("{method} {path} HTTP/1.1\r\n{head}\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.get(9..12).and_then(|status| status.parse().ok());
    (
        status.expect("a status"),
        serde_json::from_str(body).expect("JSON"),
    )
}
