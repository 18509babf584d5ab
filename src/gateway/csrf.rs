//! Whether a request that a browser sent with the session cookie was meant by a page of ours (CSRF).
//!
//! A browser adds the cookie to every request to this host, whoever made the page that asked for it.
//! What the browser itself says of that page, in fields that no script can set, is believed:
//!
//! ```text
//! ours        Sec-Fetch-Site: same-origin or none; or a configured Origin; or, without
//!             Sec-Fetch-Site, an Origin that is this very host
//! same site   Sec-Fetch-Site: same-site
//! foreign     any other Sec-Fetch-Site; any other Origin; either of them twice
//!
//! GET HEAD OPTIONS     not foreign, or an answer that becomes a page of its own
//! others, an upgrade   ours, and X-CSRF-Token
//! ```
//!
//! Not here: what the token is ([`crate::auth::CsrfKeys`]), and requests with a credential in a
//! header, which no browser adds by itself. Invariant: this is asked before the session is looked
//! up, so that a forged request costs no look-up and is no use of the session.

use http::header::{HeaderMap, HeaderName, ORIGIN, UPGRADE};
use http::{HeaderValue, Method};

use super::{Intake, Reason};
use crate::auth::{Credential, CsrfKeys, SessionCookie, X_CSRF_TOKEN};
use crate::header::{only, single};

const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Where the page is from that made a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    /// From here, from an origin of the config, or there is none: an address that was typed in.
    Own,
    /// From anywhere else, as far as can be told.
    Foreign,
    /// From another origin on our own site.
    SameSite,
    /// Nothing is said: no browser, or an old one.
    Unsaid,
}

/// Refuses a request by cookie that another site may have made.
pub(super) fn check(
    intake: &Intake,
    credential: &Credential<'_>,
    cookie: &SessionCookie,
    keys: &CsrfKeys,
) -> Result<(), Reason> {
    let page = Page::of(intake, cookie);
    if is_safe(intake) {
        let opened = intake.method == Method::GET && is_opened(&intake.headers);
        return match page {
            Page::Foreign if !opened => Err(Reason::Csrf),
            Page::Foreign | Page::Own | Page::SameSite | Page::Unsaid => Ok(()),
        };
    }
    if page != Page::Own {
        return Err(Reason::Csrf);
    }
    match credential {
        Credential::Session(session) => {
            let shown = only(&intake.headers, &X_CSRF_TOKEN);
            let fits = shown.is_some_and(|token| keys.fits(session, token.as_bytes()));
            if fits { Ok(()) } else { Err(Reason::Csrf) }
        }
        // Refused by its looks: authentication says so, and no session is used.
        _ => Ok(()),
    }
}

/// Refuses to set the cookie for a page of another site: it would act in a session that is not its
/// user's. The credential in the request's header came from no form, so silence is fine.
pub(super) fn check_cookie_is_wanted(
    intake: &Intake,
    cookie: &SessionCookie,
) -> Result<(), Reason> {
    match Page::of(intake, cookie) {
        Page::Own | Page::Unsaid => Ok(()),
        Page::Foreign | Page::SameSite => Err(Reason::Csrf),
    }
}

impl Page {
    fn of(intake: &Intake, cookie: &SessionCookie) -> Page {
        let headers = &intake.headers;
        let (Ok(site), Ok(origin)) = (single(headers, &SEC_FETCH_SITE), single(headers, &ORIGIN))
        else {
            return Page::Foreign;
        };
        let origin = origin.map(HeaderValue::as_bytes);
        match site.map(HeaderValue::as_bytes) {
            Some(b"same-origin" | b"none") => Page::Own,
            _ if origin.is_some_and(|origin| cookie.trusts(origin)) => Page::Own,
            Some(b"same-site") => Page::SameSite,
            Some(_) => Page::Foreign,
            None => match origin {
                None => Page::Unsaid,
                Some(origin) if is_of_host(origin, intake.host.value.as_bytes()) => Page::Own,
                Some(_) => Page::Foreign,
            },
        }
    }
}

/// RFC 9110 §9.2.1, less TRACE. An upgrade to another protocol may do anything after it.
fn is_safe(intake: &Intake) -> bool {
    let safe = [Method::GET, Method::HEAD, Method::OPTIONS].contains(&intake.method);
    safe && !intake.headers.contains_key(UPGRADE)
}

/// Whether the answer becomes a page of its own, as after a click on a link: no page can read it.
fn is_opened(headers: &HeaderMap) -> bool {
    let says = |name: HeaderName, what: &[u8]| {
        only(headers, &name).is_some_and(|value| value.as_bytes() == what)
    };
    says(SEC_FETCH_MODE, b"navigate") && says(SEC_FETCH_DEST, b"document")
}

/// Whether an origin is `https://` and this `Host`, whose port may be the default one.
fn is_of_host(origin: &[u8], host: &[u8]) -> bool {
    let host = host.strip_suffix(b":443").unwrap_or(host);
    origin
        .strip_prefix(b"https://")
        .is_some_and(|origin| origin.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_hosts_whole_or_not_at_all() {
        for (origin, host, same) in [
            ("https://api.osir.com", "api.osir.com", true),
            ("https://api.osir.com", "API.osir.com:443", true),
            ("https://api.osir.com:8443", "api.osir.com:8443", true),
            ("https://[::1]", "[::1]:443", true),
            ("https://api.osir.com", "api.osir.com:8443", false),
            ("https://api.osir.com:8443", "api.osir.com", false),
            ("http://api.osir.com", "api.osir.com", false),
            ("https://api.osir.com.evil.example", "api.osir.com", false),
            ("https://evil-api.osir.com", "api.osir.com", false),
            ("https://api.osir.com/", "api.osir.com", false),
            ("null", "null", false),
            ("", "", false),
        ] {
            let found = is_of_host(origin.as_bytes(), host.as_bytes());
            assert_eq!(found, same, "{origin} on {host}");
        }
    }
}
