//! Cookies by their names, as servers read them, and the gateway's own ones kept from upstreams.
//!
//! Not here: what is in them ([`super::session_cookie`], `crate::oauth`). Invariants: what reads as an
//! own cookie to any server goes to no upstream and comes from none, and what reads as another keeps
//! its bytes and its place.

use http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};

use super::{SessionCookie, X_CSRF_TOKEN};

/// The cookies that are the gateway's alone.
#[derive(Clone, Debug)]
pub struct OwnCookies {
    names: Vec<String>,
    /// Whether a CSRF token comes with one of them.
    has_csrf_token: bool,
}

impl OwnCookies {
    /// The session cookie and others, by name; `None` without any.
    pub fn new(session: Option<&SessionCookie>, others: &[&str]) -> Option<OwnCookies> {
        let session = session.map(SessionCookie::name);
        let names = session.into_iter().chain(others.iter().copied());
        let names: Vec<String> = names.map(str::to_owned).collect();
        (!names.is_empty()).then_some(OwnCookies {
            names,
            has_csrf_token: session.is_some(),
        })
    }

    /// Takes the cookies and the CSRF token out of a request, and with them each pair that some
    /// server would find one of the cookies in.
    pub fn strip_request(&self, headers: &mut HeaderMap) {
        if self.has_csrf_token {
            headers.remove(X_CSRF_TOKEN);
        }
        let is_own = |pair: &[u8]| self.is_own(pair) || self.hides_own(pair);
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

    /// Takes the cookies out of an upstream's answer: only the gateway sets them.
    pub fn strip_answer(&self, headers: &mut HeaderMap) {
        let own = |field: &HeaderValue| {
            let pair = pairs(field.as_bytes()).next().unwrap_or_default();
            self.is_own(pair)
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

    fn is_own(&self, pair: &[u8]) -> bool {
        let mut names = self.names.iter();
        names.any(|name| value_in(pair, name).is_some())
    }

    fn hides_own(&self, pair: &[u8]) -> bool {
        let mut names = self.names.iter();
        names.any(|name| is_hidden_in(pair, name))
    }
}

/// The values of a cookie in a request, in their order: whatever bytes are beside it.
pub fn cookie_values<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let fields = headers.get_all(COOKIE).into_iter();
    fields
        .flat_map(|field| pairs(field.as_bytes()))
        .filter_map(move |pair| value_in(pair, name))
}

/// The value, if a pair is this cookie. Some servers read a name without `=` as a cookie, and
/// some browsers send a nameless cookie's value as if it were a pair: both count.
fn value_in<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let pair = pair.trim_ascii();
    let pair = pair.strip_prefix(b"=").map_or(pair, <[u8]>::trim_ascii);
    let end = pair.iter().position(|byte| *byte == b'=');
    let (found, value) = pair.split_at(end.unwrap_or(pair.len()));
    (found.trim_ascii_end() == name.as_bytes())
        .then(|| value.strip_prefix(b"=").unwrap_or_default().trim_ascii())
}

/// Whether a pair has the cookie in its value. Some servers end a pair also at white space
/// (Python's `SimpleCookie`) or at a comma (RFC 2109 §4.1), and read one behind it. Whatever
/// no cookie's name has, may be such an end; an honest value has none with this name behind.
fn is_hidden_in(pair: &[u8], name: &str) -> bool {
    let name = name.as_bytes();
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

/// What a token (RFC 9110 §5.6.2) has besides letters and digits; and `=`, behind which is a value.
const TOKEN: &[u8] = b"!#$%&'*+-.^_`|~=";

/// RFC 6265 §4.2.1, read as servers do: white space around a pair is free, and a semicolon ends it
/// also within quotes.
fn pairs(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    field.split(|byte| *byte == b';')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> OwnCookies {
        let session = SessionCookie::new("__Host-osir_session".into(), Vec::new());
        OwnCookies::new(Some(&session), &["__Host-pc_int"]).expect("two of them")
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
        own().strip_request(&mut headers);
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
        own().strip_request(&mut headers);
        assert_eq!(headers[COOKIE].as_bytes(), b"b");
    }

    #[test]
    fn bytes_beyond_ascii_stay_as_they_are() {
        let mut headers = HeaderMap::new();
        let field = HeaderValue::from_bytes(b"a=\xe9; __Host-osir_session=\xff; b").expect("bytes");
        headers.insert(COOKIE, field);
        own().strip_request(&mut headers);
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
        own().strip_answer(&mut headers);
        let left: Vec<_> = headers.get_all(SET_COOKIE).iter().collect();
        assert_eq!(left, ["a=1; Path=/", "b=__Host-osir_session=x"]);
    }

    #[test]
    fn every_own_cookie_goes_and_without_one_there_is_nothing_to_look_for() {
        let both = "__Host-pc_int=1; a=1; __Host-osir_session=x; __Host-pc_int2=3";
        assert_eq!(stripped(&[both]), ["a=1; __Host-pc_int2=3"]);
        assert!(OwnCookies::new(None, &[]).is_none());
        let mut headers = headers(&["__Host-pc_int=1; __Host-osir_session=x"]);
        headers.insert(X_CSRF_TOKEN, HeaderValue::from_static("theirs"));
        let interaction = OwnCookies::new(None, &["__Host-pc_int"]).expect("one");
        interaction.strip_request(&mut headers);
        assert_eq!(headers[COOKIE], "__Host-osir_session=x");
        assert_eq!(headers[X_CSRF_TOKEN], "theirs");
    }

    #[test]
    fn a_cookie_is_found_whatever_is_beside_it() {
        let mut headers = HeaderMap::new();
        let field = HeaderValue::from_bytes(b"a=\xe9;b=2; __Host-pc_int=x ;c").expect("bytes");
        headers.append(COOKIE, field);
        headers.append(COOKIE, HeaderValue::from_static("__Host-pc_int=y"));
        let values: Vec<&[u8]> = cookie_values(&headers, "__Host-pc_int").collect();
        assert_eq!(values, [b"x", b"y"]);
    }
}
