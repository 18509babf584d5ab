//! Why an admin request is not carried out, and the one map from that to an answer.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

use super::listener::json;
use super::wire::BodyProblem;
use crate::auth::{
    ExportError, ForgetError, ImportStopped, KeyError, SessionError, ShownError, ShownProblem,
    SigningKeyError, TokenError,
};
use crate::oauth::{LoginError, RegistryError};
use crate::observe::Causes;
use crate::store::StoreError;

/// Why an admin request is not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum AdminProblem {
    #[error("the request body did not arrive in time")]
    BodyDeadline,
    #[error("the request body broke off")]
    BodyBroken,
    #[error("the request body is larger than {0} bytes")]
    BodySize(usize),
    #[error(transparent)]
    Body(#[from] BodyProblem),
    #[error("this listener is not known under that Host")]
    Host,
    #[error(transparent)]
    Import(#[from] ImportStopped),
    #[error(transparent)]
    Export(#[from] ExportError),
    #[error("an export is under way: one at a time")]
    ExportUnderWay,
    #[error(transparent)]
    Forget(#[from] ForgetError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Login(#[from] LoginError),
    #[error("this resource answers {0}")]
    Method(&'static str),
    #[error("there is no such resource")]
    Path,
    #[error("{0}")]
    Query(&'static str),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("the configuration was not taken over; the old one stays:\n{0}")]
    Reload(String),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Shown(ShownProblem),
    #[error(transparent)]
    SigningKey(#[from] SigningKeyError),
    #[error(transparent)]
    Store(StoreError),
    #[error("the admin token is missing or wrong")]
    Token,
    #[error(transparent)]
    Tokens(#[from] TokenError),
}

impl AdminProblem {
    /// Status and error word. No wildcard: a new problem needs a decision.
    fn verdict(&self) -> (StatusCode, &'static str) {
        match self {
            AdminProblem::Body(_)
            | AdminProblem::BodyBroken
            | AdminProblem::Query(_)
            | AdminProblem::Key(KeyError::Problem(_))
            | AdminProblem::Login(LoginError::Problem(_))
            | AdminProblem::Registry(RegistryError::Problem(_))
            | AdminProblem::Session(SessionError::ParentEnded | SessionError::Problem(_))
            | AdminProblem::Shown(
                ShownProblem::ClientSecret
                | ShownProblem::Damaged
                | ShownProblem::Expired
                | ShownProblem::Nameless
                | ShownProblem::NotAccepted(_),
            )
            | AdminProblem::SigningKey(SigningKeyError::NoServer)
            | AdminProblem::Tokens(TokenError::Problem(_)) => {
                (StatusCode::BAD_REQUEST, "bad_request")
            }
            AdminProblem::BodyDeadline => (StatusCode::REQUEST_TIMEOUT, "request_timeout"),
            AdminProblem::BodySize(_) => (StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large"),
            AdminProblem::Host => (StatusCode::MISDIRECTED_REQUEST, "misdirected_request"),
            AdminProblem::Export(_)
            | AdminProblem::Forget(ForgetError::Store(_))
            | AdminProblem::Import(_)
            | AdminProblem::Key(KeyError::Store(_))
            | AdminProblem::Login(LoginError::Store(_))
            | AdminProblem::Registry(RegistryError::Hashing | RegistryError::Store(_))
            | AdminProblem::Session(SessionError::Store(_))
            | AdminProblem::Shown(ShownProblem::Unverified(_))
            | AdminProblem::SigningKey(SigningKeyError::Make | SigningKeyError::Store(_))
            | AdminProblem::Store(_)
            | AdminProblem::Tokens(TokenError::Store(_)) => {
                (StatusCode::SERVICE_UNAVAILABLE, "service_unavailable")
            }
            AdminProblem::Forget(ForgetError::Unknown(_))
            | AdminProblem::Key(KeyError::Unknown(_))
            | AdminProblem::Login(LoginError::NotDelegated | LoginError::Unknown)
            | AdminProblem::Path
            | AdminProblem::Registry(
                RegistryError::UnknownClient(_) | RegistryError::UnknownUser(_),
            )
            | AdminProblem::Session(SessionError::Unknown(_))
            | AdminProblem::Shown(ShownProblem::Unknown)
            | AdminProblem::Tokens(TokenError::UnknownClient(_) | TokenError::UnknownGrant(_)) => {
                (StatusCode::NOT_FOUND, "not_found")
            }
            AdminProblem::ExportUnderWay
            | AdminProblem::Forget(ForgetError::Reports(_))
            | AdminProblem::Login(LoginError::AnsweredOtherwise)
            | AdminProblem::SigningKey(SigningKeyError::Conflict) => {
                (StatusCode::CONFLICT, "conflict")
            }
            AdminProblem::Login(LoginError::Expired) => (StatusCode::GONE, "expired"),
            AdminProblem::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            AdminProblem::Reload(_) => (StatusCode::UNPROCESSABLE_ENTITY, "config_not_valid"),
            AdminProblem::Token => (StatusCode::UNAUTHORIZED, "unauthorized"),
        }
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let (status, error) = self.verdict();
        let mut body = serde_json::json!({ "error": error, "message": self.to_string() });
        if let AdminProblem::Import(stopped) = &self {
            body["report"] = serde_json::json!(stopped.report);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            tracing::warn!(error = %Causes(&self), "an admin request failed at the store");
        }
        let mut response = json(status, body.to_string());
        let headers = response.headers_mut();
        if let AdminProblem::Method(allow) = self {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if status == StatusCode::UNAUTHORIZED {
            // RFC 9110 §15.5.2: every 401 carries a challenge.
            let challenge = HeaderValue::from_static(r#"Bearer realm="portcullis-admin""#);
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl From<ShownError> for AdminProblem {
    fn from(error: ShownError) -> AdminProblem {
        match error {
            ShownError::Key(error) => AdminProblem::Key(error),
            ShownError::Problem(problem) => AdminProblem::Shown(problem),
            ShownError::Session(error) => AdminProblem::Session(error),
            ShownError::Store(error) => AdminProblem::Store(error),
            ShownError::Token(error) => AdminProblem::Tokens(error),
        }
    }
}
