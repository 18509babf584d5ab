//! The edge: accept → TLS → wire guard → HTTP version. Everything before a request has a meaning.
//!
//! Not here: routes, credentials, bodies of answers ([`crate::gateway`] implements [`Handler`]).
//! Invariants: only `tls` builds a [`TlsPeer`], and [`Handler::handle`] takes nothing else, so no
//! clear-text request can be authenticated or forwarded; hyper's HTTP/1 parser sees only bytes
//! that the wire guard has passed; every wait has a deadline from [`ConnectionLimits`].

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, Response};
use prometheus::IntGauge;

use crate::observe::Metrics;

mod sockets;
mod balance;
mod caps;
mod tls;
mod serve;
mod wire;
mod guard;
mod malformed;
mod frames;
mod exchange;
mod conversation;
mod answer;
mod peer;
mod resting;
#[doc(hidden)]
pub mod cost;

pub use crate::upload::Upload;
pub use malformed::Malformed;
pub use peer::{PlainPeer, TlsPeer};
pub use serve::serve;
pub use sockets::{BindError, WorkerSockets, bind};
pub use tls::CertificateError;

use caps::Caps;
use tls::Tls;

/// What stands behind the edge: one per worker, shared by its connections.
pub trait Handler: 'static {
    /// The body of its answers.
    type Body: http_body::Body<Data = Bytes, Error: Into<BoxError>> + 'static;

    /// Answers one request that came over TLS, or a head that no parser may read
    /// (the answer to that must close the connection; the edge adds `connection: close`).
    fn handle(
        &self,
        peer: Rc<TlsPeer>,
        request: Result<Request<Upload>, Malformed>,
    ) -> impl Future<Output = Response<Self::Body>>;

    /// Answers one request that came in clear text. The connection closes after it.
    fn refuse_plaintext(
        &self,
        peer: PlainPeer,
        request: Result<Request<Upload>, Malformed>,
    ) -> impl Future<Output = Response<Self::Body>>;
}

/// Any error, as HTTP bodies carry it.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Where to listen, with which certificates, within which limits.
#[derive(Clone, Debug)]
pub struct EdgeSettings {
    /// The API: TLS only.
    pub https: SocketAddr,
    /// Clear text: answers 426 and nothing else.
    pub http: Option<SocketAddr>,
    /// Chosen by SNI; the first is for clients that send none.
    pub certificates: Vec<CertificateFiles>,
    /// Bounds on connections.
    pub limits: ConnectionLimits,
}

/// A certificate chain and its private key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// Chain, leaf first.
    pub cert: PathBuf,
    /// PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// Bounds on connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Open connections in all, over all workers.
    pub connections: usize,
    /// Open connections from one address (IPv6: one /64).
    pub connections_per_address: usize,
    /// From accept to a finished TLS handshake.
    pub handshake: Duration,
    /// From a request head's first byte to its last, and from a connection's beginning to its
    /// first request.
    pub header: Duration,
    /// From an answer's end to the next request's first byte.
    pub idle: Duration,
    /// Between two reads of a request body, and for an answer's bytes to be taken (HTTP/2: each
    /// answer's, behind its own window).
    pub body_idle: Duration,
    /// Bytes of a request head; past it 431.
    pub header_bytes: usize,
    /// Fields in a request head or trailer section; past it 431.
    pub header_count: usize,
    /// Bytes of a request target; past it 414.
    pub uri_bytes: usize,
    /// Streams open at once on one HTTP/2 connection.
    pub h2_streams: u32,
}

/// What all workers' edges share.
#[derive(Debug)]
pub struct Edge {
    limits: ConnectionLimits,
    tls: ArcSwap<Tls>,
    caps: Arc<Caps>,
    metrics: Arc<Metrics>,
    open_https: IntGauge,
    open_http: IntGauge,
}

/// Why the edge cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// A listener.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

impl Edge {
    /// Reads the certificates. Binds nothing.
    pub fn new(settings: &EdgeSettings, metrics: Arc<Metrics>) -> Result<Arc<Edge>, EdgeError> {
        let limits = settings.limits;
        let tls = Tls::load(&settings.certificates)?;
        tls.publish(&metrics);
        Ok(Arc::new(Edge {
            tls: ArcSwap::from_pointee(tls),
            caps: Caps::new(limits.connections, limits.connections_per_address),
            open_https: metrics.connections.with_label_values(&["https"]),
            open_http: metrics.connections.with_label_values(&["http"]),
            limits,
            metrics,
        }))
    }

    /// Whether a client that asks for `host` is shown a certificate that covers it.
    pub fn covers(&self, host: &str) -> bool {
        self.tls.load().names(Some(host)).cover(host)
    }

    /// Reads other certificates. New handshakes use them from now on, or, on an error, go on with
    /// those before. Connections that are open are not touched.
    pub fn reload_certificates(&self, files: &[CertificateFiles]) -> Result<(), EdgeError> {
        let tls = Tls::load(files)?;
        tls.publish(&self.metrics);
        self.tls.store(Arc::new(tls));
        Ok(())
    }
}
