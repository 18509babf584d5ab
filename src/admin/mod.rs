//! The operator's listeners: metrics and health, and the admin API.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::secret::Secret;

/// Where the operator's listeners are.
#[derive(Clone, Debug)]
pub struct AdminSettings {
    /// `/metrics`, `/healthz`, `/readyz`, `/version`.
    pub metrics: Option<SocketAddr>,
    /// The admin API.
    pub admin: Option<AdminAddress>,
    /// Demanded on TCP.
    pub token: Option<Secret>,
    /// Where the audit lines go (JSONL, append only).
    pub audit: PathBuf,
}

/// Where the admin API listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// A loopback address, with a token.
    Tcp(SocketAddr),
    /// A socket file of mode 0600: its permission is the check.
    Unix(PathBuf),
}
