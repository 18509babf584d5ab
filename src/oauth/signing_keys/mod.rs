//! The keys that sign access tokens: read from the store every moment, made there where one is
//! missing, and given to the verifier.
//!
//! Not here: the operator's wish to rotate ([`crate::auth::SigningKeyDesk`]). Invariants: every published key is
//! verified with before any instance signs with it; while the store is away the keys that were
//! read stay; whoever only looks makes nothing.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::auth::OwnKeys;
use crate::clock::{Clock, Timestamp};
use crate::observe::Causes;
use crate::secret::{LivePeppers, Peppers};
use crate::store::{SigningAlgorithm, SigningKeyRecord, SigningKeyState, Store, StoreError};
use crate::token::jwt::{KeySet, SignatureAlgorithm, SigningKey};

mod supply;
mod reseal;

/// How often the store is asked for them. A key that is published is known everywhere after that.
const REFRESH: Duration = Duration::from_secs(10);
/// How soon again after a failure.
const RETRY: Duration = Duration::from_secs(1);
/// What keys of ours may sign with.
const ALGORITHMS: [SignatureAlgorithm; 2] = [SignatureAlgorithm::Es256, SignatureAlgorithm::Rs256];

/// The keys of one process. Nothing is read before [`SigningKeys::start`] or
/// [`SigningKeys::look`].
pub struct SigningKeys {
    store: Arc<dyn Store>,
    peppers: LivePeppers,
    clock: Clock,
    control: Handle,
    own: OwnKeys,
    ring: ArcSwapOption<Ring>,
    /// What new keys sign with; `None` is that none are made.
    wanted: Mutex<Option<SigningAlgorithm>>,
    /// Whether the last attempt to read them failed, and that was said.
    is_failing: AtomicBool,
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
    #[error("there is none")]
    Absent,
    #[error("the store cannot be reached")]
    Store(#[from] StoreError),
    #[error("no key could be made")]
    Make,
    #[error("the store holds no usable public key")]
    Unusable,
}

/// The key that signs opens under no configured pepper.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the signing key {kid} was sealed under another pepper than the configuration has: name the one \
     before in credentials.previous_pepper, or, if it is lost, make another key with `portcullis \
     signing-key rotate --now`"
)]
pub struct SealedUnderAnotherPepper {
    kid: String,
}

impl SigningKeys {
    pub(super) fn new(
        store: Arc<dyn Store>,
        peppers: LivePeppers,
        clock: Clock,
        control: Handle,
    ) -> SigningKeys {
        SigningKeys {
            store,
            peppers,
            clock,
            control,
            own: OwnKeys::default(),
            ring: ArcSwapOption::empty(),
            wanted: Mutex::new(None),
            is_failing: AtomicBool::new(false),
            task: OnceLock::new(),
        }
    }

    /// Reads the keys, makes the one that is missing, and goes on doing so. A store that is away is
    /// asked again and again. Called again at each reload, for the algorithm may be another.
    pub async fn start(self: &Arc<Self>, algorithm: SigningAlgorithm) {
        let before = self.wanted().replace(algorithm);
        if before != Some(algorithm) {
            self.refresh().await;
        }
        let keys = Arc::downgrade(self);
        self.task
            .get_or_init(|| self.control.spawn(SigningKeys::run(keys)));
    }

    /// Whether the key that signs, if there is one, can be opened. A store that is away is no
    /// answer, and no fault.
    pub async fn check_opens(&self) -> Result<(), SealedUnderAnotherPepper> {
        let records = self.store.signing_keys().await.unwrap_or_default();
        let active = records
            .iter()
            .find(|record| matches!(record.state, SigningKeyState::Active { .. }));
        match active {
            Some(record) if reseal::open(record, &self.peppers.load()).is_none() => {
                let kid = record.kid.clone();
                Err(SealedUnderAnotherPepper { kid })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Replaces the peppers, after a reload, and seals anew what the one before had sealed.
    pub async fn set_peppers(&self, peppers: Peppers) {
        if *self.peppers.load() != peppers {
            self.peppers.replace(peppers);
            self.refresh().await;
        }
    }

    /// Reads the keys once, and makes none.
    pub async fn look(&self) {
        self.refresh().await;
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
    async fn run(keys: Weak<SigningKeys>) {
        let mut pause = RETRY;
        loop {
            tokio::time::sleep(pause).await;
            let Some(keys) = keys.upgrade() else { return };
            pause = match keys.refresh().await {
                true => REFRESH,
                false => RETRY,
            };
        }
    }

    /// Whether it went well. What was read before stays if not.
    async fn refresh(&self) -> bool {
        let read = self.read().await;
        match &read {
            Ok(()) => self.is_failing.store(false, Ordering::Relaxed),
            // Where none are made, as for `explain` on a new store, that is no fault.
            Err(KeysError::Absent) => tracing::debug!("there is no signing key yet"),
            // Asked again each second, and said once.
            Err(error) if !self.is_failing.swap(true, Ordering::Relaxed) => {
                tracing::warn!(cause = %Causes(error), "the signing keys could not be read");
            }
            Err(_) => {}
        }
        read.is_ok()
    }

    async fn read(&self) -> Result<(), KeysError> {
        let mut records = self.store.signing_keys().await?;
        let wanted = *self.wanted();
        if let Some(algorithm) = wanted
            && self.supply(&records, algorithm).await?
        {
            records = self.store.signing_keys().await?;
        }
        if records.is_empty() {
            return Err(KeysError::Absent);
        }
        let now = self.clock.now();
        records.retain(|record| is_published(record, now));
        if wanted.is_some() {
            self.reseal(&records).await;
        }
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
        known.or_else(|| {
            let Some((pkcs8, _)) = reseal::open(record, &self.peppers.load()) else {
                let kid = &record.kid;
                tracing::error!(kid, "the signing key does not open: it is sealed under no pepper of the configuration");
                return None;
            };
            let key = SigningKey::from_pkcs8(record.algorithm.into(), &pkcs8);
            key.ok().map(Arc::new)
        })
    }

    /// Whole after every statement, so a panic elsewhere does not matter.
    fn wanted(&self) -> MutexGuard<'_, Option<SigningAlgorithm>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_published(record: &SigningKeyRecord, now: Timestamp) -> bool {
    match record.state {
        SigningKeyState::Active { .. } | SigningKeyState::Next => true,
        SigningKeyState::Retiring { until } => now < until,
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
