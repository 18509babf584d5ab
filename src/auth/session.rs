//! Session tokens: from a text of the right shape to a principal.
//!
//! A session is judged together with what gave it: its scopes and addresses are those that both
//! have, it is for its parent's resource, it ends when either ends, and whatever denies the one
//! denies the other. Not here: making
//! and ending sessions ([`super::session_desk`]). Invariants: expiry, revocation in both directions
//! and idleness are judged on every use, also of a cached record; a session is found idle only by a
//! store that was just asked, since another gateway may have seen it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::time::Instant;

use crate::clock::{Clock, Timestamp};
use crate::id::{AccountId, CredentialId, KeyId, SessionId};
use crate::secret::{Digest, Peppers};
use crate::store::{
    DenialKind, KeyRecord, ParentToken, SessionParent, SessionRecord, Store, StoreError,
};

use super::cache::{Kept, RecordCache};
use super::principal::{Holder, Identity};
use super::revocation::Revocation;
use super::sight::{Occasion, Sight, Witness};
use super::usage::UsageBook;
use super::{AccessTokens, CredentialKind, Failure, Principal, Refusal};

/// Verifies session tokens.
#[derive(Clone, Debug)]
pub(super) struct Sessions {
    /// Sessions are too short-lived to be moved: they are looked for under each.
    pub(super) peppers: Peppers,
    pub(super) cache: Arc<RecordCache<Session>>,
    pub(super) revocation: Arc<Revocation>,
    pub(super) witness: Witness,
    pub(super) clock: Clock,
}

/// A session as the cache keeps it, with what it needs of its parent.
#[derive(Debug)]
pub(super) struct Session {
    digest: Digest,
    id: SessionId,
    standing: Standing,
    parent: Parent,
    idle_timeout: Option<Duration>,
    sight: Sight,
    loaded_at: Instant,
    identity: Arc<Holder>,
}

/// Whether the store has ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Ended,
    Live,
}

/// What gave a session, as far as its end is the session's.
#[derive(Debug)]
enum Parent {
    /// There is no such key, or it is of a kind that gives no sessions (yet).
    Gone,
    Key {
        id: String,
        standing: Standing,
    },
    Token(ParentToken),
}

/// How often the store hears that a session is in use: by so much may gateways differ about its
/// idleness.
const SIGHT: Duration = Duration::from_secs(5);
/// An idle session whose record is older than this is looked up anew.
const IDLE_RECHECK: Duration = Duration::from_secs(1);

impl Sessions {
    /// The same under other peppers: what is cached stays.
    pub(super) fn with_peppers(&self, peppers: Peppers) -> Sessions {
        Sessions {
            peppers,
            ..self.clone()
        }
    }

    /// Who holds this session.
    pub(super) async fn verify(
        &self,
        text: &str,
        access_tokens: &AccessTokens,
        occasion: Occasion,
    ) -> Result<Principal, Failure> {
        self.revocation.require_fresh()?;
        let digest = self.peppers.current().digest(text);
        let session = match self.cache.find(&digest, &self.revocation).await? {
            Some(session) => session,
            // Boxed: rare.
            None => Box::pin(self.find_by_others(text)).await?,
        };
        match self.judge(&session, access_tokens, occasion) {
            Err(Failure::Refused(Refusal::Idle)) if session.loaded_at.elapsed() >= IDLE_RECHECK => {
                // Boxed: rare, and large.
                let again = Box::pin(self.cache.reload(session.digest)).await;
                self.revocation.require_fresh()?;
                let again = again.map_err(Failure::Unavailable)?;
                let again = again.ok_or(Failure::Refused(Refusal::Unknown))?;
                self.judge(&again, access_tokens, occasion)
            }
            verdict => verdict,
        }
    }

    /// The store may know it by another pepper.
    async fn find_by_others(&self, text: &str) -> Result<Arc<Session>, Failure> {
        for pepper in self.peppers.others() {
            let digest = pepper.digest(text);
            if let Some(session) = self.cache.find(&digest, &self.revocation).await? {
                return Ok(session);
            }
        }
        Err(Failure::Refused(Refusal::Unknown))
    }

