//! One HTTP/1.1 connection to an upstream, driven by the task whose request it carries.
//!
//! hyper's client splits a connection into a sender and a driver that is meant to be spawned.
//! Here the request's own future polls the driver: no task, no channel wake-up, and a client that
//! goes away takes its upstream connection with it. Invariant: a connection goes back to the pool
//! only when hyper says that it can take another request, which it does only after a complete
//! request and a complete answer.

use std::fmt;
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::RequestBody;
use super::connection::Stream;
use super::pool::IdleHttp1;
use super::response_guard::{HeadSignal, ResponseGuard};

/// A connection that one request has for itself.
pub(super) struct Http1 {
    sender: SendRequest<RequestBody>,
    driver: Connection<TokioIo<ResponseGuard<Stream>>, RequestBody>,
    driver_ended: bool,
    head: HeadSignal,
    home: Weak<IdleHttp1>,
    pub(super) idle_since: Instant,
}

/// What came of sending one request.
pub(super) enum Sent {
    /// An answer.
    Answer(Response<Incoming>, Box<Http1>),
    /// The connection had been closed before a byte was sent: the request is unharmed.
    Returned(Box<Request<RequestBody>>),
    /// It broke off.
    Failed(hyper::Error),
}

/// Largest answer head, in bytes.
const MAX_HEAD: usize = 64 * 1024;

impl Http1 {
    pub(super) async fn handshake(
        stream: Stream,
        home: &Rc<IdleHttp1>,
    ) -> Result<Box<Http1>, hyper::Error> {
        let head = HeadSignal::default();
        let io = TokioIo::new(ResponseGuard::new(stream, head.clone()));
        let (sender, driver) = Builder::new().max_buf_size(MAX_HEAD).handshake(io).await?;
        let home = Rc::downgrade(home);
        let idle_since = Instant::now();
        Ok(Box::new(Http1 {
            sender,
            driver,
            driver_ended: false,
            head,
            home,
            idle_since,
        }))
    }

    /// Sends one request and waits for its answer's head.
    pub(super) async fn send(mut self: Box<Self>, request: Request<RequestBody>) -> Sent {
        self.head.expect();
        let answered = {
            let mut answer = pin!(self.sender.try_send_request(request));
            let (driver, ended) = (&mut self.driver, &mut self.driver_ended);
            std::future::poll_fn(|cx| drive(driver, ended, cx, |cx| answer.as_mut().poll(cx))).await
        };
        match answered {
            Ok(response) => Sent::Answer(response, self),
            Err(mut error) => match error.take_message() {
                Some(request) => Sent::Returned(Box::new(request)),
                None => Sent::Failed(error.into_error()),
            },
        }
    }

    /// Polls `part`, which only this connection's driver can move on, together with the driver.
    pub(super) fn drive<T>(
        &mut self,
        cx: &mut Context<'_>,
        part: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        drive(&mut self.driver, &mut self.driver_ended, cx, part)
    }

    /// Puts the connection back into its pool if it can take another request, else closes it.
    pub(super) fn release(mut self: Box<Self>) {
        let mut cx = Context::from_waker(Waker::noop());
        if self.settle(&mut cx)
            && let Some(home) = self.home.upgrade()
        {
            self.idle_since = Instant::now();
            home.put(self);
        }
    }

    /// Whether the connection is open and waits for a request. Notices a close by the upstream.
    pub(super) fn settle(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.driver_ended {
            self.driver_ended = Pin::new(&mut self.driver).poll(cx).is_ready();
        }
        !self.driver_ended && self.sender.is_ready()
    }
}

/// One poll of both. The part is polled with a waker that does nothing: all that can wake it is
/// the driver, which is polled right here, with the real one.
fn drive<T>(
    driver: &mut (impl Future<Output = hyper::Result<()>> + Unpin),
    ended: &mut bool,
    cx: &mut Context<'_>,
    mut part: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    let mut quiet = Context::from_waker(Waker::noop());
    if let Poll::Ready(done) = part(&mut quiet) {
        return Poll::Ready(done);
    }
    if !*ended {
        // The part tells the error: hyper hands it to whoever waits for the answer.
        *ended = Pin::new(driver).poll(cx).is_ready();
    }
    part(&mut quiet)
}

impl fmt::Debug for Http1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http1")
            .field("driver_ended", &self.driver_ended)
            .finish_non_exhaustive()
    }
}
