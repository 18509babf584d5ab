//! The compact serialization (RFC 7515 §7.1), checked from the cheapest test to the dearest.
//!
//! ```text
//! eyJhbGciOi… . eyJpc3MiOi… . MEUCIQDx…
//! └ header ───┘ └ claims ───┘ └ signature over everything before the second dot
//! ```

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::algorithm::SignatureAlgorithm;
use super::key::VerificationKey;
use super::members::Members;

/// The longest token that is looked at, in bytes.
pub const MAX_LEN: usize = 8 * 1024;
/// The longest decoded header, in bytes.
const MAX_HEADER_LEN: usize = 1024;

/// Header parameters that change what the other parts mean: processing a token without
/// understanding them would be processing another token than its issuer made. `crit` may name
/// anything (RFC 7515 §4.1.11), `b64` changes the signed bytes (RFC 7797), `enc` and `zip` belong
/// to encrypted tokens (RFC 7516). We understand none of them.
const CHANGING: [&str; 4] = ["b64", "crit", "enc", "zip"];
/// The type of the tokens that the gateway itself makes for upstreams: it must not come back in
/// from outside (RFC 8725 §3.12).
const INTERNAL_TYPE: &str = "portcullis+jwt";

/// A token whose signature was not checked yet. Of its claims only the issuer was read, to choose
/// the keys by; the rest is bytes until it is proven, so that a stranger's token takes no more
/// memory than it is long.
pub struct UnverifiedJwt<'a> {
    signed: &'a str,
    algorithm: SignatureAlgorithm,
    key_id: Option<String>,
    token_type: Option<String>,
    issuer: String,
    claims: Vec<u8>,
    signature: Vec<u8>,
}

/// Why a text is not a token whose claims may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJwt {
    /// `alg` is not one that we know, or not the key's.
    #[error("the signature algorithm is not known or not the key's")]
    Algorithm,
    /// `iss` is missing or not a string.
    #[error("the issuer claim is missing or not a string")]
    Issuer,
    /// Not three base64url parts with a JSON object in each of the first two.
    #[error("not a signed token in compact form")]
    Malformed,
    /// A header parameter that changes the meaning of the rest.
    #[error("a header parameter must be understood and is not")]
    Protected,
    /// The signature does not fit.
    #[error("the signature does not fit")]
    Signature,
    /// The gateway's own internal token.
    #[error("an internal token came from outside")]
    TokenType,
}

impl<'a> UnverifiedJwt<'a> {
    /// Takes a token apart. Costs nothing that depends on keys.
    pub fn parse(token: &'a str) -> Result<UnverifiedJwt<'a>, InvalidJwt> {
        let (signed, signature) = split(token)?;
        let (header, claims) = signed.split_once('.').ok_or(InvalidJwt::Malformed)?;
        let header = read_header(header)?;
        let claims = decode(claims)?;
        Ok(UnverifiedJwt {
            signed,
            algorithm: algorithm(&header)?,
            key_id: text(&header, "kid")?,
            token_type: token_type(&header)?,
            issuer: peek_issuer(&claims)?,
            claims,
            signature: decode(signature)?,
        })
    }

    /// The `iss` claim, which is not proven yet: good for choosing keys and for nothing else.
    pub fn claimed_issuer(&self) -> &str {
        &self.issuer
    }

    /// The algorithm that the header names.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// The `kid` header parameter. Compared, never interpreted.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// The `typ` header parameter in lower case and without `application/` (RFC 7515 §4.1.9).
    pub fn token_type(&self) -> Option<&str> {
        self.token_type.as_deref()
    }

    /// Checks the signature with the key's own algorithm and gives the claims.
    pub fn verify(self, key: &VerificationKey) -> Result<Members, InvalidJwt> {
        // RFC 8725 §3.1: the key decides the algorithm; the header may only agree.
        if self.algorithm != key.algorithm() {
            return Err(InvalidJwt::Algorithm);
        }
        if !key.verifies(self.signed.as_bytes(), &self.signature) {
            return Err(InvalidJwt::Signature);
        }
        Members::parse(&self.claims).map_err(|_| InvalidJwt::Malformed)
    }
}

/// Length and alphabet, then exactly two dots between three parts that are not empty.
fn split(token: &str) -> Result<(&str, &str), InvalidJwt> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if token.len() > MAX_LEN || !token.bytes().all(allowed) {
        return Err(InvalidJwt::Malformed);
    }
    let mut parts = token.split('.');
    let three = [parts.next(), parts.next(), parts.next()];
    let whole = three
        .iter()
        .all(|part| part.is_some_and(|part| !part.is_empty()));
    if !whole || parts.next().is_some() {
        return Err(InvalidJwt::Malformed);
    }
    token.rsplit_once('.').ok_or(InvalidJwt::Malformed)
}

fn read_header(encoded: &str) -> Result<Members, InvalidJwt> {
    let json = decode(encoded)?;
    if json.len() > MAX_HEADER_LEN {
        return Err(InvalidJwt::Malformed);
    }
    let header = Members::parse(&json).map_err(|_| InvalidJwt::Malformed)?;
    if CHANGING.iter().any(|name| header.contains(name)) {
        return Err(InvalidJwt::Protected);
    }
    Ok(header)
}

