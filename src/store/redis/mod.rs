//! The Redis store: one server, shared by a fleet of gateways.
//!
//! Redis 7.0 or newer, or what speaks like it. Each command and script touches one Cluster slot
//! ([`layout`]), so the layout fits a Cluster; this client talks to one address. A record and the
//! event log lie in different slots and cannot be written in one step: [`keys`] has the write
//! orders, what a crash in between leaves, and how a repetition completes it. Until then such a
//! revocation is bounded by the age at which cached records are read again.
//!
//! Invariants: opening contacts nobody; every call ends within its deadline, and at once while the
//! server is known to be away ([`lane`]); no error, log line or `Debug` holds the password.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::cmd;

use crate::clock::Timestamp;
use crate::id::KeyId;
use crate::secret::Digest;

use super::{
    CreateKey, Denial, Denials, Follow, KeyRecord, NewKey, Position, RedisSettings, RevokeKey,
    Store, StoreError,
};

mod breaker;
mod fault;
mod keys;
mod lane;
mod layout;
mod link;
mod log;
mod record;
mod server;

use fault::Fault;
use lane::Lane;
pub use link::InvalidRedisSettings;
use link::Link;

/// A store on a Redis server.
pub struct RedisStore {
    lane: Lane,
    /// The connection that [`Store::follow`] waits on, while nobody does.
    follower: Mutex<Option<Link>>,
}

impl RedisStore {
    /// Checks the settings and contacts nobody. Connections will live on the Tokio runtime that
    /// this is called in.
    pub fn open(settings: &RedisSettings) -> Result<RedisStore, StoreError> {
        let lane = Lane::new(settings).map_err(|error| StoreError::Unavailable(error.into()))?;
        Ok(RedisStore {
            lane,
            follower: Mutex::new(None),
        })
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
impl Store for RedisStore {
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

    async fn create_keys(&self, keys: Vec<NewKey>) -> Result<Vec<CreateKey>, StoreError> {
        keys::create(&self.lane, &keys).await
    }

    async fn revoke_key(&self, id: &KeyId, at: Timestamp) -> Result<RevokeKey, StoreError> {
        self.lane.call(|c| keys::revoke(c, id.clone(), at)).await
    }

    async fn denials(&self) -> Result<Denials, StoreError> {
        // The position first: a denial that the scan misses comes after it in the log.
        let position = self.lane.call(log::end).await?;
        let mut members = HashMap::new();
        let mut cursor = 0;
        loop {
            let (next, page) = self.lane.call(|c| scan_denials(c, cursor)).await?;
            members.extend(page);
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        let entries = members
            .into_iter()
            .map(|(member, at)| Denial::from_member(&member, at))
            .collect::<Result<_, _>>()?;
        Ok(Denials { position, entries })
    }

    async fn follow(&self, position: &Position, wait: Duration) -> Result<Follow, StoreError> {
        let Some(place) = log::Place::parse(position) else {
            return Ok(Follow::Gap);
        };
        let link = self.follower().take();
        let (link, found) = log::follow(&self.lane, link, place, wait).await?;
        *self.follower() = Some(link);
        Ok(found)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.lane
            .call(
                |mut connection| async move { Ok(cmd("PING").exec_async(&mut connection).await?) },
            )
            .await
    }
}

/// One page of the not-before list and the cursor of the next. Whatever is on the list from the
/// first page to the last is seen, perhaps twice.
async fn scan_denials(
    mut connection: MultiplexedConnection,
    cursor: u64,
) -> Result<(u64, Vec<(String, Timestamp)>), Fault> {
    let mut command = cmd("ZSCAN");
    command
        .arg(layout::DENIALS)
        .arg(cursor)
        .arg("COUNT")
        .arg(1000);
    let (next, page): (u64, Vec<(String, f64)>) = command.query_async(&mut connection).await?;
    let page = page
        .into_iter()
        // Whole milliseconds, far below 2^53: the score holds them exactly.
        .map(|(member, at)| (member, Timestamp::from_millis(at as i64)))
        .collect();
    Ok((next, page))
}
