//! From a configuration to a live policy: at the start, at each reload, and for `explain` on a
//! configuration that does not run.
//!
//! Invariant: what a reload keeps (cached keys, the not-before list, the store) is exactly what
//! [`crate::auth::Authenticator::renewed`] shares; all else is made anew from the file.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Handle;

use super::AppError;
use super::background;
use crate::auth::{AccessTokens, Authenticator, Follower, Lease, Revocation};
use crate::clock::Clock;
use crate::config::Config;
use crate::edge::Edge;
use crate::gateway::Live;
use crate::oauth::{AuthorizationServer, OAuthParts};
use crate::observe::{AuditLog, Metrics};
use crate::policy::{self, ExplainRequest};
use crate::secret::Peppers;
use crate::store::Store;

/// What a policy is for, and so what is done about the keys of the authorization server.
enum Purpose {
    /// For `explain`: they are read once.
    Explain,
    /// For requests, which leave audit lines: they are read now and again, and the one that is
    /// missing is made.
    Serve(AuditLog),
}

/// Makes live policies that share one set of credentials.
pub(super) struct PolicySource {
    first: Arc<Authenticator>,
    oauth: OAuthParts,
    control: Handle,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl PolicySource {
    /// With the policy of a first configuration, and the follower that keeps its credentials true.
    pub(super) async fn new(
        config: &Config,
        store: &Arc<dyn Store>,
        control: Handle,
        clock: Clock,
        metrics: Arc<Metrics>,
        audit: AuditLog,
    ) -> Result<(PolicySource, Live, Follower), AppError> {
        let purpose = Purpose::Serve(audit);
        PolicySource::open(config, store, control, clock, metrics, purpose).await
    }

    async fn open(
        config: &Config,
        store: &Arc<dyn Store>,
        control: Handle,
        clock: Clock,
        metrics: Arc<Metrics>,
        purpose: Purpose,
    ) -> Result<(PolicySource, Live, Follower), AppError> {
        let credentials = &config.credentials;
        let audit = match purpose {
            Purpose::Explain => None,
            Purpose::Serve(audit) => Some(audit),
        };
        let serves = audit.is_some();
        let oauth = OAuthParts::new(
            Arc::clone(store),
            clock.clone(),
            credentials,
            control.clone(),
            audit,
            &metrics,
        );
        if let Some(settings) = &config.oauth {
            match serves {
                true => {
                    let keys = oauth.signing_keys();
                    // First: no key is made in the place of one that cannot be opened.
                    keys.check_opens().await?;
                    keys.start(settings.algorithm).await;
                }
                false => oauth.signing_keys().look().await,
            }
        }
        let tokens = access_tokens(config, &oauth, &clock, &metrics, &control).await?;
        let cache = &config.credentials.cache;
        let revocation = Arc::new(Revocation::new(cache, &config.issuers));
        let (authenticator, follower) = Authenticator::new(
            &config.credentials,
            tokens,
            revocation,
            Arc::clone(store),
            control.clone(),
            clock.clone(),
            &metrics,
        );
        let follower = match &config.revocation_memory {
            // Another process, the gateway itself, may have the file.
            Some(path) if serves => follower.remembering(path.clone()).await,
            Some(_) | None => follower,
        };
        let first = Arc::new(authenticator);
        let live = Live::new(
            config.gateway.clone(),
            &config.upstreams,
            Arc::clone(&first),
            server(config, &oauth, &first),
            &metrics,
        )?;
        Ok((
            PolicySource {
                first,
                oauth,
                control,
                clock,
                metrics,
            },
            live,
            follower,
        ))
    }

    /// The policy of another configuration.
    pub(super) async fn policy(&self, config: &Arc<Config>) -> Result<Live, AppError> {
        if let Some(settings) = &config.oauth {
            self.oauth.signing_keys().start(settings.algorithm).await;
        }
        let tokens = access_tokens(
            config,
            &self.oauth,
            &self.clock,
            &self.metrics,
            &self.control,
        )
        .await?;
        self.first.revocation().allow_for(&config.issuers);
        let peppers = &config.credentials.peppers;
        let authenticator = Arc::new(self.first.renewed(tokens, peppers));
        let oauth = server(config, &self.oauth.with_peppers(peppers), &authenticator);
        let (config, metrics) = (Arc::clone(config), Arc::clone(&self.metrics));
        let compiled = background::run(move || {
            let gateway = config.gateway.clone();
            Live::new(gateway, &config.upstreams, authenticator, oauth, &metrics)
        });
        Ok(compiled.await??)
    }

    /// What the policy in force makes is made under these from now on.
    pub(super) async fn set_peppers(&self, peppers: &Peppers) {
        self.oauth.signing_keys().set_peppers(peppers.clone()).await;
    }

    /// What is revoked, and the lease on knowing it.
    pub(super) fn revocation(&self) -> &Arc<Revocation> {
        self.first.revocation()
    }

    /// What verifies credentials from the first configuration on; its caches are those of all.
    pub(super) fn first(&self) -> &Arc<Authenticator> {
        &self.first
    }

    /// The lease on the revocation log.
    pub(super) fn lease(&self) -> Lease {
        self.first.revocation().lease()
    }
}

/// The authorization server of a configuration, if it has one.
fn server(
    config: &Config,
    parts: &OAuthParts,
    authenticator: &Arc<Authenticator>,
) -> Option<AuthorizationServer> {
    let settings = config.oauth.clone()?;
    let authenticator = Arc::clone(authenticator);
    Some(AuthorizationServer::new(
        settings,
        parts.clone(),
        authenticator,
    ))
}

async fn access_tokens(
    config: &Config,
    oauth: &OAuthParts,
    clock: &Clock,
    metrics: &Arc<Metrics>,
    control: &Handle,
) -> Result<AccessTokens, AppError> {
    let capacity = config.credentials.cache.capacity;
    let tokens = AccessTokens::with_own_keys(
        &config.issuers,
        oauth.own_keys(),
        clock.clone(),
        metrics,
        control,
        capacity,
    )?;
    tokens.prefetch().await;
    Ok(tokens)
}

/// Explains a request under a configuration that does not run here; asks the store directly.
pub async fn explain_offline(config: &Config, request: &ExplainRequest) -> Result<Value, AppError> {
    let (clock, metrics) = (Clock::system(), Arc::new(Metrics::new()));
    let edge = Edge::new(&config.edge, Arc::clone(&metrics))?;
    let store = crate::store::open(&config.store, &clock, &metrics)?;
    let control = Handle::current();
    let (source, live, follower) =
        PolicySource::open(config, &store, control, clock, metrics, Purpose::Explain).await?;
    let following = tokio::spawn(follower.run());
    wait_until_fresh(&source, Duration::from_secs(2)).await;
    let explanation = policy::explain(&live, |host| edge.covers(host), request).await;
    following.abort();
    Ok(explanation)
}

/// Waits for the first word of the revocation log, at most for `patience`.
pub(super) async fn wait_until_fresh(source: &PolicySource, patience: Duration) {
    let fresh = async {
        while !matches!(source.lease(), Lease::Fresh(_)) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    if tokio::time::timeout(patience, fresh).await.is_err() {
        tracing::warn!("the store has not answered yet: credentials are 503 until it does");
    }
}
