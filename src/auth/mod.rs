//! Credential → principal: who is calling, with which scopes, until when.
//!
//! HTTP only in `credential.rs`, `own_cookies.rs` and `session_cookie.rs`. Not here: what a route needs
//! ([`crate::gateway`]). Invariants:
//! only this room makes a [`Principal`]; a credential's kind is decided once, by its shape, and a
//! refused one is never tried as another kind; "cannot know" is [`Failure::Unavailable`], never a
//! verdict; what a cache holds is who, and every use re-checks expiry and revocation.

use std::path::PathBuf;
use std::time::Duration;

use crate::secret::Peppers;

mod credential;
mod own_cookies;
mod session_cookie;
mod csrf;
mod authenticator;
mod api_key;
mod archive_desk;
mod session;
mod sight;
mod usage;
mod repepper;
mod cache;
mod cache_counters;
mod changes;
mod front;
mod load;
mod bulk_read;
mod warm_up;
mod access_token;
mod revocation;
mod denial_list;
mod follower;
mod fleet;
mod memory;
mod heal;
mod look_ups;
mod key_desk;
mod session_desk;
mod shown_secret;
mod signing_key_desk;
mod token_desk;
mod principal;
mod bearer;
mod told;
mod failure;
mod tally;
#[cfg(test)]
mod scripted_store;
#[cfg(test)]
mod tests;

pub use access_token::{AccessTokens, AccessTokensError, InvalidJwksUrl, OwnKeys, VerifiedToken};
pub use archive_desk::{ArchiveDesk, Export, ExportError, ImportError};
pub use authenticator::Authenticator;
pub use bearer::{Bearer, Supposed, SupposedIdentity};
pub use credential::{Credential, CredentialForm, Exposed, InvalidCredentials};
pub use csrf::CsrfKeys;
pub use failure::{Failure, Refusal, Unavailable};
pub use fleet::{
    Announcement, Begun, Confirmation, ConfirmationOutcome, Doubt, FleetDesk, FleetOverview,
    ForgetError, ForgottenInstance, InstanceStanding, InstanceState, Presence, Proof, Reporter,
    ReporterParts,
};
pub use follower::Follower;
pub use key_desk::{
    CountedUsage, DeskTools, Finding, Import, ImportNote, ImportReport, ImportStopped, KeyDesk,
    KeyDeskParts, KeyError, KeyPage, KeyProblem, KeyReport, KeyRotationStatus, NewKeyRequest,
    NoteKind, ReportPage, ReportQuery, RevokedShown, RotateKeyRequest, RotatedKey, ShownError,
    ShownKind, ShownProblem, parse_allowed_ip,
};
pub use own_cookies::{OwnCookies, cookie_values};
pub use principal::{CredentialKind, Principal};
pub use repepper::Repepper;
pub use revocation::{Lease, Revocation};
pub use session_cookie::{SessionCookie, X_CSRF_TOKEN};
pub use session_desk::{
    NewSessionRequest, SessionDesk, SessionError, SessionForm, SessionProblem, SessionSettings,
};
pub use shown_secret::ShownSecret;
pub use signing_key_desk::{
    RotatedSigningKey, RotationHaste, SigningKeyDesk, SigningKeyError, SigningKeyOutcome,
};
pub use token_desk::{
    InvalidTokenName, RevokeTokens, RevokedTokens, TokenDesk, TokenError, TokenName, TokenProblem,
    TokenSelection,
};
pub use told::Told;
pub use usage::UsageBook;

pub use crate::token::jwt::SignatureAlgorithm;

/// How API keys look, are kept and are cached.
#[derive(Clone, Debug)]
pub struct CredentialSettings {
    /// The `realm` of the `WWW-Authenticate` challenge.
    pub realm: String,
    /// The first part of our own credentials: `osir` in `osir_live_…`.
    pub prefix: String,
    /// The HMAC keys for secrets at rest.
    pub peppers: Peppers,
    /// Whether a key must carry a valid checksum.
    pub checksum: Checksum,
    /// How long what is known may be served.
    pub cache: CacheSettings,
}

/// Whether a key must carry a valid checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// Keys of an API that lived before this gateway may be imported as they are; only the
    /// length and the alphabet of those are checked before the store is asked.
    Optional,
    /// Whatever is not of our own form with a right checksum is refused without a look-up.
    Required,
}

/// How long what is known may be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// Most entries in each of the caches.
    pub capacity: u64,
    /// Past this age a record is refreshed in the background when it is used.
    pub fresh: Duration,
    /// How old the last confirmation of the revocation log may be (interface.md §7.1).
    pub stale: Duration,
    /// How long an unknown key stays unknown.
    pub negative: Duration,
}

/// One issuer of access tokens that the gateway trusts.
#[derive(Clone, Debug)]
pub struct IssuerSettings {
    /// Compared to `iss` byte for byte.
    pub issuer: String,
    /// Where its public keys are.
    pub jwks: JwksSource,
    /// One of these must be in `aud`.
    pub audiences: Vec<String>,
    /// The only signature algorithms its tokens may use.
    pub algorithms: Vec<SignatureAlgorithm>,
    /// What the `typ` header must say.
    pub token_type: TokenType,
    /// Allowed difference of clocks.
    pub clock_skew: Duration,
    /// Longest accepted `exp - iat`.
    pub max_lifetime: Duration,
    /// Whether the revocation log speaks for this issuer's tokens.
    pub revocation: IssuerRevocation,
}

/// Where an issuer's JSON Web Key Set comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksSource {
    /// The gateway's own authorization server.
    Builtin,
    /// A local file, read at load and reload.
    File(PathBuf),
    /// An `https://` URL.
    Url {
        /// The URL.
        url: String,
        /// PEM file of the CA for it; `None` is the public ones.
        ca: Option<PathBuf>,
    },
}

/// What a token's `typ` header must say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// `at+jwt` or `application/at+jwt` (RFC 9068 §2.1).
    AccessToken,
    /// Anything, for identity providers from before RFC 9068; `client_id`, `azp` or `scope`
    /// or `scp` must then tell it from an ID token.
    Any,
}

/// Whether the revocation log speaks for an issuer's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssuerRevocation {
    /// Tokens are checked against the not-before list, and are 503 once the list is stale.
    Log,
    /// Tokens pass to their `exp`; commands to revoke them are refused.
    None,
}
