//! The guard as a stream: reads from TLS (or TCP), gives hyper what has passed.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::{Guard, HeadLimits, Rest};
use crate::edge::exchange::{Awaited, Exchange};
use crate::edge::{ConnectionLimits, Malformed};

/// A stream whose reader sees only what [`Guard`] has passed.
///
/// Bytes are read into the reader's own buffer and checked there; only a head (or chunk line)
/// that is not all there yet is moved out of it, so that an idle connection holds no memory.
#[derive(Debug)]
pub(in crate::edge) struct Guarded<S> {
    inner: S,
    guard: Guard,
    held: Held,
    end: End,
    body: BodyPace,
    exchange: Rc<Exchange>,
}

/// Bytes out of the reader's buffer: first those that may go to it, then those to be kept.
#[derive(Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    given: usize,
    passed: usize,
}

/// Whether more may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The reader is to see an error once everything that was good has been given.
    Fault,
    No,
    /// The reader has a stand-in for a bad head, and after that there is nothing.
    Refused,
}

/// How fast a body has come: time spent in waiting for it must be paid for with bytes.
#[derive(Debug)]
struct BodyPace {
    idle: Duration,
    waited: Duration,
    bytes: u64,
}

/// What hyper reads in the place of a bad head. Its answer is the handler's for [`Malformed`];
/// going through hyper keeps pipelined answers in order.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

/// How much is read at once while a line is held.
const READ_STEP: usize = 4096;

/// Bytes a second that a body must come in at, on average, beyond one idle limit (row 107).
const BODY_RATE: u64 = 240;

impl<S> Guarded<S> {
    pub(in crate::edge) fn new(
        inner: S,
        limits: &ConnectionLimits,
        exchange: Rc<Exchange>,
    ) -> Guarded<S> {
        Guarded {
            inner,
            guard: Guard::new(HeadLimits::new(limits)),
            held: Held::default(),
            end: End::No,
            body: BodyPace {
                idle: limits.body_idle,
                waited: Duration::ZERO,
                bytes: 0,
            },
            exchange,
        }
    }

    /// What is to happen after the bytes that passed.
    fn settle(&mut self, rest: Rest) {
        match rest {
            Rest::Keep => {}
            Rest::BadHead(why) => {
                self.exchange.refuse(self.guard.heads(), why);
                self.held.keep_only_passed();
                self.held.push_passed(STAND_IN);
                self.end = End::Refused;
            }
            Rest::BadBody(fault) => {
                self.exchange.fault_body(fault);
                self.held.keep_only_passed();
                self.end = End::Fault;
            }
        }
    }

    /// The driver says that the wait was too long.
    fn time_out(&mut self) {
        let fault = match self.guard.in_body() {
            true => Malformed::BodyTimeout,
            false => Malformed::HeaderTimeout,
        };
        let rest = self.guard.stop(fault);
        self.settle(rest);
    }

    /// Nothing to read now: tells the driver what is waited for.
    fn note_wait(&mut self) {
        let awaited = match self.exchange.awaited() {
            _ if self.guard.in_body() => self.body.wait(self.exchange.awaited()),
            waiting @ Awaited::Head(_) => waiting,
            _ if self.held.is_empty() => Awaited::Nothing,
            _ => Awaited::Head(Instant::now()),
        };
        self.exchange.wait_for(awaited);
    }

    /// `bytes` came, and `was_in_body` says what they were the beginning of.
    fn note_read(&mut self, bytes: usize, was_in_body: bool) {
        // The wait that the driver gave up was for these, and hyper has only now asked for them.
        self.exchange.take_expired();
        if let Awaited::Body { since, .. } = self.exchange.awaited() {
            self.body.waited += since.elapsed();
        }
        match was_in_body && self.guard.in_body() {
            true => self.body.bytes += bytes as u64,
            false => self.body.restart(),
        }
        let still_same_head = !self.held.is_empty() && !was_in_body && self.held.passed == 0;
        if !(still_same_head && matches!(self.exchange.awaited(), Awaited::Head(_))) {
            self.exchange.wait_for(Awaited::Nothing);
        }
    }
}

impl<S: AsyncRead + Unpin> Guarded<S> {
    /// Reads into the reader's buffer and takes back what may not pass.
    fn poll_in_place(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        let start = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        let bytes = &buf.filled()[start..];
        let (taken, was_in_body) = (bytes.len(), self.guard.in_body());
        let scan = self.guard.scan(bytes);
        if scan.rest == Rest::Keep {
            self.held.keep(&bytes[scan.pass..]);
        }
        buf.set_filled(start + scan.pass);
        self.note_read(taken, was_in_body);
        self.settle(scan.rest);
        Poll::Ready(Ok(taken))
    }

