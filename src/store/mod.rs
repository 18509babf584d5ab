//! Where credentials live: one narrow trait of atomic verbs, two implementations behind it.
//!
//! Not here: caching, freshness and the meaning of a record ([`crate::auth`]). Invariants:
//! "absent" and "unavailable" are different types (`Ok(None)` and [`StoreError`]); every verb is
//! atomic towards every other, there is no get-then-set; a verb that changes a record has put it
//! into the event log before it answers, so whoever has read the log up to a position knows every
//! answered revocation up to it; no raw secret passes through, only a [`Digest`].

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::clock::{Clock, Timestamp};
use crate::id::{AccountId, KeyId};
use crate::observe::Metrics;
use crate::scope::ScopeSet;
use crate::secret::{Digest, Secret};

mod embedded;
mod measured;
mod redis;
mod retention;

pub use crate::environment::Environment;
pub use embedded::EmbeddedStore;
pub use redis::{InvalidRedisSettings, RedisStore};

/// Opens the configured store; each of its verbs is counted in `metrics`.
///
/// The embedded store is opened at once ([`StoreError::Locked`] when another process has it).
/// Redis is not contacted: the gateway starts without it, and each call answers for itself. Its
/// connections live on the Tokio runtime that this is called in.
pub fn open(
    settings: &StoreSettings,
    clock: &Clock,
    metrics: &Metrics,
) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match settings {
        StoreSettings::Embedded { path } => {
            measured::measure(EmbeddedStore::open(path, clock)?, metrics)
        }
        StoreSettings::Redis(settings) => measured::measure(RedisStore::open(settings)?, metrics),
    })
}

/// What the store knows of one API key. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct KeyRecord {
    /// The public id.
    pub id: KeyId,
    /// The account it acts for.
    pub account: AccountId,
    /// A label for people.
    pub name: String,
    /// Live or test.
    pub environment: Environment,
    /// What it may do.
    pub scopes: ScopeSet,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when it works; `None` is at once.
    pub not_before: Option<Timestamp>,
    /// When it stops working; `None` is never.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
    /// Client addresses it may be used from; empty is any.
    pub allowed_ips: Vec<IpNet>,
    /// Enough of the key to recognise it by: its prefix and the last 4 characters of its body.
    pub hint: String,
}

/// A key to be written: its record and the digest it is found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// The digest of the whole key under the pepper.
    pub digest: Digest,
    /// The record.
    pub record: KeyRecord,
}

/// What became of one [`NewKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum CreateKey {
    /// Written.
    Created,
    /// Nothing written: this key exists already, under this or another id.
    Exists,
}

/// What became of a revocation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum RevokeKey {
    /// It was live until now. The record as it is now.
    Revoked(KeyRecord),
    /// It had been revoked before; its first revocation time stands.
    AlreadyRevoked(KeyRecord),
    /// There is no such key.
    Unknown,
}

/// A place in the event log: right after one entry, which it names. Opaque; only its own store can
/// read it. When that very entry is not in the log any more (trimmed, or the store was emptied,
/// restored or swapped), what came after it cannot be known: [`Follow::Gap`].
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
    const ALL: [DenialKind; 8] = [
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
    fn member(&self) -> String {
        format!("{}:{}", self.kind.label(), self.id)
    }

    /// From [`Denial::member`] and the time beside it. An unknown kind is an error, not skipped:
    /// it may be a revocation by a newer version.
    fn from_member(member: &str, at: Timestamp) -> Result<Denial, StoreError> {
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
    /// Events between the asked position and the log's beginning are lost (trimmed, or the
    /// store lost data): drop every cache and read [`Store::denials`] again.
    Gap,
}

/// The store cannot answer. Never a verdict on a credential.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No answer within the deadline.
    #[error("the store did not answer within {0:?}")]
    Deadline(Duration),
    /// Not reachable, or it refused the connection or the command.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It answered something that is not ours.
    #[error("the store holds a record that cannot be read: {0}")]
    Corrupt(String),
    /// Another process holds the embedded store.
    #[error("the embedded store is in use by another process")]
    Locked,
}

/// The verbs. Each call has a deadline of its own inside the implementation; none waits for
/// longer than the settings say, except [`Store::follow`], which waits as long as it is asked to,
/// and the bulk verbs ([`Store::keys`], [`Store::create_keys`], [`Store::denials`]), which have
/// that deadline for each batch.
#[async_trait::async_trait]
pub trait Store: Send + Sync + 'static {
    /// The record under a digest.
    async fn key_by_digest(&self, digest: &Digest) -> Result<Option<KeyRecord>, StoreError>;

    /// The record of an id.
    async fn key(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError>;

    /// Up to `limit` records in the order of their ids, beginning after `after`.
    async fn keys(&self, after: Option<&KeyId>, limit: usize)
    -> Result<Vec<KeyRecord>, StoreError>;

    /// Writes each key that does not exist yet, with its [`Event::Publish`]. The answers are in
    /// the order of `keys`; each key is all or nothing. After an error some may be written: the
    /// call may be repeated, which answers [`CreateKey::Exists`] for those and completes them.
    async fn create_keys(&self, keys: Vec<NewKey>) -> Result<Vec<CreateKey>, StoreError>;

    /// Marks a key revoked, puts it on the not-before list and writes the [`Event::Deny`], in
    /// this order: in one transaction in the embedded store, in two steps in Redis, where the
    /// record and the log may live on different nodes. May be repeated safely, and must be after
    /// an error: a repetition completes what a crash between the steps left undone.
    async fn revoke_key(&self, id: &KeyId, at: Timestamp) -> Result<RevokeKey, StoreError>;

    /// The not-before list.
    async fn denials(&self) -> Result<Denials, StoreError>;

    /// Events after `position`, waiting up to `wait` for the first. An answer, also an empty
    /// one, is complete as of a moment during the call: it proves that the store is there and
    /// that nothing else was revoked until then.
    async fn follow(&self, position: &Position, wait: Duration) -> Result<Follow, StoreError>;

    /// Whether the store answers now.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// Which store, and how to reach it.
#[derive(Clone, Debug)]
pub enum StoreSettings {
    /// One file, one process.
    Embedded {
        /// The redb file; made when missing.
        path: std::path::PathBuf,
    },
    /// A Redis 7 server, shared by a fleet.
    Redis(RedisSettings),
}

/// How to reach Redis.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// `redis://host:port/db` or `rediss://…`, without user and password.
    pub url: String,
    /// ACL user; `None` is Redis' `default`.
    pub username: Option<String>,
    /// Password.
    pub password: Option<Secret>,
    /// PEM file of the CA that the server's certificate must chain to; `None` is the public ones.
    pub ca: Option<std::path::PathBuf>,
    /// The deadline of each command.
    pub timeout: Duration,
}
