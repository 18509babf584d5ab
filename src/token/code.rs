//! Authorization codes (RFC 6749 §4.1.2).
//!
//! ```text
//! osir_ac_ base62( grant 16 ‖ secret 32 )           65 digits
//! ```
//!
//! The grant in front says where to look; the digest of the whole text says whether it is the one
//! that was given out. Invariant: a grant and a secret have exactly one text.

use zeroize::Zeroizing;

use crate::id::GrantId;
use crate::secret::{Secret, random_bytes};

use super::OpaqueFormat;
use super::base62::{push_base62, read_base62};
use super::opaque::AUTHORIZATION_CODE;

const GRANT: usize = 16;
const BYTES: usize = GRANT + 32;
/// 62^65 > 2^384.
const DIGITS: usize = 65;

impl OpaqueFormat {
    /// Makes the code of a grant, with 256 random bits.
    pub fn mint_code(&self, grant: &GrantId) -> Secret {
        self.mint_code_from(grant, &Zeroizing::new(random_bytes()))
    }

    /// Makes the code of a grant with these 256 bits, the same each time: see
    /// [`OpaqueFormat::mint_from`].
    pub fn mint_code_from(&self, grant: &GrantId, bits: &[u8; 32]) -> Secret {
        let mut bytes = Zeroizing::new([0; BYTES]);
        let (front, back) = bytes.split_at_mut(GRANT);
        front.copy_from_slice(grant.as_bytes());
        back.copy_from_slice(bits);
        let mut text = Zeroizing::new(format!("{self}{AUTHORIZATION_CODE}"));
        push_base62(&mut text, bytes.as_ref(), DIGITS);
        Secret::new(std::mem::take(&mut *text))
    }

    /// The grant that a code belongs to; `None` for what is no code of ours.
    pub fn grant_of_code(&self, code: &str) -> Option<GrantId> {
        let digits = self.after(code, AUTHORIZATION_CODE)?;
        let bytes = read_base62::<BYTES>(digits, DIGITS)?;
        let (grant, _) = bytes.split_first_chunk::<GRANT>()?;
        Some(GrantId::from_bytes(*grant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format() -> OpaqueFormat {
        OpaqueFormat::new("osir")
    }

    #[test]
    fn a_code_is_its_grant_and_its_secret_in_base62() {
        let grant = GrantId::from_bytes([1; 16]);
        let code = format().mint_code_from(&grant, &[2; 32]);
        assert_eq!(
            code.expose(),
            "osir_ac_01qzvU8FL3OT5laAnLx9Pz3uCyO5EBao5wabWMVNHY8w9NRmM5QYJ3YD8C4sR9vlK"
        );
        assert_eq!(format().grant_of_code(code.expose()), Some(grant));
    }

    #[test]
    fn codes_of_one_grant_differ() {
        let grant = GrantId::random();
        let (one, other) = (format().mint_code(&grant), format().mint_code(&grant));
        assert!(!one.matches(&other));
        assert_eq!(format().grant_of_code(one.expose()), Some(grant));
    }

    #[test]
    fn what_is_damaged_is_no_code() {
        let code = format().mint_code(&GrantId::random());
        let text = code.expose();
        for damaged in [
            String::new(),
            "osir_ac_".into(),
            text[..text.len() - 1].into(),
            format!("{text}0"),
            format!(" {text}"),
            text.replace("osir", "osix"),
            text.replace("_ac_", "_rt_"),
            format!("osir_ac_{}", "z".repeat(DIGITS)),
            format!("osir_ac_{}-", "0".repeat(DIGITS - 1)),
        ] {
            assert_eq!(format().grant_of_code(&damaged), None, "{damaged}");
        }
    }
}
