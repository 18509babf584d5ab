//! The gateway's own signature on what it tells upstreams: a JWT of type `portcullis+jwt`.
//!
//! Not here: what it says. Invariant: the key signs nothing else, and its issuer and type are not
//! accepted from clients.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use zeroize::Zeroizing;

/// The `typ` of an internal token: never that of an access token.
pub const INTERNAL_TOKEN_TYPE: &str = "portcullis+jwt";
/// The `iss` of an internal token: never that of an authorization server.
pub const INTERNAL_TOKEN_ISSUER: &str = "urn:portcullis:internal";

/// Signs internal tokens with ES256 (RFC 7518 §3.4).
pub struct InternalTokenSigner {
    key: EncodingKey,
    header: Header,
    jwks: serde_json::Value,
}

/// The signing key cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the internal signing key is not a P-256 private key in PKCS#8 PEM form")]
pub struct InternalKeyError;

impl InternalTokenSigner {
    /// With a key that lives as long as the process.
    ///
    /// # Panics
    /// When the machine has no working random source.
    pub fn ephemeral() -> InternalTokenSigner {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
            .expect("the system random source works");
        InternalTokenSigner::new(&key).expect("a new P-256 key is a P-256 key")
    }

    /// With a key from a PEM file, the same for a whole fleet.
    pub fn from_file(path: &std::path::Path) -> Result<InternalTokenSigner, InternalKeyError> {
        let pem = std::fs::read_to_string(path).map(Zeroizing::new);
        let pem = pem.map_err(|_| InternalKeyError)?;
        let key = rcgen::KeyPair::from_pem(&pem).map_err(|_| InternalKeyError)?;
        InternalTokenSigner::new(&key)
    }

    fn new(key: &rcgen::KeyPair) -> Result<InternalTokenSigner, InternalKeyError> {
        // An uncompressed point: 0x04, x, y (SEC 1 §2.3.3).
        let point = key.public_key_raw();
        let (Some(x), Some(y), 65) = (point.get(1..33), point.get(33..65), point.len()) else {
            return Err(InternalKeyError);
        };
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let kid = thumbprint(&x, &y);
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some(INTERNAL_TOKEN_TYPE.into());
        header.kid = Some(kid.clone());
        Ok(InternalTokenSigner {
            key: EncodingKey::from_ec_der(key.serialized_der()),
            header,
            jwks: serde_json::json!({ "keys": [{
                "kty": "EC", "crv": "P-256", "x": x, "y": y, "use": "sig", "alg": "ES256", "kid": kid,
            }] }),
        })
    }

    /// The `iss` of what it signs.
    pub fn issuer(&self) -> &'static str {
        INTERNAL_TOKEN_ISSUER
    }

    /// Signs claims; `None` if they cannot be written as JSON.
    pub fn sign(&self, claims: &impl serde::Serialize) -> Option<String> {
        jsonwebtoken::encode(&self.header, claims, &self.key).ok()
    }

    /// The public half as a JSON Web Key Set, for upstreams.
    pub fn jwks(&self) -> &serde_json::Value {
        &self.jwks
    }
}

/// RFC 7638 §3: SHA-256 over the required members in lexicographic order.
fn thumbprint(x: &str, y: &str) -> String {
    let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, members.as_bytes());
    URL_SAFE_NO_PAD.encode(digest)
}

impl fmt::Debug for InternalTokenSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InternalTokenSigner")
            .field("kid", &self.header.kid)
            .finish_non_exhaustive()
    }
}
