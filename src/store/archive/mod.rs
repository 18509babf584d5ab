//! Everything that a store holds, as entries: what a backup is made of, and what moves from one
//! store to another.
//!
//! Not here: the file that entries are kept in ([`mod@file`]), and whose peppers fit ([`crate::auth`]).
//! Invariants: an entry holds digests and sealed bytes, never a secret; each kind of document has
//! its fate in one table ([`fate`]), and a kind that is not in it is an error on the way out and on
//! the way in, never skipped; whatever order entries come in, denials are restored first, then
//! lists, then what they deny and list, so that a restoration that breaks off has let nobody in
//! again, and may be repeated.

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::clock::Timestamp;
use crate::id::RequestId;
use crate::secret::Digest;

use super::shelf::{self, Member};
use super::{
    ClientRecord, ConsentRecord, Denial, GrantRecord, KeyRecord, SessionRecord, SigningKeyRecord,
    StoreError, UserRecord, digest_text,
};

pub(super) mod file;

/// One thing that a store holds.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Entry {
    /// An entry of the not-before list.
    Denial(Denial),
    /// An entry of a list of documents.
    Listing {
        /// Which list.
        index: String,
        /// The entry.
        member: String,
    },
    /// A key with its secrets.
    Key(Box<KeyEntry>),
    /// A document.
    Document {
        /// Its name.
        place: String,
        /// When it may go by itself; `None` is never.
        until: Option<Timestamp>,
        /// What it says, as it is stored.
        text: String,
    },
}

/// A key with its secrets.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEntry {
    /// What is kept of the secret in use.
    #[serde(with = "digest_text")]
    pub digest: Digest,
    /// The record.
    pub record: KeyRecord,
    /// Where the secret came from, if it is not the first.
    pub rotation: Option<RotationEntry>,
}

/// The last rotation of a key.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotationEntry {
    /// The wish it came from.
    pub request: RequestId,
    /// When.
    pub at: Timestamp,
    /// The secret before.
    #[serde(with = "digest_text")]
    pub previous: Digest,
    /// When that one stops working.
    pub previous_ends_at: Timestamp,
    /// The record under it, until it is forgotten.
    pub record: Option<KeyRecord>,
}

/// What a restoration did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Restored {
    /// Keys and documents written.
    pub written: u64,
    /// Keys and documents that were there, and stay as they are.
    pub existing: u64,
    /// Denials put on the list; never earlier than they were there.
    pub denials: u64,
}

/// Entries on their way into a store.
pub type Entries = Box<dyn Iterator<Item = io::Result<Entry>> + Send>;

/// The verbs on a whole store.
#[async_trait::async_trait]
pub trait ArchiveStore: Send + Sync + 'static {
    /// Sends everything that the store holds. All that was answered before the call is in it, and
    /// every denial up to its end. The embedded store gives what was there at one moment; in Redis,
    /// each entry is as it was at some moment during the call, and may come twice. Ends early, with
    /// an error, when nobody receives any more.
    async fn archive(&self, to: mpsc::Sender<Entry>) -> Result<(), StoreError>;

    /// Writes entries that come in the order of [`Entry::rank`]. What is there already stays, except
    /// that a key that is revoked on either side is revoked afterwards. Tells of each key and
    /// session. The embedded store takes all of them or none; in Redis an error leaves some written,
    /// and a repetition completes them.
    async fn restore(&self, entries: Entries, at: Timestamp) -> Result<Restored, StoreError>;

    /// The word for the kind of store that this is.
    fn backend(&self) -> &'static str;
}

impl Entry {
    /// The order of restoration.
    pub fn rank(&self) -> u8 {
        match self {
            Entry::Denial(_) => 0,
            Entry::Listing { .. } => 1,
            Entry::Key(_) | Entry::Document { .. } => 2,
        }
    }

    /// The ranks that there are.
    pub const RANKS: std::ops::RangeInclusive<u8> = 0..=2;

