//! Real `redis-server` processes for tests: each on a free port in a folder of its own, ended by its
//! pid when the test ends.
//!
//! A server that cannot be started fails the test: nothing is skipped. Tests give commands of their
//! own over its unix socket, whatever the port demands.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use portcullis::secret::Secret;
use portcullis::store::{RedisCertificate, RedisSettings};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(20);

/// The user that tests of passwords are, beside Redis' `default`.
pub const USER: &str = "gateway";
/// Both users' password, where there is one.
pub const PASSWORD: &str = "a-password-to-look-for";

/// What a server demands of those who come to its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demands {
    Nothing,
    /// [`PASSWORD`] from everybody; [`USER`] may only do what a gateway has to.
    Password,
    /// `deploy/redis/users.acl` as it stands, with [`PASSWORD`] for each of its users.
    Hardened,
    /// TLS under a CA of its own.
    Tls,
    /// That, and a certificate of the client's.
    Certificate,
}

impl Demands {
    fn a_password(self) -> bool {
        matches!(self, Demands::Password | Demands::Hardened)
    }

    fn tls(self) -> bool {
        matches!(self, Demands::Tls | Demands::Certificate)
    }
}

/// A running, paused or killed server.
pub struct RedisServer {
    port: u16,
    child: Option<Child>,
    folder: TempDir,
    demands: Demands,
    options: Vec<String>,
    environment: Vec<(String, String)>,
}

impl RedisServer {
    pub fn start() -> RedisServer {
        RedisServer::demanding(Demands::Nothing, &[])
    }

    /// With further options of `redis-server`.
    pub fn demanding(demands: Demands, options: &[&str]) -> RedisServer {
        RedisServer::demanding_in(demands, options, &[])
    }

    /// Also with more in its environment.
    pub fn demanding_in(
        demands: Demands,
        options: &[&str],
        environment: &[(String, String)],
    ) -> RedisServer {
        let folder = tempfile::tempdir().expect("a folder can be made");
        write_acl(folder.path(), demands);
        write_certificates(folder.path());
        let mut server = RedisServer {
            port: 0,
            child: None,
            folder,
            demands,
            options: options.iter().map(|&option| option.into()).collect(),
            environment: environment.to_vec(),
        };
        // Another process may take the port between our look and the server's bind.
        for _ in 0..5 {
            server.port = free_port();
            if server.try_launch() {
                return server;
            }
        }
        panic!("redis-server did not start: {}", server.log());
    }

    /// How a gateway reaches it.
    pub fn settings(&self) -> RedisSettings {
        let mut settings = RedisSettings {
            timeout: Duration::from_secs(2),
            ..RedisSettings::at(self.url())
        };
        if self.demands.a_password() {
            settings.username = Some(USER.into());
            settings.password = Some(Secret::new(PASSWORD));
        }
        if self.demands.tls() {
            settings.ca = Some(self.folder.path().join("ca.pem"));
        }
        if self.demands == Demands::Certificate {
            settings.certificate = Some(self.certificate("client"));
        }
        settings
    }

    pub fn url(&self) -> String {
        let scheme = if self.demands.tls() {
            "rediss"
        } else {
            "redis"
        };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// `client` is of the CA that the server knows, `stranger` of another.
    pub fn certificate(&self, name: &str) -> RedisCertificate {
        RedisCertificate {
            chain: self.folder.path().join(format!("{name}.pem")),
            key: self.folder.path().join(format!("{name}-key.pem")),
        }
    }

    /// A CA that did not sign the server's certificate, though it has the same name.
    pub fn other_ca(&self) -> PathBuf {
        self.folder.path().join("other-ca.pem")
    }

    /// Gives a command, as the operator could.
    pub fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        self.give(command.arg(&words[1..]))
    }

    /// The same, of more than words.
    pub fn give<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> T {
        let mut connection = self.operator().expect("the server answers its operator");
        command.query(&mut connection).expect("a good command")
    }

    /// The same, where connections may be cut: a fail-over does that to everyone.
    pub fn try_command<T: redis::FromRedisValue>(&self, words: &[&str]) -> Option<T> {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query(&mut self.operator()?).ok()
    }

