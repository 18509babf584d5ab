//! The composition root: build everything before binding anything; run; reload; drain.
//!
//! Threads: one worker a core, each with a runtime, a listener and upstream pools of its own, and
//! one control runtime for the store, key sets, the admin API and signals. Not here: any rule.
//! Invariants: nothing is bound before the configuration, the certificates and the store are good;
//! a reload that fails changes nothing; every thread and task that is started here is ended here.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::admin::{
    AdminAddress, AdminError, AdminListener, LiveGateway as _, MetricsListener, Vitals,
};
use crate::auth::{
    AccessTokensError, Announcement, Follower, KeyDesk, KeyDeskParts, Reporter, ReporterParts,
};
use crate::clock::Clock;
use crate::config::{Config, Problems};
use crate::edge::{self, Edge, EdgeError, WorkerSockets};
use crate::gateway::{GatewayParts, LiveError, MOST_LOOKUPS};
use crate::oauth::SealedUnderAnotherPepper;
use crate::observe::{AccessLogSink, AuditLog, AuditLogError, Metrics};
use crate::secret::{MacKeys, Purpose};
use crate::store::{Store, StoreError};
use crate::token::{InternalKeyError, InternalTokenSigner};

mod background;
mod operate;
mod policy_source;
mod watch_files;
mod worker;

pub use background::Lost;
pub use policy_source::explain_offline;

use operate::{Operations, scope_set};
use policy_source::PolicySource;

/// A gateway that serves.
pub struct Running {
    addresses: Addresses,
    operations: Arc<Operations>,
    stop: watch::Sender<bool>,
    workers: Vec<JoinHandle<()>>,
    operators: Vec<tokio::task::JoinHandle<()>>,
    /// Ends when it is told that nothing is served any more.
    reporter: tokio::task::JoinHandle<()>,
    log: Option<AccessLogSink>,
    /// Dropped last: everything else may still need it.
    control: Runtime,
}

/// Where a running gateway listens.
#[derive(Clone, Debug, Default)]
struct Addresses {
    https: Option<std::net::SocketAddr>,
    http: Option<std::net::SocketAddr>,
    metrics: Option<std::net::SocketAddr>,
    admin: Option<AdminAddress>,
}

