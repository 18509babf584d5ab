//! A gateway process with a Redis store, on a core of its own or beside the load.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use portcullis::admin::{AdminAddress, AdminClient, NewKeyBody};
use portcullis::secret::Secret;
use rustix::process::{Pid, Signal, kill_process};
use rustls::ClientConfig;

use crate::load::trust;
use crate::redis::{RedisServer, eventually, free_port};
use crate::upstream::Upstreams;

/// Who runs on which core.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Layout {
    /// One worker and everything else of the gateway on core 1; load, upstreams and store on core 0.
    OneEach,
    /// As the kernel pleases.
    Shared { workers: usize },
}

/// A running gateway; ended by its pid when dropped.
pub(crate) struct Gateway {
    child: Child,
    pub(crate) store: RedisServer,
    folder: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) keys: Vec<String>,
    texts: [String; 2],
}

const KEYS: usize = 64;
const ADMIN_TOKEN: &str = "an-admin-token-for-a-bench";

impl Layout {
    pub(crate) fn pin_this_process(self) {
        if let Layout::OneEach = self {
            let pid = std::process::id().to_string();
            let pinned = Command::new("taskset")
                .args(["-cp", "0", &pid])
                .stdout(Stdio::null())
                .status();
            assert!(
                pinned.is_ok_and(|status| status.success()),
                "taskset (util-linux) is needed"
            );
        }
    }

    fn command(self) -> Command {
        let binary = env!("CARGO_BIN_EXE_portcullis");
        match self {
            Layout::OneEach => {
                let mut command = Command::new("taskset");
                command.args(["-c", "1", binary]);
                command
            }
            Layout::Shared { .. } => Command::new(binary),
        }
    }

    pub(crate) fn workers(self) -> usize {
        match self {
            Layout::OneEach => 1,
            Layout::Shared { workers } => workers,
        }
    }
}

impl Gateway {
    pub(crate) fn start(layout: Layout, routes: usize, upstreams: &Upstreams) -> Gateway {
        let folder = tempfile::tempdir().expect("a folder");
        let store = RedisServer::start();
        prepare(folder.path());
        let (https, admin) = (free_port(), free_port());
        let text = |routes| {
            yaml(
                https,
                admin,
                layout.workers(),
                routes,
                upstreams,
                &store.url(),
            )
        };
        let texts = [text(routes), text(routes + 1)];
        let path = folder.path().join("gateway.yaml");
        std::fs::write(&path, &texts[0]).expect("writable");
        let child = layout
            .command()
            .args(["serve", "--config"])
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the gateway starts");
        let address = SocketAddr::from(([127, 0, 0, 1], https));
        let mut gateway = Gateway {
            child,
            store,
            config: trust(&folder.path().join("certs/ca.pem")),
            folder,
            address,
            keys: Vec::new(),
            texts,
        };
        gateway.log_to_a_file();
        let admin = SocketAddr::from(([127, 0, 0, 1], admin));
        for address in [address, admin] {
            eventually("the gateway listens", || {
                std::net::TcpStream::connect(address).ok()
            });
        }
        gateway.keys = make_keys(admin);
        gateway
    }

    /// Writes the other configuration and asks for it to be taken.
    pub(crate) fn reload(&mut self) {
        self.texts.reverse();
        let path = self.folder.path().join("gateway.yaml");
        let new = self.folder.path().join("new");
        std::fs::write(&new, &self.texts[0]).expect("writable");
        std::fs::rename(&new, &path).expect("the same folder");
        kill_process(self.pid(), Signal::HUP).expect("our own child");
    }

    /// Configurations that it has taken, by its audit log.
    pub(crate) fn reloads(&self) -> usize {
        let log = std::fs::read_to_string(self.folder.path().join("audit.jsonl"));
        let lines = log.unwrap_or_default();
        let taken = |line: &&str| {
            line.contains(r#""event":"config_reload""#) && line.contains(r#""outcome":"done""#)
        };
        lines.lines().filter(taken).count()
    }

    /// Time on a core of all threads that it has; the scheduler's count, which needs no ticks.
    pub(crate) fn cpu(&self) -> Duration {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id()));
        let nanos = threads.expect("it runs").flatten().filter_map(|thread| {
            let stat = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
            stat.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanos.sum())
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// What the gateway says does not come between the figures.
    fn log_to_a_file(&mut self) {
        let stderr = self.child.stderr.take().expect("piped");
        let path = self.folder.path().join("gateway.log");
        std::thread::spawn(move || {
            let mut log = std::fs::File::create(path).expect("writable");
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                use std::io::Write as _;
                writeln!(log, "{line}").expect("writable");
            }
        });
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.child.kill().expect("our own child");
        self.child.wait().expect("our own child");
    }
}

fn prepare(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let hosts = ["localhost", "127.0.0.1", "api.osir.com"].map(String::from);
    portcullis::dev::certificates::make(&folder.join("certs"), &hosts).expect("certificates");
    for (name, text) in [
        (
            "pepper",
            "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0",
        ),
        ("admin-token", ADMIN_TOKEN),
    ] {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("writable");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    }
}

/// The routes that are asked stand among others. Records are looked up again after a second, so
/// that a store that is away is noticed.
fn yaml(
    https: u16,
    admin: u16,
    workers: usize,
    routes: usize,
    upstreams: &Upstreams,
    store: &str,
) -> String {
    let mut text = format!(
        "listen: {{ https: 127.0.0.1:{https}, metrics: off, admin: 127.0.0.1:{admin} }}\n\
         tls: {{ certificates: [{{ cert: certs/gateway.pem, key: certs/gateway-key.pem }}] }}\n\
         store: {{ redis: {{ url: \"{store}\" }} }}\n\
         credentials: {{ realm: osir, prefix: osir, pepper: {{ file: pepper }}, cache: {{ fresh: 1s }} }}\n\
         admin_token: {{ file: admin-token }}\naudit_log: audit.jsonl\naccess_log: off\nworkers: {workers}\n\
         scopes: {{ \"domains:read\": View domains }}\n\
         upstreams:\n  quick: {{ endpoints: [http://{}] }}\n  slow: {{ endpoints: [http://{}] }}\n\
         routes:\n",
        upstreams.quick, upstreams.slow
    );
    let routed = [
        ("domains", "/v1/domains", "quick"),
        ("large", "/large", "quick"),
        ("slow", "/slow", "slow"),
    ];
    let more = (routed.len()..routes).map(|n| {
        (
            format!("route-{n}"),
            format!("/v1/service-{n}/{{id}}"),
            "quick",
        )
    });
    let routed = routed.map(|(name, path, upstream)| (name.to_owned(), path.to_owned(), upstream));
    for (name, path, upstream) in routed.into_iter().chain(more) {
        text.push_str(&format!(
            "  - {{ name: {name}, path: \"{path}\", methods: [GET], access: {{ scopes: [domains:read] }}, upstream: {upstream} }}\n"
        ));
    }
    text
}

fn make_keys(admin: SocketAddr) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let client = AdminClient::new(AdminAddress::Tcp(admin), Some(&Secret::new(ADMIN_TOKEN)));
        let client = client.expect("loopback");
        let mut keys = Vec::new();
        for _ in 0..KEYS {
            let body = NewKeyBody {
                account: "acct_1".into(),
                name: "a bench".into(),
                scopes: vec!["domains:read".into()],
                env: None,
                not_before: None,
                expires_at: None,
                allowed_ips: Vec::new(),
            };
            let created = client.create_key(&body).await.expect("a key");
            keys.push(created.key.expose().to_owned());
        }
        keys
    })
}
