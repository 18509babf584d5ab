//! Why a request has no answer: told in full before the run, counted by kind during it.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Why a request has no answer, or no connection stands.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("no address is known for {host}")]
    Address { host: String, source: io::Error },
    #[error("the certificate is not to be trusted (--ca names the CA that made it)")]
    Certificate(#[source] rustls::Error),
    #[error("{address}: no connection")]
    Connect {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("the exchange broke")]
    Exchange(#[from] hyper::Error),
    #[error("the TLS handshake failed")]
    Handshake(#[source] io::Error),
    #[error("the server does not offer HTTP/2")]
    NoHttp2,
    #[error("no answer in time (--timeout)")]
    Timeout,
}

/// What failures are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Address,
    Certificate,
    /// The server ended the connection before it answered.
    Closed,
    Connect,
    Handshake,
    NoHttp2,
    /// What came is not HTTP, or HTTP/2 reset the stream.
    Protocol,
    Refused,
    Reset,
    Timeout,
    /// Still under way when the run was over.
    Unfinished,
}

impl Failure {
    /// A handshake's error: the certificate's, or another.
    pub(crate) fn of_handshake(error: io::Error) -> Failure {
        let tls = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(tls @ rustls::Error::InvalidCertificate(_)) => Failure::Certificate(tls.clone()),
            _ => Failure::Handshake(error),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Failure::Address { .. } => Kind::Address,
            Failure::Certificate(_) => Kind::Certificate,
            Failure::Connect { source, .. } => match source.kind() {
                io::ErrorKind::ConnectionRefused => Kind::Refused,
                _ => Kind::Connect,
            },
            Failure::Exchange(error) => kind_of_exchange(error),
            Failure::Handshake(_) => Kind::Handshake,
            Failure::NoHttp2 => Kind::NoHttp2,
            Failure::Timeout => Kind::Timeout,
        }
    }
}

fn kind_of_exchange(error: &hyper::Error) -> Kind {
    let mut source = error.source();
    while let Some(cause) = source {
        match cause.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => return Kind::Reset,
            Some(io::ErrorKind::UnexpectedEof) => return Kind::Closed,
            _ => source = cause.source(),
        }
    }
    let closed = error.is_incomplete_message() || error.is_canceled() || error.is_closed();
    match closed {
        true => Kind::Closed,
        false => Kind::Protocol,
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Address => "address unknown",
            Kind::Certificate => "certificate not trusted",
            Kind::Closed => "closed before the answer",
            Kind::Connect => "no connection",
            Kind::Handshake => "TLS handshake failed",
            Kind::NoHttp2 => "no HTTP/2",
            Kind::Protocol => "protocol error",
            Kind::Refused => "connection refused",
            Kind::Reset => "connection reset",
            Kind::Timeout => "timed out",
            Kind::Unfinished => "unfinished at the end",
        })
    }
}
