//! A gateway process of one worker on the measured core, in its production configuration but for the
//! access log, which is off.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use prometheus::IntCounter;
use tempfile::TempDir;
use tokio::time::Instant;

use portcullis::auth::{CacheSettings, Checksum, CredentialSettings, KeyDesk, KeyDeskParts};
use portcullis::clock::Clock;
use portcullis::dev::certificates;
use portcullis::observe::{Actor, AuditCopy, AuditLog, AuditSettings, Metrics};
use portcullis::scope::ScopeSet;
use portcullis::secret::{MacKeys, Pepper, Purpose};
use portcullis::store::{self, RedisServers, Store, StoreSettings};

use crate::process;
use crate::ring;

/// The one host that clients ask.
pub(crate) const HOST: &str = "api.bench.test";
/// Entries in the cache of credentials: the default.
pub(crate) const CACHE_CAPACITY: usize = 100_000;
const PEPPER: &[u8] = b"0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";
/// How long a start may take: the embedded store checks a large file first.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where a gateway will run: its folder, its certificate, its pepper.
pub(crate) struct Site {
    folder: TempDir,
}

/// A gateway that serves. Ended when dropped.
pub(crate) struct GatewayProcess {
    child: Child,
    site: Site,
    https: SocketAddr,
    metrics: SocketAddr,
    /// From its start to the first `/readyz` that says yes.
    pub(crate) ready_after: Duration,
}

/// Which gateway is measured.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("PORTCULLIS_BIN")
        .map_or_else(|| env!("CARGO_BIN_EXE_portcullis").into(), PathBuf::from)
}

/// How keys look and are cached, as the YAML below says it.
pub(crate) fn credentials() -> CredentialSettings {
    CredentialSettings {
        realm: "bench".into(),
        prefix: "osir".into(),
        peppers: Pepper::new(PEPPER).expect("it is long enough").into(),
        checksum: Checksum::Required,
        cache: CacheSettings {
            capacity: CACHE_CAPACITY as u64,
            fresh: Duration::from_secs(60),
            stale: Duration::from_secs(300),
            negative: Duration::from_secs(2),
        },
    }
}

/// One route for everything.
pub(crate) const ONE_ROUTE: &str = "  - { name: all, prefix: /v1, methods: [GET], access: { scopes: [\"bench:read\"] }, upstream: only }\n";

impl Site {
    pub(crate) fn prepare() -> Site {
        let folder = tempfile::tempdir().expect("a folder");
        certificates::make(folder.path(), &[HOST.to_owned()]).expect("a certificate");
        write_private(&folder.path().join("pepper"), PEPPER);
        Site { folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The embedded store of the gateway to come.
    pub(crate) fn embedded(&self) -> StoreSettings {
        StoreSettings::Embedded {
            path: self.folder().join("store.redb"),
        }
    }

    /// Writes so many keys to a store, as `portcullis key import` does. How long that took.
    pub(crate) fn import(&self, store: &StoreSettings, keys: usize) -> Duration {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let took = runtime.block_on(async {
            let (clock, metrics) = (Clock::system(), Arc::new(Metrics::new()));
            let store = store::open(store, &clock, &metrics).expect("a store");
            self.feed(store, clock, keys).await
        });
        drop(runtime);
        took
    }

    async fn feed(&self, store: Arc<dyn Store>, clock: Clock, keys: usize) -> Duration {
        let dropped = IntCounter::new("dropped", "Lines.").expect("a name");
        let audit = AuditSettings {
            file: self.folder().join("import.jsonl"),
            copy: AuditCopy::Nowhere,
        };
        let credentials = credentials();
        let seals = MacKeys::new(&credentials.peppers, Purpose::AuditSeals);
        let desk = KeyDesk::new(KeyDeskParts {
            store,
            credentials: &credentials,
            scopes: ScopeSet::parse("bench:read").expect("a scope"),
            clock: clock.clone(),
            audit: AuditLog::open(&audit, seals, clock, dropped).expect("an audit log"),
        });
        let started = Instant::now();
        let mut import = desk.import(Actor::Cli { uid: 0 });
        let mut lines = String::new();
        for number in 0..keys {
            ring::push_import_line(&mut lines, number);
            if lines.len() > 64 * 1024 || number + 1 == keys {
                import
                    .feed(lines.as_bytes())
                    .await
                    .expect("the store takes them");
                lines.clear();
            }
        }
        let report = import.finish().await.expect("the store takes them");
        assert_eq!(report.created, keys as u64, "{:?}", report.notes.first());
        started.elapsed()
    }

    /// Starts a gateway before these upstreams.
    pub(crate) fn serve(
        self,
        store: &StoreSettings,
        routes: &str,
        upstreams: &[SocketAddr],
    ) -> GatewayProcess {
        let yaml = self.folder().join("gateway.yaml");
        std::fs::write(&yaml, config(store, routes, upstreams)).expect("the folder is ours");
        let log = self.folder().join("serve.log");
        let started = Instant::now();
        let child = process::on_the_measured_core(&binary())
            .arg("--config")
            .arg(&yaml)
            .arg("serve")
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).expect("the folder is ours"))
            .spawn()
            .expect("the gateway's binary starts");
        let mut gateway = GatewayProcess {
            child,
            site: self,
            https: SocketAddr::from(([0, 0, 0, 0], 0)),
            metrics: SocketAddr::from(([0, 0, 0, 0], 0)),
            ready_after: Duration::ZERO,
        };
        (gateway.https, gateway.metrics) = gateway.eventually("it serves", || addresses(&log));
        let metrics = gateway.metrics;
        gateway.eventually("it is ready", || {
            get(metrics, "/readyz").filter(|text| text.starts_with("HTTP/1.1 200"))
        });
        gateway.ready_after = started.elapsed();
        gateway
    }
}

