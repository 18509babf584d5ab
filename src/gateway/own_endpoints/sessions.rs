//! `/auth/sessions`: a key or an access token gives temporary access, and takes it back.
//!
//! ```text
//! POST   /auth/sessions           201 {"session_token","session_id",…}   by a key or an access token
//! GET    /auth/sessions           200 {"sessions":[…],"next":…}           its own sessions
//! DELETE /auth/sessions           200 {"ended":3}                         all of them
//! GET    /auth/sessions/{id}      200 {"session_id",…}                    one of them
//! DELETE /auth/sessions/{id}      204
//! GET    /auth/sessions/current   200                                     by the session itself
//! DELETE /auth/sessions/current   204
//! ```
//!
//! Invariants: a session sees and ends only itself; who did not give a session is told that there is
//! none; a body is JSON by its content type, so that no HTML form can send one.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderValue;
use http::{Method, Response, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::super::authorize::Caller;
use super::super::live::Worker;
use super::super::record::Record;
use super::super::{Intake, Reason, Rejection, authenticate, refusal};
use super::{json, read};
use crate::auth::{
    Credential, Failure, KeyDesk, NewSessionRequest, Principal, Refusal, SessionError,
    SessionProblem, Unavailable, parse_allowed_ip,
};
use crate::id::SessionId;
use crate::media_type;
use crate::observe::Actor;
use crate::scope::{Scope, ScopeSet};
use crate::store::{Cursor, SessionOwner, SessionParent, SessionRecord};

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

/// The longest body, in bytes.
const BODY: usize = 16 * 1024;

/// The body of `POST`. Durations are in seconds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    #[serde(default)]
    scopes: Option<Vec<String>>,
    #[serde(default)]
    ttl: Option<u64>,
    #[serde(default)]
    idle_timeout: Option<u64>,
    #[serde(default)]
    allowed_ips: Vec<String>,
    #[serde(default)]
    label: String,
}

/// The answer to `POST`: the only form in which a session token leaves the gateway.
#[derive(Serialize)]
struct Given<'a> {
    session_token: &'a str,
    token_type: &'static str,
    expires_in: u64,
    #[serde(flatten)]
    session: View<'a>,
}

/// One session, for reading.
#[derive(Serialize)]
struct View<'a> {
    session_id: &'a SessionId,
    scopes: &'a ScopeSet,
    created_at: String,
    expires_at: String,
    idle_timeout: Option<u64>,
    ended_at: Option<String>,
    allowed_ips: &'a [ipnet::IpNet],
    label: &'a str,
    hint: &'a str,
}

/// One page of a list.
#[derive(Serialize)]
struct Listed<'a> {
    sessions: Vec<View<'a>>,
    next: Option<&'a str>,
}

/// How many were ended.
#[derive(Serialize)]
struct Ended {
    ended: usize,
}

/// Sessions in one page.
const PAGE: usize = 100;
/// A second bound around the store's own deadlines.
const DEADLINE: Duration = Duration::from_secs(5);

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

    fn allow(&self) -> &'static str {
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
        let (live, route) = (worker.live(), worker.live().session_route());
        record.route(route);
        let method = intake.method.clone();
        self.takes(&method)?;
        let caller = authenticate(live.authenticator(), &intake, route, record).await?;
        let Caller::Known(principal) = caller else {
            return Err(Reason::Internal.into());
        };
        if !principal.allows_address(intake.client()) {
            return Err(Reason::Address.into());
        }
        // Before the body: who can get none need not send one.
        self.serves(&principal)?;
        let visit = Visit {
            worker,
            principal,
            address: intake.client(),
        };
        Ok(match (self, method) {
            (Resource::All, Method::POST) => match visit.give(intake).await {
                // As at every other route.
                Err(Reason::Refused(why)) => return Err(refusal(Failure::Refused(why), route)),
                given => given?,
            },
            (Resource::All, Method::GET) => visit.list(intake.query()).await?,
            (Resource::All, _) => visit.end_all().await?,
            (Resource::Current, Method::GET) => shown(&visit.current().await?),
            (Resource::Current, _) => visit.end(visit.current().await?.id).await?,
            (Resource::One(id), Method::GET) => shown(&visit.one(id).await?),
            (Resource::One(id), _) => visit.end(visit.one(id).await?.id).await?,
            (Resource::Unknown, _) => return Err(Reason::NotFound.into()),
        })
    }
}

