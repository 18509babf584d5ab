//! Why a key is not written. The texts are for operators; none repeats what may be a secret.

use super::nearest;
use crate::scope::{Scope, ScopeSet};

/// Why a key is not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// No account id.
    #[error("account: {}", crate::id::InvalidId)]
    Account,
    /// The secret of a rotation that is asked for again.
    #[error(
        "request_id: this rotation was carried out under another pepper; its secret cannot be shown again"
    )]
    AnswerLost,
    /// No address or network.
    #[error(
        "allowed_ips: an entry is an address (192.0.2.7) or a network without host bits \
         (192.0.2.0/24)"
    )]
    Address,
    /// The key's own prefix says the other environment.
    #[error("env: the key's own prefix says otherwise")]
    Environment,
    /// The end lies in the past.
    #[error("expires_at: lies in the past")]
    Expired,
    /// No key id.
    #[error("id: `key_` followed by letters, digits, `-` or `_`, at most 128 characters")]
    Id,
    /// No RFC 3339 instant.
    #[error("{0}: a time looks like 2027-01-31T12:00:00Z")]
    Instant(&'static str),
    /// Not JSON; the place is the only thing that is safe to tell.
    #[error("not valid JSON near column {0}")]
    Json(usize),
    /// The characters of a foreign key.
    #[error("key: only visible ASCII characters other than '\"' and '\\' are allowed")]
    KeyCharset,
    /// Our own form, damaged.
    #[error("key: it has this gateway's own form, but its length or checksum is wrong")]
    KeyChecksum,
    /// A foreign key where only our own are looked up.
    #[error(
        "key: not of this gateway's own form; keys of another form need `credentials.checksum: \
         optional`"
    )]
    KeyForeign,
    /// Would be read as something else.
    #[error("key: its form is that of a token or of another kind of credential, never of a key")]
    KeyKind,
    /// Its time is over.
    #[error("the key has expired")]
    KeyExpired,
    /// The length of a foreign key.
    #[error("key: 16 to 256 characters")]
    KeyLength,
    /// The key stands in a field that is shown.
    #[error("key: stands in another field of the line, too")]
    KeyRepeated,
    /// It was revoked.
    #[error("the key is revoked")]
    KeyRevoked,
    /// More than a line may have.
    #[error("the line is longer than {} KiB", super::lines::LONGEST / 1024)]
    LineTooLong,
    /// A field that must be there.
    #[error("{0}: missing")]
    Missing(&'static str),
    /// The label.
    #[error("name: 1 to 200 characters, no control characters")]
    Name,
    /// The start does not come before the end.
    #[error("not_before: does not lie before expires_at")]
    NeverValid,
    /// Too long a time.
    #[error("overlap: at most 30 days")]
    Overlap,
    /// Two secrets work already.
    #[error(
        "two secrets of this key work until {0}; an overlap of 0s ends every older one at once"
    )]
    Overlapping(crate::clock::Timestamp),
    /// No request id.
    #[error("request_id: {}", crate::id::InvalidId)]
    RequestId,
    /// No scope name.
    #[error("scopes: a name is of the characters %x21 %x23-5B %x5D-7E (RFC 6749 §3.3)")]
    Scope,
    /// A field that nobody reads: a misspelt `expires_at` would make a key that lives for ever.
    #[error("{0}: unknown field")]
    UnknownField(String),
    /// A scope that the config does not have.
    #[error("scopes: unknown scope \"{scope}\"; {hint}")]
    UnknownScope {
        /// The unknown name.
        scope: String,
        /// The one that was probably meant, or all of them.
        hint: String,
    },
    /// A field of another JSON type than it should be.
    #[error("{field}: must be {expected}")]
    Type {
        /// Which.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
}

impl KeyProblem {
    /// Names an unknown scope and what was probably meant.
    pub(super) fn unknown_scope(scope: &Scope, known: &ScopeSet) -> KeyProblem {
        let hint = match nearest(scope.as_str(), known) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("known are: {known}"),
        };
        KeyProblem::UnknownScope {
            scope: scope.to_string(),
            hint,
        }
    }
}
