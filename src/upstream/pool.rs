//! One worker's connections to one upstream.
//!
//! No lock and no other thread: a worker's requests and its pools live on one thread. Invariant:
//! an idle connection is checked for a close by the upstream before it is used, and a request is
//! repeated only when none of it was sent.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use tokio::time::Instant;

use super::connection::{self, Opened};
use super::http1::{Http1, Sent};
use super::target::{Address, Target};
use super::wait::Wait;
use super::{HostHeader, Protocol, RequestBody, UpstreamBody, UpstreamError, http2};

/// One worker's connections to one upstream.
#[derive(Debug)]
pub struct Pool {
    target: Arc<Target>,
    endpoints: Vec<EndpointPool>,
    next: Cell<usize>,
}

#[derive(Debug)]
struct EndpointPool {
    idle: Rc<IdleHttp1>,
    shared: RefCell<Option<SendRequest<RequestBody>>>,
}

/// Idle HTTP/1 connections, the last used on top: the coldest are the first to age out.
#[derive(Debug)]
pub(super) struct IdleHttp1 {
    #[expect(
        clippy::vec_box,
        reason = "a connection is moved as a pointer, in and out of here"
    )]
    connections: RefCell<Vec<Box<Http1>>>,
    keep_alive: Duration,
}

/// Idle connections kept for one endpoint and worker.
const MAX_IDLE: usize = 2048;

impl Pool {
    /// An empty pool.
    pub fn new(target: Arc<Target>) -> Pool {
        let keep_alive = target.settings.keep_alive;
        let endpoints = target
            .addresses
            .iter()
            .map(|_| EndpointPool {
                idle: Rc::new(IdleHttp1 {
                    connections: RefCell::default(),
                    keep_alive,
                }),
                shared: RefCell::new(None),
            })
            .collect();
        Pool {
            target,
            endpoints,
            next: Cell::new(0),
        }
    }

    /// The upstream this pool connects to.
    pub fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// Sends `request` (origin-form target, no hop-by-hop fields) and waits for an acceptable
    /// answer's head, at most for `timeout` after the last piece of its body was sent. Also tells
    /// how long that took.
    pub async fn exchange(
        &self,
        request: Box<Request<RequestBody>>,
        timeout: Duration,
    ) -> (Result<Response<UpstreamBody>, UpstreamError>, Duration) {
        let wait = Wait::new(timeout, request.body().course());
        let answer = self.exchange_on_some_connection(request, &wait).await;
        // hyper reports a failing request body as a failed exchange: tell whose doing it was.
        let answer = match wait.fault() {
            Some(fault) if answer.is_err() => Err(UpstreamError::ClientBody(fault)),
            _ => answer,
        };
        let time = wait.started().elapsed();
        self.record(&answer, time);
        (answer, time)
    }

    /// Closes connections that are too old or that their upstream has closed.
    pub fn sweep(&self) {
        for endpoint in &self.endpoints {
            endpoint.idle.sweep();
        }
    }

    async fn exchange_on_some_connection(
        &self,
        mut request: Box<Request<RequestBody>>,
        wait: &Wait,
    ) -> Result<Response<UpstreamBody>, UpstreamError> {
        let index = self.next.get();
        self.next.set((index + 1) % self.endpoints.len().max(1));
        let (Some(endpoint), Some(address)) =
            (self.endpoints.get(index), self.target.addresses.get(index))
        else {
            return Err(UpstreamError::Answer("no endpoint"));
        };
        self.set_authority(&mut request, address);
        while let Some(connection) = endpoint.idle.take(wait.started()) {
            match connection.send(*request, wait).await {
                Sent::Returned(unsent) => request = unsent,
                sent => return self.accept_http1(sent),
            }
        }
        let shared = endpoint.shared.borrow().clone();
        if let Some(sender) = shared.filter(|sender| !sender.is_closed()) {
            match Box::pin(wait.bound(self.send_http2(address, sender, request))).await? {
                Err((_, Some(unsent))) => request = unsent,
                Err((error, None)) => return Err(UpstreamError::Exchange(error)),
                Ok(answer) => return self.accept(answer, None),
            }
        }
        // Boxed: it is rare, and large where there is TLS.
        Box::pin(self.exchange_on_new_connection(endpoint, address, request, wait)).await
    }

    async fn exchange_on_new_connection(
        &self,
        endpoint: &EndpointPool,
        address: &Address,
        request: Box<Request<RequestBody>>,
        wait: &Wait,
    ) -> Result<Response<UpstreamBody>, UpstreamError> {
        let deadline = self.target.settings.connect_timeout;
        let gauge = &self.target.metrics.connections;
        match wait
            .bound(connection::open(address, deadline, gauge))
            .await??
        {
            Opened::Http1(stream) => {
                let connection = Http1::handshake(stream, &endpoint.idle)
                    .await
                    .map_err(UpstreamError::Exchange)?;
                self.accept_http1(connection.send(*request, wait).await)
            }
            Opened::Http2(stream) => {
                let sender = wait
                    .bound(http2::handshake(stream))
                    .await?
                    .map_err(UpstreamError::Exchange)?;
                *endpoint.shared.borrow_mut() = Some(sender.clone());
                match wait
                    .bound(self.send_http2(address, sender, request))
                    .await?
                {
                    Ok(answer) => self.accept(answer, None),
                    Err((error, _)) => Err(UpstreamError::Exchange(error)),
                }
            }
        }
    }

