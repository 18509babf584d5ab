//! The gateway's own opaque credentials, and telling every kind of credential by its shape.
//!
//! ```text
//! osir_live_ 0aB…(43 base62: 256 random bits) 0xY…(6 base62: CRC-32 of all bytes before)
//! ```
//!
//! The checksum stops typing errors and scanners' garbage without a hash, a cache or a store; it
//! is no protection against anyone who reads this. Invariant: the shape alone decides the kind,
//! so a prefixed text is never tried as a JWT.

use std::fmt;

use zeroize::Zeroizing;

use crate::environment::Environment;
use crate::secret::{Secret, random_bytes};

use super::base62::{ALPHABET, push_base62};

/// 62^43 > 2^256.
const BODY: usize = 43;
/// 62^6 > 2^32.
const CHECKSUM: usize = 6;
/// How much of the body is shown to recognise a credential by.
const HINT: usize = 4;

/// Kinds that no request to the API may carry.
pub(super) const AUTHORIZATION_CODE: &str = "_ac_";
pub(super) const CLIENT_SECRET: &str = "_cs_";
pub(super) const REFRESH_TOKEN: &str = "_rt_";

/// The kinds of opaque credential that are sent with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpaqueKind {
    /// `<prefix>_live_` and `<prefix>_test_`.
    ApiKey(Environment),
    /// `<prefix>_csess_`: a session that only a cookie carries.
    CookieSession,
    /// `<prefix>_sess_`.
    Session,
}

impl OpaqueKind {
    const ALL: [OpaqueKind; 4] = [
        OpaqueKind::ApiKey(Environment::Live),
        OpaqueKind::ApiKey(Environment::Test),
        OpaqueKind::Session,
        OpaqueKind::CookieSession,
    ];

    const fn infix(self) -> &'static str {
        match self {
            OpaqueKind::ApiKey(Environment::Live) => "_live_",
            OpaqueKind::ApiKey(Environment::Test) => "_test_",
            OpaqueKind::CookieSession => "_csess_",
            OpaqueKind::Session => "_sess_",
        }
    }
}

/// What a credential looks like. Decided once; nothing is tried as a second kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Our prefix, but a kind that no request may carry (refresh token, code, client secret) or
    /// that does not exist.
    Foreign,
    /// Three parts between two dots.
    Jwt,
    /// Anything else.
    Opaque,
    /// One of our own kinds with a right length, alphabet and checksum.
    Own(OpaqueKind),
    /// One of our own kinds, damaged.
    OwnDamaged(OpaqueKind),
}

/// The prefix that tells our credentials from others'.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpaqueFormat {
    prefix: String,
}

/// A new credential: the text to show once, and the hint to keep.
#[derive(Clone, Debug)]
pub struct MintedSecret {
    /// The whole credential.
    pub secret: Secret,
    /// Prefix, `…` and the last 4 characters of the body.
    pub hint: String,
}

impl OpaqueFormat {
    /// For credentials that begin with `prefix` and an underscore.
    pub fn new(prefix: impl Into<String>) -> OpaqueFormat {
        OpaqueFormat {
            prefix: prefix.into(),
        }
    }

    /// Makes a credential of 256 random bits.
    pub fn mint(&self, kind: OpaqueKind) -> MintedSecret {
        self.mint_from(kind, &Zeroizing::new(random_bytes()))
    }

    /// Makes the credential of these 256 bits, the same each time. They must be as good as random
    /// to everyone else: a key that only we have, or a MAC under one.
    pub fn mint_from(&self, kind: OpaqueKind, bits: &[u8; 32]) -> MintedSecret {
        self.mint_with(kind.infix(), bits)
    }

    /// Makes a client secret of 256 random bits.
    pub fn mint_client_secret(&self) -> MintedSecret {
        self.mint_client_secret_from(&Zeroizing::new(random_bytes()))
    }

    /// Makes the client secret of these 256 bits: see [`OpaqueFormat::mint_from`].
    pub fn mint_client_secret_from(&self, bits: &[u8; 32]) -> MintedSecret {
        self.mint_with(CLIENT_SECRET, bits)
    }

