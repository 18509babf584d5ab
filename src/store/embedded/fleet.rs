//! The fleet of a store that one process has: this instance, in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::id::InstanceId;
use crate::store::{Fleet, FleetReach, FleetStore, Forget, Instance, InstanceReport, StoreError};

use super::EmbeddedStore;

/// Who reported, what and when.
#[derive(Default)]
pub(super) struct Listed(Mutex<BTreeMap<InstanceId, (InstanceReport, Instant)>>);

impl Listed {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<InstanceId, (InstanceReport, Instant)>> {
        // Each change of the map is one call: it is never half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl FleetStore for EmbeddedStore {
    async fn report(&self, report: InstanceReport) -> Result<Option<Duration>, StoreError> {
        let (id, now) = (report.id.clone(), Instant::now());
        self.shared.fleet.lock().insert(id, (report, now));
        Ok(None)
    }

    async fn fleet(&self) -> Result<Fleet, StoreError> {
        let listed = self.shared.fleet.lock();
        let instances = listed.values().map(|(report, at)| Instance {
            report: report.clone(),
            silent_for: at.elapsed(),
        });
        Ok(Fleet {
            instances: instances
                .filter(|instance| instance.silent_for <= instance.report.keep)
                .collect(),
            lost: None,
            reach: FleetReach::ThisProcess,
        })
    }

    async fn leave(&self, id: &InstanceId) -> Result<(), StoreError> {
        self.shared.fleet.lock().remove(id);
        Ok(())
    }

    async fn forget(&self, id: &InstanceId, silent_for: Duration) -> Result<Forget, StoreError> {
        let mut listed = self.shared.fleet.lock();
        let Some((_, at)) = listed.get(id) else {
            return Ok(Forget::Unknown);
        };
        if at.elapsed() <= silent_for {
            return Ok(Forget::Reports);
        }
        listed.remove(id);
        Ok(Forget::Forgotten)
    }
}
