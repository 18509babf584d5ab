//! `/v1/fleet`: the instances that share the store, and the end of one that could not tell of it.
//!
//! Not here: what is known of them ([`crate::auth::FleetDesk`]), and who may be forgotten
//! ([`crate::auth::KeyDesk`]).

use bytes::Bytes;
use http::{Method, Response};
use http_body_util::Full;
use serde::{Deserialize, Serialize};

use super::body::ok;
use super::client::encode;
use super::problem::AdminProblem;
use super::{AdminClient, ClientError};
use crate::auth::{
    FleetDesk, FleetOverview, ForgottenInstance, InstanceStanding, InstanceState, KeyDesk,
};
use crate::id::InstanceId;
use crate::observe::Actor;

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

/// The answer to `DELETE /v1/fleet/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the members of `ForgottenInstance`")]
pub struct ForgottenInstanceView {
    pub instance: InstanceId,
    pub name: String,
    pub reported_at: String,
}

/// What there is.
pub(super) enum Resource {
    All,
    One(InstanceId),
}

impl Resource {
    /// From what follows `/v1/fleet`.
    pub(super) fn parse(rest: &[&str]) -> Result<Resource, AdminProblem> {
        match rest {
            [] => Ok(Resource::All),
            [id] => InstanceId::parse(id)
                .map(Resource::One)
                .map_err(|_| AdminProblem::Path),
            _ => Err(AdminProblem::Path),
        }
    }

    pub(super) async fn carry_out(
        self,
        desk: &KeyDesk,
        fleet: &FleetDesk,
        actor: Actor,
        method: &Method,
    ) -> Result<Response<Full<Bytes>>, AdminProblem> {
        match (self, method) {
            (Resource::All, &Method::GET) => {
                let fleet = fleet.overview().await.map_err(AdminProblem::Store)?;
                Ok(ok(&FleetView::from(fleet)))
            }
            (Resource::One(id), &Method::DELETE) => {
                let forgotten = desk.forget_instance(&id, actor).await?;
                Ok(ok(&ForgottenInstanceView::from(forgotten)))
            }
            (Resource::All, _) => Err(AdminProblem::Method("GET")),
            (Resource::One(_), _) => Err(AdminProblem::Method("DELETE")),
        }
    }
}

impl AdminClient {
    /// `GET /v1/fleet`.
    pub async fn fleet(&self) -> Result<FleetView, ClientError> {
        self.call(Method::GET, "/v1/fleet", None).await
    }

    /// `DELETE /v1/fleet/{id}`.
    pub async fn forget_instance(
        &self,
        id: &InstanceId,
    ) -> Result<ForgottenInstanceView, ClientError> {
        let path = format!("/v1/fleet/{}", encode(id.as_str()));
        self.call(Method::DELETE, &path, None).await
    }
}

impl From<ForgottenInstance> for ForgottenInstanceView {
    fn from(forgotten: ForgottenInstance) -> ForgottenInstanceView {
        ForgottenInstanceView {
            instance: forgotten.id,
            name: forgotten.name,
            reported_at: forgotten.reported_at.to_string(),
        }
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
