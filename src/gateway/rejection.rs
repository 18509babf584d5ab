//! Every reason for which a request is not forwarded, and the one map from reason to answer.
//!
//! Clients see constants; the reason goes to the log, the metrics and `explain`. Invariant: no
//! wildcard arm, so a new reason does not compile until its answer is decided; `docs/errors.md`
//! lists what is here, and a test compares them.

use http::{HeaderValue, StatusCode};

use super::own_endpoints::Reader;
use crate::auth::{InvalidCredentials, Refusal, SessionProblem, Unavailable};
use crate::edge::Malformed;
use crate::upstream::{RequestBodyFault, UpstreamError};

/// Why a request is not forwarded, and what its answer needs besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    reason: Reason,
    /// `WWW-Authenticate`, where the reason has one that depends on the route.
    challenge: Option<HeaderValue>,
    /// `Allow`, for 405.
    allow: Option<HeaderValue>,
    /// The page elsewhere that may read the answer. Boxed: rare.
    reader: Option<Box<Reader>>,
}

/// Why a request is not forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The credential may not be used from this address.
    Address,
    /// Two credentials, one header twice, or one that is not well-formed.
    Credentials(InvalidCredentials),
    /// The session cookie in a request that no page of ours is known to have made.
    Csrf,
    /// A test key on a live upstream.
    Environment,
    /// An `Expect` other than `100-continue`.
    Expectation,
    /// `Host` and `:authority` differ, are missing, or are not `host[:port]`.
    Host,
    /// Clear text.
    HttpsRequired,
    /// A bug.
    Internal,
    /// Bytes that are not one unambiguous request.
    Malformed(Malformed),
    /// The path has routes, for other methods.
    Method,
    /// A method that this gateway does not know.
    MethodUnknown,
    /// The host is not covered by the certificate of this connection.
    Misdirected,
    /// No credential.
    Missing,
    /// No such route.
    NotFound,
    /// A path that two servers could read differently.
    Path,
    /// The body is longer than the route allows.
    PayloadTooLarge,
    /// The credential is not good.
    Refused(Refusal),
    /// The body broke off.
    RequestBody,
    /// `:scheme` is not `https`.
    Scheme,
    /// The credential is good and lacks a scope.
    Scope,
    /// A session that cannot be given.
    Session(SessionProblem),
    /// Whether the credential is good cannot be known now.
    Unavailable(Unavailable),
    /// A GET or HEAD with a body of undeclared length: it would be dropped on the way.
    UndeclaredBody,
    /// An upgrade that no route here allows and that could not be ignored safely.
    Upgrade,
    /// The upstream gave no usable answer.
    Upstream(UpstreamFault),
}

/// How an upstream failed, without the details that only logs need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamFault {
    /// Its answer could be read in two ways, or nobody asked for it.
    Answer,
    /// It cannot be reached.
    Connect,
    /// The connection broke off.
    Exchange,
    /// It did not answer in time.
    Timeout,
}

/// A status with its body, as interface.md §2 has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorAnswer {
    /// The status.
    pub status: StatusCode,
    /// The whole body.
    pub body: &'static str,
}

