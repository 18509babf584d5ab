//! The request to the upstream, built from nothing, and its answer on the way back.
//!
//! Not here: connections ([`crate::upstream`]). Invariants: it takes only an [`Admitted`]; the
//! client's fields are copied through [`super::hygiene`], and the gateway's own are set after
//! that; the target is the path that was matched.

use std::rc::Rc;

use http::header::{COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, VIA};
use http::{Request, Response, Version};

use super::hygiene::{self, Fate};
use super::identity::{self, InternalTokens};
use super::intake::Host;
use super::record::Record;
use super::{Admitted, Authorized, Caller, Reason, Rejection};
use crate::auth::OwnCookies;
use crate::edge::TlsPeer;
use crate::header::only;
use crate::upstream::{Pool, RequestBody, Trailers, UpstreamBody, UpstreamError, UpstreamSettings};

/// The request id, in both directions.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Fields that the gateway sets: room for them is made at once.
pub(super) const OWN_FIELDS: usize = 14;

/// Sends an admitted request to its upstream and waits for the answer's head.
///
/// The request is built before there is a future, which so holds nothing of what it was built from.
pub(super) fn forward<'a>(
    admitted: Admitted,
    pool: &'a Pool,
    tokens: &InternalTokens,
    own_cookies: Option<&'a OwnCookies>,
    record: &'a mut Record,
) -> impl Future<Output = Result<Response<UpstreamBody>, Rejection>> + use<'a> {
    let peer = Rc::clone(&admitted.authorized.intake.peer);
    let settings = pool.target().settings();
    let timeout = admitted
        .authorized
        .route
        .settings()
        .timeout
        .unwrap_or(settings.timeout);
    let request = build(admitted, settings, tokens, own_cookies, record.request_id());
    async move {
        let (answer, time) = pool.exchange(request?, timeout).await;
        record.upstream(pool.target().name(), time);
        match answer {
            Ok(mut answer) => {
                hygiene::clean_response(answer.headers_mut());
                if let Some(cookies) = own_cookies {
                    cookies.strip_answer(answer.headers_mut());
                }
                Ok(answer)
            }
            Err(error) => Err(blame(&peer, &error).into()),
        }
    }
}

fn build(
    admitted: Admitted,
    settings: &UpstreamSettings,
    tokens: &InternalTokens,
    own_cookies: Option<&OwnCookies>,
    request_id: &HeaderValue,
) -> Result<Box<Request<RequestBody>>, Rejection> {
    let Admitted {
        authorized:
            Authorized {
                mut intake,
                route,
                caller,
            },
        max_body,
        body_idle,
    } = admitted;
    let target = intake.target(route.settings().strip_prefix.as_deref())?;

    // Whoever the caller is: also where a header won, and on a public route.
    if let Some(cookies) = own_cookies {
        cookies.strip_request(&mut intake.headers);
    }
    let mut headers = HeaderMap::with_capacity(intake.headers.len() + OWN_FIELDS);
    copy_fields(
        &mut headers,
        intake.headers,
        credential_fate(settings, &caller),
    );
    set_own_fields(
        &mut headers,
        &intake.host,
        intake.forwarded.for_value(intake.peer.address_value()),
        intake.version,
        request_id,
    );
    identity::tell(&mut headers, settings, &caller, tokens);

    let trailers = match route.settings().trailers {
        true => Trailers::Pass(hygiene::clean_request_trailers),
        false => Trailers::Drop,
    };
    let body = RequestBody::client(intake.body, max_body, trailers, body_idle);
    // Boxed: it goes through many hands, and is large.
    let mut request = Box::new(Request::new(body));
    *request.method_mut() = intake.method;
    *request.uri_mut() = target.into();
    *request.headers_mut() = headers;
    Ok(request)
}

/// interface.md §7.4: a public route's upstream never sees a credential.
pub(super) fn credential_fate(settings: &UpstreamSettings, caller: &Caller) -> Fate {
    match caller {
        Caller::Known(_) if settings.forward_credential => Fate::Cross,
        Caller::Known(_) | Caller::Public => Fate::Drop,
    }
}

