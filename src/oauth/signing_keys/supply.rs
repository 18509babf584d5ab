//! Seeing to it that the store has a signing key of the configured algorithm: the first of a
//! deployment, and another where the setting has changed; and that a next key is put to use.
//!
//! Not here: making a next key of the same algorithm, which is the operator's wish
//! ([`SigningKeyDesk`]). Invariants: a key signs nothing before all others had the time to learn of
//! it; what the key before it signed is verified until it has expired.

use super::{KeysError, SigningKeys};
use crate::auth::SigningKeyDesk;
use crate::store::{ActivateSigningKey, SigningAlgorithm, SigningKeyRecord, SigningKeyState};

const PUBLISHED_FOR: std::time::Duration = SigningKeyDesk::PUBLISHED_FOR;
const RETIRING: std::time::Duration = SigningKeyDesk::RETIRING;

impl SigningKeys {
    /// Takes the next step towards a key of this algorithm that signs, if one is left. Says
    /// whether it changed anything.
    pub(super) async fn supply(
        &self,
        records: &[SigningKeyRecord],
        algorithm: SigningAlgorithm,
    ) -> Result<bool, KeysError> {
        let is_right = |record: &SigningKeyRecord| record.algorithm == algorithm;
        let mut all = records.iter();
        let next = all.find(|record| record.state == SigningKeyState::Next);
        let is_rightly_active = |record| is_active(record) && is_right(record);
        match next {
            Some(next) if is_right(next) => self.activate(next).await,
            _ if records.iter().any(is_rightly_active) => Ok(false),
            // It has signed nothing yet, and would sign with what is not wanted any more.
            Some(next) => {
                let now = self.clock.now();
                let answer = self.store.drop_signing_key(&next.kid, now).await?;
                tracing::info!(kid = next.kid, ?answer, "a next key was dropped");
                self.make(algorithm).await
            }
            None => self.make(algorithm).await,
        }
    }

    async fn activate(&self, next: &SigningKeyRecord) -> Result<bool, KeysError> {
        let now = self.clock.now();
        if now < next.created_at.plus(PUBLISHED_FOR) {
            return Ok(false);
        }
        let (kid, retire_at) = (&next.kid, now.plus(RETIRING));
        let activated = self
            .store
            .activate_signing_key(kid, PUBLISHED_FOR, retire_at, now)
            .await?;
        tracing::info!(kid, "the next signing key was put to use");
        Ok(matches!(activated, ActivateSigningKey::Activated(_)))
    }

    /// Makes a key: a deployment's first is active at once, any other is the next. Of two instances
    /// that make one at the same time, the later one's becomes the next or is not written.
    async fn make(&self, algorithm: SigningAlgorithm) -> Result<bool, KeysError> {
        let pepper = self.peppers.load().current().clone();
        let made = self
            .control
            .spawn_blocking(move || SigningKeyDesk::draft(&pepper, algorithm));
        let Ok(Ok(new)) = made.await else {
            return Err(KeysError::Make);
        };
        let kid = new.kid.clone();
        let answer = self
            .store
            .publish_signing_key(new, self.clock.now())
            .await?;
        tracing::info!(kid, ?answer, "a signing key was made");
        Ok(true)
    }
}

