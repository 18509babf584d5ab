//! API keys: their records, and the verbs on them.
//!
//! A key keeps its id over its whole life; its secret may change. At most two secrets of a key
//! work at a time: each has its digest, under which the whole record is found. Invariant: the
//! record under a secret that was rotated out ends by itself, with an earlier `expires_at`.

use std::time::Duration;

use ipnet::IpNet;

use crate::clock::Timestamp;
use crate::environment::Environment;
use crate::id::{AccountId, KeyId, RequestId};
use crate::scope::ScopeSet;
use crate::secret::Digest;

use super::StoreError;

/// What the store knows of one API key. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
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

/// A wish to give a key another secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRotation {
    /// Which key.
    pub id: KeyId,
    /// The new secret's digest.
    pub digest: Digest,
    /// The new secret's hint.
    pub hint: String,
    /// Names the wish: asked again under the same name, it is not carried out again.
    pub request: RequestId,
    /// How long the old secret goes on working; zero ends every old one at once.
    pub overlap: Duration,
    /// Now.
    pub at: Timestamp,
}

/// The last rotation of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRotated {
    /// The wish it came from.
    pub request: RequestId,
    /// When.
    pub at: Timestamp,
    /// The secret in use now.
    pub current: Digest,
    /// The one before: [`UsageStore::last_seen`](super::UsageStore::last_seen) tells whether it is
    /// still shown.
    pub previous: Digest,
    /// When the one before stops working.
    pub previous_ends_at: Timestamp,
}

/// What became of a [`KeyRotation`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum RotateKey {
    /// The new digest belongs to a key already. Nothing changed.
    DigestTaken,
    /// The key has expired. Nothing changed.
    Expired,
    /// Two secrets work already, the older until then. Nothing changed: a third would end it
    /// early for whoever still uses it. An overlap of zero does that on purpose.
    Overlapping(Timestamp),
    /// This wish was carried out before.
    Repeated(KeyRotated),
    /// The key is revoked. Nothing changed.
    Revoked,
    /// Carried out now.
    Rotated(KeyRotated),
    /// There is no such key.
    Unknown,
}

/// What became of putting another digest of the same secret in place of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Rehash {
    /// Found by the new digest from now on, and not by the old one.
    Rehashed,
    /// There is nothing under the old digest (any more).
    Unknown,
}

/// The verbs on API keys.
#[async_trait::async_trait]
pub trait KeyStore: Send + Sync + 'static {
    /// The record under a digest.
    async fn key_by_digest(&self, digest: &Digest) -> Result<Option<KeyRecord>, StoreError>;

    /// The record of an id.
    async fn key(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError>;

    /// Up to `limit` records in the order of their ids, beginning after `after`.
    async fn keys(&self, after: Option<&KeyId>, limit: usize)
    -> Result<Vec<KeyRecord>, StoreError>;

    /// Up to `limit` records, each with the digest that it is found by, in the order of the digests,
    /// beginning after `after`: from a store that has them at hand, to fill a cache at start. One
    /// that has to ask another machine for them gives none.
    async fn keys_at_hand(
        &self,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<(Digest, KeyRecord)>, StoreError>;

    /// Writes each key that does not exist yet, with its [`Event::Publish`]. The answers are in
    /// the order of `keys`; each key is all or nothing. After an error some may be written: the
    /// call may be repeated, which answers [`CreateKey::Exists`] for those and completes them.
    ///
    /// [`Event::Publish`]: super::Event::Publish
    async fn create_keys(&self, keys: Vec<NewKey>) -> Result<Vec<CreateKey>, StoreError>;

    /// Marks a key revoked, puts it on the not-before list and writes the [`Event::Deny`], in
    /// this order: in one transaction in the embedded store, in two steps in Redis, where the
    /// record and the log may live on different nodes. May be repeated safely, and must be after
    /// an error: a repetition completes what a crash between the steps left undone.
    ///
    /// [`Event::Deny`]: super::Event::Deny
    async fn revoke_key(&self, id: &KeyId, at: Timestamp) -> Result<RevokeKey, StoreError>;

    /// Gives a key another secret under the same id. The old one goes on until the overlap ends.
    /// Both records are published. After an error it may be repeated, and must be: a repetition
    /// completes what a crash left undone.
    async fn rotate_key(&self, rotation: KeyRotation) -> Result<RotateKey, StoreError>;

    /// The last rotation of a key, if there was one.
    async fn key_rotation(&self, id: &KeyId) -> Result<Option<KeyRotated>, StoreError>;

    /// Has the secret that was found under `old` found under `new`, be it the key's current one or
    /// the one before: for a pepper that changes. Publishes both.
    async fn rehash_key(
        &self,
        id: &KeyId,
        old: &Digest,
        new: &Digest,
    ) -> Result<Rehash, StoreError>;
}

/// What a wish comes to, seen from the key's current record and its last rotation: one judgement
/// for both backends.
pub(super) enum Verdict {
    /// Nothing is to be done.
    Answer(RotateKey),
    /// The secret in use ends then.
    Rotate {
        /// When.
        ends_at: Timestamp,
    },
}

impl KeyRotation {
    pub(super) fn judge(&self, record: &KeyRecord, last: Option<&KeyRotated>) -> Verdict {
        if record.revoked_at.is_some() {
            return Verdict::Answer(RotateKey::Revoked);
        }
        if let Some(last) = last.filter(|last| last.request == self.request) {
            return Verdict::Answer(RotateKey::Repeated(last.clone()));
        }
        if record.expires_at.is_some_and(|end| end <= self.at) {
            return Verdict::Answer(RotateKey::Expired);
        }
        if let Some(last) = last.filter(|last| last.previous_ends_at > self.at)
            && !self.overlap.is_zero()
        {
            return Verdict::Answer(RotateKey::Overlapping(last.previous_ends_at));
        }
        let end = self.at.plus(self.overlap);
        Verdict::Rotate {
            ends_at: record.expires_at.map_or(end, |earlier| earlier.min(end)),
        }
    }

    /// The record of the new secret.
    pub(super) fn renewed(&self, record: &KeyRecord) -> KeyRecord {
        KeyRecord {
            hint: self.hint.clone(),
            ..record.clone()
        }
    }
}
