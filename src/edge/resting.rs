//! An HTTP/1 connection that keeps only its stream while there is no request.
//!
//! hyper's state holds an 8 KiB buffer and room for the handler's work, which thousands of idle
//! connections need not have. So hyper comes with the first byte and goes a while after the last
//! answer. Not here: when that is ([`super::exchange`]). Invariant: hyper goes only while nothing
//! is read in part, answered or written, so no byte is lost by it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::HttpService;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::BoxError;
use super::guard::Guarded;

/// One connection with what it takes to serve it.
pub(super) struct Resting<I, S>
where
    S: HttpService<Incoming>,
{
    builder: http1::Builder,
    service: S,
    state: State<I, S>,
}

enum State<I, S>
where
    S: HttpService<Incoming>,
{
    /// In hyper's hands. Boxed, so that it takes memory only now.
    Awake(Box<http1::Connection<TokioIo<Box<Guarded<I>>>, S>>),
    /// Between two states, never seen from outside.
    Changing,
    /// No request has begun.
    Resting(Box<Guarded<I>>),
}

impl<I, B, S> Resting<I, S>
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
    S: HttpService<Incoming, ResBody = B> + Clone,
    S::Error: Into<BoxError>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    pub(super) fn new(
        guarded: Box<Guarded<I>>,
        builder: http1::Builder,
        service: S,
    ) -> Resting<I, S> {
        Resting {
            builder,
            service,
            state: State::Resting(guarded),
        }
    }

    /// Lets go of hyper. Only where nothing is under way.
    pub(super) fn rest(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Changing) {
            State::Awake(connection) => {
                let parts = connection.into_parts();
                let mut guarded = parts.io.into_inner();
                guarded.give_back(&parts.read_buf);
                State::Resting(guarded)
            }
            state => state,
        };
    }

    /// Closes after the answers that are under way.
    pub(super) fn close_in_good_order(&mut self) {
        self.wake();
        if let State::Awake(connection) = &mut self.state {
            Pin::new(&mut **connection).graceful_shutdown();
        }
    }

    fn wake(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Changing) {
            State::Resting(guarded) => {
                let (io, service) = (TokioIo::new(guarded), self.service.clone());
                State::Awake(Box::new(self.builder.serve_connection(io, service)))
            }
            state => state,
        };
    }
}

/// Serves requests until the connection ends.
impl<I, B, S> Future for Resting<I, S>
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
    S: HttpService<Incoming, ResBody = B> + Clone + Unpin,
    S::Error: Into<BoxError>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    type Output = hyper::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        let this = self.get_mut();
        if let State::Resting(guarded) = &mut this.state {
            ready!(guarded.poll_begun(cx));
            this.wake();
        }
        match &mut this.state {
            State::Awake(connection) => Pin::new(&mut **connection).poll(cx),
            State::Changing | State::Resting(_) => Poll::Pending,
        }
    }
}
