//! The keys that access tokens are signed with, shared by all instances.
//!
//! ```text
//! publish ──▶ next ──activate──▶ active ──(another is activated)──▶ retiring ──▶ gone
//! ```
//!
//! All of them are one document, so that there is one active key at each moment. Private keys lie
//! sealed under the pepper ([`Sealed`]): a dump gives nothing. Not here: making, opening and using
//! keys. Invariants: once there is a key, one is active; but for the very first, a key was
//! published for a while before it is active, so that whoever verifies has it by then.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::sealed::Sealed;

use super::shelf::{self, Place, Plan};
use super::{Rehash, Shelf, StoreError};

/// What a key signs with. Each key has one algorithm (RFC 8725 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum SigningAlgorithm {
    /// ECDSA with P-256 and SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
}

/// Where a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SigningKeyState {
    /// It signs.
    Active {
        /// Since when.
        since: Timestamp,
    },
    /// It is published, and will sign.
    Next,
    /// It signs no more; what it signed is still verified.
    Retiring {
        /// Until when.
        until: Timestamp,
    },
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SigningKeyRecord {
    /// Its `kid`.
    pub kid: String,
    /// What it signs with.
    pub algorithm: SigningAlgorithm,
    /// The public half, a JWK.
    pub public: String,
    /// The private half, PKCS#8, sealed with the `kid` as its name.
    pub private: Sealed,
    /// When it was published.
    pub created_at: Timestamp,
    /// Where it stands.
    pub state: SigningKeyState,
}

/// A key to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSigningKey {
    /// Its `kid`.
    pub kid: String,
    /// What it signs with.
    pub algorithm: SigningAlgorithm,
    /// The public half, a JWK.
    pub public: String,
    /// The private half, PKCS#8, sealed with the `kid` as its name.
    pub private: Sealed,
}

/// What became of a new key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum PublishSigningKey {
    /// It is the first, and active at once.
    Activated,
    /// Nothing written: there is a next key already.
    NextExists(SigningKeyRecord),
    /// It is the next.
    Published,
}

/// What became of putting the next key to use.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum ActivateSigningKey {
    /// It signs from now on.
    Activated(SigningKeyRecord),
    /// It was active before.
    AlreadyActive,
    /// Published for too short a time; ask again then. Nothing changed.
    TooEarly(Timestamp),
    /// There is no next key of this `kid`.
    Unknown,
}

/// What became of forgetting a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum DropSigningKey {
    /// The active key stays: activate another first.
    Active,
    /// What it signed is not verified any more.
    Dropped,
    /// There is no such key.
    Unknown,
}

/// The verbs on signing keys.
#[async_trait::async_trait]
pub trait SigningKeyStore: Send + Sync + 'static {
    /// All keys, the newest first. A retiring one may just have come to its end.
    async fn signing_keys(&self) -> Result<Vec<SigningKeyRecord>, StoreError>;

    /// Publishes a key as the next; the very first is active at once.
    async fn publish_signing_key(
        &self,
        key: NewSigningKey,
        at: Timestamp,
    ) -> Result<PublishSigningKey, StoreError>;

    /// Puts the next key to use, if it was published `published_for` ago. The one before is
    /// verified until `retire_at`.
    async fn activate_signing_key(
        &self,
        kid: &str,
        published_for: Duration,
        retire_at: Timestamp,
        at: Timestamp,
    ) -> Result<ActivateSigningKey, StoreError>;

    /// Forgets a key that is not active, at once.
    async fn drop_signing_key(
        &self,
        kid: &str,
        at: Timestamp,
    ) -> Result<DropSigningKey, StoreError>;

    /// Puts the same private key, sealed anew, in place: for a pepper that changes.
    async fn reseal_signing_key(
        &self,
        kid: &str,
        old: &Sealed,
        new: Sealed,
        at: Timestamp,
    ) -> Result<Rehash, StoreError>;
}

#[async_trait::async_trait]
impl<S: Shelf> SigningKeyStore for S {
    async fn signing_keys(&self) -> Result<Vec<SigningKeyRecord>, StoreError> {
        let found: Option<Vec<SigningKeyRecord>> = shelf::read(self, place()).await?;
        Ok(found.unwrap_or_default())
    }

    async fn publish_signing_key(
        &self,
        key: NewSigningKey,
        at: Timestamp,
    ) -> Result<PublishSigningKey, StoreError> {
        alter(self, at, move |keys| publish(keys, &key, at)).await
    }

