//! A store that never answers.

use std::time::Duration;

use portcullis::clock::Timestamp;
use portcullis::id::KeyId;
use portcullis::secret::Digest;
use portcullis::store::{
    CreateKey, Denials, Follow, KeyRecord, NewKey, Position, RevokeKey, Store, StoreError,
};

pub(crate) struct BrokenStore;

fn broken<T>() -> Result<T, StoreError> {
    Err(StoreError::Deadline(Duration::from_millis(250)))
}

#[async_trait::async_trait]
impl Store for BrokenStore {
    async fn key_by_digest(&self, _: &Digest) -> Result<Option<KeyRecord>, StoreError> {
        broken()
    }

    async fn key(&self, _: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        broken()
    }

    async fn keys(&self, _: Option<&KeyId>, _: usize) -> Result<Vec<KeyRecord>, StoreError> {
        broken()
    }

    async fn create_keys(&self, _: Vec<NewKey>) -> Result<Vec<CreateKey>, StoreError> {
        broken()
    }

    async fn revoke_key(&self, _: &KeyId, _: Timestamp) -> Result<RevokeKey, StoreError> {
        broken()
    }

    async fn denials(&self) -> Result<Denials, StoreError> {
        broken()
    }

    async fn follow(&self, _: &Position, _: Duration) -> Result<Follow, StoreError> {
        broken()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        broken()
    }
}
