//! Where credentials live: narrow traits of atomic verbs, one an idea, two implementations behind
//! them.
//!
//! [`Store`] is all of the traits together. Keys and the log are written for each backend; what
//! OAuth and sessions need stands on documents that change atomically ([`Shelf`]), so that what a
//! verb decides is written once.
//!
//! Not here: caching, freshness and the meaning of a record ([`crate::auth`]). Invariants:
//! "absent" and "unavailable" are different types (`Ok(None)` and [`StoreError`]); every verb is
//! atomic towards every other, there is no get-then-set; a verb that changes a record has put it
//! into the event log before it answers, so whoever has read the log up to a position knows every
//! answered revocation up to it; no raw secret passes through, only a [`Digest`].
//!
//! [`Digest`]: crate::secret::Digest

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::observe::Metrics;

mod archive;
mod event;
mod fleet;
mod key;
mod usage;
mod session;
mod client;
mod user;
mod grant;
mod interaction;
mod signing_key;
mod shelf;
mod digest_text;
mod embedded;
mod memory;
mod redis;
mod measured;
mod retention;

pub use crate::environment::Environment;
pub use archive::file::{ExportHead, ExportProblem, ExportReader, ExportWriter};
pub use archive::{ArchiveStore, Entries, Entry, KeyEntry, Restored, RotationEntry};
pub use client::{
    ClientAuthentication, ClientKind, ClientRecord, ClientRotation, ClientSecret, ClientSettings,
    ClientStore, Consent, CreateClient, DisableClient, GrantType, PkceRule, RotateClientSecret,
    UpdateClient,
};
pub use embedded::EmbeddedStore;
pub use event::{Denial, DenialKind, Denials, Event, EventStore, Follow, Gap, Position};
pub use fleet::{
    Fleet, FleetReach, FleetStore, Forget, Instance, InstanceReport, InstanceStage, RENEWED_WITHIN,
    ReportKind,
};
pub use grant::{
    CodeState, CreateGrant, Grace, GrantOwner, GrantRecord, GrantStanding, GrantStore, NewRefresh,
    Redeem, RedeemCode, RedirectRule, RefreshState, RevocationReason, RevokeGrant, Rotate,
    RotateRefresh,
};
pub use interaction::{
    AdvanceInteraction, AnswerLogin, ConsentRecord, CreateInteraction, Decision, DelegatedLogin,
    InteractionRecord, InteractionState, InteractionStore, Login, LoginAnswer, RejectReason,
};
pub use key::{
    CreateKey, KeyRecord, KeyRotated, KeyRotation, KeyStore, NewKey, Rehash, RevokeKey, RotateKey,
};
pub use memory::{Memory, Remembered};
pub use redis::{
    InvalidRedisSettings, RedisCertificate, RedisSentinels, RedisServers, RedisSettings, RedisStore,
};
pub use retention::DENIALS as DENIAL_RETENTION;
pub use session::{
    CreateSession, EndSession, NewSession, ParentToken, SessionOwner, SessionParent, SessionRecord,
    SessionStore,
};
pub use shelf::{
    Addition, Change, Changed, Cursor, Index, Listing, Member, Page, Place, Plan, Shelf,
};
pub use signing_key::{
    ActivateSigningKey, DropSigningKey, NewSigningKey, PublishSigningKey, SigningAlgorithm,
    SigningKeyRecord, SigningKeyState, SigningKeyStore,
};
pub use usage::{Day, KeyUsage, KeyUses, Touch, UsageStore, Uses};
pub use user::{ChangeUser, CreateUser, PasswordHash, UserRecord, UserStore};

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
        StoreSettings::Redis(settings) => {
            measured::measure(RedisStore::open_counted(settings, metrics)?, metrics)
        }
    })
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
    #[error("the store cannot be read: {0}")]
    Corrupt(String),
    /// Another process holds the embedded store.
    #[error(
        "the embedded store {} is in use by another process, and one at a time can have it: reach \
         the running gateway through its admin API (`listen.admin`), or stop it first",
        .path.display()
    )]
    Locked {
        /// The file.
        path: std::path::PathBuf,
    },
}

/// Everything a store does. Each call has a deadline of its own inside the implementation; none
/// waits for longer than the settings say, except [`EventStore::follow`], which waits as long as
/// it is asked to, and verbs of many steps (bulk verbs, lists, and whatever loses a race and
/// decides anew), which have that deadline for each step.
pub trait Store:
    KeyStore
    + EventStore
    + FleetStore
    + UsageStore
    + SessionStore
    + ClientStore
    + UserStore
    + GrantStore
    + InteractionStore
    + SigningKeyStore
    + ArchiveStore
{
}

impl<S> Store for S where
    S: KeyStore
        + EventStore
        + FleetStore
        + UsageStore
        + SessionStore
        + ClientStore
        + UserStore
        + GrantStore
        + InteractionStore
        + SigningKeyStore
        + ArchiveStore
{
}

/// Which store, and how to reach it.
#[derive(Clone, Debug)]
pub enum StoreSettings {
    /// One file, one process.
    Embedded {
        /// The redb file; made when missing.
        path: std::path::PathBuf,
    },
    /// Redis 7, shared by a fleet.
    Redis(RedisSettings),
}
