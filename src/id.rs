//! Newtype identifiers, so that no two kinds of id can be swapped.
//!
//! All of them are public values: they appear in logs, headers and the admin API. Invariant: an
//! id holds only visible ASCII without `"` and `\`, at most [`MAX_LEN`] bytes, so it is safe in
//! a header value, a store key and a JSON line.

use std::fmt;
use std::sync::Arc;

/// The longest id, in bytes.
pub const MAX_LEN: usize = 128;

/// Why a text is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is 1 to {MAX_LEN} visible ASCII characters other than '\"' and '\\'")]
pub struct InvalidId;

fn check(text: &str) -> Result<(), InvalidId> {
    let allowed = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\';
    if !text.is_empty() && text.len() <= MAX_LEN && text.bytes().all(allowed) {
        Ok(())
    } else {
        Err(InvalidId)
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and takes an id.
            pub fn parse(text: &str) -> Result<$name, InvalidId> {
                check(text)?;
                Ok($name(text.into()))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<$name, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                $name::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

id! {
    /// Names one API key for its whole life, also over rotations: `key_` + 16 base62 characters.
    KeyId
}
id! {
    /// The customer account that a credential acts for.
    AccountId
}
id! {
    /// Names any credential in logs and headers: a key id, a session id or a token's `jti`.
    CredentialId
}
id! {
    /// Names one request in responses, logs and upstream headers.
    RequestId
}

impl KeyId {
    /// A new random key id.
    pub fn random() -> KeyId {
        let body = crate::secret::random_bytes::<16>()
            .map(|byte| char::from(BASE62[usize::from(byte) % BASE62.len()]));
        KeyId(format!("key_{}", body.iter().collect::<String>()).into())
    }
}

impl From<&KeyId> for CredentialId {
    fn from(id: &KeyId) -> CredentialId {
        CredentialId(Arc::clone(&id.0))
    }
}

/// Most significant digit first, as everywhere in this product's credentials.
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_safe_in_headers_and_json() {
        for bad in [
            "",
            "a b",
            "a\"b",
            "a\\b",
            "a\r\nb",
            "ä",
            &"x".repeat(MAX_LEN + 1),
        ] {
            assert_eq!(AccountId::parse(bad), Err(InvalidId), "{bad:?}");
        }
        assert_eq!(
            AccountId::parse("acct_1").map(|id| id.to_string()),
            Ok("acct_1".into())
        );
    }

    #[test]
    fn random_key_ids_have_the_documented_form() {
        let id = KeyId::random();
        let body = id.as_str().strip_prefix("key_").expect("prefix");
        assert!(body.len() == 16 && body.bytes().all(|b| b.is_ascii_alphanumeric()));
        assert_ne!(KeyId::random(), id);
    }
}
