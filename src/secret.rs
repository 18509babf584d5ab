//! Secrets and their digests.
//!
//! A raw credential lives as a [`Secret`] from the header to [`Pepper::digest`] and no further:
//! stores, caches, logs and metrics take a [`Digest`]. Not here: where a secret comes from.
//! Invariant: no type here has `Display`, `Debug` shows nothing of the value, and memory is
//! zeroed on drop (buffers inside libraries are out of reach).

use std::fmt;

use aws_lc_rs::{digest, hkdf, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

mod mac;
mod peppers;

pub use mac::{Mac, MacKeys};
pub use peppers::{Digests, LivePeppers, Peppers, SamePepper};

/// A secret text: an API key, a token, a password, a pepper file's content.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes ownership of a secret text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(Zeroizing::new(text.into()))
    }

    /// The raw text. Every call is a place where a secret could leak: keep it short-lived.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `other` is the same secret, in time that depends only on the lengths.
    pub fn matches(&self, other: &Secret) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// What is kept of a secret: HMAC-SHA-256 under the pepper. Finding the secret from it takes
/// both the pepper and 2^256 guesses; planting one in the store takes the pepper.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// From the bytes a store kept.
    pub const fn from_bytes(bytes: [u8; 32]) -> Digest {
        Digest(bytes)
    }

    /// Plain SHA-256, without a pepper: for values of at least 128 random bits that something else
    /// authenticates, so that a pepper may change under them.
    pub fn of_random(bytes: &[u8]) -> Digest {
        let hash = digest::digest(&digest::SHA256, bytes);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(hash.as_ref());
        Digest(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 43 characters of unpadded base64url: the form in store keys.
    pub fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Parses what [`Digest::to_text`] wrote.
    pub fn from_text(text: &str) -> Option<Digest> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(Digest)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(redacted)")
    }
}

/// The HMAC key for secrets at rest. It is kept outside the store, so that a store dump alone
/// neither reveals nor admits anyone.
#[derive(Clone)]
pub struct Pepper {
    digests: hmac::Key,
    derived: hkdf::Prk,
}

/// What a key that is derived from the pepper is for. Each purpose has a key of its own, and none
/// of them tells anything of another or of the pepper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Answers to a repeated question: the secret of a rotation that is asked for twice, the code
    /// of a consent that is sent twice.
    Answers,
    /// What tells under which pepper an export was made.
    Archives,
    /// Sealing the lines of the audit log.
    AuditSeals,
    /// What a page shows besides its session cookie.
    CsrfTokens,
    /// Binding a form to the browser it was shown to.
    Forms,
    /// What a browser has to have once a user has logged in with it.
    LoginCookies,
    /// Binding the operator's answer to a login to the browser that it was given to.
    LoginVerifiers,
    /// The MAC inside refresh tokens.
    RefreshTokens,
    /// Sealing private keys at rest.
    Sealing,
}

impl Purpose {
    const fn label(self) -> &'static [u8] {
        match self {
            Purpose::Answers => b"answers",
            Purpose::Archives => b"archives",
            Purpose::AuditSeals => b"audit seals",
            Purpose::CsrfTokens => b"csrf tokens",
            Purpose::Forms => b"forms",
            Purpose::LoginCookies => b"login cookies",
            Purpose::LoginVerifiers => b"login verifiers",
            Purpose::RefreshTokens => b"refresh tokens",
            Purpose::Sealing => b"sealing",
        }
    }
}

/// Why a pepper is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeakPepper {
    /// Fewer than [`Pepper::MIN_BYTES`] bytes.
    #[error("a pepper needs at least {} bytes", Pepper::MIN_BYTES)]
    Short,
    /// Fewer than 11 distinct bytes: typed by hand or repeated, not random.
    #[error("a pepper needs to be random; this one repeats too few distinct bytes")]
    Repetitive,
}

impl Pepper {
    /// The least length of a pepper, in bytes: the output size of the hash (RFC 2104 §3).
    pub const MIN_BYTES: usize = 32;
    /// More than the ten digits repeated have. Of 64 random hex digits, which are at most 16
    /// distinct bytes, one pepper in 10^9 has fewer; 16 would refuse every fourth of them.
    const MIN_DISTINCT: usize = 11;

