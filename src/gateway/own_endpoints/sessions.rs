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

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderValue, SET_COOKIE};
use http::{Method, Response, StatusCode};
use tokio::time::timeout;

use super::super::authorize::Caller;
use super::super::live::Worker;
use super::super::record::Record;
use super::super::{Intake, Reason, Rejection, authenticate, count_denial, csrf, refusal};
use super::{json, read};
use crate::auth::{
    Credential, Failure, KeyDesk, NewSessionRequest, Principal, Refusal, SessionCookie,
    SessionError, SessionForm, SessionProblem, Unavailable,
};
use crate::id::SessionId;
use crate::media_type;
use crate::observe::Actor;
use crate::store::{Cursor, SessionOwner, SessionParent, SessionRecord};

mod wire;

use wire::{Ended, Given, Listed, Seen, ShownBy, View, Wish};

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
        let route = worker.live().session_route();
        record.route(route);
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
        let visit = Visit {
            worker,
            principal,
            address: intake.client(),
            cookie: ByCookie::of(worker, &intake),
        };
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

/// A verified caller at the desk.
struct Visit<'a> {
    worker: &'a Worker,
    principal: Principal,
    address: IpAddr,
    /// Where a cookie is what it came by.
    cookie: Option<ByCookie<'a>>,
}

/// What a page is told whose cookie came along.
struct ByCookie<'a> {
    cookie: &'a SessionCookie,
    csrf_token: String,
}

/// A session that is asked for.
enum Which {
    /// The one that the caller shows.
    Current,
    /// One that the caller gave, or that it is.
    One(SessionId),
}

impl<'a> ByCookie<'a> {
    /// `None` where a header won, or there is no cookie.
    fn of(worker: &'a Worker, intake: &Intake) -> Option<ByCookie<'a>> {
        let live = worker.live();
        let cookie = live.settings().sessions.cookie.as_ref()?;
        let authenticator = live.authenticator();
        match cookie.credential(&intake.headers, authenticator.form()) {
            Ok(Credential::Session(session)) => Some(ByCookie {
                cookie,
                csrf_token: authenticator.csrf().token(session),
            }),
            _ => None,
        }
    }
}

impl Visit<'_> {
    async fn give(&self, intake: Intake) -> Result<Response<Bytes>, Reason> {
        let live = self.worker.live();
        let authenticator = live.authenticator();
        let credential = Credential::extract(&intake.headers, authenticator.form());
        let secret = authenticator.shown_secret(&credential.map_err(Reason::Credentials)?);
        let cookie = live.settings().sessions.cookie.as_ref();
        let wanted = cookie.map(|cookie| csrf::check_cookie_is_wanted(&intake, cookie));
        let wish = wish(intake, self.worker).await?;
        if wish.form == SessionForm::Cookie {
            wanted.transpose()?;
        }
        let (principal, actor, form) = (self.principal.clone(), self.actor(), wish.form);
        let settings = live.settings().sessions.clone();
        let desk = self.desk();
        let given = self.done(async move {
            let made = (desk.sessions()).create(&principal, secret, wish, &settings, actor);
            made.await
        });
        let (session, token) = given.await?;
        let life = session.expires_at.since(session.created_at);
        let csrf_token = authenticator.csrf().token(token.expose());
        let answer = |shown_by| {
            let given = Given {
                shown_by,
                expires_in: life.as_secs(),
                session: View::from(&session),
            };
            json(StatusCode::CREATED, &given)
        };
        match (form, cookie) {
            (SessionForm::Cookie, Some(cookie)) => {
                let mut answer = answer(ShownBy::Cookie {
                    csrf_token: &csrf_token,
                });
                let set = cookie.set(&token, life);
                answer.headers_mut().insert(SET_COOKIE, set);
                Ok(answer)
            }
            // The desk gives none where there is no cookie.
            (SessionForm::Cookie, None) => Err(Reason::Internal),
            (SessionForm::Bearer, _) => Ok(answer(ShownBy::Bearer {
                session_token: token.expose(),
                token_type: "Bearer",
            })),
        }
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

    async fn find(&self, which: Which) -> Result<SessionRecord, Reason> {
        match which {
            Which::Current => self.current().await,
            Which::One(id) => self.one(id).await,
        }
    }

    async fn show(&self, which: Which) -> Result<Response<Bytes>, Reason> {
        let session = self.find(which).await?;
        let by = self.cookie.as_ref();
        let seen = Seen {
            csrf_token: by.map(|by| by.csrf_token.as_str()),
            session: View::from(&session),
        };
        Ok(json(StatusCode::OK, &seen))
    }

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

    async fn end(&self, which: Which) -> Result<Response<Bytes>, Reason> {
        let id = self.find(which).await?.id;
        let (actor, desk) = (self.actor(), self.desk());
        self.done(async move { desk.sessions().end(&id, actor).await })
            .await?;
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        // Who came by a cookie can only have ended the session in it.
        if let Some(by) = &self.cookie {
            response.headers_mut().insert(SET_COOKIE, by.cookie.clear());
        }
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
