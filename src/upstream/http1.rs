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
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::RequestBody;
use super::attention::Attention;
use super::connection::Stream;
use super::pool::IdleHttp1;
use super::response_guard::{HeadSignal, ResponseGuard};
use super::wait::Wait;
use crate::patience::Patience;

/// A connection that one request has for itself.
pub(super) struct Http1 {
    sender: SendRequest<RequestBody>,
    driver: Driver,
    attention: Attention,
    head: HeadSignal,
    home: Weak<IdleHttp1>,
    patience: Patience,
    idle_since: Instant,
}

/// hyper's half of a connection, until it ends. Dropping it then is what gives a request back that
/// it had not begun.
struct Driver(Option<Connection<TokioIo<ResponseGuard<Stream>>, RequestBody>>);

/// What came of sending one request.
pub(super) enum Sent {
    /// An answer.
    Answer(Response<Incoming>, Box<Http1>),
    /// The connection had been closed before a byte was sent: the request is unharmed.
    Returned(Box<Request<RequestBody>>),
    /// It broke off.
    Failed(hyper::Error),
    /// There was no answer in time.
    TimedOut,
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
        Ok(Box::new(Http1 {
            sender,
            driver: Driver(Some(driver)),
            attention: Attention::new(),
            head,
            home,
            patience: Patience::default(),
            idle_since: Instant::now(),
        }))
    }

    /// Sends one request and waits for its answer's head.
    pub(super) fn send<'w>(
        mut self: Box<Self>,
        request: Request<RequestBody>,
        wait: &'w Wait,
    ) -> impl Future<Output = Sent> + use<'w> {
        self.head.expect();
        // Begun here and not in the future, which would hold the request once more for that.
        let answer = self.sender.try_send_request(request);
        async move {
            let mut answer = pin!(answer);
            let answered = std::future::poll_fn(|cx| {
                let Http1 {
                    driver,
                    attention,
                    patience,
                    ..
                } = &mut *self;
                match driver.drive(attention, cx, |cx| answer.as_mut().poll(cx)) {
                    Poll::Ready(answered) => Poll::Ready(Some(answered)),
                    Poll::Pending => {
                        let mut cx = Context::from_waker(attention.waker());
                        patience.poll_until(wait.end(), &mut cx).map(|()| None)
                    }
                }
            })
            .await;
            match answered {
                None => Sent::TimedOut,
                Some(Ok(response)) => Sent::Answer(response, self),
                Some(Err(mut error)) => match error.take_message() {
                    Some(request) => Sent::Returned(Box::new(request)),
                    None => Sent::Failed(error.into_error()),
                },
            }
        }
    }

    /// Polls `part`, which only this connection's driver can move on, together with the driver.
    pub(super) fn drive<T>(
        &mut self,
        cx: &mut Context<'_>,
        part: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.driver.drive(&self.attention, cx, part)
    }

    /// Ready once `end` has passed; after a [`Http1::drive`] that had nothing.
    pub(super) fn poll_until(&mut self, end: Instant) -> Poll<()> {
        let mut cx = Context::from_waker(self.attention.waker());
        self.patience.poll_until(end, &mut cx)
    }

    /// Puts the connection back into its pool if it can take another request, else closes it.
    pub(super) fn release(mut self: Box<Self>) {
        self.attention.let_go();
        // After the answer's last byte hyper has mostly come to rest already.
        let at_rest = self.is_at_rest() || self.settle(&mut Context::from_waker(Waker::noop()));
        if at_rest && let Some(home) = self.home.upgrade() {
            self.idle_since = Instant::now();
            home.put(self);
        }
    }

    /// Whether it has waited for a request for less than `limit`.
    pub(super) fn is_fresh(&self, now: Instant, limit: Duration) -> bool {
        now.saturating_duration_since(self.idle_since) < limit
    }

    /// Whether the connection waits for a request, as far as is known. hyper looks for a close by
    /// the upstream before it sends anything, and gives the request back then.
    pub(super) fn is_at_rest(&self) -> bool {
        self.driver.0.is_some() && self.sender.is_ready()
    }

    /// Looks for a close by the upstream; whether the connection waits for a request after that.
    pub(super) fn settle(&mut self, cx: &mut Context<'_>) -> bool {
        self.driver.poll(cx);
        self.is_at_rest()
    }
}

impl Driver {
    /// One poll of both. All that can wake the part is the driver, which is polled right here; and
    /// the runtime, where the task has used up its budget.
    fn drive<T>(
        &mut self,
        attention: &Attention,
        cx: &Context<'_>,
        mut part: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if let Poll::Ready(done) = part(&mut Context::from_waker(Waker::noop())) {
            return Poll::Ready(done);
        }
        attention.poll(cx, |cx| {
            self.poll(cx);
            part(cx)
        })
    }

    /// How it ended does not matter here: hyper tells that to whoever waits for the answer.
    fn poll(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.0
            && Pin::new(connection).poll(cx).is_ready()
        {
            self.0 = None;
        }
    }
}

impl fmt::Debug for Http1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http1")
            .field("ended", &self.driver.0.is_none())
            .finish_non_exhaustive()
    }
}
