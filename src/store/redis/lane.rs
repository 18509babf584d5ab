//! The way to the server: one shared connection for all short commands, one deadline and one
//! breaker over everything.
//!
//! Not here: what is asked. Invariants: no call waits longer than the deadline; a connection that
//! failed or missed a deadline gets nothing new to carry; while the breaker is open nothing waits.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use crate::store::{RedisSettings, StoreError};

use super::breaker::{Attempt, Breaker};
use super::fault::{Fault, KnownAway};
use super::link::{Connection, Endpoint, InvalidRedisSettings, Link};
use super::server;

/// Shared by all callers of one store.
pub(super) struct Lane {
    endpoint: Arc<Endpoint>,
    deadline: Duration,
    breaker: Breaker,
    /// Locked while connecting: callers that find no connection wait for one attempt together.
    shared: Mutex<Option<Link>>,
}

impl Lane {
    pub(super) fn new(settings: &RedisSettings) -> Result<Lane, InvalidRedisSettings> {
        Ok(Lane {
            endpoint: Arc::new(Endpoint::new(settings)?),
            deadline: settings.timeout,
            breaker: Breaker::default(),
            shared: Mutex::new(None),
        })
    }

    /// The deadline of each call.
    pub(super) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Runs `work` on the shared connection. It must not block there: others wait behind it.
    pub(super) async fn call<T, F>(
        &self,
        work: impl FnOnce(Connection) -> F + Send,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Fault>> + Send,
    {
        let attempt = self.admit()?;
        let mut used = None;
        let outcome = timeout(self.deadline, async {
            let link = self.shared_link(&attempt).await?;
            let connection = link.connection.clone();
            used = Some(link);
            work(connection).await
        })
        .await;
        if let (Err(_) | Ok(Err(Fault::Away(_))), Some(link)) = (&outcome, used) {
            link.condemn();
        }
        self.settle(attempt, outcome)
    }

    /// Runs `work` on the caller's own connection, or on a new one where that is none or has
    /// ended, and gives it back. After any failure it is closed.
    pub(super) async fn call_on<T, F>(
        &self,
        link: Option<Link>,
        work: impl FnOnce(Connection) -> F + Send,
    ) -> Result<(Link, T), StoreError>
    where
        F: Future<Output = Result<T, Fault>> + Send,
    {
        let attempt = self.admit()?;
        let outcome = timeout(self.deadline, async {
            let link = match link.filter(Link::is_usable) {
                Some(link) => link,
                None => self.endpoint.connect().await?,
            };
            let answer = work(link.connection.clone()).await?;
            Ok((link, answer))
        })
        .await;
        self.settle(attempt, outcome)
    }

    fn admit(&self) -> Result<Attempt<'_>, StoreError> {
        let attempt = self.breaker.admit();
        attempt.ok_or_else(|| Fault::away(KnownAway).into())
    }

    async fn shared_link(&self, attempt: &Attempt<'_>) -> Result<Link, Fault> {
        let mut shared = self.shared.lock().await;
        if let Some(link) = shared.as_ref().filter(|link| link.is_usable()) {
            return Ok(link.clone());
        }
        // Whoever queued here behind a failed attempt does not repeat it.
        if !attempt.stands() {
            return Err(Fault::away(KnownAway));
        }
        *shared = None;
        let link = self.endpoint.connect().await?;
        server::inspect(link.connection.clone()).await?;
        *shared = Some(link.clone());
        Ok(link)
    }

    fn settle<T>(
        &self,
        attempt: Attempt<'_>,
        outcome: Result<Result<T, Fault>, Elapsed>,
    ) -> Result<T, StoreError> {
        match outcome {
            Ok(Ok(answer)) => {
                attempt.answered();
                Ok(answer)
            }
            Ok(Err(fault @ Fault::Away(_))) => {
                attempt.failed();
                Err(fault.into())
            }
            Ok(Err(fault)) => {
                attempt.answered();
                Err(fault.into())
            }
            Err(_) => {
                attempt.missed();
                Err(StoreError::Deadline(self.deadline))
            }
        }
    }
}
