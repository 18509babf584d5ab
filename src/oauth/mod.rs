//! The authorization server behind the gateway's own endpoints (RFC 6749 with RFC 7636, 7009,
//! 7662, 8414, 8707, 9068, 9207 and 9728).
//!
//! One file an endpoint or grant. [`AuthorizationServer::find`] says whether a request is for
//! one of them; the gateway then hands the whole request over and gets the whole answer. Not here:
//! what a verified token may do ([`crate::gateway`]) and what is atomic ([`crate::store`]).
//! Invariants: only a `RegisteredRedirect`, or the configured login page, becomes a `Location` outside
//! of this server; nothing a client sent is echoed in an error; "cannot know" is 503, never a verdict.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Response};

use crate::id::ClientId;
use crate::scope::{Scope, ScopeSet};
use crate::store::SigningAlgorithm;

mod endpoint;
mod place;
mod protected_resource;
mod server;
mod form;
mod answer;
mod audit;
mod problem;
mod refusal;
mod client_authentication;
mod token;
mod authorization_code;
mod refresh_token;
mod client_credentials;
mod issue;
mod signing_keys;
mod own_token;
mod revoke;
mod introspect;
mod metadata;
mod redirect;
mod authorization_request;
mod authorize;
mod browser;
mod interaction;
mod login;
mod login_cookie;
mod login_mode;
mod login_challenge;
mod login_desk;
mod resume;
mod decision;
mod page;
mod password;
mod network;
mod recent;
mod starts;
mod throttle;
mod under_way;
mod registry;
#[cfg(test)]
mod tests;

pub use authorization_request::LoginHints;
pub use browser::COOKIE_NAME as INTERACTION_COOKIE;
pub use endpoint::{Endpoint, Own, authority_and_path};
pub use login_challenge::{InvalidLoginChallenge, LoginChallenge};
pub use login_desk::{LoginDesk, LoginError, LoginProblem, LoginRequest, LoginStanding};
pub use login_mode::{InvalidLoginPage, LoginMode, LoginPage};
pub use password::{HashedPassword, Passwords};
pub use place::{Found, Place, Places};
pub use protected_resource::ProtectedResource;
pub use redirect::redirect_fault;
pub use refusal::Refusal;
pub use registry::{
    AppSelection, ConnectedApp, NewClientRequest, NewUserRequest, Registry, RegistryError,
    RegistryProblem, RotateClientRequest, RotatedClient,
};
pub use server::{AuthorizationServer, OAuthParts};
pub use signing_keys::{SealedUnderAnotherPepper, SigningKeys};

/// How the authorization server is set up.
#[derive(Clone, Debug)]
pub struct OAuthSettings {
    /// The `iss` of its tokens and of its metadata (RFC 8414 §2).
    pub issuer: String,
    /// Where browsers are sent: `host` or `host:port`, lower case.
    pub authorize_host: String,
    /// Where clients call: `host` or `host:port`, lower case.
    pub token_host: String,
    /// What its tokens are for (RFC 8707); the first is what they are for unless asked otherwise.
    pub resources: Vec<String>,
    /// How long an access token lives.
    pub access_token_ttl: Duration,
    /// How long a refresh token lives.
    pub refresh: RefreshSettings,
    /// What new signing keys sign with.
    pub algorithm: SigningAlgorithm,
    /// Every scope with what it lets its holder do, in the order of the file.
    pub scopes: Vec<(Scope, String)>,
    /// What is granted to a request that names no scope.
    pub default_scopes: ScopeSet,
    /// A page for developers (RFC 8414 `service_documentation`).
    pub documentation: Option<String>,
    /// The `realm` of challenges and the name on pages.
    pub realm: String,
    /// Who logs users in.
    pub login: LoginMode,
}

/// How long a refresh token lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshSettings {
    /// Without use.
    pub idle: Duration,
    /// However often it is used.
    pub absolute: Duration,
    /// For how long a confidential client may repeat a rotation whose answer it lost.
    pub grace: Duration,
}

/// A request for one of the endpoints, read whole.
pub struct OwnRequest {
    /// Which endpoint.
    pub own: Own,
    /// The method.
    pub method: Method,
    /// The query, as it came.
    pub query: Option<String>,
    /// The fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The client's address.
    pub client: IpAddr,
    /// Which OAuth client it turned out to concern. Set by the server, once.
    pub oauth_client: OnceLock<ClientId>,
}

/// An answer, and what the access log says of it.
#[derive(Debug)]
pub struct OwnAnswer {
    /// The whole answer.
    pub response: Response<Bytes>,
    /// Why the request was refused, if it was.
    pub refusal: Option<Refusal>,
    /// The registered OAuth client that it was from, whether or not it proved that.
    pub oauth_client: Option<ClientId>,
}

impl OwnRequest {
    /// There is such a client, and the request says that it is from it.
    fn concerns(&self, client: &ClientId) {
        let _ = self.oauth_client.get_or_init(|| client.clone());
    }
}
