//! The session desk: makes, lists and ends sessions, for the API's own endpoints, the admin API and
//! the command line alike.
//!
//! Not here: whether a session admits a request ([`super::session`]), and any transport. Invariants:
//! a session never may more, from or at more places, or for longer than what gave it; a session gives no
//! session; its token leaves the desk once; every change leaves an audit line.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::clock::{Clock, Timestamp};
use crate::id::SessionId;
use crate::observe::{Actor, AuditAction, AuditEvent, AuditLog, AuditOutcome};
use crate::scope::ScopeSet;
use crate::secret::{LivePeppers, Secret};
use crate::store::{
    CreateSession, Cursor, EndSession, NewSession, Page, SessionOwner, SessionParent,
    SessionRecord, Store, StoreError,
};
use crate::token::{OpaqueFormat, OpaqueKind};

use super::{Principal, SessionCookie, ShownSecret};

/// Manages sessions on one store.
#[derive(Clone)]
pub struct SessionDesk {
    pub(super) store: Arc<dyn Store>,
    pub(super) format: OpaqueFormat,
    pub(super) peppers: LivePeppers,
    pub(super) clock: Clock,
    pub(super) audit: AuditLog,
}

/// What the config says about sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSettings {
    /// Where the endpoints are, without a slash at its end.
    pub path: String,
    /// How long a session lives where nobody says so.
    pub ttl: Duration,
    /// The longest that may be asked for.
    pub max_ttl: Duration,
    /// The cookie that a session may be given in; `None` is that there are no such sessions.
    pub cookie: Option<SessionCookie>,
}

/// How the holder of a session shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SessionForm {
    /// `Authorization: Bearer …`.
    #[default]
    Bearer,
    /// In the session cookie of a browser.
    Cookie,
}

/// A wish for a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewSessionRequest {
    /// What it may do; `None` is all that its parent may.
    pub scopes: Option<ScopeSet>,
    /// How long it lives; `None` is as long as the config says, or its parent if that is shorter.
    pub ttl: Option<Duration>,
    /// After how long without use it ends.
    pub idle_timeout: Option<Duration>,
    /// Client addresses it may be used from; empty is all that its parent may.
    pub allowed_ips: Vec<IpNet>,
    /// A label for people: up to 200 characters, no control characters.
    pub label: String,
    /// How it is shown; its token works in no other place.
    pub form: SessionForm,
}

/// Why a wish for a session is not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SessionProblem {
    /// An address beyond those of the parent.
    #[error("allowed_ips: beyond the addresses of the credential that asks")]
    AllowedIps,
    /// Not a JSON body of the right form.
    #[error("the body is not what this resource takes")]
    Body,
    /// A session asks, or another credential that can give none.
    #[error("this credential gives no sessions")]
    Chained,
    /// Not a JSON body at all.
    #[error("the content type is not application/json")]
    ContentType,
    /// A session in a cookie, where the config has none.
    #[error("cookie: `sessions.cookie` is not set")]
    CookieOff,
    /// Below a minute, or longer than the session itself.
    #[error("idle_timeout: from 60 seconds to the session's own length")]
    IdleTimeout,
    /// The label.
    #[error("label: at most 200 characters, no control characters")]
    Label,
    /// Scopes that the parent does not have.
    #[error("scopes: beyond those of the credential that asks")]
    Scopes,
    /// The parent has as many as it may.
    #[error(
        "this credential has {} sessions, and may have no more",
        SessionDesk::MOST
    )]
    TooMany,
    /// Below a minute, or above what the config allows.
    #[error("ttl: from 60 seconds to `sessions.max_ttl`")]
    Ttl,
}

/// Why the desk could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// What asks does not work any more; this gateway has only not heard of it yet.
    #[error("the credential that asks has ended")]
    ParentEnded,
    /// The wish cannot be granted.
    #[error(transparent)]
    Problem(#[from] SessionProblem),
    /// The store did not take part; whether a change was written is not known.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no session of this id (any more).
    #[error("there is no session {0}")]
    Unknown(SessionId),
}