    /// Whether it would be gone by itself.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        match self {
            Entry::Denial(_) | Entry::Key(_) => false,
            Entry::Listing { member, .. } => member.as_str() < Member::floor(Some(now)).as_str(),
            Entry::Document { until, .. } => until.is_some_and(|until| until <= now),
        }
    }

    /// Refuses what this version does not know, or cannot read.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let unknown = |what: String| Err(StoreError::Corrupt(what));
        match self {
            Entry::Denial(denial) if has_control(&denial.id) => {
                unknown("the id of a denial".into())
            }
            Entry::Denial(_) => Ok(()),
            Entry::Key(key) => key.check(),
            Entry::Listing { index, member } => {
                if Member::from_text(member.clone()).is_none() || has_control(member) {
                    return unknown("an entry of a list".into());
                }
                match LISTS.contains(&kind(index)) && !has_control(index) {
                    true => Ok(()),
                    false => unknown(format!("a list of the unknown kind {:?}", kind(index))),
                }
            }
            Entry::Document { place, .. } if has_control(place) => {
                unknown("the name of a document".into())
            }
            Entry::Document { place, text, .. } => match fate(place)? {
                Fate::Carried(read) => read(text),
                Fate::Left => unknown(format!("a document that is not carried: {}", kind(place))),
            },
        }
    }
}

impl KeyEntry {
    /// All of a key's records are of one key.
    fn check(&self) -> Result<(), StoreError> {
        let before = self.rotation.as_ref().and_then(|r| r.record.as_ref());
        match before.is_none_or(|before| before.id == self.record.id) {
            true => Ok(()),
            false => Err(StoreError::Corrupt("a rotation of another key".into())),
        }
    }
}

/// By its kind alone: what is in it may be a password's hash.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entry::Denial(denial) => f.debug_tuple("Denial").field(denial).finish(),
            Entry::Key(key) => f.debug_tuple("Key").field(&key.record.id).finish(),
            Entry::Listing { index, .. } => f.debug_tuple("Listing").field(index).finish(),
            Entry::Document { place, .. } => f.debug_tuple("Document").field(&kind(place)).finish(),
        }
    }
}

/// What becomes of a kind of document.
pub(super) enum Fate {
    /// It is carried. What reads one, and finds it whole or not.
    Carried(fn(&str) -> Result<(), StoreError>),
    /// It stays behind.
    Left,
}

/// The fate of each kind of document that there is.
pub(super) fn fate(place: &str) -> Result<Fate, StoreError> {
    Ok(match kind(place) {
        "cl" => Fate::Carried(read::<ClientRecord>),
        "con" => Fate::Carried(read::<ConsentRecord>),
        "g" => Fate::Carried(read::<GrantRecord>),
        // A browser in the middle of a login: it asks again, and ten minutes on it is gone.
        "i" => Fate::Left,
        "jwk" => Fate::Carried(read::<Vec<SigningKeyRecord>>),
        "s" => Fate::Carried(read::<SessionRecord>),
        "sid" => Fate::Carried(read_digest),
        "u" | "ub" | "ul" => Fate::Carried(read::<i64>),
        "ud" => Fate::Carried(read::<BTreeMap<String, u64>>),
        "uid" => Fate::Carried(read::<String>),
        "usr" => Fate::Carried(read::<UserRecord>),
        other => {
            let what = format!("documents of a kind that this version does not know: {other:?}");
            return Err(StoreError::Corrupt(what));
        }
    })
}

/// Each kind of list.
const LISTS: [&str; 9] = [
    "clients",
    "grants-client",
    "grants-subject",
    "sessions",
    "sessions-account",
    "sessions-key",
    "sessions-login",
    "sessions-token",
    "users",
];

fn kind(name: &str) -> &str {
    name.split_once(':').map_or(name, |(kind, _)| kind)
}

/// The digest of the session that a document is of, if it is of one.
pub(super) fn session_digest(place: &str) -> Option<Digest> {
    Digest::from_text(place.strip_prefix("s:")?)
}

fn read<R: DeserializeOwned>(text: &str) -> Result<(), StoreError> {
    shelf::parse::<R>(Some(text)).map(drop)
}

fn read_digest(text: &str) -> Result<(), StoreError> {
    let digest: Option<String> = shelf::parse(Some(text))?;
    match digest.is_some_and(|digest| Digest::from_text(&digest).is_some()) {
        true => Ok(()),
        false => Err(StoreError::Corrupt("the digest of a session's id".into())),
    }
}

/// Control characters separate the parts of a name in the embedded store.
fn has_control(name: &str) -> bool {
    name.chars().any(char::is_control)
}

/// Nobody receives the entries any more.
#[derive(Debug, thiserror::Error)]
#[error("whoever asked for the export has gone")]
pub(super) struct Gone;

impl From<Gone> for StoreError {
    fn from(gone: Gone) -> StoreError {
        StoreError::Unavailable(gone.into())
    }
}

/// The next entry, or why there is none.
pub(super) fn taken(entry: io::Result<Entry>) -> Result<Entry, StoreError> {
    entry.map_err(|error| StoreError::Unavailable(error.into()))
}
