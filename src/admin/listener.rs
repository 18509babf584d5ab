//! Accepts and serves the operator's connections: HTTP/1.1, few, short, each with its deadlines.
//!
//! Not here: what is answered ([`Service`]). Invariants: a permit is held before a connection is
//! accepted; every connection is tracked and ended at shutdown; no connection outlives
//! [`LIFETIME`], whatever its peer does.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use crate::observe::Actor;

/// What answers the requests of one listener.
pub(super) trait Service: Send + Sync + 'static {
    /// What its answers are made of.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + 'static;

    /// Answers one request of `actor`. Never fails.
    fn answer(
        &self,
        actor: Actor,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// Something that operators connect to.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Connections open at once.
const CONNECTIONS: usize = 64;
/// From a connection's beginning, or the last answer, to the end of the next request's head.
const HEAD: Duration = Duration::from_secs(10);
/// Bytes of a request head.
const HEAD_BYTES: usize = 16 * 1024;
/// From accept to close. An import has to be through by then.
const LIFETIME: Duration = Duration::from_secs(15 * 60);
/// How long open requests have at shutdown.
const GRACE: Duration = Duration::from_secs(5);
/// After a failed accept (out of file descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown`, then lets open requests end.
pub(super) async fn serve<S: Service>(
    listener: Listener,
    service: Arc<S>,
    shutdown: impl Future<Output = ()>,
) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let (stop, stopping) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            (permit, stream, actor) = next(&listener, &permits) => {
                let service = Arc::clone(&service);
                connections.spawn(converse(stream, actor, service, stopping.clone(), permit));
            }
            Some(ended) = connections.join_next() => report(ended),
        }
    }
    drop((listener, stopping));
    drop(stop);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, drained).await.is_err() {
        connections.shutdown().await;
    }
}

/// Any stream that HTTP can be spoken on.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

async fn next(
    listener: &Listener,
    permits: &Arc<Semaphore>,
) -> (OwnedSemaphorePermit, Box<dyn Stream>, Actor) {
    loop {
        let permit = Arc::clone(permits).acquire_owned().await;
        let permit = permit.expect("this semaphore is never closed");
        match listener.accept().await {
            Ok((stream, actor)) => return (permit, stream, actor),
            Err(error) => {
                tracing::warn!(%error, "an operator's connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Listener {
    async fn accept(&self) -> io::Result<(Box<dyn Stream>, Actor)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                let address = peer.ip().to_canonical();
                Ok((Box::new(stream), Actor::AdminTcp { address }))
            }
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred()?.uid();
                Ok((Box::new(stream), Actor::AdminSocket { uid }))
            }
        }
    }
}

async fn converse<S: Service>(
    stream: Box<dyn Stream>,
    actor: Actor,
    service: Arc<S>,
    mut stopping: watch::Receiver<()>,
    _permit: OwnedSemaphorePermit,
) {
    let answer = service_fn(|request| {
        let service = Arc::clone(&service);
        async move { Ok::<_, Infallible>(service.answer(actor, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), answer);
    let mut connection = pin!(connection);
    let conversation = async {
        tokio::select! {
            ended = connection.as_mut() => ended,
            // The sender says nothing; it is dropped at shutdown.
            _ = stopping.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    match tokio::time::timeout(LIFETIME, conversation).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an operator's connection broke"),
        Err(_) => tracing::debug!("an operator's connection was open for too long"),
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a bug cost an operator's connection");
    }
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    whole(status, "application/json", body)
}

/// An answer that nothing may keep or reinterpret.
pub(super) fn whole(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}
