//! The policy that is live, shared by all workers, and each worker's own part of it.
//!
//! A reload makes a new [`Live`] and swaps it in whole: a request sees one policy from its intake
//! to its record. Invariants: a [`Live`] is complete or is not made; nothing in it changes; a
//! worker's pools always belong to the [`Live`] that it hands out with them.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{HeaderValue, Request};

use super::identity::InternalTokens;
use super::own_endpoints::{OAuthEndpoints, OwnEndpoint, OwnPlace, own_places};
use super::record::Recorder;
use super::request_id::RequestIds;
use super::{Access, Challenging, GatewaySettings, Route, RouteConflict, RouteTable};
use crate::auth::{Authenticator, KeyDesk, OwnCookies};
use crate::clock::Clock;
use crate::oauth::{AuthorizationServer, INTERACTION_COOKIE, OAuthSettings};
use crate::observe::{AccessLogSink, AuditLog, Metrics};
use crate::token::InternalTokenSigner;
use crate::upstream::{Pool, Target, TargetError, UpstreamSettings};

/// One compiled policy.
#[derive(Debug)]
pub struct Live {
    settings: GatewaySettings,
    routes: RouteTable,
    targets: Vec<Arc<Target>>,
    authenticator: Arc<Authenticator>,
    session_route: Arc<Route>,
    oauth: Option<OAuthEndpoints>,
    own_cookies: Option<OwnCookies>,
}

