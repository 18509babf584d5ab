//! Reads the store's event log for as long as the process lives.
//!
//! ```text
//! read the not-before list ─▶ follow from its position ─▶ follow … ─▶ gap: read the list again
//! ```
//!
//! An earlier process may have left a position on disk: whether the log goes on from there is asked
//! first, because reading the list begins a log where there is none. Not here: what a denial means
//! ([`super::revocation`]), who hears how far it was read ([`super::fleet`]), keeping it on disk
//! ([`super::memory`]), telling it to a store that lost it ([`super::heal`]). Invariants: the lease is
//! confirmed only after everything that an answer brought was applied, and only up to the moment at
//! which that answer was asked for; the list's position was taken before the list, so nothing falls
//! between.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{Gauge, IntCounterVec};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use crate::clock::Clock;
use crate::observe::{Causes, Metrics};
use crate::secret::{Digest, random_bytes};
use crate::store::{Denial, Event, Follow, Gap, Position, Store, StoreError};

use super::api_key::Key;
use super::cache::RecordCache;
use super::fleet::{News, Presence};
use super::heal::Healer;
use super::memory::MemoryWriter;
use super::revocation::Revocation;
use super::session::Session;
use super::sight::SightWriter;
use super::usage::UsageBook;

/// The one reader of the log: runs on the control runtime from start to shutdown.
#[must_use = "without a follower nothing is verified"]
pub struct Follower {
    log: Log,
    sights: SightWriter,
    memory: MemoryWriter,
    healer: Healer,
    usage: Arc<UsageBook>,
}

struct Log {
    store: Arc<dyn Store>,
    revocation: Arc<Revocation>,
    caches: Caches,
    clock: Clock,
    lease_age: Gauge,
    presence: Presence,
    gaps: IntCounterVec,
    /// Up to where an earlier process has seen the log; not asked yet whether it goes on from there.
    remembered: Option<Position>,
    seen: watch::Sender<Option<Position>>,
    heal: Arc<Notify>,
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
    #[error("{0}")]
    Gap(Whereabouts),
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
        (sights, usage): (SightWriter, Arc<UsageBook>),
        clock: Clock,
        metrics: &Metrics,
    ) -> Follower {
        let (seen, reached) = watch::channel(None);
        let heal = Arc::new(Notify::new());
        let memory = MemoryWriter::new(Arc::clone(&revocation), reached, clock.clone(), metrics);
        let healer = Healer::new(
            Arc::clone(&store),
            Arc::clone(&revocation),
            memory.file(),
            Arc::clone(&heal),
            clock.clone(),
            metrics,
        );
        let log = Log {
            store,
            revocation,
            caches,
            clock,
            lease_age: metrics.revocation_lease_age.clone(),
            presence: Presence::alone(),
            gaps: counted_gaps(metrics),
            remembered: None,
            seen,
            heal,
        };
        Follower {
            log,
            sights,
            memory,
            healer,
            usage,
        }
    }

    /// As an instance of a fleet, which confirms nothing before the store lists it.
    pub fn join(mut self, presence: Presence) -> Follower {
        self.log.presence = presence;
        self
    }

    /// Knows what an earlier process of this instance knew, and keeps what it learns in that file.
    pub async fn remembering(mut self, path: PathBuf) -> Follower {
        self.log.remembered = self.memory.begin(path).await;
        self
    }

    /// Never ends: abort its task at shutdown. Also tells the store which credentials are in use and
    /// what for, and which revocations it has lost, and keeps those on disk; none of these waits for
    /// another.
    pub async fn run(self) -> Infallible {
        let Follower {
            log,
            sights,
            memory,
            healer,
            usage,
        } = self;
        tokio::select! {
            never = log.read() => never,
            never = sights.run() => never,
            never = memory.run() => never,
            never = healer.run() => never,
            never = usage.run() => never,
        }
    }
}