/// Why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The access log cannot be opened.
    #[error("the access log cannot be opened")]
    AccessLog(#[source] std::io::Error),
    /// A key set file or an issuer cannot be used.
    #[error(transparent)]
    AccessTokens(#[from] AccessTokensError),
    /// An operator's listener cannot be opened.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The audit log cannot be opened.
    #[error(transparent)]
    AuditLog(#[from] AuditLogError),
    /// The configuration is not valid.
    #[error("{0}")]
    Config(Problems),
    /// A certificate or a listener cannot be used.
    #[error(transparent)]
    Edge(#[from] EdgeError),
    /// The signing key for internal tokens cannot be used.
    #[error(transparent)]
    InternalKey(#[from] InternalKeyError),
    /// Routes or upstreams cannot be compiled.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// The authorization server could sign nothing.
    #[error(transparent)]
    SigningKey(#[from] SealedUnderAnotherPepper),
    /// The store cannot be opened.
    #[error("the store cannot be opened")]
    Store(#[from] StoreError),
    /// The machine gave no thread or signal handler.
    #[error("the machine refused a thread or a signal handler")]
    System(#[source] std::io::Error),
    /// A configuration could not be read or compiled, for no reason of its own.
    #[error("the configuration could not be read or compiled: a bug")]
    Lost(#[from] Lost),
}

/// For the embedded store's files and for scrapes. A burst of unknown keys would otherwise start a
/// thread for each, up to 512, and their memory stays. More than a few, because writers wait for each
/// other on them, and look-ups must not wait behind those.
const BLOCKING_THREADS: usize = 32;

/// How long the start waits for the first word of the revocation log. Without one the gateway
/// serves all the same: 503 until it has one, and `/readyz` says so.
const FIRST_CONFIRMATION: Duration = Duration::from_secs(2);

/// How long the start waits for keys to be read into the cache, which goes on behind it.
const WARM_UP: Duration = Duration::from_millis(500);

/// How long the end waits for the store to take what keys were last used for.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Builds, binds and starts a gateway; returns when it serves.
pub fn start(config_path: &Path, config: Config) -> Result<Running, AppError> {
    let control = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("control")
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()
        .map_err(AppError::System)?;
    let parts = control.block_on(build(config_path, config, &control))?;
    parts.run(control)
}

/// Everything that is built before anything is bound.
struct Built {
    config: Config,
    config_path: PathBuf,
    edge: Arc<Edge>,
    gateway: GatewayParts,
    source: PolicySource,
    store: Arc<dyn Store>,
    follower: Follower,
    reporter: Reporter,
    announcement: Announcement,
}

async fn build(config_path: &Path, config: Config, control: &Runtime) -> Result<Built, AppError> {
    let (clock, metrics) = (Clock::system(), Arc::new(Metrics::new()));
    let log = AccessLogSink::open(&config.access_log, metrics.access_log_dropped.clone())
        .map_err(AppError::AccessLog)?;
    let audit = AuditLog::open(
        &config.admin.audit,
        audit_seals(&config),
        clock.clone(),
        metrics.audit_dropped.clone(),
    )?;
    audit.tell_head();
    let edge = Edge::new(&config.edge, Arc::clone(&metrics))?;
    let store = crate::store::open(&config.store, &clock, &metrics)?;
    let signer = match &config.internal_key {
        Some(path) => InternalTokenSigner::from_file(path)?,
        None => InternalTokenSigner::ephemeral(),
    };
    let handle = control.handle().clone();
    let (source, live, follower) = PolicySource::new(
        &config,
        &store,
        handle.clone(),
        clock.clone(),
        Arc::clone(&metrics),
        audit.clone(),
    )
    .await?;
    let (reporter, presence, announcement) = Reporter::new(ReporterParts {
        store: Arc::clone(&store),
        revocation: Arc::clone(source.revocation()),
        stale: config.credentials.cache.stale,
        config: &config.digest,
        clock: &clock,
        metrics: &metrics,
    });
    let desk = Arc::new(KeyDesk::new(KeyDeskParts {
        store: Arc::clone(&store),
        credentials: &config.credentials,
        scopes: scope_set(&config),
        clock: clock.clone(),
        audit: audit.clone(),
    }));
    let gateway = GatewayParts {
        live: Arc::new(ArcSwap::from_pointee(live)),
        metrics,
        log,
        signer: Arc::new(signer),
        plaintext_lookups: Arc::new(tokio::sync::Semaphore::new(MOST_LOOKUPS)),
        audit,
        desk,
        control: handle,
        clock,
    };
    Ok(Built {
        config,
        config_path: config_path.to_owned(),
        edge,
        gateway,
        source,
        store,
        follower: follower.join(presence),
        reporter,
        announcement,
    })
}

/// What the audit log is sealed with.
fn audit_seals(config: &Config) -> MacKeys {
    MacKeys::new(&config.credentials.peppers, Purpose::AuditSeals)
}

impl Built {
    fn run(self, control: Runtime) -> Result<Running, AppError> {
        let (stop, stopping) = watch::channel(false);
        control.spawn(self.follower.run());
        let workers = self.config.workers.unwrap_or_else(worker::available_cores);
        let metrics = &self.gateway.metrics;
        let sockets = edge::bind(&self.config.edge, workers, metrics).map_err(EdgeError::from)?;
        let mut addresses = Addresses {
            https: sockets.first().map(WorkerSockets::https),
            http: sockets.first().and_then(WorkerSockets::http),
            ..Addresses::default()
        };
        self.gateway.metrics.set_config(&self.config.digest);
        let log = self.gateway.log.clone();
        let operations = Arc::new(Operations::new(
            self.config_path,
            self.config,
            Arc::clone(&self.edge),
            self.gateway.clone(),
            self.source,
            self.store,
            self.announcement,
        ));
        let operators =
            control.block_on(start_operators(&operations, &mut addresses, &stopping))?;
        // Only now that nothing keeps it from serving: the follower has waited for it.
        tracing::info!(instance = %self.reporter.id(), "joining the fleet of the store");
        let reporter = control.spawn(self.reporter.run());
        control.block_on(operations.wait_until_confirmed(FIRST_CONFIRMATION));
        control.block_on(operations.warm_up(WARM_UP));
        let workers = sockets
            .into_iter()
            .enumerate()
            .map(|(index, sockets)| {
                worker::start(index, sockets, &self.edge, &self.gateway, &stopping)
            })
            .collect::<Result<_, AppError>>()?;
        Ok(Running {
            addresses,
            operations,
            stop,
            workers,
            operators,
            reporter,
            log,
            control,
        })
    }
}

async fn start_operators(
    operations: &Arc<Operations>,
    addresses: &mut Addresses,
    stopping: &watch::Receiver<bool>,
) -> Result<Vec<tokio::task::JoinHandle<()>>, AppError> {
    let settings = operations.admin_settings();
    let mut tasks = vec![tokio::spawn(
        Arc::clone(operations).watch_store(stopping.clone()),
    )];
    if let Some(address) = settings.metrics {
        let listener = MetricsListener::bind(address).await?;
        addresses.metrics = Some(listener.address());
        let vitals = Vitals {
            metrics: Arc::clone(operations.metrics()),
            gateway: Arc::clone(operations) as _,
        };
        tasks.push(tokio::spawn(
            listener.serve(vitals, ended(stopping.clone())),
        ));
    }
    if let Some(address) = &settings.admin {
        let listener = AdminListener::bind(address, settings.token.clone()).await?;
        addresses.admin = Some(listener.address().clone());
        let (desk, gateway) = (Arc::clone(operations.desk()), Arc::clone(operations) as _);
        tasks.push(tokio::spawn(listener.serve(
            desk,
            gateway,
            ended(stopping.clone()),
        )));
    }
    Ok(tasks)
}

/// Ends when the gateway is asked to stop.
async fn ended(mut stopping: watch::Receiver<bool>) {
    // An error is: the sender is gone, and with it the gateway.
    let _ = stopping.wait_for(|stop| *stop).await;
}

impl Running {
    /// Where the API is.
    ///
    /// # Panics
    /// Never: a gateway without its API listener does not start.
    pub fn https(&self) -> std::net::SocketAddr {
        self.addresses
            .https
            .expect("edge::bind gives at least one worker its sockets")
    }

    /// Where clear text is refused.
    pub fn http(&self) -> Option<std::net::SocketAddr> {
        self.addresses.http
    }

    /// Where metrics and health are.
    pub fn metrics(&self) -> Option<std::net::SocketAddr> {
        self.addresses.metrics
    }

    /// Where the admin API is.
    pub fn admin(&self) -> Option<&AdminAddress> {
        self.addresses.admin.as_ref()
    }

    /// Reads the configuration again; on an error, the old one stays.
    pub fn reload(&self) -> Result<(), String> {
        self.control.block_on(self.operations.reload())
    }

    /// Serves until SIGTERM or SIGINT, reloading on SIGHUP and on file changes; then drains.
    pub fn wait(self) -> Result<(), AppError> {
        self.control
            .block_on(operate::until_stopped(&self.operations))
            .map_err(AppError::System)?;
        tracing::info!("draining");
        self.stop();
        Ok(())
    }

    /// Drains and ends: accepts nothing new, lets requests under way end, at most for 30 s.
    pub fn stop(self) {
        self.operations.begin_drain();
        self.stop.send_replace(true);
        for worker in self.workers {
            if worker.join().is_err() {
                tracing::error!("a worker ended in a bug");
            }
        }
        self.operations.end();
        self.control.block_on(async {
            // No request is counted any more.
            let telling = self.operations.tell_usage();
            if tokio::time::timeout(LAST_WORDS, telling).await.is_err() {
                tracing::warn!("the store did not take the last uses of keys");
            }
            for operator in self.operators {
                if let Err(error) = operator.await {
                    tracing::error!(%error, "an operator's listener ended in a bug");
                }
            }
            if let Err(error) = self.reporter.await {
                tracing::error!(%error, "this instance's reports ended in a bug");
            }
        });
        self.operations.tell_audit_head();
        if let Some(log) = &self.log {
            log.flush();
        }
        self.control.shutdown_timeout(Duration::from_secs(1));
    }
}
