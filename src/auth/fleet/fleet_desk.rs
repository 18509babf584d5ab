//! The fleet desk: who is there, and who knows of a revocation. For the admin API and the command line
//! alike.
//!
//! The store's log is in one order, so an instance that has read up to a place knows all that was
//! revoked before. So nobody is asked anything: after a revocation the log's end is taken, and the list
//! of instances read until each has passed it. Not here: the counting ([`super::proof`]). Invariant: a
//! confirmation, and that an instance left the list, count only if the log, asked after the list was
//! read, still has that place.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::membership::{has_lapsed, is_silent};
use super::proof::{Begun, Doubt, Proof, Roll};
use crate::clock::{Clock, Timestamp};
use crate::store::{
    Fleet, FleetReach, Instance, InstanceReport, InstanceStage, Position, Store, StoreError,
};

/// Watches the fleet through its store.
#[derive(Clone)]
pub struct FleetDesk {
    store: Arc<dyn Store>,
    clock: Clock,
}

/// The fleet, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetOverview {
    /// In the order of their ids.
    pub instances: Vec<InstanceStanding>,
    /// The configurations of those that may serve; more than one is worth a look.
    pub configs: BTreeSet<String>,
    /// How long ago the store was found to have lost entries of the list, if ever.
    pub lost: Option<Duration>,
}

/// One instance and what can be said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceStanding {
    /// Its last report.
    pub report: InstanceReport,
    /// When it reported last.
    pub reported_at: Timestamp,
    /// How old its lease can be by now.
    pub lease_age: Option<Duration>,
    /// What it does, as far as is known.
    pub state: InstanceState,
}

/// What an instance does, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstanceState {
    /// It is about to end.
    Draining,
    /// It can serve nothing: it was silent for too long.
    Lapsed,
    /// It reports.
    Live,
    /// It has stopped to report: it has ended, hangs, or is cut off from the store.
    Silent,
}

/// Between two looks at the list: at first as long as a gateway next door needs, then longer.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// For how long a list that others share may be empty because it was just lost: within this, each
/// instance that runs is on it again.
const UNTIL_LISTED: Duration = Duration::from_secs(3);

impl FleetDesk {
    /// Opens the desk.
    pub(in crate::auth) fn on(store: Arc<dyn Store>, clock: Clock) -> FleetDesk {
        FleetDesk { store, clock }
    }

    /// Who is there.
    pub async fn overview(&self) -> Result<FleetOverview, StoreError> {
        let fleet = self.store.fleet().await?;
        let now = self.clock.now();
        let instances = fleet.instances.into_iter();
        let instances: Vec<_> = instances.map(|each| standing(each, now)).collect();
        let serving = instances
            .iter()
            .filter(|each| each.state != InstanceState::Lapsed);
        Ok(FleetOverview {
            configs: serving.map(|each| each.report.config.clone()).collect(),
            lost: fleet.lost,
            instances,
        })
    }

    /// To be called before the revocation.
    pub fn begin(&self) -> Begun {
        Begun(Instant::now())
    }

    /// To be called after it: waits until each instance knows of it, at most for `wait`.
    pub async fn prove(&self, begun: Begun, wait: Duration) -> Proof {
        let until = Instant::now() + wait;
        let store = &*self.store;
        let Ok(target) = store.log_end().await else {
            return Proof::doubtful(Doubt::Store);
        };
        let revoked_at = self.clock.now();
        let Ok(first) = self.first_look(until).await else {
            return Proof::doubtful(Doubt::Store);
        };
        let mut roll = Roll::new(revoked_at, first.clone());
        let (mut look, mut pause) = (Ok(first), FIRST_PAUSE);
        loop {
            // A look that failed is one that saw nothing new.
            if let Ok(fleet) = look {
                match self.take_in(&mut roll, fleet, &target, begun).await {
                    Ok(()) => {}
                    Err(doubt) => return doubtful(roll, doubt, self.clock.now()),
                }
            }
            let now = Instant::now();
            if roll.is_settled() || now >= until {
                return self.conclude(roll, &target).await;
            }
            sleep(pause.min(until - now)).await;
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
            look = store.fleet().await;
        }
    }

    /// A store that was emptied lists nobody, which must not pass for their having left: its log is
    /// gone with the list.
    async fn conclude(&self, roll: Roll, target: &Position) -> Proof {
        let doubt = match roll.misses_somebody() {
            false => None,
            true => match self.store.log_holds(target).await {
                Ok(true) => None,
                Ok(false) => Some(Doubt::LogLost),
                Err(_) => Some(Doubt::Store),
            },
        };
        let now = self.clock.now();
        match doubt {
            None => roll.proof(now),
            Some(doubt) => doubtful(roll, doubt, now),
        }
    }

    /// The list as it is, or as it is once an instance is on it that has not lapsed: after a leap of
    /// the store's clock all seem to have, until one tells of it.
    async fn first_look(&self, until: Instant) -> Result<Fleet, StoreError> {
        let until = until.min(Instant::now() + UNTIL_LISTED);
        loop {
            let fleet = self.store.fleet().await?;
            let lapsed = |each: &Instance| has_lapsed(each.silent_for, each.report.stale);
            let may_fill = fleet.instances.iter().all(lapsed) && fleet.reach == FleetReach::Shared;
            if !may_fill || Instant::now() >= until {
                return Ok(fleet);
            }
            sleep(LONGEST_PAUSE).await;
        }
    }

    async fn take_in(
        &self,
        roll: &mut Roll,
        fleet: Fleet,
        target: &Position,
        begun: Begun,
    ) -> Result<(), Doubt> {
        let store = &*self.store;
        let news = roll.look(fleet, |instance| {
            let confirmed = instance.report.confirmed.as_ref();
            confirmed.is_some_and(|place| store.has_reached(place, target))
        });
        if news.is_empty() {
            return Ok(());
        }
        match store.log_holds(target).await {
            Ok(true) => {
                roll.confirm(&news, begun.0.elapsed());
                Ok(())
            }
            Ok(false) => Err(Doubt::LogLost),
            // Not settled by that: it is looked at again.
            Err(_) => Ok(()),
        }
    }
}

impl std::fmt::Debug for FleetDesk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FleetDesk").finish_non_exhaustive()
    }
}

fn doubtful(roll: Roll, doubt: Doubt, now: Timestamp) -> Proof {
    Proof {
        doubt: Some(doubt),
        ..roll.proof(now)
    }
}

fn standing(instance: Instance, now: Timestamp) -> InstanceStanding {
    let Instance { report, silent_for } = instance;
    InstanceStanding {
        reported_at: now.minus(silent_for),
        lease_age: report.lease_age.map(|age| age.saturating_add(silent_for)),
        state: match report.stage {
            _ if has_lapsed(silent_for, report.stale) => InstanceState::Lapsed,
            _ if is_silent(silent_for) => InstanceState::Silent,
            InstanceStage::Draining => InstanceState::Draining,
            InstanceStage::Serving => InstanceState::Live,
        },
        report,
    }
}
