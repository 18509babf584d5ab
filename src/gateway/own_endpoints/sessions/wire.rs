//! The bodies of the session endpoints, as JSON has them.
//!
//! Invariant: a session token is in one of them only, [`Given`], and there only where no cookie
//! carries it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::auth::{NewSessionRequest, SessionForm, SessionProblem, parse_allowed_ip};
use crate::id::SessionId;
use crate::scope::{Scope, ScopeSet};
use crate::store::SessionRecord;

/// The body of `POST`. Durations are in seconds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
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
    /// The token is to be set as a cookie.
    #[serde(default)]
    cookie: bool,
}

/// The answer to `POST`: the only form in which a session token leaves the gateway, besides the
/// cookie.
#[derive(Serialize)]
pub(super) struct Given<'a> {
    #[serde(flatten)]
    pub(super) shown_by: ShownBy<'a>,
    pub(super) expires_in: u64,
    #[serde(flatten)]
    pub(super) session: View<'a>,
}

/// What its holder needs to show the session.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum ShownBy<'a> {
    Bearer {
        session_token: &'a str,
        token_type: &'static str,
    },
    /// The browser has the token; its page needs this.
    Cookie { csrf_token: &'a str },
}

/// One session, for reading.
#[derive(Serialize)]
pub(super) struct View<'a> {
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

/// One session, for a page that was loaded anew and shows its cookie.
#[derive(Serialize)]
pub(super) struct Seen<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) csrf_token: Option<&'a str>,
    #[serde(flatten)]
    pub(super) session: View<'a>,
}

/// One page of a list.
#[derive(Serialize)]
pub(super) struct Listed<'a> {
    pub(super) sessions: Vec<View<'a>>,
    pub(super) next: Option<&'a str>,
}

/// How many were ended.
#[derive(Serialize)]
pub(super) struct Ended {
    pub(super) ended: usize,
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
            form: match wish.cookie {
                true => SessionForm::Cookie,
                false => SessionForm::Bearer,
            },
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
