//! From one refresh token to the next (RFC 6749 §6, RFC 9700 §4.14.2).
//!
//! Invariants: who asks is settled before reuse is, so a foreign client ends nobody's family; a
//! request that asks for too much does not use its token up.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::id::{ClientId, GrantId};
use crate::scope::ScopeSet;
use crate::secret::Digest;
use crate::store::StoreError;
use crate::store::shelf::Plan;

use super::{GrantRecord, GrantStanding, RefreshState, RevocationReason};

/// A token request with a refresh token whose MAC is good, from a client that has shown who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotateRefresh {
    /// The grant that the token names.
    pub grant: GrantId,
    /// The generation that the token names.
    pub generation: u32,
    /// The hash of the token's nonce.
    pub nonce: Digest,
    /// The hash of the next token's nonce.
    pub next: Digest,
    /// Who asks.
    pub client: ClientId,
    /// The scopes that it asks for; `None` is all that were granted.
    pub scopes: Option<ScopeSet>,
    /// The resource that it asks for; `None` is what was granted.
    pub resource: Option<String>,
    /// How long the next token lives without use.
    pub idle: Duration,
    /// For whom an answer was lost.
    pub grace: Grace,
    /// Now.
    pub at: Timestamp,
}

/// How often and how long the token before the newest still works: the client asks again where the
/// answer was lost. Only for clients that show who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grace {
    /// For how long after the rotation.
    pub window: Duration,
    /// How many tokens one generation may have.
    pub siblings: usize,
}

impl Grace {
    /// No grace: for public clients.
    pub const NONE: Grace = Grace {
        window: Duration::ZERO,
        siblings: 1,
    };
}

/// What became of a refresh token. Each but [`Rotate::Rotated`] gives no token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Rotate {
    /// Another client's. Nothing changed.
    ClientMismatch,
    /// Unused for too long, or at its grant's end. Nothing changed.
    Expired,
    /// From a generation that this store does not know of: it was restored from an older copy
    /// (interface.md §7.3). Nothing changed.
    Future,
    /// More or another resource than was granted. The token was not used up.
    ResourceExceeded,
    /// An older one came back: the family is revoked now.
    Reused(Box<GrantRecord>),
    /// The family was revoked before. Nothing changed.
    Revoked,
    /// The next token is of this generation.
    Rotated {
        /// The next token's generation.
        generation: u32,
        /// The grant as it is now.
        grant: Box<GrantRecord>,
    },
    /// More scopes than were granted. The token was not used up.
    ScopeExceeded,
    /// There is no such grant (any more).
    Unknown,
}

/// What a token is to its family.
#[derive(Clone, Copy)]
enum Place {
    Future,
    /// The newest, or within its grace.
    Live(Generation),
    Old,
}

#[derive(Clone, Copy)]
enum Generation {
    Again,
    Next,
}

impl RotateRefresh {
    pub(super) fn decide(&self, found: Option<GrantRecord>) -> Result<Plan<Rotate>, StoreError> {
        let refused = |answer| Ok(Plan::keep(answer));
        let Some(grant) = found else {
            return refused(Rotate::Unknown);
        };
        if grant.client != self.client {
            return refused(Rotate::ClientMismatch);
        }
        if let GrantStanding::Revoked { .. } = grant.standing {
            return refused(Rotate::Revoked);
        }
        // A restored store may not know that the code was redeemed.
        let Some(refresh) = &grant.refresh else {
            return refused(Rotate::Future);
        };
        if grant.expires_at <= self.at {
            return refused(Rotate::Expired);
        }
        match self.place(refresh) {
            Place::Future => refused(Rotate::Future),
            Place::Old => grant.revoke(RevocationReason::RefreshReused, self.at, Rotate::Reused),
            Place::Live(_) if refresh.idle_at <= self.at => refused(Rotate::Expired),
            Place::Live(_) if self.exceeds_scopes(&grant) => refused(Rotate::ScopeExceeded),
            Place::Live(_) if self.exceeds_resource(&grant) => refused(Rotate::ResourceExceeded),
            Place::Live(generation) => self.advance(grant, generation),
        }
    }

    fn place(&self, refresh: &RefreshState) -> Place {
        if self.generation > refresh.generation {
            return Place::Future;
        }
        if self.generation == refresh.generation && refresh.live.contains(&self.nonce) {
            return Place::Live(Generation::Next);
        }
        let before = refresh.generation.checked_sub(1) == Some(self.generation);
        let in_grace = self.at.since(refresh.rotated_at) < self.grace.window
            && refresh.live.len() < self.grace.siblings;
        if before && in_grace && refresh.previous.contains(&self.nonce) {
            return Place::Live(Generation::Again);
        }
        Place::Old
    }

    /// RFC 6749 §6: no scope that was not granted.
    fn exceeds_scopes(&self, grant: &GrantRecord) -> bool {
        let wanted = self.scopes.as_ref();
        wanted.is_some_and(|wanted| !wanted.is_subset_of(&grant.scopes))
    }

    /// RFC 8707 §2.2: one of the resources that were granted.
    fn exceeds_resource(&self, grant: &GrantRecord) -> bool {
        match (&grant.resource, &self.resource) {
            (Some(granted), Some(wanted)) => granted != wanted,
            (None, _) | (_, None) => false,
        }
    }

    /// RFC 6749 §6: the next token is for the scopes of the grant, however few were asked for now.
    fn advance(
        &self,
        mut grant: GrantRecord,
        generation: Generation,
    ) -> Result<Plan<Rotate>, StoreError> {
        let Some(refresh) = &mut grant.refresh else {
            return Ok(Plan::keep(Rotate::Future));
        };
        match generation {
            Generation::Again => refresh.live.push(self.next),
            Generation::Next => {
                refresh.generation += 1;
                refresh.previous = std::mem::replace(&mut refresh.live, vec![self.next]);
                refresh.rotated_at = self.at;
            }
        }
        refresh.idle_at = self.at.plus(self.idle);
        let generation = refresh.generation;
        let answer = Rotate::Rotated {
            generation,
            grant: Box::new(grant.clone()),
        };
        grant.plan(answer)
    }
}
