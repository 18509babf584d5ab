//! Gateways as processes of their own: the built binary, with a configuration of a fleet.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use portcullis::admin::{AdminAddress, AdminClient};
use portcullis::secret::{Pepper, Secret};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::client::Trust;
use crate::redis_server::free_port;

/// What all gateways of a fleet share: certificates, pepper, admin token, an issuer's key set.
pub(crate) struct Ground {
    folder: TempDir,
    pub(crate) trust: Trust,
}

/// What differs from fleet to fleet.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// `credentials.cache.fresh`.
    pub(crate) fresh: Duration,
    /// `credentials.cache.stale`: the bound.
    pub(crate) stale: Duration,
    pub(crate) upstream: SocketAddr,
}

/// A running gateway; ended by its pid when dropped.
pub(crate) struct Gateway {
    child: Child,
    folder: PathBuf,
    environment: Vec<(String, String)>,
    pub(crate) https: SocketAddr,
    admin: SocketAddr,
}

/// The issuer whose key set is a file.
pub(crate) const IDP: &str = "https://idp.example";
const ADMIN_TOKEN: &str = "an-admin-token-for-faults-only";
const PEPPER: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";
const PATIENCE: Duration = Duration::from_secs(20);

impl Ground {
    /// `key_set` is [`IDP`]'s.
    pub(crate) fn new(key_set: &str) -> Ground {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let hosts = ["localhost", "127.0.0.1", "api.osir.com", "osir.com"].map(String::from);
        let paths = portcullis::dev::certificates::make(&folder.path().join("certs"), &hosts);
        let paths = paths.expect("certificates");
        for (name, text) in [
            ("pepper", PEPPER),
            ("admin-token", ADMIN_TOKEN),
            ("jwks.json", key_set),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("writable");
            let private = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(&path, private).expect("a mode");
        }
        Ground {
            trust: Trust::in_ca(&paths.ca),
            folder,
        }
    }

    /// Under which secrets are in the store.
    pub(crate) fn pepper() -> Pepper {
        Pepper::new(PEPPER.as_bytes()).expect("strong")
    }

    /// Starts one in a folder of its own, with more in its environment.
    pub(crate) fn start(
        &self,
        name: &str,
        store: &str,
        settings: &Settings,
        environment: &[(String, String)],
    ) -> Gateway {
        let folder = self.folder.path().join(name);
        std::fs::create_dir_all(&folder).expect("the folder is ours");
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let (https, admin) = (address(free_port()), address(free_port()));
        let yaml = yaml(https, admin, store, settings);
        std::fs::write(folder.join("gateway.yaml"), yaml).expect("writable");
        Gateway {
            child: launch(&folder, environment),
            folder,
            environment: environment.to_vec(),
            https,
            admin,
        }
    }

    /// A file of its own for each name.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Gateway {
    /// Waits until it listens.
    pub(crate) async fn is_up(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        for address in [self.https, self.admin] {
            while TcpStream::connect(address).is_err() {
                let ended = self.child.try_wait().expect("our own child");
                assert!(
                    ended.is_none() && Instant::now() < deadline,
                    "the gateway does not start: {}",
                    self.log()
                );
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    pub(crate) fn admin(&self) -> AdminClient {
        let address = AdminAddress::Tcp(self.admin);
        AdminClient::new(address, Some(&Secret::new(ADMIN_TOKEN))).expect("loopback")
    }

    /// Kills it, and starts it again in the same place.
    pub(crate) fn restart(&mut self) {
        self.child.kill().expect("our own child");
        self.child.wait().expect("our own child");
        self.child = launch(&self.folder, &self.environment);
    }

    /// What it said.
    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let ended = self.child.try_wait().expect("our own child");
        self.child.kill().expect("our own child");
        self.child.wait().expect("our own child");
        if std::thread::panicking() {
            eprintln!("{} (ended by itself: {ended:?})", self.folder.display());
            eprintln!("{}", self.log());
        }
    }
}

fn launch(folder: &Path, environment: &[(String, String)]) -> Child {
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("log"))
        .expect("writable");
    Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["serve", "--config"])
        .arg(folder.join("gateway.yaml"))
        .envs(environment.iter().cloned())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the gateway starts")
}

/// The longest grace of refresh tokens: here only what the store forgets may end a family.
fn yaml(https: SocketAddr, admin: SocketAddr, store: &str, settings: &Settings) -> String {
    let Settings {
        fresh,
        stale,
        upstream,
    } = settings;
    let (fresh, stale) = (fresh.as_millis(), stale.as_millis());
    format!(
        "listen: {{ https: \"{https}\", metrics: off, admin: \"{admin}\" }}\n\
         tls: {{ certificates: [{{ cert: ../certs/gateway.pem, key: ../certs/gateway-key.pem }}] }}\n\
         store: {{ {store} }}\n\
         credentials: {{ realm: osir, prefix: osir, pepper: {{ file: ../pepper }}, \
         cache: {{ fresh: {fresh}ms, stale: {stale}ms }} }}\n\
         admin_token: {{ file: ../admin-token }}\naudit_log: audit.jsonl\naccess_log: off\nworkers: 1\n\
         scopes: {{ \"domains:read\": View domains }}\n\
         access_tokens:\n  \
         - {{ issuer: https://osir.com, builtin: true, audience: https://api.osir.com }}\n  \
         - {{ issuer: {IDP}, jwks: ../jwks.json, audience: https://api.osir.com, algorithms: [ES256] }}\n\
         oauth: {{ issuer: https://osir.com, refresh_token: {{ grace: 60s }} }}\n\
         upstreams:\n  domains: {{ endpoints: [http://{upstream}] }}\n\
         routes:\n  - {{ name: domains, prefix: /v1/domains, methods: [GET], \
         access: {{ scopes: [domains:read] }}, upstream: domains }}\n"
    )
}
