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

/// Why a text is not a [`GrantId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a grant's id is grant_ and 32 lower-case hex digits")]
pub struct InvalidGrantId;

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

id! {
    /// An OAuth client: `client_` + 16 base62 characters where we name it.
    ClientId
}
id! {
    /// Whom a grant speaks for, an access token's `sub`: `usr_` + 16 base62 characters for a user
    /// of our own, whatever the operator's login says for others.
    SubjectId
}
id! {
    /// What a user of our own logs in with.
    LoginName
}
id! {
    /// Names one session for its whole life: `ses_` + 16 base62 characters.
    SessionId
}
id! {
    /// Names one login-and-consent: `int_` + 22 base62 characters, enough that it is not guessed.
    InteractionId
}
id! {
    /// One run of a gateway: `gw_` + 16 base62 characters.
    InstanceId
}
id! {
    /// Names a grant where its [`GrantId`] may not be seen: in access tokens and on the
    /// not-before list.
    FamilyId
}

impl KeyId {
    /// A new random key id.
    pub fn random() -> KeyId {
        KeyId(random_text::<16>("key_").into())
    }
}

impl ClientId {
    /// A new random client id.
    pub fn random() -> ClientId {
        ClientId(random_text::<16>("client_").into())
    }
}

impl SubjectId {
    /// A new random id of a user of our own.
    pub fn random() -> SubjectId {
        SubjectId(random_text::<16>("usr_").into())
    }
}

impl SessionId {
    /// A new random session id.
    pub fn random() -> SessionId {
        SessionId(random_text::<16>("ses_").into())
    }
}

impl InstanceId {
    /// A new random instance id.
    pub fn random() -> InstanceId {
        InstanceId(random_text::<16>("gw_").into())
    }
}

impl InteractionId {
    /// A new random interaction id.
    pub fn random() -> InteractionId {
        InteractionId(random_text::<22>("int_").into())
    }
}

fn random_text<const N: usize>(prefix: &str) -> String {
    let body = crate::secret::random_bytes::<N>();
    let body = body
        .iter()
        .map(|byte| char::from(BASE62[usize::from(*byte) % BASE62.len()]));
    prefix.chars().chain(body).collect()
}

/// One grant of a user to a client, with all its tokens: 128 random bits, which codes and refresh
/// tokens carry. Knowing it opens nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrantId([u8; 16]);

impl GrantId {
    /// A new random id.
    pub fn random() -> GrantId {
        GrantId(crate::secret::random_bytes())
    }

    /// From the bytes in a code or refresh token.
    pub const fn from_bytes(bytes: [u8; 16]) -> GrantId {
        GrantId(bytes)
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads what `Display` wrote: `grant_` + 32 lower-case hex digits.
    pub fn parse(text: &str) -> Result<GrantId, InvalidGrantId> {
        let digits = text.strip_prefix("grant_").ok_or(InvalidGrantId)?;
        let lower = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() != 32 || !digits.bytes().all(lower) {
            return Err(InvalidGrantId);
        }
        let number = u128::from_str_radix(digits, 16).map_err(|_| InvalidGrantId)?;
        Ok(GrantId(number.to_be_bytes()))
    }

    /// The name of this grant for access tokens and denials; the grant's id cannot be found from
    /// it.
    pub fn family(&self) -> FamilyId {
        use base64::Engine as _;
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.0);
        let half = hash.as_ref().get(..16).unwrap_or_default();
        FamilyId(
            base64::engine::general_purpose::URL_SAFE_NO_PAD
                .encode(half)
                .into(),
        )
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "grant_{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for GrantId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for GrantId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<GrantId, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        GrantId::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl From<&KeyId> for CredentialId {
    fn from(id: &KeyId) -> CredentialId {
        CredentialId(Arc::clone(&id.0))
    }
}

impl From<&SessionId> for CredentialId {
    fn from(id: &SessionId) -> CredentialId {
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

    #[test]
    fn a_grant_id_comes_back_from_its_text_and_from_no_other() {
        let id = GrantId::from_bytes(*b"\0\x01grant of 16 b\xff");
        assert_eq!(id.to_string(), "grant_00016772616e74206f662031362062ff");
        assert_eq!(GrantId::parse(&id.to_string()), Ok(id));
        for other in [
            "",
            "grant_",
            "grant_+0016772616e74206f662031362062ff",
            "grant_0",
        ] {
            assert_eq!(GrantId::parse(other), Err(InvalidGrantId), "{other}");
        }
        let upper = id.to_string().replace("ff", "FF");
        assert_eq!(GrantId::parse(&upper), Err(InvalidGrantId));
    }

    #[test]
    fn a_family_is_half_of_the_sha_256_of_the_grant_id() {
        // Python: urlsafe_b64encode(sha256(bytes(16)).digest()[:16])
        let family = GrantId::from_bytes([0; 16]).family();
        assert_eq!(family.as_str(), "N0cI__dxndWXnsh11WzSKA");
    }
}
