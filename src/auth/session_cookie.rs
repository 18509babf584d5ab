//! The session cookie: how it is read, set, ended, and kept from upstreams.
//!
//! ```text
//! Set-Cookie: __Host-osir_session=osir_csess_…; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=900
//! Cookie: theme=dark; __Host-osir_session=osir_csess_…
//! ```
//!
//! Not here: whether the session is good, and whether a page of ours meant the request
//! (`crate::gateway`). Invariants: a credential in a header is never beside it; two of it are never
//! ranked, they are an error; what reads as this cookie to any server goes to no upstream, and what
//! reads as another keeps its bytes and its place.

use std::time::Duration;

use http::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE};
use zeroize::Zeroizing;

use crate::secret::Secret;

use super::credential::X_API_KEY;
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
        let fields = headers.get_all(COOKIE).into_iter();
        let mut values = fields
            .flat_map(|field| pairs(field.as_bytes()))
            .filter_map(|pair| self.value_in(pair));
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

    /// Takes the cookie and the CSRF token out of a request, and with it each pair that some server
    /// would find the cookie in.
    pub fn strip_request(&self, headers: &mut HeaderMap) {
        headers.remove(X_CSRF_TOKEN);
        let is_own = |pair: &[u8]| self.value_in(pair).is_some() || self.is_hidden_in(pair);
        let own = |field: &HeaderValue| pairs(field.as_bytes()).any(is_own);
        if !headers.get_all(COOKIE).iter().any(own) {
            return;
        }
        let kept: Vec<HeaderValue> = (headers.get_all(COOKIE).iter())
            .filter_map(|field| {
                if !own(field) {
                    return Some(field.clone());
                }
                let others: Vec<&[u8]> = pairs(field.as_bytes())
                    .filter(|pair| !is_own(pair))
                    .collect();
                let others = others.join(&b';');
                let empty = others
                    .iter()
                    .all(|byte| matches!(byte, b' ' | b'\t' | b';'));
                // Of bytes that were one before: the constructor does not fail.
                let field = HeaderValue::from_bytes(others.trim_ascii_start()).ok();
                field.filter(|_| !empty)
            })
            .collect();
        headers.remove(COOKIE);
        for field in kept {
            headers.append(COOKIE, field);
        }
    }

    /// Takes the cookie out of an upstream's answer: only the gateway gives sessions.
    pub fn strip_answer(&self, headers: &mut HeaderMap) {
        let own = |field: &HeaderValue| {
            let pair = pairs(field.as_bytes()).next().unwrap_or_default();
            self.value_in(pair).is_some()
        };
        if !headers.get_all(SET_COOKIE).iter().any(own) {
            return;
        }
        let fields = headers.get_all(SET_COOKIE).iter();
        let kept: Vec<HeaderValue> = fields.filter(|field| !own(field)).cloned().collect();
        headers.remove(SET_COOKIE);
        for field in kept {
            headers.append(SET_COOKIE, field);
        }
    }

    /// The value, if a pair is this cookie. Some servers read a name without `=` as a cookie, and
    /// some browsers send a nameless cookie's value as if it were a pair: both count.
    fn value_in<'a>(&self, pair: &'a [u8]) -> Option<&'a [u8]> {
        let pair = pair.trim_ascii();
        let pair = pair.strip_prefix(b"=").map_or(pair, <[u8]>::trim_ascii);
        let end = pair.iter().position(|byte| *byte == b'=');
        let (name, value) = pair.split_at(end.unwrap_or(pair.len()));
        (name.trim_ascii_end() == self.name.as_bytes())
            .then(|| value.strip_prefix(b"=").unwrap_or_default().trim_ascii())
    }

    /// Whether a pair has the cookie in its value. Some servers end a pair also at white space
    /// (Python's `SimpleCookie`) or at a comma (RFC 2109 §4.1), and read one behind it. Whatever
    /// no cookie's name has, may be such an end; an honest value has none with this name behind.
    fn is_hidden_in(&self, pair: &[u8]) -> bool {
        let name = self.name.as_bytes();
        let ends_a_pair = |byte: u8| !(byte.is_ascii_alphanumeric() || TOKEN.contains(&byte));
        let mut places = pair.windows(name.len()).enumerate();
        places.any(|(start, window)| {
            let before = start.checked_sub(1).and_then(|before| pair.get(before));
            let after = pair.get(start + name.len()..).unwrap_or_default();
            window == name
                && before.is_some_and(|byte| ends_a_pair(*byte))
                && after.trim_ascii_start().starts_with(b"=")
        })
    }
}

/// What a token (RFC 9110 §5.6.2) has besides letters and digits; and `=`, behind which is a value.
const TOKEN: &[u8] = b"!#$%&'*+-.^_`|~=";

