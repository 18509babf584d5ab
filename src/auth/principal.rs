//! The proof that a credential was verified.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use ipnet::IpNet;

use super::told::{Told, ToldTexts};
use super::usage::UseCounts;
use crate::clock::Timestamp;
use crate::environment::Environment;
use crate::id::{AccountId, CredentialId, FamilyId, KeyId, SessionId};
use crate::scope::ScopeSet;
use crate::store::{ParentToken, SessionParent};

/// What kind of credential a caller showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CredentialKind {
    /// A JWT access token.
    AccessToken,
    /// An API key.
    ApiKey,
    /// None was needed: a public route.
    None,
    /// A session token.
    Session,
}

impl CredentialKind {
    /// Every kind, in the order of [`CredentialKind::index`].
    pub const ALL: [CredentialKind; 4] = [
        CredentialKind::AccessToken,
        CredentialKind::ApiKey,
        CredentialKind::None,
        CredentialKind::Session,
    ];

    /// The word for it in logs, metrics and `X-Auth-Method`.
    pub const fn label(self) -> &'static str {
        match self {
            CredentialKind::AccessToken => "access_token",
            CredentialKind::ApiKey => "api_key",
            CredentialKind::None => "none",
            CredentialKind::Session => "session",
        }
    }

    /// Its place in [`CredentialKind::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Who is calling: made only by a verified credential, cheap to clone.
///
/// ```compile_fail
/// // No other room can make one: the fields are private and there is no constructor.
/// let _ = portcullis::auth::Principal { identity: todo!() };
/// ```
#[derive(Clone, Debug)]
pub struct Principal {
    identity: Arc<Holder>,
}

/// Who holds one credential, as caches keep it.
#[derive(Debug)]
pub(super) struct Holder {
    identity: Identity,
    told: OnceLock<ToldTexts>,
    /// Of keys, and of sessions that keys gave.
    counts: Option<Arc<UseCounts>>,
}

/// What a credential says of its holder. Built inside `auth` from a record or a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) kind: CredentialKind,
    pub(super) credential_id: CredentialId,
    pub(super) subject: String,
    pub(super) account: Option<AccountId>,
    pub(super) client_id: Option<String>,
    pub(super) issuer: Option<String>,
    /// The one resource that a token of our own is for, and what it gave; `None` is any.
    pub(super) resource: Option<Arc<str>>,
    /// The family of a token's grant, from the claim `fam`.
    pub(super) grant: Option<String>,
    /// A token's `jti`, as it is denied by; not every one can be a [`CredentialId`].
    pub(super) jti: Option<String>,
    /// When it was issued; of a session, when its parent was. Of a token `iat`; where the issuer
    /// sends none, the earliest that its `exp` allows, so that a denial by time is never escaped by
    /// leaving it out.
    pub(super) issued_at: Timestamp,
    pub(super) scopes: ScopeSet,
    pub(super) environment: Environment,
    pub(super) allowed_ips: Vec<IpNet>,
    pub(super) not_before: Option<Timestamp>,
    pub(super) expires_at: Option<Timestamp>,
}

impl From<Identity> for Holder {
    fn from(identity: Identity) -> Holder {
        Holder {
            identity,
            told: OnceLock::new(),
            counts: None,
        }
    }
}

impl Holder {
    /// One whose uses are counted.
    pub(super) fn counted(identity: Identity, counts: Arc<UseCounts>) -> Holder {
        Holder {
            counts: Some(counts),
            ..Holder::from(identity)
        }
    }

    /// It is used now.
    pub(super) fn see(&self, now: Timestamp) {
        if let Some(counts) = &self.counts {
            counts.see(now);
        }
    }
}

impl Deref for Holder {
    type Target = Identity;

    fn deref(&self) -> &Identity {
        &self.identity
    }
}

impl Principal {
    pub(super) fn new(identity: Arc<Holder>) -> Principal {
        Principal { identity }
    }

    /// A text for upstreams, shared by all requests of this credential; `None` where there is
    /// none, or none that is ASCII.
    pub fn told(&self, what: Told) -> Option<Bytes> {
        let told = &self.identity.told;
        told.get_or_init(|| ToldTexts::of(&self.identity)).get(what)
    }

