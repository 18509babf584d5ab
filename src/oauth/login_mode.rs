//! Who logs users in: the gateway itself, or a page of the operator's.

use http::HeaderValue;

use super::form::push_parameter;
use super::login_challenge::LoginChallenge;
use super::redirect::{authority, is_loopback};

/// Who logs users in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginMode {
    /// The gateway, with users in its own store.
    Builtin,
    /// The operator's own page, which answers over the admin API.
    Delegated(LoginPage),
}

/// The URL of the operator's login page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginPage(String);

/// Why a URL is not taken for a login page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidLoginPage(&'static str);

/// What the page finds its challenge in.
const CHALLENGE: &str = "login_challenge";

impl LoginMode {
    /// Whether the operator's page logs users in.
    pub const fn is_delegated(&self) -> bool {
        matches!(self, LoginMode::Delegated(_))
    }
}

impl LoginPage {
    /// Checks and takes a URL. `http` is for a page on the browser's own machine, to try it out.
    pub fn parse(url: &str) -> Result<LoginPage, InvalidLoginPage> {
        let fault = |text| Err(InvalidLoginPage(text));
        let plain =
            |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\');
        if url.len() > 2048 || !url.bytes().all(plain) {
            return fault("a login page's URL is visible ASCII, at most 2048 characters");
        }
        if url.contains('#') {
            return fault("a fragment would be in the way of the challenge");
        }
        let (scheme, after) = url.split_once("://").unwrap_or_default();
        let host = authority(after);
        match scheme {
            "https" if !host.is_empty() && !host.contains('@') => {}
            "http" if is_loopback(host) => {}
            "http" => return fault("http is for 127.0.0.1 and [::1] only"),
            _ => return fault("not an https URL"),
        }
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let names = query.split('&').map(|pair| pair.split('=').next());
        match names.flatten().any(|name| name == CHALLENGE) {
            true => fault("the gateway adds login_challenge itself"),
            false => Ok(LoginPage(url.to_owned())),
        }
    }

    /// The `Location` that hands a challenge over, after what the URL's query has itself.
    pub(super) fn location(&self, challenge: &LoginChallenge) -> HeaderValue {
        let mut url = self.0.clone();
        if !url.contains('?') {
            url.push('?');
        }
        push_parameter(&mut url, CHALLENGE, challenge.expose());
        HeaderValue::try_from(url).expect("a checked URL and a challenge are visible ASCII")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::InteractionId;

    #[test]
    fn a_login_page_is_an_https_url_that_a_challenge_can_be_added_to() {
        for good in [
            "https://login.example",
            "https://login.example:8443/start?theme=dark&x_login_challenge=1",
            "http://127.0.0.1:3000/login",
            "http://[::1]/",
        ] {
            assert!(LoginPage::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/login",
            "//login.example/",
            "https:login.example",
            "https://",
            "https:///login",
            "https://user@login.example/",
            "https://login.example/#top",
            "https://login.example/?login_challenge=1",
            "https://login.example/?a=b&login_challenge",
            "http://login.example/",
            "http://localhost/",
            "http://127.0.0.1.evil.example/",
            "ftp://login.example/",
            "javascript:alert(1)",
            "https://login.example/\r\nx: y",
            "https://login.example/\u{e9}",
        ] {
            assert!(LoginPage::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_challenge_comes_after_the_query_that_is_there() {
        let challenge = LoginChallenge::of(&InteractionId::parse("int_1").expect("an id"));
        let text = challenge.expose();
        for (url, before) in [
            ("https://a", "https://a?login_challenge="),
            ("https://a/b?", "https://a/b?login_challenge="),
            ("https://a/b?x=1", "https://a/b?x=1&login_challenge="),
        ] {
            let page = LoginPage::parse(url).expect("a page");
            let location = page.location(&challenge);
            assert_eq!(location.as_bytes(), format!("{before}{text}").as_bytes());
        }
    }
}
