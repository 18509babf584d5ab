//! The not-before list and the event log: how every instance learns what changed.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::secret::Digest;

use super::StoreError;

/// A place in the event log: right after one entry, which it names. Opaque; only its own store can
/// read it. When that very entry is not in the log any more (trimmed, or the store was emptied,
/// restored or swapped), what came after it cannot be known: [`Follow::Gap`] says which of these.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Position(String);

impl Position {
    /// From a store's own representation.
    pub fn new(text: impl Into<String>) -> Position {
        Position(text.into())
    }

    /// The store's own representation.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a denial names.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum DenialKind {
    /// Everything of one account issued before.
    Account,
    /// Everything of one OAuth client issued before.
    Client,
    /// One grant with all its tokens, absolutely.
    Grant,
    /// Everything of one token issuer issued before.
    Issuer,
    /// One access token, absolutely.
    Jti,
    /// One API key, absolutely.
    Key,
    /// One session, absolutely.
    Session,
    /// Everything of one subject issued before.
    Subject,
}

impl DenialKind {
    /// All of them.
    pub(crate) const ALL: [DenialKind; 8] = [
        DenialKind::Account,
        DenialKind::Client,
        DenialKind::Grant,
        DenialKind::Issuer,
        DenialKind::Jti,
        DenialKind::Key,
        DenialKind::Session,
        DenialKind::Subject,
    ];

    /// The word for it in stores and logs.
    pub const fn label(self) -> &'static str {
        match self {
            DenialKind::Account => "account",
            DenialKind::Client => "client",
            DenialKind::Grant => "grant",
            DenialKind::Issuer => "issuer",
            DenialKind::Jti => "jti",
            DenialKind::Key => "key",
            DenialKind::Session => "session",
            DenialKind::Subject => "subject",
        }
    }
}

/// One entry of the not-before list: whatever it names is refused.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Denial {
    /// What kind of thing is denied.
    pub kind: DenialKind,
    /// Its id.
    pub id: String,
    /// Since when. Kinds marked "absolutely" ignore it (interface.md §7.2).
    pub at: Timestamp,
}

impl Denial {
    /// `kind:id`: its name in a store's not-before list.
    pub(super) fn member(&self) -> String {
        format!("{}:{}", self.kind.label(), self.id)
    }

    /// From [`Denial::member`] and the time beside it. An unknown kind is an error, not skipped:
    /// it may be a revocation by a newer version.
    pub(super) fn from_member(member: &str, at: Timestamp) -> Result<Denial, StoreError> {
        let unreadable = || StoreError::Corrupt("a denial of no known kind".into());
        let (label, id) = member.split_once(':').ok_or_else(unreadable)?;
        let kind = DenialKind::ALL
            .into_iter()
            .find(|kind| kind.label() == label)
            .ok_or_else(unreadable)?;
        Ok(Denial {
            kind,
            id: id.into(),
            at,
        })
    }
}

/// One entry of the event log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Something is revoked.
    Deny(Denial),
    /// The record under this digest is new or changed: forget what is cached of it.
    Publish(Digest),
}

/// The whole not-before list, and the log position that it was read at or after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denials {
    /// Follow the log from here; taken before the list was read, so nothing falls between.
    pub position: Position,
    /// The list.
    pub entries: Vec<Denial>,
}

/// What following the log gave.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Follow {
    /// Every event after the asked position up to `position`, in order; none is news too: it
    /// proves that nothing was revoked.
    Events {
        /// Where to go on from.
        position: Position,
        /// The events, oldest first.
        events: Vec<Event>,
    },
    /// Events after the asked position may be lost: drop every cache and read
    /// [`EventStore::denials`] again.
    Gap(Gap),
}

/// Why it cannot be known what came after a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gap {
    /// The log is not the one of that position: another store, or one that was emptied and has
    /// begun a new log since.
    Another,
    /// The log is the same and goes on without that position: the store was restored from an older
    /// copy, or a replica that lagged took over.
    Behind,
    /// There is no log any more.
    Emptied,
    /// The log begins after that position: more has happened than it holds.
    Trimmed,
}

impl Gap {
    /// All of them.
    pub const ALL: [Gap; 4] = [Gap::Another, Gap::Behind, Gap::Emptied, Gap::Trimmed];

    /// The word for it in metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Gap::Another => "another",
            Gap::Behind => "behind",
            Gap::Emptied => "emptied",
            Gap::Trimmed => "trimmed",
        }
    }
}

/// The verbs on the list and the log.
#[async_trait::async_trait]
pub trait EventStore: Send + Sync + 'static {
    /// Puts denials on the list, never earlier than they were there before, and into the log.
    async fn deny(&self, denials: Vec<Denial>) -> Result<(), StoreError>;

    /// The not-before list.
    async fn denials(&self) -> Result<Denials, StoreError>;

    /// Events after `position`, waiting up to `wait` for the first. An answer, also an empty
    /// one, is complete as of a moment during the call: it proves that the store is there and
    /// that nothing else was revoked until then.
    async fn follow(&self, position: &Position, wait: Duration) -> Result<Follow, StoreError>;

    /// The place after the newest event: whatever was answered before this call lies before it.
    async fn log_end(&self) -> Result<Position, StoreError>;

    /// Whether the log still has this place, as it has not after it was lost, emptied or trimmed.
    async fn log_holds(&self, position: &Position) -> Result<bool, StoreError>;

    /// Whether whoever has read up to `position` has read all up to `target`. "Cannot know", as with
    /// places of two logs, is no.
    fn has_reached(&self, position: &Position, target: &Position) -> bool;

    /// Whether the store answers now.
    async fn ping(&self) -> Result<(), StoreError>;
}
