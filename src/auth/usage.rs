//! What API keys are used for: counted by every request, told to the store every now and then.
//!
//! ```text
//! request: add to the counts that the cached record carries          (atomics, nothing else)
//! control: every 10 s take what was counted ─▶ untold ─▶ add it to the store, keep what it
//!          does not take
//! ```
//!
//! A session that a key gave counts for the key. Not here: what follows from it
//! ([`super::key_desk`]). Invariants: the request path takes no lock, allocates nothing (but for the
//! first denial for want of a scope) and waits for nobody; a count is told at least once while the
//! process lives, unless [`MOST_UNTOLD`] wait already, and then it is counted as dropped.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use prometheus::IntCounter;
use tokio::task::yield_now;
use tokio::time::error::Elapsed;
use tokio::time::{sleep, timeout};

use crate::clock::{Clock, Timestamp};
use crate::id::KeyId;
use crate::observe::{Causes, Metrics};
use crate::scope::{Scope, ScopeSet};
use crate::secret::random_bytes;
use crate::store::{Day, KeyUses, Store, StoreError, Uses};

/// What the holders of a key with these scopes did since it was last asked. Shared by all workers.
#[derive(Debug)]
pub(super) struct UseCounts {
    scopes: ScopeSet,
    /// In milliseconds since the Unix epoch; zero is never.
    seen: AtomicI64,
    requests: AtomicU64,
    /// In the order of `scopes`.
    used: Box<[AtomicU64]>,
    missing: OnceLock<Box<Missing>>,
}

/// Denials by the scope that was missing. Names come from routes, so there are few; what is past
/// the last place is not counted.
#[derive(Debug, Default)]
struct Missing([(OnceLock<Box<str>>, AtomicU64); 16]);

/// The counts of all keys that are cached here, and what of them the store does not have yet.
pub struct UsageBook {
    store: Arc<dyn Store>,
    clock: Clock,
    /// Locked on the control runtime only. Some, so that none is held for long.
    pages: Box<[Mutex<CountsPage>]>,
    hasher: RandomState,
    untold: tokio::sync::Mutex<Untold>,
    dropped: IntCounter,
}

type CountsPage = HashMap<(KeyId, ScopeSet), Counted>;

/// Counts, and what of them was taken.
struct Counted {
    counts: Arc<UseCounts>,
    /// The last sight that was taken.
    told: Timestamp,
}

#[derive(Default)]
struct Untold {
    uses: BTreeMap<(Day, KeyId), (Option<Timestamp>, Uses)>,
    began: bool,
}

/// How often the store is told, on average.
const INTERVAL: Duration = Duration::from_secs(10);
/// How often it is told of a sight of a key that is in use: people ask in days.
const SIGHT: Duration = Duration::from_secs(60);
/// Keys told of at once.
const BATCH: usize = 500;
/// Most keys and days that wait to be told.
const MOST_UNTOLD: usize = 200_000;
/// A second bound around the store's own deadlines.
const DEADLINE: Duration = Duration::from_secs(5);
/// How many parts the book has.
const PAGES: usize = 64;

const NEVER: Timestamp = Timestamp::from_millis(0);

impl UseCounts {
    fn new(scopes: ScopeSet) -> UseCounts {
        UseCounts {
            used: scopes.names().map(|_| AtomicU64::new(0)).collect(),
            scopes,
            seen: AtomicI64::new(0),
            requests: AtomicU64::new(0),
            missing: OnceLock::new(),
        }
    }

    /// It was seen now. A plain store: of two workers within a moment either may stay.
    pub(super) fn see(&self, now: Timestamp) {
        if self.seen.load(Ordering::Relaxed) < now.as_millis() {
            self.seen.store(now.as_millis(), Ordering::Relaxed);
        }
    }

