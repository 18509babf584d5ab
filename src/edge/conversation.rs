//! One connection's HTTP: hyper for the protocol, one timer for every wait, an orderly end.
//!
//! Invariant: whatever a client does not send or does not take ends at a deadline of
//! [`ConnectionLimits`]; a connection that is asked to stop finishes the request it has.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use http::Request;
use http::header::{CONNECTION, HeaderValue};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use super::answer::{Answer, Sharing};
use super::exchange::{Due, Exchange};
use super::frames::Metered;
use super::guard::Guarded;
use super::resting::Resting;
use super::{ConnectionLimits, Handler, PlainPeer, TlsPeer};
use crate::local_executor::LocalExecutor;
use crate::patience::Patience;
use crate::upload::Upload;

/// What a conversation happens in.
pub(super) struct Setting {
    pub(super) limits: ConnectionLimits,
    pub(super) stopping: watch::Receiver<bool>,
    pub(super) exchange: Rc<Exchange>,
}

/// HTTP/1.1 over TLS.
pub(super) async fn http1<I, H>(io: I, setting: Setting, handler: Rc<H>, peer: Rc<TlsPeer>)
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
    H: Handler,
{
    let exchange = Rc::clone(&setting.exchange);
    let service = service_fn(move |request: Request<Incoming>| {
        let (in_flight, refused) = exchange.begin();
        let (handler, peer) = (Rc::clone(&handler), Rc::clone(&peer));
        async move {
            let request = refused.map_or(Ok(request.map(Upload::http1)), Err);
            let mut response = handler.handle(peer, request).await;
            if refused.is_some() {
                response
                    .headers_mut()
                    .insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response.map(|body| Answer::new(body, in_flight, Sharing::Alone)))
        }
    });
    let guarded = Guarded::new(io, &setting.limits, Rc::clone(&setting.exchange));
    setting.exchange.rest();
    let connection = Resting::new(Box::new(guarded), http1_builder(), service);
    converse(pin!(connection), setting).await;
}

/// HTTP/1.1 in clear text: one answer, a refusal.
pub(super) async fn plaintext<I, H>(io: I, setting: Setting, handler: Rc<H>, peer: PlainPeer)
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
    H: Handler,
{
    let exchange = Rc::clone(&setting.exchange);
    let service = service_fn(move |request: Request<Incoming>| {
        let (in_flight, refused) = exchange.begin();
        let handler = Rc::clone(&handler);
        async move {
            let request = refused.map_or(Ok(request.map(Upload::http1)), Err);
            let response = handler.refuse_plaintext(peer, request).await;
            Ok::<_, Infallible>(response.map(|body| Answer::new(body, in_flight, Sharing::Alone)))
        }
    });
    let guarded = Guarded::new(io, &setting.limits, Rc::clone(&setting.exchange));
    let mut builder = http1_builder();
    builder.keep_alive(false);
    let connection = builder.serve_connection(TokioIo::new(guarded), service);
    converse(pin!(connection), setting).await;
}

/// HTTP/2 over TLS.
pub(super) async fn http2<I, H>(io: I, setting: Setting, handler: Rc<H>, peer: Rc<TlsPeer>)
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
    H: Handler,
{
    let exchange = Rc::clone(&setting.exchange);
    let discard_for = setting.limits.body_idle;
    let service = service_fn(move |request: Request<Incoming>| {
        let (in_flight, _) = exchange.begin();
        let request = request.map(|body| Upload::http2(body, discard_for));
        let (handler, peer) = (Rc::clone(&handler), Rc::clone(&peer));
        // Boxed: hyper and the runtime move it several times on its way into a task.
        Box::pin(async move {
            let response = handler.handle(peer, Ok(request)).await;
            Ok::<_, Infallible>(
                response.map(|body| Answer::new(body, in_flight, Sharing::Multiplexed)),
            )
        })
    });
    let metered = TokioIo::new(Metered::new(io));
    let connection = http2_builder(&setting.limits).serve_connection(metered, service);
    converse(pin!(connection), setting).await;
}

