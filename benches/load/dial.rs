//! Making a connection to the target: TCP, TLS, and the protocol agreed on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::failure::Failure;
use super::plan::{Plan, Protocol, Refusal};
use super::trust::Trust;

/// Opens connections to one address that was reached once.
#[derive(Clone)]
pub(crate) struct Dial {
    address: SocketAddr,
    name: ServerName<'static>,
    tls: TlsConnector,
    protocol: Protocol,
    patience: Duration,
    version: &'static str,
}

impl Dial {
    /// Finds the target's address that answers, by making a whole connection.
    pub(crate) async fn reach(plan: &Plan) -> anyhow::Result<Dial> {
        let alpn: &[u8] = match plan.protocol {
            Protocol::Http1 => b"http/1.1",
            Protocol::Http2 { .. } => b"h2",
        };
        let tls = Arc::new(plan.trust.tls(alpn).map_err(Refusal::Trust)?);
        let host = plan.target.host();
        let unknown = |source| Failure::Address {
            host: host.into(),
            source,
        };
        let addresses = plan.target.addresses().await.map_err(unknown)?;
        let loopback = addresses.iter().all(|address| address.ip().is_loopback());
        if plan.trust == Trust::LoopbackUnverified && !loopback {
            return Err(Refusal::InsecureElsewhere.into());
        }
        let mut failure = unknown(std::io::ErrorKind::NotFound.into());
        for address in addresses {
            let mut dial = Dial {
                address,
                name: plan.target.name().clone(),
                tls: TlsConnector::from(Arc::clone(&tls)),
                protocol: plan.protocol,
                patience: plan.timeout,
                version: "",
            };
            match dial.open().await {
                Ok(stream) => {
                    dial.version = version(&stream);
                    return Ok(dial);
                }
                Err(error) => failure = error,
            }
        }
        Err(failure.into())
    }

    /// A connection that speaks the protocol.
    pub(crate) async fn open(&self) -> Result<TlsStream<TcpStream>, Failure> {
        let opening = tokio::time::timeout(self.patience, self.shake_hands());
        opening.await.unwrap_or(Err(Failure::Timeout))
    }

    async fn shake_hands(&self) -> Result<TlsStream<TcpStream>, Failure> {
        let failed = |source| Failure::Connect {
            address: self.address,
            source,
        };
        let tcp = TcpStream::connect(self.address).await.map_err(failed)?;
        tcp.set_nodelay(true).map_err(failed)?;
        let stream = self.tls.connect(self.name.clone(), tcp).await;
        let stream = stream.map_err(Failure::of_handshake)?;
        let agreed = stream.get_ref().1.alpn_protocol();
        match self.protocol {
            Protocol::Http2 { .. } if agreed != Some(b"h2") => Err(Failure::NoHttp2),
            Protocol::Http1 | Protocol::Http2 { .. } => Ok(stream),
        }
    }

    /// Where connections go.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The version of TLS that was agreed on.
    pub(crate) fn tls_version(&self) -> &'static str {
        self.version
    }
}

fn version(stream: &TlsStream<TcpStream>) -> &'static str {
    match stream.get_ref().1.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
        _ => "TLS",
    }
}
