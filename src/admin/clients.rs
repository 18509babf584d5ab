//! `/v1/clients`: OAuth clients as operators register, list, rotate and disable them.
//!
//! Not here: what a client is allowed to be ([`crate::oauth::Registry`]).

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};

use super::body::{created, ok, read};
use super::client::{AdminClient, ClientError, encode};
use super::page::{cursor, decode};
use super::problem::AdminProblem;
use super::proof::{Wait, proven};
use super::wire::{expose, expose_some, take, take_some};
use crate::auth::FleetDesk;
use crate::clock::Timestamp;
use crate::id::{AccountId, ClientId, RequestId};
use crate::oauth::{NewClientRequest, Registry, RotateClientRequest, RotatedClient};
use crate::observe::Actor;
use crate::scope::ScopeSet;
use crate::secret::Secret;
use crate::store::{
    ClientAuthentication, ClientKind, ClientRecord, ClientSecret, Consent, GrantType, Page,
    PkceRule,
};

/// One client, for reading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the members of `ClientRecord`")]
pub struct ClientView {
    pub client_id: ClientId,
    pub name: String,
    pub kind: ClientKind,
    pub grants: Vec<GrantType>,
    pub redirects: Vec<String>,
    pub scopes: ScopeSet,
    pub authentication: ClientAuthentication,
    pub pkce: PkceRule,
    pub consent: Consent,
    pub account: Option<AccountId>,
    /// The newest first.
    pub secrets: Vec<SecretView>,
    pub created_at: String,
    pub disabled_at: Option<String>,
}

/// One secret of a client, for recognising it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the members of `ClientSecret`")]
pub struct SecretView {
    pub hint: String,
    pub created_at: String,
    pub ends_at: Option<String>,
}

/// A new client with its secret: the only form in which one leaves the gateway.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CreatedClient {
    /// The client.
    #[serde(flatten)]
    pub client: ClientView,
    /// Its secret; `null` is that of a public client.
    #[serde(serialize_with = "expose_some", deserialize_with = "take_some")]
    pub client_secret: Option<Secret>,
}

/// The body of `POST /v1/clients/{id}/rotate-secret`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotateClientBody {
    /// How long the old secret goes on working, in seconds.
    pub overlap: u64,
    /// Names the wish: asked again under the same name, the answer is the same.
    pub request_id: RequestId,
}

/// A client with its new secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RotatedClientView {
    /// Its id, which stays.
    pub client_id: ClientId,
    /// The new secret.
    #[serde(serialize_with = "expose", deserialize_with = "take")]
    pub client_secret: Secret,
    /// When the old secret stops working.
    pub previous_ends_at: String,
}

/// One page of clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientList {
    /// In the order of their ids.
    pub clients: Vec<ClientView>,
    /// Ask again with `?after=` this; `null` is the end.
    pub next: Option<String>,
}

/// What there is.
pub(super) enum Resource {
    All,
    Disable(ClientId),
    One(ClientId),
    RotateSecret(ClientId),
}

/// Clients in one page.
const PAGE: usize = 500;

impl Resource {
    /// From what follows `/v1/clients`.
    pub(super) fn parse(rest: &[&str]) -> Result<Resource, AdminProblem> {
        let id = |text: &str| {
            let text = decode(text).ok_or(AdminProblem::Path)?;
            ClientId::parse(&text).map_err(|_| AdminProblem::Path)
        };
        match rest {
            [] => Ok(Resource::All),
            [one] => id(one).map(Resource::One),
            [one, "disable"] => id(one).map(Resource::Disable),
            [one, "rotate-secret"] => id(one).map(Resource::RotateSecret),
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
            (Resource::All, &Method::GET) => {
                let after = cursor(request.uri().query())?;
                let page = registry.clients(after.as_ref(), PAGE).await?;
                Ok(ok(&ClientList::from(&page)))
            }
            (Resource::All, &Method::POST) => {
                let wish: NewClientRequest = read(request).await?;
                let (record, secret) = registry.create_client(wish, actor).await?;
                Ok(created(&CreatedClient::new(&record, secret)))
            }
            (Resource::One(id), &Method::GET) => {
                Ok(ok(&ClientView::from(&registry.client(&id).await?)))
            }
            (Resource::RotateSecret(id), &Method::POST) => {
                let body: RotateClientBody = read(request).await?;
                let wish = RotateClientRequest::from(body);
                let rotated = registry.rotate_client_secret(&id, wish, actor).await?;
                Ok(ok(&RotatedClientView::from(rotated)))
            }
            (Resource::Disable(id), &Method::POST) => {
                let wait = Wait::of_query(request.uri().query())?;
                let disable = async {
                    let disabled = registry.disable_client(&id, actor).await?;
                    Ok(ClientView::from(&disabled))
                };
                proven(fleet, wait, disable).await
            }
            (Resource::All, _) => Err(AdminProblem::Method("GET, POST")),
            (Resource::One(_), _) => Err(AdminProblem::Method("GET")),
            (Resource::Disable(_) | Resource::RotateSecret(_), _) => {
                Err(AdminProblem::Method("POST"))
            }
        }
    }
}

