//! What the store said of each digest: known keys, and digests that are no key.
//!
//! Caches who, never may: the caller judges expiry, revocation and the lease on every use.
//! Invariants: an entry is used only while its [`Validity`] holds, so neither a change during a
//! load nor one during an insertion can be missed; errors are not cached; a hit takes no lock
//! and leaves the control runtime alone, except to refresh a record past its freshness.
//!
//! moka bounds the caches; ages are counted here, in tokio's time, because moka's clock can be
//! neither paused nor told that a record is old but good.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::future::Cache;
use moka::policy::EvictionPolicy;
use prometheus::IntCounter;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

use crate::observe::Metrics;
use crate::secret::{Digest, random_bytes};
use crate::store::{KeyRecord, Store};

use super::api_key::Key;
use super::changes::{Changes, Validity};
use super::front::{self, Booking, Front};
use super::load::{Arrival, Errand, Loads, Outcome};
use super::{CacheSettings, Unavailable};

/// The caches, and the way to the store behind them. Shared by all workers.
#[derive(Debug)]
pub(super) struct KeyCache {
    front: Front<Known>,
    known: Cache<Digest, Arc<Known>>,
    absent: Cache<Digest, Absence>,
    loads: Arc<Loads<Option<Arc<Key>>>>,
    changes: Changes,
    settings: CacheSettings,
    origin: Instant,
    source: Source,
    counters: Counters,
}

/// What the caches say of a digest.
#[derive(Debug)]
pub(super) enum Lookup {
    /// No such key, a moment ago.
    Absent,
    /// The key.
    Known(Arc<Key>),
    /// Nothing.
    Miss,
}

#[derive(Debug)]
struct Known {
    digest: Digest,
    key: Arc<Key>,
    validity: Validity,
    /// When a use shall refresh it, in milliseconds from the cache's origin.
    refresh_at: AtomicU64,
    booking: Booking,
}

impl front::Entry for Known {
    fn digest(&self) -> &[u8; 32] {
        self.digest.as_bytes()
    }

    fn booking(&self) -> &Booking {
        &self.booking
    }
}

#[derive(Clone, Debug)]
struct Absence {
    validity: Validity,
    until: Instant,
}

/// The store, and the runtime that its connections live on.
struct Source {
    store: Arc<dyn Store>,
    control: Handle,
}

/// Why a load begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Miss,
    Refresh,
}

/// A second bound around the store's own deadline: no request waits longer for a look-up.
const LOAD_DEADLINE: Duration = Duration::from_secs(2);
/// Loads that one request waits for while the record keeps changing.
const LOAD_ATTEMPTS: usize = 3;
/// A refresh that failed is tried again by a use after this.
const REFRESH_RETRY: Duration = Duration::from_secs(1);

impl KeyCache {
    pub(super) fn new(
        settings: CacheSettings,
        store: Arc<dyn Store>,
        control: Handle,
        metrics: &Metrics,
    ) -> KeyCache {
        KeyCache {
            front: Front::new(settings.capacity),
            known: Cache::new(settings.capacity),
            // Least recently used, because the default admits by frequency: a storm of new
            // digests would keep the newest out, and ask the store again for each of them.
            absent: Cache::builder()
                .max_capacity(settings.capacity)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            loads: Arc::new(Loads::new()),
            changes: Changes::new(),
            settings,
            origin: Instant::now(),
            source: Source { store, control },
            counters: Counters::new(metrics),
        }
    }

    /// What is cached. A record past its freshness is given at once and refreshed behind it.
    pub(super) async fn look(self: &Arc<Self>, digest: &Digest) -> Lookup {
        let now = Instant::now();
        let Some(known) = self.known(digest, now).await else {
            if self.is_absent(digest).await {
                self.counters.absent.inc();
                return Lookup::Absent;
            }
            return Lookup::Miss;
        };
        if self.claim_refresh(&known, now) {
            self.counters.refresh.inc();
            // Nobody waits for the arrival; the entry is replaced when it is there.
            let _arrival = self.begin(*digest, Purpose::Refresh);
        } else {
            self.counters.hit.inc();
        }
        Lookup::Known(Arc::clone(&known.key))
    }

    /// Asks the store, once for all who ask meanwhile. `None` is: no such key.
    pub(super) async fn load(
        self: &Arc<Self>,
        digest: Digest,
    ) -> Result<Option<Arc<Key>>, Unavailable> {
        for _ in 0..LOAD_ATTEMPTS {
            match self.begin(digest, Purpose::Miss).outcome().await {
                Outcome::Failed => break,
                Outcome::Loaded(key) => return Ok(key),
                Outcome::Void => {}
            }
        }
        Err(Unavailable::Store)
    }

    /// The record of this digest changed.
    pub(super) async fn forget(&self, digest: &Digest) {
        self.changes.note(digest);
        self.loads.leave(digest);
        // The rest only frees memory: what is not valid any more is not used.
        self.front.clear(digest.as_bytes());
        self.known.invalidate(digest).await;
        self.absent.invalidate(digest).await;
    }

    /// Any record may have changed.
    pub(super) fn flush(&self) {
        self.changes.note_all();
        self.loads.leave_all();
        // Only frees memory, as above.
        self.known.invalidate_all();
        self.absent.invalidate_all();
    }

