//! Refuses what an upstream's HTTP/1 head could be read as by another parser.
//!
//! httparse, which hyper uses, takes a bare LF for a line end. A header value in which an upstream
//! echoes an attacker's LF would so become a header of its own (`security.md` rows 47 and 49). This
//! reader follows each answer's head and fails on an LF that no CR precedes. It is not a parser:
//! bodies pass unread. Invariant: from [`HeadSignal::expect`] to the end of a head that is not
//! 1xx, no bare LF passes.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Wraps a connection to an HTTP/1 upstream.
#[derive(Debug)]
pub(super) struct ResponseGuard<I> {
    io: I,
    head: Head,
    signal: HeadSignal,
}

/// Tells the reader, which hyper owns, that the next byte begins an answer.
#[derive(Clone, Debug, Default)]
pub(super) struct HeadSignal(Rc<Cell<bool>>);

impl HeadSignal {
    /// To be called before each request is sent.
    pub(super) fn expect(&self) {
        self.0.set(true);
    }
}

/// Where in an answer's head the reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    active: bool,
    /// Bytes of the head so far, saturating: finds the status code at bytes 9 to 11.
    length: u16,
    /// Whether the status code begins with `1`.
    interim: bool,
    /// The byte before.
    previous: u8,
    /// Bytes of the current line without its end, saturating.
    line: u8,
}

impl Head {
    const START: Head = Head {
        active: true,
        length: 0,
        interim: false,
        previous: 0,
        line: 0,
    };

    /// Follows one byte; `false` refuses it.
    fn accept(&mut self, byte: u8) -> bool {
        if byte == b'\n' {
            if self.previous != b'\r' {
                return false;
            }
            if self.line == 0 {
                *self = if self.interim {
                    Head::START
                } else {
                    Head {
                        active: false,
                        ..*self
                    }
                };
                return true;
            }
            self.line = 0;
        } else if byte != b'\r' {
            self.line = self.line.saturating_add(1);
        }
        if self.length == 9 {
            self.interim = byte == b'1';
        }
        self.length = self.length.saturating_add(1);
        self.previous = byte;
        true
    }
}

impl<I> ResponseGuard<I> {
    pub(super) fn new(io: I, signal: HeadSignal) -> ResponseGuard<I> {
        ResponseGuard {
            io,
            head: Head::START,
            signal,
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for ResponseGuard<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.signal.0.take() {
            self.head = Head::START;
        }
        let before = buf.filled().len();
        std::task::ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        for byte in &buf.filled()[before..] {
            if !self.head.active {
                break;
            }
            if !self.head.accept(*byte) {
                let error =
                    io::Error::new(io::ErrorKind::InvalidData, "bare LF in an answer's head");
                return Poll::Ready(Err(error));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for ResponseGuard<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes pass, and whether a body has begun after them.
    fn follow(bytes: &[u8]) -> (usize, bool) {
        let mut head = Head::START;
        for (position, byte) in bytes.iter().enumerate() {
            if head.active && !head.accept(*byte) {
                return (position, false);
            }
        }
        (bytes.len(), !head.active)
    }

    #[test]
    fn a_clean_head_passes_and_its_body_is_not_read() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\na\nb";
        assert_eq!(follow(answer), (answer.len(), true));
    }

    #[test]
    fn row_47_a_bare_lf_in_a_head_is_refused() {
        assert_eq!(
            follow(b"HTTP/1.1 200 OK\r\nx: a\nset-cookie: b\r\n\r\n"),
            (21, false)
        );
        assert_eq!(follow(b"HTTP/1.1 200 OK\n"), (15, false));
    }

    #[test]
    fn an_interim_answer_is_followed_by_another_head() {
        let (passed, body) =
            follow(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nx: a\ny: b");
        assert_eq!((passed, body), (49, false));
    }
}