/// A verified caller at the desk.
struct Visit<'a> {
    worker: &'a Worker,
    principal: Principal,
    address: IpAddr,
}

impl Visit<'_> {
    async fn give(&self, intake: Intake) -> Result<Response<Bytes>, Reason> {
        let authenticator = self.worker.live().authenticator();
        let credential = Credential::extract(&intake.headers, authenticator.form());
        let secret = authenticator.shown_secret(&credential.map_err(Reason::Credentials)?);
        let wish = wish(intake, self.worker).await?;
        let (principal, actor) = (self.principal.clone(), self.actor());
        let settings = self.worker.live().settings().sessions.clone();
        let desk = self.desk();
        let given = async move {
            let made = (desk.sessions()).create(&principal, secret, wish, &settings, actor);
            made.await
        };
        let (session, token) = self.done(given).await?;
        let given = Given {
            session_token: token.expose(),
            token_type: "Bearer",
            expires_in: session.expires_at.since(session.created_at).as_secs(),
            session: View::from(&session),
        };
        Ok(json(StatusCode::CREATED, &given))
    }

    async fn list(&self, query: Option<&str>) -> Result<Response<Bytes>, Reason> {
        let after = after(query)?;
        let owner = SessionOwner::Parent(self.parent()?);
        let desk = self.desk();
        let page = async move { desk.sessions().list(&owner, after.as_ref(), PAGE).await };
        let page = self.done(page).await?;
        let body = Listed {
            sessions: page.items.iter().map(View::from).collect(),
            next: page.next.as_ref().map(Cursor::as_str),
        };
        Ok(json(StatusCode::OK, &body))
    }

    async fn end_all(&self) -> Result<Response<Bytes>, Reason> {
        let (owner, actor) = (SessionOwner::Parent(self.parent()?), self.actor());
        let desk = self.desk();
        let ended = async move { desk.sessions().end_all(&owner, actor).await };
        let ended = self.done(ended).await?.len();
        Ok(json(StatusCode::OK, &Ended { ended }))
    }

    /// The session that the caller shows. Others have none.
    async fn current(&self) -> Result<SessionRecord, Reason> {
        let id = self.principal.session_id().ok_or(Reason::NotFound)?;
        let desk = self.desk();
        self.done(async move { desk.sessions().show(&id).await })
            .await
    }

    /// One that the caller gave, or that it is.
    async fn one(&self, id: SessionId) -> Result<SessionRecord, Reason> {
        if self.principal.session_id().as_ref() == Some(&id) {
            return self.current().await;
        }
        let Some(parent) = self.principal.as_parent() else {
            return Err(Reason::NotFound);
        };
        let desk = self.desk();
        self.done(async move { desk.sessions().show_of(&parent, &id).await })
            .await
    }

    async fn end(&self, id: SessionId) -> Result<Response<Bytes>, Reason> {
        let (actor, desk) = (self.actor(), self.desk());
        self.done(async move { desk.sessions().end(&id, actor).await })
            .await?;
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        Ok(response)
    }

    fn parent(&self) -> Result<SessionParent, Reason> {
        let parent = self.principal.as_parent();
        parent.ok_or(Reason::Session(SessionProblem::Chained))
    }

    fn actor(&self) -> Actor {
        Actor::Client {
            address: self.address,
        }
    }

    fn desk(&self) -> Arc<KeyDesk> {
        Arc::clone(self.worker.desk())
    }

    /// Has something done on the control runtime, where it goes on when the client goes away.
    async fn done<T: Send + 'static>(
        &self,
        errand: impl Future<Output = Result<T, SessionError>> + Send + 'static,
    ) -> Result<T, Reason> {
        let errand = async { timeout(DEADLINE, errand).await };
        match self.worker.control().spawn(errand).await {
            Ok(Ok(done)) => done.map_err(reason),
            Ok(Err(_)) => Err(Reason::Unavailable(Unavailable::Store)),
            // The panic hook has told of it.
            Err(_) => Err(Reason::Internal),
        }
    }
}

