//! The canonical request: one host, one path, one framing, one client address, one id.
//!
//! Everything after this step reads the request from here, never from the bytes again, so no two
//! steps can read it differently. Not here: routes and credentials. Invariant: an [`Intake`]'s
//! host is covered by the connection's certificate, and its path is canonical.

use std::net::IpAddr;
use std::ops::Range;
use std::rc::Rc;

use http::header::{HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Uri, Version};
use http_body::Body as _;

use super::client_address::{self, Forwarded};
use super::path::is_path_byte;
use super::{CanonicalPath, GatewaySettings, METHODS, Reason};
use crate::edge::{Malformed, TlsPeer, Upload};

/// A request with one meaning.
#[derive(Debug)]
pub struct Intake {
    pub(super) peer: Rc<TlsPeer>,
    pub(super) client: IpAddr,
    pub(super) method: Method,
    pub(super) host: Host,
    uri: Uri,
    /// The canonical path, where it is not the one in `uri`.
    rewritten_path: Option<String>,
    pub(super) headers: HeaderMap,
    pub(super) body: Upload,
    pub(super) version: Version,
    pub(super) forwarded: Forwarded,
}

/// The host a request is for.
#[derive(Clone, Debug)]
pub(super) struct Host {
    /// As the client wrote it, with its port.
    pub(super) value: HeaderValue,
    name: HostName,
}

/// Lower case, without port and brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
enum HostName {
    /// This part of what the client wrote.
    AsWritten(Range<usize>),
    Lowered(String),
}

/// What the fields say about how the request is to be read, gathered in one pass over them.
#[derive(Debug, Default)]
pub(super) struct Said<'a> {
    host: Option<&'a HeaderValue>,
    hosts: usize,
    lengths: usize,
    /// `Content-Encoding: chunked`, which is no content coding.
    chunked_content: bool,
    /// An `Expect` of anything but `100-continue` (RFC 9110 §10.1.1).
    expects_unknown: bool,
    upgrade: bool,
}

impl Intake {
    /// Checks what HTTP's grammar leaves open. `request` has passed the wire guard or h2.
    pub(super) fn accept(
        peer: Rc<TlsPeer>,
        request: Request<Upload>,
        settings: &GatewaySettings,
    ) -> Result<Intake, Reason> {
        let (parts, body) = request.into_parts();
        let said = Said::by(&parts.headers);
        unambiguous_fields(&said, parts.headers.len(), settings.header_count)?;
        known_method(&parts.method)?;
        let host = Host::of(&parts.uri, &said, parts.version)?;
        if !peer.covers(host.name()) {
            return Err(Reason::Misdirected);
        }
        only_https(&parts.uri, parts.version)?;
        if said.expects_unknown {
            return Err(Reason::Expectation);
        }
        upgrade(&parts.method, &said, &body)?;
        declared_body(&parts.method, &body)?;
        let path = CanonicalPath::parse(parts.uri.path()).map_err(|_| Reason::Path)?;
        let rewritten_path = path.is_rewritten().then(|| path.as_str().to_owned());
        acceptable_query(parts.uri.query())?;
        let forwarded = client_address::of(
            peer.address().ip(),
            &parts.headers,
            &settings.trusted_proxies,
        );
        Ok(Intake {
            client: forwarded.client,
            peer,
            method: parts.method,
            host,
            uri: parts.uri,
            rewritten_path,
            headers: parts.headers,
            body,
            version: parts.version,
            forwarded,
        })
    }

    /// The canonical path.
    pub fn path(&self) -> &str {
        self.rewritten_path
            .as_deref()
            .unwrap_or_else(|| self.uri.path())
    }

    /// The query as it came, without its `?`.
    pub(super) fn query(&self) -> Option<&str> {
        self.uri.query()
    }

    /// The host, lower case, without port.
    pub fn host(&self) -> &str {
        self.host.name()
    }

    /// The client's address: the peer's, or what a trusted proxy says of it.
    pub fn client(&self) -> IpAddr {
        self.client
    }

