//! Everything of one account: its keys, its sessions, its grants, and all tokens that name it.
//!
//! A denial alone would do for a while: lists of denials forget after 90 days, and keys live longer.
//! So each key's own record says it too. Invariant: the denial comes first, so from the first moment
//! nothing of the account is let in, whatever is found after.

use super::{RevokedTokens, TokenDesk, TokenError};
use crate::clock::Timestamp;
use crate::id::{AccountId, CredentialId, GrantId, KeyId, SessionId};
use crate::observe::{Actor, AuditAction, AuditEvent, AuditOutcome};
use crate::store::{
    Denial, DenialKind, GrantOwner, RevocationReason, RevokeGrant, RevokeKey, SessionOwner,
    StoreError,
};

/// Keys, clients or grants read at once.
const PAGE: usize = 500;

impl TokenDesk {
    pub(super) async fn revoke_account(
        &self,
        id: &AccountId,
        actor: Actor,
    ) -> Result<RevokedTokens, TokenError> {
        let at = self.clock.now();
        let denial = Denial {
            kind: DenialKind::Account,
            id: id.to_string(),
            at,
        };
        self.store.deny(vec![denial]).await?;
        let tell = |action, credential: CredentialId| {
            let event = AuditEvent::new(action, actor, AuditOutcome::Done);
            self.audit
                .record(event.credential(credential).account(id.clone()));
        };
        let keys = self.revoke_keys(id, at).await?;
        for key in &keys {
            tell(AuditAction::KeyRevoke, key.into());
        }
        let owner = SessionOwner::Account(id.clone());
        let sessions: Vec<SessionId> = self.store.end_sessions(&owner, at).await?;
        for session in &sessions {
            tell(AuditAction::SessionEnd, session.into());
        }
        let ours = |account: Option<&AccountId>| account == Some(id);
        Ok(RevokedTokens {
            keys,
            sessions,
            issued_before: Some(at.plus(self.skew())),
            grants: self.revoke_grants_where(ours, at).await?,
            ..RevokedTokens::at(at)
        })
    }

    async fn revoke_keys(&self, id: &AccountId, at: Timestamp) -> Result<Vec<KeyId>, StoreError> {
        let (mut revoked, mut after) = (Vec::new(), None);
        loop {
            let page = self.store.keys(after.as_ref(), PAGE).await?;
            let is_last = page.len() < PAGE;
            after = page.last().map(|key| key.id.clone());
            for key in page.into_iter().filter(|key| key.account == *id) {
                if let RevokeKey::Revoked(key) = self.store.revoke_key(&key.id, at).await? {
                    revoked.push(key.id);
                }
            }
            if is_last {
                return Ok(revoked);
            }
        }
    }

    /// The grants of all clients whose account is one of these: each is on the list of its client.
    pub(super) async fn revoke_grants_where(
        &self,
        is_meant: impl Fn(Option<&AccountId>) -> bool,
        at: Timestamp,
    ) -> Result<Vec<GrantId>, StoreError> {
        let (mut revoked, mut after) = (Vec::new(), None);
        loop {
            let page = self.store.clients(after.as_ref(), PAGE).await?;
            for client in page.items {
                let owner = GrantOwner::Client(client.id);
                let grants = self.store.grants(&owner, None, usize::MAX).await?;
                let grants = grants.items.into_iter();
                for grant in grants.filter(|grant| is_meant(grant.account.as_ref())) {
                    let why = RevocationReason::Operator;
                    let answer = self.store.revoke_grant(&grant.id, why, at).await?;
                    if let RevokeGrant::Revoked(grant) = answer {
                        revoked.push(grant.id);
                    }
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(revoked);
            }
        }
    }
}
