//! What goes to the operator's login page, and what comes back from it.
//!
//! ```text
//! int_0123456789abcdefghijkl . 256 random bits, base64url     the challenge, to the page
//! MAC of the interaction, base64url                           the verifier, back with the browser
//! ```
//!
//! Whoever began the interaction knows the challenge; it opens nothing without the admin API. The
//! verifier is known to nobody before the challenge is answered, and then to the browser that the
//! page answered: so someone who has another log in for an interaction of their own cannot go on
//! with it, and the other cannot either, without the cookie. Invariants: the store has the
//! challenge's digest only; the verifier is not kept at all.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::id::InteractionId;
use crate::secret::{Digest, MacKeys, Peppers, Purpose, random_bytes};

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
pub(super) fn verifier(peppers: &Peppers, id: &InteractionId) -> String {
    let keys = MacKeys::new(peppers, Purpose::LoginVerifiers);
    keys.make(&[id.as_str().as_bytes()]).to_text()
}

/// Whether a browser has brought it back, also one that another instance gave while the pepper
/// changes.
pub(super) fn is_verified(peppers: &Peppers, id: &InteractionId, sent: Option<&str>) -> bool {
    let keys = MacKeys::new(peppers, Purpose::LoginVerifiers);
    sent.is_some_and(|sent| keys.is_text_of(&[id.as_str().as_bytes()], sent.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Pepper;

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
        let one = Peppers::from(Pepper::of_test(b'a'));
        let other = Peppers::from(Pepper::of_test(b'b'));
        let sent = verifier(&one, &id("int_1"));
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
