//! An issuer's key set (RFC 7517 §5), reduced to the keys that may verify its tokens.

use std::sync::Arc;

use serde::Deserialize;

use super::algorithm::SignatureAlgorithm;
use super::key::{UnusableKey, VerificationKey};
use super::members::Members;

/// The largest set, in bytes.
pub const MAX_SET_LEN: usize = 512 * 1024;
/// The most keys in a set, usable or not.
pub const MAX_KEYS: usize = 100;

/// At least one key.
#[derive(Clone, Debug)]
pub struct KeySet {
    keys: Vec<Arc<VerificationKey>>,
    unusable: Vec<(usize, UnusableKey)>,
}

/// Why a document is not a key set that could replace another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeySet {
    /// No key in it may verify this issuer's tokens.
    #[error("the key set holds no usable key{}", because(.0))]
    Empty(Option<UnusableKey>),
    /// Beyond [`MAX_SET_LEN`] or [`MAX_KEYS`].
    #[error("the key set has more than {MAX_SET_LEN} bytes or {MAX_KEYS} keys")]
    Large,
    /// Not an object with an array `keys` of objects.
    #[error("not a JSON Web Key Set")]
    Malformed,
}

/// Which key a token asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// None of this id, or without an id none or several that fit.
    Absent,
    /// This one.
    Key(Arc<VerificationKey>),
    /// The key of this id has another algorithm.
    OtherAlgorithm,
}

impl KeySet {
    /// Reads a set and keeps what may verify tokens of an issuer pinned to these algorithms.
    /// Members and keys that are not understood are passed over (RFC 7517 §5).
    pub fn parse(json: &[u8], pinned: &[SignatureAlgorithm]) -> Result<KeySet, InvalidKeySet> {
        if json.len() > MAX_SET_LEN {
            return Err(InvalidKeySet::Large);
        }
        let Document { keys } =
            serde_json::from_slice(json).map_err(|_| InvalidKeySet::Malformed)?;
        if keys.len() > MAX_KEYS {
            return Err(InvalidKeySet::Large);
        }
        let mut set = KeySet {
            keys: Vec::new(),
            unusable: Vec::new(),
        };
        for (position, jwk) in keys.iter().enumerate() {
            match VerificationKey::from_jwk(jwk, pinned) {
                Ok(key) => set.add(key),
                Err(reason) => set.unusable.push((position, reason)),
            }
        }
        if set.keys.is_empty() {
            return Err(InvalidKeySet::Empty(
                set.unusable.first().map(|(_, why)| *why),
            ));
        }
        Ok(set)
    }

    /// Of two keys with one id and algorithm the first counts: a token is never tried with two.
    fn add(&mut self, key: VerificationKey) {
        let same = |known: &Arc<VerificationKey>| {
            known.id().is_some() && known.id() == key.id() && known.algorithm() == key.algorithm()
        };
        if !self.keys.iter().any(same) {
            self.keys.push(Arc::new(key));
        }
    }

    /// The key for a token's `kid` and `alg`. Ids are compared byte for byte and never
    /// interpreted; without one there must be exactly one key that fits.
    pub fn choose(&self, id: Option<&str>, algorithm: SignatureAlgorithm) -> Choice {
        let mut named = self
            .keys
            .iter()
            .filter(|key| id.is_none() || key.id() == id)
            .peekable();
        if id.is_some() && named.peek().is_none() {
            return Choice::Absent;
        }
        let mut fitting = named.filter(|key| key.algorithm() == algorithm);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Choice::Key(Arc::clone(key)),
            (None, _) if id.is_some() => Choice::OtherAlgorithm,
            _ => Choice::Absent,
        }
    }

    /// The keys that were left out, by their place in the document.
    pub fn unusable(&self) -> &[(usize, UnusableKey)] {
        &self.unusable
    }
}

/// By the usable keys alone.
impl PartialEq for KeySet {
    fn eq(&self, other: &KeySet) -> bool {
        self.keys == other.keys
    }
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Members>,
}

fn because(first: &Option<UnusableKey>) -> String {
    first.map_or_else(String::new, |reason| format!(": {reason}"))
}

#[cfg(test)]
mod tests;
