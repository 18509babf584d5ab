//! One worker's listeners and connections: accept, secure, converse, drain.
//!
//! Invariants: every connection is a task of its worker, counted by a permit and ended at the
//! drain's deadline at the latest; a bug in one costs that one; a full process table or an
//! exhausted file table never spins or ends the loop.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use prometheus::IntGauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::caps::Permit;
use super::conversation::{self, Setting};
use super::exchange::Exchange;
use super::sockets::BACKLOG;
use super::wire::Wire;
use super::{Edge, Handler, PlainPeer, TlsPeer, WorkerSockets};
use crate::observe::{TlsOutcome, TlsVersion};

/// After a failed accept (out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves one worker's sockets until `stopping` says so, then lets requests under way end, at most
/// for `drain`. Runs inside a `LocalSet` of a current-thread runtime.
pub async fn serve<H: Handler>(
    sockets: WorkerSockets,
    edge: Arc<Edge>,
    handler: Rc<H>,
    mut stopping: watch::Receiver<bool>,
    drain: Duration,
) {
    let worker = Worker {
        edge,
        handler,
        stopping: stopping.clone(),
    };
    let (https, http) = match into_tokio(sockets) {
        Ok(listeners) => listeners,
        Err(error) => {
            tracing::error!(%error, "a worker cannot use its sockets");
            return;
        }
    };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => break,
            (tcp, address) = accept(&https) => {
                worker.admit(&mut connections, tcp, address, Door::Tls);
            }
            (tcp, address) = accept_on(http.as_ref()) => {
                worker.admit(&mut connections, tcp, address, Door::Plain);
            }
            Some(ended) = connections.join_next() => worker.report(ended),
        }
    }
    worker.admit_the_queued(&mut connections, https, Door::Tls);
    if let Some(http) = http {
        worker.admit_the_queued(&mut connections, http, Door::Plain);
    }
    let drained = async {
        while let Some(ended) = connections.join_next().await {
            worker.report(ended);
        }
    };
    if tokio::time::timeout(drain, drained).await.is_err() {
        tracing::warn!(
            left = connections.len(),
            "connections were cut off at the drain's deadline"
        );
        connections.shutdown().await;
    }
}

fn into_tokio(sockets: WorkerSockets) -> std::io::Result<(TcpListener, Option<TcpListener>)> {
    let https = TcpListener::from_std(sockets.https)?;
    let http = sockets.http.map(TcpListener::from_std).transpose()?;
    Ok((https, http))
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn accept_on(listener: Option<&TcpListener>) -> (TcpStream, SocketAddr) {
    match listener {
        Some(listener) => accept(listener).await,
        None => std::future::pending().await,
    }
}

/// Which listener a connection came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Plain,
    Tls,
}

struct Worker<H> {
    edge: Arc<Edge>,
    handler: Rc<H>,
    stopping: watch::Receiver<bool>,
}

impl<H: Handler> Worker<H> {
    /// A bug outside the handler costs one connection, and is counted like one inside.
    fn report(&self, ended: Result<(), tokio::task::JoinError>) {
        if let Err(error) = ended
            && error.is_panic()
        {
            self.edge.metrics.panics.inc();
            tracing::error!("a bug cost a connection");
        }
    }

    /// Closes a listener. What the kernel has queued on it would be reset by that, and no other
    /// worker would get it: these clients are connected already, so they are served too.
    fn admit_the_queued(&self, connections: &mut JoinSet<()>, listener: TcpListener, door: Door) {
        let Ok(listener) = listener.into_std() else {
            return;
        };
        for _ in 0..BACKLOG {
            let Ok((tcp, address)) = listener.accept() else {
                return;
            };
            let tcp = tcp
                .set_nonblocking(true)
                .and_then(|()| TcpStream::from_std(tcp));
            if let Ok(tcp) = tcp {
                self.admit(connections, tcp, address, door);
            }
        }
    }

    /// Takes a connection in, or closes it at a cap.
    fn admit(
        &self,
        connections: &mut JoinSet<()>,
        tcp: TcpStream,
        address: SocketAddr,
        door: Door,
    ) {
        let permit = match self.edge.caps.enter(address.ip()) {
            Ok(permit) => permit,
            Err(full) => {
                self.edge
                    .metrics
                    .connections_refused
                    .with_label_values(&[full.label()])
                    .inc();
                return;
            }
        };
        let gauge = match door {
            Door::Plain => &self.edge.open_http,
            Door::Tls => &self.edge.open_https,
        };
        let counted = Counted::new(permit, gauge);
        let connection = Accepted {
            edge: Arc::clone(&self.edge),
            handler: Rc::clone(&self.handler),
            stopping: self.stopping.clone(),
            address,
        };
        connections.spawn_local(async move {
            let _counted = counted;
            connection.run(tcp, door).await;
        });
    }
}