    fn judge(
        &self,
        session: &Session,
        access_tokens: &AccessTokens,
        occasion: Occasion,
    ) -> Result<Principal, Failure> {
        let now = self.clock.now();
        let identity = &session.identity;
        let trusted = |issuer: &str| access_tokens.trusts(issuer);
        let refusal = if session.has_ended() || self.is_denied(session, access_tokens) {
            Refusal::Revoked
        } else if identity.expires_at.is_some_and(|end| end <= now) {
            Refusal::Expired
        } else if identity.not_before.is_some_and(|start| now < start) {
            Refusal::NotYetValid
        } else if identity
            .issuer
            .as_deref()
            .is_some_and(|name| !trusted(name))
        {
            Refusal::Issuer
        } else if session.is_idle(now) {
            Refusal::Idle
        } else {
            let principal = Principal::new(Arc::clone(identity));
            if occasion.is_use_of(&principal) {
                session.sight.raise(now);
                identity.see(now);
                let until = identity.expires_at;
                self.witness
                    .note(&session.sight, session.digest, now, SIGHT, until);
            }
            return Ok(principal);
        };
        Err(Failure::Refused(refusal))
    }

    /// Both directions: the session by itself, and by everything its parent can be denied by.
    fn is_denied(&self, session: &Session, access_tokens: &AccessTokens) -> bool {
        let identity = &session.identity;
        let account = identity.account.as_ref().map(AccountId::as_str);
        let own = [
            (DenialKind::Session, Some(session.id.as_str())),
            (DenialKind::Account, account),
        ];
        let parent = match &session.parent {
            Parent::Gone => [const { (DenialKind::Key, None) }; 6],
            Parent::Key { id, .. } => {
                let mut marks = [(DenialKind::Key, None); 6];
                marks[0].1 = Some(id.as_str());
                marks
            }
            Parent::Token(token) => [
                (DenialKind::Jti, Some(token.id.as_str())),
                (
                    DenialKind::Grant,
                    token.family.as_ref().map(|family| family.as_str()),
                ),
                (DenialKind::Client, identity.client_id.as_deref()),
                (DenialKind::Subject, Some(identity.subject.as_str())),
                (
                    DenialKind::Subject,
                    access_tokens.own_subject(&identity.subject),
                ),
                (DenialKind::Issuer, identity.issuer.as_deref()),
            ],
        };
        let marks = own.into_iter().chain(parent);
        let marks = marks.filter_map(|(kind, id)| Some((kind, id?)));
        self.revocation.denies(identity.issued_at, marks)
    }
}

impl Kept for Session {
    const CACHE: &'static str = "session";

    async fn load(
        store: &dyn Store,
        usage: &UsageBook,
        digest: Digest,
    ) -> Result<Option<Session>, StoreError> {
        let Some(record) = store.session_by_digest(&digest).await? else {
            return Ok(None);
        };
        let key = match &record.parent {
            SessionParent::Key(id) => store.key(id).await?,
            SessionParent::AccessToken(_) | SessionParent::Login(_) => None,
        };
        let seen = match record.idle_timeout {
            Some(_) => store.last_seen(vec![digest]).await?.pop().flatten(),
            None => None,
        };
        let session = Session::new(digest, record, key.as_ref(), seen);
        Ok(Some(match key {
            Some(key) => session.counted_for(&key.id, usage),
            None => session,
        }))
    }

    fn succeed(&mut self, before: &Session) {
        let here = std::mem::replace(&mut self.sight, before.sight.clone());
        self.sight.raise(here.last());
    }
}

impl Session {
    fn new(
        digest: Digest,
        record: SessionRecord,
        key: Option<&KeyRecord>,
        seen: Option<Timestamp>,
    ) -> Session {
        let sight = Sight::default();
        sight.raise(seen.unwrap_or(record.created_at).max(record.created_at));
        let ended = |at: Option<Timestamp>| match at {
            Some(_) => Standing::Ended,
            None => Standing::Live,
        };
        Session {
            digest,
            id: record.id.clone(),
            standing: ended(record.ended_at),
            parent: match (&record.parent, key) {
                (SessionParent::Key(id), Some(key)) => Parent::Key {
                    id: id.to_string(),
                    standing: ended(key.revoked_at),
                },
                (SessionParent::AccessToken(token), _) => Parent::Token(token.clone()),
                (SessionParent::Key(_), None) | (SessionParent::Login(_), _) => Parent::Gone,
            },
            idle_timeout: record.idle_timeout,
            sight,
            loaded_at: Instant::now(),
            identity: Arc::new(Holder::from(identity(record, key))),
        }
    }

