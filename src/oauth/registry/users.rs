//! Users of our own: made, given another password, disabled, enabled.

use super::{Registry, RegistryError, RegistryProblem};
use crate::id::{AccountId, LoginName, SubjectId};
use crate::oauth::HashedPassword;
use crate::observe::{Actor, AuditAction};
use crate::scope::ScopeSet;
use crate::secret::Secret;
use crate::store::{
    ChangeUser, CreateUser, Cursor, GrantOwner, Page, PasswordHash, RevocationReason, UserRecord,
};

/// A wish for a user.
#[derive(Clone, Debug)]
pub struct NewUserRequest {
    /// What it logs in with.
    pub name: LoginName,
    /// The account that its grants act for.
    pub account: AccountId,
    /// What it may grant.
    pub scopes: ScopeSet,
    /// Its password.
    pub password: Secret,
}

impl Registry {
    /// Makes a user.
    pub async fn create_user(
        &self,
        request: NewUserRequest,
        actor: Actor,
    ) -> Result<UserRecord, RegistryError> {
        let scopes = &request.scopes;
        self.tools
            .check_scopes(scopes)
            .map_err(RegistryProblem::from)?;
        if scopes.is_empty() {
            return Err(RegistryProblem::NoScopes.into());
        }
        let password = self.hash(request.password).await?;
        let now = self.tools.now();
        let record = UserRecord {
            id: SubjectId::random(),
            name: request.name,
            password,
            password_set_at: now,
            account: request.account,
            scopes: request.scopes,
            created_at: now,
            disabled_at: None,
        };
        match self.tools.store().create_user(record.clone()).await? {
            CreateUser::Created => {}
            CreateUser::Exists => return Err(RegistryProblem::UserExists.into()),
        }
        self.tell_user(AuditAction::UserCreate, actor, &record)
            .await;
        Ok(record)
    }

    /// Users in the order of their names.
    pub async fn users(
        &self,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<UserRecord>, RegistryError> {
        Ok(self.tools.store().users(after, limit).await?)
    }

    /// One user.
    pub async fn user(&self, name: &LoginName) -> Result<UserRecord, RegistryError> {
        let user = self.tools.store().user_by_name(name).await?;
        user.ok_or_else(|| RegistryError::UnknownUser(name.clone()))
    }

    /// Gives a user another password. What it granted before stays.
    pub async fn set_password(
        &self,
        name: &LoginName,
        password: Secret,
        actor: Actor,
    ) -> Result<UserRecord, RegistryError> {
        let password = self.hash(password).await?;
        let (store, now) = (self.tools.store(), self.tools.now());
        let changed = store.set_password(name, password, None, now).await?;
        self.changed(AuditAction::UserPassword, actor, name, changed)
            .await
    }

    /// Disables a user: it cannot log in, and what it granted is ended for good. To repeat it is
    /// safe, and carries out what a crash left undone.
    pub async fn disable_user(
        &self,
        name: &LoginName,
        actor: Actor,
    ) -> Result<UserRecord, RegistryError> {
        let now = self.tools.now();
        let store = self.tools.store();
        let changed = store.disable_user(name, now).await?;
        // Marked first: from then on no grant of its is made or refreshed.
        if let ChangeUser::Changed(user) | ChangeUser::Unchanged(user) = &changed {
            let owner = GrantOwner::Subject(user.id.clone());
            let why = RevocationReason::Operator;
            store.revoke_grants(&owner, why, now).await?;
        }
        self.changed(AuditAction::UserDisable, actor, name, changed)
            .await
    }

    /// Lets a disabled user log in again. What was ended stays so.
    pub async fn enable_user(
        &self,
        name: &LoginName,
        actor: Actor,
    ) -> Result<UserRecord, RegistryError> {
        let now = self.tools.now();
        let changed = self.tools.store().enable_user(name, now).await?;
        self.changed(AuditAction::UserEnable, actor, name, changed)
            .await
    }

    async fn changed(
        &self,
        action: AuditAction,
        actor: Actor,
        name: &LoginName,
        changed: ChangeUser,
    ) -> Result<UserRecord, RegistryError> {
        match changed {
            ChangeUser::Changed(record) => {
                self.tell_user(action, actor, &record).await;
                Ok(record)
            }
            ChangeUser::Unchanged(record) => Ok(record),
            ChangeUser::Unknown => Err(RegistryError::UnknownUser(name.clone())),
        }
    }

    /// Off the threads that serve, a few at a time.
    async fn hash(&self, password: Secret) -> Result<PasswordHash, RegistryError> {
        check_password(&password)?;
        let turn = self.hashing.acquire().await;
        let _turn = turn.map_err(|_| RegistryError::Hashing)?;
        let work = move || HashedPassword::new(&password).to_hash();
        let hashed = tokio::task::spawn_blocking(work).await;
        hashed.map_err(|_| RegistryError::Hashing)
    }
}

/// No form of a browser sends a control character in a password.
fn check_password(password: &Secret) -> Result<(), RegistryProblem> {
    const BYTES: std::ops::RangeInclusive<usize> =
        RegistryProblem::SHORTEST_PASSWORD..=RegistryProblem::LONGEST_PASSWORD;
    let text = password.expose();
    match BYTES.contains(&text.len()) && !text.chars().any(char::is_control) {
        true => Ok(()),
        false => Err(RegistryProblem::Password),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_can_be_typed_into_a_form_and_is_not_short() {
        let check = |text: &str| check_password(&Secret::new(text));
        for good in ["correct horse", "p\u{e4}ssw\u{f6}rter!", &"x".repeat(1024)] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "hunter2hunt",
            "correct\nhorse battery",
            "correct horse\0",
            &"x".repeat(1025),
        ] {
            assert_eq!(check(bad), Err(RegistryProblem::Password), "{bad:?}");
        }
    }
}
