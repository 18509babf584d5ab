//! The admin API: `/v1/…` on the admin listener.
//!
//! Not here: what a key is allowed to be ([`crate::auth::KeyDesk`]). Invariants: the door is
//! asked before the path is looked at; a body is read only by a resource that takes one, up to
//! its size and within its time.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use zeroize::Zeroizing;

use super::door::Door;
use super::listener::{Listener, Service, json, serve};
use super::live::LiveGateway;
use super::page::Page;
use super::problem::AdminProblem;
use super::socket::{self, SocketFile};
use super::wire::{
    BodyProblem, CreatedKey, ExplainBody, KeyDetails, KeyList, KeyView, NewKeyBody, Revocation,
    RevokedKey, RotateKeyBody, RotatedKeyView,
};
use super::{AdminAddress, AdminError, clients, logins, sessions, signing_keys, tokens, users};
use crate::auth::{Import, KeyDesk, KeyError, NewKeyRequest};
use crate::id::KeyId;
use crate::oauth::{LoginDesk, Registry};
use crate::observe::Actor;
use crate::policy::ExplainRequest;
use crate::secret::Secret;
use crate::store::RevokeKey;

/// The admin listener: bound, not yet answering.
#[derive(Debug)]
pub struct AdminListener {
    listener: Listener,
    door: Door,
    address: AdminAddress,
    socket: Option<SocketFile>,
}

/// A JSON body, in bytes.
const BODY: usize = 64 * 1024;
/// An import, in bytes: some 200,000 keys.
const IMPORT: usize = 64 * 1024 * 1024;
/// For a JSON body to be there, and between two pieces of an import.
const BODY_DEADLINE: Duration = Duration::from_secs(10);

impl AdminListener {
    /// Binds. On TCP the address must be a loopback one, and there must be a token.
    pub async fn bind(
        address: &AdminAddress,
        token: Option<Secret>,
    ) -> Result<AdminListener, AdminError> {
        match address {
            AdminAddress::Tcp(address) => bind_tcp(*address, token).await,
            AdminAddress::Unix(path) => {
                let (listener, socket) = socket::place(path).await?;
                Ok(AdminListener {
                    listener: Listener::Unix(listener),
                    door: Door::Socket,
                    address: address.clone(),
                    socket: Some(socket),
                })
            }
        }
    }

    /// Where it listens; the port is the real one, also if 0 was asked for.
    pub fn address(&self) -> &AdminAddress {
        &self.address
    }

    /// Serves until `shutdown`, then removes the socket file.
    pub async fn serve(
        self,
        desk: Arc<KeyDesk>,
        gateway: Arc<dyn LiveGateway>,
        shutdown: impl Future<Output = ()>,
    ) {
        let api = Api {
            door: self.door,
            registry: Registry::beside(&desk),
            logins: LoginDesk::beside(&desk),
            desk,
            gateway,
        };
        serve(self.listener, Arc::new(api), shutdown).await;
        drop(self.socket);
    }
}