    /// Whether a text is a whole client secret of ours: what is not need not be looked up.
    pub fn is_client_secret(&self, text: &str) -> bool {
        self.after(text, CLIENT_SECRET)
            .is_some_and(|rest| is_sound(text, rest))
    }

    fn mint_with(&self, infix: &'static str, bits: &[u8; 32]) -> MintedSecret {
        let mut text = Zeroizing::new(format!("{}{infix}", self.prefix));
        push_base62(&mut text, bits, BODY);
        let checksum = checksum_digits(&text);
        text.extend(checksum.map(char::from));
        MintedSecret {
            hint: self.hint(&text),
            secret: Secret::new(std::mem::take(&mut *text)),
        }
    }

    /// Enough of a credential to recognise it by. Of one that is not ours, the last 4 characters
    /// only if it is long enough to lose them (20 characters).
    pub fn hint(&self, credential: &str) -> String {
        let infixes = OpaqueKind::ALL.map(OpaqueKind::infix);
        for infix in infixes.into_iter().chain([CLIENT_SECRET]) {
            if let Some(rest) = self.after(credential, infix)
                && let Some(tail) = rest.get(BODY - HINT..BODY)
            {
                return format!("{}{infix}…{tail}", self.prefix);
            }
        }
        match credential
            .len()
            .checked_sub(HINT)
            .and_then(|at| credential.get(at..))
        {
            Some(tail) if credential.len() >= 20 => format!("…{tail}"),
            _ => "…".into(),
        }
    }

    /// Tells a credential's kind.
    pub fn shape(&self, credential: &str) -> Shape {
        for kind in OpaqueKind::ALL {
            if let Some(rest) = self.after(credential, kind.infix()) {
                return if is_sound(credential, rest) {
                    Shape::Own(kind)
                } else {
                    Shape::OwnDamaged(kind)
                };
            }
        }
        let after = credential.strip_prefix(self.prefix.as_str());
        if after.is_some_and(|rest| rest.starts_with('_')) {
            return Shape::Foreign;
        }
        match credential.bytes().filter(|byte| *byte == b'.').count() {
            2 => Shape::Jwt,
            _ => Shape::Opaque,
        }
    }

    /// Whether one of our own credentials, of any kind and in any state, is somewhere in a text.
    pub fn is_within(&self, text: &str) -> bool {
        const INFIXES: [&str; 7] = [
            "_live_",
            "_test_",
            "_sess_",
            "_csess_",
            REFRESH_TOKEN,
            AUTHORIZATION_CODE,
            CLIENT_SECRET,
        ];
        text.match_indices(self.prefix.as_str())
            .any(|(at, prefix)| {
                let rest = text.get(at + prefix.len()..).unwrap_or_default();
                INFIXES.iter().any(|infix| rest.starts_with(infix))
            })
    }

    /// What follows the prefix and this infix.
    pub(super) fn after<'a>(&self, credential: &'a str, infix: &str) -> Option<&'a str> {
        credential
            .strip_prefix(self.prefix.as_str())?
            .strip_prefix(infix)
    }
}

fn is_sound(credential: &str, rest: &str) -> bool {
    if rest.len() != BODY + CHECKSUM || !rest.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return false;
    }
    let (covered, checksum) = credential.split_at(credential.len() - CHECKSUM);
    checksum_digits(covered) == *checksum.as_bytes()
}

/// The CRC-32 of a text as base62 digits. On every request's way, so without an allocation.
fn checksum_digits(covered: &str) -> [u8; CHECKSUM] {
    let mut checksum = crc32fast::hash(covered.as_bytes());
    let mut digits = [ALPHABET[0]; CHECKSUM];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(checksum % 62) as usize];
        checksum /= 62;
    }
    digits
}

