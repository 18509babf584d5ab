//! What the config says about upstreams, already checked.

use std::path::PathBuf;
use std::time::Duration;

use crate::environment::Environment;

/// One named group of equal servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// The name in routes, metrics and logs.
    pub name: String,
    /// At least one.
    pub endpoints: Vec<Endpoint>,
    /// PEM file of the CA for `https` endpoints; `None` is the public ones.
    pub ca: Option<PathBuf>,
    /// From the last byte sent to the answer's head.
    pub timeout: Duration,
    /// For TCP and TLS to be set up.
    pub connect_timeout: Duration,
    /// Between two reads of an answer's body.
    pub idle_timeout: Duration,
    /// How long an unused connection is kept.
    pub keep_alive: Duration,
    /// Live, or a sandbox that test keys may reach.
    pub environment: Environment,
    /// How the caller's identity is told.
    pub identity: IdentityMode,
    /// What `Host` the upstream sees.
    pub host: HostHeader,
    /// Whether the client's credential is passed on (for legacy upstreams; warned about).
    pub forward_credential: bool,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// How to talk to it.
    pub protocol: Protocol,
    /// Name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// How to talk to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `h2c://`: HTTP/2 without TLS, by prior knowledge.
    H2c,
    /// `http://`: HTTP/1.1 without TLS.
    Http,
    /// `https://`: TLS; HTTP/2 or HTTP/1.1 as ALPN says.
    Https,
}

/// How the caller's identity is told to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityMode {
    /// Plain `X-Auth-…` headers.
    Headers,
    /// One signed internal token in `X-Auth-Token`.
    Jwt,
    /// Not at all.
    None,
}

/// What `Host` the upstream sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostHeader {
    /// The client's.
    Preserve,
    /// The endpoint's own.
    Upstream,
}