    /// The target to forward: the path that was matched, less `strip`, and the query as it came.
    pub(super) fn target(&self, strip: Option<&str>) -> Result<PathAndQuery, Reason> {
        if strip.is_none()
            && self.rewritten_path.is_none()
            && let Some(as_received) = self.uri.path_and_query()
        {
            return Ok(as_received.clone());
        }
        let path = self.path();
        let path = strip
            .and_then(|prefix| path.strip_prefix(prefix))
            .unwrap_or(path);
        let path = if path.is_empty() { "/" } else { path };
        // security.md row 69: what is left must be the same path for every reader too.
        let canonical = CanonicalPath::parse(path).map_err(|_| Reason::Path)?;
        if canonical.is_rewritten() && canonical.as_str() != path {
            return Err(Reason::Path);
        }
        let target = match self.uri.query() {
            Some(query) => PathAndQuery::try_from(format!("{path}?{query}")),
            None => PathAndQuery::try_from(path),
        };
        target.map_err(|_| Reason::Path)
    }
}

impl<'a> Said<'a> {
    pub(super) fn by(headers: &'a HeaderMap) -> Said<'a> {
        let mut said = Said::default();
        for (name, value) in headers {
            let is = |text: &[u8]| value.as_bytes().eq_ignore_ascii_case(text);
            match name.as_str() {
                "content-encoding" => said.chunked_content |= is(b"chunked"),
                "content-length" => said.lengths += 1,
                "expect" => said.expects_unknown |= !is(b"100-continue"),
                "host" => {
                    said.host = Some(value);
                    said.hosts += 1;
                }
                "upgrade" => said.upgrade = true,
                _ => {}
            }
        }
        said
    }
}

impl Host {
    /// HTTP/1: `Host`, which the wire guard has checked to be the one and only; HTTP/2:
    /// `:authority`, and a `Host` beside it must say the same (RFC 9113 §8.3.1).
    pub(super) fn of(uri: &Uri, said: &Said<'_>, version: Version) -> Result<Host, Reason> {
        if said.hosts > 1 {
            return Err(Reason::Host);
        }
        let value = match (uri.authority(), said.host) {
            (None, None) => return Err(Reason::Host),
            (None, Some(field)) => field.clone(),
            (Some(authority), Some(field)) if field.as_bytes() == authority.as_str().as_bytes() => {
                field.clone()
            }
            (Some(_), Some(_)) => return Err(Reason::Host),
            (Some(authority), None) if version == Version::HTTP_2 => {
                HeaderValue::try_from(authority.as_str()).map_err(|_| Reason::Host)?
            }
            (Some(_), None) => return Err(Reason::Host),
        };
        let text = value.to_str().map_err(|_| Reason::Host)?;
        let place = name_in_host(text).ok_or(Reason::Host)?;
        let name = match text[place.clone()].bytes().any(|b| b.is_ascii_uppercase()) {
            true => HostName::Lowered(text[place].to_ascii_lowercase()),
            false => HostName::AsWritten(place),
        };
        Ok(Host { value, name })
    }

    fn name(&self) -> &str {
        match &self.name {
            HostName::AsWritten(place) => {
                let text = self.value.to_str().unwrap_or_default();
                text.get(place.clone()).unwrap_or_default()
            }
            HostName::Lowered(name) => name,
        }
    }
}

/// Where in `host[:port]` the name is; `None` if it is not of that form.
fn name_in_host(text: &str) -> Option<Range<usize>> {
    let (start, name, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (address, rest) = bracketed.split_once(']')?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            let port = rest.strip_prefix(':').or(rest.is_empty().then_some("0"))?;
            (1, address, port)
        }
        None => {
            let colon = text.bytes().position(|byte| byte == b':');
            let (name, port) = colon.map_or((text, "0"), |at| (&text[..at], &text[at + 1..]));
            (0, name, port)
        }
    };
    port.parse::<u16>()
        .ok()
        .filter(|_| port.bytes().all(|byte| byte.is_ascii_digit()))?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':');
    let plausible = !name.is_empty() && name.bytes().all(allowed) && !name.starts_with('.');
    plausible.then(|| start..start + name.trim_end_matches('.').len())
}

