//! `/v1/sessions`: sessions as operators list and end them.
//!
//! Not here: what a session is ([`crate::auth::SessionDesk`]); operators make none, clients do.

use bytes::Bytes;
use http::{Method, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};

use super::body::{ok, read};
use super::client::{AdminClient, ClientError, encode};
use super::page::decode;
use super::problem::AdminProblem;
use super::proof::{Wait, proven};
use crate::auth::{FleetDesk, SessionDesk};
use crate::id::{AccountId, KeyId, SessionId};
use crate::observe::Actor;
use crate::scope::ScopeSet;
use crate::store::{Cursor, SessionOwner, SessionParent, SessionRecord};

/// One session, for reading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the members of `SessionRecord`")]
pub struct SessionView {
    pub id: SessionId,
    /// The id of the key or token that gave it.
    pub parent: String,
    pub subject: String,
    pub account: Option<AccountId>,
    pub client: Option<String>,
    pub scopes: ScopeSet,
    pub created_at: String,
    pub expires_at: String,
    pub idle_timeout: Option<u64>,
    pub ended_at: Option<String>,
    pub allowed_ips: Vec<String>,
    pub label: String,
    pub hint: String,
}

/// One page of sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionList {
    /// Those that end first in front.
    pub sessions: Vec<SessionView>,
    /// Ask again with `?after=` this; `null` is the end.
    pub next: Option<String>,
}

/// Whose sessions: the body of `POST /v1/sessions/end`, and the query of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionSelection {
    /// Those that act for an account.
    Account(AccountId),
    /// All.
    Everyone,
    /// Those that a key gave.
    Key(KeyId),
}

/// The answer to `POST /v1/sessions/end`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedSessions {
    /// Those that were live until now.
    pub ended: Vec<SessionId>,
}

impl AdminClient {
    /// `GET /v1/sessions`.
    pub async fn sessions(
        &self,
        selection: &SessionSelection,
        after: Option<&str>,
    ) -> Result<SessionList, ClientError> {
        let whose = match selection {
            SessionSelection::Account(id) => format!("account={}", encode(id.as_str())),
            SessionSelection::Everyone => String::new(),
            SessionSelection::Key(id) => format!("key={}", encode(id.as_str())),
        };
        let after = after.map_or(String::new(), |after| format!("&after={}", encode(after)));
        self.call(Method::GET, &format!("/v1/sessions?{whose}{after}"), None)
            .await
    }

    /// `POST /v1/sessions/{id}/end`.
    pub async fn end_session(&self, id: &SessionId) -> Result<SessionView, ClientError> {
        let path = format!("/v1/sessions/{}/end", encode(id.as_str()));
        self.call(Method::POST, &path, Some(Vec::new())).await
    }

    /// `POST /v1/sessions/end`.
    pub async fn end_sessions(
        &self,
        selection: &SessionSelection,
    ) -> Result<EndedSessions, ClientError> {
        let body = serde_json::to_vec(selection).expect("this type has no failing parts");
        self.call(Method::POST, "/v1/sessions/end", Some(body))
            .await
    }
}

/// What there is.
pub(super) enum Resource {
    All,
    End,
    EndOne(SessionId),
    One(SessionId),
}

/// Sessions in one page.
const PAGE: usize = 500;

impl Resource {
    /// From what follows `/v1/sessions`.
    pub(super) fn parse(rest: &[&str]) -> Result<Resource, AdminProblem> {
        let id = |id| SessionId::parse(id).map_err(|_| AdminProblem::Path);
        match rest {
            [] => Ok(Resource::All),
            ["end"] => Ok(Resource::End),
            [one] => id(one).map(Resource::One),
            [one, "end"] => id(one).map(Resource::EndOne),
            _ => Err(AdminProblem::Path),
        }
    }