    /// Counts a request of its that was let through; `needed` is what one or all had to be granted of.
    pub fn count_use(&self, needed: Option<&ScopeSet>) {
        if let Some(counts) = &self.identity.counts {
            counts.count(needed);
        }
    }

    /// Counts a request of its that was refused for the want of one or all of these.
    pub fn count_missing(&self, needed: &ScopeSet) {
        if let Some(counts) = &self.identity.counts {
            counts.count_missing(needed);
        }
    }

    /// Whether both come from one look at one credential: nothing about them can differ.
    pub fn is_same(&self, other: &Principal) -> bool {
        Arc::ptr_eq(&self.identity, &other.identity)
    }

    /// The kind of credential.
    pub fn kind(&self) -> CredentialKind {
        self.identity.kind
    }

    /// The credential's public id.
    pub fn credential_id(&self) -> &CredentialId {
        &self.identity.credential_id
    }

    /// Who it acts as: a key's account, or a token's issuer-qualified `sub`.
    pub fn subject(&self) -> &str {
        &self.identity.subject
    }

    /// The account, where the credential names one.
    pub fn account(&self) -> Option<&AccountId> {
        self.identity.account.as_ref()
    }

    /// The OAuth client, where the credential names one.
    pub fn client_id(&self) -> Option<&str> {
        self.identity.client_id.as_deref()
    }

    /// The token's issuer, where there is one.
    pub fn issuer(&self) -> Option<&str> {
        self.identity.issuer.as_deref()
    }

    /// The one resource that it is for (RFC 8707), where our own authorization server made it or
    /// what gave it; `None` is any.
    pub fn resource(&self) -> Option<&str> {
        self.identity.resource.as_deref()
    }

    /// Whether it is good for a resource; `None` is one that nothing is said of.
    pub(super) fn is_for(&self, resource: Option<&str>) -> bool {
        match (self.resource(), resource) {
            (Some(own), Some(asked)) => own == asked,
            (None, _) | (_, None) => true,
        }
    }

    /// The granted scopes.
    pub fn scopes(&self) -> &ScopeSet {
        &self.identity.scopes
    }

    /// Live or test.
    pub fn environment(&self) -> Environment {
        self.identity.environment
    }

    /// Addresses it may be used from; empty is any.
    pub(super) fn allowed_ips(&self) -> &[IpNet] {
        &self.identity.allowed_ips
    }

    /// What sessions that this credential gives are the children of; `None` where it gives none: a
    /// session gives no session, and a token of which a part cannot be tracked does not either.
    pub fn as_parent(&self) -> Option<SessionParent> {
        let identity = &*self.identity;
        match identity.kind {
            CredentialKind::ApiKey => {
                let id = KeyId::parse(identity.credential_id.as_str()).ok()?;
                Some(SessionParent::Key(id))
            }
            CredentialKind::AccessToken => {
                let id = identity.credential_id.as_str();
                if identity.jti.as_deref().is_some_and(|jti| jti != id) {
                    return None;
                }
                let family = identity.grant.as_deref().map(FamilyId::parse);
                Some(SessionParent::AccessToken(ParentToken {
                    id: identity.credential_id.clone(),
                    issuer: identity.issuer.clone()?,
                    family: family.transpose().ok()?,
                    issued_at: identity.issued_at,
                    expires_at: identity.expires_at?,
                }))
            }
            CredentialKind::None | CredentialKind::Session => None,
        }
    }

    /// The session, where the credential is one.
    pub fn session_id(&self) -> Option<SessionId> {
        match self.identity.kind {
            CredentialKind::Session => SessionId::parse(self.identity.credential_id.as_str()).ok(),
            CredentialKind::AccessToken | CredentialKind::ApiKey | CredentialKind::None => None,
        }
    }

    /// Whether it may be used from this address.
    pub fn allows_address(&self, address: std::net::IpAddr) -> bool {
        let address = address.to_canonical();
        let allowed = &self.identity.allowed_ips;
        allowed.is_empty() || allowed.iter().any(|net| net.contains(&address))
    }

    /// When it stops working.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.identity.expires_at
    }
}
