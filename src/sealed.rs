//! Private keys at rest: AES-256-GCM under a key derived from the pepper.
//!
//! ```text
//! nonce(12, random) ‖ ciphertext ‖ tag(16)          additional data: what the bytes are
//! ```
//!
//! A store's dump opens nothing without the pepper, and what is sealed as one thing does not open
//! as another. Not here: where sealed bytes are kept, and which peppers there are.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::secret::{Pepper, Purpose, random_bytes};

/// Sealed bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

/// What was sealed cannot be opened: altered, sealed as something else, or under another pepper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what is sealed does not open under this pepper")]
pub struct Unopened;

impl Sealed {
    /// Seals `bytes` as the thing that `name` says.
    pub fn seal(pepper: &Pepper, name: &str, bytes: &[u8]) -> Sealed {
        // Random nonces are safe for 2^32 messages under one key (NIST SP 800-38D §8.3); these
        // are a few signing keys a year.
        let nonce = random_bytes::<NONCE_LEN>();
        let mut sealed = Zeroizing::new(bytes.to_vec());
        let tag = key(pepper)
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(name.as_bytes()),
                &mut sealed,
            )
            .expect("AES-GCM seals anything shorter than 64 GiB");
        Sealed([nonce.as_slice(), &sealed, tag.as_ref()].concat())
    }

    /// What was sealed, if it was under this pepper and name.
    pub fn open(&self, pepper: &Pepper, name: &str) -> Result<Zeroizing<Vec<u8>>, Unopened> {
        let (nonce, sealed) = self.0.split_first_chunk::<NONCE_LEN>().ok_or(Unopened)?;
        let mut opened = Zeroizing::new(sealed.to_vec());
        let length = key(pepper)
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(name.as_bytes()),
                &mut opened,
            )
            .map_err(|_| Unopened)?
            .len();
        opened.truncate(length);
        Ok(opened)
    }
}

fn key(pepper: &Pepper) -> LessSafeKey {
    let key = pepper.derive(Purpose::Sealing);
    let key = UnboundKey::new(&AES_256_GCM, key.as_ref());
    LessSafeKey::new(key.expect("an AES-256 key has 32 bytes"))
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed(redacted)")
    }
}

/// As base64url.
impl serde::Serialize for Sealed {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(&self.0))
    }
}

impl<'de> serde::Deserialize<'de> for Sealed {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Sealed, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        let bytes = URL_SAFE_NO_PAD.decode(text.as_bytes());
        bytes.map(Sealed).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_under_the_same_pepper_and_name_only() {
        let sealed = Sealed::seal(&Pepper::of_test(b'a'), "key 1", b"private");
        let opened = sealed
            .open(&Pepper::of_test(b'a'), "key 1")
            .expect("it opens");
        assert_eq!(*opened, b"private");
        assert_eq!(sealed.open(&Pepper::of_test(b'b'), "key 1"), Err(Unopened));
        assert_eq!(sealed.open(&Pepper::of_test(b'a'), "key 2"), Err(Unopened));
    }

    #[test]
    fn every_bit_matters() {
        let sealed = Sealed::seal(&Pepper::of_test(b'a'), "key 1", b"private");
        for at in 0..sealed.0.len() {
            let mut altered = sealed.clone();
            altered.0[at] ^= 1;
            assert_eq!(
                altered.open(&Pepper::of_test(b'a'), "key 1"),
                Err(Unopened),
                "{at}"
            );
        }
        for length in 0..sealed.0.len() {
            let cut = Sealed(sealed.0[..length].to_vec());
            assert_eq!(
                cut.open(&Pepper::of_test(b'a'), "key 1"),
                Err(Unopened),
                "{length}"
            );
        }
    }

    #[test]
    fn the_same_bytes_are_never_sealed_to_the_same_and_show_nothing() {
        let (one, other) = (
            Sealed::seal(&Pepper::of_test(b'a'), "key 1", b"private"),
            Sealed::seal(&Pepper::of_test(b'a'), "key 1", b"private"),
        );
        assert_ne!(one, other);
        let text = serde_json::to_string(&one).expect("text");
        assert!(!text.contains("private"));
        assert_eq!(
            serde_json::from_str::<Sealed>(&text).expect("own text"),
            one
        );
        assert_eq!(format!("{one:?}"), "Sealed(redacted)");
    }
}
