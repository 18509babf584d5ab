//! Grants: what a user lets a client do, from the authorization code to the last refresh token.
//!
//! ```text
//! create ──▶ pending ──redeem──▶ active ──rotate──▶ active …
//!                │                  └─ replayed code, reused token, revocation ──▶ revoked
//!                └─ 5 wrong verifiers, or its minute is over ──▶ gone
//! ```
//!
//! One document holds the code, the grant and its refresh state, so that redeeming and rotating are
//! one step each. Not here: who the client is, the MAC of a refresh token, and what tokens look
//! like. Invariants: a grant that can give a token, now or once its code is redeemed, is on the lists
//! of its client and subject; a code is redeemed once; of a family's refresh tokens the newest generation
//! works, the one before within its grace; a revoked family is denied before it is marked, and
//! nothing makes it active again.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::id::{AccountId, ClientId, GrantId, SubjectId};
use crate::scope::ScopeSet;
use crate::secret::Digest;

use super::shelf::{self, Cursor, Index, Listing, Member, Page, Place, Plan};
use super::{Denial, DenialKind, Shelf, StoreError, digest_text};

mod redeem;
mod rotate;

pub use redeem::{NewRefresh, Redeem, RedeemCode};
pub use rotate::{Grace, Rotate, RotateRefresh};

/// How long a code is remembered that was not redeemed, past its end: whoever comes late is told
/// that it has expired.
const LATE: Duration = Duration::from_secs(600);
/// How long a grant is remembered past its end, for clocks that differ.
const SKEW: Duration = Duration::from_secs(3600);

/// What a token request must say of the redirect URI (RFC 6749 §4.1.3; OAuth 2.1 drops it).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RedirectRule {
    /// If it says something, then the same.
    IfSent,
    /// The same.
    Required,
}

/// What is left of an authorization code.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodeState {
    /// The digest of the whole code.
    #[serde(with = "digest_text")]
    pub digest: Digest,
    /// Where it was sent.
    pub redirect: String,
    /// What the token request must say of that.
    pub redirect_rule: RedirectRule,
    /// The PKCE challenge (S256), where there was one.
    pub challenge: Option<String>,
    /// Until when it can be redeemed.
    pub expires_at: Timestamp,
    /// When it was.
    pub redeemed_at: Option<Timestamp>,
    /// How often it came with a wrong verifier.
    pub wrong_verifiers: u8,
}

/// What of a family's refresh tokens is live.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefreshState {
    /// How many rotations there were.
    pub generation: u32,
    /// The nonces of this generation: more than one where a client asked again within its grace.
    #[serde(with = "digest_text::list")]
    pub live: Vec<Digest>,
    /// The nonces of the generation before.
    #[serde(with = "digest_text::list")]
    pub previous: Vec<Digest>,
    /// When this generation began.
    pub rotated_at: Timestamp,
    /// When it ends without use.
    pub idle_at: Timestamp,
}

/// Why a grant was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevocationReason {
    /// The client gave its token back (RFC 7009).
    Client,
    /// Its code came a second time.
    CodeReplayed,
    /// An operator.
    Operator,
    /// An older refresh token came back.
    RefreshReused,
    /// The user took it back.
    User,
}

/// Where a grant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum GrantStanding {
    /// Its code was redeemed.
    Active,
    /// Its code was not redeemed yet.
    Pending,
    /// It is over.
    Revoked {
        /// Since when.
        at: Timestamp,
        /// Why.
        why: RevocationReason,
    },
}

