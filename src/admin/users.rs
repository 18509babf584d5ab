//! `/v1/users`: users of our own as operators make, list and disable them, and what they granted.
//!
//! Not here: what a user is allowed to be ([`crate::oauth::Registry`]). Invariant: no answer holds
//! a password, nor what is kept of one.

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

use super::body::{created, ok, read};
use super::client::{AdminClient, ClientError, encode};
use super::page::{cursor, decode};
use super::problem::AdminProblem;
use super::proof::{Wait, proven};
use super::wire::expose;
use crate::auth::FleetDesk;
use crate::id::{AccountId, ClientId, GrantId, LoginName, SubjectId};
use crate::oauth::{AppSelection, ConnectedApp, NewUserRequest, Registry};
use crate::observe::Actor;
use crate::scope::ScopeSet;
use crate::secret::Secret;
use crate::store::{Page, UserRecord};

/// One user, for reading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the members of `UserRecord`")]
pub struct UserView {
    pub id: SubjectId,
    pub name: LoginName,
    pub account: AccountId,
    pub scopes: ScopeSet,
    pub created_at: String,
    pub password_set_at: String,
    pub disabled_at: Option<String>,
}

/// The body of `POST /v1/users`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the members of `NewUserRequest`")]
pub struct NewUserBody {
    pub name: LoginName,
    pub account: AccountId,
    pub scopes: ScopeSet,
    #[serde(serialize_with = "expose", deserialize_with = "password")]
    pub password: Secret,
}

/// The body of `POST /v1/users/{name}/password`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasswordBody {
    /// The new one.
    #[serde(serialize_with = "expose", deserialize_with = "password")]
    pub password: Secret,
}

/// One page of users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserList {
    /// In the order of their names.
    pub users: Vec<UserView>,
    /// Ask again with `?after=` this; `null` is the end.
    pub next: Option<String>,
}

/// A client that acts for a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the members of `ConnectedApp`")]
pub struct AppView {
    pub client_id: ClientId,
    pub name: String,
    pub scopes: ScopeSet,
    pub connected_at: String,
    pub expires_at: String,
    pub grants: Vec<GrantId>,
}

/// The answer to `GET /v1/users/{name}/apps`, and to `…/apps/revoke`: those that were connected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppList {
    /// In the order of their ids.
    pub apps: Vec<AppView>,
}

/// What there is.
pub(super) enum Resource {
    All,
    Apps(LoginName),
    Disable(LoginName),
    Enable(LoginName),
    One(LoginName),
    Password(LoginName),
    RevokeApps(LoginName),
}

/// Users in one page.
const PAGE: usize = 500;

impl Resource {
    /// From what follows `/v1/users`. A name may hold any visible character, so it comes
    /// percent-encoded.
    pub(super) fn parse(rest: &[&str]) -> Result<Resource, AdminProblem> {
        let name = |text: &str| {
            let text = decode(text).ok_or(AdminProblem::Path)?;
            LoginName::parse(&text).map_err(|_| AdminProblem::Path)
        };
        match rest {
            [] => Ok(Resource::All),
            [one] => name(one).map(Resource::One),
            [one, "apps"] => name(one).map(Resource::Apps),
            [one, "apps", "revoke"] => name(one).map(Resource::RevokeApps),
            [one, "disable"] => name(one).map(Resource::Disable),
            [one, "enable"] => name(one).map(Resource::Enable),
            [one, "password"] => name(one).map(Resource::Password),
            _ => Err(AdminProblem::Path),
        }
    }

    pub(super) async fn carry_out(
        self,
        registry: &Registry,
        fleet: &FleetDesk,
        actor: Actor,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, AdminProblem> {
        match (self, request.method()) {
            (resource, &Method::GET) => resource.show(registry, request.uri().query()).await,
            (resource, &Method::POST) => resource.change(registry, fleet, actor, request).await,
            (resource, _) => Err(AdminProblem::Method(resource.methods())),
        }
    }

    async fn show(
        self,
        registry: &Registry,
        query: Option<&str>,
    ) -> Result<Response<Full<Bytes>>, AdminProblem> {
        match self {
            Resource::All => {
                let page = registry.users(cursor(query)?.as_ref(), PAGE).await?;
                Ok(ok(&UserList::from(&page)))
            }
            Resource::Apps(name) => Ok(ok(&AppList::new(&registry.apps(&name).await?))),
            Resource::One(name) => Ok(ok(&UserView::from(&registry.user(&name).await?))),
            Resource::Disable(_)
            | Resource::Enable(_)
            | Resource::Password(_)
            | Resource::RevokeApps(_) => Err(AdminProblem::Method(self.methods())),
        }
    }

    async fn change(
        self,
        registry: &Registry,
        fleet: &FleetDesk,
        actor: Actor,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, AdminProblem> {
        let record = match self {
            Resource::All => {
                let body: NewUserBody = read(request).await?;
                let record = registry.create_user(body.into(), actor).await?;
                return Ok(created(&UserView::from(&record)));
            }
            Resource::RevokeApps(name) => {
                let wait = Wait::of_query(request.uri().query())?;
                let selection: AppSelection = read(request).await?;
                let revoke = async {
                    let revoked = registry.revoke_apps(&name, &selection, actor).await?;
                    Ok(AppList::new(&revoked))
                };
                return proven(fleet, wait, revoke).await;
            }
            Resource::Disable(name) => {
                let wait = Wait::of_query(request.uri().query())?;
                let disable = async {
                    let disabled = registry.disable_user(&name, actor).await?;
                    Ok(UserView::from(&disabled))
                };
                return proven(fleet, wait, disable).await;
            }
            Resource::Enable(name) => registry.enable_user(&name, actor).await?,
            Resource::Password(name) => {
                let body: PasswordBody = read(request).await?;
                registry.set_password(&name, body.password, actor).await?
            }
            Resource::Apps(_) | Resource::One(_) => {
                return Err(AdminProblem::Method(self.methods()));
            }
        };
        Ok(ok(&UserView::from(&record)))
    }

    fn methods(&self) -> &'static str {
        match self {
            Resource::All => "GET, POST",
            Resource::Apps(_) | Resource::One(_) => "GET",
            Resource::Disable(_)
            | Resource::Enable(_)
            | Resource::Password(_)
            | Resource::RevokeApps(_) => "POST",
        }
    }
}

impl AdminClient {
    /// `POST /v1/users`.
    pub async fn create_user(&self, user: &NewUserBody) -> Result<UserView, ClientError> {
        let body = serde_json::to_vec(user).expect("this type has no failing parts");
        self.call(Method::POST, "/v1/users", Some(body)).await
    }