    /// What it does counts for the key that gave it.
    fn counted_for(self, key: &KeyId, usage: &UsageBook) -> Session {
        let identity = &**self.identity;
        let counts = usage.counts(key, &identity.scopes);
        Session {
            identity: Arc::new(Holder::counted(identity.clone(), counts)),
            ..self
        }
    }

    fn has_ended(&self) -> bool {
        let parent = match &self.parent {
            Parent::Gone => Standing::Ended,
            Parent::Key { standing, .. } => *standing,
            Parent::Token(_) => Standing::Live,
        };
        self.standing == Standing::Ended || parent == Standing::Ended
    }

    fn is_idle(&self, now: Timestamp) -> bool {
        let idle = now.since(self.sight.last());
        self.idle_timeout.is_some_and(|timeout| idle >= timeout)
    }
}

/// What session and parent have in common.
fn identity(record: SessionRecord, key: Option<&KeyRecord>) -> Identity {
    let (issuer, grant, issued_at) = match &record.parent {
        SessionParent::AccessToken(token) => (
            Some(token.issuer.clone()),
            token.family.as_ref().map(ToString::to_string),
            token.issued_at,
        ),
        SessionParent::Key(_) | SessionParent::Login(_) => {
            let made = key.map(|key| key.created_at);
            (None, None, made.unwrap_or(record.created_at))
        }
    };
    let ends = key.and_then(|key| key.expires_at);
    Identity {
        kind: CredentialKind::Session,
        credential_id: CredentialId::from(&record.id),
        subject: record.subject,
        account: record.account,
        client_id: record.client,
        issuer,
        resource: record.resource.map(Arc::from),
        grant,
        jti: None,
        issued_at,
        scopes: match key {
            Some(key) => record.scopes.intersection(&key.scopes),
            None => record.scopes,
        },
        environment: record.environment,
        allowed_ips: match key {
            Some(key) => narrowed(record.allowed_ips, &key.allowed_ips),
            None => record.allowed_ips,
        },
        not_before: key.and_then(|key| key.not_before),
        expires_at: Some(ends.map_or(record.expires_at, |end| end.min(record.expires_at))),
    }
}

/// The addresses that both lists have. A session was made within its parent's list; should that have
/// changed so that they have nothing in common, nobody is left, which an empty list would not say.
fn narrowed(own: Vec<IpNet>, parent: &[IpNet]) -> Vec<IpNet> {
    const NOBODY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
    if parent.is_empty() {
        return own;
    }
    if own.is_empty() {
        return parent.to_vec();
    }
    let within = |net: &IpNet, nets: &[IpNet]| nets.iter().any(|outer| outer.contains(net));
    let inner = own.iter().filter(|net| within(net, parent));
    let outer = parent.iter().filter(|net| within(net, &own));
    let both: Vec<IpNet> = inner.chain(outer).copied().collect();
    match both.is_empty() {
        true => vec![IpNet::from(IpAddr::from(NOBODY))],
        false => both,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        let net = |text: &&str| text.parse().expect("a network");
        texts.iter().map(net).collect()
    }

    #[test]
    fn addresses_are_those_that_session_and_parent_have_in_common() {
        for (own, parent, both) in [
            (&[][..], &[][..], &[][..]),
            (&[], &["10.0.0.0/8"], &["10.0.0.0/8"]),
            (&["10.1.0.0/16"], &[], &["10.1.0.0/16"]),
            (&["10.1.0.0/16"], &["10.0.0.0/8"], &["10.1.0.0/16"]),
            (&["10.0.0.0/8"], &["10.1.0.0/16"], &["10.1.0.0/16"]),
            (&["10.0.0.0/8"], &["192.0.2.0/24"], &["0.0.0.0/32"]),
        ] {
            let found = narrowed(nets(own), &nets(parent));
            assert_eq!(found, nets(both), "{own:?} and {parent:?}");
        }
    }
}