impl AdminClient {
    /// `POST /v1/clients`.
    pub async fn create_client(
        &self,
        client: &NewClientRequest,
    ) -> Result<CreatedClient, ClientError> {
        let body = serde_json::to_vec(client).expect("this type has no failing parts");
        self.call(Method::POST, "/v1/clients", Some(body)).await
    }

    /// `GET /v1/clients`.
    pub async fn clients(&self, after: Option<&str>) -> Result<ClientList, ClientError> {
        let after = after.map_or(String::new(), |after| format!("?after={}", encode(after)));
        let path = format!("/v1/clients{after}");
        self.call(Method::GET, &path, None).await
    }

    /// `GET /v1/clients/{id}`.
    pub async fn client(&self, id: &ClientId) -> Result<ClientView, ClientError> {
        let path = format!("/v1/clients/{}", encode(id.as_str()));
        self.call(Method::GET, &path, None).await
    }

    /// `POST /v1/clients/{id}/rotate-secret`.
    pub async fn rotate_client_secret(
        &self,
        id: &ClientId,
        body: &RotateClientBody,
    ) -> Result<RotatedClientView, ClientError> {
        let path = format!("/v1/clients/{}/rotate-secret", encode(id.as_str()));
        let body = serde_json::to_vec(body).expect("this type has no failing parts");
        self.call(Method::POST, &path, Some(body)).await
    }

    /// `POST /v1/clients/{id}/disable`.
    pub async fn disable_client(&self, id: &ClientId) -> Result<ClientView, ClientError> {
        let path = format!("/v1/clients/{}/disable", encode(id.as_str()));
        self.call(Method::POST, &path, Some(Vec::new())).await
    }
}

impl From<&ClientRecord> for ClientView {
    fn from(record: &ClientRecord) -> ClientView {
        let settings = &record.settings;
        ClientView {
            client_id: record.id.clone(),
            name: settings.name.clone(),
            kind: record.kind,
            grants: settings.grants.clone(),
            redirects: settings.redirects.clone(),
            scopes: settings.scopes.clone(),
            authentication: settings.authentication,
            pkce: settings.pkce,
            consent: settings.consent,
            account: settings.account.clone(),
            secrets: record.secrets.iter().map(SecretView::from).collect(),
            created_at: record.created_at.to_string(),
            disabled_at: text(record.disabled_at),
        }
    }
}

impl From<&ClientSecret> for SecretView {
    fn from(secret: &ClientSecret) -> SecretView {
        SecretView {
            hint: secret.hint.clone(),
            created_at: secret.created_at.to_string(),
            ends_at: text(secret.ends_at),
        }
    }
}

fn text(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}

impl CreatedClient {
    /// From what the registry gave.
    pub fn new(record: &ClientRecord, secret: Option<Secret>) -> CreatedClient {
        CreatedClient {
            client_secret: secret,
            client: ClientView::from(record),
        }
    }
}

impl From<&Page<ClientRecord>> for ClientList {
    fn from(page: &Page<ClientRecord>) -> ClientList {
        ClientList {
            clients: page.items.iter().map(ClientView::from).collect(),
            next: page.next.as_ref().map(|next| next.as_str().to_owned()),
        }
    }
}

impl From<RotateClientBody> for RotateClientRequest {
    fn from(body: RotateClientBody) -> RotateClientRequest {
        RotateClientRequest {
            overlap: Duration::from_secs(body.overlap),
            request: body.request_id,
        }
    }
}

impl From<&RotateClientRequest> for RotateClientBody {
    fn from(request: &RotateClientRequest) -> RotateClientBody {
        RotateClientBody {
            overlap: request.overlap.as_secs(),
            request_id: request.request.clone(),
        }
    }
}

impl From<RotatedClient> for RotatedClientView {
    fn from(rotated: RotatedClient) -> RotatedClientView {
        RotatedClientView {
            client_id: rotated.record.id,
            client_secret: rotated.secret,
            previous_ends_at: rotated.previous_ends_at.to_string(),
        }
    }
}