    /// A request was let through that needed all or one of these scopes, if any.
    pub(super) fn count(&self, needed: Option<&ScopeSet>) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let Some(needed) = needed else { return };
        for (name, count) in self.scopes.names().zip(&self.used) {
            if needed.has(name) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// A request was refused that needed all or one of these.
    pub(super) fn count_missing(&self, needed: &ScopeSet) {
        let missing = self.missing.get_or_init(Box::default);
        for name in needed.names().filter(|name| !self.scopes.has(name)) {
            missing.count(name);
        }
    }

    fn seen(&self) -> Timestamp {
        Timestamp::from_millis(self.seen.load(Ordering::Relaxed))
    }

    /// What was counted since the last time.
    fn take(&self) -> Uses {
        let used = self.scopes.names().zip(&self.used);
        let missing = self.missing.get().into_iter();
        let missing = missing.flat_map(|missing| &missing.0);
        let missing = missing.filter_map(|(name, count)| Some((&**name.get()?, count)));
        Uses {
            requests: self.requests.swap(0, Ordering::Relaxed),
            used: used.filter_map(take_named).collect(),
            missing: missing.filter_map(take_named).collect(),
        }
    }
}

fn take_named((name, count): (&str, &AtomicU64)) -> Option<(Scope, u64)> {
    // Most are zero, and are only read.
    if count.load(Ordering::Relaxed) == 0 {
        return None;
    }
    Some((Scope::parse(name).ok()?, count.swap(0, Ordering::Relaxed)))
}

impl Missing {
    fn count(&self, name: &str) {
        for (known, count) in &self.0 {
            if **known.get_or_init(|| name.into()) == *name {
                count.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
    }
}

impl UsageBook {
    pub(super) fn new(store: Arc<dyn Store>, clock: Clock, metrics: &Metrics) -> UsageBook {
        UsageBook {
            store,
            clock,
            pages: std::iter::repeat_with(Mutex::default).take(PAGES).collect(),
            hasher: RandomState::new(),
            untold: tokio::sync::Mutex::default(),
            dropped: metrics.usage_dropped.clone(),
        }
    }

    /// The counts of a key with these scopes: the same for each of its secrets, and for what is
    /// loaded anew. For the control runtime.
    pub(super) fn counts(&self, key: &KeyId, scopes: &ScopeSet) -> Arc<UseCounts> {
        let place = usize::try_from(self.hasher.hash_one(key) % PAGES as u64).unwrap_or(0);
        let mut page = lock(&self.pages[place]);
        let counted = page.entry((key.clone(), scopes.clone()));
        let counted = counted.or_insert_with(|| Counted {
            counts: Arc::new(UseCounts::new(scopes.clone())),
            told: NEVER,
        });
        Arc::clone(&counted.counts)
    }

    /// Never ends. The first time comes after a while: who only asks for an explanation is gone by
    /// then, and does not count.
    pub(super) async fn run(self: Arc<Self>) -> Infallible {
        loop {
            let [random] = random_bytes::<1>();
            // A fleet that began together does not come together.
            sleep(INTERVAL.mul_f64(0.8 + 0.4 * f64::from(random) / 255.0)).await;
            self.tell().await;
        }
    }

    /// Tells the store what was counted. What it does not take is told the next time.
    pub async fn tell(&self) {
        let mut untold = self.untold.lock().await;
        for page in &self.pages {
            self.gather(&mut lock(page), &mut untold);
            yield_now().await;
        }
        let count = untold.uses.len();
        match self.tell_all(&mut untold).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(error = %Causes(&error), count, "uses could not be kept yet")
            }
            Err(_) => tracing::debug!(count, "uses could not be kept within {DEADLINE:?} yet"),
        }
    }

    async fn tell_all(&self, untold: &mut Untold) -> Result<Result<(), StoreError>, Elapsed> {
        if !untold.began {
            let began = self.store.begin_usage(self.clock.now());
            match timeout(DEADLINE, began).await? {
                Ok(_) => untold.began = true,
                Err(error) => return Ok(Err(error)),
            }
        }
        while !untold.uses.is_empty() {
            let batch = untold.uses.iter().take(BATCH);
            let batch: Vec<KeyUses> = batch
                .map(|((day, key), (seen_at, uses))| KeyUses {
                    key: key.clone(),
                    day: *day,
                    seen_at: *seen_at,
                    uses: uses.clone(),
                })
                .collect();
            let told: Vec<_> = batch.iter().map(|u| (u.day, u.key.clone())).collect();
            let adding = self.store.add_usage(batch, self.clock.now());
            if let Err(error) = timeout(DEADLINE, adding).await? {
                return Ok(Err(error));
            }
            for place in told {
                untold.uses.remove(&place);
            }
        }
        Ok(Ok(()))
    }

