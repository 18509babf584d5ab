//! Why a credential did not become a principal.

/// No principal. The two cases never mix: a verdict is 401, "cannot know" is 503.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The credential is not good.
    Refused(Refusal),
    /// Whether it is good cannot be known now.
    Unavailable(Unavailable),
}

/// Why a credential is not good. For logs, metrics and `explain`; the client sees one constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// The token's algorithm is not one that its issuer, or its key, is pinned to.
    Algorithm,
    /// None of the issuer's audiences is in `aud`.
    Audience,
    /// Wrong length, alphabet or checksum.
    Checksum,
    /// A claim that must be there is missing, or one has the wrong type.
    Claims,
    /// Past its end.
    Expired,
    /// Of our own prefix, but not a kind that a request may carry.
    Foreign,
    /// An `iss` that is not configured.
    Issuer,
    /// `exp - iat` beyond the issuer's longest lifetime.
    Lifetime,
    /// Not a token at all, or not one of a form that we read.
    Malformed,
    /// `nbf`, `iat` or the key's own beginning lies ahead.
    NotYetValid,
    /// Bound to a key or certificate that plain bearer use does not prove (`cnf`).
    ProofRequired,
    /// A header parameter that must be understood and is not (`crit` and kin).
    Protected,
    /// Revoked, by itself or by what it belongs to.
    Revoked,
    /// The signature does not fit.
    Signature,
    /// Its `typ` is not that of an access token.
    TokenType,
    /// The store has no such key.
    Unknown,
    /// The issuer's key set has no such key.
    UnknownSigningKey,
    /// A kind that this header does not carry: `X-API-Key` takes API keys only.
    WrongHeader,
}

impl Refusal {
    /// The word for it in logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Refusal::Algorithm => "algorithm",
            Refusal::Audience => "audience",
            Refusal::Checksum => "checksum",
            Refusal::Claims => "claims",
            Refusal::Expired => "expired",
            Refusal::Foreign => "foreign",
            Refusal::Issuer => "issuer",
            Refusal::Lifetime => "lifetime",
            Refusal::Malformed => "malformed",
            Refusal::NotYetValid => "not_yet_valid",
            Refusal::ProofRequired => "proof_required",
            Refusal::Protected => "protected",
            Refusal::Revoked => "revoked",
            Refusal::Signature => "signature",
            Refusal::TokenType => "token_type",
            Refusal::Unknown => "unknown",
            Refusal::UnknownSigningKey => "unknown_signing_key",
            Refusal::WrongHeader => "wrong_header",
        }
    }
}

/// Why it cannot be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unavailable {
    /// The issuer's key set has never been had.
    Jwks,
    /// The revocation log was not confirmed for longer than the bound.
    Lease,
    /// The store did not answer.
    Store,
}

impl Unavailable {
    /// The word for it in logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Unavailable::Jwks => "jwks_unavailable",
            Unavailable::Lease => "lease_stale",
            Unavailable::Store => "store_unavailable",
        }
    }
}
