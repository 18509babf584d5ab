//! The task that keeps one issuer's key set fresh, and the handle that requests hold on it.
//!
//! Fetches happen in this task only, one at a time. A set outlives failures by a day: an issuer
//! that is away costs nothing until then, and after that its tokens are 503.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::auth::{IssuerSettings, SignatureAlgorithm};
use crate::observe::{Causes, Metrics};
use crate::token::jwt::KeySet;

use super::demand::{Demand, Outcome, Progress, Verdict};
use super::fetch::{FetchError, Origin};
use super::published::{Change, PublishedKeys};
use super::schedule::{Chance, refresh_after, retry_after};
use super::unknown_kids::UnknownKids;
use super::warn_of_unusable;

/// How long a set is used after its issuer was last heard.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a request waits for a fetch that it asked for.
const ASK_DEADLINE: Duration = Duration::from_secs(5);

/// Holds the task: dropping this ends it.
pub(super) struct Refresh {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What a demanded fetch tells about the present set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It was fetched after the question.
    Fresh,
    /// It could not be fetched: the set may be old.
    None,
    /// It was fetched not long ago.
    Recent,
}

/// Between the task and the requests.
#[derive(Default)]
struct Shared {
    progress: watch::Sender<Progress>,
    demand: Mutex<Demand>,
    wake: Notify,
    unknown: Mutex<UnknownKids>,
}

impl Refresh {
    pub(super) fn start<O: Origin>(
        origin: O,
        settings: &IssuerSettings,
        published: Arc<PublishedKeys>,
        metrics: &Arc<Metrics>,
        control: &Handle,
    ) -> Refresh {
        let shared = Arc::new(Shared::default());
        let refresher = Refresher {
            origin,
            issuer: settings.issuer.clone(),
            algorithms: settings.algorithms.clone(),
            published,
            shared: Arc::clone(&shared),
            metrics: Arc::clone(metrics),
            failures: 0,
            last_success: None,
        };
        Refresh {
            shared,
            task: control.spawn(refresher.run()),
        }
    }

    pub(super) async fn first_attempt(&self) {
        let mut progress = self.shared.progress.subscribe();
        // An error means that the task is gone; there is nothing to wait for then.
        let _ = progress.wait_for(|progress| progress.finished > 0).await;
    }

    /// Wants a fetch, and does not wait for it.
    pub(super) fn ask(&self) -> Verdict {
        let mut demand = unpoisoned(&self.shared.demand);
        let verdict = demand.make(*self.shared.progress.borrow(), Instant::now());
        if matches!(verdict, Verdict::Start(_)) {
            self.shared.wake.notify_one();
        }
        verdict
    }

    /// Wants a fetch, and waits for it unless there was one just now.
    pub(super) async fn ask_and_wait(&self) -> Answer {
        let mut progress = self.shared.progress.subscribe();
        let awaited = match self.ask() {
            Verdict::Join(awaited) | Verdict::Start(awaited) => awaited,
            Verdict::Rest => return recent(*progress.borrow()),
        };
        let finished = progress.wait_for(|progress| progress.finished >= awaited);
        match timeout(ASK_DEADLINE, finished).await {
            Ok(Ok(progress)) if progress.last == Outcome::Success => Answer::Fresh,
            _ => Answer::None,
        }
    }

    /// Whether the issuer said not long ago that it has no key of this id.
    pub(super) fn knows_as_unknown(&self, kid: Option<&str>) -> bool {
        kid.is_some_and(|kid| unpoisoned(&self.shared.unknown).contains(kid, Instant::now()))
    }

    pub(super) fn remember_as_unknown(&self, kid: Option<&str>) {
        if let Some(kid) = kid {
            unpoisoned(&self.shared.unknown).insert(kid, Instant::now());
        }
    }
}

impl Drop for Refresh {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn recent(progress: Progress) -> Answer {
    match progress.last {
        Outcome::Success => Answer::Recent,
        Outcome::Failure | Outcome::Pending => Answer::None,
    }
}

struct Refresher<O> {
    origin: O,
    issuer: String,
    algorithms: Vec<SignatureAlgorithm>,
    published: Arc<PublishedKeys>,
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    failures: u32,
    last_success: Option<Instant>,
}

impl<O: Origin> Refresher<O> {
    async fn run(mut self) {
        loop {
            self.shared
                .progress
                .send_modify(|progress| progress.started += 1);
            let fetched = self.fetch().await;
            self.count(&fetched);
            let (outcome, pause) = match fetched {
                Ok((keys, max_age)) => (Outcome::Success, self.take(keys, max_age)),
                Err(error) => (Outcome::Failure, self.endure(&error)),
            };
            // After the set is in place: whoever waited finds it.
            self.shared.progress.send_modify(|progress| {
                progress.finished = progress.started;
                progress.last = outcome;
            });
            tokio::select! {
                () = sleep(pause) => {}
                () = self.shared.wake.notified() => {}
            }
        }
    }

    async fn fetch(&self) -> Result<(KeySet, Option<Duration>), FetchError> {
        let document = self.origin.fetch().await?;
        let keys = KeySet::parse(&document.body, &self.algorithms)?;
        Ok((keys, document.max_age))
    }

    /// Puts a good set in place; says when to fetch again.
    fn take(&mut self, keys: KeySet, max_age: Option<Duration>) -> Duration {
        self.failures = 0;
        self.last_success = Some(Instant::now());
        let unusable = keys.unusable().to_vec();
        if self.published.publish(keys) == Change::Changed {
            unpoisoned(&self.shared.unknown).clear();
            warn_of_unusable(&self.issuer, &unusable);
            tracing::info!(issuer = self.issuer, "new signing keys");
        }
        refresh_after(max_age, Chance::draw())
    }

    /// Keeps the old set as long as it may be kept; says when to try again.
    fn endure(&mut self, error: &FetchError) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let failures = self.failures;
        tracing::warn!(
            issuer = self.issuer,
            failures,
            cause = %Causes(error),
            "the key set was not fetched"
        );
        let retry = retry_after(failures, Chance::draw());
        let Some(last) = self.last_success else {
            return retry;
        };
        let left = KEPT.saturating_sub(last.elapsed());
        if left.is_zero() {
            self.last_success = None;
            self.published.withdraw();
            tracing::error!(issuer = self.issuer, "its keys are too old to be used");
            return retry;
        }
        retry.min(left)
    }

    fn count<T>(&self, fetched: &Result<T, FetchError>) {
        let outcome = fetched.as_ref().map_or_else(FetchError::label, |_| "ok");
        let family = &self.metrics.jwks_fetches;
        family.with_label_values(&[&self.issuer, outcome]).inc();
    }
}

/// What these mutexes guard is whole after every statement, so a panic elsewhere does not
/// matter.
fn unpoisoned<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
