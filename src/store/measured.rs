//! A store that counts and times each verb of the store within.
//!
//! Not here: what an error means. Invariant: every answer passes through unchanged.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Histogram;
use tokio::time::Instant;

use crate::clock::Timestamp;
use crate::id::KeyId;
use crate::observe::{Metrics, StoreMetrics};
use crate::secret::Digest;

use super::{
    CreateKey, Denials, Follow, KeyRecord, NewKey, Position, RevokeKey, Store, StoreError,
};

/// Puts a store behind its counters.
pub(super) fn measure(store: impl Store, metrics: &Metrics) -> Arc<dyn Store> {
    Arc::new(Measured {
        store,
        duration: metrics.store_operation_duration.clone(),
        key_by_digest: metrics.store("key_by_digest"),
        key: metrics.store("key"),
        keys: metrics.store("keys"),
        create_keys: metrics.store("create_keys"),
        revoke_key: metrics.store("revoke_key"),
        denials: metrics.store("denials"),
        follow: metrics.store("follow"),
        ping: metrics.store("ping"),
    })
}

struct Measured<S> {
    store: S,
    duration: Histogram,
    key_by_digest: StoreMetrics,
    key: StoreMetrics,
    keys: StoreMetrics,
    create_keys: StoreMetrics,
    revoke_key: StoreMetrics,
    denials: StoreMetrics,
    follow: StoreMetrics,
    ping: StoreMetrics,
}

impl<S> Measured<S> {
    async fn time<T>(
        &self,
        verb: &StoreMetrics,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let start = Instant::now();
        let answer = answer.await;
        self.duration.observe(start.elapsed().as_secs_f64());
        count(verb, answer)
    }
}

fn count<T>(verb: &StoreMetrics, answer: Result<T, StoreError>) -> Result<T, StoreError> {
    match &answer {
        Ok(_) => verb.ok.inc(),
        Err(_) => verb.error.inc(),
    }
    answer
}

#[async_trait::async_trait]
impl<S: Store> Store for Measured<S> {
    async fn key_by_digest(&self, digest: &Digest) -> Result<Option<KeyRecord>, StoreError> {
        let answer = self.store.key_by_digest(digest);
        self.time(&self.key_by_digest, answer).await
    }

    async fn key(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.time(&self.key, self.store.key(id)).await
    }

    async fn keys(
        &self,
        after: Option<&KeyId>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        self.time(&self.keys, self.store.keys(after, limit)).await
    }

    async fn create_keys(&self, keys: Vec<NewKey>) -> Result<Vec<CreateKey>, StoreError> {
        let answer = self.store.create_keys(keys);
        self.time(&self.create_keys, answer).await
    }

    async fn revoke_key(&self, id: &KeyId, at: Timestamp) -> Result<RevokeKey, StoreError> {
        let answer = self.store.revoke_key(id, at);
        self.time(&self.revoke_key, answer).await
    }

    async fn denials(&self) -> Result<Denials, StoreError> {
        self.time(&self.denials, self.store.denials()).await
    }

    /// Counted but not timed: it waits on purpose, which would drown every other duration.
    async fn follow(&self, position: &Position, wait: Duration) -> Result<Follow, StoreError> {
        count(&self.follow, self.store.follow(position, wait).await)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.time(&self.ping, self.store.ping()).await
    }
}
