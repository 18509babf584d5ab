//! Why a credential did not become a principal.

/// No principal. The cases never mix: a verdict is 401, "cannot know" is 503.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// No credential was sent: 401 without an `error` attribute (RFC 6750 §3.1).
    Absent,
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
    /// None of the issuer's audiences is in `aud`; or one of our own, for another resource of ours
    /// than was asked for.
    Audience,
    /// Wrong length, alphabet or checksum.
    Checksum,
    /// A claim that must be there is missing, or one has the wrong type.
    Claims,
    /// Past its end.
    Expired,
    /// Of our own prefix, but not a kind that a request may carry.
    Foreign,
    /// A session that was not used for as long as it allows.
    Idle,
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
    /// Every reason, in the order of [`Refusal::index`].
    pub(super) const ALL: [Refusal; 19] = [
        Refusal::Algorithm,
        Refusal::Audience,
        Refusal::Checksum,
        Refusal::Claims,
        Refusal::Expired,
        Refusal::Foreign,
        Refusal::Idle,
        Refusal::Issuer,
        Refusal::Lifetime,
        Refusal::Malformed,
        Refusal::NotYetValid,
        Refusal::ProofRequired,
        Refusal::Protected,
        Refusal::Revoked,
        Refusal::Signature,
        Refusal::TokenType,
        Refusal::Unknown,
        Refusal::UnknownSigningKey,
        Refusal::WrongHeader,
    ];

    /// The word for it in logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Refusal::Algorithm => "algorithm",
            Refusal::Audience => "audience",
            Refusal::Checksum => "checksum",
            Refusal::Claims => "claims",
            Refusal::Expired => "expired",
            Refusal::Foreign => "foreign",
            Refusal::Idle => "idle",
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

    /// Its place in [`Refusal::ALL`].
    pub(super) const fn index(self) -> usize {
        self as usize
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
    /// Every reason, in the order of [`Unavailable::index`].
    pub(super) const ALL: [Unavailable; 3] =
        [Unavailable::Jwks, Unavailable::Lease, Unavailable::Store];

    /// The word for it in logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Unavailable::Jwks => "jwks_unavailable",
            Unavailable::Lease => "lease_stale",
            Unavailable::Store => "store_unavailable",
        }
    }

    /// Its place in [`Unavailable::ALL`].
    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_stands_at_its_index() {
        for (index, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal.index(), index, "{refusal:?}");
        }
        for (index, unavailable) in Unavailable::ALL.into_iter().enumerate() {
            assert_eq!(unavailable.index(), index, "{unavailable:?}");
        }
    }
}
