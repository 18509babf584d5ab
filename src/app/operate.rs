//! A running gateway as its operator sees it: readiness, explain, reload, signals.
//!
//! Invariant: a reload is all or nothing. It reads, checks and compiles the whole configuration
//! and loads every certificate before it swaps anything.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, watch};

use super::background;
use super::policy_source::{self, PolicySource};
use super::{AppError, watch_files};
use crate::admin::{AdminSettings, LiveGateway, NotReady, Readiness};
use crate::auth::{Announcement, Failure, KeyDesk, Lease, VerifiedToken};
use crate::config::Config;
use crate::edge::Edge;
use crate::gateway::GatewayParts;
use crate::oauth::OAuthSettings;
use crate::observe::{Actor, AuditAction, AuditEvent, AuditOutcome, Metrics};
use crate::policy::{self, ExplainRequest};
use crate::scope::ScopeSet;
use crate::secret::Secret;
use crate::store::Store;

/// What there is to operate.
pub(super) struct Operations {
    config_path: PathBuf,
    /// The configuration that is live. The lock also keeps two reloads apart.
    config: Mutex<Arc<Config>>,
    first: Arc<Config>,
    edge: Arc<Edge>,
    gateway: GatewayParts,
    source: PolicySource,
    store: Arc<dyn Store>,
    announcement: Announcement,
    store_answers: AtomicBool,
    draining: AtomicBool,
}

/// By then every worker has taken over the new policy: they look at each request, and each tick.
const UNTIL_REPLACED: Duration = Duration::from_secs(5);

/// How often the store is asked whether it is there.
const STORE_CHECK: Duration = Duration::from_secs(2);

impl Operations {
    pub(super) fn new(
        config_path: PathBuf,
        config: Config,
        edge: Arc<Edge>,
        gateway: GatewayParts,
        source: PolicySource,
        store: Arc<dyn Store>,
        announcement: Announcement,
    ) -> Operations {
        let first = Arc::new(config);
        set_rules(&gateway.desk, &first);
        Operations {
            config_path,
            config: Mutex::new(Arc::clone(&first)),
            first,
            edge,
            gateway,
            source,
            store,
            announcement,
            store_answers: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        }
    }

    pub(super) fn admin_settings(&self) -> &AdminSettings {
        &self.first.admin
    }

    pub(super) fn metrics(&self) -> &Arc<Metrics> {
        &self.gateway.metrics
    }

    pub(super) fn desk(&self) -> &Arc<KeyDesk> {
        &self.gateway.desk
    }

    pub(super) fn tell_audit_head(&self) {
        self.gateway.audit.tell_head();
    }

