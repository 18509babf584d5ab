//! The Redis store: a server, a primary that sentinels watch, or a Cluster, shared by a fleet of
//! gateways.
//!
//! Redis 7.0 or newer, or what speaks like it. Each command and script touches one Cluster slot
//! ([`layout`]). A record and the
//! event log lie in different slots and cannot be written in one step: [`keys`] has the write
//! orders, what a crash in between leaves, and how a repetition completes it. Until then such a
//! revocation is bounded by the age at which cached records are read again.
//!
//! Invariants: opening contacts nobody; every call ends within its deadline, and at once while the
//! server is known to be away ([`node`]); nothing is read from a server that is not a primary ([`server`]); no
//! error, log line or `Debug` holds a password.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ::redis::cmd;

use crate::clock::Timestamp;
use crate::id::KeyId;
use crate::observe::Metrics;
use crate::secret::Digest;

use super::{
    CreateKey, Denial, Denials, EventStore, Follow, Gap, KeyRecord, KeyRotated, KeyRotation,
    KeyStore, NewKey, Position, Rehash, RevokeKey, RotateKey, StoreError,
};

mod archive;
mod breaker;
mod cluster;
mod connection;
mod denials;
mod fault;
mod fleet;
mod keys;
mod lane;
mod layout;
mod link;
mod log;
mod node;
mod record;
mod rotation;
mod sentinel;
mod server;
mod settings;
mod shelf;
mod tls;
mod witness;

use lane::Lane;
use link::Link;
pub use settings::{
    InvalidRedisSettings, RedisCertificate, RedisSentinels, RedisServers, RedisSettings,
};
use witness::Witness;

/// A store on a Redis server.
pub struct RedisStore {
    lane: Lane,
    witness: Witness,
    /// The connection that [`EventStore::follow`] waits on, while nobody does.
    follower: Mutex<Option<Link>>,
}

impl RedisStore {
    /// Checks the settings and contacts nobody. Connections will live on the Tokio runtime that
    /// this is called in.
    pub fn open(settings: &RedisSettings) -> Result<RedisStore, StoreError> {
        RedisStore::open_counted(settings, &Metrics::new())
    }

    /// As [`RedisStore::open`]; what no replica acknowledged is counted.
    pub fn open_counted(
        settings: &RedisSettings,
        metrics: &Metrics,
    ) -> Result<RedisStore, StoreError> {
        let lane = Lane::new(settings).map_err(|error| StoreError::Unavailable(error.into()))?;
        Ok(RedisStore {
            lane,
            witness: Witness::new(metrics.revocations_unwitnessed.clone()),
            follower: Mutex::new(None),
        })
    }

    /// Whether the CA and the client certificate can be used. Contacts nobody.
    pub fn check_certificates(settings: &RedisSettings) -> Result<(), InvalidRedisSettings> {
        tls::connector(settings).map(drop)
    }

    fn follower(&self) -> std::sync::MutexGuard<'_, Option<Link>> {
        // An `Option` that is taken and put whole is never half written.
        self.follower.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl KeyStore for RedisStore {
    async fn key_by_digest(&self, digest: &Digest) -> Result<Option<KeyRecord>, StoreError> {
        self.lane.call(|c| keys::by_digest(c, *digest)).await
    }

    async fn key(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.lane.call(|c| keys::by_id(c, id.clone())).await
    }

    async fn keys(
        &self,
        after: Option<&KeyId>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        keys::page(&self.lane, after, limit).await
    }

    /// None: the gateways of a fleet that start together would each read all of it.
    async fn keys_at_hand(
        &self,
        _: Option<&Digest>,
        _: usize,
    ) -> Result<Vec<(Digest, KeyRecord)>, StoreError> {
        Ok(Vec::new())
    }

    async fn create_keys(&self, keys: Vec<NewKey>) -> Result<Vec<CreateKey>, StoreError> {
        keys::create(&self.lane, &keys).await
    }

    async fn revoke_key(&self, id: &KeyId, at: Timestamp) -> Result<RevokeKey, StoreError> {
        let answer = self.lane.call(|c| keys::revoke(c, id.clone(), at)).await?;
        if answer != RevokeKey::Unknown {
            self.witness.confirm(&self.lane).await;
        }
        Ok(answer)
    }

    async fn rotate_key(&self, rotation: KeyRotation) -> Result<RotateKey, StoreError> {
        self.lane.call(|c| rotation::rotate(c, rotation)).await
    }

    async fn key_rotation(&self, id: &KeyId) -> Result<Option<KeyRotated>, StoreError> {
        self.lane.call(|c| rotation::last(c, id.clone())).await
    }

    async fn rehash_key(
        &self,
        id: &KeyId,
        old: &Digest,
        new: &Digest,
    ) -> Result<Rehash, StoreError> {
        let (id, old, new) = (id.clone(), *old, *new);
        self.lane.call(|c| rotation::rehash(c, id, old, new)).await
    }
}

#[async_trait::async_trait]
impl EventStore for RedisStore {
    async fn deny(&self, denials: Vec<Denial>) -> Result<(), StoreError> {
        for denial in &denials {
            let step = async |mut c| denials::deny(&mut c, denial).await;
            self.lane.call(step).await?;
        }
        if !denials.is_empty() {
            self.witness.confirm(&self.lane).await;
        }
        Ok(())
    }

    async fn denials(&self) -> Result<Denials, StoreError> {
        denials::all(&self.lane).await
    }

    async fn follow(&self, position: &Position, wait: Duration) -> Result<Follow, StoreError> {
        let Some(place) = log::Place::parse(position) else {
            return Ok(Follow::Gap(Gap::Another));
        };
        let link = self.follower().take();
        let (link, found) = log::follow(&self.lane, link, place, wait).await?;
        *self.follower() = Some(link);
        Ok(found)
    }

    async fn log_end(&self) -> Result<Position, StoreError> {
        self.lane.call(log::end).await
    }

    async fn log_holds(&self, position: &Position) -> Result<bool, StoreError> {
        let Some(place) = log::Place::parse(position) else {
            return Ok(false);
        };
        self.lane.call(|c| log::holds(c, &place)).await
    }

    fn has_reached(&self, position: &Position, target: &Position) -> bool {
        log::has_reached(position, target)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.lane
            .call(
                |mut connection| async move { Ok(cmd("PING").exec_async(&mut connection).await?) },
            )
            .await
    }
}
