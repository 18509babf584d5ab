//! The signing key desk: lists and rotates the keys that the gateway's own access tokens are signed
//! with, for the admin API and the command line alike.
//!
//! A rotation publishes the next key; the gateways put it to use by themselves when all who verify
//! had the time to learn of it. Not here: reading, opening and using keys ([`crate::oauth`]).
//! Invariants: but for the very first and in an emergency, a key is published before it signs, and
//! the one before it is verified until what it signed has expired; every step leaves an audit line.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::clock::{Clock, Timestamp};
use crate::id::CredentialId;
use crate::observe::{Actor, AuditAction, AuditEvent, AuditLog, AuditOutcome};
use crate::sealed::Sealed;
use crate::secret::{LivePeppers, Pepper};
use crate::store::{
    ActivateSigningKey, NewSigningKey, PublishSigningKey, SigningAlgorithm, SigningKeyRecord,
    SigningKeyState, Store, StoreError,
};
use crate::token::jwt::{InvalidSigningKey, KeySet, SigningKey};

use super::SignatureAlgorithm;

/// Manages the signing keys on one store.
pub struct SigningKeyDesk {
    store: Arc<dyn Store>,
    peppers: LivePeppers,
    clock: Clock,
    audit: AuditLog,
    /// What new keys sign with; `None` is that there is no authorization server.
    algorithm: ArcSwap<Option<SigningAlgorithm>>,
}

/// How a key is rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RotationHaste {
    /// The old keys are known to others: a new one signs at once, and nothing that another key
    /// signed is accepted any more.
    Emergency,
    /// Without a token that is refused.
    Planned,
}

/// What became of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SigningKeyOutcome {
    /// It signs.
    Activated,
    /// It is published, and will sign.
    Published,
    /// It was published before, and will sign. Nothing changed.
    Waiting,
}

/// The key that a rotation leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotatedSigningKey {
    /// Its `kid`.
    pub kid: String,
    /// What it signs with.
    pub algorithm: SigningAlgorithm,
    /// Where it stands.
    pub outcome: SigningKeyOutcome,
    /// From when it signs.
    pub signs_at: Timestamp,
}

/// Why the desk could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    /// Another rotation came in between.
    #[error("the signing keys were changed by someone else meanwhile: look at them and try again")]
    Conflict,
    /// The machine gave no key.
    #[error("no key could be made")]
    Make,
    /// There is nothing that would sign.
    #[error("there is no authorization server: `oauth` is not configured")]
    NoServer,
    /// The store did not take part; whether a change was written is not known.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How long a change waits for its audit line to reach the disk.
const AUDIT_WAIT: Duration = Duration::from_secs(2);

impl SigningKeyDesk {
    /// How long a key is published before it signs: others may keep the key set for five minutes,
    /// and each instance reads it every ten seconds.
    pub const PUBLISHED_FOR: Duration = Duration::from_secs(6 * 60);
    /// How long a key is verified after it signed last: no access token lives longer than a day,
    /// whatever the setting was; the rest is for clocks.
    pub const RETIRING: Duration = Duration::from_secs(25 * 3600);

    /// Makes nothing before [`SigningKeyDesk::set_algorithm`].
    pub(super) fn new(
        store: Arc<dyn Store>,
        peppers: LivePeppers,
        clock: Clock,
        audit: AuditLog,
    ) -> SigningKeyDesk {
        SigningKeyDesk {
            store,
            peppers,
            clock,
            audit,
            algorithm: ArcSwap::from_pointee(None),
        }
    }

    /// What new keys sign with, at the start and after a reload.
    pub fn set_algorithm(&self, algorithm: Option<SigningAlgorithm>) {
        self.algorithm.store(Arc::new(algorithm));
    }

    /// A new key, sealed. An RSA key takes its time.
    pub fn draft(
        pepper: &Pepper,
        algorithm: SigningAlgorithm,
    ) -> Result<NewSigningKey, InvalidSigningKey> {
        let (key, pkcs8) = SigningKey::generate(algorithm.into())?;
        let kid = key.kid();
        Ok(NewSigningKey {
            kid: kid.to_owned(),
            algorithm,
            public: key.public_jwk().to_owned(),
            private: Sealed::seal(pepper, kid, &pkcs8),
        })
    }

