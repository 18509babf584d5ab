//! `host[:port]`, as in `Host` and in an absolute-form target.

use super::bytes::{self, NAME};

/// A well-formed `host[:port]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Authority<'a> {
    host: &'a [u8],
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// RFC 9110 §7.2 with RFC 3986 §3.2, less what no client of an API sends: user information,
    /// encoded names, an empty host, an empty port.
    pub(super) fn parse(text: &'a [u8]) -> Option<Authority<'a>> {
        let host_len = match text.first()? {
            b'[' => text.iter().position(|byte| *byte == b']')? + 1,
            _ => bytes::run(text, NAME),
        };
        let (host, rest) = text.split_at(host_len);
        if !is_host(host) {
            return None;
        }
        let port = match rest.split_first() {
            None => None,
            Some((b':', digits)) => Some(parse_port(digits)?),
            Some(_) => return None,
        };
        Some(Authority { host, port })
    }

    /// Whether both name the same origin, where an absent port is `default_port`.
    pub(super) fn matches(self, other: Authority<'_>, default_port: u16) -> bool {
        let port = |authority: Authority<'_>| authority.port.unwrap_or(default_port);
        self.host.eq_ignore_ascii_case(other.host) && port(self) == port(other)
    }
}

fn is_host(host: &[u8]) -> bool {
    match host {
        [] => false,
        [b'[', address @ .., b']'] => {
            let text = std::str::from_utf8(address).unwrap_or("");
            text.parse::<std::net::Ipv6Addr>().is_ok()
        }
        name => name.len() <= 255 && name[0] != b'.',
    }
}

fn parse_port(digits: &[u8]) -> Option<u16> {
    let plain = (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_31_only_one_host_with_an_optional_port_is_an_authority() {
        for good in [
            "a",
            "api.osir.com",
            "A.b:443",
            "127.0.0.1:8443",
            "[::1]",
            "[2001:db8::1]:1",
        ] {
            assert!(Authority::parse(good.as_bytes()).is_some(), "{good}");
        }
        for bad in [
            "",
            " ",
            ":80",
            "a:",
            "a:b",
            "a:65536",
            "a:000080",
            "a:+1",
            "u@a",
            "u:p@a",
            "a,b",
            "a, b",
            "a b",
            "a/b",
            "a?b",
            "a#b",
            "%61",
            "[::1",
            "::1",
            "[1.2.3.4]",
            "[::1]x",
            ".a",
            "a\\b",
            "a;b",
            "ä",
        ] {
            assert!(Authority::parse(bad.as_bytes()).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn row_30_an_absent_port_is_the_default_one() {
        let parse = |text: &'static str| Authority::parse(text.as_bytes()).expect(text);
        assert!(parse("A.b").matches(parse("a.B:443"), 443));
        assert!(!parse("a").matches(parse("a:80"), 443));
        assert!(!parse("a").matches(parse("b"), 443));
    }
}