/// A permit and a place in the gauge, for as long as a connection lives.
struct Counted {
    _permit: Permit,
    gauge: IntGauge,
}

impl Counted {
    fn new(permit: Permit, gauge: &IntGauge) -> Counted {
        gauge.inc();
        Counted {
            _permit: permit,
            gauge: gauge.clone(),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

/// One connection from its acceptance.
pub(super) struct Accepted<H> {
    edge: Arc<Edge>,
    handler: Rc<H>,
    stopping: watch::Receiver<bool>,
    address: SocketAddr,
}

/// What a TLS port's first byte begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opening {
    /// A method: clear-text HTTP.
    Http,
    /// A TLS record of type handshake (RFC 8446 §5.1).
    Tls,
    /// Neither, or nothing.
    Unknown,
}

impl<H: Handler> Accepted<H> {
    pub(super) async fn run(self, tcp: TcpStream, door: Door) {
        // Answers are whole when they are written; Nagle would only hold them back.
        let _ = tcp.set_nodelay(true);
        match door {
            Door::Plain => self.refuse(tcp).await,
            Door::Tls => self.secure(tcp).await,
        }
    }

    async fn secure(self, tcp: TcpStream) {
        let deadline = tokio::time::Instant::now() + self.edge.limits.handshake;
        let opening = tokio::time::timeout_at(deadline, opening(&tcp)).await;
        match opening {
            Ok(Opening::Tls) => {}
            Ok(Opening::Http) => return self.refuse(tcp).await,
            Ok(Opening::Unknown) => {
                return self
                    .edge
                    .metrics
                    .tls_handshake(TlsVersion::None, TlsOutcome::Failed);
            }
            Err(_) => {
                return self
                    .edge
                    .metrics
                    .tls_handshake(TlsVersion::None, TlsOutcome::Deadline);
            }
        }
        let exchange = Exchange::new();
        let tls = self.edge.tls.load_full();
        let acceptor = TlsAcceptor::from(Arc::clone(&tls.config));
        let accepting = acceptor.accept(Wire::new(tcp, Rc::clone(&exchange)));
        let stream = match tokio::time::timeout_at(deadline, accepting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a TLS handshake failed");
                return self
                    .edge
                    .metrics
                    .tls_handshake(TlsVersion::None, TlsOutcome::Failed);
            }
            Err(_) => {
                return self
                    .edge
                    .metrics
                    .tls_handshake(TlsVersion::None, TlsOutcome::Deadline);
            }
        };
        self.edge
            .metrics
            .tls_handshake(version(&stream), TlsOutcome::Ok);
        let session = stream.get_ref().1;
        let peer = Rc::new(TlsPeer::new(self.address, tls.names(session.server_name())));
        let http2 = session.alpn_protocol() == Some(b"h2");
        exchange.secured(&peer);
        let setting = self.setting(exchange);
        match http2 {
            true => conversation::http2(stream, setting, self.handler, peer).await,
            false => conversation::http1(stream, setting, self.handler, peer).await,
        }
    }

    async fn refuse(self, tcp: TcpStream) {
        let exchange = Exchange::new();
        let wire = Wire::new(tcp, Rc::clone(&exchange));
        let peer = PlainPeer {
            address: self.address,
        };
        let setting = self.setting(exchange);
        conversation::plaintext(wire, setting, self.handler, peer).await;
    }

    fn setting(&self, exchange: Rc<Exchange>) -> Setting {
        Setting {
            limits: self.edge.limits,
            stopping: self.stopping.clone(),
            exchange,
        }
    }
}

async fn opening(tcp: &TcpStream) -> Opening {
    let mut first = [0];
    match tcp.peek(&mut first).await {
        Ok(1) if first[0] == 0x16 => Opening::Tls,
        Ok(1) if first[0].is_ascii_alphabetic() => Opening::Http,
        Ok(_) | Err(_) => Opening::Unknown,
    }
}

fn version(stream: &TlsStream<Wire>) -> TlsVersion {
    match stream.get_ref().1.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => TlsVersion::Tls13,
        Some(_) => TlsVersion::Tls12,
        None => TlsVersion::None,
    }
}
