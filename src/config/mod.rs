//! `gateway.yaml` → every room's settings. The only place that knows YAML.
//!
//! Not here: opening listeners or stores. Invariants: a [`Config`] exists only if everything in it
//! was checked and every reference resolved; all problems are reported at once, each with its
//! place; a secret read from a file or the environment is in no message.

use crate::admin::AdminSettings;
use crate::auth::{CredentialSettings, IssuerSettings};
use crate::edge::EdgeSettings;
use crate::gateway::GatewaySettings;
use crate::observe::AccessLogSettings;
use crate::scope::Scope;
use crate::store::StoreSettings;
use crate::upstream::UpstreamSettings;

/// A whole checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Listeners, certificates, connection limits.
    pub edge: EdgeSettings,
    /// The store.
    pub store: StoreSettings,
    /// API keys.
    pub credentials: CredentialSettings,
    /// Issuers of access tokens.
    pub issuers: Vec<IssuerSettings>,
    /// Every scope with its description, in the order of the file.
    pub scopes: Vec<(Scope, String)>,
    /// Upstreams in the order of the file; routes refer to them by index.
    pub upstreams: Vec<UpstreamSettings>,
    /// Routes and the rest of the request path.
    pub gateway: GatewaySettings,
    /// The operator's listeners.
    pub admin: AdminSettings,
    /// The access log.
    pub access_log: AccessLogSettings,
    /// SHA-256 of the file's bytes, hex: tells configurations apart in metrics and logs.
    pub digest: String,
}