    /// Reads behind what is held.
    fn poll_behind_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let taken = ready!(self.held.poll_grow(Pin::new(&mut self.inner), cx))?;
        let was_in_body = self.guard.in_body();
        let scan = self.guard.scan(&self.held.bytes);
        self.held.passed = scan.pass;
        self.note_read(taken, was_in_body);
        self.settle(scan.rest);
        Poll::Ready(Ok(taken))
    }

    fn poll_more(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        let read = match self.held.is_empty() {
            true => self.poll_in_place(cx, buf),
            false => self.poll_behind_held(cx),
        };
        // A body that ends early is the client's doing, however it ended.
        if matches!(read, Poll::Ready(Ok(0) | Err(_))) && self.guard.in_body() {
            self.exchange.fault_body(Malformed::BodyTimeout);
        }
        read
    }
}

impl<S: AsyncRead + Unpin> Guarded<S> {
    /// Ready once there is something for a reader: bytes, the stream's end or a fault.
    pub(in crate::edge) fn poll_begun(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.held.is_empty() || self.end != End::No {
            return Poll::Ready(());
        }
        let begun = self.poll_behind_held(cx);
        if self.held.is_empty() {
            // No memory for what has not begun.
            self.held.bytes = Vec::new();
        }
        // The stream's end is found again by whoever reads; a fault of TLS would not be.
        if matches!(begun, Poll::Ready(Err(_))) {
            self.end = End::Fault;
        }
        begun.map(|_| ())
    }

    /// Takes back bytes that had passed and that the reader has not looked at.
    pub(in crate::edge) fn give_back(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.held.push_front(bytes);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let start = buf.filled().len();
        loop {
            self.held.give(buf);
            if buf.filled().len() > start {
                return Poll::Ready(Ok(()));
            }
            match self.end {
                End::No => {}
                End::Fault => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                // The answer to the stand-in ends the connection; the rest is nobody's request.
                End::Refused => return Poll::Pending,
            }
            match self.poll_more(cx, buf) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(_)) if buf.filled().len() > start => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if self.exchange.take_expired() => self.time_out(),
                Poll::Pending => {
                    self.note_wait();
                    return Poll::Pending;
                }
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl Held {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn keep_only_passed(&mut self) {
        self.bytes.truncate(self.passed);
    }

    fn push_front(&mut self, passed: &[u8]) {
        self.bytes
            .splice(self.given..self.given, passed.iter().copied());
        self.passed += passed.len();
    }

    fn push_passed(&mut self, bytes: &[u8]) {
        debug_assert_eq!(
            self.passed,
            self.bytes.len(),
            "nothing is kept behind these"
        );
        self.bytes.extend_from_slice(bytes);
        self.passed = self.bytes.len();
    }

    /// Gives what has passed, as far as there is room, and forgets it.
    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let count = (self.passed - self.given).min(buf.remaining());
        if count == 0 {
            return;
        }
        buf.put_slice(&self.bytes[self.given..self.given + count]);
        self.given += count;
        if self.given == self.passed {
            self.bytes.drain(..self.passed);
            (self.given, self.passed) = (0, 0);
        }
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
        }
    }

    /// Reads behind what is there.
    fn poll_grow<S: AsyncRead>(
        &mut self,
        inner: Pin<&mut S>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let start = self.bytes.len();
        self.bytes.resize(start + READ_STEP, 0);
        let mut buf = ReadBuf::new(&mut self.bytes[start..]);
        let read = inner.poll_read(cx, &mut buf);
        let taken = buf.filled().len();
        self.bytes.truncate(start + taken);
        read.map_ok(|()| taken)
    }
}

impl BodyPace {
    fn restart(&mut self) {
        self.waited = Duration::ZERO;
        self.bytes = 0;
    }

    fn wait(&self, current: Awaited) -> Awaited {
        if let Awaited::Body { .. } = current {
            return current;
        }
        let earned = self.idle + Duration::from_secs(self.bytes / BODY_RATE);
        Awaited::Body {
            since: Instant::now(),
            patience: self.idle.min(earned.saturating_sub(self.waited)),
        }
    }
}
