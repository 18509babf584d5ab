//! Who may speak to the admin API.
//!
//! On a unix socket the file's permission is the check. On TCP every local user and every web
//! page in a local browser can connect, so a request must show the admin token, and must have
//! been sent to a loopback name: a page whose own name was rebound to 127.0.0.1 sends its own.

use std::net::IpAddr;

use http::header::{AUTHORIZATION, HOST, HeaderMap};

use super::problem::AdminProblem;
use crate::header::only;
use crate::secret::Secret;

/// Who may speak to the admin API.
#[derive(Debug)]
pub(super) enum Door {
    /// Whoever may open the socket file.
    Socket,
    /// Whoever has the token.
    Token { token: Secret, address: IpAddr },
}

impl Door {
    /// Lets a request in, or says why not.
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<(), AdminProblem> {
        let Door::Token { token, address } = self else {
            return Ok(());
        };
        let text = |name| only(headers, name)?.to_str().ok();
        let host = text(&HOST).ok_or(AdminProblem::Host)?;
        if !is_local(host, *address) {
            return Err(AdminProblem::Host);
        }
        let shown = text(&AUTHORIZATION).and_then(bearer);
        match shown {
            Some(shown) if shown.matches(token) => Ok(()),
            Some(_) | None => Err(AdminProblem::Token),
        }
    }
}

/// RFC 6750 §2.1; the scheme is case-insensitive (RFC 9110 §11.1).
fn bearer(value: &str) -> Option<Secret> {
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| Secret::new(token.trim()))
}

/// Whether a `Host` value (RFC 9110 §7.2) names this machine's loopback or the listener itself.
fn is_local(host: &str, address: IpAddr) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(name, _)| name),
        None => host.split(':').next().unwrap_or_default(),
    };
    let loopback = |ip: IpAddr| ip == address || ip.is_loopback();
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(loopback)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn only_loopback_names_are_local() {
        let local = |host| is_local(host, IpAddr::V4(Ipv4Addr::LOCALHOST));
        for host in [
            "localhost:9091",
            "LOCALHOST",
            "127.0.0.1:1",
            "[::1]:9091",
            "127.0.0.1",
        ] {
            assert!(local(host), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:9091",
            "",
            "[::1",
            "192.0.2.1",
        ] {
            assert!(!local(host), "{host}");
        }
    }

    #[test]
    fn the_token_is_shown_once_in_the_bearer_scheme() {
        let door = Door::Token {
            token: Secret::new("0123456789abcdef"),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        let admitted = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, http::HeaderValue::from_static("localhost"));
            for value in values {
                headers.append(AUTHORIZATION, http::HeaderValue::from_static(value));
            }
            door.admit(&headers).is_ok()
        };
        assert!(admitted(&["bearer 0123456789abcdef"]));
        assert!(!admitted(&[]));
        assert!(!admitted(&["Bearer 0123456789abcdeF"]));
        assert!(!admitted(&["Basic 0123456789abcdef"]));
        assert!(!admitted(&[
            "Bearer 0123456789abcdef",
            "Bearer 0123456789abcdef"
        ]));
        assert!(!admitted(&["Bearer "]));
    }
}