/// The shortest life and the shortest idle time.
const SHORTEST: Duration = Duration::from_secs(60);
/// The longest label, in characters.
const LABEL_CHARS: usize = 200;
/// How long a change by an operator waits for its audit line to reach the disk.
const AUDIT_WAIT: Duration = Duration::from_secs(2);

impl SessionProblem {
    /// The word for it in logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            SessionProblem::AllowedIps => "session_allowed_ips",
            SessionProblem::Body => "session_body",
            SessionProblem::Chained => "session_chained",
            SessionProblem::ContentType => "session_content_type",
            SessionProblem::CookieOff => "session_cookie_off",
            SessionProblem::IdleTimeout => "session_idle_timeout",
            SessionProblem::Label => "session_label",
            SessionProblem::Scopes => "session_scopes",
            SessionProblem::TooMany => "session_too_many",
            SessionProblem::Ttl => "session_ttl",
        }
    }
}

impl SessionDesk {
    /// The most live sessions of one credential.
    pub const MOST: usize = 100;

    /// Makes a session of `parent`, which showed `secret` where it is a key. The token is in this
    /// answer and nowhere else.
    pub async fn create(
        &self,
        parent: &Principal,
        secret: Option<ShownSecret>,
        request: NewSessionRequest,
        settings: &SessionSettings,
        actor: Actor,
    ) -> Result<(SessionRecord, Secret), SessionError> {
        let minted = self.format.mint(match request.form {
            SessionForm::Bearer => OpaqueKind::Session,
            SessionForm::Cookie => OpaqueKind::CookieSession,
        });
        let record = self.draft(parent, request, settings, minted.hint)?;
        let new = NewSession {
            digest: self.peppers.load().current().digest(minted.secret.expose()),
            record: record.clone(),
            cap: SessionDesk::MOST,
        };
        match self.store.create_session(new).await? {
            CreateSession::Created => {}
            CreateSession::TooMany => return Err(SessionProblem::TooMany.into()),
            // Random bits do not repeat: the store is not sound.
            CreateSession::Exists => {
                let text = "a new random session exists already".into();
                return Err(StoreError::Corrupt(text).into());
            }
        }
        if let Some(secret) = secret
            && !secret.works(&*self.store, self.clock.now()).await?
        {
            let _ended = self.store.end_session(&record.id, self.clock.now()).await?;
            return Err(SessionError::ParentEnded);
        }
        self.audit
            .record(event(AuditAction::SessionCreate, actor, &record));
        Ok((record, minted.secret))
    }

