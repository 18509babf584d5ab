//! Tells the store of this instance: every 2 s, and at once when the log was read on.
//!
//! One report at a time: what happens meanwhile goes into the next. Not here: whether an instance may
//! serve ([`super::membership`]). Invariants: nobody waits for a report; an instance leaves the list
//! only when it serves no more.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{Gauge, Histogram, IntCounter};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::membership::{BOUND, INTERVAL, Membership, keep};
use super::presence::{Presence, Progress};
use crate::auth::Revocation;
use crate::clock::{Clock, Timestamp};
use crate::id::InstanceId;
use crate::observe::{Causes, Metrics};
use crate::secret::random_bytes;
use crate::store::{InstanceReport, InstanceStage, ReportKind, Store, StoreError};

/// The one who reports: runs on the control runtime from start to end.
#[must_use = "who does not report may not serve"]
pub struct Reporter {
    store: Arc<dyn Store>,
    revocation: Arc<Revocation>,
    membership: Arc<Membership>,
    progress: watch::Receiver<Progress>,
    announced: watch::Receiver<Announced>,
    card: Card,
    clock: Clock,
    propagation: Histogram,
    failures: IntCounter,
    report_age: Gauge,
    is_refused: bool,
    /// How many revocations are timed.
    timed: u64,
}

/// What a reporter works with.
pub struct ReporterParts<'a> {
    /// Where it reports.
    pub store: Arc<dyn Store>,
    /// Whose lease it tells.
    pub revocation: Arc<Revocation>,
    /// How old that may be while it serves.
    pub stale: Duration,
    /// The digest of the configuration.
    pub config: &'a str,
    /// The time.
    pub clock: &'a Clock,
    /// Where failures are counted.
    pub metrics: &'a Metrics,
}

/// What stays the same for a whole run.
struct Card {
    id: InstanceId,
    name: String,
    started_at: Timestamp,
    stale: Duration,
}

/// The gateway's own word on itself. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Announcement(Arc<watch::Sender<Announced>>);

#[derive(Clone, Debug)]
struct Announced {
    config: String,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Draining,
    Ended,
    Serving,
}

/// After a report that the store did not take.
const RETRY: Duration = Duration::from_millis(300);
/// Of a host's name, in characters.
const HOST_CHARS: usize = 64;

impl Reporter {
    /// With the presence for the follower, and with what the gateway announces itself by.
    pub fn new(parts: ReporterParts<'_>) -> (Reporter, Presence, Announcement) {
        let membership = Arc::new(Membership::new());
        let (progress, read) = watch::channel(Progress::default());
        let (announcement, announced) = watch::channel(Announced {
            config: parts.config.to_owned(),
            stage: Stage::Serving,
        });
        let reporter = Reporter {
            store: parts.store,
            revocation: parts.revocation,
            membership: Arc::clone(&membership),
            progress: read,
            announced,
            card: Card {
                id: InstanceId::random(),
                name: format!("{}:{}", host(), std::process::id()),
                started_at: parts.clock.now(),
                stale: parts.stale,
            },
            clock: parts.clock.clone(),
            propagation: parts.metrics.revocation_propagation.clone(),
            failures: parts.metrics.fleet_report_failures.clone(),
            report_age: parts.metrics.fleet_report_age.clone(),
            is_refused: false,
            timed: 0,
        };
        let presence = Presence::member(membership, progress);
        (reporter, presence, Announcement(Arc::new(announcement)))
    }

    /// Under which name this instance is listed.
    pub fn id(&self) -> &InstanceId {
        &self.card.id
    }

    /// Ends after [`Announcement::end`], when the store was told.
    pub async fn run(mut self) {
        loop {
            let announced = self.announced.borrow_and_update().clone();
            let stage = match announced.stage {
                Stage::Draining => InstanceStage::Draining,
                Stage::Ended => return self.leave().await,
                Stage::Serving => InstanceStage::Serving,
            };
            let progress = self.progress.borrow_and_update().clone();
            let begun = Instant::now();
            let report = self.report(announced.config, stage, &progress);
            match self.store.report(report).await {
                Ok(behind) => {
                    self.time(&progress, behind);
                    self.taken(begun).await;
                }
                Err(error) => self.refused(&error).await,
            }
        }
    }