    /// Stops the process without ending it: it hangs.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        let stat = format!("/proc/{}/stat", self.pid().as_raw_nonzero());
        eventually("the process stands still", || {
            let stat = std::fs::read_to_string(&stat).expect("it runs");
            stat.contains(") T ").then_some(())
        });
    }

    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("our own child");
            child.wait().expect("our own child");
        }
    }

    /// Starts it again on the same port with what it had on disk.
    pub fn launch(&mut self) {
        assert!(self.child.is_none(), "it still runs");
        assert!(
            self.try_launch(),
            "redis-server did not start: {}",
            self.log()
        );
    }

    /// A copy of what it has on disk now.
    pub fn copy(&self) -> TempDir {
        let copy = tempfile::tempdir().expect("a folder can be made");
        copy_files(&self.data(), copy.path());
        copy
    }

    /// Puts a copy in the place of what it has, and starts again with that.
    pub fn restore(&mut self, copy: &TempDir) {
        self.kill();
        std::fs::remove_dir_all(self.data()).expect("the folder is ours");
        std::fs::create_dir(self.data()).expect("the folder is ours");
        copy_files(copy.path(), &self.data());
        self.launch();
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("appendonlydir")
    }

    fn try_launch(&mut self) -> bool {
        let (clear, tls) = match self.demands.tls() {
            true => (0, self.port),
            false => (self.port, 0),
        };
        let certificate = match self.demands {
            Demands::Certificate => "yes",
            _ => "no",
        };
        let child = Command::new("redis-server")
            .current_dir(self.folder.path())
            .envs(self.environment.iter().cloned())
            .args(["--port", &clear.to_string(), "--tls-port", &tls.to_string()])
            .args(["--bind", "127.0.0.1", "--unixsocket", "redis.sock"])
            .args([
                "--save",
                "",
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
            ])
            .args(["--aclfile", "users.acl", "--logfile", "redis.log"])
            .args([
                "--tls-cert-file",
                "server.pem",
                "--tls-key-file",
                "server-key.pem",
            ])
            .args([
                "--tls-ca-cert-file",
                "ca.pem",
                "--tls-auth-clients",
                certificate,
            ])
            .args(&self.options)
            .stdout(Stdio::null())
            .spawn()
            .expect(
                "redis-server is installed: these tests need it, `apt-get install redis-server`",
            );
        self.child = Some(child);
        eventually("redis-server answers or ends", || self.started())
    }

    /// Whether it answers; `None` while that is open.
    fn started(&mut self) -> Option<bool> {
        let child = self.child.as_mut().expect("it was just started");
        if child.try_wait().expect("our own child").is_some() {
            self.child = None;
            return Some(false);
        }
        let mut connection = self.operator()?;
        let answer: redis::RedisResult<String> = redis::cmd("PING").query(&mut connection);
        answer.is_ok().then_some(true)
    }

    fn operator(&self) -> Option<redis::Connection> {
        let socket = self.folder.path().join("redis.sock");
        let credentials = match self.demands.a_password() {
            true => format!("?user=operator&pass={PASSWORD}"),
            false => String::new(),
        };
        let url = format!("redis+unix://{}{credentials}", socket.display());
        redis::Client::open(url)
            .expect("a good URL")
            .get_connection()
            .ok()
    }

    /// Where it runs, with what it has on disk.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("redis.log")).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("our own child");
    }

    fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().expect("it runs"))
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // SIGKILL also ends a process that stands still.
        self.kill();
    }
}

/// A port that nobody listens on, as far as can be known.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("it is bound").port()
}

/// Waits for something that another process or task brings about; fails the test if it does not
/// come.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not come: {what}");
        std::thread::yield_now();
    }
}

fn copy_files(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("it is there").flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("the folder is ours");
    }
}

fn write_acl(folder: &Path, demands: Demands) {
    let mut users = match demands.a_password() {
        true => hardened_acl(),
        false => "user default on nopass ~* &* +@all\n".into(),
    };
    if demands == Demands::Password {
        let (_off, rest) = users.split_once('\n').expect("several users");
        users = format!("user default on >{PASSWORD} ~* &* +@all\n{rest}");
    }
    std::fs::write(folder.join("users.acl"), users).expect("the folder is ours");
}

/// `deploy/redis/users.acl`, with the hash of [`PASSWORD`] where it wants one. Nothing else in it
/// is changed.
fn hardened_acl() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/redis/users.acl");
    let text = std::fs::read_to_string(path).expect("it is in the repository");
    password_hash(&text)
}

/// Fills the places that want the hash of a password with that of [`PASSWORD`].
pub fn password_hash(users: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, PASSWORD.as_bytes());
    let hash: String = digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let words = users.split_inclusive([' ', '\n']).map(|word| {
        let blank = word.starts_with("#SHA256-OF-THE-");
        if blank {
            format!("#{hash} ")
        } else {
            word.into()
        }
    });
    words.collect()
}

/// A CA (`ca.pem`) with the server's certificate and a client's, and another (`other-ca.pem`) with
/// a stranger's.
fn write_certificates(folder: &Path) {
    let (ca, other) = (authority(), authority());
    let write = |name: &str, pem: String| {
        std::fs::write(folder.join(name), pem).expect("the folder is ours");
    };
    write("ca.pem", ca.pem());
    write("other-ca.pem", other.pem());
    for (name, issuer) in [("server", &ca), ("client", &ca), ("stranger", &other)] {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("a good name");
        // With its issuer's name, OpenSSL would take it for self-signed.
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, issuer).expect("a certificate");
        write(&format!("{name}.pem"), certificate.pem());
        write(&format!("{name}-key.pem"), key.serialize_pem());
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA")
}
