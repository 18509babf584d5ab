//! Sessions: temporary access that a key, an access token or a login gave.
//!
//! A session is found by the digest of its token in one step, as a key is. Not here: what it may do
//! now, which is for whoever also knows its parent. Invariants: a session that works is on its
//! parent's list, which has a cap; an ended one stays known as ended until it would have ended by
//! itself, and is denied before it is marked.

use std::time::Duration;

use ipnet::IpNet;

use crate::clock::Timestamp;
use crate::environment::Environment;
use crate::id::{AccountId, CredentialId, FamilyId, KeyId, SessionId, SubjectId};
use crate::scope::ScopeSet;
use crate::secret::Digest;

use super::shelf::{self, Changed, Cursor, Index, Listing, Member, Page, Place, Plan};
use super::{Denial, DenialKind, Shelf, StoreError};

/// What gave a session.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SessionParent {
    /// An access token.
    AccessToken(ParentToken),
    /// An API key.
    Key(KeyId),
    /// A login of a user of our own.
    Login(SubjectId),
}

/// What of an access token decides whether a session that it gave still holds.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParentToken {
    /// The token's id in logs: its `jti`, or what stands for it.
    pub id: CredentialId,
    /// Its `iss`.
    pub issuer: String,
    /// Its grant, where it is of our own making.
    pub family: Option<FamilyId>,
    /// Its `iat`: denials by subject, client and issuer compare with it.
    pub issued_at: Timestamp,
    /// Its `exp`.
    pub expires_at: Timestamp,
}

/// What the store knows of one session. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionRecord {
    /// The public id.
    pub id: SessionId,
    /// What gave it.
    pub parent: SessionParent,
    /// Who it acts as.
    pub subject: String,
    /// The account it acts for, where there is one.
    pub account: Option<AccountId>,
    /// The OAuth client, where the parent names one.
    pub client: Option<String>,
    /// The one resource of ours that it is for, which is its parent's; `None` is any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Live or test.
    pub environment: Environment,
    /// What it may do at most.
    pub scopes: ScopeSet,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
    /// After how long without use it ends; `None` is never. Its last use is in
    /// [`UsageStore::last_seen`](super::UsageStore::last_seen).
    pub idle_timeout: Option<Duration>,
    /// When it was ended early, if it was.
    pub ended_at: Option<Timestamp>,
    /// Client addresses it may be used from; empty is any.
    pub allowed_ips: Vec<IpNet>,
    /// A label for people.
    pub label: String,
    /// Enough of the token to recognise it by.
    pub hint: String,
}

/// A session to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSession {
    /// The digest of the whole token.
    pub digest: Digest,
    /// The record.
    pub record: SessionRecord,
    /// How many sessions its parent may have with this one.
    pub cap: usize,
}

/// What became of a [`NewSession`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum CreateSession {
    /// Written.
    Created,
    /// Nothing written: there is one of this digest or id.
    Exists,
    /// Nothing written: its parent has as many as it may.
    TooMany,
}

/// What became of ending a session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum EndSession {
    /// It had been ended before; its first end stands.
    AlreadyEnded(SessionRecord),
    /// It was live until now, or would have been.
    Ended(SessionRecord),
    /// There is no such session (any more).
    Unknown,
}

/// Whose sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionOwner {
    /// Those that act for an account.
    Account(AccountId),
    /// All.
    Everyone,
    /// Those that one credential gave.
    Parent(SessionParent),
}

/// The verbs on sessions.
#[async_trait::async_trait]
pub trait SessionStore: Send + Sync + 'static {
    /// Writes a session, lists it and publishes its digest.
    async fn create_session(&self, session: NewSession) -> Result<CreateSession, StoreError>;

    /// The session of a token.
    async fn session_by_digest(&self, digest: &Digest)
    -> Result<Option<SessionRecord>, StoreError>;

    /// The session of an id.
    async fn session(&self, id: &SessionId) -> Result<Option<SessionRecord>, StoreError>;

    /// Sessions that were not ended early, those that end first in front; some may just have
    /// expired.
    async fn sessions(
        &self,
        owner: &SessionOwner,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<SessionRecord>, StoreError>;

    /// Denies a session and marks it ended.
    async fn end_session(&self, id: &SessionId, at: Timestamp) -> Result<EndSession, StoreError>;

    /// Ends each session of an owner that is there when the call begins. The answer has those
    /// that were live until now.
    async fn end_sessions(
        &self,
        owner: &SessionOwner,
        at: Timestamp,
    ) -> Result<Vec<SessionId>, StoreError>;
}

#[async_trait::async_trait]
impl<S: Shelf> SessionStore for S {
    async fn create_session(&self, session: NewSession) -> Result<CreateSession, StoreError> {
        let NewSession {
            digest,
            record,
            cap,
        } = session;
        let (at, until) = (record.created_at, Some(record.expires_at));
        // First the way from the id to the digest, which leads nowhere until the record is there.
        let (own, claimed) = (digest.to_text(), by_id(&record.id));
        let claim = shelf::change(self, claimed, at, move |found| match found {
            Some(_) => Ok(Plan::keep(CreateSession::Exists)),
            None => Plan::write(CreateSession::Created, &own, until),
        });
        if claim.await? == CreateSession::Exists {
            return Ok(CreateSession::Exists);
        }
        let way = by_id(&record.id);
        let write = self.change(by_digest(&digest), at, move |found| match found {
            Some(_) => Ok(Plan::keep(CreateSession::Exists)),
            None => Ok(Plan::write(CreateSession::Created, &record, until)?
                .listed(listings(&record, Some(cap)))
                .published(digest)),
        });
        let answer = match write.await? {
            Changed::Done(answer) => answer,
            Changed::Full => CreateSession::TooMany,
        };
        if answer != CreateSession::Created {
            // Whoever is refused leaves nothing behind, however often they ask. This call made the
            // way, or it would have ended above.
            shelf::change(self, way, at, |_| Ok(Plan::remove(()))).await?;
        }
        Ok(answer)
    }