    /// Live sessions of an owner, those that end first in front.
    pub async fn list(
        &self,
        owner: &SessionOwner,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<SessionRecord>, SessionError> {
        let mut page = self.store.sessions(owner, after, limit).await?;
        let now = self.clock.now();
        page.items.retain(|session| now < session.expires_at);
        Ok(page)
    }

    /// One session, live or ended.
    pub async fn show(&self, id: &SessionId) -> Result<SessionRecord, SessionError> {
        let session = self.store.session(id).await?;
        session.ok_or_else(|| SessionError::Unknown(id.clone()))
    }

    /// One session, if this credential gave it: others are not told that it is there.
    pub async fn show_of(
        &self,
        parent: &SessionParent,
        id: &SessionId,
    ) -> Result<SessionRecord, SessionError> {
        let session = self.show(id).await?;
        if session.parent == *parent {
            Ok(session)
        } else {
            Err(SessionError::Unknown(id.clone()))
        }
    }

    /// Ends one session. To repeat it is safe.
    pub async fn end(&self, id: &SessionId, actor: Actor) -> Result<SessionRecord, SessionError> {
        match self.store.end_session(id, self.clock.now()).await? {
            EndSession::Ended(record) => {
                self.audit
                    .record(event(AuditAction::SessionEnd, actor, &record));
                Ok(record)
            }
            EndSession::AlreadyEnded(record) => Ok(record),
            EndSession::Unknown => Err(SessionError::Unknown(id.clone())),
        }
    }

    /// Ends every session of an owner that is there now. Those that were live are told.
    pub async fn end_all(
        &self,
        owner: &SessionOwner,
        actor: Actor,
    ) -> Result<Vec<SessionId>, SessionError> {
        let ended = self.store.end_sessions(owner, self.clock.now()).await?;
        for id in &ended {
            let (action, outcome) = (AuditAction::SessionEnd, AuditOutcome::Done);
            self.audit
                .record(AuditEvent::new(action, actor, outcome).credential(id));
        }
        Ok(ended)
    }

    /// Ends those sessions of an owner that were made up to a moment.
    pub async fn end_made_until(
        &self,
        owner: &SessionOwner,
        until: Timestamp,
        actor: Actor,
    ) -> Result<Vec<SessionId>, SessionError> {
        let all = self.store.sessions(owner, None, usize::MAX).await?;
        let old = all
            .items
            .into_iter()
            .filter(|session| session.created_at <= until);
        let mut ended = Vec::new();
        for session in old {
            ended.push(self.end(&session.id, actor).await?.id);
        }
        Ok(ended)
    }

    /// Waits a little until what was done is in the audit log; operators do, clients do not.
    pub async fn settle(&self) {
        if !self.audit.settle(AUDIT_WAIT).await {
            tracing::warn!("the audit lines of a change to sessions are not on disk yet");
        }
    }

    /// Checks a wish against its parent and turns it into the record to write.
    fn draft(
        &self,
        principal: &Principal,
        request: NewSessionRequest,
        settings: &SessionSettings,
        hint: String,
    ) -> Result<SessionRecord, SessionProblem> {
        if request.form == SessionForm::Cookie && settings.cookie.is_none() {
            return Err(SessionProblem::CookieOff);
        }
        let now = self.clock.now();
        let parent = principal.as_parent().ok_or(SessionProblem::Chained)?;
        let scopes = request.scopes.unwrap_or_else(|| principal.scopes().clone());
        if !scopes.is_subset_of(principal.scopes()) {
            return Err(SessionProblem::Scopes);
        }
        let allowed_ips = within_parent(request.allowed_ips, principal.allowed_ips())?;
        let ttl = lifetime(request.ttl, settings)?;
        if (request.idle_timeout).is_some_and(|idle| idle < SHORTEST || idle > ttl) {
            return Err(SessionProblem::IdleTimeout);
        }
        let ends = now.plus(ttl);
        Ok(SessionRecord {
            id: SessionId::random(),
            parent,
            subject: principal.subject().to_owned(),
            account: principal.account().cloned(),
            client: principal.client_id().map(str::to_owned),
            resource: principal.resource().map(str::to_owned),
            environment: principal.environment(),
            scopes,
            created_at: now,
            expires_at: principal.expires_at().map_or(ends, |end| end.min(ends)),
            idle_timeout: request.idle_timeout,
            ended_at: None,
            allowed_ips,
            label: label(request.label)?,
            hint,
        })
    }
}

impl std::fmt::Debug for SessionDesk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionDesk").finish_non_exhaustive()
    }
}

fn lifetime(
    asked: Option<Duration>,
    settings: &SessionSettings,
) -> Result<Duration, SessionProblem> {
    match asked {
        None => Ok(settings.ttl),
        Some(ttl) if (SHORTEST..=settings.max_ttl).contains(&ttl) => Ok(ttl),
        Some(_) => Err(SessionProblem::Ttl),
    }
}

fn within_parent(asked: Vec<IpNet>, parent: &[IpNet]) -> Result<Vec<IpNet>, SessionProblem> {
    let within = |net: &IpNet| parent.is_empty() || parent.iter().any(|outer| outer.contains(net));
    if !asked.iter().all(within) {
        return Err(SessionProblem::AllowedIps);
    }
    Ok(match asked.is_empty() {
        true => parent.to_vec(),
        false => asked,
    })
}

fn label(text: String) -> Result<String, SessionProblem> {
    if text.chars().count() <= LABEL_CHARS && !text.chars().any(char::is_control) {
        Ok(text)
    } else {
        Err(SessionProblem::Label)
    }
}

fn event(action: AuditAction, actor: Actor, record: &SessionRecord) -> AuditEvent {
    let event = AuditEvent::new(action, actor, AuditOutcome::Done)
        .credential(&record.id)
        .grants(record.scopes.clone(), Some(record.expires_at));
    match &record.account {
        Some(account) => event.account(account.clone()),
        None => event,
    }
}