    pub(super) async fn carry_out(
        self,
        desk: &SessionDesk,
        fleet: &FleetDesk,
        actor: Actor,
        request: http::Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, AdminProblem> {
        match (self, request.method()) {
            (Resource::All, &Method::GET) => list(desk, request.uri().query()).await,
            (Resource::One(id), &Method::GET) => Ok(ok(&SessionView::from(&desk.show(&id).await?))),
            (Resource::EndOne(id), &Method::POST) => {
                let wait = Wait::of_query(request.uri().query())?;
                proven(fleet, wait, end(desk, actor, &id)).await
            }
            (Resource::End, &Method::POST) => {
                let wait = Wait::of_query(request.uri().query())?;
                let selection: SessionSelection = read(request).await?;
                proven(fleet, wait, end_all(desk, actor, selection)).await
            }
            (Resource::All | Resource::One(_), _) => Err(AdminProblem::Method("GET")),
            (Resource::End | Resource::EndOne(_), _) => Err(AdminProblem::Method("POST")),
        }
    }
}

async fn end(
    desk: &SessionDesk,
    actor: Actor,
    id: &SessionId,
) -> Result<SessionView, AdminProblem> {
    let ended = desk.end(id, actor).await?;
    desk.settle().await;
    Ok(SessionView::from(&ended))
}

async fn end_all(
    desk: &SessionDesk,
    actor: Actor,
    selection: SessionSelection,
) -> Result<EndedSessions, AdminProblem> {
    let ended = desk.end_all(&selection.into(), actor).await?;
    desk.settle().await;
    Ok(EndedSessions { ended })
}

async fn list(
    desk: &SessionDesk,
    query: Option<&str>,
) -> Result<Response<Full<Bytes>>, AdminProblem> {
    let (mut owner, mut after) = (SessionOwner::Everyone, None);
    for pair in query
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
    {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decode(value).ok_or(AdminProblem::Query("the query is not well encoded"))?;
        match name {
            "account" => {
                let id = AccountId::parse(&value);
                let id = id.map_err(|_| AdminProblem::Query("account: not an account id"))?;
                owner = SessionOwner::Account(id);
            }
            "after" => after = Some(Cursor::new(value)),
            "key" => {
                let id = KeyId::parse(&value);
                let id = id.map_err(|_| AdminProblem::Query("key: not a key id"))?;
                owner = SessionOwner::Parent(SessionParent::Key(id));
            }
            _ => return Err(AdminProblem::Query("only account, after and key are known")),
        }
    }
    let page = desk.list(&owner, after.as_ref(), PAGE).await?;
    Ok(ok(&SessionList {
        sessions: page.items.iter().map(SessionView::from).collect(),
        next: page.next.map(|next| next.as_str().to_owned()),
    }))
}

impl From<SessionSelection> for SessionOwner {
    fn from(selection: SessionSelection) -> SessionOwner {
        match selection {
            SessionSelection::Account(id) => SessionOwner::Account(id),
            SessionSelection::Everyone => SessionOwner::Everyone,
            SessionSelection::Key(id) => SessionOwner::Parent(SessionParent::Key(id)),
        }
    }
}

impl From<&SessionRecord> for SessionView {
    fn from(record: &SessionRecord) -> SessionView {
        SessionView {
            id: record.id.clone(),
            parent: match &record.parent {
                SessionParent::AccessToken(token) => token.id.to_string(),
                SessionParent::Key(id) => id.to_string(),
                SessionParent::Login(id) => id.to_string(),
            },
            subject: record.subject.clone(),
            account: record.account.clone(),
            client: record.client.clone(),
            scopes: record.scopes.clone(),
            created_at: record.created_at.to_string(),
            expires_at: record.expires_at.to_string(),
            idle_timeout: record.idle_timeout.map(|idle| idle.as_secs()),
            ended_at: record.ended_at.map(|at| at.to_string()),
            allowed_ips: record.allowed_ips.iter().map(ToString::to_string).collect(),
            label: record.label.clone(),
            hint: record.hint.clone(),
        }
    }
}
