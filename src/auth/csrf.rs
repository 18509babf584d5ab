//! The token that a page shows besides its session cookie, so that no other site's request passes
//! for the page's (CSRF).
//!
//! ```text
//! HMAC-SHA-256(key for this purpose, session token), base64url: 43 characters
//! ```
//!
//! It follows from the session's own token, which only the cookie has, and a key that only the
//! gateway has. Not here: which requests need one ([`crate::gateway`]). Invariants: made here and
//! nowhere else; it is no credential.

use crate::secret::{MacKeys, Peppers, Purpose};

/// Makes and checks CSRF tokens.
#[derive(Debug)]
pub struct CsrfKeys(MacKeys);

impl CsrfKeys {
    pub(super) fn new(peppers: &Peppers) -> CsrfKeys {
        CsrfKeys(MacKeys::new(peppers, Purpose::CsrfTokens))
    }

    /// The token of a session, by the session's own token.
    pub fn token(&self, session: &str) -> String {
        self.0.make(&[session.as_bytes()]).to_text()
    }

    /// Whether this is the token of that session: also of one that a page got before the pepper
    /// changed.
    pub fn fits(&self, session: &str, shown: &[u8]) -> bool {
        self.0.is_text_of(&[session.as_bytes()], shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Pepper;

    #[test]
    fn a_token_is_of_one_session_also_while_the_pepper_changes() {
        let (old, new) = (Pepper::of_test(b'a'), Pepper::of_test(b'b'));
        let keys = CsrfKeys::new(&old.clone().into());
        let token = keys.token("osir_csess_1");
        assert_eq!(token.len(), 43);
        assert!(keys.fits("osir_csess_1", token.as_bytes()));
        assert!(!keys.fits("osir_csess_2", token.as_bytes()));
        let changing = Peppers::from(new.clone()).with_previous(old);
        let changing = CsrfKeys::new(&changing.expect("two peppers"));
        assert!(changing.fits("osir_csess_1", token.as_bytes()));
        assert!(!CsrfKeys::new(&new.into()).fits("osir_csess_1", token.as_bytes()));
    }
}
