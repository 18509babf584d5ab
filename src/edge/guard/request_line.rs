//! `method SP target SP version CRLF` (RFC 9112 §3), and nothing like it.

use std::ops::Range;

use super::authority::Authority;
use super::bytes::{self, PATH, QUERY, TOKEN};
use crate::edge::Malformed;

/// What later checks need of a well-formed request line.
#[derive(Debug)]
pub(super) struct RequestLine {
    /// Bytes of the whole line with its end.
    pub(super) len: usize,
    /// HTTP/1.0 has no transfer codings.
    pub(super) version: Version,
    /// Where an absolute-form target has its authority, and the port that its scheme implies.
    pub(super) authority: Option<(Range<usize>, u16)>,
}

/// The versions that are spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http10,
    Http11,
}

/// The longest known method is seven bytes; past this there is no use in waiting for the space.
const METHOD_MAX: usize = 16;
/// Method, spaces, version and line end beside a target.
pub(super) const AROUND_TARGET: usize = METHOD_MAX + 12;

impl RequestLine {
    /// Reads the line that `bytes` begins with; `None` when its end is not there yet.
    pub(super) fn take(bytes: &[u8], uri_max: usize) -> Result<Option<RequestLine>, Malformed> {
        let Some(method_len) = take_method(bytes)? else {
            return Ok(None);
        };
        let start = method_len + 1;
        let Some(target_len) = take_target(&bytes[start..], uri_max)? else {
            return Ok(None);
        };
        let end = start + target_len;
        let authority = check_form(&bytes[..method_len], &bytes[start..end])?;
        let version = take_version(&bytes[end + 1..])?;
        Ok(version.map(|(version, len)| RequestLine {
            len: end + 1 + len,
            version,
            authority: authority.map(|(at, port)| (start + at.start..start + at.end, port)),
        }))
    }
}

/// The length of a known method with a space after it. Methods are case-sensitive
/// (RFC 9110 §9.1), so `get` is an unknown one.
fn take_method(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let window = &bytes[..bytes.len().min(METHOD_MAX + 1)];
    let method = &window[..bytes::run(window, TOKEN)];
    match bytes.get(method.len()) {
        _ if method.len() > METHOD_MAX => Err(Malformed::Method),
        None => Ok(None),
        // Bytes of TLS, HTTP/2 by prior knowledge, an empty line, white space first.
        Some(b' ') if method.is_empty() || method == b"PRI" => Err(Malformed::RequestLine),
        Some(b' ') if is_known(method) => Ok(Some(method.len())),
        Some(b' ') => Err(Malformed::Method),
        Some(b'\n') => Err(Malformed::LineEnd),
        Some(_) => Err(Malformed::RequestLine),
    }
}

fn is_known(method: &[u8]) -> bool {
    matches!(
        method,
        b"GET"
            | b"POST"
            | b"PUT"
            | b"DELETE"
            | b"PATCH"
            | b"HEAD"
            | b"OPTIONS"
            | b"CONNECT"
            | b"TRACE"
            | b"TRACK"
    )
}

/// The length of a target with a space after it.
fn take_target(bytes: &[u8], max: usize) -> Result<Option<usize>, Malformed> {
    let path = bytes::run(bytes, PATH);
    // An absolute-form authority may hold an IPv6 address before any `?`.
    let len = match bytes.get(path) {
        Some(b'?' | b'[') => path + bytes::run(&bytes[path..], QUERY),
        _ => path,
    };
    match bytes.get(len) {
        _ if len > max => Err(Malformed::UriTooLong),
        None => Ok(None),
        Some(b' ') if len > 0 => Ok(Some(len)),
        // `GET  /`, and HTTP/0.9, which has no version.
        Some(b' ' | b'\r') => Err(Malformed::RequestLine),
        Some(b'\n') => Err(Malformed::LineEnd),
        Some(_) => Err(Malformed::Target),
    }
}

/// RFC 9112 §3.2: which form the target has, and whether the method may have it. Gives the
/// place of an absolute-form's authority and its scheme's port.
///
/// CONNECT takes only authority-form, which makes a proxy of its server: none is accepted.
fn check_form(method: &[u8], target: &[u8]) -> Result<Option<(Range<usize>, u16)>, Malformed> {
    match target {
        _ if method == b"CONNECT" => Err(Malformed::Target),
        [b'/', rest @ ..] => match split_path(rest).contains(&b'[') {
            true => Err(Malformed::Target),
            false => Ok(None),
        },
        b"*" if method == b"OPTIONS" => Ok(None),
        _ => check_absolute(target).map(Some),
    }
}

fn check_absolute(target: &[u8]) -> Result<(Range<usize>, u16), Malformed> {
    let (start, port) = match target {
        _ if starts_with(target, b"https://") => (8, 443),
        _ if starts_with(target, b"http://") => (7, 80),
        _ => return Err(Malformed::Target),
    };
    let rest = &target[start..];
    let len = rest.iter().position(|byte| matches!(byte, b'/' | b'?'));
    let len = len.unwrap_or(rest.len());
    let path = split_path(&rest[len..]);
    if Authority::parse(&rest[..len]).is_none() || path.contains(&b'[') || path.contains(&b']') {
        return Err(Malformed::Target);
    }
    Ok((start..start + len, port))
}

fn split_path(target: &[u8]) -> &[u8] {
    let query = target.iter().position(|byte| *byte == b'?');
    &target[..query.unwrap_or(target.len())]
}

