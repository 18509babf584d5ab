//! One worker's listeners and connections: accept, hand over or keep, secure, converse, drain.
//!
//! Invariants: every connection is a task of one worker, counted by a permit and ended at the
//! drain's deadline at the latest; a bug in one costs that one; a full process table or an
//! exhausted file table never spins or ends the loop.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::balance::{Balance, Counted, Newcomer};
use super::conversation::{self, Setting};
use super::exchange::Exchange;
use super::sockets::BACKLOG;
use super::wire::Wire;
use super::{Edge, Handler, PlainPeer, TlsPeer, WorkerSockets};
use crate::observe::{TlsOutcome, TlsVersion};

/// After a failed accept (out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves one worker's sockets until `stopping` says so, then lets requests under way end, at most
/// for `drain`. Runs where `spawn_local` does: in a `LocalRuntime`.
pub async fn serve<H: Handler>(
    sockets: WorkerSockets,
    edge: Arc<Edge>,
    handler: Rc<H>,
    mut stopping: watch::Receiver<bool>,
    drain: Duration,
) {
    let WorkerSockets {
        balance,
        mut arrivals,
        ..
    } = sockets;
    let worker = Worker {
        edge,
        handler,
        stopping: stopping.clone(),
        balance,
    };
    let (https, http) = match into_tokio(sockets.https, sockets.http) {
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
            Some(newcomer) = arrivals.recv() => worker.welcome(&mut connections, newcomer),
            Some(ended) = connections.join_next() => worker.report(ended),
        }
    }
    worker.admit_the_queued(&mut connections, https, Door::Tls);
    if let Some(http) = http {
        worker.admit_the_queued(&mut connections, http, Door::Plain);
    }
    worker.welcome_the_last(&mut connections, arrivals).await;
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

fn into_tokio(
    https: std::net::TcpListener,
    http: Option<std::net::TcpListener>,
) -> std::io::Result<(TcpListener, Option<TcpListener>)> {
    let https = TcpListener::from_std(https)?;
    let http = http.map(TcpListener::from_std).transpose()?;
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
    balance: Balance,
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
        match door {
            Door::Plain => {
                let counted = Counted::new(permit, self.balance.own(), &self.edge.open_http);
                self.converse(connections, tcp, address, counted, door);
            }
            Door::Tls => {
                let load = self.balance.lightest();
                let counted = Counted::new(permit, load, &self.edge.open_https);
                match self.balance.keeps(&counted.load) {
                    true => self.converse(connections, tcp, address, counted, door),
                    false => self.hand_over(connections, tcp, address, counted),
                }
            }
        }
    }

    /// Gives a connection to the worker that it is counted on. One that it cannot take stays here.
    fn hand_over(
        &self,
        connections: &mut JoinSet<()>,
        tcp: TcpStream,
        address: SocketAddr,
        counted: Counted,
    ) {
        // Each worker's reactor knows its own sockets only.
        let tcp = match tcp.into_std() {
            Ok(tcp) => tcp,
            Err(error) => return tracing::warn!(%error, "a connection was lost"),
        };
        let newcomer = Newcomer {
            tcp,
            address,
            counted,
        };
        if let Err(mut refused) = self.balance.hand_over(newcomer) {
            refused.counted.load = self.balance.own();
            self.welcome(connections, *refused);
        }
    }

    /// Serves a connection that another worker has accepted.
    fn welcome(&self, connections: &mut JoinSet<()>, newcomer: Newcomer) {
        let Newcomer {
            tcp,
            address,
            counted,
        } = newcomer;
        match TcpStream::from_std(tcp) {
            Ok(tcp) => self.converse(connections, tcp, address, counted, Door::Tls),
            Err(error) => tracing::warn!(%error, "a connection was lost"),
        }
    }

    /// From here on the others keep what they accept; what they have handed over is served.
    async fn welcome_the_last(
        &self,
        connections: &mut JoinSet<()>,
        mut arrivals: mpsc::Receiver<Newcomer>,
    ) {
        arrivals.close();
        while let Some(newcomer) = arrivals.recv().await {
            self.welcome(connections, newcomer);
        }
    }

    fn converse(
        &self,
        connections: &mut JoinSet<()>,
        tcp: TcpStream,
        address: SocketAddr,
        counted: Counted,
        door: Door,
    ) {
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

/// What came of a connection to the TLS port.
enum Opened {
    Nothing,
    Plain(TcpStream),
    Secured(Box<TlsStream<Wire>>, Rc<Exchange>, Rc<TlsPeer>),
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
        // Boxed, all three: their memory is for as long as they last, not for the connection's life.
        let opened = Box::pin(self.open(tcp)).await;
        match opened {
            Opened::Nothing => {}
            Opened::Plain(tcp) => Box::pin(self.refuse(tcp)).await,
            Opened::Secured(stream, exchange, peer) => self.serve(stream, exchange, peer).await,
        }
    }

    /// Waits for the first byte and, if that begins one, for the TLS handshake's end.
    async fn open(&self, tcp: TcpStream) -> Opened {
        let deadline = tokio::time::Instant::now() + self.edge.limits.handshake;
        let failed = |outcome| {
            self.edge.metrics.tls_handshake(TlsVersion::None, outcome);
            Opened::Nothing
        };
        match tokio::time::timeout_at(deadline, opening(&tcp)).await {
            Ok(Opening::Tls) => {}
            Ok(Opening::Http) => return Opened::Plain(tcp),
            Ok(Opening::Unknown) => return failed(TlsOutcome::Failed),
            Err(_) => return failed(TlsOutcome::Deadline),
        }
        let exchange = Exchange::new();
        let tls = self.edge.tls.load_full();
        let acceptor = TlsAcceptor::from(Arc::clone(&tls.config));
        let accepting = acceptor.accept(Wire::new(tcp, Rc::clone(&exchange)));
        match tokio::time::timeout_at(deadline, accepting).await {
            Ok(Ok(stream)) => {
                self.edge
                    .metrics
                    .tls_handshake(version(&stream), TlsOutcome::Ok);
                let names = tls.names(stream.get_ref().1.server_name());
                let peer = Rc::new(TlsPeer::new(self.address, names));
                exchange.secured(&peer);
                Opened::Secured(Box::new(stream), exchange, peer)
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "a TLS handshake failed");
                failed(TlsOutcome::Failed)
            }
            Err(_) => failed(TlsOutcome::Deadline),
        }
    }

    async fn serve(self, stream: Box<TlsStream<Wire>>, exchange: Rc<Exchange>, peer: Rc<TlsPeer>) {
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let setting = self.setting(exchange);
        match http2 {
            true => Box::pin(conversation::http2(stream, setting, self.handler, peer)).await,
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