async fn bind_tcp(
    address: std::net::SocketAddr,
    token: Option<Secret>,
) -> Result<AdminListener, AdminError> {
    if !address.ip().is_loopback() {
        return Err(AdminError::NotLoopback(address));
    }
    let long_enough = |token: &Secret| token.expose().len() >= AdminError::TOKEN_CHARS;
    let token = token.filter(long_enough).ok_or(AdminError::Token)?;
    let failed = |source| AdminError::Bind {
        key: "admin",
        address,
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(AdminListener {
        listener: Listener::Tcp(listener),
        door: Door::Token {
            token,
            address: address.ip(),
        },
        address: AdminAddress::Tcp(address),
        socket: None,
    })
}

/// What the requests are answered from.
struct Api {
    door: Door,
    desk: Arc<KeyDesk>,
    registry: Registry,
    logins: LoginDesk,
    gateway: Arc<dyn LiveGateway>,
}

/// What there is.
enum Resource {
    Clients(clients::Resource),
    Explain,
    Import,
    Key(KeyId),
    Keys,
    Logins(logins::Resource),
    Reload,
    Revoke(KeyId),
    Rotate(KeyId),
    Routes,
    Sessions(sessions::Resource),
    ShownRevocation,
    SigningKeys(signing_keys::Resource),
    TokenRevocation,
    Users(users::Resource),
}

impl Resource {
    fn parse(path: &str) -> Result<Resource, AdminProblem> {
        let key = |id| KeyId::parse(id).map_err(|_| AdminProblem::Path);
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        match segments.as_slice() {
            ["v1", "clients", rest @ ..] => clients::Resource::parse(rest).map(Resource::Clients),
            ["v1", "explain"] => Ok(Resource::Explain),
            ["v1", "keys"] => Ok(Resource::Keys),
            ["v1", "keys", "import"] => Ok(Resource::Import),
            ["v1", "keys", id] => key(id).map(Resource::Key),
            ["v1", "keys", id, "revoke"] => key(id).map(Resource::Revoke),
            ["v1", "keys", id, "rotate"] => key(id).map(Resource::Rotate),
            ["v1", "logins", rest @ ..] => logins::Resource::parse(rest).map(Resource::Logins),
            ["v1", "sessions", rest @ ..] => {
                sessions::Resource::parse(rest).map(Resource::Sessions)
            }
            ["v1", "signing-keys", rest @ ..] => {
                signing_keys::Resource::parse(rest).map(Resource::SigningKeys)
            }
            ["v1", "tokens", "revoke"] => Ok(Resource::TokenRevocation),
            ["v1", "tokens", "revoke-shown"] => Ok(Resource::ShownRevocation),
            ["v1", "users", rest @ ..] => users::Resource::parse(rest).map(Resource::Users),
            ["v1", "reload"] => Ok(Resource::Reload),
            ["v1", "routes"] => Ok(Resource::Routes),
            _ => Err(AdminProblem::Path),
        }
    }
}

impl Service for Api {
    async fn answer(&self, actor: Actor, request: Request<Incoming>) -> Response<Full<Bytes>> {
        match self.carry_out(actor, request).await {
            Ok(response) => response,
            Err(problem) => problem.into_response(),
        }
    }
}

impl Api {
    async fn carry_out(
        &self,
        actor: Actor,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, AdminProblem> {
        self.door.admit(request.headers())?;
        let resource = Resource::parse(request.uri().path())?;
        match (resource, request.method()) {
            (Resource::Clients(resource), _) => {
                resource.carry_out(&self.registry, actor, request).await
            }
            (Resource::Users(resource), _) => {
                resource.carry_out(&self.registry, actor, request).await
            }
            (Resource::Explain, &Method::POST) => self.explain(request).await,
            (Resource::Import, &Method::POST) => self.import(actor, request).await,
            (Resource::Key(id), &Method::GET) => self.show(&id).await,
            (Resource::Keys, &Method::GET) => self.list(request.uri().query()).await,
            (Resource::Keys, &Method::POST) => self.create(actor, request).await,
            (Resource::Logins(resource), _) => {
                let server = self.gateway.authorization_server();
                resource
                    .carry_out(&self.logins, server, actor, request)
                    .await
            }
            (Resource::Reload, &Method::POST) => self.reload().await,
            (Resource::Revoke(id), &Method::POST) => self.revoke(actor, &id).await,
            (Resource::Rotate(id), &Method::POST) => self.rotate(actor, &id, request).await,
            (Resource::Sessions(resource), _) => {
                resource
                    .carry_out(self.desk.sessions(), actor, request)
                    .await
            }
            (Resource::SigningKeys(resource), _) => {
                let desk = self.desk.signing_keys();
                resource.carry_out(desk, actor, request).await
            }
            (Resource::ShownRevocation, _) => {
                tokens::revoke_shown(&self.desk, self.gateway.as_ref(), actor, request).await
            }
            (Resource::TokenRevocation, _) => {
                tokens::revoke(self.desk.tokens(), actor, request).await
            }
            (Resource::Routes, &Method::GET) => Ok(ok(&self.gateway.routes())),
            (Resource::Keys, _) => Err(AdminProblem::Method("GET, POST")),
            (Resource::Key(_) | Resource::Routes, _) => Err(AdminProblem::Method("GET")),
            (
                Resource::Explain
                | Resource::Import
                | Resource::Reload
                | Resource::Revoke(_)
                | Resource::Rotate(_),
                _,
            ) => Err(AdminProblem::Method("POST")),
        }
    }

    async fn create(
        &self,
        actor: Actor,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, AdminProblem> {
        let body: NewKeyBody = read(request).await?;
        let request = NewKeyRequest::try_from(body)?;
        let (record, secret) = self.desk.create(request, actor).await?;
        Ok(created(&CreatedKey::new(&record, secret)))
    }

    async fn list(&self, query: Option<&str>) -> Result<Response<Full<Bytes>>, AdminProblem> {
        let page = Page::parse(query.unwrap_or_default())?;
        let (after, account) = (page.after.as_ref(), page.account.as_ref());
        let keys = self.desk.list(after, page.limit, account).await?;
        Ok(ok(&KeyList::from(&keys)))
    }

    async fn show(&self, id: &KeyId) -> Result<Response<Full<Bytes>>, AdminProblem> {
        let record = self.desk.show(id).await?;
        let rotation = self.desk.rotation(id).await?;
        Ok(ok(&KeyDetails::new(&record, rotation)))
    }

    async fn rotate(
        &self,
        actor: Actor,
        id: &KeyId,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, AdminProblem> {
        let body: RotateKeyBody = read(request).await?;
        let rotated = self.desk.rotate(id, body.try_into()?, actor).await?;
        Ok(ok(&RotatedKeyView::from(rotated)))
    }

    async fn revoke(
        &self,
        actor: Actor,
        id: &KeyId,
    ) -> Result<Response<Full<Bytes>>, AdminProblem> {
        let (outcome, record) = match self.desk.revoke(id, actor).await? {
            RevokeKey::Revoked(record) => (Revocation::Revoked, record),
            RevokeKey::AlreadyRevoked(record) => (Revocation::AlreadyRevoked, record),
            RevokeKey::Unknown => return Err(KeyError::Unknown(id.clone()).into()),
        };
        let key = KeyView::from(&record);
        Ok(ok(&RevokedKey { outcome, key }))
    }

    async fn import(
        &self,
        actor: Actor,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, AdminProblem> {
        let mut import = self.desk.import(actor);
        match take_over(&mut import, request.into_body()).await {
            Ok(()) => Ok(ok(&import.finish().await?)),
            Err(problem) => {
                import.abandon().await;
                Err(problem)
            }
        }
    }

    async fn explain(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, AdminProblem> {
        let body: ExplainBody = read(request).await?;
        let request = ExplainRequest::try_from(body)?;
        Ok(ok(&self.gateway.explain(request).await))
    }

    async fn reload(&self) -> Result<Response<Full<Bytes>>, AdminProblem> {
        self.gateway.reload().await.map_err(AdminProblem::Reload)?;
        Ok(ok(&serde_json::json!({ "outcome": "reloaded" })))
    }
}

async fn take_over(import: &mut Import<'_>, mut body: Incoming) -> Result<(), AdminProblem> {
    let mut taken = 0;
    while let Some(data) = piece(&mut body).await? {
        taken += data.len();
        if taken > IMPORT {
            return Err(AdminProblem::BodySize(IMPORT));
        }
        import.feed(&data).await?;
    }
    Ok(())
}

/// Reads a whole JSON body.
pub(super) async fn read<T: DeserializeOwned>(
    request: Request<Incoming>,
) -> Result<T, AdminProblem> {
    let body = collect(request.into_body());
    let bytes = tokio::time::timeout(BODY_DEADLINE, body)
        .await
        .map_err(|_| AdminProblem::BodyDeadline)??;
    serde_json::from_slice(&bytes).map_err(|error| BodyProblem::Json(error).into())
}

async fn collect(mut body: Incoming) -> Result<Zeroizing<Vec<u8>>, AdminProblem> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(BODY));
    while let Some(data) = piece(&mut body).await? {
        if bytes.len() + data.len() > BODY {
            return Err(AdminProblem::BodySize(BODY));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// The next piece of a body; `None` is its end. Trailers are skipped.
async fn piece(body: &mut Incoming) -> Result<Option<Bytes>, AdminProblem> {
    loop {
        let frame = tokio::time::timeout(BODY_DEADLINE, body.frame())
            .await
            .map_err(|_| AdminProblem::BodyDeadline)?;
        match frame {
            None => return Ok(None),
            Some(Err(_)) => return Err(AdminProblem::BodyBroken),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

pub(super) fn ok(body: &impl Serialize) -> Response<Full<Bytes>> {
    json(StatusCode::OK, render(body))
}

pub(super) fn created(body: &impl Serialize) -> Response<Full<Bytes>> {
    json(StatusCode::CREATED, render(body))
}

fn render(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("the API's own types have only text keys and no failing parts")
}