/// RFC 6265 §4.2.1, read as servers do: white space around a pair is free, and a semicolon ends it
/// also within quotes.
fn pairs(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    field.split(|byte| *byte == b';')
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

    fn headers(fields: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(COOKIE, HeaderValue::from_static(field));
        }
        headers
    }

    fn stripped(fields: &[&'static str]) -> Vec<String> {
        let mut headers = headers(fields);
        cookie().strip_request(&mut headers);
        let left = headers.get_all(COOKIE).iter();
        left.map(|field| String::from_utf8_lossy(field.as_bytes()).into_owned())
            .collect()
    }

    #[test]
    fn other_cookies_keep_their_bytes_and_their_order() {
        for (before, after) in [
            ("a=1; __Host-osir_session=x; b=2", "a=1; b=2"),
            ("__Host-osir_session=x; a=1; b=2", "a=1; b=2"),
            ("a=1; b=2; __Host-osir_session=x", "a=1; b=2"),
            ("a=1;__Host-osir_session=x;b=2", "a=1;b=2"),
            ("a=1;\t__Host-osir_session =x ;  b=\"2\" ", "a=1;  b=\"2\" "),
            (
                "a=1; __Host-osir_session; =__Host-osir_session=y; b",
                "a=1; b",
            ),
            ("a=\"1; __Host-osir_session=x; b=2\"", "a=\"1; b=2\""),
            ("__Host-osir_session=x;;a=1", ";a=1"),
            // Others.
            ("__Host-osir_sessions=x;  a", "__Host-osir_sessions=x;  a"),
            ("__host-osir_session=x", "__host-osir_session=x"),
            ("a=__Host-osir_session; ;b", "a=__Host-osir_session; ;b"),
        ] {
            assert_eq!(stripped(&[before]), [after], "{before}");
        }
        for gone in ["__Host-osir_session=x", " __Host-osir_session=; ;"] {
            assert_eq!(stripped(&[gone]), [""; 0], "{gone}");
        }
        assert_eq!(
            stripped(&[
                "a=1",
                "__Host-osir_session=x",
                "b=2; __Host-osir_session=y; c"
            ]),
            ["a=1", "b=2; c"]
        );
    }

    #[test]
    fn a_pair_that_some_server_finds_the_cookie_in_goes_with_it() {
        for (before, after) in [
            // Python's `SimpleCookie` reads each of these two as two cookies.
            ("a=1 __Host-osir_session=x", None),
            ("b=2; a=1\t__Host-osir_session = x; c=3", Some("b=2; c=3")),
            // RFC 2109's comma, and a quoted value.
            ("a=1,__Host-osir_session=x; c=3", Some("c=3")),
            ("a=\"1\"__Host-osir_session=x; c=3", Some("c=3")),
            ("$Version=1, __Host-osir_session=x", None),
            ("a __Host-osir_session=x;c=3", Some("c=3")),
            // Nobody reads these as the cookie.
            (
                "a=1 __Host-osir_sessions=x",
                Some("a=1 __Host-osir_sessions=x"),
            ),
            (
                "a=1 my__Host-osir_session=x",
                Some("a=1 my__Host-osir_session=x"),
            ),
            ("a=1 __Host-osir_session", Some("a=1 __Host-osir_session")),
            ("a=__Host-osir_session=x", Some("a=__Host-osir_session=x")),
        ] {
            let after: Vec<&str> = after.into_iter().collect();
            assert_eq!(stripped(&[before]), after, "{before}");
        }
        let mut headers = HeaderMap::new();
        let no_break_space = b"a=1\xa0__Host-osir_session=x; b";
        headers.insert(
            COOKIE,
            HeaderValue::from_bytes(no_break_space).expect("bytes"),
        );
        cookie().strip_request(&mut headers);
        assert_eq!(headers[COOKIE].as_bytes(), b"b");
    }

    #[test]
    fn bytes_beyond_ascii_stay_as_they_are() {
        let mut headers = HeaderMap::new();
        let field = HeaderValue::from_bytes(b"a=\xe9; __Host-osir_session=\xff; b").expect("bytes");
        headers.insert(COOKIE, field);
        cookie().strip_request(&mut headers);
        assert_eq!(headers[COOKIE].as_bytes(), b"a=\xe9; b");
    }

    #[test]
    fn an_upstream_sets_every_cookie_but_this() {
        let mut headers = HeaderMap::new();
        for value in [
            "a=1; Path=/",
            "__Host-osir_session=x; Path=/; Secure",
            "=__Host-osir_session=x; Path=/; Secure",
            "b=__Host-osir_session=x",
        ] {
            headers.append(SET_COOKIE, HeaderValue::from_static(value));
        }
        cookie().strip_answer(&mut headers);
        let left: Vec<_> = headers.get_all(SET_COOKIE).iter().collect();
        assert_eq!(left, ["a=1; Path=/", "b=__Host-osir_session=x"]);
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