/// What the store knows of one grant. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantRecord {
    /// Its id, for codes, refresh tokens and operators. Access tokens and denials have its
    /// [`family`](GrantId::family).
    pub id: GrantId,
    /// To whom.
    pub client: ClientId,
    /// From whom.
    pub subject: SubjectId,
    /// The account it acts for.
    pub account: Option<AccountId>,
    /// What was granted.
    pub scopes: ScopeSet,
    /// For which resource (RFC 8707); `None` is each that there is.
    pub resource: Option<String>,
    /// When the user logged in.
    pub auth_time: Timestamp,
    /// How well.
    pub acr: Option<String>,
    /// By what means.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    /// When it was granted.
    pub created_at: Timestamp,
    /// When it ends at the latest, however often it is refreshed.
    pub expires_at: Timestamp,
    /// Where it stands.
    pub standing: GrantStanding,
    /// Its code.
    pub code: CodeState,
    /// Its refresh tokens, where there are any.
    pub refresh: Option<RefreshState>,
}

/// What became of a new grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum CreateGrant {
    /// Written.
    Created,
    /// Nothing written: there is one of this id.
    Exists,
}

/// What became of revoking a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum RevokeGrant {
    /// It had been revoked before; the first time and reason stand.
    AlreadyRevoked(Box<GrantRecord>),
    /// It was live until now.
    Revoked(Box<GrantRecord>),
    /// There is no such grant (any more).
    Unknown,
}

/// Whose grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantOwner {
    /// A client's.
    Client(ClientId),
    /// A user's: the connected apps.
    Subject(SubjectId),
}

/// The verbs on grants.
#[async_trait::async_trait]
pub trait GrantStore: Send + Sync + 'static {
    /// Writes a grant whose code is about to be sent.
    async fn create_grant(&self, record: GrantRecord) -> Result<CreateGrant, StoreError>;

    /// The grant of an id.
    async fn grant(&self, id: &GrantId) -> Result<Option<GrantRecord>, StoreError>;

    /// Grants that are not revoked, those that end first in front: of pending ones that is their
    /// code's end. Some may just have expired; one that is just becoming active may be there twice.
    async fn grants(
        &self,
        owner: &GrantOwner,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<GrantRecord>, StoreError>;

    /// Redeems a code. A code that comes again in an otherwise good request revokes its family.
    async fn redeem_code(&self, request: RedeemCode) -> Result<Redeem, StoreError>;

    /// Rotates a refresh token whose MAC is good. An older one than can be revokes its family.
    async fn rotate_refresh(&self, request: RotateRefresh) -> Result<Rotate, StoreError>;

    /// Denies a family and marks it revoked.
    async fn revoke_grant(
        &self,
        id: &GrantId,
        why: RevocationReason,
        at: Timestamp,
    ) -> Result<RevokeGrant, StoreError>;

    /// Revokes each grant of an owner that is there when the call begins, also one whose code was
    /// not redeemed yet. The answer has those that were not revoked until now.
    async fn revoke_grants(
        &self,
        owner: &GrantOwner,
        why: RevocationReason,
        at: Timestamp,
    ) -> Result<Vec<GrantId>, StoreError>;
}

#[async_trait::async_trait]
impl<S: Shelf> GrantStore for S {
    async fn create_grant(&self, record: GrantRecord) -> Result<CreateGrant, StoreError> {
        let (place, at) = (place(&record.id), record.created_at);
        shelf::change(self, place, at, move |found| match found {
            Some(_) => Ok(Plan::keep(CreateGrant::Exists)),
            None => Ok(record
                .plan(CreateGrant::Created)?
                .listed(record.listings(record.pending_until()))),
        })
        .await
    }

    async fn grant(&self, id: &GrantId) -> Result<Option<GrantRecord>, StoreError> {
        shelf::read(self, place(id)).await
    }

