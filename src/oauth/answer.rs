//! Whole answers: JSON and its fields.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName,
    HeaderValue, PRAGMA, X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};

use super::{Endpoint, Refusal};

/// JSON that nobody may keep (RFC 6749 §5.1).
pub(super) fn json(status: StatusCode, body: &serde_json::Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    forbid_keeping(headers);
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// JSON that anyone may keep for a while.
pub(super) fn public_json(body: Bytes, cache: &'static str) -> Response<Bytes> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    no_sniffing(headers);
    response
}

/// Nothing, with a status.
pub(super) fn empty(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    forbid_keeping(response.headers_mut());
    response
}

/// 405 with its `Allow` (RFC 9110 §15.5.6).
pub(super) fn method_not_allowed(endpoint: Endpoint) -> Response<Bytes> {
    let body = serde_json::json!({
        "error": "invalid_request",
        "error_description": "this method is not allowed here",
    });
    let mut response = json(StatusCode::METHOD_NOT_ALLOWED, &body);
    let allow = HeaderValue::from_static(endpoint.methods());
    response.headers_mut().insert(ALLOW, allow);
    Refusal::Method.mark(response)
}

/// The answer to a CORS preflight.
pub(super) fn preflight(endpoint: Endpoint) -> Response<Bytes> {
    let mut response = empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    for (name, value) in [
        ("access-control-allow-methods", endpoint.methods()),
        (
            "access-control-allow-headers",
            "authorization, content-type",
        ),
        ("access-control-max-age", "600"),
    ] {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    response
}

/// Scripts of any site may read the answer, without credentials of the browser's.
pub(super) fn open_to_scripts(response: &mut Response<Bytes>) {
    response
        .headers_mut()
        .insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
}

/// No cache may keep the answer, and no browser may guess what it is.
pub(super) fn forbid_keeping(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    no_sniffing(headers);
}

fn no_sniffing(headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}