    /// The keys that are published, the newest first.
    pub async fn list(&self) -> Result<Vec<SigningKeyRecord>, SigningKeyError> {
        let now = self.clock.now();
        let mut keys = self.store.signing_keys().await?;
        keys.retain(
            |key| !matches!(key.state, SigningKeyState::Retiring { until } if until <= now),
        );
        Ok(keys)
    }

    /// The public halves, for verifying where no gateway runs; `None` while there is no key.
    pub async fn public_keys(&self) -> Result<Option<KeySet>, SigningKeyError> {
        let keys = self.list().await?;
        let public: Vec<&str> = keys.iter().map(|key| key.public.as_str()).collect();
        let jwks = format!(r#"{{"keys":[{}]}}"#, public.join(","));
        let algorithms = [SignatureAlgorithm::Es256, SignatureAlgorithm::Rs256];
        Ok(KeySet::parse(jwks.as_bytes(), &algorithms).ok())
    }

    /// Goes to another key. To repeat a planned one is safe: there is one next key at a time.
    pub async fn rotate(
        &self,
        haste: RotationHaste,
        actor: Actor,
    ) -> Result<RotatedSigningKey, SigningKeyError> {
        let algorithm = *self.algorithm.load_full();
        let algorithm = algorithm.ok_or(SigningKeyError::NoServer)?;
        let rotated = match haste {
            RotationHaste::Emergency => self.replace_all(algorithm).await?,
            RotationHaste::Planned => self.plan(algorithm).await?,
        };
        if rotated.outcome != SigningKeyOutcome::Waiting {
            self.tell(&rotated, haste, actor).await;
        }
        Ok(rotated)
    }

    async fn plan(
        &self,
        algorithm: SigningAlgorithm,
    ) -> Result<RotatedSigningKey, SigningKeyError> {
        match self.next().await? {
            Some(next) if next.algorithm == algorithm => self.go_on(next).await,
            // It has signed nothing yet, and would sign with what is not wanted any more.
            Some(other) => {
                self.forget(&other.kid).await?;
                self.publish(algorithm).await
            }
            None => self.publish(algorithm).await,
        }
    }

    /// Puts the next key to use where no gateway has, because none runs.
    async fn go_on(&self, next: SigningKeyRecord) -> Result<RotatedSigningKey, SigningKeyError> {
        let now = self.clock.now();
        let (wait, retire_at) = (
            SigningKeyDesk::PUBLISHED_FOR,
            now.plus(SigningKeyDesk::RETIRING),
        );
        let activated = self
            .store
            .activate_signing_key(&next.kid, wait, retire_at, now);
        let (outcome, signs_at) = match activated.await? {
            ActivateSigningKey::Activated(_) => (SigningKeyOutcome::Activated, now),
            ActivateSigningKey::TooEarly(at) => (SigningKeyOutcome::Waiting, at),
            ActivateSigningKey::AlreadyActive | ActivateSigningKey::Unknown => {
                return Err(SigningKeyError::Conflict);
            }
        };
        Ok(RotatedSigningKey {
            kid: next.kid,
            algorithm: next.algorithm,
            outcome,
            signs_at,
        })
    }

    async fn publish(
        &self,
        algorithm: SigningAlgorithm,
    ) -> Result<RotatedSigningKey, SigningKeyError> {
        let new = self.make(algorithm).await?;
        let (kid, now) = (new.kid.clone(), self.clock.now());
        let (outcome, signs_at) = match self.store.publish_signing_key(new, now).await? {
            PublishSigningKey::Activated => (SigningKeyOutcome::Activated, now),
            PublishSigningKey::Published => (
                SigningKeyOutcome::Published,
                now.plus(SigningKeyDesk::PUBLISHED_FOR),
            ),
            PublishSigningKey::NextExists(_) => return Err(SigningKeyError::Conflict),
        };
        Ok(RotatedSigningKey {
            kid,
            algorithm,
            outcome,
            signs_at,
        })
    }

    /// A key that nobody can have seen signs now; whoever has another can sign nothing with it.
    async fn replace_all(
        &self,
        algorithm: SigningAlgorithm,
    ) -> Result<RotatedSigningKey, SigningKeyError> {
        if let Some(next) = self.next().await? {
            self.forget(&next.kid).await?;
        }
        let published = self.publish(algorithm).await?;
        let now = self.clock.now();
        if published.outcome != SigningKeyOutcome::Activated {
            let kid = &published.kid;
            let activated = self
                .store
                .activate_signing_key(kid, Duration::ZERO, now, now)
                .await?;
            if !matches!(activated, ActivateSigningKey::Activated(_)) {
                return Err(SigningKeyError::Conflict);
            }
        }
        for key in self.store.signing_keys().await? {
            if key.kid != published.kid {
                self.forget(&key.kid).await?;
            }
        }
        Ok(RotatedSigningKey {
            outcome: SigningKeyOutcome::Activated,
            signs_at: now,
            ..published
        })
    }

    async fn next(&self) -> Result<Option<SigningKeyRecord>, SigningKeyError> {
        let keys = self.store.signing_keys().await?;
        Ok(keys
            .into_iter()
            .find(|key| key.state == SigningKeyState::Next))
    }

    /// Gone before is as good.
    async fn forget(&self, kid: &str) -> Result<(), SigningKeyError> {
        let answer = self.store.drop_signing_key(kid, self.clock.now()).await?;
        tracing::info!(kid, ?answer, "a signing key was dropped");
        Ok(())
    }

    async fn make(&self, algorithm: SigningAlgorithm) -> Result<NewSigningKey, SigningKeyError> {
        let pepper = self.peppers.load().current().clone();
        let made =
            tokio::task::spawn_blocking(move || SigningKeyDesk::draft(&pepper, algorithm)).await;
        match made {
            Ok(Ok(key)) => Ok(key),
            Ok(Err(_)) | Err(_) => Err(SigningKeyError::Make),
        }
    }

    async fn tell(&self, rotated: &RotatedSigningKey, haste: RotationHaste, actor: Actor) {
        let reason = match (haste, rotated.outcome) {
            (RotationHaste::Emergency, _) => "emergency",
            (RotationHaste::Planned, SigningKeyOutcome::Activated) => "activated",
            (RotationHaste::Planned, _) => "published",
        };
        let action = AuditAction::SigningKeyRotate;
        let event = AuditEvent::new(action, actor, AuditOutcome::Done).reason(reason);
        self.audit.record(match CredentialId::parse(&rotated.kid) {
            Ok(kid) => event.credential(kid),
            Err(_) => event,
        });
        if !self.audit.settle(AUDIT_WAIT).await {
            tracing::warn!(
                kid = rotated.kid,
                "the audit line of this rotation is not on disk yet"
            );
        }
    }
}

impl From<SigningAlgorithm> for SignatureAlgorithm {
    fn from(algorithm: SigningAlgorithm) -> SignatureAlgorithm {
        match algorithm {
            SigningAlgorithm::Es256 => SignatureAlgorithm::Es256,
            SigningAlgorithm::Rs256 => SignatureAlgorithm::Rs256,
        }
    }
}

impl std::fmt::Debug for SigningKeyDesk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKeyDesk").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use crate::observe::{AuditCopy, AuditSettings, Metrics};
    use crate::secret::{MacKeys, Purpose};
    use crate::store::StoreSettings;

