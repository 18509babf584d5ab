//! Signature algorithms by the names of the IANA registry.

/// A signature algorithm of RFC 7518 §3.1, RFC 8037 or RFC 9864.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the standards' own")]
pub enum SignatureAlgorithm {
    Ed25519,
    Es256,
    Es384,
    Ps256,
    Ps384,
    Ps512,
    Rs256,
    Rs384,
    Rs512,
}

impl SignatureAlgorithm {
    /// The algorithm of an `alg` member, compared byte for byte. `EdDSA` is Ed25519: no other
    /// curve is supported, and RFC 9864 §2.2 deprecates the wider name.
    pub fn from_name(name: &str) -> Option<SignatureAlgorithm> {
        Some(match name {
            "Ed25519" | "EdDSA" => SignatureAlgorithm::Ed25519,
            "ES256" => SignatureAlgorithm::Es256,
            "ES384" => SignatureAlgorithm::Es384,
            "PS256" => SignatureAlgorithm::Ps256,
            "PS384" => SignatureAlgorithm::Ps384,
            "PS512" => SignatureAlgorithm::Ps512,
            "RS256" => SignatureAlgorithm::Rs256,
            "RS384" => SignatureAlgorithm::Rs384,
            "RS512" => SignatureAlgorithm::Rs512,
            _ => return None,
        })
    }

    /// Its name in `alg`.
    pub const fn name(self) -> &'static str {
        match self {
            SignatureAlgorithm::Ed25519 => "Ed25519",
            SignatureAlgorithm::Es256 => "ES256",
            SignatureAlgorithm::Es384 => "ES384",
            SignatureAlgorithm::Ps256 => "PS256",
            SignatureAlgorithm::Ps384 => "PS384",
            SignatureAlgorithm::Ps512 => "PS512",
            SignatureAlgorithm::Rs256 => "RS256",
            SignatureAlgorithm::Rs384 => "RS384",
            SignatureAlgorithm::Rs512 => "RS512",
        }
    }
}
