//! Users of our own, for whoever has no login of another kind.
//!
//! Not here: passwords, of which the store keeps whatever text stands for them. Invariants: a login
//! name belongs to one user, and does not change; a user that was disabled is denied before it is
//! marked.

use std::fmt;

use crate::clock::Timestamp;
use crate::id::{AccountId, LoginName, SubjectId};
use crate::scope::ScopeSet;

use super::shelf::{self, Cursor, Index, Listing, Member, Page, Place, Plan};
use super::{Denial, DenialKind, Shelf, StoreError};

/// What stands for a password: a text like `$argon2id$…`, opaque here.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// From text.
    pub fn new(text: impl Into<String>) -> PasswordHash {
        PasswordHash(text.into())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(redacted)")
    }
}

/// What the store knows of one user.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserRecord {
    /// The `sub` of its tokens.
    pub id: SubjectId,
    /// What it logs in with.
    pub name: LoginName,
    /// Its password.
    pub password: PasswordHash,
    /// When that was set; the same password hashed anew does not count.
    pub password_set_at: Timestamp,
    /// The account that its grants act for.
    pub account: AccountId,
    /// What it may grant.
    pub scopes: ScopeSet,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was disabled, if it is.
    pub disabled_at: Option<Timestamp>,
}

/// What became of a new user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum CreateUser {
    /// Written.
    Created,
    /// Nothing written: the name or the id is taken.
    Exists,
}

/// What became of a change to a user.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum ChangeUser {
    /// The record as it is now.
    Changed(UserRecord),
    /// Nothing changed: it was so, or its password is another by now.
    Unchanged(UserRecord),
    /// There is no such user.
    Unknown,
}

/// The verbs on users.
#[async_trait::async_trait]
pub trait UserStore: Send + Sync + 'static {
    /// Writes a user.
    async fn create_user(&self, record: UserRecord) -> Result<CreateUser, StoreError>;

    /// The user of a `sub`.
    async fn user(&self, id: &SubjectId) -> Result<Option<UserRecord>, StoreError>;

    /// The user of a login name.
    async fn user_by_name(&self, name: &LoginName) -> Result<Option<UserRecord>, StoreError>;

    /// Users in the order of their names.
    async fn users(
        &self,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<UserRecord>, StoreError>;

    /// Sets a password; with `instead_of`, only while it is still that one (a hash that is made
    /// anew at login must not undo a password that was just changed).
    async fn set_password(
        &self,
        name: &LoginName,
        password: PasswordHash,
        instead_of: Option<PasswordHash>,
        at: Timestamp,
    ) -> Result<ChangeUser, StoreError>;

    /// Sets what a user may grant.
    async fn set_user_scopes(
        &self,
        name: &LoginName,
        scopes: ScopeSet,
        at: Timestamp,
    ) -> Result<ChangeUser, StoreError>;

    /// Denies everything of a user that was issued before, and marks it disabled.
    async fn disable_user(&self, name: &LoginName, at: Timestamp)
    -> Result<ChangeUser, StoreError>;

    /// Lets a disabled user log in again. What was denied stays denied.
    async fn enable_user(&self, name: &LoginName, at: Timestamp) -> Result<ChangeUser, StoreError>;
}

#[async_trait::async_trait]
impl<S: Shelf> UserStore for S {
    async fn create_user(&self, record: UserRecord) -> Result<CreateUser, StoreError> {
        let at = record.created_at;
        // First the way from the id to the name, which leads nowhere until the record is there.
        let name = record.name.clone();
        let claim = shelf::change(
            self,
            by_id(&record.id),
            at,
            move |found| match shelf::parse::<LoginName>(found)? {
                Some(other) if other != name => Ok(Plan::keep(CreateUser::Exists)),
                _ => Plan::write(CreateUser::Created, &name, None),
            },
        );
        if claim.await? == CreateUser::Exists {
            return Ok(CreateUser::Exists);
        }
        let place = by_name(record.name.as_str());
        shelf::change(self, place, at, move |found| match found {
            Some(_) => Ok(Plan::keep(CreateUser::Exists)),
            None => Ok(Plan::write(CreateUser::Created, &record, None)?.listed([listing(&record)])),
        })
        .await
    }

    async fn user(&self, id: &SubjectId) -> Result<Option<UserRecord>, StoreError> {
        let Some(name) = shelf::read::<LoginName>(self, by_id(id)).await? else {
            return Ok(None);
        };
        let found = self.user_by_name(&name).await?;
        Ok(found.filter(|record| record.id == *id))
    }

    async fn user_by_name(&self, name: &LoginName) -> Result<Option<UserRecord>, StoreError> {
        shelf::read(self, by_name(name.as_str())).await
    }

    async fn users(
        &self,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<UserRecord>, StoreError> {
        shelf::page(self, index(), after, limit, by_name, |_| true).await
    }

    async fn set_password(
        &self,
        name: &LoginName,
        password: PasswordHash,
        instead_of: Option<PasswordHash>,
        at: Timestamp,
    ) -> Result<ChangeUser, StoreError> {
        alter(self, name, at, move |user| {
            if instead_of.as_ref().is_none_or(|old| *old == user.password) {
                user.password = password.clone();
                if instead_of.is_none() {
                    user.password_set_at = at;
                }
            }
            None
        })
        .await
    }

    async fn set_user_scopes(
        &self,
        name: &LoginName,
        scopes: ScopeSet,
        at: Timestamp,
    ) -> Result<ChangeUser, StoreError> {
        alter(self, name, at, move |user| {
            user.scopes = scopes.clone();
            None
        })
        .await
    }

    async fn disable_user(
        &self,
        name: &LoginName,
        at: Timestamp,
    ) -> Result<ChangeUser, StoreError> {
        alter(self, name, at, move |user| {
            if user.disabled_at.is_some() {
                return None;
            }
            user.disabled_at = Some(at);
            Some(Denial {
                kind: DenialKind::Subject,
                id: user.id.to_string(),
                at,
            })
        })
        .await
    }

    async fn enable_user(&self, name: &LoginName, at: Timestamp) -> Result<ChangeUser, StoreError> {
        alter(self, name, at, |user| {
            user.disabled_at = None;
            None
        })
        .await
    }
}

/// Alters a user's record; the alteration answers what it denies.
async fn alter(
    shelf: &impl Shelf,
    name: &LoginName,
    at: Timestamp,
    alteration: impl Fn(&mut UserRecord) -> Option<Denial> + Send + Sync + 'static,
) -> Result<ChangeUser, StoreError> {
    shelf::change(shelf, by_name(name.as_str()), at, move |found| {
        let Some(before) = shelf::parse::<UserRecord>(found)? else {
            return Ok(Plan::keep(ChangeUser::Unknown));
        };
        let mut record = before.clone();
        let denial = alteration(&mut record);
        if record == before {
            return Ok(Plan::keep(ChangeUser::Unchanged(before)));
        }
        let plan = Plan::write(ChangeUser::Changed(record.clone()), &record, None)?;
        Ok(match denial {
            Some(denial) => plan.denied(denial),
            None => plan,
        })
    })
    .await
}

fn by_name(name: &str) -> Place {
    Place::new("usr", name)
}

fn by_id(id: &SubjectId) -> Place {
    Place::new("uid", id)
}

fn index() -> Index {
    Index::new("users", "")
}

fn listing(record: &UserRecord) -> Listing {
    Listing {
        index: index(),
        member: Member::new(None, &record.name),
        until: None,
        cap: None,
    }
}