macro_rules! answers {
    ($($name:ident = $status:ident, $error:literal, $message:literal;)*) => {
        $(const $name: ErrorAnswer = ErrorAnswer {
            status: StatusCode::$status,
            body: concat!(r#"{"error":""#, $error, r#"","message":""#, $message, r#""}"#),
        };)*

        /// Every answer a rejection can have.
        pub const ALL_ANSWERS: &[ErrorAnswer] = &[$($name),*];
    };
}

answers! {
    BAD_REQUEST = BAD_REQUEST, "bad_request", "The request is malformed or ambiguous";
    UNAUTHORIZED = UNAUTHORIZED, "unauthorized", "Invalid or missing API key";
    FORBIDDEN = FORBIDDEN, "forbidden", "Insufficient permissions for this action";
    NOT_FOUND = NOT_FOUND, "not_found", "No such resource";
    METHOD_NOT_ALLOWED = METHOD_NOT_ALLOWED, "method_not_allowed", "The method is not allowed for this resource";
    REQUEST_TIMEOUT = REQUEST_TIMEOUT, "request_timeout", "The request took too long to arrive";
    PAYLOAD_TOO_LARGE = PAYLOAD_TOO_LARGE, "payload_too_large", "The request body is too large";
    URI_TOO_LONG = URI_TOO_LONG, "uri_too_long", "The request target is too long";
    EXPECTATION_FAILED = EXPECTATION_FAILED, "expectation_failed", "The expectation cannot be met";
    MISDIRECTED_REQUEST = MISDIRECTED_REQUEST, "misdirected_request", "This host is not served on this connection";
    UPGRADE_REQUIRED = UPGRADE_REQUIRED, "https_required", "HTTPS is required";
    RATE_LIMITED = TOO_MANY_REQUESTS, "rate_limited", "Too many requests";
    HEADERS_TOO_LARGE = REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", "The request header fields are too large";
    INTERNAL_ERROR = INTERNAL_SERVER_ERROR, "internal_error", "The gateway failed";
    NOT_IMPLEMENTED = NOT_IMPLEMENTED, "not_implemented", "The method or transfer coding is not implemented";
    BAD_GATEWAY = BAD_GATEWAY, "bad_gateway", "The upstream failed";
    SERVICE_UNAVAILABLE = SERVICE_UNAVAILABLE, "service_unavailable", "The service is temporarily unavailable";
    GATEWAY_TIMEOUT = GATEWAY_TIMEOUT, "gateway_timeout", "The upstream did not answer in time";
    HTTP_VERSION_NOT_SUPPORTED = HTTP_VERSION_NOT_SUPPORTED, "http_version_not_supported", "The HTTP version is not supported";
}

impl Rejection {
    /// With a challenge that depends on the route.
    pub fn with_challenge(reason: Reason, challenge: Option<HeaderValue>) -> Rejection {
        Rejection {
            reason,
            challenge,
            allow: None,
            reader: None,
        }
    }

    /// 405 with its `Allow`.
    pub fn method(allow: HeaderValue) -> Rejection {
        Rejection {
            reason: Reason::Method,
            challenge: None,
            allow: Some(allow),
            reader: None,
        }
    }

    /// The same, and a page elsewhere may read it.
    pub(super) fn read_by(self, reader: Reader) -> Rejection {
        Rejection {
            reader: Some(Box::new(reader)),
            ..self
        }
    }

    /// The page elsewhere that may read it.
    pub(super) fn reader(&self) -> Option<&Reader> {
        self.reader.as_deref()
    }

    /// Why.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// `Allow`.
    pub fn allow(&self) -> Option<&HeaderValue> {
        self.allow.as_ref()
    }

    /// `WWW-Authenticate`: the route's, or the constant that the reason has everywhere.
    pub fn challenge(&self) -> Option<HeaderValue> {
        match self.reason {
            Reason::Credentials(_) => Some(HeaderValue::from_static(
                r#"Bearer error="invalid_request""#,
            )),
            // What was asked for is not repeated.
            Reason::Session(SessionProblem::Scopes) => Some(HeaderValue::from_static(
                r#"Bearer error="insufficient_scope""#,
            )),
            _ => self.challenge.clone(),
        }
    }
}

impl From<Reason> for Rejection {
    fn from(reason: Reason) -> Rejection {
        Rejection {
            reason,
            challenge: None,
            allow: None,
            reader: None,
        }
    }
}

impl From<Malformed> for Rejection {
    fn from(malformed: Malformed) -> Rejection {
        Reason::Malformed(malformed).into()
    }
}

impl From<&UpstreamError> for Reason {
    fn from(error: &UpstreamError) -> Reason {
        match error {
            UpstreamError::Answer(_) => Reason::Upstream(UpstreamFault::Answer),
            UpstreamError::ClientBody(RequestBodyFault::Broken) => Reason::RequestBody,
            UpstreamError::ClientBody(RequestBodyFault::Timeout) => {
                Reason::Malformed(Malformed::BodyTimeout)
            }
            UpstreamError::ClientBody(RequestBodyFault::TooLarge) => Reason::PayloadTooLarge,
            UpstreamError::Connect(_) | UpstreamError::Tls(_) => {
                Reason::Upstream(UpstreamFault::Connect)
            }
            UpstreamError::Exchange(_) => Reason::Upstream(UpstreamFault::Exchange),
            UpstreamError::ConnectTimeout | UpstreamError::Timeout => {
                Reason::Upstream(UpstreamFault::Timeout)
            }
        }
    }
}

impl Reason {
    /// What the client sees.
    pub const fn answer(self) -> ErrorAnswer {
        match self {
            Reason::Address | Reason::Csrf | Reason::Environment | Reason::Scope => FORBIDDEN,
            Reason::Credentials(_)
            | Reason::Host
            | Reason::Path
            | Reason::RequestBody
            | Reason::Scheme
            | Reason::UndeclaredBody
            | Reason::Upgrade => BAD_REQUEST,
            Reason::Expectation => EXPECTATION_FAILED,
            Reason::HttpsRequired => UPGRADE_REQUIRED,
            Reason::Internal => INTERNAL_ERROR,
            Reason::Malformed(malformed) => malformed_answer(malformed),
            Reason::Method => METHOD_NOT_ALLOWED,
            Reason::MethodUnknown => NOT_IMPLEMENTED,
            Reason::Misdirected => MISDIRECTED_REQUEST,
            Reason::Missing | Reason::Refused(_) => UNAUTHORIZED,
            Reason::NotFound => NOT_FOUND,
            Reason::PayloadTooLarge => PAYLOAD_TOO_LARGE,
            Reason::Session(problem) => session_answer(problem),
            Reason::Unavailable(_) => SERVICE_UNAVAILABLE,
            Reason::Upstream(UpstreamFault::Timeout) => GATEWAY_TIMEOUT,
            Reason::Upstream(
                UpstreamFault::Answer | UpstreamFault::Connect | UpstreamFault::Exchange,
            ) => BAD_GATEWAY,
        }
    }

    /// The word for it in logs, metrics and `explain`.
    pub const fn label(self) -> &'static str {
        match self {
            Reason::Address => "address",
            Reason::Credentials(invalid) => invalid.label(),
            Reason::Csrf => "csrf",
            Reason::Environment => "environment",
            Reason::Expectation => "expectation",
            Reason::Host => "host",
            Reason::HttpsRequired => "https_required",
            Reason::Internal => "internal",
            Reason::Malformed(malformed) => malformed.label(),
            Reason::Method => "method",
            Reason::MethodUnknown => "method_unknown",
            Reason::Misdirected => "misdirected",
            Reason::Missing => "missing",
            Reason::NotFound => "not_found",
            Reason::Path => "path",
            Reason::PayloadTooLarge => "payload_too_large",
            Reason::Refused(refusal) => refusal.label(),
            Reason::RequestBody => "body_broken",
            Reason::Scheme => "scheme",
            Reason::Scope => "scope",
            Reason::Session(problem) => problem.label(),
            Reason::Unavailable(unavailable) => unavailable.label(),
            Reason::UndeclaredBody => "undeclared_body",
            Reason::Upgrade => "upgrade",
            Reason::Upstream(fault) => match fault {
                UpstreamFault::Answer => "upstream_answer",
                UpstreamFault::Connect => "upstream_connect",
                UpstreamFault::Exchange => "upstream_exchange",
                UpstreamFault::Timeout => "upstream_timeout",
            },
        }
    }
}