impl fmt::Display for OpaqueFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVE: OpaqueKind = OpaqueKind::ApiKey(Environment::Live);

    fn format() -> OpaqueFormat {
        OpaqueFormat::new("osir")
    }

    #[test]
    fn a_minted_key_has_the_documented_form() {
        let minted = format().mint(LIVE);
        let text = minted.secret.expose();
        assert_eq!(text.len(), "osir_live_".len() + 43 + 6);
        assert_eq!(format().shape(text), Shape::Own(LIVE));
        assert_eq!(minted.hint, format!("osir_live_…{}", &text[49..53]));
    }

    #[test]
    fn the_checksum_is_crc_32_ieee_of_everything_before_it() {
        // Made with Python: zlib.crc32(b"osir_live_" + b"0"*43) in base62.
        let body = format!("osir_live_{}", "0".repeat(43));
        let whole = format!(
            "{body}{}",
            include_str!("../../tests/data/checksum-of-zeros.txt").trim()
        );
        assert_eq!(format().shape(&whole), Shape::Own(LIVE));
    }

    #[test]
    fn every_single_character_flip_is_noticed() {
        let minted = format().mint(LIVE);
        let text = minted.secret.expose();
        for position in "osir_live_".len()..text.len() {
            let mut flipped = text.as_bytes().to_vec();
            flipped[position] = if flipped[position] == b'a' {
                b'b'
            } else {
                b'a'
            };
            let flipped = String::from_utf8(flipped).expect("ASCII");
            assert_eq!(
                format().shape(&flipped),
                Shape::OwnDamaged(LIVE),
                "at {position}"
            );
        }
    }

    #[test]
    fn swapping_live_for_test_is_noticed() {
        let minted = format().mint(LIVE);
        let swapped = minted.secret.expose().replace("_live_", "_test_");
        let test = OpaqueKind::ApiKey(Environment::Test);
        assert_eq!(format().shape(&swapped), Shape::OwnDamaged(test));
    }

    #[test]
    fn a_session_of_a_cookie_is_told_from_one_of_a_header() {
        let minted = format().mint(OpaqueKind::CookieSession);
        let text = minted.secret.expose();
        assert_eq!(format().shape(text), Shape::Own(OpaqueKind::CookieSession));
        assert_eq!(minted.hint, format!("osir_csess_…{}", &text[50..54]));
        let swapped = text.replace("_csess_", "_sess_");
        assert_eq!(
            format().shape(&swapped),
            Shape::OwnDamaged(OpaqueKind::Session)
        );
        assert!(format().is_within(&format!("/x/{text}")));
    }

    #[test]
    fn a_prefixed_text_is_never_a_jwt() {
        assert_eq!(format().shape("osir_live_a.b.c"), Shape::OwnDamaged(LIVE));
        assert_eq!(format().shape("osir_rt_a.b.c"), Shape::Foreign);
        assert_eq!(format().shape("a.b.c"), Shape::Jwt);
        assert_eq!(format().shape("osirx.b.c"), Shape::Jwt);
        assert_eq!(format().shape("a.b.c.d"), Shape::Opaque);
        assert_eq!(format().shape(""), Shape::Opaque);
    }

    #[test]
    fn a_client_secret_has_the_form_of_a_key_and_is_no_credential_of_a_request() {
        let minted = format().mint_client_secret();
        let text = minted.secret.expose();
        assert_eq!(text.len(), "osir_cs_".len() + 43 + 6);
        assert!(format().is_client_secret(text));
        assert_eq!(format().shape(text), Shape::Foreign);
        assert_eq!(minted.hint, format!("osir_cs_…{}", &text[47..51]));
        for damaged in [
            "",
            "osir_cs_",
            &text[1..],
            &text[..text.len() - 1],
            &text.replace("_cs_", "_sess_"),
            &format!("{text}0"),
        ] {
            assert!(!format().is_client_secret(damaged), "{damaged}");
        }
    }

    #[test]
    fn the_same_bits_make_the_same_credential_and_each_kind_another() {
        let key = format().mint_from(LIVE, &[7; 32]);
        let again = format().mint_from(LIVE, &[7; 32]);
        assert_eq!(key.secret.expose(), again.secret.expose());
        let secret = format().mint_client_secret_from(&[7; 32]);
        assert_ne!(key.secret.expose(), secret.secret.expose());
        assert_ne!(key.secret.expose(), format().mint(LIVE).secret.expose());
    }
}