/// Why a policy cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// Two routes are for the same requests.
    #[error(transparent)]
    Route(#[from] RouteConflict),
    /// An upstream cannot be used.
    #[error(transparent)]
    Upstream(#[from] TargetError),
}

impl Live {
    /// Compiles a policy. Connects to nothing.
    pub fn new(
        settings: GatewaySettings,
        upstreams: &[UpstreamSettings],
        authenticator: Arc<Authenticator>,
        oauth: Option<AuthorizationServer>,
        metrics: &Metrics,
    ) -> Result<Live, LiveError> {
        let resources = oauth.as_ref().map(AuthorizationServer::protected_resources);
        let challenging = Challenging {
            realm: &settings.realm,
            resources: resources.as_deref().unwrap_or_default(),
        };
        let routes = RouteTable::new(&settings.routes, &challenging, metrics)?;
        let targets = upstreams
            .iter()
            .map(|upstream| Ok(Arc::new(Target::new(upstream.clone(), metrics)?)))
            .collect::<Result<_, TargetError>>()?;
        let session_route = Route::own(
            OwnEndpoint::SESSIONS,
            Access::Authenticated,
            &challenging,
            metrics,
        );
        let oauth = oauth.map(|server| OAuthEndpoints::new(server, &challenging, metrics));
        let interaction = oauth.as_ref().map(|_| INTERACTION_COOKIE);
        let session = settings.sessions.cookie.as_ref();
        Ok(Live {
            own_cookies: OwnCookies::new(session, interaction.as_slice()),
            session_route: Arc::new(session_route),
            settings,
            routes,
            targets,
            authenticator,
            oauth,
        })
    }

    /// What the config says about the request path.
    pub fn settings(&self) -> &GatewaySettings {
        &self.settings
    }

    /// The routes.
    pub fn routes(&self) -> &RouteTable {
        &self.routes
    }

    /// What stands for the session endpoints where a route is asked for.
    pub(super) fn session_route(&self) -> &Arc<Route> {
        &self.session_route
    }

    /// The upstreams, in the order of the config.
    pub fn targets(&self) -> &[Arc<Target>] {
        &self.targets
    }

    /// The authorization server's endpoints, if there is one.
    pub(super) fn oauth(&self) -> Option<&OAuthEndpoints> {
        self.oauth.as_ref()
    }

    /// The cookies that no upstream sees or sets; `None` if there are none.
    pub(super) fn own_cookies(&self) -> Option<&OwnCookies> {
        self.own_cookies.as_ref()
    }

    /// How the authorization server is set up, if there is one.
    pub fn authorization_server(&self) -> Option<&OAuthSettings> {
        self.oauth.as_ref().map(OAuthEndpoints::settings)
    }

    /// Where the gateway's own endpoints are.
    pub fn own_places(&self) -> Vec<OwnPlace> {
        let oauth = self.oauth().map(OAuthEndpoints::places);
        own_places(&self.settings, oauth)
    }

    /// What verifies credentials.
    pub fn authenticator(&self) -> &Arc<Authenticator> {
        &self.authenticator
    }
}

/// What a [`Gateway`] works with; shared by all workers.
#[derive(Clone)]
pub struct GatewayParts {
    /// The policy that is live.
    pub live: Arc<ArcSwap<Live>>,
    /// Where things are counted.
    pub metrics: Arc<Metrics>,
    /// Where requests are logged.
    pub log: Option<AccessLogSink>,
    /// Signs what upstreams are told.
    pub signer: Arc<InternalTokenSigner>,
    /// Bounds the look-ups of keys that were seen in clear text.
    pub plaintext_lookups: Arc<tokio::sync::Semaphore>,
    /// Where changes are told.
    pub audit: AuditLog,
    /// Revokes keys that were seen in clear text.
    pub desk: Arc<KeyDesk>,
    /// The runtime on which the store may be called.
    pub control: tokio::runtime::Handle,
    /// The time.
    pub clock: Clock,
}

/// One worker's end of the gateway.
pub struct Gateway {
    parts: GatewayParts,
    recorder: Rc<Recorder>,
    tokens: Rc<InternalTokens>,
    ids: RequestIds,
    worker: RefCell<Rc<Worker>>,
}

/// One policy with one worker's connection pools for it.
#[derive(Debug)]
pub(super) struct Worker {
    live: Arc<Live>,
    pools: Vec<Rc<Pool>>,
    tokens: Rc<InternalTokens>,
    metrics: Arc<Metrics>,
    desk: Arc<KeyDesk>,
    control: tokio::runtime::Handle,
}

impl Gateway {
    /// To be called on the worker's own thread.
    pub fn new(parts: GatewayParts) -> Gateway {
        let tokens = Rc::new(InternalTokens::new(
            Arc::clone(&parts.signer),
            parts.clock.clone(),
        ));
        let recorder = Rc::new(Recorder {
            metrics: Arc::clone(&parts.metrics),
            unrouted: parts.metrics.route("none"),
            log: parts.log.as_ref().map(|log| Rc::new(log.worker())),
            audit: parts.audit.clone(),
            clock: parts.clock.clone(),
        });
        let live = parts.live.load_full();
        let worker = Rc::new(Worker::new(live, &tokens, &parts, &[]));
        let worker = RefCell::new(worker);
        Gateway {
            parts,
            recorder,
            tokens,
            ids: RequestIds::new(),
            worker,
        }
    }

    /// What is to be done every moment, whether or not requests come: access-log lines move on,
    /// and idle upstream connections that their upstream has closed are let go.
    pub fn tick(&self) {
        if let Some(log) = &self.recorder.log {
            log.hand_over();
        }
        for pool in &self.worker().pools {
            pool.sweep();
        }
    }

    /// The live policy with this worker's pools for it.
    pub(super) fn worker(&self) -> Rc<Worker> {
        let live = self.parts.live.load();
        let mut worker = self.worker.borrow_mut();
        if !Arc::ptr_eq(&live, &worker.live) {
            *worker = Rc::new(Worker::new(
                Arc::clone(&live),
                &self.tokens,
                &self.parts,
                &worker.pools,
            ));
        }
        Rc::clone(&worker)
    }

    pub(super) fn parts(&self) -> &GatewayParts {
        &self.parts
    }

    pub(super) fn recorder(&self) -> &Rc<Recorder> {
        &self.recorder
    }

    /// The client's request id if it is well-formed, else a new one.
    pub(super) fn request_id<B>(
        &self,
        worker: &Worker,
        request: Option<&Request<B>>,
    ) -> HeaderValue {
        let form = worker.live.authenticator().form();
        self.ids.of(request.map(Request::headers), form)
    }
}

impl Worker {
    /// Keeps the pools of upstreams that are the same as before: a reload costs no connection.
    fn new(
        live: Arc<Live>,
        tokens: &Rc<InternalTokens>,
        parts: &GatewayParts,
        before: &[Rc<Pool>],
    ) -> Worker {
        let pool = |target: &Arc<Target>| {
            let same = before.iter().find(|pool| pool.target().stands_for(target));
            same.map_or_else(|| Rc::new(Pool::new(Arc::clone(target))), Rc::clone)
        };
        let pools = live.targets.iter().map(pool).collect();
        Worker {
            live,
            pools,
            tokens: Rc::clone(tokens),
            metrics: Arc::clone(&parts.metrics),
            desk: Arc::clone(&parts.desk),
            control: parts.control.clone(),
        }
    }

    /// What the gateway's own endpoints work with.
    pub(super) fn desk(&self) -> &Arc<KeyDesk> {
        &self.desk
    }

    /// The runtime on which the store may be called.
    pub(super) fn control(&self) -> &tokio::runtime::Handle {
        &self.control
    }

    pub(super) fn live(&self) -> &Live {
        &self.live
    }

    /// The pool of an upstream, by the index that its routes have.
    pub(super) fn pool(&self, upstream: usize) -> &Pool {
        &self.pools[upstream]
    }

    pub(super) fn tokens(&self) -> &InternalTokens {
        &self.tokens
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}
