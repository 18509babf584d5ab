//! The operator's side over HTTP: the admin API, its client, and the metrics and health listener.
//!
//! Not here: what a key is ([`crate::auth`]), what explain and reload do (whoever implements
//! [`LiveGateway`]). Invariants: the two listeners share no path, so nothing of the admin API can
//! be reached through the metrics port; over TCP every request shows the admin token before its
//! path is looked at; every read has a deadline and a largest size.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::observe::AuditSettings;
use crate::secret::Secret;

mod api;
mod body;
mod client;
mod clients;
mod door;
mod fleet;
mod key_report;
mod keys;
mod listener;
mod live;
mod logins;
mod page;
mod problem;
mod process;
mod proof;
mod sessions;
mod signing_keys;
mod socket;
mod store;
mod tokens;
mod users;
mod vitals;
mod wire;

pub use api::AdminListener;
pub use client::{AdminClient, ClientError};
pub use clients::{
    ClientList, ClientView, CreatedClient, RotateClientBody, RotatedClientView, SecretView,
};
pub use fleet::{FleetView, ForgottenInstanceView, InstanceView};
pub use key_report::{
    FindingKind, FindingView, KeyReportList, KeyReportView, ScopeUses, UsageView,
};
pub use live::{LiveGateway, NotReady, Readiness};
pub use logins::{AcceptLoginBody, AnsweredLoginView, LoginView, RejectLoginBody, ScopeView};
pub use proof::{ConfirmationView, InvalidWait, ProofView, Proven, Wait};
pub use sessions::{EndedSessions, SessionList, SessionSelection, SessionView};
pub use signing_keys::{
    RotateSigningKeyBody, RotatedSigningKeyView, SigningKeyList, SigningKeyStanding, SigningKeyView,
};
pub use socket::SocketError;
pub use tokens::{RevokedShownView, RevokedTokensView, ShownTokenBody};
pub use users::{AppList, AppView, NewUserBody, PasswordBody, UserList, UserView};
pub use vitals::{MetricsListener, Vitals};
pub use wire::{
    BodyProblem, CreatedKey, ExplainBody, KeyDetails, KeyList, KeyView, NewKeyBody, Revocation,
    RevokedKey, RotateKeyBody, RotatedKeyView, RotationView,
};

/// Where the operator's listeners are.
#[derive(Clone, Debug)]
pub struct AdminSettings {
    /// `/metrics`, `/healthz`, `/readyz`, `/version`.
    pub metrics: Option<SocketAddr>,
    /// The admin API.
    pub admin: Option<AdminAddress>,
    /// Demanded on TCP.
    pub token: Option<Secret>,
    /// Where the audit lines go.
    pub audit: AuditSettings,
}

/// Where the admin API listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// A loopback address, with a token.
    Tcp(SocketAddr),
    /// A socket file of mode 0600: its permission is the check.
    Unix(PathBuf),
}

impl std::fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AdminAddress::Tcp(address) => write!(f, "{address}"),
            AdminAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why a listener of the operator's cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address is taken, or not ours.
    #[error("cannot listen on {address} (listen.{key})")]
    Bind {
        /// Which listener.
        key: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Clear-text TCP beyond this machine.
    #[error("the admin API listens in clear text only on a loopback address, not on {0}")]
    NotLoopback(SocketAddr),
    /// The socket file cannot be put in its place.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// TCP without a token.
    #[error(
        "the admin API on TCP needs a token of at least {} characters",
        AdminError::TOKEN_CHARS
    )]
    Token,
}

impl AdminError {
    /// The shortest admin token.
    pub const TOKEN_CHARS: usize = 16;
}
