//! The admin API: `/v1/…` on the admin listener.
//!
//! Not here: what each family of paths does (a file each, such as [`super::keys`]). Invariants: the
//! door is asked before the path is looked at; a body is read only by a resource that takes one.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::net::TcpListener;

use super::body::{ok, read};
use super::door::Door;
use super::listener::{Listener, Service, serve};
use super::live::LiveGateway;
use super::problem::AdminProblem;
use super::socket::{self, SocketFile};
use super::store::{self, AnswerBody};
use super::wire::ExplainBody;
use super::{
    AdminAddress, AdminError, clients, fleet, key_report, keys, logins, sessions, signing_keys,
    tokens, users,
};
use crate::auth::{ArchiveDesk, FleetDesk, KeyDesk};
use crate::oauth::{LoginDesk, Registry};
use crate::observe::Actor;
use crate::policy::ExplainRequest;
use crate::secret::Secret;

/// The admin listener: bound, not yet answering.
#[derive(Debug)]
pub struct AdminListener {
    listener: Listener,
    door: Door,
    address: AdminAddress,
    socket: Option<SocketFile>,
}

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
            archive: ArchiveDesk::beside(&desk),
            registry: Registry::beside(&desk),
            logins: LoginDesk::beside(&desk),
            fleet: desk.fleet(),
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
    archive: ArchiveDesk,
    desk: Arc<KeyDesk>,
    registry: Registry,
    logins: LoginDesk,
    fleet: FleetDesk,
    gateway: Arc<dyn LiveGateway>,
}

/// What there is.
enum Resource {
    Clients(clients::Resource),
    Explain,
    Fleet(fleet::Resource),
    KeyReport,
    Keys(keys::Resource),
    Logins(logins::Resource),
    Reload,
    Routes,
    Sessions(sessions::Resource),
    SigningKeys(signing_keys::Resource),
    Tokens(tokens::Resource),
    Users(users::Resource),
}

impl Resource {
    fn parse(path: &str) -> Result<Resource, AdminProblem> {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        match segments.as_slice() {
            ["v1", "clients", rest @ ..] => clients::Resource::parse(rest).map(Resource::Clients),
            ["v1", "explain"] => Ok(Resource::Explain),
            ["v1", "fleet", rest @ ..] => fleet::Resource::parse(rest).map(Resource::Fleet),
            ["v1", "keys", "report"] => Ok(Resource::KeyReport),
            ["v1", "keys", rest @ ..] => keys::Resource::parse(rest).map(Resource::Keys),
            ["v1", "logins", rest @ ..] => logins::Resource::parse(rest).map(Resource::Logins),
            ["v1", "reload"] => Ok(Resource::Reload),
            ["v1", "routes"] => Ok(Resource::Routes),
            ["v1", "sessions", rest @ ..] => {
                sessions::Resource::parse(rest).map(Resource::Sessions)
            }
            ["v1", "signing-keys", rest @ ..] => {
                signing_keys::Resource::parse(rest).map(Resource::SigningKeys)
            }
            ["v1", "tokens", rest @ ..] => tokens::Resource::parse(rest).map(Resource::Tokens),
            ["v1", "users", rest @ ..] => users::Resource::parse(rest).map(Resource::Users),
            _ => Err(AdminProblem::Path),
        }
    }
}

impl Service for Api {
    type Body = AnswerBody;

    async fn answer(&self, actor: Actor, request: Request<Incoming>) -> Response<AnswerBody> {
        match self.admit(actor, request).await {
            Ok(response) => response,
            Err(problem) => problem.into_response().map(AnswerBody::Left),
        }
    }
}

impl Api {
    async fn admit(
        &self,
        actor: Actor,
        request: Request<Incoming>,
    ) -> Result<Response<AnswerBody>, AdminProblem> {
        self.door.admit(request.headers())?;
        if let Some(resource) = store::Resource::parse(request.uri().path()) {
            return resource.carry_out(&self.archive, actor, &request).await;
        }
        let answer = self.carry_out(actor, request).await?;
        Ok(answer.map(AnswerBody::Left))
    }

    async fn carry_out(
        &self,
        actor: Actor,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, AdminProblem> {
        let resource = Resource::parse(request.uri().path())?;
        match (resource, request.method()) {
            (Resource::Clients(resource), _) => {
                resource
                    .carry_out(&self.registry, &self.fleet, actor, request)
                    .await
            }
            (Resource::Explain, &Method::POST) => self.explain(request).await,
            (Resource::Fleet(resource), method) => {
                resource
                    .carry_out(&self.desk, &self.fleet, actor, method)
                    .await
            }
            (Resource::KeyReport, _) => {
                key_report::answer(&self.desk, self.gateway.as_ref(), &request).await
            }
            (Resource::Keys(resource), _) => {
                resource
                    .carry_out(&self.desk, &self.fleet, actor, request)
                    .await
            }
            (Resource::Logins(resource), _) => {
                let server = self.gateway.authorization_server();
                resource
                    .carry_out(&self.logins, server, actor, request)
                    .await
            }
            (Resource::Reload, &Method::POST) => self.reload().await,
            (Resource::Routes, &Method::GET) => Ok(ok(&self.gateway.routes())),
            (Resource::Sessions(resource), _) => {
                resource
                    .carry_out(self.desk.sessions(), &self.fleet, actor, request)
                    .await
            }
            (Resource::SigningKeys(resource), _) => {
                let desk = self.desk.signing_keys();
                resource.carry_out(desk, actor, request).await
            }
            (Resource::Tokens(resource), _) => {
                let gateway = self.gateway.as_ref();
                resource
                    .carry_out(&self.desk, &self.fleet, gateway, actor, request)
                    .await
            }
            (Resource::Users(resource), _) => {
                resource
                    .carry_out(&self.registry, &self.fleet, actor, request)
                    .await
            }
            (Resource::Routes, _) => Err(AdminProblem::Method("GET")),
            (Resource::Explain | Resource::Reload, _) => Err(AdminProblem::Method("POST")),
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