impl Log {
    async fn read(mut self) -> Infallible {
        let mut position: Option<Position> = None;
        let mut pause = Pause::new();
        self.presence.begun().await;
        loop {
            let step = match &position {
                None => self.begin().await,
                Some(position) => self.follow(position).await,
            };
            match step {
                // Only following proves that the log can be followed.
                Ok(next) => {
                    self.tell_memory(&next);
                    if position.replace(next).is_some() && pause.end() {
                        tracing::info!("the revocation log is followed again");
                    }
                    self.show_lease();
                }
                Err(lost) => {
                    if pause.begin() {
                        report(&lost);
                    }
                    if matches!(lost, Lost::Gap(_)) {
                        position = None;
                    }
                    self.show_lease();
                    sleep(pause.next()).await;
                }
            }
        }
    }

    /// First whether the log still goes on from where an earlier process was. If not, that is a gap
    /// as any other, and its position is of no more use.
    async fn begin(&mut self) -> Result<Position, Lost> {
        if let Some(remembered) = &self.remembered {
            let found = within(self.store.follow(remembered, Duration::ZERO)).await?;
            self.remembered = None;
            if let Follow::Gap(gap) = found {
                return Err(self.lose(gap));
            }
        }
        self.read_list().await
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
        self.heal.notify_one();
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
            Follow::Gap(gap) => Err(self.lose(gap)),
        }
    }

    /// What came after the last position cannot be known.
    fn lose(&self, gap: Gap) -> Lost {
        self.caches.flush();
        self.gaps.with_label_values(&[gap.label()]).inc();
        Lost::Gap(Whereabouts(gap))
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

    fn tell_memory(&self, position: &Position) {
        self.seen.send_if_modified(|seen| {
            let is_new = seen.as_ref() != Some(position);
            if is_new {
                *seen = Some(position.clone());
            }
            is_new
        });
    }

    fn show_lease(&self) {
        let age = self.revocation.lease_age();
        self.lease_age
            .set(age.map_or(f64::INFINITY, |age| age.as_secs_f64()));
    }
}

fn report(lost: &Lost) {
    tracing::warn!(error = %Causes(lost), "the revocation log is not followed");
}

/// Each cause is there from the start, so that an alert sees the first of its kind.
fn counted_gaps(metrics: &Metrics) -> IntCounterVec {
    let gaps = metrics.revocation_log_gaps.clone();
    for gap in Gap::ALL {
        gaps.with_label_values(&[gap.label()]);
    }
    gaps
}

/// What a gap says of the store, in words.
#[derive(Clone, Copy, Debug)]
struct Whereabouts(Gap);

impl fmt::Display for Whereabouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Gap::Another => {
                "its log is another one than before: the store was emptied and begun anew, or another \
                 one is in its place"
            }
            Gap::Behind => {
                "the store is behind what was seen here: it was restored from an older copy, or a \
                 replica that lagged took over"
            }
            Gap::Emptied => "the store has no log any more: it was emptied",
            Gap::Trimmed => "more has happened than the log holds",
        })?;
        f.write_str("; the caches are emptied and the whole list is read")
    }
}

async fn within<T>(answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, Lost> {
    match timeout(DEADLINE, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Lost::Deadline),
    }
}

/// The pause between tries: doubled up to a bound, and jittered downwards, so that a fleet does
/// not come back as one and each instance is back within 5 s of the store (security.md row 110).
pub(super) struct Pause {
    next: Option<Duration>,
}

impl Pause {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(3);

    pub(super) fn new() -> Pause {
        Pause { next: None }
    }

    /// Whether this is the first trouble.
    pub(super) fn begin(&mut self) -> bool {
        self.next.is_none()
    }

    /// Whether there was trouble.
    pub(super) fn end(&mut self) -> bool {
        self.next.take().is_some()
    }

    pub(super) fn next(&mut self) -> Duration {
        let pause = self.next.unwrap_or(Pause::FIRST);
        self.next = Some(pause.saturating_mul(2).min(Pause::LONGEST));
        let [random] = random_bytes::<1>();
        pause.mul_f64(0.5 + 0.5 * f64::from(random) / 255.0)
    }
}