    fn gather(&self, page: &mut CountsPage, untold: &mut Untold) {
        let day = Day::of(self.clock.now());
        page.retain(|(key, _), counted| {
            // Nobody but the page has it: the last that it will ever say. Nobody can come by it
            // meanwhile, since the page is locked.
            let is_last = Arc::get_mut(&mut counted.counts).is_some();
            let (seen, uses) = counted.take(is_last);
            if (seen.is_some() || !uses.is_empty()) && !untold.note(day, key, seen, &uses) {
                self.dropped.inc_by(uses.requests.max(1));
            }
            !is_last
        });
    }
}

impl Counted {
    /// Sights of a key in use are told only now and then.
    fn take(&mut self, is_last: bool) -> (Option<Timestamp>, Uses) {
        let (seen, uses) = (self.counts.seen(), self.counts.take());
        let is_new = seen > self.told;
        let is_due = is_last || uses.requests == 0 || seen.since(self.told) >= SIGHT;
        if !(is_new && is_due) {
            return (None, uses);
        }
        self.told = seen;
        (Some(seen), uses)
    }
}

impl Untold {
    /// Whether there was room.
    fn note(&mut self, day: Day, key: &KeyId, seen: Option<Timestamp>, more: &Uses) -> bool {
        let full = self.uses.len() >= MOST_UNTOLD;
        match self.uses.entry((day, key.clone())) {
            Entry::Vacant(_) if full => return false,
            Entry::Vacant(place) => {
                place.insert((seen, more.clone()));
            }
            Entry::Occupied(mut place) => {
                let (known, uses) = place.get_mut();
                *known = seen.max(*known);
                uses.add(more);
            }
        }
        true
    }
}

impl fmt::Debug for UsageBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UsageBook").finish_non_exhaustive()
    }
}

fn lock(page: &Mutex<CountsPage>) -> MutexGuard<'_, CountsPage> {
    // Whole after each of its few steps.
    page.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::scripted_store::ScriptedStore;
    use crate::store::UsageStore as _;

    const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);

    fn book() -> (Arc<ScriptedStore>, UsageBook, Metrics) {
        let (store, metrics) = (Arc::new(ScriptedStore::new()), Metrics::new());
        let clock = Clock::manual(NOW);
        let book = UsageBook::new(Arc::clone(&store) as Arc<dyn Store>, clock, &metrics);
        (store, book, metrics)
    }

    fn remembered(book: &UsageBook) -> usize {
        book.pages.iter().map(|page| lock(page).len()).sum()
    }

    #[tokio::test]
    async fn the_last_counts_of_a_record_that_is_gone_are_told_and_leave_the_book() {
        let (store, book, _) = book();
        let (key, scopes) = (KeyId::random(), ScopeSet::parse("a b").expect("scopes"));
        let counts = book.counts(&key, &scopes);
        assert!(Arc::ptr_eq(&counts, &book.counts(&key, &scopes)));
        book.tell().await;
        assert_eq!(remembered(&book), 1);
        counts.see(NOW);
        counts.count(Some(&scopes));
        drop(counts);
        book.tell().await;
        assert_eq!(remembered(&book), 0);
        let day = Day::of(NOW);
        let found = store.usage(vec![key], day, day).await.expect("it answers");
        assert_eq!((found[0].uses.requests, found[0].uses.used.len()), (1, 2));
        assert_eq!(store.usage_began().await.ok(), Some(Some(NOW)));
    }

    #[test]
    fn a_key_has_room_for_sixteen_missing_scopes() {
        let counts = UseCounts::new(ScopeSet::parse("s1").expect("a scope"));
        let names: Vec<String> = (0..40).map(|n| format!("s{n}")).collect();
        for _ in 0..2 {
            counts.count_missing(&ScopeSet::parse(&names.join(" ")).expect("scopes"));
        }
        let missing = counts.take().missing;
        assert_eq!(missing.len(), 16);
        assert!(missing.iter().all(|(s, n)| s.as_str() != "s1" && *n == 2));
        assert!(counts.take().is_empty());
    }

    #[test]
    fn what_waits_to_be_told_is_bounded() {
        let (mut untold, day) = (Untold::default(), Day::of(NOW));
        let key = |n: usize| KeyId::parse(&format!("key_{n}")).expect("an id");
        let one = Uses {
            requests: 1,
            ..Uses::default()
        };
        assert!((0..MOST_UNTOLD).all(|n| untold.note(day, &key(n), None, &one)));
        assert!(!untold.note(day, &key(MOST_UNTOLD), None, &one));
        assert!(untold.note(day, &key(0), Some(NOW), &one), "known already");
        let (seen, uses) = &untold.uses[&(day, key(0))];
        assert_eq!((*seen, uses.requests), (Some(NOW), 2));
    }
}