/// Every wait is the guard's and the driver's; hyper's own timers stay off. Its buffers hold the
/// largest head that the guard lets pass, and bound what a body on its way takes
/// (docs/performance.md).
fn http1_builder() -> http1::Builder {
    const BUFFER: usize = 128 * 1024;
    let mut builder = http1::Builder::new();
    builder
        .header_read_timeout(None)
        .half_close(false)
        .max_buf_size(BUFFER);
    builder
}

/// `security.md` §2.8.
fn http2_builder(limits: &ConnectionLimits) -> http2::Builder<LocalExecutor> {
    const STREAM_WINDOW: u32 = 256 * 1024;
    const CONNECTION_WINDOW: u32 = 1024 * 1024;
    const HEADER_LIST: u32 = 64 * 1024;
    const SEND_BUFFER: usize = 256 * 1024;
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.h2_streams)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADER_LIST)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(128)
        .keep_alive_interval(limits.idle.min(std::time::Duration::from_secs(30)))
        .keep_alive_timeout(std::time::Duration::from_secs(20));
    builder
}

/// A connection that hyper drives.
trait Connection: Future<Output = hyper::Result<()>> {
    fn close_in_good_order(self: Pin<&mut Self>);

    /// Nothing was asked for a while: lets go of what can be had again.
    fn rest(self: Pin<&mut Self>) {}
}

impl<I, B, S> Connection for Resting<I, S>
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
    S: hyper::service::HttpService<Incoming, ResBody = B> + Clone + Unpin,
    S::Error: Into<super::BoxError>,
    B: http_body::Body + 'static,
    B::Error: Into<super::BoxError>,
{
    fn close_in_good_order(self: Pin<&mut Self>) {
        self.get_mut().close_in_good_order();
    }

    fn rest(self: Pin<&mut Self>) {
        self.get_mut().rest();
    }
}

impl<I, B, S> Connection for http1::Connection<I, S>
where
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<super::BoxError>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: http_body::Body + 'static,
    B::Error: Into<super::BoxError>,
{
    fn close_in_good_order(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, B, S, E> Connection for http2::Connection<I, S, E>
where
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<super::BoxError>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: http_body::Body + 'static,
    B::Error: Into<super::BoxError>,
    E: hyper::rt::bounds::Http2ServerConnExec<S::Future, B>,
{
    fn close_in_good_order(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Drives a connection to its end: its own, a deadline's, or the worker's.
async fn converse<C: Connection>(mut connection: Pin<&mut C>, setting: Setting) {
    let Setting {
        limits,
        mut stopping,
        exchange,
    } = setting;
    let news = stopping.clone();
    let mut stop = pin!(stopping.wait_for(|stop| *stop));
    let (mut told, mut asked) = (false, false);
    let mut timer = Patience::default();
    std::future::poll_fn(|cx| {
        exchange.driven_by(cx.waker());
        // Asked once, it wakes this task; until there is news, to ask again is for nothing.
        let may_stop = !told && (!asked || news.has_changed().unwrap_or(true));
        // Without budget it does not even listen.
        asked |= tokio::task::coop::has_budget_remaining();
        if may_stop && stop.as_mut().poll(cx).is_ready() {
            told = true;
            match exchange.may_retire() {
                true => retire(connection.as_mut(), &exchange),
                false => exchange.hurry(),
            }
        }
        loop {
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                note_end(ended);
                return Poll::Ready(());
            }
            // One that had not asked anything was hurried; its request is its last.
            if told && !exchange.is_retired() && exchange.may_retire() {
                retire(connection.as_mut(), &exchange);
                continue;
            }
            let Some((end, due)) = exchange.due(&limits) else {
                return Poll::Pending;
            };
            std::task::ready!(timer.poll_until(end, cx));
            match due {
                Due::Drop => return Poll::Ready(()),
                Due::Idle => retire(connection.as_mut(), &exchange),
                Due::Rest => {
                    connection.as_mut().rest();
                    exchange.rest();
                }
                Due::Request => exchange.expire(),
            }
        }
    })
    .await;
}

fn retire<C: Connection>(connection: Pin<&mut C>, exchange: &Exchange) {
    connection.close_in_good_order();
    exchange.retire();
}

fn note_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}