pub(super) fn copy_fields(headers: &mut HeaderMap, from: HeaderMap, credential: Fate) {
    let named = hygiene::named_by_connection(&from);
    let (mut current, mut cookies, mut traced) = (None, 0, false);
    for (name, value) in from {
        // `HeaderMap::into_iter` names only the first of several values.
        if let Some(name) = name {
            let fate = match hygiene::fate(&name) {
                Fate::Credential => credential,
                fate => fate,
            };
            current = Some(name).filter(|name| fate == Fate::Cross && !named.contains(name));
            traced |= current == Some(TRACEPARENT) || current == Some(TRACESTATE);
        }
        if let Some(name) = &current {
            cookies += usize::from(name == COOKIE);
            headers.append(name.clone(), value);
        }
    }
    if cookies > 1 {
        join_cookies(headers);
    }
    if traced {
        keep_sound_trace_context(headers);
    }
}

/// HTTP/2 may send cookies in crumbs; everything else reads one field (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(whole) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(COOKIE, whole);
    }
}

/// W3C Trace Context: one well-formed `traceparent`, or none and no `tracestate` either.
fn keep_sound_trace_context(headers: &mut HeaderMap) {
    let parent = only(headers, &TRACEPARENT);
    if !parent.is_some_and(|parent| is_traceparent(parent.as_bytes())) {
        headers.remove(TRACEPARENT);
        headers.remove(TRACESTATE);
    }
}

/// `version "-" trace-id "-" parent-id "-" flags`, lower-case hex, ids not all zero (§3.2).
fn is_traceparent(value: &[u8]) -> bool {
    let hex = |part: &[u8]| part.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let id = |part: &[u8]| hex(part) && part.iter().any(|byte| *byte != b'0');
    let parts: Vec<&[u8]> = value.split(|byte| *byte == b'-').collect();
    match parts[..] {
        [version, trace, parent, flags] => {
            (version.len(), trace.len(), parent.len(), flags.len()) == (2, 32, 16, 2)
                && hex(version)
                && version != b"ff"
                && id(trace)
                && id(parent)
                && hex(flags)
        }
        _ => false,
    }
}

pub(super) fn set_own_fields(
    headers: &mut HeaderMap,
    host: &Host,
    addresses: HeaderValue,
    version: Version,
    request_id: &HeaderValue,
) {
    headers.insert(HOST, host.value.clone());
    headers.insert(X_FORWARDED_HOST, host.value.clone());
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("https"));
    headers.insert(X_FORWARDED_FOR, addresses);
    headers.insert(X_REQUEST_ID, request_id.clone());
    // RFC 9110 §7.6.3: a gateway says in each request which version it received.
    headers.insert(
        VIA,
        HeaderValue::from_static(match version {
            Version::HTTP_2 => "2 portcullis",
            Version::HTTP_10 => "1.0 portcullis",
            _ => "1.1 portcullis",
        }),
    );
}

/// Whose doing a failed exchange was: what the wire guard saw in the client's body comes first.
fn blame(peer: &TlsPeer, error: &UpstreamError) -> Reason {
    if let (UpstreamError::ClientBody(_), Some(fault)) = (error, peer.body_fault()) {
        return Reason::Malformed(fault);
    }
    if !matches!(error, UpstreamError::ClientBody(_)) {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        tracing::debug!(%error, cause, "an upstream exchange failed");
    }
    Reason::from(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(fields: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut from = HeaderMap::new();
        for (name, value) in fields {
            from.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        let mut headers = HeaderMap::new();
        copy_fields(&mut headers, from, Fate::Drop);
        let line = |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {value:?}");
        headers.iter().map(line).collect()
    }

    #[test]
    fn every_value_of_a_field_that_crosses_is_kept_in_order() {
        let lines = copied(&[
            ("accept", "a"),
            ("x-api-key", "k"),
            ("accept", "b"),
            ("x-auth-env", "e"),
        ]);
        assert_eq!(lines, [r#"accept: "a""#, r#"accept: "b""#]);
    }

    #[test]
    fn row_41_what_connection_names_does_not_cross() {
        assert_eq!(
            copied(&[("connection", "close, x-inner"), ("x-inner", "1")]),
            [""; 0]
        );
    }

    #[test]
    fn row_80_only_one_well_formed_traceparent_crosses() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(
            copied(&[("traceparent", good), ("tracestate", "a=b")]).len(),
            2
        );
        assert_eq!(
            copied(&[("traceparent", good), ("traceparent", good)]).len(),
            0
        );
        assert_eq!(
            copied(&[("traceparent", "00-0-0-0"), ("tracestate", "a=b")]).len(),
            0
        );
        assert_eq!(copied(&[("tracestate", "a=b")]).len(), 0);
    }
}