    use super::*;

    use RotationHaste::{Emergency, Planned};
    use SigningKeyOutcome::{Activated, Published, Waiting};

    const ACTOR: Actor = Actor::Cli { uid: 7 };

    struct Room {
        folder: tempfile::TempDir,
        clock: Clock,
        desk: SigningKeyDesk,
    }

    fn open() -> Room {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Clock::manual(Timestamp::from_secs(1_790_000_000));
        let path = folder.path().join("store.redb");
        let settings = StoreSettings::Embedded { path };
        let store = crate::store::open(&settings, &clock, &Metrics::new()).expect("a store");
        let dropped = Metrics::new().audit_dropped;
        let log = AuditSettings {
            file: folder.path().join("audit.jsonl"),
            copy: AuditCopy::Nowhere,
        };
        let seals = MacKeys::new(&Pepper::of_test(b'z').into(), Purpose::AuditSeals);
        let audit = AuditLog::open(&log, seals, clock.clone(), dropped).expect("a log");
        let peppers = LivePeppers::new(Pepper::of_test(b'z').into());
        let desk = SigningKeyDesk::new(store, peppers, clock.clone(), audit);
        desk.set_algorithm(Some(SigningAlgorithm::Es256));
        Room {
            folder,
            clock,
            desk,
        }
    }