    fn set_authority(&self, request: &mut Request<RequestBody>, address: &Address) {
        if self.target.settings.host == HostHeader::Upstream {
            request
                .headers_mut()
                .insert(http::header::HOST, address.authority.clone());
        }
    }

    async fn send_http2(
        &self,
        address: &Address,
        sender: SendRequest<RequestBody>,
        mut request: Box<Request<RequestBody>>,
    ) -> Result<Response<Incoming>, (hyper::Error, Option<Box<Request<RequestBody>>>)> {
        let https = address.endpoint.protocol == Protocol::Https;
        move_host_to_authority(&mut request, https);
        http2::send(sender, *request)
            .await
            .map_err(|(error, mut unsent)| {
                if let Some(request) = &mut unsent {
                    move_authority_to_host(request);
                }
                (error, unsent)
            })
    }

    fn accept_http1(&self, sent: Sent) -> Result<Response<UpstreamBody>, UpstreamError> {
        match sent {
            Sent::Answer(answer, connection) => self.accept(answer, Some(connection)),
            Sent::Failed(error) => Err(UpstreamError::Exchange(error)),
            Sent::TimedOut => Err(UpstreamError::Timeout),
            Sent::Returned(_) => Err(UpstreamError::Answer("a new connection was closed at once")),
        }
    }

    /// Refuses what two readers could read differently (`security.md` group D).
    fn accept(
        &self,
        answer: Response<Incoming>,
        connection: Option<Box<Http1>>,
    ) -> Result<Response<UpstreamBody>, UpstreamError> {
        let headers = answer.headers();
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(UpstreamError::Answer("101 that nobody asked for"));
        }
        let lengths = headers.get_all(CONTENT_LENGTH).iter().count();
        if lengths > 1 || (lengths == 1 && headers.contains_key(TRANSFER_ENCODING)) {
            return Err(UpstreamError::Answer("more than one framing"));
        }
        let idle = self.target.settings.idle_timeout;
        Ok(answer.map(|incoming| UpstreamBody::new(incoming, connection, idle)))
    }

    fn record(&self, answer: &Result<Response<UpstreamBody>, UpstreamError>, time: Duration) {
        let metrics = &self.target.metrics;
        metrics.duration.observe(time.as_secs_f64());
        match answer {
            Ok(_) => metrics.healthy.set(1),
            Err(UpstreamError::ClientBody(_)) => {}
            Err(_) => metrics.healthy.set(0),
        }
    }
}

/// HTTP/2 has `:authority` instead of `Host` (RFC 9113 §8.3.1).
fn move_host_to_authority(request: &mut Request<RequestBody>, https: bool) {
    let Some(host) = request.headers_mut().remove(http::header::HOST) else {
        return;
    };
    let target = std::mem::take(request.uri_mut());
    let mut parts = target.clone().into_parts();
    parts.scheme = Some(if https { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Authority::try_from(host.as_bytes()).ok();
    // Whatever is wrong with the host, the target stays the one that was authorized.
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or(target);
    *request.version_mut() = Version::HTTP_2;
}

/// Undoes [`move_host_to_authority`]: the next connection may speak HTTP/1.1.
fn move_authority_to_host(request: &mut Request<RequestBody>) {
    let uri = std::mem::take(request.uri_mut());
    if let Some(authority) = uri.authority()
        && let Ok(host) = HeaderValue::try_from(authority.as_str())
    {
        request.headers_mut().insert(http::header::HOST, host);
    }
    if let Some(path_and_query) = uri.path_and_query() {
        *request.uri_mut() = Uri::from(path_and_query.clone());
    }
    *request.version_mut() = Version::HTTP_11;
}

impl IdleHttp1 {
    /// The most recently used connection that is young enough.
    fn take(&self, now: Instant) -> Option<Box<Http1>> {
        let mut connections = self.connections.borrow_mut();
        std::iter::from_fn(|| connections.pop())
            .find(|connection| connection.is_at_rest() && connection.is_fresh(now, self.keep_alive))
    }

    pub(super) fn put(&self, connection: Box<Http1>) {
        let mut connections = self.connections.borrow_mut();
        if connections.len() < MAX_IDLE {
            connections.push(connection);
        }
    }

    fn sweep(&self) {
        let mut quiet = Context::from_waker(Waker::noop());
        let now = Instant::now();
        self.connections.borrow_mut().retain_mut(|connection| {
            connection.is_fresh(now, self.keep_alive) && connection.settle(&mut quiet)
        });
    }
}
