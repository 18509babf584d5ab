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

/// Base62 digits, in ASCII order; most significant digit first.
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 62^43 > 2^256.
const BODY: usize = 43;
/// 62^6 > 2^32.
const CHECKSUM: usize = 6;
/// How much of the body is shown to recognise a credential by.
const HINT: usize = 4;

/// The kinds of opaque credential that are sent with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpaqueKind {
    /// `<prefix>_live_` and `<prefix>_test_`.
    ApiKey(Environment),
    /// `<prefix>_sess_`.
    Session,
}

impl OpaqueKind {
    const ALL: [OpaqueKind; 3] = [
        OpaqueKind::ApiKey(Environment::Live),
        OpaqueKind::ApiKey(Environment::Test),
        OpaqueKind::Session,
    ];

    const fn infix(self) -> &'static str {
        match self {
            OpaqueKind::ApiKey(Environment::Live) => "_live_",
            OpaqueKind::ApiKey(Environment::Test) => "_test_",
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
        let random = Zeroizing::new(random_bytes::<32>());
        let mut text = Zeroizing::new(format!("{}{}", self.prefix, kind.infix()));
        push_base62(&mut text, random.as_ref(), BODY);
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
        for kind in OpaqueKind::ALL {
            if let Some(rest) = self.after_prefix(credential, kind)
                && let Some(tail) = rest.get(BODY - HINT..BODY)
            {
                return format!("{}{}…{tail}", self.prefix, kind.infix());
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
            if let Some(rest) = self.after_prefix(credential, kind) {
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
        const INFIXES: [&str; 6] = ["_live_", "_test_", "_sess_", "_rt_", "_ac_", "_cs_"];
        text.match_indices(self.prefix.as_str())
            .any(|(at, prefix)| {
                let rest = text.get(at + prefix.len()..).unwrap_or_default();
                INFIXES.iter().any(|infix| rest.starts_with(infix))
            })
    }

    fn after_prefix<'a>(&self, credential: &'a str, kind: OpaqueKind) -> Option<&'a str> {
        credential
            .strip_prefix(self.prefix.as_str())?
            .strip_prefix(kind.infix())
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

/// Appends a big-endian number as exactly `width` base62 digits, zero-padded.
fn push_base62(text: &mut String, number: &[u8], width: usize) {
    let mut number = Zeroizing::new(number.to_vec());
    let mut digits = Zeroizing::new(vec![0u8; width]);
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[divide_by_62(&mut number)];
    }
    text.extend(digits.iter().map(|digit| char::from(*digit)));
}

/// Long division of a big-endian number in place; returns the remainder.
fn divide_by_62(number: &mut [u8]) -> usize {
    let mut remainder = 0usize;
    for byte in number {
        let value = remainder << 8 | usize::from(*byte);
        *byte = u8::try_from(value / 62).expect("the remainder is below 62, so this is below 256");
        remainder = value % 62;
    }
    remainder
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
    fn a_prefixed_text_is_never_a_jwt() {
        assert_eq!(format().shape("osir_live_a.b.c"), Shape::OwnDamaged(LIVE));
        assert_eq!(format().shape("osir_rt_a.b.c"), Shape::Foreign);
        assert_eq!(format().shape("a.b.c"), Shape::Jwt);
        assert_eq!(format().shape("osirx.b.c"), Shape::Jwt);
        assert_eq!(format().shape("a.b.c.d"), Shape::Opaque);
        assert_eq!(format().shape(""), Shape::Opaque);
    }

    #[test]
    fn numbers_are_zero_padded_and_most_significant_digit_first() {
        let mut text = String::new();
        push_base62(&mut text, &62u32.to_be_bytes(), 6);
        assert_eq!(text, "000010");
    }
}
