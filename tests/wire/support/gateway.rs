//! A gateway for one test: its own folder, ports, certificate, store and keys.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use portcullis::admin::{AdminClient, NewKeyBody};
use portcullis::app::{self, Running};
use portcullis::config::Config;
use portcullis::dev::certificates;
use portcullis::secret::Secret;
use portcullis::store::Environment;
use tempfile::TempDir;

use super::{Answer, Raw, Tls};

/// What a test's gateway is like. Every part of the YAML can be replaced.
#[derive(Clone)]
pub struct Setup {
    pub store: String,
    pub credentials: String,
    pub upstreams: String,
    pub routes: String,
    pub extra: String,
}

/// A running gateway; drained when dropped.
pub struct Gateway {
    running: Option<Running>,
    folder: TempDir,
    pub tls: Tls,
}

pub const PEPPER: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";
const ADMIN_TOKEN: &str = "an-admin-token-for-tests-only";

impl Setup {
    /// The seed's two routes of one service, before this upstream.
    pub fn before(upstream: SocketAddr) -> Setup {
        Setup {
            store: "embedded: store.redb".into(),
            credentials: String::new(),
            upstreams: format!("  domains: {{ endpoints: [http://{upstream}] }}\n"),
            routes: "  - { name: domains-read, prefix: /v1/domains, methods: [GET, HEAD], \
                     access: { scopes: [domains:read] }, upstream: domains }\n  - { name: \
                     domains-write, prefix: /v1/domains, methods: [POST, PUT, PATCH, DELETE], \
                     access: { scopes: [domains:write] }, upstream: domains }\n"
                .into(),
            extra: String::new(),
        }
    }

    pub fn extra(mut self, yaml: &str) -> Setup {
        self.extra.push_str(yaml);
        self
    }

    pub fn routes(mut self, yaml: &str) -> Setup {
        self.routes.push_str(yaml);
        self
    }

    pub fn upstream(mut self, yaml: &str) -> Setup {
        self.upstreams = format!("  domains: {yaml}\n");
        self
    }

    pub fn yaml(&self) -> String {
        format!(
            "listen: {{ https: 127.0.0.1:0, http: 127.0.0.1:0, metrics: 127.0.0.1:0, admin: 127.0.0.1:0 }}\n\
             tls: {{ certificates: [{{ cert: certs/gateway.pem, key: certs/gateway-key.pem }}] }}\n\
             store: {{ {} }}\n\
             credentials: {{ realm: osir, prefix: osir, pepper: {{ file: pepper }}{} }}\n\
             admin_token: {{ file: admin-token }}\n\
             audit_log: audit.jsonl\naccess_log: {{ file: access.log }}\nworkers: 2\n\
             scopes: {{ \"domains:read\": View domains, \"domains:write\": Manage domains }}\n\
             upstreams:\n{}routes:\n{}{}",
            self.store, self.credentials, self.upstreams, self.routes, self.extra
        )
    }

    pub fn start(&self) -> Gateway {
        let folder = tempfile::tempdir().expect("a folder");
        prepare(folder.path());
        Gateway::start_in(folder, &self.yaml())
    }
}

/// Certificates, pepper and admin token.
fn prepare(folder: &Path) {
    let hosts = ["localhost", "127.0.0.1", "api.osir.com", "*.wild.test"].map(String::from);
    certificates::make(&folder.join("certs"), &hosts).expect("certificates");
    write_private(&folder.join("pepper"), PEPPER);
    write_private(&folder.join("admin-token"), ADMIN_TOKEN);
}

/// Puts another pepper in the place of a stopped gateway's; the one before is `old-pepper` then.
pub fn change_pepper(folder: &Path) {
    let pepper = folder.join("pepper");
    std::fs::rename(&pepper, folder.join("old-pepper")).expect("renamed");
    write_private(
        &pepper,
        "f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0e",
    );
}

fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).expect("writable");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
}

impl Gateway {
    pub fn start_in(folder: TempDir, yaml: &str) -> Gateway {
        let path = folder.path().join("gateway.yaml");
        std::fs::write(&path, yaml).expect("writable");
        let config = Config::load(&path).unwrap_or_else(|problems| panic!("{problems}"));
        let running = app::start(&path, config).unwrap_or_else(|error| panic!("{error}"));
        let ca = folder.path().join("certs/ca.pem");
        let tls = Tls::new(running.https(), &ca, "api.osir.com");
        Gateway {
            running: Some(running),
            folder,
            tls,
        }
    }

    pub fn running(&self) -> &Running {
        self.running.as_ref().expect("it runs until it is stopped")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn admin(&self) -> AdminClient {
        let address = self.running().admin().expect("an admin API").clone();
        AdminClient::new(address, Some(&Secret::new(ADMIN_TOKEN))).expect("loopback")
    }

    /// Does something with the admin API.
    pub fn operate<T>(&self, work: impl AsyncFnOnce(AdminClient) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(work(self.admin()))
    }

    /// A live key with these scopes: its id and itself.
    pub fn key(&self, scopes: &[&str]) -> (portcullis::id::KeyId, String) {
        self.key_with(scopes, Environment::Live, &[])
    }

    pub fn key_with(
        &self,
        scopes: &[&str],
        environment: Environment,
        allowed_ips: &[&str],
    ) -> (portcullis::id::KeyId, String) {
        let body = NewKeyBody {
            account: "acct_1".into(),
            name: "a test".into(),
            scopes: scopes.iter().map(ToString::to_string).collect(),
            env: Some(environment),
            not_before: None,
            expires_at: None,
            allowed_ips: allowed_ips.iter().map(ToString::to_string).collect(),
        };
        let created = self
            .operate(async |admin| admin.create_key(&body).await)
            .expect("a key");
        (created.id.clone(), created.key.expose().to_owned())
    }

    /// One request on a connection of its own.
    pub fn send(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut client = self.tls.connect();
        client.send(request);
        client.answer()
    }

    /// `GET /v1/domains` with extra header lines.
    pub fn get(&self, lines: &str) -> Answer {
        self.send(format!(
            "GET /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\n{lines}\r\n"
        ))
    }

    /// In clear text on `listen.http`.
    pub fn plain(&self) -> Raw<std::net::TcpStream> {
        Raw::plain(self.running().http().expect("listen.http"))
    }

    /// A page of the metrics listener.
    pub fn vitals(&self, path: &str) -> Answer {
        let mut client = Raw::plain(self.running().metrics().expect("listen.metrics"));
        client.send(format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        ));
        client.answer()
    }

    /// One line of `/metrics`, by its beginning; 0 if it is not there.
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.vitals("/metrics").body;
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.and_then(|value| value.trim().parse().ok())
            .unwrap_or(0.0)
    }

    /// Drains it and gives the folder back.
    pub fn stop(mut self) -> TempDir {
        self.running.take().expect("it runs").stop();
        std::mem::replace(&mut self.folder, tempfile::tempdir().expect("a folder"))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
        }
    }
}
