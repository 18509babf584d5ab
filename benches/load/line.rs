//! The line over which one asker asks: an HTTP/1 connection, or a share of an HTTP/2 one.
//!
//! Invariant: a connection that failed, or whose exchange was given up, is never used again.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::dial::Dial;
use super::failure::Failure;

/// What came back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) bytes: u64,
}

/// One asker's way to the gateway.
pub(crate) enum Line {
    Http1(Option<Box<Http1>>),
    Http2(Rc<Http2>),
}

impl Line {
    /// Has a connection that can be asked; says whether it had to be made.
    pub(crate) async fn ready(&mut self, dial: &Dial) -> Result<Made, Failure> {
        match self {
            Line::Http1(open) => {
                // Taken out: if this is given up half-way, the connection is gone.
                if let Some(mut connection) = open.take()
                    && connection.is_ready().await
                {
                    *open = Some(connection);
                    return Ok(Made::Before);
                }
                *open = Some(Box::new(Http1::open(dial).await?));
                Ok(Made::Now)
            }
            Line::Http2(shared) => shared.ready(dial).await,
        }
    }

    /// Asks; the line was ready.
    pub(crate) async fn ask(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        match self {
            Line::Http1(open) => {
                let mut connection = open.take().expect("`ready` made a connection");
                let answer = connection.exchange(request).await?;
                *open = Some(connection);
                Ok(answer)
            }
            Line::Http2(shared) => {
                let sender = shared.sender.borrow().clone();
                let mut sender = sender.expect("`ready` made a connection");
                Ok(read(sender.send_request(request).await?).await?)
            }
        }
    }
}

/// Whether a connection was made for this request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    Before,
    Now,
}

/// An HTTP/1.1 connection, driven by the task that uses it: no channel between tasks to wake.
pub(crate) struct Http1 {
    sender: http1::SendRequest<Full<Bytes>>,
    connection: Option<http1::Connection<TokioIo<TlsStream<TcpStream>>, Full<Bytes>>>,
}

impl Http1 {
    async fn open(dial: &Dial) -> Result<Http1, Failure> {
        let io = TokioIo::new(dial.open().await?);
        let (sender, connection) = http1::handshake(io).await?;
        let mut open = Http1 {
            sender,
            connection: Some(connection),
        };
        match open.is_ready().await {
            true => Ok(open),
            false => Err(Failure::Handshake(std::io::ErrorKind::UnexpectedEof.into())),
        }
    }

    async fn is_ready(&mut self) -> bool {
        drive(&mut self.connection, self.sender.ready())
            .await
            .is_ok()
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, hyper::Error> {
        let sender = &mut self.sender;
        let exchange = async move { read(sender.send_request(request).await?).await };
        drive(&mut self.connection, exchange).await
    }
}

/// Does `work` while the connection beneath it moves. A connection that ended is dropped, which
/// ends the work as well.
async fn drive<C: Future + Unpin, T>(
    connection: &mut Option<C>,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    poll_fn(|context| {
        let ended = |open: &mut C| Pin::new(open).poll(context).is_ready();
        if connection.as_mut().is_some_and(ended) {
            *connection = None;
        }
        work.as_mut().poll(context)
    })
    .await
}

/// An HTTP/2 connection that several askers share.
#[derive(Default)]
pub(crate) struct Http2 {
    sender: RefCell<Option<http2::SendRequest<Full<Bytes>>>>,
    dialling: tokio::sync::Mutex<()>,
}

impl Http2 {
    async fn ready(&self, dial: &Dial) -> Result<Made, Failure> {
        if self.stands() {
            return Ok(Made::Before);
        }
        let _one = self.dialling.lock().await;
        if self.stands() {
            return Ok(Made::Before);
        }
        let io = TokioIo::new(dial.open().await?);
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
        // What breaks a connection is told to each of its requests.
        tokio::spawn(async move { drop(connection.await) });
        sender.ready().await?;
        *self.sender.borrow_mut() = Some(sender);
        Ok(Made::Now)
    }

    fn stands(&self) -> bool {
        let sender = self.sender.borrow();
        sender.as_ref().is_some_and(|sender| !sender.is_closed())
    }
}

async fn read(response: Response<Incoming>) -> Result<Answer, hyper::Error> {
    let status = response.status();
    let mut body = response.into_body();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame?.data_ref().map_or(0, |data| data.len() as u64);
    }
    Ok(Answer { status, bytes })
}