    async fn activate_signing_key(
        &self,
        kid: &str,
        published_for: Duration,
        retire_at: Timestamp,
        at: Timestamp,
    ) -> Result<ActivateSigningKey, StoreError> {
        let kid = kid.to_owned();
        alter(self, at, move |keys| {
            activate(keys, &kid, published_for, retire_at, at)
        })
        .await
    }

    async fn drop_signing_key(
        &self,
        kid: &str,
        at: Timestamp,
    ) -> Result<DropSigningKey, StoreError> {
        let kid = kid.to_owned();
        alter(self, at, move |keys| {
            let Some(found) = keys.iter().position(|key| key.kid == kid) else {
                return DropSigningKey::Unknown;
            };
            if let SigningKeyState::Active { .. } = keys[found].state {
                return DropSigningKey::Active;
            }
            keys.remove(found);
            DropSigningKey::Dropped
        })
        .await
    }

    async fn reseal_signing_key(
        &self,
        kid: &str,
        old: &Sealed,
        new: Sealed,
        at: Timestamp,
    ) -> Result<Rehash, StoreError> {
        let (kid, old) = (kid.to_owned(), old.clone());
        alter(self, at, move |keys| {
            let mut keys = keys.iter_mut();
            match keys.find(|key| key.kid == kid && key.private == old) {
                Some(key) => {
                    key.private = new.clone();
                    Rehash::Rehashed
                }
                None => Rehash::Unknown,
            }
        })
        .await
    }
}

fn publish(
    keys: &mut Vec<SigningKeyRecord>,
    key: &NewSigningKey,
    at: Timestamp,
) -> PublishSigningKey {
    if let Some(next) = keys.iter().find(|key| key.state == SigningKeyState::Next) {
        return PublishSigningKey::NextExists(next.clone());
    }
    let active = |key: &SigningKeyRecord| matches!(key.state, SigningKeyState::Active { .. });
    let (answer, state) = if keys.iter().any(active) {
        (PublishSigningKey::Published, SigningKeyState::Next)
    } else {
        let state = SigningKeyState::Active { since: at };
        (PublishSigningKey::Activated, state)
    };
    let record = SigningKeyRecord {
        kid: key.kid.clone(),
        algorithm: key.algorithm,
        public: key.public.clone(),
        private: key.private.clone(),
        created_at: at,
        state,
    };
    keys.insert(0, record);
    answer
}

fn activate(
    keys: &mut [SigningKeyRecord],
    kid: &str,
    published_for: Duration,
    retire_at: Timestamp,
    at: Timestamp,
) -> ActivateSigningKey {
    let Some(found) = keys.iter().position(|key| key.kid == kid) else {
        return ActivateSigningKey::Unknown;
    };
    match keys[found].state {
        SigningKeyState::Active { .. } => return ActivateSigningKey::AlreadyActive,
        SigningKeyState::Retiring { .. } => return ActivateSigningKey::Unknown,
        SigningKeyState::Next => {}
    }
    let earliest = keys[found].created_at.plus(published_for);
    if earliest > at {
        return ActivateSigningKey::TooEarly(earliest);
    }
    for key in keys.iter_mut() {
        if let SigningKeyState::Active { .. } = key.state {
            key.state = SigningKeyState::Retiring { until: retire_at };
        }
    }
    keys[found].state = SigningKeyState::Active { since: at };
    ActivateSigningKey::Activated(keys[found].clone())
}

/// Alters the keys, after forgetting those that have come to their end.
async fn alter<T: Send + 'static>(
    shelf: &impl Shelf,
    at: Timestamp,
    alteration: impl Fn(&mut Vec<SigningKeyRecord>) -> T + Send + Sync + 'static,
) -> Result<T, StoreError> {
    shelf::change(shelf, place(), at, move |found| {
        let before: Vec<SigningKeyRecord> = shelf::parse(found)?.unwrap_or_default();
        let mut keys = before.clone();
        keys.retain(|key| !matches!(key.state, SigningKeyState::Retiring { until } if until <= at));
        let answer = alteration(&mut keys);
        if keys == before {
            return Ok(Plan::keep(answer));
        }
        Plan::write(answer, &keys, None)
    })
    .await
}

fn place() -> Place {
    Place::new("jwk", "")
}
