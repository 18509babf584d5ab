//! URLs and host names in settings: scheme, host and port, and whatever follows.
//!
//! Not here: which schemes and paths a setting allows. Invariant: a URL with user information is
//! refused, so that no password ends up where it is shown.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::field::Field;
use super::report::quoted;

/// A URL, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Url<'a> {
    pub(super) scheme: &'a str,
    /// Lower case; an IPv6 address without brackets.
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// What follows the authority: path, query, fragment.
    pub(super) rest: &'a str,
}

impl<'a> Field<'a> {
    /// A URL with a host and without user information; `form` is its form for the hint.
    pub(super) fn url(&self, form: &str) -> Option<Url<'a>> {
        let text = self.text()?;
        let hint = format!("write it as {form}");
        if text.contains('@') {
            return self.refuse("a URL here has no user and no password (no `@`)", hint);
        }
        match parse(text) {
            Ok(url) => Some(url),
            Err(fault) => self.refuse(format!("{} {fault}", quoted(text)), hint),
        }
    }
}

fn parse(text: &str) -> Result<Url<'_>, &'static str> {
    // RFC 3986 §2: neither of the two is in a URL, and both would end a quoted one.
    let allowed = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    if !text.bytes().all(allowed) {
        return Err("has a character that no URL has");
    }
    let (scheme, after) = text.split_once("://").ok_or("is not a URL")?;
    let (authority, rest) = after.split_at(after.find(['/', '?', '#']).unwrap_or(after.len()));
    let (host, port) = split_port(authority)?;
    let port = match port {
        Some(digits) => Some(parse_port(digits).ok_or("has no valid port")?),
        None => None,
    };
    Ok(Url {
        scheme,
        host: parse_host(host).ok_or("has no valid host")?,
        port,
        rest,
    })
}

fn split_port(authority: &str) -> Result<(&str, Option<&str>), &'static str> {
    let end_of_host = if authority.starts_with('[') {
        authority.find(']').ok_or("has no valid host")? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, port) = authority.split_at(end_of_host);
    match (port, port.strip_prefix(':')) {
        ("", _) => Ok((host, None)),
        (_, Some(digits)) => Ok((host, Some(digits))),
        (_, None) => Err("has no valid host"),
    }
}

fn parse_port(digits: &str) -> Option<u16> {
    let digits_only = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|port| digits_only && *port != 0)
}

fn parse_host(host: &str) -> Option<String> {
    if let Some(inner) = host.strip_prefix('[') {
        let address: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
        return Some(address.to_string());
    }
    let host = host.to_ascii_lowercase();
    is_host_name(&host).then_some(host)
}

/// Whether a lower-case text is a DNS name or an IPv4 address. Underscores are allowed: names of
/// containers and services have them.
pub(super) fn is_host_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // A name that ends in a number is an address or nothing (WHATWG URL, "ends in a number").
    let last = text.rsplit('.').next().unwrap_or(text);
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= 253
        && text.split('.').all(label)
        && (!numeric || text.parse::<Ipv4Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let url = parse("https://IDP.example:8443/jwks.json?v=1").expect("a URL");
        assert_eq!(
            (url.scheme, url.host.as_str(), url.port, url.rest),
            ("https", "idp.example", Some(8443), "/jwks.json?v=1")
        );
        let url = parse("http://[2001:DB8::1]").expect("a URL");
        assert_eq!(
            (url.host.as_str(), url.port, url.rest),
            ("2001:db8::1", None, "")
        );
    }

    #[test]
    fn a_bad_authority_is_refused() {
        for text in [
            "localhost:80",
            "http://",
            "http://:80",
            "http://h:",
            "http://h:0",
            "http://h:+80",
            "http://h:65536",
            "http://h:80:90",
            "http://[::1",
            "http://[::1]80",
            "http://::1",
            "http://-h",
            "http://a..b",
            "http://1.2.3",
            "http://256.1.1.1",
            "http://exämple",
            "http://a b",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
