//! Which header fields cross the gateway, in both directions.
//!
//! The upstream request is built from nothing: only fields whose [`fate`] is to cross are copied, and the
//! gateway's own are set after that, so nothing a client sends can stand in for them
//! (identity.md §8; `security.md` rows 41, 46, 71, 72, 74 to 80). Names are compared after folding
//! away everything but letters and digits, since servers map `X_Auth.Subject` and `X-Auth-Subject`
//! to one variable. Invariant: a folded name that the gateway sets itself never crosses.

use http::header::{CONNECTION, HeaderMap, HeaderName};

/// What becomes of a client's field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Copied.
    Cross,
    /// A credential: dropped, unless the upstream is configured to see it.
    Credential,
    /// Dropped.
    Drop,
}

/// Decides a client's field by its (lower-case) name.
pub(super) fn fate(name: &HeaderName) -> Fate {
    match name.as_str() {
        "authorization" | "x-api-key" => Fate::Credential,
        // The everyday fields first: most requests have nothing else.
        "accept" | "accept-encoding" | "accept-language" | "cache-control" | "content-encoding"
        | "content-type" | "cookie" | "if-match" | "if-none-match" | "origin" | "range"
        | "referer" | "user-agent" => Fate::Cross,
        // Hop-by-hop (RFC 9110 §7.6.1), framing and what the gateway answers for itself.
        "connection"
        | "content-length"
        | "expect"
        | "host"
        | "http2-settings"
        | "keep-alive"
        | "proxy-authenticate"
        | "proxy-authorization"
        | "proxy-connection"
        | "te"
        | "trailer"
        | "transfer-encoding"
        | "upgrade"
        | "via" => Fate::Drop,
        other => fate_of_folded(other),
    }
}

fn fate_of_folded(name: &str) -> Fate {
    // One variable for `X_Auth_Subject` and `X-Auth-Subject` in CGI, WSGI and Rack.
    if name.contains('_') || in_managed_family(name) {
        return Fate::Drop;
    }
    let mut buffer = [0u8; MAX_MANAGED];
    match fold(name, &mut buffer) {
        Some(folded) if MANAGED.contains(&folded) => Fate::Drop,
        Some(_) | None => Fate::Cross,
    }
}

/// Whether a name lies in `x-auth-…` or `x-forwarded-…`, whatever separates its words.
fn in_managed_family(name: &str) -> bool {
    let separated = |family: &[u8]| {
        name.len() >= family.len()
            && name.bytes().zip(family).all(|(byte, expected)| {
                byte == *expected || (*expected == b'-' && !byte.is_ascii_alphanumeric())
            })
    };
    separated(b"x-auth-") || separated(b"x-forwarded-") || separated(b"http-x-")
}

/// The longest of [`MANAGED`].
const MAX_MANAGED: usize = 24;

/// Folded names that the gateway sets, or that make some server take another path, method, host
/// or client address than the one that was authorized.
const MANAGED: &[&[u8]] = &[
    b"authorization",
    b"cfconnectingip",
    b"clientip",
    b"connection",
    b"contentlength",
    b"expect",
    b"fastlyclientip",
    b"forwarded",
    b"host",
    b"proxy",
    b"transferencoding",
    b"trueclientip",
    b"upgrade",
    b"via",
    b"xaccelredirect",
    b"xapikey",
    b"xauthaccount",
    b"xauthclientid",
    b"xauthcredentialid",
    b"xauthenv",
    b"xauthmethod",
    b"xauthscopes",
    b"xauthsubject",
    b"xauthtoken",
    b"xclientip",
    b"xclusterclientip",
    b"xenvoyoriginalpath",
    b"xforwardedfor",
    b"xforwardedhost",
    b"xforwardedport",
    b"xforwardedprefix",
    b"xforwardedproto",
    b"xhost",
    b"xhttpdestinationurl",
    b"xhttphostoverride",
    b"xhttpmethod",
    b"xhttpmethodoverride",
    b"xmethodoverride",
    b"xoriginalhost",
    b"xoriginaluri",
    b"xoriginalurl",
    b"xoriginatingip",
    b"xproxyurl",
    b"xrealip",
    b"xremoteaddr",
    b"xremoteip",
    b"xrequestid",
    b"xrewriteuri",
    b"xrewriteurl",
    b"xsendfile",
];

/// Letters and digits of a name, lower case; `None` if there are more than any of [`MANAGED`] has.
fn fold<'a>(name: &str, buffer: &'a mut [u8; MAX_MANAGED]) -> Option<&'a [u8]> {
    let mut length = 0;
    for byte in name.bytes().filter(u8::is_ascii_alphanumeric) {
        *buffer.get_mut(length)? = byte.to_ascii_lowercase();
        length += 1;
    }
    buffer.get(..length)
}

/// The names in `Connection`: hop-by-hop fields of the sender's choice (RFC 9110 §7.6.1).
pub(super) fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let names = values.flat_map(|value| value.split(',')).map(str::trim);
    let names = names.filter(|name| !matches!(*name, "" | "keep-alive" | "close"));
    names
        .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
        .collect()
}

