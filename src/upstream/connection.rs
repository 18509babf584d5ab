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

/// The bytes of a connection.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection that counts in a gauge as long as it lives.
#[derive(Debug)]
pub(super) struct Counted<I> {
    io: I,
    gauge: IntGauge,
}

/// A connection, and the HTTP version to speak on it.
#[derive(Debug)]
pub(super) enum Opened {
    Http1(Counted<Stream>),
    Http2(Counted<Stream>),
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
            None => Ok(Stream::Plain(tcp)),
            Some(tls) => handshake(tcp, tls).await.map_err(UpstreamError::Tls),
        }
    };
    let stream = tokio::time::timeout(deadline, opening)
        .await
        .map_err(|_| UpstreamError::ConnectTimeout)??;
    let http2 = match (&stream, address.endpoint.protocol) {
        (Stream::Tls(tls), _) => tls.get_ref().1.alpn_protocol() == Some(b"h2"),
        (Stream::Plain(_), protocol) => protocol == Protocol::H2c,
    };
    let counted = Counted::new(stream, gauge);
    Ok(if http2 {
        Opened::Http2(counted)
    } else {
        Opened::Http1(counted)
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

async fn handshake(tcp: TcpStream, tls: &Tls) -> io::Result<Stream> {
    let connector = TlsConnector::from(Arc::clone(&tls.config));
    Ok(Stream::Tls(Box::new(
        connector.connect(tls.name.clone(), tcp).await?,
    )))
}

impl<I> Counted<I> {
    fn new(io: I, gauge: &IntGauge) -> Counted<I> {
        gauge.inc();
        Counted {
            io,
            gauge: gauge.clone(),
        }
    }
}

impl<I> Drop for Counted<I> {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Counted<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Counted<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Passes a poll on to whichever stream it is.
macro_rules! either {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Plain($stream) => $call,
            Stream::Tls($stream) => $call,
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
        either!(self, stream => Pin::new(stream).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
