//! Why the registry does not do what it was asked. The texts are for operators; none repeats what
//! may be a secret.

use crate::auth::KeyProblem;
use crate::clock::Timestamp;
use crate::id::{ClientId, LoginName};
use crate::store::StoreError;

/// Why a client or a user is not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryProblem {
    /// The secret of a rotation that is asked for again.
    #[error(
        "request_id: this rotation was carried out under another pepper; its secret cannot be shown again"
    )]
    AnswerLost,
    /// The client is disabled.
    #[error("the client is disabled")]
    ClientDisabled,
    /// No secret where there must be one, or the other way round.
    #[error(
        "authentication: of a confidential client any_secret, basic or post; of a public one none"
    )]
    Authentication,
    /// RFC 6749 §4.4.
    #[error("grants: client_credentials is for confidential clients")]
    ClientCredentials,
    /// What consent pages call the client.
    #[error("name: 1 to 200 characters, no control characters")]
    Name,
    /// A public client that can do nothing.
    #[error("grants: a public client needs one")]
    NoGrants,
    /// A code with nowhere to go.
    #[error("redirects: authorization_code needs at least one")]
    NoRedirects,
    /// Nothing that it could be granted.
    #[error("scopes: at least one")]
    NoScopes,
    /// Too long a time.
    #[error("overlap: at most 30 days")]
    Overlap,
    /// Two secrets work already.
    #[error(
        "two secrets of this client work until {0}; an overlap of 0s ends every older one at once"
    )]
    Overlapping(Timestamp),
    /// Too short, too long, or not one that can be typed into a form.
    #[error(
        "password: {} to {} bytes, no control characters",
        RegistryProblem::SHORTEST_PASSWORD,
        RegistryProblem::LONGEST_PASSWORD
    )]
    Password,
    /// There is no secret to rotate.
    #[error("a public client has no secret")]
    PublicClient,
    /// A redirect URI that would not be used.
    #[error("redirects: {0}")]
    Redirect(&'static str),
    /// Nothing gives it a refresh token.
    #[error("grants: refresh_token comes with authorization_code")]
    RefreshAlone,
    /// A scope that the config does not have.
    #[error(transparent)]
    Scopes(#[from] KeyProblem),
    /// The name is taken.
    #[error("name: there is a user of this name")]
    UserExists,
}

impl RegistryProblem {
    /// Of a password, in bytes.
    pub const SHORTEST_PASSWORD: usize = 12;
    /// Of a password, in bytes: what the login page takes.
    pub const LONGEST_PASSWORD: usize = crate::oauth::login::LONGEST_PASSWORD;
}

/// Why the registry could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A bug, or no thread for it.
    #[error("the password could not be hashed")]
    Hashing,
    /// The wish cannot be granted.
    #[error(transparent)]
    Problem(#[from] RegistryProblem),
    /// The store did not take part; whether a change was written is not known.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no client of this id.
    #[error("there is no client {0}")]
    UnknownClient(ClientId),
    /// There is no user of this name.
    #[error("there is no user {0}")]
    UnknownUser(LoginName),
}