/// What the wire guard checks of HTTP/1, for HTTP/2 too (`security.md` rows 5, 7 and 32).
fn unambiguous_fields(said: &Said<'_>, fields: usize, most: usize) -> Result<(), Reason> {
    if fields > most {
        return Err(Reason::Malformed(Malformed::HeadersTooLarge));
    }
    if said.lengths > 1 {
        return Err(Reason::Malformed(Malformed::ContentLength));
    }
    match said.chunked_content {
        true => Err(Reason::Malformed(Malformed::TransferEncoding)),
        false => Ok(()),
    }
}

/// HTTP/1 clients, hyper's among them, send no body of undeclared length with GET and HEAD: it
/// would be dropped on the way (`security.md` row 9).
fn declared_body(method: &Method, body: &Upload) -> Result<(), Reason> {
    let bodiless = matches!(*method, Method::GET | Method::HEAD);
    match bodiless && !body.is_end_stream() && body.size_hint().exact().is_none() {
        true => Err(Reason::UndeclaredBody),
        false => Ok(()),
    }
}

/// The wire guard knows the methods of HTTP/1; HTTP/2 has none of its own.
fn known_method(method: &Method) -> Result<(), Reason> {
    match is_known_method(method) {
        true => Ok(()),
        false => Err(Reason::MethodUnknown),
    }
}

/// Whether this gateway knows a method: one that a route may name, or one that none may.
pub fn is_known_method(method: &Method) -> bool {
    METHODS.contains(method) || [Method::TRACE, Method::CONNECT].contains(method)
}

/// security.md row 60: HTTP/2 says its scheme; it must be the one the connection has.
fn only_https(uri: &Uri, version: Version) -> Result<(), Reason> {
    match (version, uri.scheme_str()) {
        (Version::HTTP_2, Some("https")) => Ok(()),
        (Version::HTTP_2, _) => Err(Reason::Scheme),
        (_, Some("https") | None) => Ok(()),
        (_, Some(_)) => Err(Reason::Scheme),
    }
}

/// An `Upgrade` is ignored, as RFC 9110 §7.8 allows, unless a server further on could take what
/// follows for another protocol: security.md row 40.
fn upgrade(method: &Method, said: &Said<'_>, body: &Upload) -> Result<(), Reason> {
    let harmless = method == Method::GET && body.is_end_stream();
    match said.upgrade && !harmless {
        true => Err(Reason::Upgrade),
        false => Ok(()),
    }
}

/// RFC 3986 §3.4, so that no other reader ends the query somewhere else.
fn acceptable_query(query: Option<&str>) -> Result<(), Reason> {
    // Brackets and bars are sent bare by browsers, and no parser reads them otherwise.
    let more = |byte: u8| matches!(byte, b';' | b'?' | b'%' | b'[' | b']' | b'|');
    let allowed = |byte: u8| is_path_byte(byte) || more(byte);
    match query.unwrap_or_default().bytes().all(allowed) {
        true => Ok(()),
        false => Err(Reason::Path),
    }
}

#[cfg(test)]
mod tests {
    use http::header::HOST;

    use super::*;

    /// What [`Host::name`] is for a `Host` field.
    fn host_name(text: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(text).ok()?);
        let host = Host::of(&Uri::default(), &Said::by(&headers), Version::HTTP_11);
        Some(host.ok()?.name().to_owned())
    }

    #[test]
    fn a_host_is_a_name_or_address_with_an_optional_port() {
        for (text, name) in [
            ("Api.Osir.com", "api.osir.com"),
            ("api.osir.com:8443", "api.osir.com"),
            ("api.osir.com.", "api.osir.com"),
            ("127.0.0.1:1", "127.0.0.1"),
            ("[::1]:443", "::1"),
            ("[::1]", "::1"),
        ] {
            assert_eq!(host_name(text).as_deref(), Some(name), "{text}");
        }
    }

    #[test]
    fn rows_31_and_60_other_hosts_are_refused() {
        for text in [
            "", ":1", "a:", "a:x", "a:65536", "a:+1", "u@a", "a/b", "a,b", "a b", "[::1", "[x]",
            "[::1]x", ".", ".a", "a?b", "a#b", "a\\b", "a%41",
        ] {
            assert_eq!(host_name(text), None, "{text:?}");
        }
    }
}
