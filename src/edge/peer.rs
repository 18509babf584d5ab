//! Who is on the other end of a connection, and how it is protected.

use std::cell::{Cell, OnceCell};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::HeaderValue;

use super::Malformed;

/// The other end of one TLS connection. Only the edge's TLS code makes it.
///
/// ```compile_fail
/// // A clear-text connection cannot be passed off as a TLS one.
/// let _ = portcullis::edge::TlsPeer { address: "127.0.0.1:1".parse().unwrap() };
/// ```
#[derive(Debug)]
pub struct TlsPeer {
    address: SocketAddr,
    /// The address as a field value, made when it is first asked for.
    address_value: OnceCell<HeaderValue>,
    names: Arc<CertificateNames>,
    body_fault: Cell<Option<Malformed>>,
}

impl TlsPeer {
    pub(super) fn new(address: SocketAddr, names: Arc<CertificateNames>) -> TlsPeer {
        TlsPeer {
            address,
            address_value: OnceCell::new(),
            names,
            body_fault: Cell::new(None),
        }
    }

    /// The client's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The client's address (without port) as a field value; IPv4-mapped ones as IPv4. Made once
    /// for all requests of a connection.
    pub fn address_value(&self) -> &HeaderValue {
        self.address_value.get_or_init(|| {
            HeaderValue::try_from(self.address.ip().to_canonical().to_string())
                .expect("an address is visible ASCII")
        })
    }

    /// Whether the certificate of this connection is valid for `host` (without port).
    pub fn covers(&self, host: &str) -> bool {
        self.names.cover(host)
    }

    /// What was wrong with the HTTP/1 request body that is being read, if anything was: the body
    /// then ends in an error that is the client's doing, not the upstream's.
    pub fn body_fault(&self) -> Option<Malformed> {
        self.body_fault.get()
    }

    pub(super) fn set_body_fault(&self, fault: Malformed) {
        self.body_fault.set(Some(fault));
    }
}

/// The other end of one clear-text connection.
#[derive(Clone, Copy, Debug)]
pub struct PlainPeer {
    /// The client's address.
    pub address: SocketAddr,
}

/// The names that one certificate is valid for (its subject alternative names).
#[derive(Debug, Default)]
pub(super) struct CertificateNames {
    /// Lower case, without a trailing dot; `*.` first for a wildcard.
    pub(super) dns: Vec<String>,
    /// Addresses.
    pub(super) ip: Vec<IpAddr>,
}

impl CertificateNames {
    /// Whether `host` is here as it is, without a wildcard.
    pub(super) fn hold(&self, host: &str) -> bool {
        self.dns.iter().any(|name| name.eq_ignore_ascii_case(host))
    }

    /// RFC 9525 §6.3: a wildcard stands for exactly one whole left-most label.
    pub(super) fn cover(&self, host: &str) -> bool {
        let bracketless = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if let Ok(address) = bracketless.unwrap_or(host).parse::<IpAddr>() {
            return self.ip.contains(&address);
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        let label = host.split_once('.').filter(|(label, _)| !label.is_empty());
        self.dns.iter().any(|name| match name.strip_prefix("*.") {
            Some(suffix) => label.is_some_and(|(_, parent)| parent.eq_ignore_ascii_case(suffix)),
            None => host.eq_ignore_ascii_case(name),
        })
    }
}
