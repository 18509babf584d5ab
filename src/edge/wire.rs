//! The TCP stream under everything: notes when the client takes no byte, and closes so that the
//! last answer arrives.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::exchange::Exchange;
use crate::upload::LINGER_BYTES;

/// One accepted TCP connection.
#[derive(Debug)]
pub(super) struct Wire {
    tcp: TcpStream,
    exchange: Rc<Exchange>,
    closing: Closing,
}

#[derive(Debug)]
enum Closing {
    /// What the client still sends is thrown away. A socket closed with unread bytes sends RST, and
    /// RST makes the client's stack throw away an answer that it has not read. Time bounds it as
    /// well ([`super::exchange`]).
    Lingering {
        left: usize,
    },
    No,
}

impl Wire {
    pub(super) fn new(tcp: TcpStream, exchange: Rc<Exchange>) -> Wire {
        Wire {
            tcp,
            exchange,
            closing: Closing::No,
        }
    }

    fn note<T>(&self, written: Poll<T>) -> Poll<T> {
        self.exchange.note_write(written.is_pending());
        written
    }

    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scratch = [0; 4096];
        while let Closing::Lingering { left } = &mut self.closing {
            let mut buf = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut buf));
            let taken = buf.filled().len();
            // An error here is the client's own way to be done.
            if read.is_err() || taken == 0 || taken >= *left {
                break;
            }
            *left -= taken;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(cx, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // Most answers are one record, and `send` is the cheaper call for that.
        if let [whole] = bytes {
            return self.poll_write(cx, whole);
        }
        let written = Pin::new(&mut self.tcp).poll_write_vectored(cx, bytes);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    /// FIN, then whatever the client still sends, until it closes too, within bounds.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.closing, Closing::No) {
            ready!(Pin::new(&mut self.tcp).poll_shutdown(cx))?;
            self.closing = Closing::Lingering { left: LINGER_BYTES };
            self.exchange.linger();
        }
        self.poll_linger(cx)
    }
}
