//! Signing keys of a test's issuer, its key set, and tokens that say anything at all.

use std::sync::LazyLock;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// One RSA key for a whole test run: making one takes long.
static RSA: LazyLock<RsaKeyPair> =
    LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"));

/// A private key with the algorithm that it signs with.
pub(crate) enum SigningKey {
    Ed25519(Ed25519KeyPair),
    Es256(EcdsaKeyPair),
    Es384(EcdsaKeyPair),
    Ps256,
    Rs256,
}

impl SigningKey {
    pub(crate) fn ed25519() -> SigningKey {
        SigningKey::Ed25519(Ed25519KeyPair::generate().expect("a key"))
    }

    pub(crate) fn es256() -> SigningKey {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        SigningKey::Es256(pair.expect("a key"))
    }

    pub(crate) fn es384() -> SigningKey {
        let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING);
        SigningKey::Es384(pair.expect("a key"))
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            SigningKey::Ed25519(_) => "EdDSA",
            SigningKey::Es256(_) => "ES256",
            SigningKey::Es384(_) => "ES384",
            SigningKey::Ps256 => "PS256",
            SigningKey::Rs256 => "RS256",
        }
    }

    /// The public half, with `alg`.
    pub(crate) fn jwk(&self, kid: &str) -> Value {
        let mut jwk = match self {
            SigningKey::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key())})
            }
            SigningKey::Es256(pair) => point("P-256", &pair.public_key().as_ref()[1..]),
            SigningKey::Es384(pair) => point("P-384", &pair.public_key().as_ref()[1..]),
            SigningKey::Ps256 | SigningKey::Rs256 => {
                json!({"kty": "RSA", "n": encode(rsa_modulus()), "e": "AQAB"})
            }
        };
        jwk["kid"] = json!(kid);
        jwk["alg"] = json!(self.name());
        jwk
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            SigningKey::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            SigningKey::Es256(pair) | SigningKey::Es384(pair) => {
                let signature = pair.sign(&random, message).expect("signed");
                signature.as_ref().to_vec()
            }
            SigningKey::Ps256 => rsa_sign(&RSA_PSS_SHA256, message),
            SigningKey::Rs256 => rsa_sign(&RSA_PKCS1_SHA256, message),
        }
    }

    /// A token of exactly this header and these claims.
    pub(crate) fn token(&self, header: &str, claims: impl AsRef<[u8]>) -> String {
        let signed = signing_input(header, claims);
        let signature = self.sign(signed.as_bytes());
        format!("{signed}.{}", encode(signature))
    }

    /// The private key as PKCS#8 DER.
    pub(crate) fn pkcs8(&self) -> Vec<u8> {
        match self {
            SigningKey::Ed25519(pair) => pair.to_pkcs8().expect("encoded").as_ref().to_vec(),
            SigningKey::Es256(pair) | SigningKey::Es384(pair) => {
                pair.to_pkcs8v1().expect("encoded").as_ref().to_vec()
            }
            SigningKey::Ps256 | SigningKey::Rs256 => {
                RSA.as_der().expect("encoded").as_ref().to_vec()
            }
        }
    }

    /// The public key as `SubjectPublicKeyInfo`.
    pub(crate) fn spki(&self) -> Vec<u8> {
        match self {
            SigningKey::Ed25519(pair) => pair
                .public_key()
                .as_der()
                .expect("encoded")
                .as_ref()
                .to_vec(),
            SigningKey::Es256(pair) | SigningKey::Es384(pair) => pair
                .public_key()
                .as_der()
                .expect("encoded")
                .as_ref()
                .to_vec(),
            SigningKey::Ps256 | SigningKey::Rs256 => RSA
                .public_key()
                .as_der()
                .expect("encoded")
                .as_ref()
                .to_vec(),
        }
    }

    /// The public key in the shortest usual form: PKCS#1, a point, or 32 bytes.
    pub(crate) fn raw_public(&self) -> Vec<u8> {
        match self {
            SigningKey::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
            SigningKey::Es256(pair) | SigningKey::Es384(pair) => {
                pair.public_key().as_ref().to_vec()
            }
            SigningKey::Ps256 | SigningKey::Rs256 => RSA.public_key().as_ref().to_vec(),
        }
    }
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn signing_input(header: &str, claims: impl AsRef<[u8]>) -> String {
    format!("{}.{}", encode(header), encode(claims))
}

pub(crate) fn key_set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

fn point(curve: &str, coordinates: &[u8]) -> Value {
    let (x, y) = coordinates.split_at(coordinates.len() / 2);
    json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y)})
}

/// RFC 8017 appendix A.1.1 with 2048 bits: SEQUENCE header, INTEGER header and a sign byte, the
/// modulus, then 65537.
fn rsa_modulus() -> &'static [u8] {
    let der = RSA.public_key().as_ref();
    assert_eq!((der.len(), &der[265..]), (270, &[2, 3, 1, 0, 1][..]));
    &der[9..265]
}

fn rsa_sign(encoding: &'static dyn aws_lc_rs::signature::RsaEncoding, message: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; RSA.public_modulus_len()];
    RSA.sign(encoding, &SystemRandom::new(), message, &mut signature)
        .expect("signed");
    signature
}
