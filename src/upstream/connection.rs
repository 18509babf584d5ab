//! Opening one connection to one endpoint: name, TCP, TLS, and which HTTP version it speaks.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use prometheus::IntGauge;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::target::{Address, Tls};
use super::{Protocol, UpstreamError};
use crate::pieces;

/// A connection, counted as long as it lives.
#[derive(Debug)]
pub(super) struct Stream {
    bytes: Bytes,
    _counted: Counted,
}

#[derive(Debug)]
enum Bytes {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// One place in the gauge of open connections.
#[derive(Debug)]
struct Counted(IntGauge);

/// A connection, and the HTTP version to speak on it.
#[derive(Debug)]
pub(super) enum Opened {
    Http1(Stream),
    Http2(Stream),
}

/// Opens a connection within `deadline`.
pub(super) async fn open(
    address: &Address,
    deadline: Duration,
    gauge: &IntGauge,
) -> Result<Opened, UpstreamError> {
    let opening = async {
        let tcp = connect(address).await.map_err(UpstreamError::Connect)?;
        match &address.tls {
            None => Ok(Bytes::Plain(tcp)),
            Some(tls) => handshake(tcp, tls).await.map_err(UpstreamError::Tls),
        }
    };
    let bytes = tokio::time::timeout(deadline, opening)
        .await
        .map_err(|_| UpstreamError::ConnectTimeout)??;
    let http2 = match (&bytes, address.endpoint.protocol) {
        (Bytes::Tls(tls), _) => tls.get_ref().1.alpn_protocol() == Some(b"h2"),
        (Bytes::Plain(_), protocol) => protocol == Protocol::H2c,
    };
    let stream = Stream {
        bytes,
        _counted: Counted::new(gauge),
    };
    Ok(if http2 {
        Opened::Http2(stream)
    } else {
        Opened::Http1(stream)
    })
}

async fn connect(address: &Address) -> io::Result<TcpStream> {
    let endpoint = &address.endpoint;
    let tcp = match endpoint.host.parse::<std::net::IpAddr>() {
        Ok(ip) => TcpStream::connect((ip, endpoint.port)).await?,
        Err(_) => TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?,
    };
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

async fn handshake(tcp: TcpStream, tls: &Tls) -> io::Result<Bytes> {
    let connector = TlsConnector::from(Arc::clone(&tls.config));
    Ok(Bytes::Tls(Box::new(
        connector.connect(tls.name.clone(), tcp).await?,
    )))
}

impl Counted {
    fn new(gauge: &IntGauge) -> Counted {
        gauge.inc();
        Counted(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Passes a poll on to whichever stream it is.
macro_rules! either {
    ($self:ident, $stream:ident => $call:expr) => {
        match &mut $self.get_mut().bytes {
            Bytes::Plain($stream) => $call,
            Bytes::Tls($stream) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().bytes {
            // Most requests are one slice, and `send` is the cheaper call for that.
            Bytes::Plain(stream) => match slices {
                [whole] => Pin::new(stream).poll_write(cx, whole),
                slices => Pin::new(stream).poll_write_vectored(cx, slices),
            },
            Bytes::Tls(stream) => pieces::poll_write_vectored(Pin::new(stream), cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.bytes {
            Bytes::Plain(stream) => stream.is_write_vectored(),
            Bytes::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