    /// `GET /v1/users`.
    pub async fn users(&self, after: Option<&str>) -> Result<UserList, ClientError> {
        let after = after.map_or(String::new(), |after| format!("?after={}", encode(after)));
        self.call(Method::GET, &format!("/v1/users{after}"), None)
            .await
    }

    /// `GET /v1/users/{name}`.
    pub async fn user(&self, name: &LoginName) -> Result<UserView, ClientError> {
        self.call(Method::GET, &path(name, ""), None).await
    }

    /// `POST /v1/users/{name}/password`.
    pub async fn set_password(
        &self,
        name: &LoginName,
        body: &PasswordBody,
    ) -> Result<UserView, ClientError> {
        let body = serde_json::to_vec(body).expect("this type has no failing parts");
        self.call(Method::POST, &path(name, "/password"), Some(body))
            .await
    }

    /// `POST /v1/users/{name}/disable`.
    pub async fn disable_user(&self, name: &LoginName) -> Result<UserView, ClientError> {
        let nothing = Some(Vec::new());
        self.call(Method::POST, &path(name, "/disable"), nothing)
            .await
    }

    /// `POST /v1/users/{name}/enable`.
    pub async fn enable_user(&self, name: &LoginName) -> Result<UserView, ClientError> {
        let nothing = Some(Vec::new());
        self.call(Method::POST, &path(name, "/enable"), nothing)
            .await
    }

    /// `GET /v1/users/{name}/apps`.
    pub async fn apps(&self, name: &LoginName) -> Result<AppList, ClientError> {
        self.call(Method::GET, &path(name, "/apps"), None).await
    }

    /// `POST /v1/users/{name}/apps/revoke`.
    pub async fn revoke_apps(
        &self,
        name: &LoginName,
        selection: &AppSelection,
    ) -> Result<AppList, ClientError> {
        let body = serde_json::to_vec(selection).expect("this type has no failing parts");
        self.call(Method::POST, &path(name, "/apps/revoke"), Some(body))
            .await
    }
}

fn path(name: &LoginName, rest: &str) -> String {
    format!("/v1/users/{}{rest}", encode(name.as_str()))
}

/// A message of serde's may quote what it met.
fn password<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    let text = String::deserialize(deserializer);
    text.map(Secret::new)
        .map_err(|_| D::Error::custom("a password is a text"))
}

impl From<NewUserBody> for NewUserRequest {
    fn from(body: NewUserBody) -> NewUserRequest {
        NewUserRequest {
            name: body.name,
            account: body.account,
            scopes: body.scopes,
            password: body.password,
        }
    }
}

impl From<&NewUserRequest> for NewUserBody {
    fn from(request: &NewUserRequest) -> NewUserBody {
        NewUserBody {
            name: request.name.clone(),
            account: request.account.clone(),
            scopes: request.scopes.clone(),
            password: request.password.clone(),
        }
    }
}

impl From<&UserRecord> for UserView {
    fn from(record: &UserRecord) -> UserView {
        UserView {
            id: record.id.clone(),
            name: record.name.clone(),
            account: record.account.clone(),
            scopes: record.scopes.clone(),
            created_at: record.created_at.to_string(),
            password_set_at: record.password_set_at.to_string(),
            disabled_at: record.disabled_at.map(|at| at.to_string()),
        }
    }
}

impl From<&Page<UserRecord>> for UserList {
    fn from(page: &Page<UserRecord>) -> UserList {
        UserList {
            users: page.items.iter().map(UserView::from).collect(),
            next: page.next.as_ref().map(|next| next.as_str().to_owned()),
        }
    }
}

impl AppList {
    /// From what the registry gave.
    pub fn new(apps: &[ConnectedApp]) -> AppList {
        AppList {
            apps: apps.iter().map(AppView::from).collect(),
        }
    }
}

impl From<&ConnectedApp> for AppView {
    fn from(app: &ConnectedApp) -> AppView {
        AppView {
            client_id: app.client.clone(),
            name: app.name.clone(),
            scopes: app.scopes.clone(),
            connected_at: app.connected_at.to_string(),
            expires_at: app.expires_at.to_string(),
            grants: app.grants.clone(),
        }
    }
}
