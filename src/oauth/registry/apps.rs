//! Connected apps: the clients that a user let act for it, and taking that back.

use std::collections::BTreeMap;

use super::{Registry, RegistryError};
use crate::clock::Timestamp;
use crate::id::{ClientId, GrantId, LoginName, SubjectId};
use crate::observe::{Actor, AuditAction, AuditEvent, AuditOutcome};
use crate::scope::ScopeSet;
use crate::store::{GrantOwner, GrantRecord, GrantStanding, RevocationReason, RevokeGrant};

/// A client that acts for a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectedApp {
    /// Which.
    pub client: ClientId,
    /// What consent pages call it.
    pub name: String,
    /// All that it was granted.
    pub scopes: ScopeSet,
    /// Since when.
    pub connected_at: Timestamp,
    /// When the last of its grants ends.
    pub expires_at: Timestamp,
    /// Its grants.
    pub grants: Vec<GrantId>,
}

/// Which of a user's apps. Its JSON is the body of `POST /v1/users/{name}/apps/revoke`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppSelection {
    /// Each of them.
    All,
    /// One.
    Client(ClientId),
}

/// Clients asked for at once.
const PAGE: usize = 500;

impl Registry {
    /// The apps that act for a user, in the order of their ids.
    pub async fn apps(&self, user: &LoginName) -> Result<Vec<ConnectedApp>, RegistryError> {
        let subject = self.user(user).await?.id;
        let mut grants = self.grants_of(&subject).await?;
        grants.retain(is_active);
        self.apps_by(&grants).await
    }

    /// Ends what a user granted to one app or to all, also where the code was not redeemed yet, and
    /// has the user asked again. The answer has those that were connected. To repeat it is safe.
    pub async fn revoke_apps(
        &self,
        user: &LoginName,
        selection: &AppSelection,
        actor: Actor,
    ) -> Result<Vec<ConnectedApp>, RegistryError> {
        let subject = self.user(user).await?.id;
        // First, so that a crash in between leaves no app that connects again by itself.
        self.forget_consents(&subject, selection).await?;
        let mut grants = self.grants_of(&subject).await?;
        grants.retain(|grant| selection.has(&grant.client));
        for app in self.apps_by(&grants).await? {
            self.revoke(&subject, &app, actor).await?;
        }
        grants.retain(is_active);
        self.apps_by(&grants).await
    }

    /// What of a user's grants could give a token, now or once its code is redeemed.
    async fn grants_of(&self, subject: &SubjectId) -> Result<Vec<GrantRecord>, RegistryError> {
        let owner = GrantOwner::Subject(subject.clone());
        let grants = self.tools.store().grants(&owner, None, usize::MAX).await?;
        let now = self.tools.now();
        let mut grants = grants.items;
        grants.retain(|grant| now < grant.expires_at);
        Ok(grants)
    }

    async fn apps_by(&self, grants: &[GrantRecord]) -> Result<Vec<ConnectedApp>, RegistryError> {
        let mut apps: BTreeMap<ClientId, ConnectedApp> = BTreeMap::new();
        for grant in grants {
            match apps.get_mut(&grant.client) {
                Some(app) => app.add(grant),
                None => {
                    let app = self.app(grant).await?;
                    apps.insert(app.client.clone(), app);
                }
            }
        }
        Ok(apps.into_values().collect())
    }

    async fn app(&self, grant: &GrantRecord) -> Result<ConnectedApp, RegistryError> {
        let client = self.tools.store().client(&grant.client).await?;
        Ok(ConnectedApp {
            client: grant.client.clone(),
            name: client.map_or(String::new(), |client| client.settings.name),
            scopes: grant.scopes.clone(),
            connected_at: grant.created_at,
            expires_at: grant.expires_at,
            grants: vec![grant.id],
        })
    }

    async fn revoke(
        &self,
        subject: &SubjectId,
        app: &ConnectedApp,
        actor: Actor,
    ) -> Result<(), RegistryError> {
        let (store, why, now) = (
            self.tools.store(),
            RevocationReason::Operator,
            self.tools.now(),
        );
        let mut revoked = 0;
        for grant in &app.grants {
            if let RevokeGrant::Revoked(_) = store.revoke_grant(grant, why, now).await? {
                revoked += 1;
            }
        }
        let event = AuditEvent::new(AuditAction::GrantRevoke, actor, AuditOutcome::Done)
            .client(app.client.clone())
            .subject(subject.clone())
            .grants(app.scopes.clone(), None)
            .count(revoked);
        self.tools.tell(event).await;
        Ok(())
    }

    async fn forget_consents(
        &self,
        subject: &SubjectId,
        selection: &AppSelection,
    ) -> Result<(), RegistryError> {
        let (store, now) = (self.tools.store(), self.tools.now());
        for client in self.selected(selection).await? {
            if store.consent(&client, subject).await?.is_some() {
                store.forget_consent(&client, subject, now).await?;
            }
        }
        Ok(())
    }

    /// The clients that are meant, whether they are connected or not.
    async fn selected(&self, selection: &AppSelection) -> Result<Vec<ClientId>, RegistryError> {
        if let AppSelection::Client(id) = selection {
            return Ok(vec![self.client(id).await?.id]);
        }
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = self.clients(after.as_ref(), PAGE).await?;
            all.extend(page.items.into_iter().map(|client| client.id));
            after = page.next;
            if after.is_none() {
                return Ok(all);
            }
        }
    }
}

fn is_active(grant: &GrantRecord) -> bool {
    grant.standing == GrantStanding::Active
}

impl AppSelection {
    fn has(&self, client: &ClientId) -> bool {
        match self {
            AppSelection::All => true,
            AppSelection::Client(id) => id == client,
        }
    }
}

impl ConnectedApp {
    fn add(&mut self, grant: &GrantRecord) {
        self.scopes = self.scopes.iter().chain(grant.scopes.iter()).collect();
        self.connected_at = self.connected_at.min(grant.created_at);
        self.expires_at = self.expires_at.max(grant.expires_at);
        // A grant that is just becoming active may be listed twice.
        if !self.grants.contains(&grant.id) {
            self.grants.push(grant.id);
        }
    }
}
