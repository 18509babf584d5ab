//! When credentials were last seen: noted on every use, told to the store every now and then.
//!
//! Not here: what follows from it (an idle session's end, `key show`). Invariants: a request waits
//! for no store; what does not fit into the queue is left out, and the next use tells it; a
//! credential is in the queue at most once per interval.

use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::Principal;
use crate::clock::Timestamp;
use crate::observe::Causes;
use crate::secret::Digest;
use crate::store::{Store, Touch};

/// What is known here of one credential's use. Clones are the same sight.
#[derive(Clone, Debug, Default)]
pub(super) struct Sight(Arc<Moments>);

/// In milliseconds since the Unix epoch; zero is never.
#[derive(Debug, Default)]
struct Moments {
    seen: AtomicI64,
    told: AtomicI64,
}

/// Why a credential is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// An operator or the authorization server asks about it: it is not seen.
    Inquiry,
    /// A request from this address shows it: it is seen if it may be used from there.
    Use(IpAddr),
}

impl Occasion {
    /// Whether it is seen. Whoever shows a credential from where it may not be used, keeps no
    /// session from going idle and no key looking alive.
    pub(super) fn is_use_of(self, principal: &Principal) -> bool {
        match self {
            Occasion::Inquiry => false,
            Occasion::Use(from) => principal.allows_address(from),
        }
    }
}

/// Takes down what is seen.
#[derive(Clone, Debug)]
pub(super) struct Witness {
    queue: mpsc::Sender<Touch>,
}

/// Tells the store. Runs on the control runtime.
pub(super) struct SightWriter {
    store: Arc<dyn Store>,
    queue: mpsc::Receiver<Touch>,
}

/// Sights that wait to be told.
const QUEUE: usize = 8192;
/// Sights told at once.
const BATCH: usize = 1024;
/// How long the first of a batch waits for others.
const GATHER: Duration = Duration::from_secs(1);
/// A second bound around the store's own deadlines.
const DEADLINE: Duration = Duration::from_secs(5);

impl Sight {
    /// When it was seen last; zero, long ago, is never.
    pub(super) fn last(&self) -> Timestamp {
        Timestamp::from_millis(self.0.seen.load(Ordering::Relaxed))
    }

    /// It was seen then, too.
    pub(super) fn raise(&self, at: Timestamp) {
        // Most uses within one millisecond write nothing.
        if self.0.seen.load(Ordering::Relaxed) < at.as_millis() {
            self.0.seen.fetch_max(at.as_millis(), Ordering::Relaxed);
        }
    }
}

impl Witness {
    /// The two ends.
    pub(super) fn new(store: Arc<dyn Store>) -> (Witness, SightWriter) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let writer = SightWriter {
            store,
            queue: receiver,
        };
        (Witness { queue: sender }, writer)
    }

    /// A credential was seen: the store hears of it if it has not for as long as `every`.
    pub(super) fn note(
        &self,
        sight: &Sight,
        digest: Digest,
        now: Timestamp,
        every: Duration,
        keep_until: Option<Timestamp>,
    ) {
        let told = sight.0.told.load(Ordering::Relaxed);
        if now.since(Timestamp::from_millis(told)) < every {
            return;
        }
        let claim = sight.0.told.compare_exchange(
            told,
            now.as_millis(),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        let touch = Touch {
            digest,
            seen_at: now,
            keep_until,
        };
        if claim.is_ok() && self.queue.try_send(touch).is_err() {
            sight.0.told.store(told, Ordering::Relaxed);
        }
    }
}

impl SightWriter {
    /// Never ends.
    pub(super) async fn run(mut self) -> Infallible {
        loop {
            let mut touches = Vec::new();
            if self.queue.recv_many(&mut touches, BATCH).await == 0 {
                // Nobody sees anything any more.
                std::future::pending::<()>().await;
            }
            sleep(GATHER).await;
            while touches.len() < BATCH
                && let Ok(touch) = self.queue.try_recv()
            {
                touches.push(touch);
            }
            self.tell(touches).await;
        }
    }

    /// What the store does not take is gone: the next use is told again.
    async fn tell(&self, touches: Vec<Touch>) {
        let count = touches.len();
        match timeout(DEADLINE, self.store.touch(touches)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(error = %Causes(&error), count, "sights could not be kept")
            }
            Err(_) => tracing::debug!(count, "sights could not be kept within {DEADLINE:?}"),
        }
    }
}

impl fmt::Debug for SightWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SightWriter").finish_non_exhaustive()
    }
}