/// Strips an upstream's answer of what is meant for its own hop.
pub(super) fn clean_response(headers: &mut HeaderMap) {
    // Most answers have none of these: one pass tells, where each removal would be a look-up.
    if !headers.keys().any(|name| HOP_BY_HOP.contains(name)) {
        return;
    }
    for name in named_by_connection(headers) {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Fields that never leave their hop. `Content-Length` stays: hyper frames by it.
const HOP_BY_HOP: [HeaderName; 9] = [
    http::header::CONNECTION,
    http::header::PROXY_AUTHENTICATE,
    http::header::PROXY_AUTHORIZATION,
    http::header::TE,
    http::header::TRANSFER_ENCODING,
    http::header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
];

/// Request trailers that a route lets pass: what would cross as a header field, less what has a
/// meaning only in a head (RFC 9110 §6.5.1). A credential crosses in no trailer.
pub(super) fn clean_request_trailers(trailers: &mut HeaderMap) {
    const ONLY_IN_HEADS: [HeaderName; 6] = [
        http::header::CACHE_CONTROL,
        http::header::CONTENT_ENCODING,
        http::header::CONTENT_TYPE,
        http::header::COOKIE,
        http::header::RANGE,
        http::header::SET_COOKIE,
    ];
    let dropped: Vec<HeaderName> = trailers
        .keys()
        .filter(|name| fate(name) != Fate::Cross || ONLY_IN_HEADS.contains(name))
        .cloned()
        .collect();
    for name in dropped {
        trailers.remove(name);
    }
}

/// Response trailers pass, filtered like header fields, and never reframe or reroute.
pub(super) fn clean_trailers(trailers: &mut HeaderMap) {
    clean_response(trailers);
    for name in [
        http::header::CONTENT_LENGTH,
        http::header::HOST,
        http::header::SET_COOKIE,
    ] {
        trailers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn fate_of(name: &str) -> Fate {
        fate(&HeaderName::from_bytes(name.as_bytes()).expect("a header name"))
    }

    #[test]
    fn rows_74_and_75_every_spelling_of_an_identity_header_is_dropped() {
        for name in [
            "x-auth-subject",
            "X_Auth_Subject",
            "x-auth_subject",
            "x.auth.subject",
            "x~auth~subject",
            "x+auth+subject",
            "xauthsubject",
            "X-AUTH-SUBJECT",
            "http_x_auth_subject",
            "http-x-auth-subject",
            "x-auth-anything-at-all-however-long-it-may-become",
            "x-forwarded-for",
            "x-forwarded-prefix",
            "x_forwarded_for",
            "x-forwarded.host",
            "forwarded",
            "x-real-ip",
            "x.real.ip",
            "x-request-id",
            "x!request!id",
        ] {
            assert_eq!(fate_of(name), Fate::Drop, "{name}");
        }
    }

    #[test]
    fn rows_71_and_72_what_changes_path_or_method_further_on_is_dropped() {
        for name in [
            "x-original-url",
            "x-rewrite-url",
            "x-envoy-original-path",
            "x-original-uri",
            "x-http-method-override",
            "x-http-method",
            "x-method-override",
            "x-forwarded-uri",
            "x-host",
            "x-http-host-override",
            "x-proxy-url",
        ] {
            assert_eq!(fate_of(name), Fate::Drop, "{name}");
        }
    }

    #[test]
    fn row_46_hop_by_hop_fields_are_dropped() {
        for name in [
            "connection",
            "keep-alive",
            "proxy-connection",
            "proxy-authorization",
            "te",
            "http2-settings",
            "upgrade",
            "transfer-encoding",
            "content-length",
            "trailer",
            "expect",
            "content_length",
            "transfer.encoding",
        ] {
            assert_eq!(fate_of(name), Fate::Drop, "{name}");
        }
    }

    #[test]
    fn row_79_credentials_are_told_apart() {
        assert_eq!(fate_of("authorization"), Fate::Credential);
        assert_eq!(fate_of("x-api-key"), Fate::Credential);
        assert_eq!(fate_of("x.api.key"), Fate::Drop);
        assert_eq!(fate_of("x_api_key"), Fate::Drop);
    }

    #[test]
    fn other_fields_cross() {
        for name in [
            "accept",
            "x-custom",
            "x-author",
            "idempotency-key",
            "traceparent",
            "if-modified-since",
            "sec-fetch-site",
            "x-a-very-long-name-of-an-application-s-own-header-field",
        ] {
            assert_eq!(fate_of(name), Fate::Cross, "{name}");
        }
    }

    #[test]
    fn rows_41_and_48_connection_names_more_hop_by_hop_fields() {
        let mut headers = HeaderMap::new();
        headers.append(CONNECTION, HeaderValue::from_static("close, X-Inner"));
        headers.append(CONNECTION, HeaderValue::from_static("x-other"));
        headers.append("x-inner", HeaderValue::from_static("1"));
        headers.append("x-kept", HeaderValue::from_static("1"));
        assert_eq!(named_by_connection(&headers), ["x-inner", "x-other"]);
        clean_response(&mut headers);
        assert_eq!(
            headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(),
            ["x-kept"]
        );
    }
}