    /// Takes the pepper's bytes. Surrounding white space (a trailing line end) is not part of it.
    pub fn new(bytes: &[u8]) -> Result<Pepper, WeakPepper> {
        let bytes = bytes.trim_ascii();
        if bytes.len() < Pepper::MIN_BYTES {
            return Err(WeakPepper::Short);
        }
        let distinct: std::collections::BTreeSet<u8> = bytes.iter().copied().collect();
        if distinct.len() < Pepper::MIN_DISTINCT {
            return Err(WeakPepper::Repetitive);
        }
        Ok(Pepper {
            digests: hmac::Key::new(hmac::HMAC_SHA256, bytes),
            derived: hkdf::Salt::new(hkdf::HKDF_SHA256, b"portcullis").extract(bytes),
        })
    }

    /// Whether two peppers are one.
    pub fn is(&self, other: &Pepper) -> bool {
        self.digest("the same pepper") == other.digest("the same pepper")
    }

    /// The digest under which a store keeps this secret.
    pub fn digest(&self, secret: &str) -> Digest {
        let tag = hmac::sign(&self.digests, secret.as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(tag.as_ref());
        Digest(bytes)
    }

    /// The key for one purpose (HKDF-SHA-256, RFC 5869). Not the HMAC of a label: that would be
    /// the digest of a secret that reads like the label.
    pub fn derive(&self, purpose: Purpose) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        self.derived
            .expand(&[purpose.label()], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(key.as_mut()))
            .expect("HKDF gives up to 255 hash lengths, and this is one");
        key
    }
}

#[cfg(test)]
impl Pepper {
    /// One for tests; another for each last byte.
    pub(crate) fn of_test(last: u8) -> Pepper {
        let mut bytes = *b"0123456789abcdefghijklmnopqrstuvwxyz";
        bytes[35] = last;
        Pepper::new(&bytes).expect("strong")
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(redacted)")
    }
}

/// Fills an array from the operating system's random source, by way of aws-lc.
///
/// # Panics
/// When the machine has no working random source: nothing safe can be done without one.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system random source works");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shows_a_secret() {
        let pepper = Pepper::new(b"0123456789abcdefghijklmnopqrstuvwxyz").expect("strong");
        let shown = format!(
            "{:?} {:?} {:?}",
            Secret::new("hush"),
            pepper,
            pepper.digest("hush")
        );
        assert_eq!(shown, "Secret(redacted) Pepper(redacted) Digest(redacted)");
    }

    #[test]
    fn digest_is_hmac_sha_256() {
        // RFC 4231 §4.3 has a 4-byte key, which a pepper refuses; this vector was made with
        // `printf 'what do ya want for nothing?' | openssl dgst -sha256 -hmac <pepper>`.
        let pepper = Pepper::new(b"0123456789abcdefghijklmnopqrstuvwxyz\n").expect("strong");
        let digest = pepper.digest("what do ya want for nothing?");
        assert_eq!(Digest::from_text(&digest.to_text()), Some(digest));
        assert_eq!(
            hex(digest.as_bytes()),
            include_str!("../tests/data/hmac-vector.txt").trim()
        );
    }

    #[test]
    fn each_purpose_has_a_key_of_its_own() {
        let pepper = Pepper::new(b"0123456789abcdefghijklmnopqrstuvwxyz").expect("strong");
        let keys = [
            Purpose::Answers,
            Purpose::Forms,
            Purpose::RefreshTokens,
            Purpose::Sealing,
            Purpose::CsrfTokens,
            Purpose::LoginVerifiers,
            Purpose::Archives,
        ]
        .map(|purpose| *pepper.derive(purpose));
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
        // Python: hmac(hmac(b"portcullis", pepper), b"sealing\x01"), RFC 5869 §2.2 and §2.3.
        assert_eq!(
            hex(&keys[3]),
            "63f8811cb682c23d3a77c6002253f5f54e3142f4f7f730c84ea15dc6a5a52e72"
        );
        assert_ne!(pepper.digest("sealing").as_bytes(), &keys[3]);
    }

    #[test]
    fn weak_peppers_are_refused() {
        assert_eq!(Pepper::new(b"short").err(), Some(WeakPepper::Short));
        assert_eq!(Pepper::new(&[b' '; 64]).err(), Some(WeakPepper::Short));
        assert_eq!(Pepper::new(&[b'a'; 64]).err(), Some(WeakPepper::Repetitive));
        let digits = "0123456789".repeat(7);
        assert_eq!(
            Pepper::new(digits.as_bytes()).err(),
            Some(WeakPepper::Repetitive)
        );
    }

    #[test]
    fn random_hex_is_a_good_pepper() {
        for _ in 0..10_000 {
            let pepper = hex(&random_bytes::<32>());
            assert!(Pepper::new(pepper.as_bytes()).is_ok(), "{pepper}");
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