fn is_active(record: &SigningKeyRecord) -> bool {
    matches!(record.state, SigningKeyState::Active { .. })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::runtime::Handle;

    use super::*;
    use crate::clock::{Clock, Timestamp};
    use crate::observe::Metrics;
    use crate::secret::{LivePeppers, Pepper};
    use crate::store::{PublishSigningKey, Store, StoreSettings};

    use SigningAlgorithm::{Es256, Rs256};

    /// A store, a clock, and the keys of one instance.
    struct Room {
        _folder: tempfile::TempDir,
        store: Arc<dyn Store>,
        clock: Clock,
        keys: Arc<SigningKeys>,
    }

    impl Room {
        fn open() -> Room {
            let folder = tempfile::tempdir().expect("a folder");
            let clock = Clock::manual(Timestamp::from_secs(1_790_000_000));
            let store = embedded(folder.path(), &clock);
            Room {
                keys: instance(&store, &clock),
                _folder: folder,
                store,
                clock,
            }
        }

        /// The published algorithms and states, the newest first.
        async fn told(&self) -> Vec<(SigningAlgorithm, &'static str)> {
            let records = self.store.signing_keys().await.expect("the store is there");
            let state = |record: &SigningKeyRecord| match record.state {
                SigningKeyState::Active { .. } => "active",
                SigningKeyState::Next => "next",
                SigningKeyState::Retiring { .. } => "retiring",
            };
            records
                .iter()
                .map(|record| (record.algorithm, state(record)))
                .collect()
        }

        /// How many public keys others are told.
        fn published(&self) -> usize {
            let jwks = self.keys.jwks().expect("a key set");
            let set: serde_json::Value = serde_json::from_slice(&jwks).expect("JSON");
            set["keys"].as_array().map_or(0, Vec::len)
        }

        /// As an operator's rotation does.
        async fn publish(&self, algorithm: SigningAlgorithm) {
            let new = SigningKeyDesk::draft(&Pepper::of_test(b'z'), algorithm).expect("a key");
            let published = self.store.publish_signing_key(new, self.clock.now()).await;
            assert_eq!(
                published.expect("the store is there"),
                PublishSigningKey::Published
            );
        }

        fn active(&self) -> String {
            self.keys.active().expect("a key").kid().to_owned()
        }
    }

    fn embedded(folder: &Path, clock: &Clock) -> Arc<dyn Store> {
        let path = folder.join("store.redb");
        let settings = StoreSettings::Embedded { path };
        crate::store::open(&settings, clock, &Metrics::new()).expect("a store")
    }

    fn instance(store: &Arc<dyn Store>, clock: &Clock) -> Arc<SigningKeys> {
        let (store, clock) = (Arc::clone(store), clock.clone());
        let control = Handle::current();
        let peppers = LivePeppers::new(Pepper::of_test(b'z').into());
        Arc::new(SigningKeys::new(store, peppers, clock, control))
    }

    #[tokio::test]
    async fn whoever_only_looks_makes_no_key() {
        let room = Room::open();
        room.keys.look().await;
        assert!(room.told().await.is_empty());
        assert!(room.keys.active().is_none());
    }

    #[tokio::test]
    async fn the_first_key_signs_at_once_and_another_instance_has_the_same() {
        let room = Room::open();
        room.keys.start(Es256).await;
        let other = instance(&room.store, &room.clock);
        other.start(Es256).await;
        assert_eq!(room.told().await, [(SigningAlgorithm::Es256, "active")]);
        let kid = other.active().expect("a key").kid().to_owned();
        assert_eq!(kid, room.active());
    }

    #[tokio::test]
    async fn another_algorithm_is_published_first_and_signs_when_all_know_its_key() {
        let room = Room::open();
        room.keys.start(Es256).await;
        let first = room.active();
        room.keys.start(Rs256).await;
        let both = [(Rs256, "next"), (Es256, "active")];
        assert_eq!(room.told().await, both);
        assert_eq!((room.published(), room.active()), (2, first.clone()));

        room.clock.advance(PUBLISHED_FOR - Duration::from_secs(1));
        assert!(room.keys.refresh().await);
        assert_eq!(
            (room.told().await, room.active()),
            (both.into(), first.clone())
        );
        room.clock.advance(Duration::from_secs(1));
        assert!(room.keys.refresh().await);
        let changed = [(Rs256, "active"), (Es256, "retiring")];
        assert_eq!(room.told().await, changed);
        assert_ne!(room.active(), first);
        assert_eq!(room.published(), 2);

        room.clock.advance(RETIRING);
        assert!(room.keys.refresh().await);
        assert_eq!(room.published(), 1);
    }

    #[tokio::test]
    async fn a_next_key_of_the_same_algorithm_is_put_to_use_when_all_know_it() {
        let room = Room::open();
        room.keys.start(Es256).await;
        let first = room.active();
        room.publish(Es256).await;
        let other = instance(&room.store, &room.clock);
        other.start(Es256).await;
        room.clock.advance(PUBLISHED_FOR - Duration::from_secs(1));
        assert!(room.keys.refresh().await);
        assert_eq!(room.active(), first);
        assert_eq!(room.published(), 2, "published before it signs");
        room.clock.advance(Duration::from_secs(1));
        assert!(room.keys.refresh().await);
        assert!(other.refresh().await);
        assert_ne!(room.active(), first);
        assert_eq!(
            other.active().map(|key| key.kid().to_owned()),
            Some(room.active())
        );
        let changed = [(Es256, "active"), (Es256, "retiring")];
        assert_eq!(room.told().await, changed);
    }

    #[tokio::test]
    async fn a_next_key_of_the_algorithm_that_is_left_behind_gives_way() {
        let room = Room::open();
        room.keys.start(Es256).await;
        room.publish(Es256).await;
        // A rotation to the algorithm in use is left alone.
        assert!(room.keys.refresh().await);
        assert_eq!(room.told().await, [(Es256, "next"), (Es256, "active")]);
        room.keys.start(Rs256).await;
        assert_eq!(room.told().await, [(Rs256, "next"), (Es256, "active")]);
    }
}