    async fn session_by_digest(
        &self,
        digest: &Digest,
    ) -> Result<Option<SessionRecord>, StoreError> {
        shelf::read(self, by_digest(digest)).await
    }

    async fn session(&self, id: &SessionId) -> Result<Option<SessionRecord>, StoreError> {
        let Some(digest) = digest_of(self, id).await? else {
            return Ok(None);
        };
        let found: Option<SessionRecord> = shelf::read(self, by_digest(&digest)).await?;
        Ok(found.filter(|record| record.id == *id))
    }

    async fn sessions(
        &self,
        owner: &SessionOwner,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<SessionRecord>, StoreError> {
        let mut after = after.cloned();
        let mut items = Vec::new();
        // Lists name ids; the records lie under digests. So each part of a list is two reads.
        while items.len() < limit {
            let wanted = limit - items.len();
            let keep = |_: &String| true;
            let digests =
                shelf::page(self, index(owner), after.as_ref(), wanted, id_place, keep).await?;
            let places = digests.items.iter().map(|text| Place::new("s", text));
            for text in self.fetch(places.collect()).await? {
                let record = shelf::parse::<SessionRecord>(text.as_deref())?;
                items.extend(record.filter(|record| record.ended_at.is_none()));
            }
            after = digests.next;
            if after.is_none() {
                break;
            }
        }
        Ok(Page { items, next: after })
    }

    async fn end_session(&self, id: &SessionId, at: Timestamp) -> Result<EndSession, StoreError> {
        let Some(digest) = digest_of(self, id).await? else {
            return Ok(EndSession::Unknown);
        };
        let id = id.clone();
        let decide = move |found: Option<&str>| end(shelf::parse(found)?, &id, at);
        shelf::change(self, by_digest(&digest), at, decide).await
    }

    async fn end_sessions(
        &self,
        owner: &SessionOwner,
        at: Timestamp,
    ) -> Result<Vec<SessionId>, StoreError> {
        let mut ended = Vec::new();
        let all = self.sessions(owner, None, usize::MAX).await?;
        for session in all.items {
            if let EndSession::Ended(record) = self.end_session(&session.id, at).await? {
                ended.push(record.id);
            }
        }
        Ok(ended)
    }
}

fn end(
    found: Option<SessionRecord>,
    id: &SessionId,
    at: Timestamp,
) -> Result<Plan<EndSession>, StoreError> {
    let Some(mut record) = found.filter(|record| record.id == *id) else {
        return Ok(Plan::keep(EndSession::Unknown));
    };
    let lists = listings(&record, None);
    if record.ended_at.is_some() {
        // Again off the lists, should that have been left undone.
        return Ok(Plan::keep(EndSession::AlreadyEnded(record)).unlisted(lists));
    }
    record.ended_at = Some(at);
    let denial = Denial {
        kind: DenialKind::Session,
        id: id.to_string(),
        at,
    };
    let until = Some(record.expires_at);
    Ok(
        Plan::write(EndSession::Ended(record.clone()), &record, until)?
            .denied(denial)
            .unlisted(lists),
    )
}

async fn digest_of(shelf: &impl Shelf, id: &SessionId) -> Result<Option<Digest>, StoreError> {
    let text: Option<String> = shelf::read(shelf, by_id(id)).await?;
    let digest = text.map(|text| Digest::from_text(&text));
    let corrupt = || StoreError::Corrupt("the digest of a session's id".into());
    digest.map(|digest| digest.ok_or_else(corrupt)).transpose()
}

fn by_digest(digest: &Digest) -> Place {
    Place::new("s", digest.to_text())
}

fn by_id(id: &SessionId) -> Place {
    id_place(id.as_str())
}

fn id_place(id: &str) -> Place {
    Place::new("sid", id)
}

/// The parent's list first: only it has a cap.
fn listings(record: &SessionRecord, cap: Option<usize>) -> Vec<Listing> {
    let until = Some(record.expires_at);
    let listing = |owner, cap| Listing {
        index: index(&owner),
        member: Member::new(until, &record.id),
        until,
        cap,
    };
    let mut lists = vec![listing(SessionOwner::Parent(record.parent.clone()), cap)];
    let account = record.account.clone().map(SessionOwner::Account);
    lists.extend(account.map(|account| listing(account, None)));
    lists.push(listing(SessionOwner::Everyone, None));
    lists
}

fn index(owner: &SessionOwner) -> Index {
    match owner {
        SessionOwner::Account(account) => Index::new("sessions-account", account),
        SessionOwner::Everyone => Index::new("sessions", ""),
        SessionOwner::Parent(SessionParent::AccessToken(token)) => {
            Index::new("sessions-token", format!("{} {}", token.id, token.issuer))
        }
        SessionOwner::Parent(SessionParent::Key(key)) => Index::new("sessions-key", key),
        SessionOwner::Parent(SessionParent::Login(user)) => Index::new("sessions-login", user),
    }
}
