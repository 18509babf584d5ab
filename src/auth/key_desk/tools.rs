//! What the key desk works with, lent to desks in other rooms that hand out things of their own.
//!
//! Not here: any rule about what they hand out. Invariants: the scopes are the live ones, also
//! after a reload; a change that was told has its audit line on the way to the disk.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{AUDIT_WAIT, KeyDesk, KeyProblem, check_scopes};
use crate::auth::FleetDesk;
use crate::clock::{Clock, Timestamp};
use crate::observe::{AuditEvent, AuditLog};
use crate::scope::ScopeSet;
use crate::secret::{Digest, LivePeppers, Mac, MacKeys, Peppers, Purpose, Secret};
use crate::store::Store;
use crate::token::{MintedSecret, OpaqueFormat};

/// Store, secrets, scopes, time and audit log of a desk. Cheap to clone.
#[derive(Clone)]
pub struct DeskTools {
    store: Arc<dyn Store>,
    format: OpaqueFormat,
    peppers: LivePeppers,
    scopes: Arc<ArcSwap<ScopeSet>>,
    clock: Clock,
    audit: AuditLog,
}

impl KeyDesk {
    /// For a desk beside this one.
    pub fn tools(&self) -> DeskTools {
        DeskTools {
            store: Arc::clone(&self.store),
            format: self.format.clone(),
            peppers: self.peppers.clone(),
            scopes: Arc::clone(&self.scopes),
            clock: self.clock.clone(),
            audit: self.audit.clone(),
        }
    }
}

impl KeyDesk {
    /// The desk beside it, for the instances that share its store.
    pub fn fleet(&self) -> FleetDesk {
        FleetDesk::on(Arc::clone(&self.store), self.clock.clone())
    }
}

impl DeskTools {
    /// The store.
    pub fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// How our own credentials look.
    pub fn format(&self) -> &OpaqueFormat {
        &self.format
    }

    /// The keys of all that is hashed or derived.
    pub fn peppers(&self) -> Arc<Peppers> {
        self.peppers.load()
    }

    /// What is kept of a secret.
    pub fn digest(&self, secret: &Secret) -> Digest {
        self.peppers.load().current().digest(secret.expose())
    }

    /// The present.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Refuses scopes that the config does not have.
    pub fn check_scopes(&self, wanted: &ScopeSet) -> Result<(), KeyProblem> {
        check_scopes(wanted, &self.scopes.load())
    }

    /// A secret that a wish asks for, made of its bits.
    pub fn answer(&self, wish: &str, mint: impl Fn(&[u8; 32]) -> MintedSecret) -> MintedSecret {
        mint(answer(&self.peppers.load(), wish).as_bytes())
    }

    /// The secret that a wish got which was carried out before: the one whose digest is kept.
    /// `None` where it was made under a pepper that is forgotten.
    pub fn answer_again(
        &self,
        wish: &str,
        kept: &Digest,
        mint: impl Fn(&[u8; 32]) -> MintedSecret,
    ) -> Option<MintedSecret> {
        answer_again(&self.peppers.load(), wish, kept, mint)
    }

    /// Leaves the audit line of a change and waits a little for the disk.
    pub async fn tell(&self, event: AuditEvent) {
        self.audit.record(event);
        if !self.audit.settle(AUDIT_WAIT).await {
            tracing::warn!("the audit line of a change is not on disk yet");
        }
    }
}

/// The bits of what a wish gets.
pub(super) fn answer(peppers: &Peppers, wish: &str) -> Mac {
    MacKeys::new(peppers, Purpose::Answers).make(&[wish.as_bytes()])
}

/// Which pepper made the answer, and which the digest, is not written down: each is tried.
pub(super) fn answer_again(
    peppers: &Peppers,
    wish: &str,
    kept: &Digest,
    mint: impl Fn(&[u8; 32]) -> MintedSecret,
) -> Option<MintedSecret> {
    MacKeys::new(peppers, Purpose::Answers)
        .all(&[wish.as_bytes()])
        .map(|bits| mint(bits.as_bytes()))
        .find(|minted| peppers.digests(minted.secret.expose()).contains(kept))
}

impl std::fmt::Debug for DeskTools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeskTools").finish_non_exhaustive()
    }
}