    async fn grants(
        &self,
        owner: &GrantOwner,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<GrantRecord>, StoreError> {
        let live = |grant: &GrantRecord| match grant.standing {
            GrantStanding::Active | GrantStanding::Pending => true,
            GrantStanding::Revoked { .. } => false,
        };
        let place = |id: &str| Place::new("g", id);
        shelf::page(self, index(owner), after, limit, place, live).await
    }

    async fn redeem_code(&self, request: RedeemCode) -> Result<Redeem, StoreError> {
        let (place, at) = (place(&request.grant), request.at);
        let decide = move |found: Option<&str>| request.decide(shelf::parse(found)?);
        shelf::change(self, place, at, decide).await
    }

    async fn rotate_refresh(&self, request: RotateRefresh) -> Result<Rotate, StoreError> {
        let (place, at) = (place(&request.grant), request.at);
        let decide = move |found: Option<&str>| request.decide(shelf::parse(found)?);
        shelf::change(self, place, at, decide).await
    }

    async fn revoke_grant(
        &self,
        id: &GrantId,
        why: RevocationReason,
        at: Timestamp,
    ) -> Result<RevokeGrant, StoreError> {
        shelf::change(self, place(id), at, move |found| {
            let Some(record) = shelf::parse::<GrantRecord>(found)? else {
                return Ok(Plan::keep(RevokeGrant::Unknown));
            };
            if let GrantStanding::Revoked { .. } = record.standing {
                return Ok(Plan::keep(RevokeGrant::AlreadyRevoked(Box::new(record))));
            }
            record.revoke(why, at, RevokeGrant::Revoked)
        })
        .await
    }

    async fn revoke_grants(
        &self,
        owner: &GrantOwner,
        why: RevocationReason,
        at: Timestamp,
    ) -> Result<Vec<GrantId>, StoreError> {
        let mut revoked = Vec::new();
        for grant in self.grants(owner, None, usize::MAX).await?.items {
            if let RevokeGrant::Revoked(record) = self.revoke_grant(&grant.id, why, at).await? {
                revoked.push(record.id);
            }
        }
        Ok(revoked)
    }
}

impl GrantRecord {
    /// The plan to write it.
    fn plan<T>(&self, answer: T) -> Result<Plan<T>, StoreError> {
        let until = match self.standing {
            GrantStanding::Pending => self.pending_until(),
            GrantStanding::Active | GrantStanding::Revoked { .. } => self.expires_at.plus(SKEW),
        };
        Plan::write(answer, self, Some(until))
    }

    /// The plan to revoke it, once: its first time and reason stand.
    fn revoke<T>(
        mut self,
        why: RevocationReason,
        at: Timestamp,
        answer: impl Fn(Box<GrantRecord>) -> T,
    ) -> Result<Plan<T>, StoreError> {
        if let GrantStanding::Revoked { .. } = self.standing {
            return Ok(Plan::keep(answer(Box::new(self))));
        }
        self.standing = GrantStanding::Revoked { at, why };
        let denial = Denial {
            kind: DenialKind::Grant,
            id: self.id.family().to_string(),
            at,
        };
        let plan = self.plan(answer(Box::new(self.clone())))?;
        Ok(plan.denied(denial).unlisted(self.all_listings()))
    }

    /// How long it is there if nobody redeems its code.
    fn pending_until(&self) -> Timestamp {
        self.code.expires_at.plus(LATE)
    }

    /// Its places on lists, as pending and as active.
    fn all_listings(&self) -> impl Iterator<Item = Listing> {
        let ends = [self.pending_until(), self.expires_at];
        ends.into_iter().flat_map(|until| self.listings(until))
    }

    /// Its places on lists as something that ends then.
    fn listings(&self, until: Timestamp) -> [Listing; 2] {
        let until = Some(until);
        [
            GrantOwner::Client(self.client.clone()),
            GrantOwner::Subject(self.subject.clone()),
        ]
        .map(|owner| Listing {
            index: index(&owner),
            member: Member::new(until, self.id),
            until,
            cap: None,
        })
    }
}

fn place(id: &GrantId) -> Place {
    Place::new("g", id)
}

fn index(owner: &GrantOwner) -> Index {
    match owner {
        GrantOwner::Client(client) => Index::new("grants-client", client),
        GrantOwner::Subject(subject) => Index::new("grants-subject", subject),
    }
}
