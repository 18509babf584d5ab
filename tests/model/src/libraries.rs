//! What stands in for the libraries: as much of them as the protocol uses, and no kinder than them.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::ops::{Add, Deref};
use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::{Arc, Mutex};

fn coin(sides: u32) -> bool {
    thread_rng().gen_ratio(1, sides)
}

/// moka's, with what it may do made likely: an entry can be gone at any time, and an invalidation
/// that runs beside an insertion can miss it. Here any invalidation can.
pub struct Cache<K, V> {
    entries: Mutex<HashMap<K, V>>,
}

impl<K: Copy + Eq + Hash, V: Clone> Cache<K, V> {
    pub fn new(_capacity: u64) -> Cache<K, V> {
        Cache {
            entries: Mutex::new(HashMap::new()),
        }
    }

    pub fn builder() -> Builder<K, V> {
        Builder(PhantomData)
    }

    pub async fn get(&self, key: &K) -> Option<V> {
        let mut entries = self.entries.lock().expect("no panic under it");
        if coin(8) {
            entries.remove(key);
        }
        entries.get(key).cloned()
    }

    pub async fn insert(&self, key: K, value: V) {
        self.entries
            .lock()
            .expect("no panic under it")
            .insert(key, value);
    }

    pub async fn invalidate(&self, key: &K) {
        if coin(2) {
            self.entries.lock().expect("no panic under it").remove(key);
        }
    }

    pub fn invalidate_all(&self) {
        if coin(2) {
            self.entries.lock().expect("no panic under it").clear();
        }
    }
}

impl<K, V> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cache")
    }
}

pub struct Builder<K, V>(PhantomData<(K, V)>);

impl<K: Copy + Eq + Hash, V: Clone> Builder<K, V> {
    pub fn max_capacity(self, _capacity: u64) -> Builder<K, V> {
        self
    }

    pub fn eviction_policy(self, _policy: EvictionPolicy) -> Builder<K, V> {
        self
    }

    pub fn build(self) -> Cache<K, V> {
        Cache::new(0)
    }
}

pub struct EvictionPolicy;

impl EvictionPolicy {
    pub fn lru() -> EvictionPolicy {
        EvictionPolicy
    }
}

/// tokio's: a task may also be dropped half done, as when its runtime ends, where a scenario says so.
#[derive(Clone)]
pub struct Handle {
    tasks_are_lost: bool,
    tasks: Arc<std::sync::Mutex<Vec<shuttle::future::JoinHandle<()>>>>,
}

/// Dropped, its task goes on by itself.
pub struct JoinHandle;

impl Handle {
    pub fn new(tasks_are_lost: bool) -> Handle {
        Handle {
            tasks_are_lost,
            tasks: Arc::default(),
        }
    }

    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle {
        let task = shuttle::future::spawn(task);
        if self.tasks_are_lost && coin(2) {
            task.abort();
        }
        self.tasks.lock().expect("no panic under it").push(task);
        JoinHandle
    }

