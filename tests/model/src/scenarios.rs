//! What can go on at once, and what must hold. Each function is one execution; it stands still, which
//! shuttle takes for a failure, if a look-up is never answered.
//!
//! A record's content is its version. A change is: the store has the next version, the follower tells
//! the cache, and when that has returned, the change is known. A look-up that begins then must be
//! answered with that version or a later one.

use std::time::Duration;

use shuttle::future::block_on;
use shuttle::sync::atomic::{AtomicU64, Ordering::SeqCst};
use shuttle::sync::{Arc, Condvar, Mutex};
use shuttle::thread;

use crate::clock::Timestamp;
use crate::libraries::{Handle, Instant};
use crate::observe::Metrics;
use crate::secret::Digest;
use crate::store::{Denial, DenialKind, Store, StoreError};
use crate::usage::UsageBook;

use super::CacheSettings;
use super::cache::{Kept, RecordCache};
use super::look_ups::Source;
use super::revocation::Revocation;

const ONE: Digest = Digest::from_bytes([1; 32]);
const AT: Timestamp = Timestamp::from_secs(1_790_000_000);
/// The version of what is not there any more.
const GONE: u64 = u64::MAX;
const HOUR: Duration = Duration::from_secs(3600);

#[derive(Debug)]
struct Record {
    version: u64,
}

impl Kept for Record {
    const CACHE: &'static str = "model";

    async fn load(store: &dyn Store, _: &UsageBook, digest: Digest) -> Result<Option<Record>, StoreError> {
        let version = store.version(digest)?;
        Ok(version.map(|version| Record { version }))
    }

    fn succeed(&mut self, _before: &Record) {}
}

/// A cache before a store of one record.
struct House {
    cache: Arc<RecordCache<Record>>,
    revocation: Revocation,
    store: Arc<Shelf>,
    control: Handle,
    /// The last version whose change is known.
    known: AtomicU64,
}

struct Shelf {
    version: Mutex<Option<u64>>,
    /// Whether every third answer is none.
    fails: bool,
    /// Set: the first reader waits, after reading, until it is told.
    gate: Option<Gate>,
}

#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    moved: Condvar,
}

#[derive(Default, PartialEq, Eq)]
enum GateState {
    #[default]
    Unread,
    Read,
    Open,
}

impl Store for Shelf {
    fn version(&self, _digest: Digest) -> Result<Option<u64>, StoreError> {
        if self.fails && shuttle::rand::Rng::gen_ratio(&mut shuttle::rand::thread_rng(), 1, 3) {
            return Err(StoreError);
        }
        let version = *self.version.lock().expect("no panic under it");
        if let Some(gate) = &self.gate {
            gate.read();
        }
        Ok(version)
    }
}

impl Gate {
    fn read(&self) {
        let mut state = self.state.lock().expect("no panic under it");
        if *state == GateState::Unread {
            *state = GateState::Read;
            self.moved.notify_all();
            while *state != GateState::Open {
                state = self.moved.wait(state).expect("no panic under it");
            }
        }
    }

    fn when_read(&self, then: impl FnOnce()) {
        let mut state = self.state.lock().expect("no panic under it");
        while *state != GateState::Read {
            state = self.moved.wait(state).expect("no panic under it");
        }
        drop(state);
        then();
        *self.state.lock().expect("no panic under it") = GateState::Open;
        self.moved.notify_all();
    }
}

/// What a scenario chooses.
struct Plan {
    begins_with: Option<u64>,
    /// `ZERO` has every hit begin a refresh behind it.
    fresh: Duration,
    store_fails: bool,
    tasks_are_lost: bool,
    gate: Option<Gate>,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            begins_with: Some(1),
            fresh: HOUR,
            store_fails: false,
            tasks_are_lost: false,
            gate: None,
        }
    }
}

impl House {
    fn new(plan: Plan) -> Arc<House> {
        let settings = CacheSettings {
            capacity: 2,
            fresh: plan.fresh,
            stale: HOUR,
            negative: HOUR,
        };
        let store = Arc::new(Shelf {
            version: Mutex::new(plan.begins_with),
            fails: plan.store_fails,
            gate: plan.gate,
        });
        let control = Handle::new(plan.tasks_are_lost);
        let behind = Arc::clone(&store) as Arc<dyn Store>;
        let revocation = Revocation::new(&settings, &[]);
        revocation.confirm(Instant::now());
        Arc::new(House {
            cache: Arc::new(RecordCache::new(
                settings,
                Source::new(behind, std::sync::Arc::new(UsageBook), control.clone()),
                &Metrics::default(),
            )),
            revocation,
            store,
            control,
            known: AtomicU64::new(plan.begins_with.unwrap_or(0)),
        })
    }

    /// What the store has now. `None` is that the record is gone for good.
    fn write(&self, version: Option<u64>) {
        *self.store.version.lock().expect("no panic under it") = version;
    }

    /// The follower hears of the record.
    fn forget(&self, version: u64) {
        block_on(self.cache.forget(&ONE));
        self.known.store(version, SeqCst);
    }

    /// The follower heard of a gap.
    fn flush(&self, version: u64) {
        self.cache.flush();
        self.known.store(version, SeqCst);
    }

