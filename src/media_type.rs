//! The media type of a body, as its `Content-Type` says it.
//!
//! Invariant: a body with no such field, or with several, is of no type.

use http::header::{CONTENT_TYPE, HeaderMap};

use crate::header::only;

/// Whether a body is of a type such as `application/json`. Its case is free, and parameters such
/// as `charset` change nothing (RFC 9110 §8.3.1).
pub(crate) fn is(headers: &HeaderMap, media_type: &str) -> bool {
    let Some(field) = only(headers, &CONTENT_TYPE) else {
        return false;
    };
    let text = field.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(media_type)
}
