//! `/v1/logins/{challenge}`: how the operator's own login page learns what a login is about, and
//! answers it.
//!
//! Not here: what an answer may say ([`crate::oauth::LoginDesk`]). Invariants: a text that is no
//! challenge is answered as one that there is not; no answer repeats the challenge.

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};

use super::body::{ok, read};
use super::client::{AdminClient, ClientError, encode};
use super::problem::AdminProblem;
use super::wire::BodyProblem;
use crate::auth::KeyProblem;
use crate::clock::Timestamp;
use crate::id::{AccountId, ClientId, SubjectId};
use crate::oauth::{
    LoginChallenge, LoginDesk, LoginError, LoginHints, LoginRequest, LoginStanding, OAuthSettings,
};
use crate::observe::Actor;
use crate::scope::ScopeSet;
use crate::store::{ClientKind, Consent, DelegatedLogin, RejectReason};

/// What a login is about: the answer to `GET /v1/logins/{challenge}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the members of `LoginRequest`")]
pub struct LoginView {
    pub client_id: ClientId,
    pub client_name: String,
    pub client_kind: ClientKind,
    pub redirect_host: String,
    pub scopes: Vec<ScopeView>,
    pub resource: Option<String>,
    pub consent: Consent,
    pub hints: LoginHints,
    pub state: LoginStanding,
    pub created_at: String,
    pub expires_at: String,
}

/// A scope, with what it lets its holder do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeView {
    /// Its name.
    pub name: String,
    /// Its words in the config.
    pub description: String,
}

/// The body of `POST /v1/logins/{challenge}/accept`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the members of `DelegatedLogin`")]
pub struct AcceptLoginBody {
    pub subject: SubjectId,
    #[serde(default)]
    pub account: Option<AccountId>,
    pub scopes: ScopeSet,
    #[serde(default)]
    pub auth_time: Option<String>,
    #[serde(default)]
    pub acr: Option<String>,
    #[serde(default)]
    pub amr: Vec<String>,
}

/// The body of `POST /v1/logins/{challenge}/reject`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RejectLoginBody {
    /// What the client is told.
    pub reason: RejectReason,
}

/// The answer to both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnsweredLoginView {
    /// Where the browser is to be sent, and nobody else.
    pub redirect_to: String,
}

/// What there is. `None` is a text that is no challenge.
pub(super) enum Resource {
    Accept(Option<LoginChallenge>),
    One(Option<LoginChallenge>),
    Reject(Option<LoginChallenge>),
}

impl Resource {
    /// From what follows `/v1/logins`.
    pub(super) fn parse(rest: &[&str]) -> Result<Resource, AdminProblem> {
        let challenge = |text: &str| LoginChallenge::parse(text).ok();
        match rest {
            [one] => Ok(Resource::One(challenge(one))),
            [one, "accept"] => Ok(Resource::Accept(challenge(one))),
            [one, "reject"] => Ok(Resource::Reject(challenge(one))),
            _ => Err(AdminProblem::Path),
        }
    }

    /// `server` is how the authorization server is set up now, if there is one.
    pub(super) async fn carry_out(
        self,
        desk: &LoginDesk,
        server: Option<OAuthSettings>,
        actor: Actor,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, AdminProblem> {
        let known = |challenge: Option<LoginChallenge>| {
            let server = server.ok_or(LoginError::NotDelegated)?;
            Ok::<_, LoginError>((server, challenge.ok_or(LoginError::Unknown)?))
        };
        let redirect_to = match (self, request.method()) {
            (Resource::One(challenge), &Method::GET) => {
                let (server, challenge) = known(challenge)?;
                let login = desk.show(&server, &challenge).await?;
                return Ok(ok(&LoginView::from(login)));
            }
            (Resource::Accept(challenge), &Method::POST) => {
                let body: AcceptLoginBody = read(request).await?;
                let login = DelegatedLogin::try_from(body)?;
                let (server, challenge) = known(challenge)?;
                desk.accept(&server, &challenge, login, actor).await?
            }
            (Resource::Reject(challenge), &Method::POST) => {
                let body: RejectLoginBody = read(request).await?;
                let (server, challenge) = known(challenge)?;
                desk.reject(&server, &challenge, body.reason, actor).await?
            }
            (Resource::One(_), _) => return Err(AdminProblem::Method("GET")),
            (Resource::Accept(_) | Resource::Reject(_), _) => {
                return Err(AdminProblem::Method("POST"));
            }
        };
        Ok(ok(&AnsweredLoginView { redirect_to }))
    }
}

impl AdminClient {
    /// `GET /v1/logins/{challenge}`.
    pub async fn login(&self, challenge: &str) -> Result<LoginView, ClientError> {
        self.call(Method::GET, &path(challenge, ""), None).await
    }

    /// `POST /v1/logins/{challenge}/accept`.
    pub async fn accept_login(
        &self,
        challenge: &str,
        body: &AcceptLoginBody,
    ) -> Result<AnsweredLoginView, ClientError> {
        let body = serde_json::to_vec(body).expect("this type has no failing parts");
        self.call(Method::POST, &path(challenge, "/accept"), Some(body))
            .await
    }

    /// `POST /v1/logins/{challenge}/reject`.
    pub async fn reject_login(
        &self,
        challenge: &str,
        body: &RejectLoginBody,
    ) -> Result<AnsweredLoginView, ClientError> {
        let body = serde_json::to_vec(body).expect("this type has no failing parts");
        self.call(Method::POST, &path(challenge, "/reject"), Some(body))
            .await
    }
}

fn path(challenge: &str, rest: &str) -> String {
    format!("/v1/logins/{}{rest}", encode(challenge))
}

impl From<LoginRequest> for LoginView {
    fn from(login: LoginRequest) -> LoginView {
        let scope = |(name, description)| ScopeView { name, description };
        LoginView {
            client_id: login.client,
            client_name: login.client_name,
            client_kind: login.client_kind,
            redirect_host: login.redirect_host,
            scopes: login.scopes.into_iter().map(scope).collect(),
            resource: login.resource,
            consent: login.consent,
            hints: login.hints,
            state: login.standing,
            created_at: login.created_at.to_string(),
            expires_at: login.expires_at.to_string(),
        }
    }
}

impl TryFrom<AcceptLoginBody> for DelegatedLogin {
    type Error = BodyProblem;

    fn try_from(body: AcceptLoginBody) -> Result<DelegatedLogin, BodyProblem> {
        let instant =
            |text: String| Timestamp::parse_rfc3339(&text).ok_or(KeyProblem::Instant("auth_time"));
        Ok(DelegatedLogin {
            subject: body.subject,
            account: body.account,
            scopes: body.scopes,
            auth_time: body.auth_time.map(instant).transpose()?,
            acr: body.acr,
            amr: body.amr,
        })
    }
}