    pub(super) fn begin_drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.announcement.begin_drain();
    }

    /// Nothing is served any more.
    pub(super) fn end(&self) {
        self.announcement.end();
    }

    pub(super) async fn wait_until_confirmed(&self, patience: Duration) {
        policy_source::wait_until_fresh(&self.source, patience).await;
    }

    /// Reads keys into the cache, and waits for that at most for `patience`; the rest is read behind
    /// the first requests.
    pub(super) async fn warm_up(&self, patience: Duration) {
        let (authenticator, store) = (Arc::clone(self.source.first()), Arc::clone(&self.store));
        let reading = tokio::spawn(async move { authenticator.warm_up(&*store).await });
        // In time or not, and a bug in it ends nothing else.
        let _ = tokio::time::timeout(patience, reading).await;
    }

    /// Asks the store every moment whether it is there, for `/readyz`.
    pub(super) async fn watch_store(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        loop {
            let answers = self.store.ping().await.is_ok();
            self.store_answers.store(answers, Ordering::Relaxed);
            tokio::select! {
                _ = stopping.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(STORE_CHECK) => {}
            }
        }
    }

    /// Reads the configuration again and swaps it in, or tells why not.
    pub(super) async fn reload(&self) -> Result<(), String> {
        let mut live = self.config.lock().await;
        let reloaded = self.load_and_swap(&live).await;
        let metrics = &self.gateway.metrics;
        let outcome = if reloaded.is_ok() { "ok" } else { "refused" };
        metrics.config_reloads.with_label_values(&[outcome]).inc();
        metrics
            .config_last_reload_success
            .set(i64::from(reloaded.is_ok()));
        self.tell_audit(reloaded.as_ref().err());
        match reloaded {
            Ok(config) => {
                tracing::info!(digest = %config.digest, "the configuration was reloaded");
                *live = config;
                Ok(())
            }
            Err(error) => {
                let text = error.to_string();
                tracing::error!(error = %text, "the old configuration stays");
                Err(text)
            }
        }
    }

    /// A changed configuration is a changed policy: it leaves an audit line, taken or not.
    fn tell_audit(&self, error: Option<&ReloadError>) {
        let audit = &self.gateway.audit;
        // Log rotation moves the file away and then asks for a reload.
        audit.reopen();
        let (action, actor) = (AuditAction::ConfigReload, Actor::Gateway);
        audit.record(match error {
            None => AuditEvent::new(action, actor, AuditOutcome::Done),
            Some(error) => {
                AuditEvent::new(action, actor, AuditOutcome::Failed).reason(error.to_string())
            }
        });
    }

    async fn load_and_swap(&self, live: &Config) -> Result<Arc<Config>, ReloadError> {
        let path = self.config_path.clone();
        let config = background::run(move || Config::load(&path))
            .await
            .map_err(AppError::from)?
            .map_err(AppError::Config)?;
        let config = Arc::new(config);
        let keys = needs_restart(&self.first, &config);
        if !keys.is_empty() {
            return Err(ReloadError::NeedsRestart(keys.join(", ")));
        }
        let peppers = &config.credentials.peppers;
        if !peppers.knows(live.credentials.peppers.current()) {
            return Err(ReloadError::PepperLost);
        }
        let policy = self.source.policy(&config).await?;
        // Last of what can fail, and itself all or nothing.
        self.edge
            .reload_certificates(&config.edge.certificates)
            .map_err(AppError::Edge)?;
        let replaced = self.gateway.live.swap(Arc::new(policy));
        background::drop_after(UNTIL_REPLACED, replaced);
        // Only now: whatever is made under a new pepper has to be known by it.
        self.source.set_peppers(peppers).await;
        self.gateway.audit.set_keys(super::audit_seals(&config));
        set_rules(&self.gateway.desk, &config);
        self.gateway.metrics.set_config(&config.digest);
        self.announcement.set_config(&config.digest);
        if let Some(log) = &self.gateway.log {
            log.reopen();
        }
        Ok(config)
    }
}

/// Every scope that there is.
pub(super) fn scope_set(config: &Config) -> ScopeSet {
    let scopes = config.scopes.iter();
    scopes.map(|(scope, _)| scope.clone()).collect()
}

/// What the desks go by, after the start and after a reload.
fn set_rules(desk: &KeyDesk, config: &Config) {
    desk.set_peppers(config.credentials.peppers.clone());
    desk.set_scopes(scope_set(config));
    desk.tokens().set_issuers(&config.issuers);
    let oauth = config.oauth.as_ref();
    desk.signing_keys()
        .set_algorithm(oauth.map(|oauth| oauth.algorithm));
}

/// Why a reload did not take.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error(transparent)]
    App(#[from] AppError),
    #[error("{0} cannot change while the gateway runs: restart it")]
    NeedsRestart(String),
    /// What is known by it would be known no more, which is an outage and hardly meant.
    #[error(
        "credentials.pepper is another one, and the one in use is not in `previous_pepper` (nor in \
         `next_pepper`): name it there"
    )]
    PepperLost,
}