    /// Joins the load of a digest, or begins it on the control runtime, where it goes on when
    /// the client that caused it goes away. It is detached, and bounded by its deadline.
    fn begin(self: &Arc<Self>, digest: Digest, purpose: Purpose) -> Arrival<Option<Arc<Key>>> {
        let (arrival, errand) = self.loads.join(digest, self.changes.validity(&digest));
        match (errand, purpose) {
            (None, Purpose::Miss) => self.counters.shared.inc(),
            (None, Purpose::Refresh) => {}
            (Some(errand), _) => {
                let cache = Arc::clone(self);
                drop(self.source.control.spawn(cache.run(errand, purpose)));
            }
        }
        arrival
    }

    async fn run(self: Arc<Self>, errand: Errand<Option<Arc<Key>>>, purpose: Purpose) {
        // Between a request's look and its errand another load may have come and gone.
        if purpose == Purpose::Miss {
            if let Some(known) = self.known(errand.digest(), Instant::now()).await {
                return errand.end(Outcome::Loaded(Some(Arc::clone(&known.key))));
            }
            if self.is_absent(errand.digest()).await {
                return errand.end(Outcome::Loaded(None));
            }
            self.counters.miss.inc();
        }
        let Some(record) = self.source.key(errand.digest()).await else {
            return errand.end(Outcome::Failed);
        };
        let key = self.keep(&errand, record).await;
        if self.changes.still_hold(errand.digest(), errand.validity()) {
            errand.end(Outcome::Loaded(key));
        } else {
            errand.end(Outcome::Void);
        }
    }

    async fn keep(
        &self,
        errand: &Errand<Option<Arc<Key>>>,
        record: Option<KeyRecord>,
    ) -> Option<Arc<Key>> {
        let (digest, validity) = (*errand.digest(), errand.validity());
        let Some(record) = record else {
            let until = Instant::now() + shortened(self.settings.negative);
            let absence = Absence { validity, until };
            self.absent.insert(digest, absence).await;
            self.front.clear(digest.as_bytes());
            self.known.invalidate(&digest).await;
            return None;
        };
        let key = Arc::new(Key::from(record));
        let known = Arc::new(Known {
            digest,
            key: Arc::clone(&key),
            validity,
            refresh_at: AtomicU64::new(self.millis(Instant::now() + self.settings.fresh)),
            booking: Booking::default(),
        });
        self.front.put(&known, Instant::now());
        self.known.insert(digest, known).await;
        Some(key)
    }

    async fn known(&self, digest: &Digest, now: Instant) -> Option<Arc<Known>> {
        if let Some(known) = self.front.get(digest.as_bytes(), now) {
            return self.if_valid(known);
        }
        let known = self.known.get(digest).await?;
        self.front.put(&known, now);
        self.if_valid(known)
    }

    fn if_valid(&self, known: Arc<Known>) -> Option<Arc<Known>> {
        let valid = self.changes.still_hold(&known.digest, known.validity);
        valid.then_some(known)
    }

    async fn is_absent(&self, digest: &Digest) -> bool {
        let absence = self.absent.get(digest).await;
        absence.is_some_and(|absence| {
            self.changes.still_hold(digest, absence.validity) && Instant::now() < absence.until
        })
    }

    /// One user of an old record gets to refresh it; also the next try waits its turn.
    fn claim_refresh(&self, known: &Known, now: Instant) -> bool {
        let due = known.refresh_at.load(Ordering::Relaxed);
        if self.millis(now) < due {
            return false;
        }
        let next = self.millis(now + REFRESH_RETRY);
        let claim =
            known
                .refresh_at
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed);
        claim.is_ok()
    }

    fn millis(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.origin);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Source {
    /// The store's answer, if there is one. The store counts and times its own failures.
    async fn key(&self, digest: &Digest) -> Option<Option<KeyRecord>> {
        match timeout(LOAD_DEADLINE, self.store.key_by_digest(digest)).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a key could not be looked up");
                None
            }
            Err(_) => {
                tracing::debug!("a key could not be looked up within {LOAD_DEADLINE:?}");
                None
            }
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").finish_non_exhaustive()
    }
}

/// 80 to 100 %: spread, so that what was asked together is not asked together again, and never
/// longer than the config says (security.md row 96).
fn shortened(bound: Duration) -> Duration {
    let [random] = random_bytes::<1>();
    bound.mul_f64(0.8 + 0.2 * f64::from(random) / 255.0)
}

/// `credential_cache_total{cache="api_key"}`.
#[derive(Debug)]
struct Counters {
    /// Known to be no key.
    absent: IntCounter,
    /// Served.
    hit: IntCounter,
    /// The store was asked.
    miss: IntCounter,
    /// Served, and the store was asked behind it.
    refresh: IntCounter,
    /// Another request's question was waited for.
    shared: IntCounter,
}

impl Counters {
    fn new(metrics: &Metrics) -> Counters {
        let counter = |outcome| {
            let labels = ["api_key", outcome];
            metrics.credential_cache.with_label_values(&labels)
        };
        Counters {
            absent: counter("absent"),
            hit: counter("hit"),
            miss: counter("miss"),
            refresh: counter("refresh"),
            shared: counter("shared"),
        }
    }
}
