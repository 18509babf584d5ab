//! A request's body as it comes from the client, and what becomes of the rest of one that is given
//! up.
//!
//! An HTTP/2 stream whose answer is sent while its body still comes is reset, as RFC 9113 §8.1
//! allows, and there are clients that lose the answer over that (curl before 8). So the rest of a
//! body that is dropped is read and thrown away, and the stream ends by itself. Not here: HTTP/1,
//! where the connection's end does the same (`edge/wire.rs`). Invariants: the answer does not wait
//! for it; a body that was read, or that there never was, costs nothing; the bounds are in bytes
//! and in time, at most one task is left of a stream, and the stream counts as open as long.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::Executor as _;
use tokio::time::Instant;

use crate::local_executor::LocalExecutor;
use crate::patience::Patience;

/// A request's body as it comes.
#[derive(Debug)]
pub struct Upload {
    /// `None` once it has ended.
    incoming: Option<Incoming>,
    /// For how long its rest is read and thrown away; `None` is not at all.
    discard_for: Option<Duration>,
}

/// The rest of a body that nobody wants.
struct Discard {
    incoming: Incoming,
    /// Bytes that may still come.
    left: usize,
    end: Instant,
    patience: Patience,
}

/// Bytes of an unread body that are thrown away, of one HTTP/2 stream or at the end of an HTTP/1
/// connection. Time bounds it as well: this is for a client that pushes as hard as it can.
pub(crate) const LINGER_BYTES: usize = 4 * 1024 * 1024;

impl Upload {
    /// Of an HTTP/1 request.
    pub(crate) fn http1(incoming: Incoming) -> Upload {
        Upload::new(incoming, None)
    }

    /// Of an HTTP/2 request; if it is given up, its rest is read for so long at most.
    pub(crate) fn http2(incoming: Incoming, discard_for: Duration) -> Upload {
        Upload::new(incoming, Some(discard_for))
    }

    fn new(incoming: Incoming, discard_for: Option<Duration>) -> Upload {
        Upload {
            incoming: (!incoming.is_end_stream()).then_some(incoming),
            discard_for,
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(incoming).poll_frame(cx);
        // What broke off has no rest.
        if let Poll::Ready(None | Some(Err(_))) = polled {
            self.incoming = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.incoming {
            None => SizeHint::with_exact(0),
            Some(incoming) => incoming.size_hint(),
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let (Some(incoming), Some(time)) = (self.incoming.take(), self.discard_for) else {
            return;
        };
        // At the process' end nothing is left that could read it.
        if incoming.is_end_stream() || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        LocalExecutor.execute(Discard {
            incoming,
            left: LINGER_BYTES,
            end: Instant::now() + time,
            patience: Patience::default(),
        });
    }
}

impl Future for Discard {
    type Output = ();

    /// Ready at the body's end or at a bound; the stream is reset then if it is still open.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        // To take a piece gives the client room in its window for the next.
        while let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(cx) {
            let Some(Ok(frame)) = frame else {
                return Poll::Ready(());
            };
            let length = frame.data_ref().map_or(0, Bytes::len);
            match this.left.checked_sub(length) {
                Some(left) => this.left = left,
                None => return Poll::Ready(()),
            }
        }
        this.patience.poll_until(this.end, cx)
    }
}
