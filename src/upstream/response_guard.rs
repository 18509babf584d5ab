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
    length: usize,
    /// Whether the status code begins with `1`.
    interim: bool,
    /// The byte before.
    previous: u8,
    /// Whether the current line has anything but its end.
    has_text: bool,
}

impl Head {
    const START: Head = Head {
        active: true,
        length: 0,
        interim: false,
        previous: 0,
        has_text: false,
    };

    /// Follows the head through `bytes`, line by line; `false` refuses them.
    fn accept(&mut self, mut bytes: &[u8]) -> bool {
        while self.active {
            let Some(end) = memchr::memchr(b'\n', bytes) else {
                self.pass(bytes);
                return true;
            };
            self.pass(&bytes[..end]);
            if self.previous != b'\r' {
                return false;
            }
            if !self.end_line() {
                return false;
            }
            bytes = &bytes[end + 1..];
        }
        true
    }

    /// Bytes within one line.
    fn pass(&mut self, bytes: &[u8]) {
        const STATUS: usize = "HTTP/1.1 ".len();
        if let Some(digit) = STATUS.checked_sub(self.length).and_then(|at| bytes.get(at)) {
            self.interim = *digit == b'1';
        }
        self.has_text |= bytes.iter().any(|byte| *byte != b'\r');
        self.length = self.length.saturating_add(bytes.len());
        self.previous = bytes.last().copied().unwrap_or(self.previous);
    }

    /// After an empty line comes the body, or, after an interim answer, the next head; `false` where
    /// there has been no status line, since a parser that skips empty lines reads the head after it.
    fn end_line(&mut self) -> bool {
        let first = self.length <= 1;
        match (self.has_text, self.interim) {
            (true, _) => {
                self.length = self.length.saturating_add(1);
                self.previous = b'\n';
                self.has_text = false;
            }
            (false, _) if first => return false,
            (false, true) => *self = Head::START,
            (false, false) => self.active = false,
        }
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
        match self.head.accept(&buf.filled()[before..]) {
            true => Poll::Ready(Ok(())),
            false => Poll::Ready(Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "bare LF in an answer's head",
            ))),
        }
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

    #[derive(Debug, PartialEq, Eq)]
    enum Verdict {
        Body,
        MoreOfTheHead,
        Refused,
    }

    /// The verdict on an answer, which is the same however its bytes are cut into pieces.
    fn follow(bytes: &[u8]) -> Verdict {
        let in_pieces_of = |size: usize| {
            let mut head = Head::START;
            let clean = bytes.chunks(size).all(|piece| head.accept(piece));
            match (clean, head.active) {
                (false, _) => Verdict::Refused,
                (true, true) => Verdict::MoreOfTheHead,
                (true, false) => Verdict::Body,
            }
        };
        let whole = in_pieces_of(bytes.len());
        for size in 1..bytes.len() {
            assert_eq!(in_pieces_of(size), whole, "in pieces of {size}");
        }
        whole
    }

    #[test]
    fn a_clean_head_passes_and_its_body_is_not_read() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\na\nb";
        assert_eq!(follow(answer), Verdict::Body);
        let unfinished = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n";
        assert_eq!(follow(unfinished), Verdict::MoreOfTheHead);
    }

    #[test]
    fn row_47_a_bare_lf_in_a_head_is_refused() {
        let echoed = b"HTTP/1.1 200 OK\r\nx: a\nset-cookie: b\r\n\r\n";
        assert_eq!(follow(echoed), Verdict::Refused);
        assert_eq!(follow(b"HTTP/1.1 200 OK\n"), Verdict::Refused);
        assert_eq!(follow(b"HTTP/1.1 200 OK\r\n\n"), Verdict::Refused);
        let behind_an_empty_line = b"\r\nHTTP/1.1 200 OK\r\nx: a\nset-cookie: b\r\n\r\n";
        assert_eq!(follow(behind_an_empty_line), Verdict::Refused);
    }

    #[test]
    fn an_interim_answer_is_followed_by_another_head() {
        let hints = "HTTP/1.1 103 Early Hints\r\n\r\n";
        let after_it = |head: &str| follow(format!("{hints}{head}").as_bytes());
        assert_eq!(after_it("HTTP/1.1 200 OK\r\nx: a\ny: b"), Verdict::Refused);
        assert_eq!(after_it("HTTP/1.1 200 OK\r\n\r\na\nb"), Verdict::Body);
        assert_eq!(after_it(""), Verdict::MoreOfTheHead);
    }
}