fn starts_with(target: &[u8], scheme: &[u8]) -> bool {
    target
        .get(..scheme.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

/// The version and the length of it with its line end.
fn take_version(bytes: &[u8]) -> Result<Option<(Version, usize)>, Malformed> {
    const LEN: usize = b"HTTP/1.1\r\n".len();
    let Some(text) = bytes.get(..LEN) else {
        return match looks_like_version(bytes) {
            true => Ok(None),
            false => Err(version_fault(bytes)),
        };
    };
    match text {
        b"HTTP/1.1\r\n" => Ok(Some((Version::Http11, LEN))),
        b"HTTP/1.0\r\n" => Ok(Some((Version::Http10, LEN))),
        _ => Err(version_fault(bytes)),
    }
}

/// Whether `HTTP/d.d CRLF` begins with these bytes, whatever the digits.
fn looks_like_version(bytes: &[u8]) -> bool {
    let form = b"HTTP/0.0\r\n";
    let fits = |(byte, form): (&u8, &u8)| byte == form || (*form == b'0' && byte.is_ascii_digit());
    bytes.len() <= form.len() && bytes.iter().zip(form).all(fits)
}

fn version_fault(bytes: &[u8]) -> Malformed {
    let (version, end) = bytes.split_at(bytes.len().min(8));
    match end {
        _ if version.contains(&b'\n') => Malformed::LineEnd,
        _ if !looks_like_version(version) => Malformed::RequestLine,
        [b'\n', ..] => Malformed::LineEnd,
        [b'\r', other, ..] if *other != b'\n' => Malformed::LineEnd,
        [b'\r', b'\n', ..] => Malformed::Version,
        _ => Malformed::RequestLine,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 64;

    fn take(line: &[u8]) -> Result<Option<RequestLine>, Malformed> {
        RequestLine::take(line, MAX)
    }

    #[test]
    fn well_formed_lines_pass_and_every_part_of_one_is_waited_for() {
        for line in [
            "GET / HTTP/1.1\r\n",
            "POST /a/b;c=d?e=f&g[h]=%20/?:@!$'()*+,~ HTTP/1.0\r\n",
            "OPTIONS * HTTP/1.1\r\n",
            "GET http://a HTTP/1.1\r\n",
            "GET https://[::1]:8443/x?y HTTP/1.1\r\n",
            "TRACE / HTTP/1.1\r\n",
        ] {
            let whole = take(line.as_bytes()).expect(line).expect(line);
            assert_eq!(whole.len, line.len());
            for len in 0..line.len() {
                assert!(
                    matches!(take(&line.as_bytes()[..len]), Ok(None)),
                    "{line:?} {len}"
                );
            }
        }
    }

    #[test]
    fn rows_25_to_30_other_lines_are_refused_by_name() {
        use Malformed::*;
        for (line, expected) in [
            ("GET /\r\n", RequestLine),
            ("GET / HTTP/0.9\r\n", Version),
            ("GET / HTTP/1.2\r\n", Version),
            ("GET / HTTP/2.0\r\n", Version),
            ("GET / HTTP/1.10\r\n", RequestLine),
            ("GET / HTTP/1.1 \r\n", RequestLine),
            ("GET / http/1.1\r\n", RequestLine),
            ("GET / HTTP/1,1\r\n", RequestLine),
            ("GET / HTTP/1.1\n", LineEnd),
            ("GET / HTTP/1.1\rX", LineEnd),
            ("GET / HT\n", LineEnd),
            ("GET /\n", LineEnd),
            ("GET\n", LineEnd),
            ("GET  / HTTP/1.1\r\n", RequestLine),
            ("GET\t/ HTTP/1.1\r\n", RequestLine),
            ("GET /\tHTTP/1.1\r\n", Target),
            ("GET / x HTTP/1.1\r\n", RequestLine),
            ("GET /a b HTTP/1.1\r\n", RequestLine),
            (" GET / HTTP/1.1\r\n", RequestLine),
            ("\r\nGET / HTTP/1.1\r\n", RequestLine),
            ("\nGET / HTTP/1.1\r\n", LineEnd),
            ("\u{16}\u{3}", RequestLine),
            ("get / HTTP/1.1\r\n", Method),
            ("BREW / HTTP/1.1\r\n", Method),
            ("AAAAAAAAAAAAAAAAAAAAAAAA", Method),
            ("PRI * HTTP/2.0\r\n", RequestLine),
            ("CONNECT a:443 HTTP/1.1\r\n", Target),
            ("CONNECT / HTTP/1.1\r\n", Target),
            ("GET * HTTP/1.1\r\n", Target),
            ("GET /#a HTTP/1.1\r\n", Target),
            ("GET /\\ HTTP/1.1\r\n", Target),
            ("GET /a[b] HTTP/1.1\r\n", Target),
            ("GET /ä HTTP/1.1\r\n", Target),
            ("GET /\0 HTTP/1.1\r\n", Target),
            ("GET a HTTP/1.1\r\n", Target),
            ("GET ftp://a/ HTTP/1.1\r\n", Target),
            ("GET http:// HTTP/1.1\r\n", Target),
            ("GET http://u@a/ HTTP/1.1\r\n", Target),
            ("GET http://a:99999/ HTTP/1.1\r\n", Target),
            ("GET http://[::1/ HTTP/1.1\r\n", Target),
            ("GET http://a/[ HTTP/1.1\r\n", Target),
        ] {
            assert_eq!(take(line.as_bytes()).err(), Some(expected), "{line:?}");
        }
    }

    #[test]
    fn row_32_a_target_past_the_limit_is_refused_before_its_end() {
        let longest = format!("GET /{} HTTP/1.1\r\n", "a".repeat(MAX - 1));
        assert!(matches!(take(longest.as_bytes()), Ok(Some(_))));
        let longer = format!("GET /{}", "a".repeat(MAX));
        assert_eq!(take(longer.as_bytes()).err(), Some(Malformed::UriTooLong));
    }
}
