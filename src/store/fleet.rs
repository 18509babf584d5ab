//! The fleet: which instances of the gateway there are, and how far each has read the event log.
//!
//! An instance reports itself now and again, and whenever it has read on. Not here: what follows from
//! a report or from silence ([`crate::auth`]). Invariants: how long an instance is silent is told by
//! the store's own clock; a place that an instance has read up to is listed only if the log had it
//! when it was reported, so that no instance passes for one that has read a log it never saw; an
//! instance that the store should list and does not is a loss, and is told.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::id::InstanceId;

use super::{Position, StoreError};

/// What an instance says of itself.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct InstanceReport {
    /// Its name for one run.
    pub id: InstanceId,
    /// Where it runs, for people.
    pub name: String,
    /// The gateway's version.
    pub version: String,
    /// The digest of the configuration that is live.
    pub config: String,
    /// When it was started, by its own clock.
    pub started_at: Timestamp,
    /// How old its lease may be while it serves.
    pub stale: Duration,
    /// How old its lease is; `None` is that it has none.
    pub lease_age: Option<Duration>,
    /// The time of the newest revocation that it knows.
    pub last_revocation: Option<Timestamp>,
    /// Where it stands.
    pub stage: InstanceStage,
    /// What it has read up to, and applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Position>,
    /// For how long the store lists it after this report.
    pub keep: Duration,
    /// Whether the store should list it already.
    pub kind: ReportKind,
}

/// Where an instance stands between its start and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstanceStage {
    /// It takes no new connections, and ends those that it has.
    Draining,
    /// It serves, or is about to.
    Serving,
}

/// Whether the store should list an instance already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportKind {
    /// No: this is the first, or it was silent for so long that it may have been dropped.
    First,
    /// Yes: the one before was taken at most [`RENEWED_WITHIN`] ago. If it does not, then it has lost
    /// entries, and perhaps others' too.
    Renewal,
}

/// How long ago, by its own clock, the report was taken that an instance renews.
pub const RENEWED_WITHIN: Duration = Duration::from_secs(10 * 60);

/// An instance as the store lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its last report.
    pub report: InstanceReport,
    /// How long ago that was, by the store's clock.
    pub silent_for: Duration,
}

/// All that are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fleet {
    /// In the order of their ids.
    pub instances: Vec<Instance>,
    /// How long ago an instance found that the store had lost its entry, if ever: others may have
    /// been lost that have not come back.
    pub lost: Option<Duration>,
    /// Whom the list is of.
    pub reach: FleetReach,
}

/// Whom a list of instances is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FleetReach {
    /// Whoever shares the store.
    Shared,
    /// This process: nobody else can have the store.
    ThisProcess,
}

/// What became of a wish to forget an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forget {
    /// It is listed no more.
    Forgotten,
    /// It reported lately, and stays.
    Reports,
    /// It was not listed.
    Unknown,
}

/// The verbs on instances.
#[async_trait::async_trait]
pub trait FleetStore: Send + Sync + 'static {
    /// Lists an instance, in the place of what it reported before. Answers how long ago the entry was
    /// written that it names, by the store's own clock, where the log has it and it has a time.
    async fn report(&self, report: InstanceReport) -> Result<Option<Duration>, StoreError>;

    /// The instances that are listed. Works also where the store takes no writes.
    async fn fleet(&self) -> Result<Fleet, StoreError>;

    /// Takes an instance off the list: it serves no more.
    async fn leave(&self, id: &InstanceId) -> Result<(), StoreError>;

    /// Takes an instance off the list that has been silent for longer than that: somebody else says
    /// that it serves no more.
    async fn forget(&self, id: &InstanceId, silent_for: Duration) -> Result<Forget, StoreError>;
}