impl GatewayProcess {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.https
    }

    /// What clients trust.
    pub(crate) fn ca(&self) -> PathBuf {
        self.site.folder().join("ca.pem")
    }

    /// The whole answer to `/metrics`.
    pub(crate) fn scrape(&self) -> String {
        get(self.metrics, "/metrics").expect("the gateway lives")
    }

    /// The sum of a metric's samples of which the labels contain this text.
    pub(crate) fn metric(&self, name: &str, label: &str) -> f64 {
        sum(&self.scrape(), name, label)
    }

    fn eventually<T>(&mut self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            let ended = self.child.try_wait().expect("our own child").is_some();
            if ended || Instant::now() > deadline {
                let log = std::fs::read_to_string(self.site.folder().join("serve.log"));
                panic!("not {what}: {}", log.unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for GatewayProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same of a scrape that was taken before.
pub(crate) fn sum(scrape: &str, name: &str, label: &str) -> f64 {
    let samples = scrape.lines().filter_map(|line| line.strip_prefix(name));
    samples
        .filter(|sample| sample.starts_with(['{', ' ']) && sample.contains(label))
        .filter_map(|sample| sample.rsplit_once(' '))
        .map(|(_, value)| value.parse::<f64>().expect("a number"))
        .sum()
}

fn config(store: &StoreSettings, routes: &str, upstreams: &[SocketAddr]) -> String {
    let store = match store {
        StoreSettings::Embedded { path } => format!("embedded: {}", path.display()),
        StoreSettings::Redis(redis) => match &redis.servers {
            RedisServers::One { url } => format!("redis: {{ url: \"{url}\", timeout: 2s }}"),
            RedisServers::Sentinel(_) | RedisServers::Cluster { .. } => {
                unreachable!("this bench starts one server")
            }
        },
    };
    let endpoints: Vec<String> = upstreams
        .iter()
        .map(|address| format!("http://{address}"))
        .collect();
    let mut yaml = format!(
        "listen: {{ https: 127.0.0.1:0, metrics: 127.0.0.1:0, admin: \"off\" }}\n\
         tls: {{ certificates: [{{ cert: gateway.pem, key: gateway-key.pem }}] }}\n\
         store: {{ {store} }}\n\
         credentials: {{ realm: bench, prefix: osir, pepper: {{ file: pepper }} }}\n\
         audit_log: audit.jsonl\naccess_log: \"off\"\nworkers: 1\n\
         limits: {{ connections_per_address: 20000 }}\n\
         scopes: {{ \"bench:read\": Whatever there is }}\n"
    );
    let _ = write!(
        yaml,
        "upstreams:\n  only: {{ endpoints: [{}] }}\nroutes:\n{routes}",
        endpoints.join(", ")
    );
    yaml
}

/// Where it listens, once its log says so.
fn addresses(log: &Path) -> Option<(SocketAddr, SocketAddr)> {
    let text = std::fs::read_to_string(log).ok()?;
    let line = text.lines().find(|line| line.contains("\"serving\""))?;
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let address = |name: &str| {
        line.pointer(&format!("/fields/{name}"))?
            .as_str()?
            .parse()
            .ok()
    };
    Some((address("https")?, address("metrics")?))
}

fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn write_private(path: &Path, bytes: &[u8]) {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(bytes))
        .expect("the folder is ours");
}
