//! The cookie of a login: what was only the browser's before is renewed when a user logs in.
//!
//! Whoever knows the cookie that a browser began with (they had it planted, or read it on a shared
//! machine) knows nothing of the one that the login gives, so that they cannot go on as the user who
//! logged in. It is of one interaction and one user, and its path is that of the interaction's pages:
//! several tabs keep out of each other's way, and no upstream gets it. Nothing is stored: it follows
//! from the login under a key that only we have. Invariant: an interaction of the builtin pages that
//! somebody has logged in to is opened by nobody without it.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::Response;
use http::header::{HeaderMap, HeaderValue, SET_COOKIE};
use subtle::ConstantTimeEq as _;

use super::endpoint::interaction_path;
use crate::auth::cookie_values;
use crate::secret::{Pepper, Peppers, Purpose};
use crate::store::{InteractionRecord, InteractionState, Login};

/// `__Secure-`, since `__Host-` allows no path: a neighbouring host can plant one of this name, which
/// is none of ours, and ours is taken beside it.
const COOKIE_NAME: &str = "__Secure-pc_login";

/// The login of an interaction that the builtin pages go on with.
fn login_of(record: &InteractionRecord) -> Option<&Login> {
    match &record.state {
        InteractionState::LoggedIn(login) | InteractionState::Allowed { login, .. } => Some(login),
        InteractionState::Open | InteractionState::Denied | InteractionState::Rejected(_) => None,
    }
}

/// Sets the cookie of the login that an interaction has, if it has one.
pub(super) fn add(pepper: &Pepper, record: &InteractionRecord, response: &mut Response<Bytes>) {
    let Some(login) = login_of(record) else {
        return;
    };
    let (value, path) = (value(pepper, record, login), interaction_path(&record.id));
    let life = record.expires_at.since(login.auth_time).as_secs();
    let cookie = format!(
        "{COOKIE_NAME}={value}; Path={path}; Max-Age={life}; Secure; HttpOnly; SameSite=Lax"
    );
    let mut cookie = HeaderValue::try_from(cookie).expect("ids and base64url are visible ASCII");
    cookie.set_sensitive(true);
    response.headers_mut().append(SET_COOKIE, cookie);
}

/// Whether a request has the cookie that its interaction needs, of whichever pepper.
pub(super) fn is_there(peppers: &Peppers, record: &InteractionRecord, headers: &HeaderMap) -> bool {
    let Some(login) = login_of(record) else {
        return true;
    };
    peppers.all().any(|pepper| {
        let expected = value(pepper, record, login);
        cookie_values(headers, COOKIE_NAME).any(|sent| sent.ct_eq(expected.as_bytes()).into())
    })
}

fn value(pepper: &Pepper, record: &InteractionRecord, login: &Login) -> String {
    let key = hmac::Key::new(
        hmac::HMAC_SHA256,
        pepper.derive(Purpose::LoginCookies).as_ref(),
    );
    // Not of its time: the second of two clicks gives the same.
    let tag = hmac::sign(&key, format!("{} {}", record.id, login.subject).as_bytes());
    URL_SAFE_NO_PAD.encode(tag)
}
