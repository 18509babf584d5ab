//! The bodies of an exchange: the client's on its way up, the upstream's on its way down.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::http1::Http1;
use crate::patience::Patience;
use crate::upload::Upload;

/// A request's body on its way to the upstream.
#[derive(Debug)]
pub enum RequestBody {
    /// None.
    Empty,
    /// As it comes from the client. Boxed, since most requests have none.
    Client(Box<ClientBody>),
}

/// A client's body, counted against its limit.
#[derive(Debug)]
pub struct ClientBody {
    incoming: Upload,
    remaining: u64,
    trailers: Trailers,
    pace: Pace,
    course: Rc<BodyCourse>,
}

/// What becomes of a request's trailers.
#[derive(Clone, Copy, Debug)]
pub enum Trailers {
    /// Dropped.
    Drop,
    /// Passed on, less what this takes out of them.
    Pass(fn(&mut HeaderMap)),
}

/// How fast a body comes: time spent in waiting for it must be paid for with bytes. HTTP/1 bodies
/// are held to the same by the wire guard; this is for HTTP/2 too (`security.md` row 107).
#[derive(Debug)]
struct Pace {
    idle: Duration,
    waited: Duration,
    bytes: u64,
    waiting_since: Option<Instant>,
    deadline: Option<Pin<Box<Sleep>>>,
}

/// Bytes a second that a body must come in at, on average, beyond one idle limit.
const BODY_RATE: u64 = 240;

/// How a client's body goes, for whoever waits for the exchange.
#[derive(Debug, Default)]
pub(super) struct BodyCourse {
    fault: Cell<Option<RequestBodyFault>>,
    /// When the last piece went on its way.
    moved: Cell<Option<Instant>>,
}

impl BodyCourse {
    /// What went wrong with the body, if anything did.
    pub(super) fn fault(&self) -> Option<RequestBodyFault> {
        self.fault.get()
    }

    /// When the last piece went on its way.
    pub(super) fn moved(&self) -> Option<Instant> {
        self.moved.get()
    }
}

/// Why a request's body ended before its end. The client's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestBodyFault {
    /// It broke off, or its framing is wrong.
    #[error("the request body broke off")]
    Broken,
    /// It stopped coming, or came too slowly.
    #[error("the request body came too slowly")]
    Timeout,
    /// More bytes than the route allows.
    #[error("the request body is too large")]
    TooLarge,
}

impl RequestBodyFault {
    /// The word for it in logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            RequestBodyFault::Broken => "body_broken",
            RequestBodyFault::Timeout => "body_timeout",
            RequestBodyFault::TooLarge => "payload_too_large",
        }
    }
}

impl RequestBody {
    /// A client's body of at most `limit` bytes, which may pause for `idle`.
    pub fn client(incoming: Upload, limit: u64, trailers: Trailers, idle: Duration) -> RequestBody {
        if incoming.is_end_stream() {
            return RequestBody::Empty;
        }
        let pace = Pace {
            idle,
            waited: Duration::ZERO,
            bytes: 0,
            waiting_since: None,
            deadline: None,
        };
        let course = Rc::default();
        RequestBody::Client(Box::new(ClientBody {
            incoming,
            remaining: limit,
            trailers,
            pace,
            course,
        }))
    }

    /// How this body goes; `None` if there is none.
    pub(super) fn course(&self) -> Option<Rc<BodyCourse>> {
        match self {
            RequestBody::Empty => None,
            RequestBody::Client(body) => Some(Rc::clone(&body.course)),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyFault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyFault>>> {
        match self.get_mut() {
            RequestBody::Empty => Poll::Ready(None),
            RequestBody::Client(body) => body.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::Empty => true,
            RequestBody::Client(body) => body.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Empty => SizeHint::with_exact(0),
            RequestBody::Client(body) => body.incoming.size_hint(),
        }
    }
}

impl ClientBody {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyFault>>> {
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
                std::task::ready!(self.pace.poll_expired(cx));
                return self.fail(RequestBodyFault::Timeout);
            };
            let frame = match frame {
                None => return Poll::Ready(None),
                Some(Err(_)) => return self.fail(RequestBodyFault::Broken),
                Some(Ok(frame)) => frame,
            };
            self.course.moved.set(Some(Instant::now()));
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            self.pace.moved(length);
            match self.remaining.checked_sub(length) {
                None => return self.fail(RequestBodyFault::TooLarge),
                Some(remaining) => self.remaining = remaining,
            }
            if let Some(frame) = self.passing(frame) {
                return Poll::Ready(Some(Ok(frame)));
            }
        }
    }