    /// An execution ends when its tasks have.
    pub async fn idle(&self) {
        loop {
            let task = self.tasks.lock().expect("no panic under it").pop();
            match task {
                Some(task) => drop(task.await),
                None => return,
            }
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}

/// Time stands still: what is fresh stays so, and what is due is due at once. When something is
/// due is a number of the settings, which the scenarios choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(Duration);

impl Instant {
    pub fn now() -> Instant {
        Instant(Duration::from_secs(1_000_000))
    }

    pub fn saturating_duration_since(&self, earlier: Instant) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    pub fn elapsed(&self) -> Duration {
        Instant::now().saturating_duration_since(*self)
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, duration: Duration) -> Instant {
        Instant(self.0 + duration)
    }
}

#[derive(Debug)]
pub struct Elapsed;

/// The scenarios' store answers, or fails; that it is given up is one more failure.
pub async fn timeout<T>(_bound: Duration, answer: impl Future<Output = T>) -> Result<T, Elapsed> {
    Ok(answer.await)
}

/// arc-swap's, each load and store at one moment.
pub struct ArcSwapOption<T>(Mutex<Option<Arc<T>>>);

impl<T> ArcSwapOption<T> {
    pub fn empty() -> ArcSwapOption<T> {
        ArcSwapOption(Mutex::new(None))
    }

    pub fn load(&self) -> Option<Arc<T>> {
        self.0.lock().expect("no panic under it").clone()
    }

    pub fn store(&self, value: Option<Arc<T>>) {
        *self.0.lock().expect("no panic under it") = value;
    }
}

/// The same, never empty.
#[derive(Debug)]
pub struct ArcSwap<T>(Mutex<Arc<T>>);

impl<T: Default> Default for ArcSwap<T> {
    fn default() -> ArcSwap<T> {
        ArcSwap(Mutex::new(Arc::default()))
    }
}

impl<T> ArcSwap<T> {
    pub fn load(&self) -> Arc<T> {
        Arc::clone(&self.0.lock().expect("no panic under it"))
    }

    pub fn load_full(&self) -> Arc<T> {
        self.load()
    }

    /// Again, if somebody else was faster.
    pub fn rcu(&self, mut change: impl FnMut(&Arc<T>) -> T) {
        loop {
            let before = self.load();
            let after = Arc::new(change(&before));
            let mut value = self.0.lock().expect("no panic under it");
            if Arc::ptr_eq(&value, &before) {
                *value = after;
                return;
            }
        }
    }
}

/// tokio's: whoever waits is woken by each place that is given back, and whoever comes first has it.
#[derive(Debug)]
pub struct Semaphore(Mutex<Places>);

#[derive(Debug)]
struct Places {
    free: usize,
    waiters: Vec<std::task::Waker>,
}

#[derive(Debug)]
pub struct OwnedSemaphorePermit(std::sync::Arc<Semaphore>);

/// It is never closed, and tried only where there is room.
#[derive(Debug)]
pub struct NoPermit;

impl Semaphore {
    pub fn new(free: usize) -> Semaphore {
        let waiters = Vec::new();
        Semaphore(Mutex::new(Places { free, waiters }))
    }

    pub fn available_permits(&self) -> usize {
        self.0.lock().expect("no panic under it").free
    }

    pub fn try_acquire_owned(
        self: std::sync::Arc<Semaphore>,
    ) -> Result<OwnedSemaphorePermit, NoPermit> {
        let mut places = self.0.lock().expect("no panic under it");
        places.free = places.free.checked_sub(1).ok_or(NoPermit)?;
        drop(places);
        Ok(OwnedSemaphorePermit(self))
    }

    pub async fn acquire_owned(
        self: std::sync::Arc<Semaphore>,
    ) -> Result<OwnedSemaphorePermit, NoPermit> {
        std::future::poll_fn(|cx| {
            let mut places = self.0.lock().expect("no panic under it");
            if places.free == 0 {
                places.waiters.push(cx.waker().clone());
                return std::task::Poll::Pending;
            }
            places.free -= 1;
            std::task::Poll::Ready(())
        })
        .await;
        Ok(OwnedSemaphorePermit(self))
    }
}

impl Drop for OwnedSemaphorePermit {
    fn drop(&mut self) {
        let mut places = self.0.0.lock().expect("no panic under it");
        places.free += 1;
        let waiters = std::mem::take(&mut places.waiters);
        drop(places);
        waiters.into_iter().for_each(std::task::Waker::wake);
    }
}

#[derive(Debug)]
pub struct IntCounter;

impl IntCounter {
    pub fn inc(&self) {}
}

/// tokio's: a waiter is woken by a value and by the end of the sender.
pub mod watch {
    use std::fmt;
    use std::task::{Poll, Waker};

    use super::{Arc, Deref, Mutex};

    pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
        let state = State {
            value,
            is_closed: false,
            waiters: Vec::new(),
        };
        let shared = Arc::new(Mutex::new(state));
        (Sender(Arc::clone(&shared)), Receiver(shared))
    }

    struct State<T> {
        value: T,
        is_closed: bool,
        waiters: Vec<Waker>,
    }

    pub struct Sender<T>(Arc<Mutex<State<T>>>);

    pub struct Receiver<T>(Arc<Mutex<State<T>>>);

    /// What a receiver waited for.
    pub struct Seen<T>(T);

    #[derive(Debug)]
    pub struct Closed;

    impl<T> Sender<T> {
        pub fn subscribe(&self) -> Receiver<T> {
            Receiver(Arc::clone(&self.0))
        }

        pub fn send_replace(&self, value: T) {
            let mut state = self.0.lock().expect("no panic under it");
            state.value = value;
            let waiters = std::mem::take(&mut state.waiters);
            drop(state);
            waiters.into_iter().for_each(Waker::wake);
        }
    }

    impl<T> Drop for Sender<T> {
        fn drop(&mut self) {
            let mut state = self.0.lock().expect("no panic under it");
            state.is_closed = true;
            let waiters = std::mem::take(&mut state.waiters);
            drop(state);
            waiters.into_iter().for_each(Waker::wake);
        }
    }

    impl<T: Clone> Receiver<T> {
        pub async fn wait_for(
            &mut self,
            mut is_wanted: impl FnMut(&T) -> bool,
        ) -> Result<Seen<T>, Closed> {
            std::future::poll_fn(|context| {
                let mut state = self.0.lock().expect("no panic under it");
                if is_wanted(&state.value) {
                    return Poll::Ready(Ok(Seen(state.value.clone())));
                }
                if state.is_closed {
                    return Poll::Ready(Err(Closed));
                }
                state.waiters.push(context.waker().clone());
                Poll::Pending
            })
            .await
        }
    }

    impl<T> Receiver<T> {
        pub fn same_channel(&self, other: &Receiver<T>) -> bool {
            Arc::ptr_eq(&self.0, &other.0)
        }
    }

    impl<T> Clone for Receiver<T> {
        fn clone(&self) -> Receiver<T> {
            Receiver(Arc::clone(&self.0))
        }
    }

    impl<T> Deref for Seen<T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.0
        }
    }

    impl<T> fmt::Debug for Sender<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Sender")
        }
    }

    impl<T> fmt::Debug for Receiver<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Receiver")
        }
    }
}
