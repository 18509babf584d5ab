//! The server: what it works with, and which file answers which endpoint.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Response};
use tokio::runtime::Handle;

use super::metadata::Documents;
use super::page::Notice;
use super::starts::Starts;
use super::throttle::Throttle;
use super::{
    Endpoint, Found, OAuthSettings, OwnAnswer, OwnRequest, Passwords, Places, ProtectedResource,
    Refusal, SigningKeys, answer, authorize, client_authentication, decision, interaction,
    introspect, login, metadata, page, resume, revoke, token,
};
use crate::auth::{Authenticator, CredentialSettings, OwnKeys, Repepper};
use crate::clock::Clock;
use crate::observe::{AuditEvent, AuditLog, Metrics};
use crate::secret::{LivePeppers, Peppers};
use crate::store::Store;
use crate::token::{OpaqueFormat, RefreshTokens};

/// What every authorization server of one process shares: a reload makes another server of it.
#[derive(Clone)]
pub struct OAuthParts {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Clock,
    pub(super) peppers: Peppers,
    pub(super) repepper: Repepper,
    pub(super) format: OpaqueFormat,
    pub(super) refresh_tokens: RefreshTokens,
    pub(super) keys: Arc<SigningKeys>,
    pub(super) passwords: Arc<Passwords>,
    pub(super) throttle: Arc<Throttle>,
    audit: Option<AuditLog>,
    pub(super) starts: Arc<Starts>,
    pub(super) metrics: Arc<Metrics>,
    control: Handle,
}

/// The authorization server.
pub struct AuthorizationServer {
    pub(super) settings: OAuthSettings,
    pub(super) parts: OAuthParts,
    pub(super) authenticator: Arc<Authenticator>,
    pub(super) documents: Documents,
    places: Places,
}

impl OAuthParts {
    /// The store is only ever called on `control`. Without an audit log are servers that answer
    /// nobody (`explain`).
    pub fn new(
        store: Arc<dyn Store>,
        clock: Clock,
        credentials: &CredentialSettings,
        control: Handle,
        audit: Option<AuditLog>,
        metrics: &Arc<Metrics>,
    ) -> OAuthParts {
        let peppers = credentials.peppers.clone();
        let format = OpaqueFormat::new(credentials.prefix.clone());
        let keys = SigningKeys::new(
            Arc::clone(&store),
            LivePeppers::new(peppers.clone()),
            clock.clone(),
            control.clone(),
        );
        OAuthParts {
            refresh_tokens: RefreshTokens::new(format.clone(), &peppers),
            repepper: Repepper::new(Arc::clone(&store), control.clone()),
            keys: Arc::new(keys),
            passwords: Arc::new(Passwords::new(control.clone())),
            throttle: Arc::new(Throttle::new()),
            starts: Arc::new(Starts::new()),
            metrics: Arc::clone(metrics),
            store,
            clock,
            peppers,
            format,
            audit,
            control,
        }
    }

    /// The same for a server with other peppers, as a reload brings them. The signing keys go on
    /// with theirs until [`SigningKeys::set_peppers`]: what is sealed under a pepper that the
    /// configuration in force does not have would be lost.
    pub fn with_peppers(&self, peppers: &Peppers) -> OAuthParts {
        OAuthParts {
            peppers: peppers.clone(),
            refresh_tokens: RefreshTokens::new(self.format.clone(), peppers),
            ..self.clone()
        }
    }

    /// Leaves an audit line. Never waits.
    pub(super) fn tell(&self, event: AuditEvent) {
        if let Some(audit) = &self.audit {
            audit.record(event);
        }
    }

    /// The public halves of the signing keys, for the verifier of access tokens.
    pub fn own_keys(&self) -> &OwnKeys {
        self.keys.own_keys()
    }

    /// The signing keys.
    pub fn signing_keys(&self) -> &Arc<SigningKeys> {
        &self.keys
    }
}

impl AuthorizationServer {
    /// `authenticator` verifies the server's own access tokens, as it does for the API.
    pub fn new(
        settings: OAuthSettings,
        parts: OAuthParts,
        authenticator: Arc<Authenticator>,
    ) -> AuthorizationServer {
        AuthorizationServer {
            documents: Documents::new(&settings),
            places: Places::new(&settings),
            settings,
            parts,
            authenticator,
        }
    }

