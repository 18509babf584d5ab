//! What the store said of each digest: known keys or sessions, and digests that are none.
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
use tokio::time::Instant;

use crate::observe::Metrics;
use crate::secret::{Digest, random_bytes};
use crate::store::{Store, StoreError};

use super::cache_counters::Counters;
use super::changes::{Changes, Validity};
use super::front::{self, Booking, Front};
use super::load::{Arrival, Errand, Loads, Outcome};
use super::look_ups::{Place, Source};
use super::revocation::Revocation;
use super::usage::UsageBook;
use super::{CacheSettings, Failure, Unavailable};

/// One kind of what is cached, and how the store is asked for it.
pub(super) trait Kept: fmt::Debug + Send + Sync + Sized + 'static {
    /// The `cache` label of its metrics.
    const CACHE: &'static str;

    /// Asks the store. `None` is: there is none.
    fn load(
        store: &dyn Store,
        usage: &UsageBook,
        digest: Digest,
    ) -> impl Future<Output = Result<Option<Self>, StoreError>> + Send;

    /// Takes over from the entry before it what the store need not know yet.
    fn succeed(&mut self, before: &Self);
}

/// The caches, and the way to the store behind them. Shared by all workers.
#[derive(Debug)]
pub(super) struct RecordCache<K: Kept> {
    front: Front<Known<K>>,
    pub(super) known: Cache<Digest, Arc<Known<K>>>,
    absent: Cache<Digest, Absence>,
    loads: Arc<Loads<Option<Arc<K>>>>,
    pub(super) changes: Changes,
    pub(super) settings: CacheSettings,
    origin: Instant,
    source: Source,
    counters: Counters,
}

/// What the caches say of a digest.
#[derive(Debug)]
enum Lookup<K> {
    /// No such record, a moment ago.
    Absent,
    /// The record.
    Known(Arc<K>),
    /// Nothing.
    Miss,
}

/// An entry, whose record is used only after its validity was looked at.
#[derive(Debug)]
pub(super) struct Known<K> {
    digest: Digest,
    record: Arc<K>,
    validity: Validity,
    /// When a use shall refresh it, in milliseconds from the cache's origin.
    refresh_at: AtomicU64,
    booking: Booking,
}

impl<K> front::Entry for Known<K> {
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

/// Why a load begins.
#[derive(Debug)]
enum Purpose {
    /// Somebody waits for what is not cached.
    Miss,
    /// Nobody waits: it has its place at the store.
    Refresh(Place),
    /// Somebody waits for what the store says now.
    Reload,
}

/// Loads that one request waits for while the record keeps changing.
const LOAD_ATTEMPTS: usize = 3;
/// A refresh that failed is tried again by a use after this.
const REFRESH_RETRY: Duration = Duration::from_secs(1);

impl<K: Kept> RecordCache<K> {
    pub(super) fn new(
        settings: CacheSettings,
        source: Source,
        metrics: &Metrics,
    ) -> RecordCache<K> {
        RecordCache {
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
            source,
            counters: Counters::new(K::CACHE, metrics),
        }
    }

    /// The record of a digest, cached or loaded. `None` is: there is none.
    pub(super) async fn find(
        self: &Arc<Self>,
        digest: &Digest,
        revocation: &Revocation,
    ) -> Result<Option<Arc<K>>, Failure> {
        match self.look(digest).await {
            Lookup::Absent => Ok(None),
            Lookup::Known(record) => Ok(Some(record)),
            Lookup::Miss => {
                // Boxed: rare, and large.
                let loaded = Box::pin(self.load(*digest)).await;
                // The lease may have run out while the load was waited for.
                revocation.require_fresh()?;
                loaded.map_err(Failure::Unavailable)
            }
        }
    }

    /// The same for whoever asks whatever the lease says.
    pub(super) async fn find_anyway(
        self: &Arc<Self>,
        digest: &Digest,
    ) -> Result<Option<Arc<K>>, Unavailable> {
        match self.look(digest).await {
            Lookup::Absent => Ok(None),
            Lookup::Known(record) => Ok(Some(record)),
            Lookup::Miss => self.load(*digest).await,
        }
    }

    /// What is cached. A record past its freshness is given at once and refreshed behind it.
    async fn look(self: &Arc<Self>, digest: &Digest) -> Lookup<K> {
        let now = Instant::now();
        let Some(known) = self.known(digest, now).await else {
            if self.is_absent(digest).await {
                self.counters.absent.inc();
                return Lookup::Absent;
            }
            return Lookup::Miss;
        };
        // While many wait for the store there is no place for a refresh: a later use gets it.
        if self.claim_refresh(&known, now)
            && let Some(place) = self.source.spare_place()
        {
            self.counters.refresh.inc();
            // Nobody waits for the arrival; the entry is replaced when it is there.
            let _arrival = self.begin(*digest, Purpose::Refresh(place));
        } else {
            self.counters.hit.inc();
        }
        Lookup::Known(Arc::clone(&known.record))
    }

