//! Binding an interaction to one browser: a cookie, and a token in each form.
//!
//! The cookie stops an attacker from having someone else approve the attacker's own request; the
//! token stops another site from sending a form in the browser's name. Invariant: both are checked
//! on every form.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::Response;
use http::header::{HeaderMap, HeaderValue, ORIGIN, SET_COOKIE};

use super::OAuthSettings;
use crate::auth::cookie_values;
use crate::id::InteractionId;
use crate::secret::{Digest, MacKeys, Peppers, Purpose, random_bytes};

/// `__Host-`: only this host can have set it, over TLS (RFC 6265bis §4.1.3.2).
pub const COOKIE_NAME: &str = "__Host-pc_int";

/// One browser, by the value of its cookie. Shared by all its tabs.
pub(super) struct Browser([u8; 32]);

impl Browser {
    /// One that was not here before.
    pub(super) fn new() -> Browser {
        Browser(random_bytes())
    }

    /// The browser that sent a request; `None` without a cookie of ours.
    pub(super) fn of(headers: &HeaderMap) -> Option<Browser> {
        let mut values = cookie_values(headers, COOKIE_NAME);
        let bytes = URL_SAFE_NO_PAD.decode(values.next()?).ok()?;
        bytes.try_into().ok().map(Browser)
    }

    /// What the store keeps of it.
    pub(super) fn digest(&self) -> Digest {
        Digest::of_random(&self.0)
    }

    /// `Lax`, not `Strict`: a client's request comes from another site.
    pub(super) fn cookie(&self) -> HeaderValue {
        let value = URL_SAFE_NO_PAD.encode(self.0);
        let cookie = format!("{COOKIE_NAME}={value}; Path=/; Secure; HttpOnly; SameSite=Lax");
        let mut cookie = HeaderValue::try_from(cookie).expect("base64url is visible ASCII");
        cookie.set_sensitive(true);
        cookie
    }

    /// Sets the cookie once more, with an answer after which the page that the browser has is not
    /// the right one any more. Chromium keeps pages for its back button, `no-store` or not, unless
    /// a cookie that only servers see was set after them: then it asks for the page anew.
    pub(super) fn renew(&self, mut response: Response<Bytes>) -> Response<Bytes> {
        response.headers_mut().insert(SET_COOKIE, self.cookie());
        response
    }

    /// What a form of this browser and interaction has to carry.
    pub(super) fn form_token(&self, peppers: &Peppers, id: &InteractionId) -> String {
        let keys = MacKeys::new(peppers, Purpose::Forms);
        keys.make(&[&self.0[..], id.as_str().as_bytes()]).to_text()
    }

    /// Whether a form carries it, of whichever pepper the page was made under.
    pub(super) fn sent(&self, peppers: &Peppers, id: &InteractionId, token: Option<&str>) -> bool {
        let keys = MacKeys::new(peppers, Purpose::Forms);
        let of = [&self.0[..], id.as_str().as_bytes()];
        token.is_some_and(|token| keys.is_text_of(&of, token.as_bytes()))
    }
}

/// Whether a form comes from a page of ours, as far as the browser says. A page with our
/// `Referrer-Policy` has the origin `null`, so that says nothing.
pub(super) fn is_same_site(headers: &HeaderMap, settings: &OAuthSettings) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site.as_bytes() == b"same-origin";
    }
    headers.get(ORIGIN).is_none_or(|origin| {
        let ours = format!("https://{}", settings.authorize_host);
        origin.as_bytes() == b"null" || origin.as_bytes() == ours.as_bytes()
    })
}

#[cfg(test)]
mod tests {
    use http::header::COOKIE;

    use super::*;
    use crate::oauth::server::tests::settings;
    use crate::secret::Pepper;

    #[test]
    fn a_browser_is_known_again_by_its_cookie() {
        let browser = Browser::new();
        let cookie = browser.cookie();
        let pair = cookie
            .to_str()
            .expect("ASCII")
            .split(';')
            .next()
            .expect("a pair");
        let mut headers = HeaderMap::new();
        for field in [
            format!("a=b; {pair}; c=d").into_bytes(),
            // Of another app on this host, in the same field.
            [b"a=\xe9\xff; ", pair.as_bytes()].concat(),
            format!("a=b;{pair};c").into_bytes(),
        ] {
            headers.insert(COOKIE, HeaderValue::from_bytes(&field).expect("a field"));
            let again = Browser::of(&headers).expect("the cookie");
            assert_eq!(again.digest(), browser.digest());
        }
        headers.insert(COOKIE, HeaderValue::from_static("__Host-pc_int=short"));
        assert!(Browser::of(&headers).is_none());
    }

    #[test]
    fn a_form_token_is_for_one_browser_and_one_interaction() {
        let pepper = Peppers::from(Pepper::of_test(b'a'));
        let id = |text| InteractionId::parse(text).expect("an id");
        let (one, other) = (Browser::new(), Browser::new());
        let token = one.form_token(&pepper, &id("int_1"));
        assert!(one.sent(&pepper, &id("int_1"), Some(&token)));
        assert!(!one.sent(&pepper, &id("int_2"), Some(&token)));
        assert!(!other.sent(&pepper, &id("int_1"), Some(&token)));
        assert!(!one.sent(&pepper, &id("int_1"), None));
    }

    #[test]
    fn a_form_of_another_site_is_told_by_what_browsers_say() {
        for (name, value, same) in [
            ("sec-fetch-site", "same-origin", true),
            ("sec-fetch-site", "same-site", false),
            ("sec-fetch-site", "cross-site", false),
            ("sec-fetch-site", "none", false),
            ("origin", "https://osir.com", true),
            ("origin", "null", true),
            ("origin", "https://osir.com.evil.example", false),
            ("origin", "http://osir.com", false),
            ("accept", "text/html", true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            assert_eq!(is_same_site(&headers, &settings()), same, "{name}: {value}");
        }
    }
}