    /// From the writing of what was heard last to the store's having heard that it is applied: both by
    /// the store's clock, where entries have a time, so that no two clocks are compared.
    fn time(&mut self, progress: &Progress, behind: Option<Duration>) {
        if progress.heard == self.timed {
            return;
        }
        self.timed = progress.heard;
        let own = || {
            let at = progress.last_revocation?;
            Some(self.clock.now().since(at))
        };
        if let Some(delay) = behind.or_else(own) {
            self.propagation.observe(delay.as_secs_f64());
        }
    }

    fn report(&self, config: String, stage: InstanceStage, progress: &Progress) -> InstanceReport {
        let card = &self.card;
        // Long ago, the store may have dropped it.
        let is_listed = self.membership.holds(Instant::now());
        InstanceReport {
            id: card.id.clone(),
            name: card.name.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            config,
            started_at: card.started_at,
            stale: card.stale,
            lease_age: self.revocation.lease_age(),
            last_revocation: progress.last_revocation,
            stage,
            confirmed: progress.confirmed.clone(),
            keep: keep(card.stale),
            kind: match is_listed {
                true => ReportKind::Renewal,
                false => ReportKind::First,
            },
        }
    }

    async fn taken(&mut self, begun: Instant) {
        self.membership.reported(begun);
        self.report_age.set(0.0);
        if std::mem::take(&mut self.is_refused) {
            tracing::info!("the store lists this instance again");
        }
        tokio::select! {
            () = changed(&mut self.progress) => {}
            () = changed(&mut self.announced) => {}
            () = sleep(jittered(INTERVAL)) => {}
        }
    }

    /// What is read on meanwhile does not hurry the next attempt.
    async fn refused(&mut self, error: &StoreError) {
        self.failures.inc();
        let age = self.membership.age(Instant::now());
        self.report_age
            .set(age.map_or(f64::INFINITY, |age| age.as_secs_f64()));
        if !std::mem::replace(&mut self.is_refused, true) {
            let bound = BOUND.as_secs();
            tracing::warn!(
                error = %Causes(error),
                "the store did not list this instance; credentials are 503 once the lease ends that \
                 is not renewed {bound} s after the last time it did"
            );
        }
        tokio::select! {
            () = changed(&mut self.announced) => {}
            () = sleep(jittered(RETRY)) => {}
        }
    }

    async fn leave(self) {
        if let Err(error) = self.store.leave(&self.card.id).await {
            tracing::warn!(
                error = %Causes(&error),
                "the store still lists this instance, until it lapses"
            );
        }
    }
}

impl std::fmt::Debug for Reporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reporter").finish_non_exhaustive()
    }
}

impl Announcement {
    /// Another configuration is live.
    pub fn set_config(&self, digest: &str) {
        self.0
            .send_modify(|announced| announced.config = digest.to_owned());
    }

    /// It takes no new connections.
    pub fn begin_drain(&self) {
        self.0
            .send_modify(|announced| announced.stage = Stage::Draining);
    }

    /// It serves no more: the reporter leaves the list and ends.
    pub fn end(&self) {
        self.0
            .send_modify(|announced| announced.stage = Stage::Ended);
    }
}

/// Waits for a change; for ever where there can be none.
async fn changed<T>(receiver: &mut watch::Receiver<T>) {
    if receiver.changed().await.is_err() {
        pending::<()>().await;
    }
}

/// So that a fleet does not report in step.
fn jittered(pause: Duration) -> Duration {
    let [random] = random_bytes::<1>();
    pause.mul_f64(0.5 + 0.5 * f64::from(random) / 255.0)
}

/// For people, who have to tell instances apart.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let visible = name.chars().filter(|c| c.is_ascii_graphic());
    let name: String = visible.take(HOST_CHARS).collect();
    match name.is_empty() {
        true => "unknown".into(),
        false => name,
    }
}
