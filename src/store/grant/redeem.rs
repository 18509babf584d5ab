//! From a code to a grant (RFC 6749 §4.1.3, RFC 7636 §4.6).
//!
//! Invariant: only a request that is good but for the code's being used says that the code was
//! stolen; otherwise whoever sees a code could end the grant (OAuth 2.1 §7.5.2).

use std::time::Duration;

use subtle::ConstantTimeEq as _;

use crate::clock::Timestamp;
use crate::id::{ClientId, GrantId};
use crate::secret::Digest;
use crate::store::StoreError;
use crate::store::shelf::Plan;

use super::{CodeState, GrantRecord, GrantStanding, RedirectRule, RefreshState, RevocationReason};

/// How many wrong verifiers end a code. They stop no guess (a verifier has 256 bits), only noise.
const WRONG_VERIFIERS: u8 = 5;

/// A token request with a code, from a client that has shown who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedeemCode {
    /// The grant that the code names.
    pub grant: GrantId,
    /// The digest of the whole code.
    pub code: Digest,
    /// Who asks.
    pub client: ClientId,
    /// The redirect URI that it says, if it does.
    pub redirect: Option<String>,
    /// The S256 challenge of the verifier that it sent, if it did.
    pub challenge: Option<String>,
    /// The first refresh token, if there is to be one.
    pub refresh: Option<NewRefresh>,
    /// Now.
    pub at: Timestamp,
}

/// The first refresh token of a family: it is generation 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewRefresh {
    /// The hash of its nonce.
    pub nonce: Digest,
    /// How long it lives without use.
    pub idle: Duration,
}

/// What became of a code. Each but [`Redeem::Redeemed`] gives no token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Redeem {
    /// Another client's. Nothing changed.
    ClientMismatch,
    /// Too late. Nothing changed.
    Expired,
    /// The verifier is wrong or missing.
    PkceMismatch,
    /// A verifier, and no challenge before (RFC 9700 §4.8.2: downgrade). Nothing changed.
    PkceUnexpected,
    /// The grant is active now; its refresh token, if any, is generation 0.
    Redeemed(Box<GrantRecord>),
    /// The redirect URI is wrong or missing. Nothing changed.
    RedirectMismatch,
    /// The code was redeemed before: the family is revoked, now or since then.
    Replayed(Box<GrantRecord>),
    /// The grant was revoked before its code was redeemed. Nothing changed.
    Revoked,
    /// There is no such code (any more).
    Unknown,
}

impl RedeemCode {
    pub(super) fn decide(&self, found: Option<GrantRecord>) -> Result<Plan<Redeem>, StoreError> {
        let refused = |answer| Ok(Plan::keep(answer));
        let Some(grant) = found.filter(|grant| grant.code.digest == self.code) else {
            return refused(Redeem::Unknown);
        };
        // RFC 6749 §4.1.3: the code was issued to this client, for this redirect URI.
        if grant.client != self.client {
            return refused(Redeem::ClientMismatch);
        }
        if !self.redirect_fits(&grant.code) {
            return refused(Redeem::RedirectMismatch);
        }
        match (&grant.code.challenge, &self.challenge) {
            (None, None) => {}
            (None, Some(_)) => return refused(Redeem::PkceUnexpected),
            (Some(stored), Some(sent)) if bool::from(stored.as_bytes().ct_eq(sent.as_bytes())) => {}
            (Some(_), _) => return count_wrong_verifier(grant),
        }
        if grant.code.redeemed_at.is_some() {
            let why = RevocationReason::CodeReplayed;
            return grant.revoke(why, self.at, Redeem::Replayed);
        }
        if let GrantStanding::Revoked { .. } = grant.standing {
            return refused(Redeem::Revoked);
        }
        if grant.code.expires_at <= self.at {
            return refused(Redeem::Expired);
        }
        self.activate(grant)
    }

    fn redirect_fits(&self, code: &CodeState) -> bool {
        match (&self.redirect, code.redirect_rule) {
            (Some(sent), RedirectRule::IfSent | RedirectRule::Required) => *sent == code.redirect,
            (None, RedirectRule::IfSent) => true,
            (None, RedirectRule::Required) => false,
        }
    }

    fn activate(&self, mut grant: GrantRecord) -> Result<Plan<Redeem>, StoreError> {
        grant.code.redeemed_at = Some(self.at);
        grant.standing = GrantStanding::Active;
        grant.refresh = self.refresh.map(|first| RefreshState {
            generation: 0,
            live: vec![first.nonce],
            previous: Vec::new(),
            rotated_at: self.at,
            idle_at: self.at.plus(first.idle),
        });
        let plan = grant.plan(Redeem::Redeemed(Box::new(grant.clone())))?;
        let plan = plan.listed(grant.listings(grant.expires_at));
        Ok(match grant.pending_until() == grant.expires_at {
            // It has one place on each list, and stays there.
            true => plan,
            false => plan.unlisted(grant.listings(grant.pending_until())),
        })
    }
}

fn count_wrong_verifier(mut grant: GrantRecord) -> Result<Plan<Redeem>, StoreError> {
    if grant.standing != GrantStanding::Pending {
        return Ok(Plan::keep(Redeem::PkceMismatch));
    }
    grant.code.wrong_verifiers += 1;
    if grant.code.wrong_verifiers >= WRONG_VERIFIERS {
        let lists = grant.listings(grant.pending_until());
        return Ok(Plan::remove(Redeem::PkceMismatch).unlisted(lists));
    }
    grant.plan(Redeem::PkceMismatch)
}
