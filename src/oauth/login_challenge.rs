//! What goes to the operator's login page, and what comes back from it.
//!
//! ```text
//! int_0123456789abcdefghijkl . 256 random bits, base64url     the challenge, to the page
//! HMAC(pepper, interaction), base64url                        the verifier, back with the browser
//! ```
//!
//! Whoever began the interaction knows the challenge; it opens nothing without the admin API. The
//! verifier is known to nobody before the challenge is answered, and then to the browser that the
//! page answered: so someone who has another log in for an interaction of their own cannot go on
//! with it, and the other cannot either, without the cookie. Invariants: the store has the
//! challenge's digest only; the verifier is not kept at all.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::id::InteractionId;
use crate::secret::{Digest, Pepper, Peppers, Purpose, random_bytes};

/// Names one interaction to the operator's login page.
#[derive(Clone)]
pub struct LoginChallenge {
    text: Zeroizing<String>,
    interaction: InteractionId,
}

/// A text that is no challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a login challenge")]
pub struct InvalidLoginChallenge;

impl LoginChallenge {
    /// A new one.
    pub fn of(interaction: &InteractionId) -> LoginChallenge {
        let bits = URL_SAFE_NO_PAD.encode(random_bytes::<32>());
        LoginChallenge {
            text: Zeroizing::new(format!("{interaction}.{bits}")),
            interaction: interaction.clone(),
        }
    }

    /// Reads what [`LoginChallenge::expose`] gave.
    pub fn parse(text: &str) -> Result<LoginChallenge, InvalidLoginChallenge> {
        let (interaction, bits) = text.split_once('.').ok_or(InvalidLoginChallenge)?;
        let bits = URL_SAFE_NO_PAD.decode(bits);
        if bits.map_err(|_| InvalidLoginChallenge)?.len() != 32 {
            return Err(InvalidLoginChallenge);
        }
        let interaction = InteractionId::parse(interaction).map_err(|_| InvalidLoginChallenge)?;
        Ok(LoginChallenge {
            text: Zeroizing::new(text.to_owned()),
            interaction,
        })
    }

    /// The text, for the page.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// What the store keeps of it.
    pub fn digest(&self) -> Digest {
        Digest::of_random(self.text.as_bytes())
    }

    /// Which interaction it is for.
    pub fn interaction(&self) -> &InteractionId {
        &self.interaction
    }
}

impl fmt::Debug for LoginChallenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LoginChallenge({})", self.interaction)
    }
}

/// What a browser has to bring back. The same each time, so that an answer can be given again.
pub(super) fn verifier(pepper: &Pepper, id: &InteractionId) -> String {
    let key = pepper.derive(Purpose::LoginVerifiers);
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_ref());
    URL_SAFE_NO_PAD.encode(hmac::sign(&key, id.as_str().as_bytes()))
}

/// Whether a browser has brought it back, also one that another instance gave while the pepper
/// changes.
pub(super) fn is_verified(peppers: &Peppers, id: &InteractionId, sent: Option<&str>) -> bool {
    let is = |sent: &str, pepper| {
        sent.as_bytes()
            .ct_eq(verifier(pepper, id).as_bytes())
            .into()
    };
    sent.is_some_and(|sent| peppers.all().any(|pepper| is(sent, pepper)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> InteractionId {
        InteractionId::parse(text).expect("an id")
    }

    #[test]
    fn a_challenge_is_read_back_and_anything_else_is_none() {
        let challenge = LoginChallenge::of(&id("int_1"));
        let read = LoginChallenge::parse(challenge.expose()).expect("a challenge");
        assert_eq!(read.interaction(), &id("int_1"));
        assert_eq!(read.digest(), challenge.digest());
        assert_ne!(
            LoginChallenge::of(&id("int_1")).digest(),
            challenge.digest()
        );
        assert_eq!(format!("{challenge:?}"), "LoginChallenge(int_1)");
        let bits = "A".repeat(43);
        for text in [
            String::new(),
            ".".into(),
            "int_1".into(),
            format!("int_1.{bits}A"),
            format!("int_1.{bits}="),
            format!("int_1.{bits}.{bits}"),
            format!("int 1.{bits}"),
            format!(".{bits}"),
        ] {
            assert!(LoginChallenge::parse(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_verifier_is_for_one_interaction_under_one_pepper() {
        let pepper = |text: &[u8]| Pepper::new(text).expect("strong");
        let one = pepper(b"0123456789abcdefghijklmnopqrstuvwxyz");
        let other = pepper(b"zyxwvutsrqponmlkjihgfedcba9876543210");
        let sent = verifier(&one, &id("int_1"));
        let (one, other) = (Peppers::from(one), Peppers::from(other));
        assert!(is_verified(&one, &id("int_1"), Some(&sent)));
        assert!(!is_verified(&one, &id("int_2"), Some(&sent)));
        assert!(!is_verified(&other, &id("int_1"), Some(&sent)));
        assert!(!is_verified(&one, &id("int_1"), Some("")));
        assert!(!is_verified(&one, &id("int_1"), None));
        for changing in [
            other.clone().with_previous(one.current().clone()),
            other.with_next(one.current().clone()),
        ] {
            let changing = changing.expect("two peppers");
            assert!(is_verified(&changing, &id("int_1"), Some(&sent)));
        }
    }
}
