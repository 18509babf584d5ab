//! One HTTP/2 connection to an upstream, shared by all requests of one worker.
//!
//! Unlike HTTP/1 it has a task of its own, since no single request owns it. Invariant: the task
//! ends with the connection, and the sender then says that it is closed.

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};

use super::RequestBody;
use super::connection::Stream;
use crate::local_executor::LocalExecutor;

/// Bytes in flight for one stream, and for a connection.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Sets the connection up and starts its task.
pub(super) async fn handshake(stream: Stream) -> Result<SendRequest<RequestBody>, hyper::Error> {
    let (sender, driver) = Builder::new(LocalExecutor)
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(64 * 1024)
        .handshake(TokioIo::new(stream))
        .await?;
    tokio::task::spawn_local(async move {
        if let Err(error) = driver.await {
            tracing::debug!(%error, "an HTTP/2 upstream connection ended");
        }
    });
    Ok(sender)
}

/// Sends one request and waits for its answer's head; the request comes back if it was not sent.
pub(super) async fn send(
    mut sender: SendRequest<RequestBody>,
    request: Request<RequestBody>,
) -> Result<Response<Incoming>, (hyper::Error, Option<Box<Request<RequestBody>>>)> {
    sender.try_send_request(request).await.map_err(|mut error| {
        let request = error.take_message().map(Box::new);
        (error.into_error(), request)
    })
}