    impl Room {
        async fn rotate(&self, haste: RotationHaste) -> RotatedSigningKey {
            self.desk.rotate(haste, ACTOR).await.expect("rotated")
        }

        /// The kids and states, the newest first.
        async fn told(&self) -> Vec<(String, &'static str)> {
            let keys = self.desk.list().await.expect("the store is there");
            let state = |key: &SigningKeyRecord| match key.state {
                SigningKeyState::Active { .. } => "active",
                SigningKeyState::Next => "next",
                SigningKeyState::Retiring { .. } => "retiring",
            };
            keys.iter()
                .map(|key| (key.kid.clone(), state(key)))
                .collect()
        }
    }

    #[tokio::test]
    async fn a_key_is_published_then_signs_then_retires_then_is_gone() {
        let room = open();
        let first = room.rotate(Planned).await;
        assert_eq!(first.outcome, Activated);
        let second = room.rotate(Planned).await;
        let signs_at = room.clock.now().plus(SigningKeyDesk::PUBLISHED_FOR);
        assert_eq!((second.outcome, second.signs_at), (Published, signs_at));
        let again = room.rotate(Planned).await;
        assert_eq!((&again.kid, again.outcome), (&second.kid, Waiting));
        let (one, two) = (first.kid, second.kid);
        let both = [(two.clone(), "next"), (one.clone(), "active")];
        assert_eq!(room.told().await, both);

        room.clock.advance(SigningKeyDesk::PUBLISHED_FOR);
        let due = room.rotate(Planned).await;
        assert_eq!((&due.kid, due.outcome), (&two, Activated));
        let both = [(two.clone(), "active"), (one, "retiring")];
        assert_eq!(room.told().await, both);
        room.clock.advance(SigningKeyDesk::RETIRING);
        assert_eq!(room.told().await, [(two, "active")]);

        drop(room.desk);
        let lines = std::fs::read_to_string(room.folder.path().join("audit.jsonl"));
        let lines = lines.expect("readable");
        let steps: Vec<&str> = lines
            .lines()
            .filter(|line| line.contains("\"event\":\"signing_key_rotate\""))
            .filter_map(|line| line.split("\"reason\":\"").nth(1)?.split('"').next())
            .collect();
        assert_eq!(steps, ["activated", "published", "activated"]);
    }

    #[tokio::test]
    async fn an_emergency_leaves_one_key_that_nobody_has_seen() {
        let room = open();
        room.rotate(Planned).await;
        room.rotate(Planned).await;
        room.clock.advance(SigningKeyDesk::PUBLISHED_FOR);
        room.rotate(Planned).await;
        room.rotate(Planned).await;
        let before = room.told().await;
        assert_eq!(before.len(), 3, "{before:?}");
        let fresh = room.rotate(Emergency).await;
        assert_eq!(fresh.outcome, Activated);
        assert!(before.iter().all(|(kid, _)| *kid != fresh.kid));
        assert_eq!(room.told().await, [(fresh.kid, "active")]);
    }

    #[tokio::test]
    async fn a_next_key_of_another_algorithm_gives_way_and_without_a_server_nothing_is_made() {
        let room = open();
        room.rotate(Planned).await;
        let left = room.rotate(Planned).await;
        room.desk.set_algorithm(Some(SigningAlgorithm::Rs256));
        let other = room.rotate(Planned).await;
        assert_eq!(
            (other.algorithm, other.outcome),
            (SigningAlgorithm::Rs256, Published)
        );
        assert!(room.told().await.iter().all(|(kid, _)| *kid != left.kid));
        room.desk.set_algorithm(None);
        let refused = room.desk.rotate(Emergency, ACTOR).await;
        assert!(matches!(refused, Err(SigningKeyError::NoServer)));
        assert_eq!(room.told().await.len(), 2);
    }
}
