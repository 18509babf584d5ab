//! A verified caller of the session endpoints at the desk, and the answers it gets.
//!
//! Not here: which resources there are and whom they serve. Invariants: what a client began goes on
//! without it, on the control runtime; who came by a cookie is never told the session's token.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::SET_COOKIE;
use http::{Response, StatusCode};
use tokio::time::timeout;

use super::super::super::live::Worker;
use super::super::super::{Intake, Reason, csrf};
use super::super::{json, read};
use super::wire::{Ended, Given, Listed, Seen, ShownBy, View, Wish};
use crate::auth::{
    Credential, KeyDesk, NewSessionRequest, Principal, Refusal, SessionCookie, SessionError,
    SessionForm, SessionProblem, Unavailable,
};
use crate::id::SessionId;
use crate::media_type;
use crate::observe::{Actor, Causes};
use crate::store::{Cursor, SessionOwner, SessionParent, SessionRecord};

/// The longest body, in bytes.
const BODY: usize = 16 * 1024;

/// Sessions in one page.
const PAGE: usize = 100;
/// A second bound around the store's own deadlines.
const DEADLINE: Duration = Duration::from_secs(5);

/// A verified caller at the desk.
pub(super) struct Visit<'a> {
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
pub(super) enum Which {
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

impl<'a> Visit<'a> {
    pub(super) fn new(worker: &'a Worker, principal: Principal, intake: &Intake) -> Visit<'a> {
        Visit {
            worker,
            principal,
            address: intake.client(),
            cookie: ByCookie::of(worker, intake),
        }
    }

    pub(super) async fn give(&self, intake: Intake) -> Result<Response<Bytes>, Reason> {
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

    pub(super) async fn list(&self, query: Option<&str>) -> Result<Response<Bytes>, Reason> {
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

    pub(super) async fn end_all(&self) -> Result<Response<Bytes>, Reason> {
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

    pub(super) async fn show(&self, which: Which) -> Result<Response<Bytes>, Reason> {
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

    pub(super) async fn end(&self, which: Which) -> Result<Response<Bytes>, Reason> {
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
            tracing::warn!(error = %Causes(&error), "the store did not take part in a change to sessions");
            Reason::Unavailable(Unavailable::Store)
        }
        SessionError::Unknown(_) => Reason::NotFound,
    }
}