    /// Whether a request is for this server, and which of its endpoints. `host` is lower case and
    /// without port, `path` canonical.
    pub fn find(&self, host: &str, path: &str) -> Option<Found> {
        self.places.find(host, path)
    }

    /// Where its endpoints are.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// Whether an endpoint is there: the pages of a login of another kind than the configured one
    /// are not.
    pub fn has(&self, endpoint: Endpoint) -> bool {
        endpoint.is_for(&self.settings.login)
    }

    /// How it is set up.
    pub fn settings(&self) -> &OAuthSettings {
        &self.settings
    }

    /// What its tokens are for.
    pub fn protected_resources(&self) -> Vec<ProtectedResource> {
        ProtectedResource::all(&self.settings)
    }

    /// The answer to a request; `None` is a bug. Whatever the client does meanwhile, what was
    /// begun is carried out: it runs on the control runtime.
    pub async fn answer(self: &Arc<Self>, request: OwnRequest) -> Option<OwnAnswer> {
        let server = Arc::clone(self);
        let work = async move {
            let mut response = server.dispatch(&request).await;
            OwnAnswer {
                refusal: Refusal::take(&mut response),
                oauth_client: request.oauth_client.into_inner(),
                response,
            }
        };
        self.parts.control.spawn(work).await.ok()
    }

    async fn dispatch(&self, request: &OwnRequest) -> Response<Bytes> {
        let endpoint = request.own.endpoint;
        if !self.has(endpoint) {
            return page::notice(&self.settings.realm, Notice::Absent);
        }
        let mut response = match (&request.method, endpoint.is_open_to_scripts()) {
            (&Method::OPTIONS, true) => answer::preflight(endpoint),
            (method, _) if !endpoint.takes(method) => answer::method_not_allowed(endpoint),
            _ => self.work(request).await,
        };
        if endpoint.is_open_to_scripts() {
            answer::open_to_scripts(&mut response);
        }
        response
    }

    async fn work(&self, request: &OwnRequest) -> Response<Bytes> {
        let answered = match request.own.endpoint {
            Endpoint::Authorize => return authorize::answer(self, request).await,
            Endpoint::Decision => return decision::answer(self, request).await,
            Endpoint::Interaction => return interaction::answer(self, request).await,
            Endpoint::Login => return login::answer(self, request).await,
            Endpoint::Resume => return resume::answer(self, request).await,
            Endpoint::Jwks => metadata::jwks(&self.parts.keys),
            Endpoint::Metadata => Ok(self.documents.metadata()),
            Endpoint::ResourceMetadata => Ok(self.documents.resource(request.own.resource)),
            Endpoint::Introspect => introspect::answer(self, request).await,
            Endpoint::Revoke => revoke::answer(self, request).await,
            Endpoint::Token => token::answer(self, request).await,
        };
        answered.unwrap_or_else(|problem| {
            client_authentication::count_failure(self, request, &problem);
            Refusal::from(&problem).mark(problem.answer(&self.settings.realm))
        })
    }
}

impl fmt::Debug for OAuthParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuthParts").finish_non_exhaustive()
    }
}

impl fmt::Debug for AuthorizationServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizationServer")
            .field("issuer", &self.settings.issuer)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use crate::oauth::{LoginMode, OAuthSettings, RefreshSettings};
    use crate::scope::{Scope, ScopeSet};
    use crate::store::SigningAlgorithm;

    /// The seed's.
    pub(in crate::oauth) fn settings() -> OAuthSettings {
        let scope = |name| (Scope::parse(name).expect("a scope"), format!("Do {name}"));
        OAuthSettings {
            issuer: "https://osir.com".into(),
            authorize_host: "osir.com".into(),
            token_host: "api.osir.com".into(),
            resources: vec!["https://api.osir.com".into()],
            access_token_ttl: Duration::from_secs(3600),
            refresh: RefreshSettings {
                idle: Duration::from_secs(30 * 86_400),
                absolute: Duration::from_secs(90 * 86_400),
                grace: Duration::from_secs(10),
            },
            algorithm: SigningAlgorithm::Es256,
            scopes: vec![scope("domains:read"), scope("domains:write")],
            default_scopes: ScopeSet::empty(),
            documentation: None,
            realm: "osir".into(),
            login: LoginMode::Builtin,
        }
    }
}
