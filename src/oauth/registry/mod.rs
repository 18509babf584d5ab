//! The registry: makes, changes and lists clients and users, for the admin API and the command
//! line alike; and takes back what users granted.
//!
//! Not here: what clients and users then do at the endpoints, and any transport. Invariants: a
//! client secret leaves the registry once, as the answer to the wish that made it; a password never
//! does; nothing is written that the endpoints would refuse; every change leaves an audit line.

use tokio::sync::Semaphore;

use crate::auth::{DeskTools, KeyDesk};
use crate::observe::{Actor, AuditAction, AuditEvent, AuditOutcome};
use crate::store::{ClientRecord, UserRecord};

mod clients;
mod users;
mod apps;
mod problem;

pub use apps::{AppSelection, ConnectedApp};
pub use clients::{NewClientRequest, RotateClientRequest, RotatedClient};
pub use problem::{RegistryError, RegistryProblem};
pub use users::NewUserRequest;

/// Manages clients and users on one store.
#[derive(Debug)]
pub struct Registry {
    tools: DeskTools,
    /// Each password that is hashed takes 19 MiB.
    hashing: Semaphore,
}

/// How many passwords are hashed at once.
const AT_ONCE: usize = 2;
/// The longest name of a client, in characters.
const NAME_CHARS: usize = 200;

impl Registry {
    /// Opens the registry beside a key desk: on its store, with its scopes and its audit log.
    pub fn beside(desk: &KeyDesk) -> Registry {
        Registry {
            tools: desk.tools(),
            hashing: Semaphore::new(AT_ONCE),
        }
    }

    async fn tell_client(&self, action: AuditAction, actor: Actor, client: &ClientRecord) {
        let event = AuditEvent::new(action, actor, AuditOutcome::Done)
            .client(client.id.clone())
            .grants(client.settings.scopes.clone(), None);
        let event = match &client.settings.account {
            Some(account) => event.account(account.clone()),
            None => event,
        };
        self.tools.tell(event).await;
    }

    async fn tell_user(&self, action: AuditAction, actor: Actor, user: &UserRecord) {
        let event = AuditEvent::new(action, actor, AuditOutcome::Done)
            .subject(user.id.clone())
            .account(user.account.clone())
            .grants(user.scopes.clone(), None);
        self.tools.tell(event).await;
    }
}

fn check_name(name: &str) -> Result<(), RegistryProblem> {
    let chars = name.chars().count();
    if (1..=NAME_CHARS).contains(&chars) && !name.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(RegistryProblem::Name)
    }
}
