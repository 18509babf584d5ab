//! What a policy says of a request that is only thought of, by a caller who is only thought of.
//!
//! Not here: credentials ([`super::explain()`] shows real ones), and what needs more than the
//! configuration: whether a certificate covers the host, what the store knows, which resource a token
//! of our own is for. Invariant: routes are resolved and callers checked by the code of a live request.

use std::net::IpAddr;

use http::{HeaderMap, Method};

use crate::auth::{Bearer as _, Checksum, CredentialKind, IssuerSettings, Refusal, Supposed};
use crate::environment::Environment;
use crate::gateway::{
    Access, Asked, CHECKS, CanonicalPath, Challenging, Check, GatewaySettings, OwnPlace, Reason,
    Resolved, Route, RouteTable, is_known_method, told_of,
};
use crate::observe::Metrics;
use crate::scope::Scope;
use crate::upstream::UpstreamSettings;

/// One compiled policy that serves nothing.
#[derive(Debug)]
pub struct Policy {
    routes: RouteTable,
    parts: PolicyParts,
}

/// What a [`Policy`] is made of. No secret.
#[derive(Debug)]
pub struct PolicyParts {
    /// The request path, routes among it.
    pub gateway: GatewaySettings,
    /// The upstreams that routes refer to by index.
    pub upstreams: Vec<UpstreamSettings>,
    /// Whose access tokens are accepted.
    pub issuers: Vec<IssuerSettings>,
    /// The gateway's own endpoints.
    pub own: Vec<OwnPlace>,
    /// Every scope there is.
    pub scopes: Vec<Scope>,
    /// Which API keys are accepted.
    pub checksum: Checksum,
}

/// A request and its caller.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The method, as a client would send it.
    pub method: &'a str,
    /// The path, perhaps with a query.
    pub path: &'a str,
    /// The `Host`; `None` is one that no route is bound to, and any for the own endpoints.
    pub host: Option<&'a str>,
    /// The client's address; `None` skips the check of allowed addresses.
    pub address: Option<IpAddr>,
    /// Who asks; `None` shows no credential.
    pub caller: Option<&'a Supposed>,
}

/// What becomes of a request.
#[derive(Debug)]
pub struct Decision<'a> {
    /// Whether it is let through.
    pub verdict: Verdict,
    /// The route, or the own endpoint, if there is one.
    pub route: Option<&'a str>,
    /// The route's upstream.
    pub upstream: Option<&'a str>,
    /// What the upstream is told of the caller, where the request is let through.
    pub headers: HeaderMap,
}

/// Whether a request is let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes to the upstream.
    Allow,
    /// It gets an error.
    Deny(Reason),
    /// The gateway answers it itself.
    Own,
}

/// What a path leads to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reach<'a> {
    /// 405.
    OtherMethods,
    /// 404.
    Nothing,
    /// One of the gateway's own endpoints.
    Own(&'a OwnPlace),
    /// A route and its upstream.
    Route(&'a Route, &'a UpstreamSettings),
}

impl Policy {
    /// Compiles a policy.
    pub fn new(parts: PolicyParts) -> Policy {
        let challenging = Challenging {
            realm: &parts.gateway.realm,
            resources: &[],
        };
        let routes = RouteTable::new(&parts.gateway.routes, &challenging, &Metrics::new())
            .expect("the configuration refuses routes for the same requests");
        Policy { routes, parts }
    }

    /// What it is made of.
    pub fn parts(&self) -> &PolicyParts {
        &self.parts
    }

    /// What becomes of a request.
    pub fn decide(&self, question: &Question<'_>) -> Decision<'_> {
        let mut decision = Decision {
            verdict: Verdict::Allow,
            route: None,
            upstream: None,
            headers: HeaderMap::new(),
        };
        if let Err(verdict) = self.walk(question, &mut decision) {
            decision.verdict = verdict;
        }
        decision
    }

    fn walk<'a>(
        &'a self,
        question: &Question<'_>,
        decision: &mut Decision<'a>,
    ) -> Result<(), Verdict> {
        let method = Method::from_bytes(question.method.as_bytes()).ok();
        let method = method.filter(is_known_method);
        let method = method.ok_or(Verdict::Deny(Reason::MethodUnknown))?;
        let path = question.path.split('?').next().unwrap_or_default();
        let path = CanonicalPath::parse(path).map_err(|_| Verdict::Deny(Reason::Path))?;
        let host = question.host.map(str::to_ascii_lowercase);
        let (route, upstream) = match self.reach(host.as_deref(), path.as_str(), &method) {
            Reach::Nothing => return Err(Verdict::Deny(Reason::NotFound)),
            Reach::OtherMethods => return Err(Verdict::Deny(Reason::Method)),
            Reach::Own(place) => {
                decision.route = Some(place.name);
                return Err(Verdict::Own);
            }
            Reach::Route(route, upstream) => (route, upstream),
        };
        decision.route = Some(&route.settings().name);
        decision.upstream = Some(&upstream.name);
        if let Access::Public { .. } = route.settings().access {
            return Ok(());
        }
        let caller = question.caller.ok_or(Verdict::Deny(Reason::Missing))?;
        self.check(route, upstream, question.address, caller)
            .map_err(Verdict::Deny)?;
        decision.headers = told_of(upstream, caller);
        Ok(())
    }