    /// A request's look-up, and what must hold of it.
    fn look_up(&self) {
        let known = self.known.load(SeqCst);
        let answer = block_on(self.cache.find(&ONE, &self.revocation));
        // "Cannot know" is no verdict.
        if let Ok(record) = answer {
            let version = record.map_or(if known == 0 { 0 } else { GONE }, |it| it.version);
            assert!(
                version >= known,
                "answered with version {version} after the change to {known} was known"
            );
        }
    }

    /// `requests` beside what the follower does.
    fn run(self: Arc<Self>, requests: usize, follower: fn(&House)) {
        let request = |_| {
            let house = Arc::clone(&self);
            thread::spawn(move || {
                house.look_up();
                house.look_up();
            })
        };
        let requests: Vec<_> = (0..requests).map(request).collect();
        follower(&self);
        self.look_up();
        for request in requests {
            request.join().expect("its assertions hold");
        }
        self.look_up();
        block_on(self.control.idle());
    }
}

/// A key is changed, and then deleted.
pub fn changes_are_forgotten() {
    House::new(Plan::default()).run(2, |house| {
        house.write(Some(2));
        house.forget(2);
        house.write(None);
        house.forget(GONE);
    });
}

/// The same while every hit refreshes the record behind it.
pub fn changes_are_forgotten_beside_refreshes() {
    let plan = Plan {
        fresh: Duration::ZERO,
        ..Plan::default()
    };
    House::new(plan).run(2, |house| {
        house.write(Some(2));
        house.forget(2);
        house.write(Some(3));
        house.forget(3);
    });
}

/// Events were lost: anything may have changed.
pub fn changes_are_flushed() {
    House::new(Plan::default()).run(2, |house| {
        house.write(Some(2));
        house.flush(2);
        house.write(None);
        house.flush(GONE);
    });
}

/// A key is created that was asked for before.
pub fn what_is_new_is_not_absent() {
    let plan = Plan {
        begins_with: None,
        ..Plan::default()
    };
    let house = House::new(plan);
    let request = {
        let house = Arc::clone(&house);
        thread::spawn(move || house.look_up())
    };
    house.look_up();
    house.write(Some(1));
    block_on(house.cache.forget(&ONE));
    let found = block_on(house.cache.find(&ONE, &house.revocation));
    assert!(matches!(found, Ok(Some(_))), "a new key is taken for none");
    request.join().expect("its assertions hold");
    block_on(house.control.idle());
}

/// A load that read before the change and ends after it: whoever waits for it gets what is true now.
pub fn a_load_across_a_change_is_void() {
    across_a_change(|house| house.forget(2));
}

/// The same where events were lost.
pub fn a_load_across_a_gap_is_void() {
    across_a_change(|house| house.flush(2));
}

fn across_a_change(tell: fn(&House)) {
    let plan = Plan {
        gate: Some(Gate::default()),
        ..Plan::default()
    };
    let house = House::new(plan);
    let request = || {
        let house = Arc::clone(&house);
        thread::spawn(move || block_on(house.cache.find(&ONE, &house.revocation)))
    };
    let requests = [request(), request()];
    let gate = house.store.gate.as_ref().expect("as planned");
    gate.when_read(|| {
        house.write(Some(2));
        tell(&house);
    });
    for request in requests {
        let found = request.join().expect("no panic").expect("the store answers");
        let version = found.map(|record| record.version);
        assert_eq!(version, Some(2), "a load across a change was taken");
    }
    block_on(house.control.idle());
}

/// The store fails now and then: no answer is wrong, and every look-up ends.
pub fn a_store_that_fails_is_no_verdict() {
    let plan = Plan {
        store_fails: true,
        fresh: Duration::ZERO,
        ..Plan::default()
    };
    House::new(plan).run(2, |house| {
        house.write(Some(2));
        house.forget(2);
    });
}

/// The runtime of the loads ends, half done: every look-up ends.
pub fn nobody_waits_for_a_lost_load() {
    let plan = Plan {
        tasks_are_lost: true,
        ..Plan::default()
    };
    House::new(plan).run(2, |house| {
        house.write(Some(2));
        house.forget(2);
    });
}

/// Two batches of denials: once one has been taken in, nothing that it names is let through, also
/// not when the next one comes.
pub fn what_is_denied_stays_denied() {
    let house = House::new(Plan::default());
    let denied = Arc::new(AtomicU64::new(0));
    let request = |_| {
        let (house, denied) = (Arc::clone(&house), Arc::clone(&denied));
        thread::spawn(move || {
            for _ in 0..2 {
                let known = denied.load(SeqCst);
                // As `api_key.rs` asks: the record first, the list on every use of it.
                let _found = block_on(house.cache.find(&ONE, &house.revocation));
                let refused = |id| house.revocation.denies(AT, [(DenialKind::Key, id)]);
                assert!(known < 1 || refused("key_1"), "the first was let through");
                assert!(known < 2 || refused("key_2"), "the second was let through");
            }
        })
    };
    let requests: Vec<_> = (0..2).map(request).collect();
    for (number, id) in [(1, "key_1"), (2, "key_2")] {
        let denial = Denial {
            kind: DenialKind::Key,
            id: id.into(),
            at: AT,
        };
        house.revocation.deny([denial], AT);
        house.revocation.confirm(Instant::now());
        denied.store(number, SeqCst);
    }
    for request in requests {
        request.join().expect("its assertions hold");
    }
    block_on(house.control.idle());
}
