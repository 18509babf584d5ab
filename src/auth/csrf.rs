//! The token that a page shows besides its session cookie, so that no other site's request passes
//! for the page's (CSRF).
//!
//! ```text
//! HMAC-SHA-256(key for this purpose, session token), base64url: 43 characters
//! ```
//!
//! Nothing is stored for it: it follows from the session's own token, which only the cookie has, and
//! a key that only the gateway has. Not here: which requests need one ([`crate::gateway`]).
//! Invariants: derived here and nowhere else; compared in constant time; it is no credential.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;

use crate::secret::{Pepper, Peppers, Purpose};

/// Makes and checks CSRF tokens.
pub struct CsrfKeys {
    current: hmac::Key,
    /// Of the peppers beside it: pages that are open while it changes go on working.
    others: Vec<hmac::Key>,
}

impl CsrfKeys {
    pub(super) fn new(peppers: &Peppers) -> CsrfKeys {
        let key = |pepper: &Pepper| {
            let derived = pepper.derive(Purpose::CsrfTokens);
            hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref())
        };
        CsrfKeys {
            current: key(peppers.current()),
            others: peppers.others().map(key).collect(),
        }
    }

    /// The token of a session, by the session's own token.
    pub fn token(&self, session: &str) -> String {
        token(&self.current, session)
    }

    /// Whether this is the token of that session.
    pub fn fits(&self, session: &str, shown: &[u8]) -> bool {
        std::iter::once(&self.current)
            .chain(&self.others)
            .any(|key| token(key, session).as_bytes().ct_eq(shown).into())
    }
}

/// Shows nothing of the keys.
impl fmt::Debug for CsrfKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CsrfKeys").finish_non_exhaustive()
    }
}

fn token(key: &hmac::Key, session: &str) -> String {
    URL_SAFE_NO_PAD.encode(hmac::sign(key, session.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pepper(first: u8) -> Pepper {
        let mut bytes = *b"0123456789abcdefghijklmnopqrstuvwxyz";
        bytes[0] = first;
        Pepper::new(&bytes).expect("strong")
    }

    #[test]
    fn a_token_is_of_one_session_under_one_pepper_or_the_one_before() {
        let keys = CsrfKeys::new(&pepper(b'a').into());
        let token = keys.token("osir_csess_1");
        assert_eq!(token.len(), 43);
        assert!(keys.fits("osir_csess_1", token.as_bytes()));
        assert!(!keys.fits("osir_csess_2", token.as_bytes()));
        for wrong in ["", &token[1..], &token[..42], "x", &token.to_lowercase()] {
            assert!(!keys.fits("osir_csess_1", wrong.as_bytes()), "{wrong}");
        }
        let new = || Peppers::from(pepper(b'b'));
        for (changed, made_here) in [
            (new().with_previous(pepper(b'a')), false),
            (new().with_next(pepper(b'a')), false),
            (Ok(pepper(b'a').into()), true),
        ] {
            let changed = CsrfKeys::new(&changed.expect("two peppers"));
            assert!(changed.fits("osir_csess_1", token.as_bytes()));
            assert_eq!(changed.token("osir_csess_1") == token, made_here);
        }
        let after = CsrfKeys::new(&pepper(b'b').into());
        assert!(!after.fits("osir_csess_1", token.as_bytes()));
    }

    #[test]
    fn it_is_not_what_the_store_keeps_of_the_session() {
        let keys = CsrfKeys::new(&pepper(b'a').into());
        let digest = pepper(b'a').digest("osir_csess_1").to_text();
        assert_ne!(keys.token("osir_csess_1"), digest);
    }
}
