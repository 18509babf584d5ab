//! One server that commands are sent to, wherever it is at the moment: one shared connection for
//! all short commands, and a breaker.
//!
//! Not here: what is asked, and of which server. Invariants: no call waits past its deadline; a
//! connection that failed or missed a deadline gets nothing new to carry; while the breaker is open
//! nothing waits; a shared connection leads to a server that was fit when it was made
//! ([`server`]).

use std::future::Future;
use std::sync::Arc;

use ::redis::aio::MultiplexedConnection;
use tokio::sync::Mutex;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use super::breaker::{Attempt, Breaker};
use super::fault::{Fault, KnownAway};
use super::link::{Dialer, Link};
use super::sentinel::Sentinels;
use super::server::{self, Part};
use super::settings::Address;

/// A server, and what is known of it.
pub(super) struct Node {
    dialer: Arc<Dialer>,
    place: Place,
    part: Part,
    breaker: Breaker,
    /// Locked while connecting: callers that find no connection wait for one attempt together.
    shared: Mutex<Option<Link>>,
}

/// Where the server is.
pub(super) enum Place {
    Fixed(Address),
    /// Where the sentinels say.
    Watched(Sentinels),
}

impl Node {
    pub(super) fn new(dialer: Arc<Dialer>, place: Place, part: Part) -> Node {
        Node {
            dialer,
            place,
            part,
            breaker: Breaker::default(),
            shared: Mutex::new(None),
        }
    }

    /// Runs `work` on the shared connection. It must not block there: others wait behind it.
    pub(super) async fn call<T, F>(
        &self,
        until: Instant,
        work: impl FnOnce(MultiplexedConnection) -> F + Send,
    ) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, Fault>> + Send,
    {
        let attempt = self.admit()?;
        let mut used = None;
        let outcome = timeout_at(until, async {
            let link = self.shared_link(&attempt, until).await?;
            let connection = link.connection.clone();
            used = Some(link);
            work(connection).await
        })
        .await;
        if let (Err(_) | Ok(Err(Fault::Away(_) | Fault::Demoted(_) | Fault::Late)), Some(link)) =
            (&outcome, used)
        {
            link.condemn();
        }
        settle(attempt, outcome)
    }

    /// Runs `work` on the caller's own connection, or on a new one where that is none, has ended or
    /// leads to where the server is no more, and gives it back. After any failure it is closed.
    pub(super) async fn call_on<T, F>(
        &self,
        link: Option<Link>,
        until: Instant,
        work: impl FnOnce(MultiplexedConnection) -> F + Send,
    ) -> Result<(Link, T), Fault>
    where
        F: Future<Output = Result<T, Fault>> + Send,
    {
        let attempt = self.admit()?;
        // Sentinels that do not answer say nothing of the server: whoever is connected to it may
        // go on asking it.
        let found = timeout_at(until, self.address(until)).await;
        let address = found.unwrap_or(Err(Fault::Late))?;
        let outcome = timeout_at(until, async {
            let link = self.own_link(link, &address).await?;
            let answer = work(link.connection.clone()).await;
            Ok((link, answer))
        })
        .await;
        match settle(attempt, outcome.map(|outcome| outcome.and_then(told)))? {
            (link, Ok(answer)) => Ok((link, answer)),
            (_, Err(fault)) => {
                let _late = timeout_at(until, self.forget()).await;
                Err(fault)
            }
        }
    }

    fn admit(&self) -> Result<Attempt<'_>, Fault> {
        let attempt = self.breaker.admit();
        attempt.ok_or_else(|| Fault::away(KnownAway))
    }

    async fn shared_link(&self, attempt: &Attempt<'_>, until: Instant) -> Result<Link, Fault> {
        let mut shared = self.shared.lock().await;
        if let Some(link) = shared.as_ref().filter(|link| link.is_usable()) {
            return Ok(link.clone());
        }
        // Whoever queued here behind a failed attempt does not repeat it.
        if !attempt.stands() {
            return Err(Fault::away(KnownAway));
        }
        *shared = None;
        let address = self.address(until).await?;
        let link = self.dialer.connect(&address).await?;
        server::inspect(link.connection.clone(), self.part, &address).await?;
        *shared = Some(link.clone());
        Ok(link)
    }

    async fn own_link(&self, link: Option<Link>, address: &Address) -> Result<Link, Fault> {
        match link.filter(|link| link.is_usable() && link.address() == address) {
            Some(link) => Ok(link),
            None => {
                self.forget_others(address).await;
                self.dialer.connect(address).await
            }
        }
    }

    /// Each time, the sentinels are asked anew.
    async fn address(&self, until: Instant) -> Result<Address, Fault> {
        match &self.place {
            Place::Fixed(address) => Ok(address.clone()),
            Place::Watched(sentinels) => sentinels.primary(until).await,
        }
    }

    /// The shared connection does not lead to a primary any more.
    async fn forget(&self) {
        if let Some(link) = self.shared.lock().await.take() {
            link.condemn();
        }
    }

    /// Neither does one that leads anywhere else than where the server is now.
    async fn forget_others(&self, address: &Address) {
        let mut shared = self.shared.lock().await;
        if let Some(link) = shared.take_if(|link| link.address() != address) {
            link.condemn();
        }
    }
}

/// That a server is no primary is an answer, as far as the breaker is concerned.
fn told<T>((link, answer): (Link, Result<T, Fault>)) -> Result<(Link, Result<T, Fault>), Fault> {
    match answer {
        Err(Fault::Demoted(error)) => Ok((link, Err(Fault::Demoted(error)))),
        Err(fault) => Err(fault),
        Ok(answer) => Ok((link, Ok(answer))),
    }
}

fn settle<T>(attempt: Attempt<'_>, outcome: Result<Result<T, Fault>, Elapsed>) -> Result<T, Fault> {
    match outcome {
        Ok(Ok(answer)) => {
            attempt.answered();
            Ok(answer)
        }
        Ok(Err(fault @ (Fault::Away(_) | Fault::Demoted(_)))) => {
            attempt.failed();
            Err(fault)
        }
        Ok(Err(Fault::Late)) | Err(_) => {
            attempt.missed();
            Err(Fault::Late)
        }
        Ok(Err(fault)) => {
            attempt.answered();
            Err(fault)
        }
    }
}
