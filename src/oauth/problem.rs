//! Every error of the endpoints that clients call, and the one map from error to answer.
//!
//! Invariant: a description is a constant of the characters that RFC 6749 §5.2 allows; nothing a
//! client sent is in it.

use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};

use super::{Refusal, answer};
use crate::observe::Causes;
use crate::store::StoreError;

/// Why a request of a client is not granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// Unknown client, wrong or missing secret, wrong method of showing it, disabled.
    InvalidClient(Refusal),
    /// The code or refresh token is not good for this client.
    InvalidGrant(Refusal),
    /// A parameter is missing, repeated or malformed.
    InvalidRequest(&'static str),
    /// Scopes that there are not, or that the client or grant does not have.
    InvalidScope(ScopeFault),
    /// A resource that there is not, or that the grant is not for (RFC 8707 §2).
    InvalidTarget,
    /// Too many failures: when to come back.
    TooManyFailures(Duration),
    /// The client may not use this grant.
    UnauthorizedClient,
    /// Cannot be known now.
    Unavailable,
    /// No such grant here.
    UnsupportedGrantType,
    /// Not a kind of token that is revoked here (RFC 7009 §2.2.1).
    UnsupportedTokenType,
}

/// What is wrong with the scopes that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScopeFault {
    /// Not a list of scopes.
    Malformed,
    /// None, and there is no default for this client.
    Missing,
    /// One that this client may not have.
    NotAllowed,
    /// One that was not granted, or is not any more.
    NotGranted,
    /// One that there is not.
    Unknown,
}

impl ScopeFault {
    /// What a client is told: the same words, whatever it sent.
    pub(super) const fn description(self) -> &'static str {
        match self {
            ScopeFault::Malformed => "the scope is not a list of names with one space between two",
            ScopeFault::Missing => {
                "no scope was asked for, and there is no default for this client"
            }
            ScopeFault::NotAllowed => "this client may not ask for one of these scopes",
            ScopeFault::NotGranted => "one of these scopes was not granted, or none still is",
            ScopeFault::Unknown => "one of these scopes is not known here",
        }
    }

    pub(super) const fn refusal(self) -> Refusal {
        match self {
            ScopeFault::Malformed => Refusal::ScopeMalformed,
            ScopeFault::Missing => Refusal::ScopeMissing,
            ScopeFault::NotAllowed => Refusal::ScopeNotAllowed,
            ScopeFault::NotGranted => Refusal::ScopeNotGranted,
            ScopeFault::Unknown => Refusal::ScopeUnknown,
        }
    }
}

impl Problem {
    /// The whole answer.
    pub(super) fn answer(&self, realm: &str) -> Response<Bytes> {
        let (status, error, description) = self.parts();
        let mut body = serde_json::json!({ "error": error });
        if let Some(description) = description {
            body["error_description"] = description.into();
        }
        let mut response = answer::json(status, &body);
        let headers = response.headers_mut();
        match self {
            // RFC 6749 §5.2, RFC 9110 §15.5.2.
            Problem::InvalidClient(_) => {
                let challenge = HeaderValue::try_from(format!(r#"Basic realm="{realm}""#));
                let challenge = challenge.expect("the config allows only visible ASCII in a realm");
                headers.insert(WWW_AUTHENTICATE, challenge);
            }
            Problem::TooManyFailures(wait) => {
                headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
            }
            Problem::Unavailable => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }

    fn parts(&self) -> (StatusCode, &'static str, Option<&'static str>) {
        let bad = StatusCode::BAD_REQUEST;
        match self {
            Problem::InvalidClient(_) => (
                StatusCode::UNAUTHORIZED,
                "invalid_client",
                Some("client authentication failed"),
            ),
            Problem::InvalidGrant(_) => (
                bad,
                "invalid_grant",
                Some("the code or refresh token is invalid, expired, revoked or not this client's"),
            ),
            Problem::InvalidRequest(description) => (bad, "invalid_request", Some(*description)),
            Problem::InvalidScope(fault) => (bad, "invalid_scope", Some(fault.description())),
            Problem::InvalidTarget => (bad, "invalid_target", None),
            Problem::TooManyFailures(_) => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                Some("too many failed attempts"),
            ),
            Problem::UnauthorizedClient => (bad, "unauthorized_client", None),
            Problem::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "temporarily_unavailable",
                None,
            ),
            Problem::UnsupportedGrantType => (bad, "unsupported_grant_type", None),
            Problem::UnsupportedTokenType => (bad, "unsupported_token_type", None),
        }
    }
}

/// Told to the operator; client and user see a constant.
pub(super) fn note_outage(error: &StoreError) {
    tracing::warn!(cause = %Causes(error), "the authorization server could not reach the store");
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        note_outage(&error);
        Problem::Unavailable
    }
}
