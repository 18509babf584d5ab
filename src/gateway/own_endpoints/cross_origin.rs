//! CORS of the session endpoints: which pages elsewhere may read their answers.
//!
//! Those of the origins that `sessions.cookie` names, and no others. Invariants: an origin is answered
//! by its own name, never by `*`; where it is not named there is no field at all.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use http::{Method, Response, StatusCode};

use super::super::Intake;
use crate::auth::SessionCookie;
use crate::header::only;

/// The origin of the page that is to read an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::gateway) struct Reader(HeaderValue);

/// `Authorization` gives the first session, `X-CSRF-Token` shows that it is the page's.
const ALLOWED: HeaderValue = HeaderValue::from_static("authorization, content-type, x-csrf-token");
const EXPOSED: HeaderValue =
    HeaderValue::from_static("retry-after, www-authenticate, x-request-id");
/// In seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

impl Reader {
    /// `None` is: no page, one of this origin, or one that may not read it.
    pub(super) fn of(headers: &HeaderMap, cookie: Option<&SessionCookie>) -> Option<Reader> {
        let origin = only(headers, &ORIGIN)?;
        let trusted = cookie?.trusts(origin.as_bytes());
        trusted.then(|| Reader(origin.clone()))
    }

    /// The answer to the question that a browser asks before a request.
    pub(super) fn preflight(&self, methods: &'static str) -> Response<Bytes> {
        let mut answer = Response::new(Bytes::new());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        let headers = answer.headers_mut();
        headers.insert(
            ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static(methods),
        );
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED);
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        answer
    }

    /// Lets the page read an answer.
    pub(in crate::gateway) fn admit(&self, headers: &mut HeaderMap) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, self.0.clone());
        headers.insert(
            ACCESS_CONTROL_ALLOW_CREDENTIALS,
            HeaderValue::from_static("true"),
        );
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        headers.insert(VARY, HeaderValue::from_static("Origin"));
    }
}

/// Whether a browser asks what a page may ask.
pub(super) fn is_preflight(intake: &Intake) -> bool {
    intake.method == Method::OPTIONS && intake.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}
