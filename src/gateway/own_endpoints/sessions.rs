//! `/auth/sessions`: a key or an access token gives temporary access, and takes it back.
//!
//! ```text
//! POST   /auth/sessions           201 {"session_token","session_id",…}   by a key or an access token
//!                                 201 {"csrf_token","session_id",…}       and Set-Cookie, if so wished
//! GET    /auth/sessions           200 {"sessions":[…],"next":…}           its own sessions
//! DELETE /auth/sessions           200 {"ended":3}                         all of them
//! GET    /auth/sessions/{id}      200 {"session_id",…}                    one of them
//! DELETE /auth/sessions/{id}      204
//! GET    /auth/sessions/current   200                                     by the session itself
//! DELETE /auth/sessions/current   204
//! ```
//!
//! Invariants: a session sees and ends only itself; who did not give a session is told that there is
//! none; a body is JSON by its content type, so that no HTML form can send one; a session that a
//! cookie carries is made anew for each cookie, and its token is in no body.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Method, Response};

use super::super::authorize::Caller;
use super::super::live::Worker;
use super::super::record::Record;
use super::super::{Intake, Reason, Rejection, authenticate, count_denial, refusal};
use super::cross_origin::{Reader, is_preflight};
use crate::auth::{Failure, Principal, SessionProblem};
use crate::id::SessionId;

mod visit;
mod wire;

use visit::{Visit, Which};

/// What there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::gateway) enum Resource {
    /// All sessions of the caller.
    All,
    /// The session that the caller shows.
    Current,
    /// One session of the caller.
    One(SessionId),
    /// Nothing is there.
    Unknown,
}

impl Resource {
    /// What a path means, if it is one of these endpoints'. A path owns its trailing slash.
    pub(super) fn of(path: &str, base: &str) -> Option<Resource> {
        let rest = path.strip_prefix(base)?;
        match rest.strip_suffix('/').unwrap_or(rest).strip_prefix('/') {
            None if rest.is_empty() || rest == "/" => Some(Resource::All),
            // `/auth/sessionsx` is somebody else's.
            None => None,
            Some("current") => Some(Resource::Current),
            Some(id) if id.contains('/') => Some(Resource::Unknown),
            Some(id) => Some(SessionId::parse(id).map_or(Resource::Unknown, Resource::One)),
        }
    }

    pub(super) fn allow(&self) -> &'static str {
        match self {
            Resource::All => "DELETE, GET, POST",
            Resource::Current | Resource::One(_) | Resource::Unknown => "DELETE, GET",
        }
    }

    /// 404 and 405 come before 401, as everywhere.
    pub(super) fn takes(&self, method: &Method) -> Result<(), Rejection> {
        match (self, method) {
            (Resource::Unknown, _) => Err(Reason::NotFound.into()),
            (_, &Method::DELETE | &Method::GET) | (Resource::All, &Method::POST) => Ok(()),
            _ => Err(Rejection::method(HeaderValue::from_static(self.allow()))),
        }
    }

    /// A session gives and lists none, and knows only itself; only a session is the current one.
    pub(super) fn serves(&self, principal: &Principal) -> Result<(), Reason> {
        let is_parent = principal.as_parent().is_some();
        let session = principal.session_id();
        let (serves, otherwise) = match self {
            Resource::All => (is_parent, Reason::Session(SessionProblem::Chained)),
            Resource::Current => (session.is_some(), Reason::NotFound),
            Resource::One(id) => (is_parent || session.as_ref() == Some(id), Reason::NotFound),
            Resource::Unknown => (false, Reason::NotFound),
        };
        if serves { Ok(()) } else { Err(otherwise) }
    }

    pub(super) async fn answer(
        self,
        worker: &Worker,
        intake: Intake,
        record: &mut Record,
    ) -> Result<Response<Bytes>, Rejection> {
        record.route(worker.live().session_route());
        let cookie = worker.live().settings().sessions.cookie.as_ref();
        let Some(reader) = Reader::of(&intake.headers, cookie) else {
            return self.carry_out(worker, intake, record).await.map(unstored);
        };
        let answer = match is_preflight(&intake) {
            true => Ok(reader.preflight(self.allow())),
            false => self.carry_out(worker, intake, record).await,
        };
        match answer.map(unstored) {
            Ok(mut answer) => {
                reader.admit(answer.headers_mut());
                Ok(answer)
            }
            Err(rejection) => Err(rejection.read_by(reader)),
        }
    }

    async fn carry_out(
        self,
        worker: &Worker,
        intake: Intake,
        record: &mut Record,
    ) -> Result<Response<Bytes>, Rejection> {
        let route = worker.live().session_route();
        let method = intake.method.clone();
        self.takes(&method)?;
        let caller = authenticate(worker, &intake, route, record).await?;
        let Caller::Known(principal) = caller else {
            return Err(Reason::Internal.into());
        };
        if !principal.allows_address(intake.client()) {
            return Err(Reason::Address.into());
        }
        // Before the body: who can get none need not send one.
        self.serves(&principal)?;
        let visit = Visit::new(worker, principal, &intake);
        let answer = match (self, method) {
            (Resource::All, Method::POST) => visit.give(intake).await,
            (Resource::All, Method::GET) => visit.list(intake.query()).await,
            (Resource::All, _) => visit.end_all().await,
            (Resource::Current, Method::GET) => visit.show(Which::Current).await,
            (Resource::Current, _) => visit.end(Which::Current).await,
            (Resource::One(id), Method::GET) => visit.show(Which::One(id)).await,
            (Resource::One(id), _) => visit.end(Which::One(id)).await,
            (Resource::Unknown, _) => Err(Reason::NotFound),
        };
        answer.map_err(|reason| {
            // As at every other route.
            if let Reason::Refused(why) = reason {
                return refusal(Failure::Refused(why), route);
            }
            let rejection = Rejection::from(reason);
            if reason == Reason::Csrf {
                count_denial(worker, route, &rejection);
            }
            rejection
        })
    }
}

/// Nobody is to keep an answer, or to take it for a script: it is about credentials.
fn unstored(mut answer: Response<Bytes>) -> Response<Bytes> {
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_an_endpoint_only_at_a_segment_boundary() {
        let of = |path| Resource::of(path, "/auth/sessions");
        assert_eq!(of("/auth/sessions"), Some(Resource::All));
        assert_eq!(of("/auth/sessions/"), Some(Resource::All));
        assert_eq!(of("/auth/sessions/current"), Some(Resource::Current));
        let one = SessionId::parse("ses_1").map(Resource::One).ok();
        assert_eq!(of("/auth/sessions/ses_1"), one);
        assert_eq!(of("/auth/sessions/ses_1/"), one);
        assert_eq!(of("/auth/sessions/ses_1/x"), Some(Resource::Unknown));
        for other in [
            "/auth/sessionsx",
            "/auth",
            "/auth/session",
            "/v1/auth/sessions",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
