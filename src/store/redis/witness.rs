//! Whether a revocation is on a second server before it is answered.
//!
//! Redis replicates after it has answered, so a revocation may be lost with its primary. Where
//! replicas are attached, one of them is waited for, on a connection of its own: `WAIT` stops
//! everything behind it. A write that comes after the revocation stands for it, since replicas take
//! writes in their order; so one wait does for all revocations that came before it.
//!
//! Not here: undoing anything. Invariant: a revocation that no replica acknowledged is counted and
//! told of, and stands all the same.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::redis::pipe;
use prometheus::IntCounter;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::observe::Causes;
use crate::store::StoreError;

use super::fault::Fault;
use super::lane::Lane;
use super::link::Link;
use super::{layout, server};

/// How many replicas, and for how long they are waited for. Redis' `WAIT` takes milliseconds.
const REPLICAS: u32 = 1;
const PATIENCE: Duration = Duration::from_millis(100);

pub(super) struct Witness {
    /// How many revocations have asked so far.
    asked: AtomicU64,
    /// Locked while replicas are waited for: whoever queues here may be covered by the one before.
    round: Mutex<Round>,
    unwitnessed: IntCounter,
}

#[derive(Default)]
struct Round {
    /// The last one that asked before the last wait began.
    covers: u64,
    witnessed: bool,
    link: Option<Link>,
}

impl Witness {
    pub(super) fn new(unwitnessed: IntCounter) -> Witness {
        Witness {
            asked: AtomicU64::new(0),
            round: Mutex::default(),
            unwitnessed,
        }
    }

    /// Waits until a replica has what was written before this call, or for a moment at most.
    pub(super) async fn confirm(&self, lane: &Lane) {
        let ticket = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
        let mut round = self.round.lock().await;
        if round.covers < ticket {
            let covers = self.asked.load(Ordering::Acquire);
            let link = round.link.take();
            let witnessed = match wait(lane, link).await {
                Ok((link, witnessed)) => {
                    round.link = Some(link);
                    if !witnessed {
                        tracing::warn!(
                            "no replica of Redis acknowledged a revocation within {PATIENCE:?}: \
                             it stands, and is lost if the primary fails before they catch up"
                        );
                    }
                    witnessed
                }
                Err(error) => {
                    tracing::warn!(
                        error = %Causes(&error),
                        "whether a replica of Redis has a revocation is not known"
                    );
                    false
                }
            };
            (round.covers, round.witnessed) = (covers, witnessed);
        }
        if !round.witnessed {
            self.unwitnessed.inc();
        }
    }
}

async fn wait(lane: &Lane, link: Option<Link>) -> Result<(Link, bool), StoreError> {
    let link = lane.own_link(link).await?;
    let mut connection = link.connection.clone();
    let deadline = lane.deadline() + PATIENCE;
    let witnessed = timeout(deadline, async {
        let replication: String = server::replication().query_async(&mut connection).await?;
        if !server::has_replicas(&replication) {
            return Ok(true);
        }
        let (replicas,): (u32,) = pipe()
            .set(layout::WITNESS, 1)
            .ignore()
            .cmd("WAIT")
            .arg(REPLICAS)
            .arg(PATIENCE.as_millis().to_string())
            .query_async(&mut connection)
            .await?;
        Ok::<_, Fault>(replicas >= REPLICAS)
    });
    match witnessed.await {
        Ok(Ok(witnessed)) => Ok((link, witnessed)),
        Ok(Err(fault)) => Err(fault.told(deadline)),
        Err(_) => Err(StoreError::Deadline(deadline)),
    }
}