    /// What a request reaches, whoever asks. `host` is lower case, `path` canonical; where no host is
    /// thought of, an own endpoint is met on any, and a route that is bound to one is not, as in
    /// `explain`.
    pub(super) fn reach(&self, host: Option<&str>, path: &str, method: &Method) -> Reach<'_> {
        let own = self.parts.own.iter();
        let own = own.filter(|own| is_at(own, host, path));
        // A name beats a parameter.
        if let Some(place) = own.min_by_key(|own| own.path.matches('{').count()) {
            let mut methods = place.methods.split(", ");
            return match methods.any(|own| own == method.as_str()) {
                true => Reach::Own(place),
                false => Reach::OtherMethods,
            };
        }
        match self.routes.resolve(host.unwrap_or_default(), path, method) {
            Resolved::NotFound => Reach::Nothing,
            Resolved::MethodNotAllowed(_) => Reach::OtherMethods,
            Resolved::Route(route) => {
                let upstream = self.parts.upstreams.get(route.settings().upstream);
                Reach::Route(
                    route,
                    upstream.expect("the configuration resolved its name"),
                )
            }
        }
    }

    /// Whether a route that is not public lets a caller through.
    pub(super) fn check(
        &self,
        route: &Route,
        upstream: &UpstreamSettings,
        address: Option<IpAddr>,
        caller: &Supposed,
    ) -> Result<(), Reason> {
        if caller.kind() == CredentialKind::AccessToken && !self.trusts(caller) {
            return Err(Reason::Refused(Refusal::Issuer));
        }
        for check in CHECKS {
            let Some(client) = address.or(unless_address(check)) else {
                continue;
            };
            let asked = Asked {
                route,
                client,
                upstream: upstream.environment,
            };
            if !check.allows(&asked, caller) {
                return Err(check.reason());
            }
        }
        Ok(())
    }

    /// Whether an issuer's tokens are accepted at all. How they are signed is not thought of.
    fn trusts(&self, caller: &Supposed) -> bool {
        let mut issuers = self.parts.issuers.iter();
        issuers.any(|known| caller.issuer() == Some(known.issuer.as_str()))
    }

    /// Every route in the order of the configuration, with its upstream's world.
    pub(super) fn routes(&self) -> impl Iterator<Item = (&Route, Environment)> {
        self.routes.routes().iter().map(|route| {
            let upstream = self.parts.upstreams.get(route.settings().upstream);
            let world = upstream.map_or(Environment::Live, |upstream| upstream.environment);
            (&**route, world)
        })
    }
}

impl Verdict {
    /// The status that the client gets from the gateway; of a request that is let through 200, as
    /// `explain` says it.
    pub fn status(self) -> Option<u16> {
        match self {
            Verdict::Allow => Some(200),
            Verdict::Deny(reason) => Some(reason.answer().status.as_u16()),
            Verdict::Own => None,
        }
    }

    /// The word for it.
    pub const fn label(self) -> &'static str {
        match self {
            Verdict::Allow => "allow",
            Verdict::Deny(_) => "deny",
            Verdict::Own => "own",
        }
    }

    /// Why not, if not.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Verdict::Deny(reason) => Some(reason.label()),
            Verdict::Allow | Verdict::Own => None,
        }
    }
}

/// Only the address check needs an address; the others get one that they do not look at.
fn unless_address(check: Check) -> Option<IpAddr> {
    match check {
        Check::Address => None,
        Check::Environment | Check::Scope => Some(IpAddr::from([0, 0, 0, 0])),
    }
}

/// A place's path is a table's line: a name in braces stands for one segment.
fn is_at(place: &OwnPlace, host: Option<&str>, path: &str) -> bool {
    let on_host = match (&place.host, host) {
        (Some(own), Some(host)) => own.split(':').next() == Some(host),
        (None, _) | (_, None) => true,
    };
    let mut segments = path.trim_end_matches('/').split('/');
    let fits = place.path.split('/').all(|own| {
        let segment = segments.next();
        segment.is_some_and(|segment| own == segment || own.starts_with('{'))
    });
    on_host && fits && segments.next().is_none()
}
