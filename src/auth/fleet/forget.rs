//! An instance is taken off the list by an operator who knows that it has ended.
//!
//! A killed process leaves no word, so it is waited for until it must have stopped by itself. Not here:
//! when that is ([`super::membership`]). Invariants: whoever reports stays on the list, by the
//! store's own clock and in one step with taking it off; the audit log says who vouched.

use super::membership::SILENT;
use crate::auth::KeyDesk;
use crate::clock::Timestamp;
use crate::id::InstanceId;
use crate::observe::{Actor, AuditAction, AuditEvent, AuditOutcome};
use crate::store::{Forget, StoreError};

/// An instance that is listed no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForgottenInstance {
    /// Which.
    pub id: InstanceId,
    /// Where it ran.
    pub name: String,
    /// When it reported last.
    pub reported_at: Timestamp,
}

/// Why an instance stays on the list.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    /// It reports.
    #[error(
        "{0} reported less than {secs} s ago, so it runs: stop it, and it leaves the list by itself",
        secs = SILENT.as_secs()
    )]
    Reports(InstanceId),
    /// It is not listed.
    #[error("no instance with this id is listed: {0}")]
    Unknown(InstanceId),
    /// The store did not take part; whether the instance is listed is not known.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl KeyDesk {
    /// Takes an instance off the list that has ended, as whoever asks for it knows: proofs do not wait
    /// for it any more.
    pub async fn forget_instance(
        &self,
        id: &InstanceId,
        actor: Actor,
    ) -> Result<ForgottenInstance, ForgetError> {
        let tools = self.tools();
        let fleet = tools.store().fleet().await?;
        let mut instances = fleet.instances.into_iter();
        let listed = instances.find(|instance| instance.report.id == *id);
        let listed = listed.ok_or_else(|| ForgetError::Unknown(id.clone()))?;
        // The list is as old as this line: what counts is what the store says as it forgets.
        match tools.store().forget(id, SILENT).await? {
            Forget::Forgotten => {}
            Forget::Reports => return Err(ForgetError::Reports(id.clone())),
            Forget::Unknown => return Err(ForgetError::Unknown(id.clone())),
        }
        let event = AuditEvent::new(AuditAction::FleetForget, actor, AuditOutcome::Done);
        tools.tell(event.instance(id.clone())).await;
        Ok(ForgottenInstance {
            id: id.clone(),
            name: listed.report.name,
            reported_at: tools.now().minus(listed.silent_for),
        })
    }
}
