//! HTTP/2 frames that do no work: a client may send some, but not without end (row 55).
//!
//! h2 answers floods of SETTINGS, PING, PRIORITY, WINDOW_UPDATE, unknown and empty frames one by
//! one for as long as they come. This reads frame headers (RFC 9113 §4.1) on their way to it and
//! breaks the connection off when they are more than the exchange explains. Not here: any other
//! check of a frame, which is h2's. Invariant: no payload is held, and work is linear.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::pieces;

/// A stream that ends in an error once its client has used up its frames.
#[derive(Debug)]
pub(super) struct Metered<S> {
    inner: S,
    frames: Frames,
    budget: Budget,
}

/// Where frames begin in what the client sends.
#[derive(Debug)]
struct Frames {
    /// Bytes that are no frame header: the preface, then payloads.
    skip: usize,
    header: [u8; HEADER],
    filled: usize,
}

/// Frames that the client may still send for nothing.
#[derive(Debug)]
struct Budget {
    left: u64,
    /// Bytes of either side that have not bought a whole frame yet.
    bytes: u64,
    refilled: Instant,
}

/// The client has sent more than its budget.
#[derive(Debug, PartialEq, Eq)]
struct Flood;

const HEADER: usize = 9;
/// RFC 9113 §3.4.
const PREFACE: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();

/// What a client may have in store, and begins with: thousands of WINDOW_UPDATEs and PINGs are
/// more than any client sends at once.
const MOST: u64 = 2048;
/// Frames a second that need no explanation.
const A_SECOND: u64 = 64;
/// A request explains some: its windows, its priority, its reset.
const A_REQUEST: u64 = 8;
/// A piece of a body of this size explains a frame, in either direction.
const A_PIECE: u64 = 1024;

impl<S> Metered<S> {
    pub(super) fn new(inner: S) -> Metered<S> {
        Metered {
            inner,
            frames: Frames::new(),
            budget: Budget::new(),
        }
    }
}

impl Frames {
    fn new() -> Frames {
        Frames {
            skip: PREFACE,
            header: [0; HEADER],
            filled: 0,
        }
    }

    /// Calls `each` with the type and length of each frame whose header ends in `bytes`.
    fn read(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(u8, u64) -> Result<(), Flood>,
    ) -> Result<(), Flood> {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let taken = (HEADER - self.filled).min(bytes.len());
            if taken == 0 {
                return Ok(());
            }
            self.header[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled == HEADER {
                let [a, b, c, kind, ..] = self.header;
                let length = u32::from_be_bytes([0, a, b, c]);
                self.filled = 0;
                self.skip = length as usize;
                each(kind, u64::from(length))?;
            }
        }
    }
}

impl Budget {
    fn new() -> Budget {
        Budget {
            left: MOST,
            bytes: 0,
            refilled: Instant::now(),
        }
    }

    /// A frame of the client's.
    fn take(&mut self, kind: u8, length: u64) -> Result<(), Flood> {
        const DATA: u8 = 0;
        const HEADERS: u8 = 1;
        match kind {
            HEADERS => self.earn(A_REQUEST),
            DATA if length > 0 => self.carry(length),
            _ => return self.spend(),
        }
        Ok(())
    }

    fn spend(&mut self) -> Result<(), Flood> {
        if self.left == 0 {
            self.refill();
        }
        self.left = self.left.checked_sub(1).ok_or(Flood)?;
        Ok(())
    }

    /// Only at the end of what is in store, so that a clock is hardly ever read.
    fn refill(&mut self) {
        let earned = self.refilled.elapsed().as_secs_f64() * A_SECOND as f64;
        self.refilled = Instant::now();
        self.earn(earned as u64);
    }

    fn carry(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.earn(self.bytes / A_PIECE);
        self.bytes %= A_PIECE;
    }

    fn earn(&mut self, frames: u64) {
        self.left = (self.left + frames).min(MOST);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let start = buf.filled().len();
        let this = &mut *self;
        ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        let budget = &mut this.budget;
        let read = this.frames.read(&buf.filled()[start..], |kind, length| {
            budget.take(kind, length)
        });
        Poll::Ready(read.map_err(|Flood| io::Error::other("too many frames that do no work")))
    }
}

impl<S: AsyncWrite + Unpin> Metered<S> {
    fn carried(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.budget.carry(bytes as u64);
        }
        written
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.carried(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = pieces::poll_write_vectored(Pin::new(&mut self.inner), cx, bytes);
        self.carried(written)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PING: u8 = 6;

    fn frame(kind: u8, length: u32) -> Vec<u8> {
        let header = [&length.to_be_bytes()[1..], &[kind, 0, 0, 0, 0, 1]].concat();
        [header, vec![7; length as usize]].concat()
    }

    #[test]
    fn frames_are_found_however_the_bytes_come() {
        let frames = [(4, 0), (PING, 8), (0, 300), (1, 9), (200, 0)];
        let mut bytes = vec![b'P'; PREFACE];
        bytes.extend(
            frames
                .iter()
                .flat_map(|(kind, length)| frame(*kind, *length)),
        );
        for step in [1, 2, 8, 9, 10, bytes.len()] {
            let (mut reader, mut seen) = (Frames::new(), Vec::new());
            for piece in bytes.chunks(step) {
                let read = reader.read(piece, |kind, length| {
                    seen.push((kind, length as u32));
                    Ok(())
                });
                assert_eq!(read, Ok(()));
            }
            assert_eq!(seen, frames, "in pieces of {step}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn row_55_frames_for_nothing_end_and_come_back_with_time_and_work() {
        let mut budget = Budget::new();
        let spend =
            |budget: &mut Budget| (0..).take_while(|_| budget.take(PING, 8).is_ok()).count();
        assert_eq!(spend(&mut budget), MOST as usize);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(spend(&mut budget), 2 * A_SECOND as usize);
        budget.take(1, 50).expect("a request");
        assert_eq!(spend(&mut budget), A_REQUEST as usize);
        budget.take(0, 3 * A_PIECE).expect("a piece of a body");
        budget.carry(2 * A_PIECE);
        assert_eq!(spend(&mut budget), 5);
        assert_eq!(
            budget.take(0, 0),
            Err(Flood),
            "an empty DATA frame is no piece"
        );
    }
}
