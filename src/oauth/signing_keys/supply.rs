//! Seeing to it that the store has a signing key of the configured algorithm: the first of a
//! deployment, and another where the setting has changed.
//!
//! Not here: rotation to a key of the same algorithm, which is the operator's wish. Invariants: a
//! key signs nothing before all others had the time to learn of it; what the key before it signed
//! is verified until it has expired.

use std::time::Duration;

use super::{KeysError, SigningKeys, algorithm_of};
use crate::sealed::Sealed;
use crate::store::{
    ActivateSigningKey, NewSigningKey, SigningAlgorithm, SigningKeyRecord, SigningKeyState,
};
use crate::token::jwt::SigningKey;

/// Others may keep the key set for five minutes, and each instance reads it every ten seconds.
const PUBLISHED_FOR: Duration = Duration::from_secs(6 * 60);
/// No access token lives longer than a day, whatever the setting was; the rest is for clocks.
const RETIRING: Duration = Duration::from_secs(25 * 3600);

impl SigningKeys {
    /// Takes the next step towards a key of this algorithm that signs, if one is left. Says
    /// whether it changed anything.
    pub(super) async fn supply(
        &self,
        records: &[SigningKeyRecord],
        algorithm: SigningAlgorithm,
    ) -> Result<bool, KeysError> {
        let is_right = |record: &SigningKeyRecord| record.algorithm == algorithm;
        let mut active = records.iter().filter(|record| is_active(record));
        if active.any(is_right) {
            return Ok(false);
        }
        let mut next = records.iter();
        match next.find(|record| record.state == SigningKeyState::Next) {
            Some(next) if is_right(next) => self.activate(next).await,
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
        tracing::info!(kid, "a signing key of another algorithm was put to use");
        Ok(matches!(activated, ActivateSigningKey::Activated(_)))
    }

    /// Makes a key: a deployment's first is active at once, any other is the next. Of two instances
    /// that make one at the same time, the later one's becomes the next or is not written.
    async fn make(&self, algorithm: SigningAlgorithm) -> Result<bool, KeysError> {
        // An RSA key takes its time.
        let made = self
            .control
            .spawn_blocking(move || SigningKey::generate(algorithm_of(algorithm)));
        let Ok(Ok((key, pkcs8))) = made.await else {
            return Err(KeysError::Make);
        };
        let kid = key.kid();
        let new = NewSigningKey {
            kid: kid.to_owned(),
            algorithm,
            public: key.public_jwk().to_owned(),
            private: Sealed::seal(&self.pepper, kid, &pkcs8),
        };
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

    use tokio::runtime::Handle;

    use super::*;
    use crate::clock::{Clock, Timestamp};
    use crate::observe::Metrics;
    use crate::secret::Pepper;
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

        fn active(&self) -> String {
            self.keys.active().expect("a key").kid().to_owned()
        }
    }

    fn embedded(folder: &Path, clock: &Clock) -> Arc<dyn Store> {
        let path = folder.join("store.redb");
        let settings = StoreSettings::Embedded { path };
        crate::store::open(&settings, clock, &Metrics::new()).expect("a store")
    }

    fn pepper() -> Pepper {
        Pepper::new(b"0123456789abcdefghijklmnopqrstuvwxyz").expect("strong")
    }

    fn instance(store: &Arc<dyn Store>, clock: &Clock) -> Arc<SigningKeys> {
        let (store, clock) = (Arc::clone(store), clock.clone());
        let control = Handle::current();
        Arc::new(SigningKeys::new(store, pepper(), clock, control))
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
    async fn a_next_key_of_the_algorithm_that_is_left_behind_gives_way() {
        let room = Room::open();
        room.keys.start(Es256).await;
        let (key, pkcs8) = SigningKey::generate(algorithm_of(Es256)).expect("a key");
        let rotation = NewSigningKey {
            kid: key.kid().to_owned(),
            algorithm: Es256,
            public: key.public_jwk().to_owned(),
            private: Sealed::seal(&pepper(), key.kid(), &pkcs8),
        };
        let published = room.store.publish_signing_key(rotation, room.clock.now());
        assert_eq!(
            published.await.expect("the store is there"),
            PublishSigningKey::Published
        );
        // A rotation to the algorithm in use is left alone.
        assert!(room.keys.refresh().await);
        assert_eq!(room.told().await, [(Es256, "next"), (Es256, "active")]);
        room.keys.start(Rs256).await;
        assert_eq!(room.told().await, [(Rs256, "next"), (Es256, "active")]);
    }
}