/// The body of a wish.
async fn wish(intake: Intake, worker: &Worker) -> Result<NewSessionRequest, Reason> {
    if !media_type::is(&intake.headers, "application/json") {
        return Err(Reason::Session(SessionProblem::ContentType));
    }
    let bytes = read(intake.body, BODY, &intake.peer, worker).await?;
    // serde would take a list for the members in order.
    let object = bytes.trim_ascii_start().starts_with(b"{");
    let wish: Option<Wish> = serde_json::from_slice(&bytes).ok().filter(|_| object);
    let wish = wish.ok_or(Reason::Session(SessionProblem::Body))?;
    NewSessionRequest::try_from(wish).map_err(Reason::Session)
}

/// `?after=` with what the page before said; nothing else.
fn after(query: Option<&str>) -> Result<Option<Cursor>, Reason> {
    let Some(query) = query.filter(|query| !query.is_empty()) else {
        return Ok(None);
    };
    let plain = |text: &&str| {
        text.bytes()
            .all(|b| b.is_ascii_graphic() && b != b'%' && b != b'&')
    };
    let cursor = query.strip_prefix("after=").filter(plain);
    let cursor = cursor.ok_or(Reason::Session(SessionProblem::Body))?;
    Ok(Some(Cursor::new(cursor)))
}

impl TryFrom<Wish> for NewSessionRequest {
    type Error = SessionProblem;

    fn try_from(wish: Wish) -> Result<NewSessionRequest, SessionProblem> {
        let scopes = wish.scopes.map(|names| {
            let scopes = names.iter().map(|name| Scope::parse(name));
            scopes.collect::<Result<ScopeSet, _>>()
        });
        let nets = wish.allowed_ips.iter().map(|text| parse_allowed_ip(text));
        Ok(NewSessionRequest {
            scopes: scopes.transpose().map_err(|_| SessionProblem::Body)?,
            ttl: wish.ttl.map(Duration::from_secs),
            idle_timeout: wish.idle_timeout.map(Duration::from_secs),
            allowed_ips: nets
                .collect::<Result<_, _>>()
                .map_err(|_| SessionProblem::Body)?,
            label: wish.label,
        })
    }
}

impl<'a> From<&'a SessionRecord> for View<'a> {
    fn from(session: &'a SessionRecord) -> View<'a> {
        View {
            session_id: &session.id,
            scopes: &session.scopes,
            created_at: session.created_at.to_string(),
            expires_at: session.expires_at.to_string(),
            idle_timeout: session.idle_timeout.map(|idle| idle.as_secs()),
            ended_at: session.ended_at.map(|at| at.to_string()),
            allowed_ips: &session.allowed_ips,
            label: &session.label,
            hint: &session.hint,
        }
    }
}

fn shown(session: &SessionRecord) -> Response<Bytes> {
    json(StatusCode::OK, &View::from(session))
}

/// What a failure at the desk is to the client.
fn reason(error: SessionError) -> Reason {
    match error {
        SessionError::ParentEnded => Reason::Refused(Refusal::Expired),
        SessionError::Problem(problem) => Reason::Session(problem),
        SessionError::Store(error) => {
            tracing::warn!(%error, "the store did not take part in a change to sessions");
            Reason::Unavailable(Unavailable::Store)
        }
        SessionError::Unknown(_) => Reason::NotFound,
    }
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
