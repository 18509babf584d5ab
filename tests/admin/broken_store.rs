//! A store that never answers.

use std::time::Duration;

use portcullis::clock::Timestamp;
use portcullis::id::{InstanceId, KeyId};
use portcullis::secret::Digest;
use portcullis::store::{
    Addition, ArchiveStore, Changed, CreateKey, Cursor, Denial, Denials, Entries, Entry,
    EventStore, Fleet, FleetStore, Follow, Forget, Index, InstanceReport, KeyRecord, KeyRotated,
    KeyRotation, KeyStore, Member, NewKey, Place, Plan, Position, Rehash, Restored, RevokeKey,
    RotateKey, Shelf, StoreError,
};
use tokio::sync::mpsc;

pub(crate) struct BrokenStore;

fn broken<T>() -> Result<T, StoreError> {
    Err(StoreError::Deadline(Duration::from_millis(250)))
}

#[async_trait::async_trait]
impl KeyStore for BrokenStore {
    async fn key_by_digest(&self, _: &Digest) -> Result<Option<KeyRecord>, StoreError> {
        broken()
    }

    async fn key(&self, _: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        broken()
    }

    async fn keys(&self, _: Option<&KeyId>, _: usize) -> Result<Vec<KeyRecord>, StoreError> {
        broken()
    }

    async fn keys_at_hand(
        &self,
        _: Option<&Digest>,
        _: usize,
    ) -> Result<Vec<(Digest, KeyRecord)>, StoreError> {
        broken()
    }

    async fn create_keys(&self, _: Vec<NewKey>) -> Result<Vec<CreateKey>, StoreError> {
        broken()
    }

    async fn revoke_key(&self, _: &KeyId, _: Timestamp) -> Result<RevokeKey, StoreError> {
        broken()
    }

    async fn rotate_key(&self, _: KeyRotation) -> Result<RotateKey, StoreError> {
        broken()
    }

    async fn key_rotation(&self, _: &KeyId) -> Result<Option<KeyRotated>, StoreError> {
        broken()
    }

    async fn rehash_key(&self, _: &KeyId, _: &Digest, _: &Digest) -> Result<Rehash, StoreError> {
        broken()
    }
}

#[async_trait::async_trait]
impl EventStore for BrokenStore {
    async fn deny(&self, _: Vec<Denial>) -> Result<(), StoreError> {
        broken()
    }

    async fn denials(&self) -> Result<Denials, StoreError> {
        broken()
    }

    async fn follow(&self, _: &Position, _: Duration) -> Result<Follow, StoreError> {
        broken()
    }

    async fn log_end(&self) -> Result<Position, StoreError> {
        broken()
    }

    async fn log_holds(&self, _: &Position) -> Result<bool, StoreError> {
        broken()
    }

    fn has_reached(&self, _: &Position, _: &Position) -> bool {
        false
    }

    async fn ping(&self) -> Result<(), StoreError> {
        broken()
    }
}

#[async_trait::async_trait]
impl FleetStore for BrokenStore {
    async fn report(&self, _: InstanceReport) -> Result<Option<Duration>, StoreError> {
        broken()
    }

    async fn fleet(&self) -> Result<Fleet, StoreError> {
        broken()
    }

    async fn leave(&self, _: &InstanceId) -> Result<(), StoreError> {
        broken()
    }

    async fn forget(&self, _: &InstanceId, _: Duration) -> Result<Forget, StoreError> {
        broken()
    }
}

impl Shelf for BrokenStore {
    async fn fetch(&self, _: Vec<Place>) -> Result<Vec<Option<String>>, StoreError> {
        broken()
    }

    async fn members(
        &self,
        _: Index,
        _: Option<Cursor>,
        _: usize,
    ) -> Result<Vec<Member>, StoreError> {
        broken()
    }

    async fn change<T, F>(&self, _: Place, _: Timestamp, _: F) -> Result<Changed<T>, StoreError>
    where
        T: Send + 'static,
        F: Fn(Option<&str>) -> Result<Plan<T>, StoreError> + Send + Sync + 'static,
    {
        broken()
    }

    async fn raise(
        &self,
        _: Vec<(Place, Timestamp, Option<Timestamp>)>,
        _: Timestamp,
    ) -> Result<(), StoreError> {
        broken()
    }

    async fn add(&self, _: Vec<Addition>, _: Timestamp) -> Result<(), StoreError> {
        broken()
    }
}

#[async_trait::async_trait]
impl ArchiveStore for BrokenStore {
    async fn archive(&self, _: mpsc::Sender<Entry>) -> Result<(), StoreError> {
        broken()
    }

    async fn restore(&self, _: Entries, _: Timestamp) -> Result<Restored, StoreError> {
        broken()
    }

    fn backend(&self) -> &'static str {
        "broken"
    }
}
