//! From a verdict to an answer.
//!
//! Invariants: a rejection's body is a constant and its fields are those of interface.md §2; every
//! answer carries `X-Request-Id`, and a body that ends the record.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, UPGRADE,
    WWW_AUTHENTICATE,
};
use http::{Response, StatusCode};

use super::forward::X_REQUEST_ID;
use super::record::Record;
use super::{Reason, Rejection, ResponseBody};
use crate::upstream::UpstreamBody;

/// What becomes of the client's connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connection {
    /// It ends: what follows on it cannot be trusted to be a request.
    Close,
    /// It may carry the next request.
    Keep,
}

/// How long a client that got 503 should wait, in seconds.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("1");
/// The same for 429: room comes as sessions end, the shortest of which live a minute.
const ROOM_SECONDS: HeaderValue = HeaderValue::from_static("60");

/// An upstream's answer, with the record that ends with it.
pub(super) fn forwarded(
    answer: Response<UpstreamBody>,
    mut record: Record,
) -> Response<ResponseBody> {
    let (mut parts, body) = answer.into_parts();
    record.status(parts.status);
    parts
        .headers
        .insert(X_REQUEST_ID, record.request_id().clone());
    Response::from_parts(parts, ResponseBody::upstream(body, record))
}

/// An own endpoint's answer, with the record that ends with it.
pub(super) fn own(answer: Response<Bytes>, mut record: Record) -> Response<ResponseBody> {
    let (mut parts, body) = answer.into_parts();
    record.status(parts.status);
    parts
        .headers
        .insert(X_REQUEST_ID, record.request_id().clone());
    Response::from_parts(parts, ResponseBody::fixed(body, record))
}

/// A rejection as the client sees it.
pub(super) fn rejected(
    rejection: &Rejection,
    connection: Connection,
    mut record: Record,
) -> Response<ResponseBody> {
    let reason = rejection.reason();
    record.rejected(reason);
    let answer = reason.answer();
    let id = record.request_id().clone();
    let body = ResponseBody::fixed(Bytes::from_static(answer.body.as_bytes()), record);
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_REQUEST_ID, id);
    set_fields_of(rejection, headers);
    if connection == Connection::Close || matches!(reason, Reason::Expectation) {
        headers
            .entry(CONNECTION)
            .or_insert(HeaderValue::from_static("close"));
    }
    response
}

fn set_fields_of(rejection: &Rejection, headers: &mut HeaderMap) {
    if let Some(challenge) = rejection.challenge() {
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    if let Some(allow) = rejection.allow() {
        headers.insert(ALLOW, allow.clone());
    }
    if let Some(reader) = rejection.reader() {
        reader.admit(headers);
    }
    match rejection.reason().answer().status {
        StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(RETRY_AFTER, RETRY_SECONDS);
        }
        StatusCode::TOO_MANY_REQUESTS => {
            headers.insert(RETRY_AFTER, ROOM_SECONDS);
        }
        StatusCode::UPGRADE_REQUIRED => {
            headers.insert(UPGRADE, HeaderValue::from_static("TLS/1.2, HTTP/1.1"));
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade, close"));
        }
        _ => {}
    }
}

/// Runs the steps of a request; `None` if a bug ended them. The panic has been reported by the
/// panic hook, and the state that it may have left half-changed is dropped with the future.
///
/// The steps stay where they are: they are large, and to move them costs more than to run some.
pub(super) async fn catch_panic<T>(mut steps: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    std::future::poll_fn(|cx| {
        let poll = AssertUnwindSafe(|| steps.as_mut().poll(cx));
        match std::panic::catch_unwind(poll) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(done)) => Poll::Ready(Some(done)),
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn a_bug_in_one_request_ends_only_that_request() {
        assert_eq!(catch_panic(pin!(async { 1 })).await, Some(1));
        let bug = pin!(async { panic!("a bug on purpose") });
        assert_eq!(catch_panic::<()>(bug).await, None);
    }
}
