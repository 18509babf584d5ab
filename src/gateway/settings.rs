//! What the config says about routes, already checked and resolved.

use std::time::Duration;

use http::Method;
use ipnet::IpNet;

use crate::auth::SessionSettings;
use crate::scope::ScopeSet;

/// Everything that the request path needs to know.
#[derive(Clone, Debug)]
pub struct GatewaySettings {
    /// The `realm` of the challenge.
    pub realm: String,
    /// In the order of the config.
    pub routes: Vec<RouteSettings>,
    /// Peers whose `X-Forwarded-…` and `Forwarded` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Largest request body in bytes, where a route does not say otherwise.
    pub max_body: u64,
    /// How long a request body may pause.
    pub body_idle: Duration,
    /// Most fields of a request head, over HTTP/2 too.
    pub header_count: usize,
    /// What becomes of a credential seen in clear text.
    pub plaintext_credentials: PlaintextCredentials,
    /// Where temporary access is given.
    pub sessions: SessionSettings,
}

/// What becomes of a credential seen in clear text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaintextCredentials {
    /// Counted and logged by its id.
    Report,
    /// And revoked.
    Revoke,
}

/// One line of the policy.
#[derive(Clone, Debug)]
pub struct RouteSettings {
    /// The name in logs and metrics.
    pub name: String,
    /// Lower case without port; empty is every host that a certificate covers.
    pub hosts: Vec<String>,
    /// Which paths.
    pub pattern: PathPattern,
    /// Which methods; never empty.
    pub methods: Vec<Method>,
    /// Who may.
    pub access: Access,
    /// Index into the config's upstreams.
    pub upstream: usize,
    /// Cut from the path's beginning before it is forwarded.
    pub strip_prefix: Option<String>,
    /// Overrides the upstream's time to an answer's head.
    pub timeout: Option<Duration>,
    /// Overrides [`GatewaySettings::max_body`].
    pub max_body: Option<u64>,
    /// Whether request trailers are passed on.
    pub trailers: bool,
}

/// Which paths a route is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    /// The path itself and everything beneath it, at a segment boundary. No trailing slash.
    Prefix(String),
    /// A whole path; `{name}` stands for one segment.
    Template(String),
}

/// Who may use a route. Has no default: access is always written (architecture.md §3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Holders of at least one of these.
    AnyScope(ScopeSet),
    /// Holders of any valid credential.
    Authenticated,
    /// Everyone; no credential is looked at or passed on.
    Public {
        /// Why; shown by `portcullis routes`.
        reason: String,
    },
    /// Holders of all of these.
    Scopes(ScopeSet),
}

impl Access {
    /// The scopes that it asks for, one or all of them.
    pub fn scopes(&self) -> Option<&ScopeSet> {
        match self {
            Access::AnyScope(scopes) | Access::Scopes(scopes) => Some(scopes),
            Access::Authenticated | Access::Public { .. } => None,
        }
    }
}