    fn passing(&self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        match (frame.into_trailers(), self.trailers) {
            (Err(data), _) => Some(data),
            (Ok(_), Trailers::Drop) => None,
            (Ok(mut trailers), Trailers::Pass(clean)) => {
                clean(&mut trailers);
                Some(Frame::trailers(trailers))
            }
        }
    }

    fn fail(
        &self,
        fault: RequestBodyFault,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyFault>>> {
        self.course.fault.set(Some(fault));
        Poll::Ready(Some(Err(fault)))
    }
}

impl Pace {
    fn moved(&mut self, bytes: u64) {
        if let Some(since) = self.waiting_since.take() {
            self.waited += since.elapsed();
        }
        self.bytes += bytes;
    }

    /// Ready once the wait that is going on has lasted too long.
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.waiting_since.is_none() {
            let now = Instant::now();
            let earned = self.idle + Duration::from_secs(self.bytes / BODY_RATE);
            let at = now + self.idle.min(earned.saturating_sub(self.waited));
            self.waiting_since = Some(now);
            match &mut self.deadline {
                Some(deadline) => deadline.as_mut().reset(at),
                None => self.deadline = Some(Box::pin(tokio::time::sleep_until(at))),
            }
        }
        self.deadline
            .as_mut()
            .map_or(Poll::Pending, |deadline| deadline.as_mut().poll(cx))
    }
}

/// An answer's body on its way from the upstream. Dropping it before its end closes the
/// connection (HTTP/1) or resets the stream (HTTP/2); at its end the connection goes back to the
/// pool.
#[derive(Debug)]
pub struct UpstreamBody {
    incoming: Incoming,
    /// Drives an HTTP/1 connection; an HTTP/2 one has a task of its own.
    connection: Option<Box<Http1>>,
    idle: Duration,
    /// When it has come too slowly; `None` while nothing is waited for.
    overdue: Option<Instant>,
    /// For an HTTP/2 answer; an HTTP/1 connection has its own.
    patience: Patience,
}

/// Why an answer's body ended before its end. The upstream's doing.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamBodyError {
    /// The connection broke, or the framing is wrong.
    #[error("the answer broke off")]
    Broken(#[source] hyper::Error),
    /// No byte for `idle_timeout`.
    #[error("the answer stopped coming")]
    Idle,
}

impl UpstreamBody {
    pub(super) fn new(
        incoming: Incoming,
        connection: Option<Box<Http1>>,
        idle: Duration,
    ) -> UpstreamBody {
        let mut body = UpstreamBody {
            incoming,
            connection,
            idle,
            overdue: None,
            patience: Patience::default(),
        };
        body.release_at_end();
        body
    }

    /// Gives the connection back once nothing of this answer can follow. The server side may
    /// never poll past the last byte of a known length.
    fn release_at_end(&mut self) {
        if self.incoming.is_end_stream()
            && let Some(connection) = self.connection.take()
        {
            connection.release();
        }
    }

    fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.connection {
            None => Pin::new(&mut self.incoming).poll_frame(cx),
            Some(connection) => {
                connection.drive(cx, |cx| Pin::new(&mut self.incoming).poll_frame(cx))
            }
        }
    }

    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let end = *self
            .overdue
            .get_or_insert_with(|| Instant::now() + self.idle);
        match &mut self.connection {
            Some(connection) => connection.poll_until(end),
            None => self.patience.poll_until(end, cx),
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = UpstreamBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamBodyError>>> {
        let Poll::Ready(frame) = self.poll_incoming(cx) else {
            return self
                .poll_overdue(cx)
                .map(|()| Some(Err(UpstreamBodyError::Idle)));
        };
        self.overdue = None;
        match &frame {
            Some(Ok(_)) => self.release_at_end(),
            Some(Err(_)) => self.connection = None,
            None => {
                if let Some(connection) = self.connection.take() {
                    connection.release();
                }
            }
        }
        Poll::Ready(frame.map(|frame| frame.map_err(UpstreamBodyError::Broken)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
