//! One public key of a key set (RFC 7517), bound to the one algorithm that it verifies with.

use std::fmt;

use aws_lc_rs::signature::{self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::algorithm::SignatureAlgorithm;
use super::members::Members;

/// A public key and the only algorithm that it is used with (RFC 8725 §3.1).
#[derive(Clone)]
pub struct VerificationKey {
    id: Option<String>,
    algorithm: SignatureAlgorithm,
    public: ParsedPublicKey,
}

/// Why a key of a set is left out. The rest of the set is not affected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableKey {
    /// Its `alg` is none that the issuer is pinned to, or does not fit its type.
    #[error("its algorithm is not one that the issuer is pinned to")]
    Algorithm,
    /// It has no `alg`, and the issuer is pinned to several that it could serve.
    #[error("it has no `alg` and could serve several of the issuer's algorithms; pin one")]
    Ambiguous,
    /// A member is missing, has the wrong type or is not a valid key.
    #[error("it is not a valid public key")]
    Invalid,
    /// It holds a private or a symmetric key.
    #[error("it holds private key material; treat that key as lost")]
    Private,
    /// `use` or `key_ops` reserves it for something else than verifying.
    #[error("its `use` or `key_ops` is not for verifying signatures")]
    Purpose,
    /// A type, curve or size that is not supported.
    #[error("its type, curve or size is not supported")]
    Unsupported,
}

/// RFC 7518 §6.2.2, §6.3.2, §6.4.1: members that only a private or symmetric key has.
const PRIVATE: [&str; 8] = ["d", "dp", "dq", "k", "oth", "p", "q", "qi"];
/// NIST SP 800-131A: no RSA key below this; above the other only costs time.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

impl VerificationKey {
    /// Reads one member of a key set's `keys`, for an issuer pinned to these algorithms.
    pub fn from_jwk(
        jwk: &Members,
        pinned: &[SignatureAlgorithm],
    ) -> Result<VerificationKey, UnusableKey> {
        if PRIVATE.iter().any(|name| jwk.contains(name)) {
            return Err(UnusableKey::Private);
        }
        refuse_other_purposes(jwk)?;
        let material = Material::read(jwk)?;
        let algorithm = only_algorithm(jwk, &material, pinned)?;
        Ok(VerificationKey {
            id: string(jwk, "kid")?.map(str::to_owned),
            algorithm,
            public: material.public_key(algorithm)?,
        })
    }

    /// Its `kid`.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The only algorithm it is used with.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// Whether the signature over `message` was made with this key's private half.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.public.verify_sig(message, signature).is_ok()
    }
}

/// RFC 7517 §4.2 and §4.3.
fn refuse_other_purposes(jwk: &Members) -> Result<(), UnusableKey> {
    let purpose = string(jwk, "use")?.unwrap_or("sig");
    let operations = jwk.strings("key_ops").map_err(|_| UnusableKey::Invalid)?;
    let verifies = operations.is_none_or(|names| names.contains(&"verify"));
    if purpose == "sig" && verifies {
        Ok(())
    } else {
        Err(UnusableKey::Purpose)
    }
}

/// The key's own `alg`, or else the single pinned algorithm that its type can serve. Never the
/// header's choice between two.
fn only_algorithm(
    jwk: &Members,
    material: &Material,
    pinned: &[SignatureAlgorithm],
) -> Result<SignatureAlgorithm, UnusableKey> {
    let mut candidates = pinned.to_vec();
    candidates.sort();
    candidates.dedup();
    candidates.retain(|algorithm| material.serves(*algorithm));
    if let Some(name) = string(jwk, "alg")? {
        let own = SignatureAlgorithm::from_name(name);
        candidates.retain(|algorithm| Some(*algorithm) == own);
    }
    match candidates[..] {
        [only] => Ok(only),
        [] => Err(UnusableKey::Algorithm),
        _ => Err(UnusableKey::Ambiguous),
    }
}

/// The numbers of a public key.
enum Material {
    Ed25519(Vec<u8>),
    /// An uncompressed point, SEC 1 §2.3.3.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
}

impl Material {
    fn read(jwk: &Members) -> Result<Material, UnusableKey> {
        let kind = string(jwk, "kty")?.ok_or(UnusableKey::Invalid)?;
        match (kind, string(jwk, "crv")?) {
            ("EC", Some("P-256")) => Ok(Material::P256(point(jwk, 32)?)),
            ("EC", Some("P-384")) => Ok(Material::P384(point(jwk, 48)?)),
            ("OKP", Some("Ed25519")) => Ok(Material::Ed25519(number_of_len(jwk, "x", 32)?)),
            ("RSA", None) => Material::rsa(jwk),
            // A symmetric key that anyone can fetch authenticates nobody.
            ("oct", _) => Err(UnusableKey::Private),
            _ => Err(UnusableKey::Unsupported),
        }
    }