/// Passes over everything but `iss`. What is odd elsewhere is found when the claims are read.
fn peek_issuer(claims: &[u8]) -> Result<String, InvalidJwt> {
    #[derive(Deserialize)]
    struct Peeked {
        iss: String,
    }
    match serde_json::from_slice(claims) {
        Ok(Peeked { iss }) => Ok(iss),
        Err(error) if error.is_data() => Err(InvalidJwt::Issuer),
        Err(_) => Err(InvalidJwt::Malformed),
    }
}

fn algorithm(header: &Members) -> Result<SignatureAlgorithm, InvalidJwt> {
    let name = text(header, "alg")?.ok_or(InvalidJwt::Malformed)?;
    SignatureAlgorithm::from_name(&name).ok_or(InvalidJwt::Algorithm)
}

fn token_type(header: &Members) -> Result<Option<String>, InvalidJwt> {
    let Some(mut name) = text(header, "typ")? else {
        return Ok(None);
    };
    name.make_ascii_lowercase();
    let short = name.strip_prefix("application/").unwrap_or(&name);
    if short == INTERNAL_TYPE {
        return Err(InvalidJwt::TokenType);
    }
    Ok(Some(short.into()))
}

fn text(header: &Members, name: &str) -> Result<Option<String>, InvalidJwt> {
    let text = header.string(name).map_err(|_| InvalidJwt::Malformed)?;
    Ok(text.map(str::to_owned))
}

/// Strict: no padding, no other alphabet, and the unused bits of the last character are zero, so
/// that one token has one spelling.
fn decode(part: &str) -> Result<Vec<u8>, InvalidJwt> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| InvalidJwt::Malformed)
}

/// Nothing of the token itself.
impl fmt::Debug for UnverifiedJwt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnverifiedJwt")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str) -> String {
        let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
        format!("{}.{}.{}", part(header), part(r#"{"iss":"i"}"#), part("s"))
    }

    fn refusal(token: &str) -> Option<InvalidJwt> {
        UnverifiedJwt::parse(token).err()
    }

    #[test]
    fn length_alphabet_and_parts_are_checked_before_anything_is_decoded() {
        let good = token(r#"{"alg":"ES256"}"#);
        assert_eq!(refusal(&good), None);
        for bad in [
            "",
            ".",
            "..",
            "a..c",
            ".b.c",
            "a.b.",
            &format!("{good}."),
            &format!("{good}.e.f"),
            &format!("{good}="),
            &format!(" {good}"),
            &good.replace('.', "+"),
            &format!("{good}{}", "A".repeat(MAX_LEN)),
        ] {
            assert_eq!(refusal(bad), Some(InvalidJwt::Malformed), "{bad:.40}");
        }
    }

    #[test]
    fn a_token_has_one_spelling() {
        // "s" is `cw`; `cx` decodes to the same byte where the unused bits are ignored.
        let good = token(r#"{"alg":"ES256"}"#);
        let other = format!("{}cx", good.strip_suffix("cw").expect("ends in cw"));
        assert_eq!(refusal(&other), Some(InvalidJwt::Malformed));
    }

    #[test]
    fn the_header_has_a_size_limit_of_its_own() {
        let header = |pad: usize| format!(r#"{{"alg":"ES256","x":"{}"}}"#, "p".repeat(pad));
        assert_eq!(refusal(&token(&header(1002))), None);
        assert_eq!(refusal(&token(&header(1003))), Some(InvalidJwt::Malformed));
    }

    #[test]
    fn an_internal_token_is_refused_in_any_spelling() {
        for name in [
            "portcullis+jwt",
            "Portcullis+JWT",
            "application/portcullis+jwt",
        ] {
            let header = format!(r#"{{"alg":"ES256","typ":"{name}"}}"#);
            assert_eq!(refusal(&token(&header)), Some(InvalidJwt::TokenType));
        }
    }

    #[test]
    fn a_type_is_read_without_its_media_prefix_and_case() {
        let typed = token(r#"{"alg":"ES256","typ":"Application/AT+jwt"}"#);
        let jwt = UnverifiedJwt::parse(&typed).expect("well-formed");
        assert_eq!(jwt.token_type(), Some("at+jwt"));
    }

    #[test]
    fn row_82_a_header_that_disagrees_with_its_key_is_refused_without_trying_the_signature() {
        // RFC 8037 appendix A.2.
        let jwk =
            br#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        let jwk = Members::parse(jwk).expect("an object");
        let key = VerificationKey::from_jwk(&jwk, &[SignatureAlgorithm::Ed25519]).expect("a key");
        for (algorithm, refusal) in [
            ("ES256", InvalidJwt::Algorithm),
            ("RS256", InvalidJwt::Algorithm),
            ("EdDSA", InvalidJwt::Signature),
        ] {
            let token = token(&format!(r#"{{"alg":"{algorithm}"}}"#));
            let jwt = UnverifiedJwt::parse(&token).expect("well-formed");
            assert_eq!(jwt.verify(&key), Err(refusal), "{algorithm}");
        }
    }
}
