//! Which server is the primary: what more than half of the sentinels say.
//!
//! Not here: connecting to it, and whether it agrees ([`super::server`]). Invariant: a gateway that
//! is cut off together with an old primary and a minority of the sentinels gets no answer, so it
//! takes that primary's word for nothing.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use ::redis::cmd;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::fault::Fault;
use super::link::{Dialer, Link};
use super::settings::Address;

/// All sentinels of one primary.
pub(super) struct Sentinels {
    dialer: Arc<Dialer>,
    seats: Vec<Arc<Seat>>,
    name: Arc<str>,
}

/// One sentinel, and the connection to it while nobody uses that.
struct Seat {
    address: Address,
    idle: Mutex<Option<Link>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum NoPrimary {
    #[error("{answered} of {all} sentinels answered, and no more than half name one primary")]
    Disagreement {
        answered: usize,
        all: usize,
        /// Of one that gave no answer.
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    #[error(
        "the sentinels know no primary named {0}: `store.redis.sentinel.primary` is the name in their \
         `sentinel monitor`"
    )]
    UnknownName(Arc<str>),
}

impl Sentinels {
    pub(super) fn new(dialer: Arc<Dialer>, addresses: Vec<Address>, name: &str) -> Sentinels {
        let seat = |address| {
            Arc::new(Seat {
                address,
                idle: Mutex::default(),
            })
        };
        Sentinels {
            dialer,
            seats: addresses.into_iter().map(seat).collect(),
            name: name.into(),
        }
    }

    /// Asks all of them at once, and answers as soon as more than half agree.
    pub(super) async fn primary(&self, until: Instant) -> Result<Address, Fault> {
        let mut answers = JoinSet::new();
        for seat in &self.seats {
            let (seat, dialer) = (Arc::clone(seat), Arc::clone(&self.dialer));
            let name = Arc::clone(&self.name);
            answers.spawn(async move { seat.ask(&dialer, &name, until).await });
        }
        let mut votes: Vec<Option<Address>> = Vec::with_capacity(self.seats.len());
        let mut fault = None;
        while let Some(answer) = answers.join_next().await {
            match answer {
                Ok(Ok(vote)) => votes.push(vote),
                Ok(Err(failed)) => {
                    fault = Some(failed);
                    continue;
                }
                Err(_) => continue,
            }
            let newest = votes.last().cloned().flatten();
            let agreed = votes.iter().filter(|vote| **vote == newest).count();
            if agreed * 2 > self.seats.len() {
                // The slower ones keep their connections for the next time.
                answers.detach_all();
                let unknown = || Fault::away(NoPrimary::UnknownName(Arc::clone(&self.name)));
                return newest.ok_or_else(unknown);
            }
        }
        Err(Fault::away(NoPrimary::Disagreement {
            answered: votes.len(),
            all: self.seats.len(),
            source: fault.map(Fault::into_cause),
        }))
    }
}

impl Seat {
    /// A connection that fails or is late is not put back.
    async fn ask(
        &self,
        dialer: &Arc<Dialer>,
        name: &str,
        until: Instant,
    ) -> Result<Option<Address>, Fault> {
        let asked = timeout_at(until, async {
            let idle = self.idle().take();
            let link = match idle.filter(Link::is_usable) {
                Some(link) => link,
                None => dialer.connect(&self.address).await?,
            };
            let mut command = cmd("SENTINEL");
            command.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
            let mut connection = link.connection.clone();
            let found: Option<(String, u16)> = command.query_async(&mut connection).await?;
            *self.idle() = Some(link);
            Ok(found.map(|(host, port)| Address { host, port }))
        });
        asked.await.unwrap_or(Err(Fault::Late))
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Option<Link>> {
        // An `Option` that is taken and put whole is never half written.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