    /// Asks the store, once for all who ask meanwhile. `None` is: there is none.
    async fn load(self: &Arc<Self>, digest: Digest) -> Result<Option<Arc<K>>, Unavailable> {
        self.wait(digest, || Purpose::Miss).await
    }

    /// Asks the store also where something is cached.
    pub(super) async fn reload(
        self: &Arc<Self>,
        digest: Digest,
    ) -> Result<Option<Arc<K>>, Unavailable> {
        self.wait(digest, || Purpose::Reload).await
    }

    async fn wait(
        self: &Arc<Self>,
        digest: Digest,
        purpose: impl Fn() -> Purpose,
    ) -> Result<Option<Arc<K>>, Unavailable> {
        for _ in 0..LOAD_ATTEMPTS {
            match self.begin(digest, purpose()).outcome().await {
                Outcome::Failed => break,
                Outcome::Loaded(record) => return Ok(record),
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
    fn begin(self: &Arc<Self>, digest: Digest, purpose: Purpose) -> Arrival<Option<Arc<K>>> {
        let (arrival, errand) = self.loads.join(digest, self.changes.validity(&digest));
        if let Some(errand) = errand {
            let cache = Arc::clone(self);
            self.source.spawn(cache.run(errand, purpose));
        } else if matches!(purpose, Purpose::Miss) {
            self.counters.shared.inc();
        }
        arrival
    }

    async fn run(self: Arc<Self>, errand: Errand<Option<Arc<K>>>, purpose: Purpose) {
        // Between a request's look and its errand another load may have come and gone.
        if matches!(purpose, Purpose::Miss) {
            if let Some(known) = self.known(errand.digest(), Instant::now()).await {
                return errand.end(Outcome::Loaded(Some(Arc::clone(&known.record))));
            }
            if self.is_absent(errand.digest()).await {
                return errand.end(Outcome::Loaded(None));
            }
            self.counters.miss.inc();
        }
        let place = match purpose {
            Purpose::Refresh(place) => Some(place),
            Purpose::Miss | Purpose::Reload => None,
        };
        let asked = self.source.record::<K>(errand.digest(), place);
        let Some(record) = asked.await else {
            return errand.end(Outcome::Failed);
        };
        let record = self.keep(&errand, record).await;
        if self.changes.still_hold(errand.digest(), errand.validity()) {
            errand.end(Outcome::Loaded(record));
        } else {
            errand.end(Outcome::Void);
        }
    }

    async fn keep(&self, errand: &Errand<Option<Arc<K>>>, record: Option<K>) -> Option<Arc<K>> {
        let (digest, validity) = (*errand.digest(), errand.validity());
        let Some(mut record) = record else {
            let until = Instant::now() + shortened(self.settings.negative);
            let absence = Absence { validity, until };
            self.absent.insert(digest, absence).await;
            self.front.clear(digest.as_bytes());
            self.known.invalidate(&digest).await;
            return None;
        };
        if let Some(before) = self.known.get(&digest).await {
            record.succeed(&before.record);
        }
        let record = Arc::new(record);
        let fresh = shortened(self.settings.fresh);
        let known = self.entry(digest, Arc::clone(&record), validity, fresh);
        self.front.put(&known, Instant::now());
        self.known.insert(digest, known).await;
        Some(record)
    }

    /// To be refreshed after `fresh`.
    pub(super) fn entry(
        &self,
        digest: Digest,
        record: Arc<K>,
        validity: Validity,
        fresh: Duration,
    ) -> Arc<Known<K>> {
        Arc::new(Known {
            digest,
            record,
            validity,
            refresh_at: AtomicU64::new(self.millis(Instant::now() + fresh)),
            booking: Booking::default(),
        })
    }

    async fn known(&self, digest: &Digest, now: Instant) -> Option<Arc<Known<K>>> {
        if let Some(known) = self.front.get(digest.as_bytes(), now) {
            return self.if_valid(known);
        }
        let known = self.known.get(digest).await?;
        self.front.put(&known, now);
        self.if_valid(known)
    }

    fn if_valid(&self, known: Arc<Known<K>>) -> Option<Arc<Known<K>>> {
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
    fn claim_refresh(&self, known: &Known<K>, now: Instant) -> bool {
        let due = known.refresh_at.load(Ordering::Relaxed);
        if self.millis(now) < due {
            return false;
        }
        let next = self.millis(now + shortened(REFRESH_RETRY));
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

/// 80 to 100 %: spread, so that what was asked together is not asked together again, and never
/// longer than the config says (security.md row 96).
fn shortened(bound: Duration) -> Duration {
    let [random] = random_bytes::<1>();
    bound.mul_f64(0.8 + 0.2 * f64::from(random) / 255.0)
}
