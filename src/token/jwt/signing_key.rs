//! A private key that signs access tokens (RFC 7515), with its public half as a JWK.
//!
//! Not here: where keys are kept and which of them signs now. Invariant: a key has one algorithm
//! for its whole life, and its id is its RFC 7638 thumbprint.

use std::fmt;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use zeroize::Zeroizing;

use super::SignatureAlgorithm;

/// A private key of the gateway's own authorization server.
pub struct SigningKey {
    kid: String,
    public: String,
    private: Private,
}

enum Private {
    Es256(Box<EcdsaKeyPair>),
    Rs256(Box<RsaKeyPair>),
}

/// The bytes are no private key of the algorithm that they are said to be of, or the algorithm is
/// not one that is signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a P-256 or RSA private key in PKCS#8 form")]
pub struct InvalidSigningKey;

impl SigningKey {
    /// Makes a key; also its PKCS#8 form, to be kept sealed.
    pub fn generate(
        algorithm: SignatureAlgorithm,
    ) -> Result<(SigningKey, Zeroizing<Vec<u8>>), InvalidSigningKey> {
        let pkcs8 = match algorithm {
            SignatureAlgorithm::Es256 => {
                let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
                let made = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new());
                made.map_err(|_| InvalidSigningKey)?.as_ref().to_vec()
            }
            SignatureAlgorithm::Rs256 => {
                let made = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| InvalidSigningKey)?;
                let der: Pkcs8V1Der<'_> = made.as_der().map_err(|_| InvalidSigningKey)?;
                der.as_ref().to_vec()
            }
            _ => return Err(InvalidSigningKey),
        };
        let pkcs8 = Zeroizing::new(pkcs8);
        Ok((SigningKey::from_pkcs8(algorithm, &pkcs8)?, pkcs8))
    }

    /// Reads what [`SigningKey::generate`] made.
    pub fn from_pkcs8(
        algorithm: SignatureAlgorithm,
        pkcs8: &[u8],
    ) -> Result<SigningKey, InvalidSigningKey> {
        match algorithm {
            SignatureAlgorithm::Es256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8);
                SigningKey::es256(pair.map_err(|_| InvalidSigningKey)?)
            }
            SignatureAlgorithm::Rs256 => {
                SigningKey::rs256(RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| InvalidSigningKey)?)
            }
            _ => Err(InvalidSigningKey),
        }
    }

    fn es256(pair: EcdsaKeyPair) -> Result<SigningKey, InvalidSigningKey> {
        // An uncompressed point: 0x04, x, y (SEC 1 §2.3.3).
        let point = pair.public_key().as_ref();
        let (Some(x), Some(y), 65) = (point.get(1..33), point.get(33..65), point.len()) else {
            return Err(InvalidSigningKey);
        };
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let kid = thumbprint(&format!(
            r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#
        ));
        let public = json!({
            "kty": "EC", "crv": "P-256", "x": x, "y": y, "use": "sig", "alg": "ES256", "kid": kid,
        });
        Ok(SigningKey {
            kid,
            public: public.to_string(),
            private: Private::Es256(Box::new(pair)),
        })
    }

    fn rs256(pair: RsaKeyPair) -> Result<SigningKey, InvalidSigningKey> {
        let (n, e) = rsa_parts(pair.public_key().as_ref()).ok_or(InvalidSigningKey)?;
        let (n, e) = (URL_SAFE_NO_PAD.encode(n), URL_SAFE_NO_PAD.encode(e));
        let kid = thumbprint(&format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#));
        let public = json!({
            "kty": "RSA", "n": n, "e": e, "use": "sig", "alg": "RS256", "kid": kid,
        });
        Ok(SigningKey {
            kid,
            public: public.to_string(),
            private: Private::Rs256(Box::new(pair)),
        })
    }

    /// The key's id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half, a JWK.
    pub fn public_jwk(&self) -> &str {
        &self.public
    }

    /// A signed token with these claims and this `typ`; `None` if the claims cannot be written as
    /// JSON or the machine has no random source.
    pub fn sign(&self, token_type: &str, claims: &impl serde::Serialize) -> Option<String> {
        let header = json!({ "alg": self.alg(), "kid": self.kid, "typ": token_type }).to_string();
        let claims = serde_json::to_vec(claims).ok()?;
        let mut token = URL_SAFE_NO_PAD.encode(header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self.signature(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Some(token)
    }

    fn alg(&self) -> &'static str {
        match self.private {
            Private::Es256(_) => SignatureAlgorithm::Es256.name(),
            Private::Rs256(_) => SignatureAlgorithm::Rs256.name(),
        }
    }

    fn signature(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match &self.private {
            Private::Es256(pair) => {
                let signature = pair.sign(&random, message).ok()?;
                Some(signature.as_ref().to_vec())
            }
            Private::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .ok()?;
                Some(signature)
            }
        }
    }
}

/// RFC 7638 §3: SHA-256 over the required members in lexicographic order.
fn thumbprint(members: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, members.as_bytes());
    URL_SAFE_NO_PAD.encode(digest)
}

/// Modulus and exponent of an `RSAPublicKey` (RFC 8017 appendix A.1.1), without leading zeros.
fn rsa_parts(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (sequence, _) = element(0x30, der)?;
    let (modulus, rest) = element(0x02, sequence)?;
    let (exponent, _) = element(0x02, rest)?;
    let bare = |number: &'_ [u8]| number.iter().take_while(|byte| **byte == 0).count();
    Some((&modulus[bare(modulus)..], &exponent[bare(exponent)..]))
}

/// The content of a DER element with this tag, and what follows it.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = der.strip_prefix(&[tag])?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match usize::from(*first) {
        short @ 0..0x80 => (short, rest),
        long => {
            let (digits, rest) = rest.split_at_checked(long - 0x80)?;
            let length = digits
                .iter()
                .fold(0_usize, |length, digit| (length << 8) | usize::from(*digit));
            (length, rest)
        }
    };
    rest.split_at_checked(length)
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::jwt::{Choice, KeySet, UnverifiedJwt};

    #[test]
    fn what_a_key_signs_its_public_half_verifies() {
        let algorithms = [SignatureAlgorithm::Es256, SignatureAlgorithm::Rs256];
        for algorithm in algorithms {
            let (key, pkcs8) = SigningKey::generate(algorithm).expect("a key");
            let again = SigningKey::from_pkcs8(algorithm, &pkcs8).expect("the same key");
            assert_eq!(again.kid(), key.kid());
            let set = format!(r#"{{"keys":[{}]}}"#, key.public_jwk());
            let set = KeySet::parse(set.as_bytes(), &algorithms).expect("a set");
            let token = again
                .sign("at+jwt", &json!({ "iss": "i" }))
                .expect("signed");
            let jwt = UnverifiedJwt::parse(&token).expect("a token");
            assert_eq!(jwt.token_type(), Some("at+jwt"));
            let Choice::Key(found) = set.choose(jwt.key_id(), algorithm) else {
                panic!("the key is in its own set");
            };
            assert!(jwt.verify(&found).is_ok());
        }
        assert!(SigningKey::generate(SignatureAlgorithm::Ed25519).is_err());
    }

    #[test]
    fn a_key_is_named_by_its_thumbprint() {
        // RFC 7638 §3.1.
        let members = r#"{"e":"AQAB","kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"}"#;
        assert_eq!(
            thumbprint(members),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
    }
}
