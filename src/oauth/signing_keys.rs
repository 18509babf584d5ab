//! The keys that sign access tokens: read from the store every moment, made there if there are
//! none, and given to the verifier.
//!
//! Not here: rotation (the store's verbs and the command line). Invariants: every published key is
//! verified with before any instance signs with it; while the store is away the keys that were
//! read stay.

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::auth::OwnKeys;
use crate::clock::{Clock, Timestamp};
use crate::sealed::Sealed;
use crate::secret::Pepper;
use crate::store::{
    NewSigningKey, SigningAlgorithm, SigningKeyRecord, SigningKeyState, Store, StoreError,
};
use crate::token::jwt::{KeySet, SignatureAlgorithm, SigningKey};

/// How often the store is asked for them. A key that is published is known everywhere after that.
const REFRESH: Duration = Duration::from_secs(10);
/// How soon again after a failure.
const RETRY: Duration = Duration::from_secs(1);
/// What keys of ours may sign with.
const ALGORITHMS: [SignatureAlgorithm; 2] = [SignatureAlgorithm::Es256, SignatureAlgorithm::Rs256];

/// The keys of one process. Nothing is read before [`SigningKeys::start`].
pub struct SigningKeys {
    store: Arc<dyn Store>,
    pepper: Pepper,
    clock: Clock,
    control: Handle,
    own: OwnKeys,
    ring: ArcSwapOption<Ring>,
    task: OnceLock<JoinHandle<()>>,
}

/// The keys as they are now.
struct Ring {
    active: Option<Arc<SigningKey>>,
    jwks: Bytes,
}

/// Why there are no keys to use.
#[derive(Debug, thiserror::Error)]
enum KeysError {
    #[error("the store cannot be reached")]
    Store(#[from] StoreError),
    #[error("no key could be made")]
    Make,
    #[error("the store holds no usable public key")]
    Unusable,
}

impl SigningKeys {
    pub(super) fn new(
        store: Arc<dyn Store>,
        pepper: Pepper,
        clock: Clock,
        control: Handle,
    ) -> SigningKeys {
        SigningKeys {
            store,
            pepper,
            clock,
            control,
            own: OwnKeys::default(),
            ring: ArcSwapOption::empty(),
            task: OnceLock::new(),
        }
    }

    /// Reads the keys, makes the first if there are none, and goes on reading them. Once is
    /// enough; a store that is away is asked again and again.
    pub async fn start(self: &Arc<Self>, algorithm: SignatureAlgorithm) {
        if self.task.get().is_some() {
            return;
        }
        self.refresh(algorithm).await;
        let keys = Arc::downgrade(self);
        self.task
            .get_or_init(|| self.control.spawn(SigningKeys::run(keys, algorithm)));
    }

    /// The key that signs now; `None` while none could be read.
    pub(super) fn active(&self) -> Option<Arc<SigningKey>> {
        self.ring
            .load()
            .as_ref()
            .and_then(|ring| ring.active.clone())
    }

    /// The public halves as a JSON Web Key Set; `None` while none could be read.
    pub(super) fn jwks(&self) -> Option<Bytes> {
        self.ring.load().as_ref().map(|ring| ring.jwks.clone())
    }

    pub(super) fn own_keys(&self) -> &OwnKeys {
        &self.own
    }

    /// Ends with the last user of the keys.
    async fn run(keys: Weak<SigningKeys>, algorithm: SignatureAlgorithm) {
        let mut pause = RETRY;
        loop {
            tokio::time::sleep(pause).await;
            let Some(keys) = keys.upgrade() else { return };
            pause = match keys.refresh(algorithm).await {
                true => REFRESH,
                false => RETRY,
            };
        }
    }

    /// Whether it went well. What was read before stays if not.
    async fn refresh(&self, algorithm: SignatureAlgorithm) -> bool {
        let read = self.read(algorithm).await;
        if let Err(error) = &read {
            let cause: &dyn std::error::Error = error;
            tracing::warn!(cause, "the signing keys could not be read");
        }
        read.is_ok()
    }

    async fn read(&self, algorithm: SignatureAlgorithm) -> Result<(), KeysError> {
        let mut records = self.store.signing_keys().await?;
        if records.is_empty() {
            self.make(algorithm).await?;
            records = self.store.signing_keys().await?;
        }
        let now = self.clock.now();
        records.retain(|record| is_published(record, now));
        let public: Vec<&str> = records
            .iter()
            .map(|record| record.public.as_str())
            .collect();
        let jwks = format!(r#"{{"keys":[{}]}}"#, public.join(","));
        let set = KeySet::parse(jwks.as_bytes(), &ALGORITHMS).map_err(|_| KeysError::Unusable)?;
        // First the verifier: nothing is signed that it does not know.
        self.own.publish(set);
        self.ring.store(Some(Arc::new(Ring {
            active: self.active_of(&records),
            jwks: jwks.into(),
        })));
        Ok(())
    }

    fn active_of(&self, records: &[SigningKeyRecord]) -> Option<Arc<SigningKey>> {
        let record = records
            .iter()
            .find(|record| matches!(record.state, SigningKeyState::Active { .. }))?;
        let known = self.active().filter(|key| key.kid() == record.kid);
        known.or_else(|| match record.private.open(&self.pepper, &record.kid) {
            Ok(pkcs8) => SigningKey::from_pkcs8(algorithm_of(record.algorithm), &pkcs8)
                .ok()
                .map(Arc::new),
            Err(error) => {
                let cause: &dyn std::error::Error = &error;
                tracing::error!(kid = record.kid, cause, "the signing key cannot be used");
                None
            }
        })
    }

    /// The first key of a deployment. Of two instances that make one at once, the other's becomes
    /// the next.
    async fn make(&self, algorithm: SignatureAlgorithm) -> Result<(), KeysError> {
        let (key, pkcs8) = SigningKey::generate(algorithm).map_err(|_| KeysError::Make)?;
        let new = NewSigningKey {
            kid: key.kid().to_owned(),
            algorithm: match algorithm {
                SignatureAlgorithm::Rs256 => SigningAlgorithm::Rs256,
                _ => SigningAlgorithm::Es256,
            },
            public: key.public_jwk().to_owned(),
            private: Sealed::seal(&self.pepper, key.kid(), &pkcs8),
        };
        let published = self
            .store
            .publish_signing_key(new, self.clock.now())
            .await?;
        tracing::info!(kid = key.kid(), ?published, "a signing key was made");
        Ok(())
    }
}

fn is_published(record: &SigningKeyRecord, now: Timestamp) -> bool {
    match record.state {
        SigningKeyState::Active { .. } | SigningKeyState::Next => true,
        SigningKeyState::Retiring { until } => now < until,
    }
}

const fn algorithm_of(algorithm: SigningAlgorithm) -> SignatureAlgorithm {
    match algorithm {
        SigningAlgorithm::Es256 => SignatureAlgorithm::Es256,
        SigningAlgorithm::Rs256 => SignatureAlgorithm::Rs256,
    }
}

impl Drop for SigningKeys {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKeys").finish_non_exhaustive()
    }
}