const fn session_answer(problem: SessionProblem) -> ErrorAnswer {
    match problem {
        SessionProblem::AllowedIps | SessionProblem::Chained | SessionProblem::Scopes => FORBIDDEN,
        SessionProblem::Body
        | SessionProblem::ContentType
        | SessionProblem::CookieOff
        | SessionProblem::IdleTimeout
        | SessionProblem::Label
        | SessionProblem::Ttl => BAD_REQUEST,
        SessionProblem::TooMany => RATE_LIMITED,
    }
}

const fn malformed_answer(malformed: Malformed) -> ErrorAnswer {
    match malformed {
        Malformed::BodyTimeout | Malformed::HeaderTimeout => REQUEST_TIMEOUT,
        Malformed::Chunk
        | Malformed::ContentLength
        | Malformed::ContentLengthWithTransferEncoding
        | Malformed::FieldName
        | Malformed::FieldValue
        | Malformed::FoldedLine
        | Malformed::Host
        | Malformed::LineEnd
        | Malformed::RequestLine
        | Malformed::Target
        | Malformed::Trailer
        | Malformed::TransferEncoding => BAD_REQUEST,
        Malformed::ContentLengthTooLarge => PAYLOAD_TOO_LARGE,
        Malformed::HeadersTooLarge => HEADERS_TOO_LARGE,
        Malformed::Method | Malformed::TransferEncodingUnknown => NOT_IMPLEMENTED,
        Malformed::UriTooLong => URI_TOO_LONG,
        Malformed::Version => HTTP_VERSION_NOT_SUPPORTED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_bodies_are_exact() {
        assert_eq!(
            Reason::Missing.answer(),
            ErrorAnswer {
                status: StatusCode::UNAUTHORIZED,
                body: r#"{"error":"unauthorized","message":"Invalid or missing API key"}"#,
            }
        );
        assert_eq!(
            Reason::Scope.answer(),
            ErrorAnswer {
                status: StatusCode::FORBIDDEN,
                body: r#"{"error":"forbidden","message":"Insufficient permissions for this action"}"#,
            }
        );
    }
}
