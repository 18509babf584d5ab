//! Reads the store's event log for as long as the process lives.
//!
//! ```text
//! read the not-before list ─▶ follow from its position ─▶ follow … ─▶ gap: read the list again
//! ```
//!
//! Not here: what a denial means ([`super::revocation`]), and who hears how far it was read
//! ([`super::fleet`]). Invariants: the lease is confirmed only
//! after everything that an answer brought was applied, and only up to the moment at which that
//! answer was asked for; the list's position was taken before the list, so nothing falls between.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Gauge;
use tokio::time::{sleep, timeout};

use crate::clock::Clock;
use crate::observe::Metrics;
use crate::secret::{Digest, random_bytes};
use crate::store::{Denial, Event, Follow, Position, Store, StoreError};

use super::api_key::Key;
use super::cache::RecordCache;
use super::fleet::{News, Presence};
use super::revocation::Revocation;
use super::session::Session;
use super::sight::SightWriter;

/// The one reader of the log: runs on the control runtime from start to shutdown.
#[must_use = "without a follower nothing is verified"]
pub struct Follower {
    log: Log,
    sights: SightWriter,
}

struct Log {
    store: Arc<dyn Store>,
    revocation: Arc<Revocation>,
    caches: Caches,
    clock: Clock,
    lease_age: Gauge,
    presence: Presence,
}

/// What is told of changed records.
#[derive(Debug)]
pub(super) struct Caches {
    pub(super) keys: Arc<RecordCache<Key>>,
    pub(super) sessions: Arc<RecordCache<Session>>,
}

impl Caches {
    /// A digest does not say of which kind it is.
    async fn forget(&self, digest: &Digest) {
        self.keys.forget(digest).await;
        self.sessions.forget(digest).await;
    }

    fn flush(&self) {
        self.keys.flush();
        self.sessions.flush();
    }
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").finish_non_exhaustive()
    }
}

/// Why a step did not confirm the lease.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("the store did not answer within {DEADLINE:?}")]
    Deadline,
    #[error("events were lost")]
    Gap,
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// How long the store waits for the first event. The lease is never younger than this on a quiet
/// log, so it is short beside every sensible `stale`.
const WAIT: Duration = Duration::from_secs(1);
/// A second bound around the store's own deadlines.
const DEADLINE: Duration = Duration::from_secs(5);

impl Follower {
    pub(super) fn new(
        store: Arc<dyn Store>,
        revocation: Arc<Revocation>,
        caches: Caches,
        sights: SightWriter,
        clock: Clock,
        metrics: &Metrics,
    ) -> Follower {
        let log = Log {
            store,
            revocation,
            caches,
            clock,
            lease_age: metrics.revocation_lease_age.clone(),
            presence: Presence::alone(),
        };
        Follower { log, sights }
    }

    /// As an instance of a fleet, which confirms nothing before the store lists it.
    pub fn join(mut self, presence: Presence) -> Follower {
        self.log.presence = presence;
        self
    }

    /// Never ends: abort its task at shutdown. Also tells the store which credentials are in use;
    /// neither of the two waits for the other.
    pub async fn run(self) -> Infallible {
        let Follower { log, sights } = self;
        tokio::select! {
            never = log.read() => never,
            never = sights.run() => never,
        }
    }
}

impl Log {
    async fn read(self) -> Infallible {
        let mut position = None;
        let mut pause = Pause::new();
        self.presence.begun().await;
        loop {
            let step = match &position {
                None => self.read_list().await,
                Some(position) => self.follow(position).await,
            };
            match step {
                // Only following proves that the log can be followed.
                Ok(next) => {
                    if position.replace(next).is_some() && pause.end() {
                        tracing::info!("the revocation log is followed again");
                    }
                    self.show_lease();
                }
                Err(lost) => {
                    if pause.begin() {
                        report(&lost);
                    }
                    if matches!(lost, Lost::Gap) {
                        position = None;
                    }
                    self.show_lease();
                    sleep(pause.next()).await;
                }
            }
        }
    }

    async fn read_list(&self) -> Result<Position, Lost> {
        let asked = self.presence.ask();
        let denials = within(self.store.denials()).await?;
        let news = News::of_list(&denials.entries);
        self.revocation.deny(denials.entries, self.clock.now());
        // Whatever was loaded before the position was taken may have changed unseen.
        self.caches.flush();
        self.presence
            .applied(asked, &denials.position, news, &self.revocation);
        Ok(denials.position)
    }

    async fn follow(&self, position: &Position) -> Result<Position, Lost> {
        let asked = self.presence.ask();
        match within(self.store.follow(position, WAIT)).await? {
            Follow::Events { position, events } => {
                let news = self.apply(events).await;
                self.presence
                    .applied(asked, &position, news, &self.revocation);
                Ok(position)
            }
            Follow::Gap => {
                self.caches.flush();
                Err(Lost::Gap)
            }
        }
    }

    /// Denials first and together: each change of the list copies it. They drop nothing from the
    /// cache, since the list is asked on every use. Gives the news of them.
    async fn apply(&self, events: Vec<Event>) -> News {
        let now = self.clock.now();
        let mut published = Vec::new();
        let mut denials: Vec<Denial> = Vec::new();
        for event in events {
            match event {
                Event::Deny(denial) => denials.push(denial),
                Event::Publish(digest) => published.push(digest),
            }
        }
        let news = News::of_log(&denials);
        self.revocation.deny(denials, now);
        for digest in published {
            self.caches.forget(&digest).await;
        }
        news
    }

    fn show_lease(&self) {
        let age = self.revocation.lease_age();
        self.lease_age
            .set(age.map_or(f64::INFINITY, |age| age.as_secs_f64()));
    }
}

fn report(lost: &Lost) {
    let error: &dyn std::error::Error = lost;
    tracing::warn!(error, "the revocation log is not followed");
}

async fn within<T>(answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, Lost> {
    match timeout(DEADLINE, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Lost::Deadline),
    }
}

/// The pause between tries: doubled up to a bound, and jittered downwards, so that a fleet does
/// not come back as one and each instance is back within 5 s of the store (security.md row 110).
struct Pause {
    next: Option<Duration>,
}

impl Pause {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(3);

    fn new() -> Pause {
        Pause { next: None }
    }

    /// Whether this is the first trouble.
    fn begin(&mut self) -> bool {
        self.next.is_none()
    }

    /// Whether there was trouble.
    fn end(&mut self) -> bool {
        self.next.take().is_some()
    }

    fn next(&mut self) -> Duration {
        let pause = self.next.unwrap_or(Pause::FIRST);
        self.next = Some(pause.saturating_mul(2).min(Pause::LONGEST));
        let [random] = random_bytes::<1>();
        pause.mul_f64(0.5 + 0.5 * f64::from(random) / 255.0)
    }
}