    fn rsa(jwk: &Members) -> Result<Material, UnusableKey> {
        let components = RsaPublicKeyComponents {
            n: integer(jwk, "n")?,
            e: integer(jwk, "e")?,
        };
        let leading = components.n.first().map_or(0, |byte| byte.leading_zeros());
        let bits = (components.n.len() * 8).saturating_sub(leading as usize);
        if !RSA_BITS.contains(&bits) {
            return Err(UnusableKey::Unsupported);
        }
        // With an exponent of 1 every message is its own signature; an even one is no exponent.
        let odd = components.e.last().is_some_and(|byte| byte % 2 == 1);
        if !odd || components.e == [1] {
            return Err(UnusableKey::Invalid);
        }
        Ok(Material::Rsa(components))
    }

    /// Whether the algorithm is one for keys of this type and curve.
    fn serves(&self, algorithm: SignatureAlgorithm) -> bool {
        match self {
            Material::Ed25519(_) => algorithm == SignatureAlgorithm::Ed25519,
            Material::P256(_) => algorithm == SignatureAlgorithm::Es256,
            Material::P384(_) => algorithm == SignatureAlgorithm::Es384,
            Material::Rsa(_) => rsa_parameters(algorithm).is_some(),
        }
    }

    fn public_key(&self, algorithm: SignatureAlgorithm) -> Result<ParsedPublicKey, UnusableKey> {
        let parsed = match self {
            Material::Ed25519(bytes) => ParsedPublicKey::new(&signature::ED25519, bytes),
            // RFC 7518 §3.4: r and s side by side at fixed length, not DER.
            Material::P256(point) => {
                ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
            }
            Material::P384(point) => {
                ParsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point)
            }
            Material::Rsa(components) => {
                let parameters = rsa_parameters(algorithm).ok_or(UnusableKey::Algorithm)?;
                components.to_parsed_public_key(parameters)
            }
        };
        parsed.map_err(|_| UnusableKey::Invalid)
    }
}

fn rsa_parameters(algorithm: SignatureAlgorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        SignatureAlgorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        SignatureAlgorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        SignatureAlgorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        SignatureAlgorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        SignatureAlgorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        SignatureAlgorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        SignatureAlgorithm::Ed25519 | SignatureAlgorithm::Es256 | SignatureAlgorithm::Es384 => {
            return None;
        }
    })
}

/// RFC 7518 §6.2.1: both coordinates at the full length of the field.
fn point(jwk: &Members, len: usize) -> Result<Vec<u8>, UnusableKey> {
    let (x, y) = (number_of_len(jwk, "x", len)?, number_of_len(jwk, "y", len)?);
    Ok([&[4][..], &x, &y].concat())
}

fn number_of_len(jwk: &Members, name: &str, len: usize) -> Result<Vec<u8>, UnusableKey> {
    let bytes = number(jwk, name)?;
    if bytes.len() == len {
        Ok(bytes)
    } else {
        Err(UnusableKey::Invalid)
    }
}

/// RFC 7518 §2 `Base64urlUInt`; some issuers write the sign byte that it says to leave out.
fn integer(jwk: &Members, name: &str) -> Result<Vec<u8>, UnusableKey> {
    let mut bytes = number(jwk, name)?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    Ok(bytes.split_off(zeros))
}

fn number(jwk: &Members, name: &str) -> Result<Vec<u8>, UnusableKey> {
    let encoded = string(jwk, name)?.ok_or(UnusableKey::Invalid)?;
    URL_SAFE_NO_PAD
        .decode(encoded)
        .map_err(|_| UnusableKey::Invalid)
}

fn string<'a>(jwk: &'a Members, name: &str) -> Result<Option<&'a str>, UnusableKey> {
    jwk.string(name).map_err(|_| UnusableKey::Invalid)
}

impl PartialEq for VerificationKey {
    fn eq(&self, other: &VerificationKey) -> bool {
        self.id == other.id
            && self.algorithm == other.algorithm
            && self.public.as_ref() == other.public.as_ref()
    }
}

impl Eq for VerificationKey {}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerificationKey")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}