/// The settings that differ and that a running process cannot take over, as docs/configuration.md
/// lists them.
fn needs_restart(first: &Config, next: &Config) -> Vec<&'static str> {
    let (old, new) = (&first.credentials, &next.credentials);
    let (old_admin, new_admin) = (&first.admin, &next.admin);
    let stores = (format!("{:?}", first.store), format!("{:?}", next.store));
    let token = |config: &Config| {
        config
            .admin
            .token
            .clone()
            .unwrap_or_else(|| Secret::new(""))
    };
    [
        ("listen.https", first.edge.https != next.edge.https),
        ("listen.http", first.edge.http != next.edge.http),
        ("listen.metrics", old_admin.metrics != new_admin.metrics),
        ("listen.admin", old_admin.admin != new_admin.admin),
        ("admin_token", !token(first).matches(&token(next))),
        ("limits and timeouts", first.edge.limits != next.edge.limits),
        ("store", stores.0 != stores.1),
        (
            "store.redis.memory",
            first.revocation_memory != next.revocation_memory,
        ),
        ("credentials.prefix", old.prefix != new.prefix),
        ("credentials.checksum", old.checksum != new.checksum),
        ("credentials.cache", old.cache != new.cache),
        ("internal_token", first.internal_key != next.internal_key),
        ("access_log", first.access_log != next.access_log),
        ("audit_log", old_admin.audit.file != new_admin.audit.file),
        ("audit_copy", old_admin.audit.copy != new_admin.audit.copy),
        ("workers", first.workers != next.workers),
    ]
    .into_iter()
    .filter_map(|(key, differs)| differs.then_some(key))
    .collect()
}

#[async_trait::async_trait]
impl LiveGateway for Operations {
    async fn explain(&self, request: ExplainRequest) -> Value {
        let covers = |host: &str| self.edge.covers(host);
        policy::explain(&self.gateway.live.load_full(), covers, &request).await
    }

    fn routes(&self) -> Value {
        let live = self.gateway.live.load();
        let upstreams: Vec<_> = live
            .targets()
            .iter()
            .map(|target| target.settings().clone())
            .collect();
        let own = live.own_places();
        serde_json::json!(policy::rows(live.settings(), &upstreams, &own))
    }

    async fn reload(&self) -> Result<(), String> {
        Operations::reload(self).await
    }

    fn authorization_server(&self) -> Option<OAuthSettings> {
        let live = self.gateway.live.load();
        live.authorization_server().cloned()
    }

    async fn read_access_token(&self, token: &Secret) -> Result<Arc<VerifiedToken>, Failure> {
        let live = self.gateway.live.load_full();
        live.authenticator().read_access_token(token.expose()).await
    }

    async fn tell_usage(&self) {
        let usage = Arc::clone(self.gateway.live.load().authenticator().usage());
        // In a task of its own: who goes away in the middle of it would have it told twice.
        if let Err(error) = tokio::spawn(async move { usage.tell().await }).await {
            tracing::error!(%error, "telling the uses of keys ended in a bug");
        }
    }

    fn internal_jwks(&self) -> Value {
        self.gateway.signer.jwks().clone()
    }

    fn readiness(&self) -> Readiness {
        let live = self.gateway.live.load();
        let mut missing = Vec::new();
        if self.draining.load(Ordering::Relaxed) {
            missing.push(NotReady::Draining);
        }
        if !self.store_answers.load(Ordering::Relaxed) {
            missing.push(NotReady::Store);
        }
        if !matches!(self.source.lease(), Lease::Fresh(_)) {
            missing.push(NotReady::Lease);
        }
        let issuers = live.authenticator().issuers_without_keys();
        missing.extend(issuers.into_iter().map(|issuer| NotReady::Jwks {
            issuer: issuer.into(),
        }));
        Readiness { missing }
    }
}

/// Serves signals and file changes until SIGTERM or SIGINT.
pub(super) async fn until_stopped(operations: &Arc<Operations>) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut files = watch_files::FileWatch::new(&operations.config_path, &operations.first);
    notify_systemd(&sd_notify::NotifyState::Ready);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => {}
            () = files.changed() => {}
        }
        // What went wrong is logged, counted and shown by the gauge; the old one stays.
        let _ = operations.reload().await;
    }
    notify_systemd(&sd_notify::NotifyState::Stopping);
    Ok(())
}

/// Without `NOTIFY_SOCKET` this does nothing.
fn notify_systemd(state: &sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        tracing::warn!(%error, "systemd could not be told");
    }
}
