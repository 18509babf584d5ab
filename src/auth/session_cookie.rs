//! The session cookie: how it is read, set and ended.
//!
//! ```text
//! Set-Cookie: __Host-osir_session=osir_csess_…; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=900
//! Cookie: theme=dark; __Host-osir_session=osir_csess_…
//! ```
//!
//! Not here: whether the session is good, whether a page of ours meant the request (`crate::gateway`),
//! and keeping it from upstreams ([`super::own_cookies`]). Invariants: a credential in a header is never
//! beside it; two of it are never ranked, they are an error.

use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use zeroize::Zeroizing;

use crate::secret::Secret;

use super::credential::X_API_KEY;
use super::own_cookies::cookie_values;
use super::{Credential, CredentialForm, InvalidCredentials};

/// What a page shows besides the cookie.
pub const X_CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");

/// The cookie of one deployment, and whose pages may use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCookie {
    name: String,
    origins: Vec<String>,
}

/// `Path=/`, `Secure` and no `Domain` are what the name's prefix demands (RFC 6265bis §4.1.3.2).
const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Lax";

impl SessionCookie {
    /// What its name begins with: browsers then take it only over TLS, from this very host, so that
    /// no neighbouring host can plant one.
    pub const PREFIX: &'static str = "__Host-";

    /// `name` is a token of RFC 9110 that begins with [`SessionCookie::PREFIX`]; `origins` are those
    /// of pages on other hosts, as browsers write them.
    pub fn new(name: String, origins: Vec<String>) -> SessionCookie {
        SessionCookie { name, origins }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether pages of this origin (RFC 6454 §6.2) may use it although they are elsewhere.
    pub fn trusts(&self, origin: &[u8]) -> bool {
        self.origins.iter().any(|own| own.as_bytes() == origin)
    }

    /// The credential in the cookie of a request without one in a header, whatever its scheme.
    pub fn credential<'a>(
        &self,
        headers: &'a HeaderMap,
        form: &CredentialForm,
    ) -> Result<Credential<'a>, InvalidCredentials> {
        if headers.contains_key(AUTHORIZATION) || headers.contains_key(X_API_KEY) {
            return Ok(Credential::Absent);
        }
        let mut values = cookie_values(headers, &self.name);
        match (values.next(), values.next()) {
            (None, _) => Ok(Credential::Absent),
            (Some(value), None) => Ok(Credential::in_session_cookie(value, form)),
            (Some(_), Some(_)) => Err(InvalidCredentials::CookieRepeated),
        }
    }

    /// The `Cookie` that a browser sends; `None` if the text fits into none.
    pub fn field(&self, token: &Secret) -> Option<HeaderValue> {
        let text = Zeroizing::new(format!("{}={}", self.name, token.expose()));
        HeaderValue::from_str(&text).ok()
    }

    /// `Set-Cookie` for a new session that lives so long.
    pub fn set(&self, token: &Secret, life: Duration) -> HeaderValue {
        let text = Zeroizing::new(format!(
            "{}={}; {ATTRIBUTES}; Max-Age={}",
            self.name,
            token.expose(),
            life.as_secs()
        ));
        sensitive(&text)
    }

    /// `Set-Cookie` after a session's end.
    pub fn clear(&self) -> HeaderValue {
        sensitive(&format!("{}=; {ATTRIBUTES}; Max-Age=0", self.name))
    }
}

/// Neither shown by `Debug` nor kept in the tables of HPACK.
fn sensitive(text: &str) -> HeaderValue {
    let mut value = HeaderValue::try_from(text).expect("name and token are visible ASCII");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "__Host-osir_session";

    fn cookie() -> SessionCookie {
        SessionCookie::new(NAME.into(), vec!["https://app.example".into()])
    }

    #[test]
    fn it_is_set_for_a_time_and_cleared_at_once_and_debug_shows_neither() {
        let set = cookie().set(&Secret::new("t0ken"), Duration::from_millis(900_900));
        assert_eq!(
            set.as_bytes(),
            b"__Host-osir_session=t0ken; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=900"
        );
        assert_eq!(format!("{set:?}"), "Sensitive");
        assert_eq!(
            cookie().clear().as_bytes(),
            b"__Host-osir_session=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"
        );
    }

    #[test]
    fn an_origin_is_compared_byte_for_byte() {
        assert!(cookie().trusts(b"https://app.example"));
        for other in [
            "https://app.example.evil",
            "http://app.example",
            "https://app.example/",
            "null",
            "",
        ] {
            assert!(!cookie().trusts(other.as_bytes()), "{other}");
        }
    }
}
