//! Redirect URIs (RFC 6749 §3.1.2, RFC 9700 §4.1): the only addresses outside of this server that
//! a browser is ever sent to.
//!
//! Invariant: a [`RegisteredRedirect`] is one of its client's own, byte for byte, but for the port
//! of a loopback address (RFC 8252 §7.3).

use http::HeaderValue;

use super::form::push_parameter;
use crate::store::ClientRecord;

/// A redirect URI that was compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RegisteredRedirect(String);

impl RegisteredRedirect {
    /// The one that a request asks for; where it asks for none, the only one there is.
    pub(super) fn of(client: &ClientRecord, asked: Option<&str>) -> Option<RegisteredRedirect> {
        let registered = &client.settings.redirects;
        let uri = match (asked, registered.as_slice()) {
            (Some(asked), _) => registered
                .iter()
                .any(|uri| is_same(uri, asked))
                .then_some(asked)?,
            (None, [only]) => only.as_str(),
            (None, _) => return None,
        };
        redirect_fault(uri)
            .is_none()
            .then(|| RegisteredRedirect(uri.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The `Location` with these parameters after those that the URI has itself.
    pub(super) fn location(&self, parameters: &[(&str, &str)]) -> HeaderValue {
        let mut uri = self.0.clone();
        if !uri.contains('?') {
            uri.push('?');
        }
        for (name, value) in parameters {
            push_parameter(&mut uri, name, value);
        }
        HeaderValue::try_from(uri).expect("a registered redirect and parameters are visible ASCII")
    }

    /// What a user is told of where the answer goes: the host, or the scheme of an app.
    pub(super) fn shown(&self) -> &str {
        let (scheme, after) = self.0.split_once(':').unwrap_or_default();
        match after.strip_prefix("//") {
            Some(rest) if scheme == "https" || scheme == "http" => authority(rest),
            _ => scheme,
        }
    }

    /// What a `form-action` has to allow so that a browser follows the redirect after a form;
    /// `None` where no such source can be written (an IPv6 address).
    pub(super) fn content_source(&self) -> Option<String> {
        let (scheme, after) = self.0.split_once(':')?;
        match after.strip_prefix("//") {
            Some(rest) if scheme == "https" || scheme == "http" => {
                let authority = authority(rest);
                (!authority.starts_with('[')).then(|| format!("{scheme}://{authority}"))
            }
            _ => Some(format!("{scheme}:")),
        }
    }
}

/// What keeps a URI from being registered as a redirect; `None` is nothing. Whoever registers a
/// client asks this first: a redirect with a fault is not used, registered or not.
pub fn redirect_fault(uri: &str) -> Option<&'static str> {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\');
    if uri.len() > 2048 || !uri.bytes().all(plain) {
        return Some("a redirect URI is visible ASCII, at most 2048 characters");
    }
    if uri.contains('#') {
        return Some("a redirect URI has no fragment (RFC 6749 §3.1.2)");
    }
    let (scheme, after) = uri.split_once(':').unwrap_or((uri, ""));
    match (scheme, after.strip_prefix("//").map(authority)) {
        ("https" | "http", None | Some("")) => Some("a redirect URI has a host"),
        ("https" | "http", Some(host)) if host.contains(['@', ';', ',', '*', '\'']) => {
            Some("a redirect URI has a plain host")
        }
        ("https", Some(_)) => None,
        ("http", Some(host)) => {
            (!is_loopback(host)).then_some("http is for 127.0.0.1 and [::1] only (RFC 9700 §2.6)")
        }
        // RFC 8252 §7.1: the app's own domain, backwards.
        (scheme, _) if is_app_scheme(scheme) => None,
        _ => Some("an app's scheme is its domain backwards, such as com.example.app:/callback"),
    }
}

fn is_app_scheme(scheme: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-');
    scheme.contains('.')
        && scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(allowed)
}

/// What is before the path.
pub(super) fn authority(after_slashes: &str) -> &str {
    let end = after_slashes
        .find(['/', '?'])
        .unwrap_or(after_slashes.len());
    &after_slashes[..end]
}

fn is_same(registered: &str, asked: &str) -> bool {
    registered == asked
        || match (loopback_parts(registered), loopback_parts(asked)) {
            (Some(registered), Some(asked)) => registered == asked,
            _ => false,
        }
}

/// The host, and what follows the port, of an `http` URI of a loopback address.
fn loopback_parts(uri: &str) -> Option<(&str, &str)> {
    let after = uri.strip_prefix("http://")?;
    let authority = authority(after);
    let host = loopback_host(authority)?;
    Some((host, &after[authority.len()..]))
}

pub(super) fn is_loopback(authority: &str) -> bool {
    loopback_host(authority).is_some()
}

fn loopback_host(authority: &str) -> Option<&'static str> {
    ["127.0.0.1", "[::1]"].into_iter().find(|host| {
        authority.strip_prefix(host).is_some_and(|port| {
            // A sign is no digit, though a number may be parsed with one.
            let is_port = |digits: &str| {
                digits.bytes().all(|digit| digit.is_ascii_digit()) && digits.parse::<u16>().is_ok()
            };
            port.is_empty() || port.strip_prefix(':').is_some_and(is_port)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_bytes_are_the_same_but_for_a_loopback_port() {
        let registered = "https://app.example/cb?x=1";
        assert!(is_same(registered, registered));
        for other in [
            "https://app.example/cb",
            "https://app.example/cb?x=1&",
            "https://app.example/cb/?x=1",
            "https://app.example:443/cb?x=1",
            "https://APP.example/cb?x=1",
            "https://app.example/%63b?x=1",
            "http://app.example/cb?x=1",
            "https://app.example@evil.example/cb?x=1",
            "https://app.example.evil.example/cb?x=1",
        ] {
            assert!(!is_same(registered, other), "{other}");
        }
        let loopback = "http://127.0.0.1/cb";
        assert!(is_same(loopback, "http://127.0.0.1:49152/cb"));
        assert!(is_same("http://[::1]:1/cb", "http://[::1]:2/cb"));
        for other in [
            "http://127.0.0.1:49152/cb2",
            "http://127.0.0.1:x/cb",
            "http://127.0.0.1:+1/cb",
            "http://127.0.0.1:65536/cb",
            "http://127.0.0.1:/cb",
            "http://127.0.0.1:1@evil.example/cb",
            "http://127.0.0.1.evil.example/cb",
            "http://localhost:1/cb",
            "http://[::1]:1/cb",
            "https://127.0.0.1:1/cb",
        ] {
            assert!(!is_same(loopback, other), "{other}");
        }
    }

    #[test]
    fn what_may_be_registered() {
        for good in [
            "https://app.example/cb",
            "https://app.example:8443/cb?x=1",
            "http://127.0.0.1:80/cb",
            "http://[::1]/cb",
            "com.example.app:/cb",
        ] {
            assert_eq!(redirect_fault(good), None, "{good}");
        }
        for bad in [
            "",
            "https://",
            "https:app",
            "http://app.example/cb",
            "http://localhost/cb",
            "https://a/cb#f",
            "https://a b",
            "https://u@a/",
            "javascript:alert(1)",
            "data:text/html,x",
            "app:/cb",
            "//app.example",
            "/cb",
            "https://a/\u{e9}",
            "https://a/\r\nx: y",
            "https://*/",
        ] {
            assert!(redirect_fault(bad).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn parameters_come_after_those_that_are_there() {
        let location = |uri: &str| {
            let redirect = RegisteredRedirect(uri.to_owned());
            let value = redirect.location(&[("code", "a b"), ("iss", "i")]);
            value.to_str().expect("ASCII").to_owned()
        };
        assert_eq!(location("https://a/cb"), "https://a/cb?code=a%20b&iss=i");
        assert_eq!(
            location("https://a/cb?x=1"),
            "https://a/cb?x=1&code=a%20b&iss=i"
        );
        assert_eq!(location("https://a/cb?"), "https://a/cb?code=a%20b&iss=i");
    }

    #[test]
    fn a_user_and_a_content_policy_are_told_the_host_or_the_app() {
        for (uri, shown, source) in [
            (
                "https://app.example:8443/cb",
                "app.example:8443",
                Some("https://app.example:8443"),
            ),
            (
                "http://127.0.0.1:5000/cb",
                "127.0.0.1:5000",
                Some("http://127.0.0.1:5000"),
            ),
            ("http://[::1]:5000/cb", "[::1]:5000", None),
            (
                "com.example.app:/cb",
                "com.example.app",
                Some("com.example.app:"),
            ),
        ] {
            let redirect = RegisteredRedirect(uri.to_owned());
            assert_eq!(redirect.shown(), shown);
            assert_eq!(redirect.content_source().as_deref(), source);
        }
    }
}
