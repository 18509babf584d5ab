//! MACs under keys that follow from the peppers: a text that we have made, and nobody else could.
//!
//! Nothing is stored for one: it is made again and compared. It is made under the current pepper and
//! known under each, so that instances on either side of a change take what the other has made. Not
//! here: what a MAC is of and what it opens. Invariants: each [`Purpose`] has keys of its own; the
//! comparison takes the same time wherever the texts differ.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{Pepper, Peppers, Purpose};

/// Makes and checks the MACs of one purpose.
#[derive(Clone)]
pub struct MacKeys {
    current: hmac::Key,
    others: Vec<hmac::Key>,
}

/// HMAC-SHA-256 (RFC 2104): 256 bits that nobody without the pepper can tell from random ones.
pub struct Mac(Zeroizing<[u8; 32]>);

impl MacKeys {
    /// Derives them.
    pub fn new(peppers: &Peppers, purpose: Purpose) -> MacKeys {
        let key = |pepper: &Pepper| {
            let derived = pepper.derive(purpose);
            hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref())
        };
        MacKeys {
            current: key(peppers.current()),
            others: peppers.others().map(key).collect(),
        }
    }

    /// Makes one, of a message that is these parts one after the other: which of two parts a byte
    /// is in makes no difference.
    pub fn make(&self, message: &[&[u8]]) -> Mac {
        Mac::new(&self.current, message)
    }

    /// What may have been made of this message: under each pepper, the current one first.
    pub fn all(&self, message: &[&[u8]]) -> impl Iterator<Item = Mac> {
        let keys = std::iter::once(&self.current).chain(&self.others);
        keys.map(move |key| Mac::new(key, message))
    }

    /// Whether this is the [`Mac::to_text`] of one of this message.
    pub fn is_text_of(&self, message: &[&[u8]], shown: &[u8]) -> bool {
        self.all(message)
            .any(|mac| mac.to_text().as_bytes().ct_eq(shown).into())
    }
}

impl Mac {
    fn new(key: &hmac::Key, message: &[&[u8]]) -> Mac {
        let mut context = hmac::Context::with_key(key);
        for part in message {
            context.update(part);
        }
        let mut bytes = Zeroizing::new([0; 32]);
        bytes.copy_from_slice(context.sign().as_ref());
        Mac(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 43 characters of unpadded base64url.
    pub fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.as_slice())
    }
}

/// Shows nothing of the keys.
impl fmt::Debug for MacKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MacKeys").finish_non_exhaustive()
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mac(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(peppers: &Peppers) -> MacKeys {
        MacKeys::new(peppers, Purpose::Forms)
    }

    #[test]
    fn one_is_of_one_message_and_one_purpose() {
        let one = Peppers::from(Pepper::of_test(b'a'));
        let mac = keys(&one).make(&[b"mess", b"age"]);
        let text = mac.to_text();
        assert_eq!(text.len(), 43);
        assert!(keys(&one).is_text_of(&[b"message"], text.as_bytes()));
        assert!(!keys(&one).is_text_of(&[b"massage"], text.as_bytes()));
        for wrong in ["", &text[1..], &text[..42], "x", &text.to_lowercase()] {
            assert!(!keys(&one).is_text_of(&[b"message"], wrong.as_bytes()));
        }
        let others = MacKeys::new(&one, Purpose::Answers);
        assert!(!others.is_text_of(&[b"message"], text.as_bytes()));
        // Nor is it what a store keeps of a secret.
        let digest = one.current().digest("message");
        assert_ne!(mac.as_bytes(), digest.as_bytes());
        let shown = format!("{mac:?} {others:?}");
        assert_eq!(shown, "Mac(redacted) MacKeys { .. }");
    }

    #[test]
    fn one_is_made_under_the_current_pepper_and_known_under_each() {
        let old = || Pepper::of_test(b'a');
        let new = || Peppers::from(Pepper::of_test(b'b'));
        let made = keys(&old().into()).make(&[b"message"]).to_text();
        for (changed, made_here) in [
            (new().with_previous(old()), false),
            (new().with_next(old()), false),
            (Ok(old().into()), true),
        ] {
            let changed = keys(&changed.expect("two peppers"));
            assert!(changed.is_text_of(&[b"message"], made.as_bytes()));
            assert_eq!(changed.make(&[b"message"]).to_text() == made, made_here);
        }
        assert!(!keys(&new()).is_text_of(&[b"message"], made.as_bytes()));
    }
}
