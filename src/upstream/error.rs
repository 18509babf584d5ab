//! Why an exchange with an upstream gave no answer, and whose doing it was.

use super::RequestBodyFault;

/// No usable answer from an upstream.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The client's request body ended in a fault: the client's doing, not the upstream's.
    #[error("the request body failed")]
    ClientBody(RequestBodyFault),
    /// No connection: refused, unreachable, name not found.
    #[error("cannot connect")]
    Connect(#[source] std::io::Error),
    /// No connection within `connect_timeout`.
    #[error("connecting took too long")]
    ConnectTimeout,
    /// The connection broke, or what came back is not HTTP.
    #[error("the exchange broke off")]
    Exchange(#[source] hyper::Error),
    /// An answer that could be read in two ways, or that nobody asked for.
    #[error("the answer is not acceptable: {0}")]
    Answer(&'static str),
    /// No answer's head within `timeout`.
    #[error("no answer in time")]
    Timeout,
    /// TLS to the upstream failed.
    #[error("the TLS handshake failed")]
    Tls(#[source] std::io::Error),
}

impl UpstreamError {
    /// The word for it in logs and metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            UpstreamError::Answer(_) => "upstream_answer",
            UpstreamError::ClientBody(fault) => fault.label(),
            UpstreamError::Connect(_) => "upstream_connect",
            UpstreamError::ConnectTimeout => "upstream_connect_timeout",
            UpstreamError::Exchange(_) => "upstream_exchange",
            UpstreamError::Timeout => "upstream_timeout",
            UpstreamError::Tls(_) => "upstream_tls",
        }
    }
}
