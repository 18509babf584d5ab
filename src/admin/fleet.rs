//! `GET /v1/fleet`: the instances that share the store.
//!
//! Not here: what is known of them ([`crate::auth::FleetDesk`]).

use http::Method;
use serde::{Deserialize, Serialize};

use super::{AdminClient, ClientError};
use crate::auth::{FleetOverview, InstanceStanding, InstanceState};
use crate::id::InstanceId;

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FleetView {
    /// In the order of their ids.
    pub instances: Vec<InstanceView>,
    /// Whether those that may serve go by different configurations.
    pub configs_differ: bool,
    /// How many seconds ago the store was found to have lost entries of this list; `null` is never.
    pub list_lost_seconds: Option<f64>,
}

/// One instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceView {
    /// Its name for one run.
    pub instance: InstanceId,
    /// Where it runs: host and process id.
    pub name: String,
    /// The gateway's version.
    pub version: String,
    /// The digest of the configuration that is live there.
    pub config: String,
    /// When it was started, by its own clock.
    pub started_at: String,
    /// When it reported last.
    pub reported_at: String,
    /// How old its lease on the revocation log can be by now; `null` is that it has none.
    pub lease_age_seconds: Option<f64>,
    /// How old it may be while it serves.
    pub stale_seconds: f64,
    /// The time of the newest revocation that it knows.
    pub last_revocation: Option<String>,
    /// What it does, as far as is known.
    pub state: InstanceState,
}

impl AdminClient {
    /// `GET /v1/fleet`.
    pub async fn fleet(&self) -> Result<FleetView, ClientError> {
        self.call(Method::GET, "/v1/fleet", None).await
    }
}

impl From<FleetOverview> for FleetView {
    fn from(fleet: FleetOverview) -> FleetView {
        FleetView {
            configs_differ: fleet.configs.len() > 1,
            list_lost_seconds: fleet.lost.map(|ago| ago.as_secs_f64()),
            instances: fleet.instances.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<InstanceStanding> for InstanceView {
    fn from(standing: InstanceStanding) -> InstanceView {
        let report = standing.report;
        InstanceView {
            instance: report.id,
            name: report.name,
            version: report.version,
            config: report.config,
            started_at: report.started_at.to_string(),
            reported_at: standing.reported_at.to_string(),
            lease_age_seconds: standing.lease_age.map(|age| age.as_secs_f64()),
            stale_seconds: report.stale.as_secs_f64(),
            last_revocation: report.last_revocation.map(|at| at.to_string()),
            state: standing.state,
        }
    }
}
