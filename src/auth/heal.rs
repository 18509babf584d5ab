//! Tells the store again which revocations it has lost.
//!
//! A store that was emptied, restored from an older copy, or taken over by a replica that lagged
//! lacks revocations that were answered. Here they hold on, in memory and on disk; but a gateway that
//! starts knows only what the store has, and a denial lapses, which the record that it stands for
//! outlives. So after a start and after each gap, what is known here and not there is written back: the
//! denial, and with it the mark in the record of a key, session or grant. Not here: knowing it ([`super::revocation`], [`super::memory`]).
//!
//! Invariants: writing back is the same revocation with its own time, so it may be done again, by
//! any number of instances at once; nothing waits for it; its rate is bounded, and it begins at a
//! random moment, by when another instance may have done it all; a failure is tried again; a record
//! that cannot be read keeps none of the others back.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use prometheus::IntCounter;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::clock::{Clock, Timestamp};
use crate::id::{ClientId, GrantId, KeyId, SessionId};
use crate::observe::{Causes, Metrics};
use crate::secret::random_bytes;
use crate::store::{
    DENIAL_RETENTION, Denial, DenialKind, EndSession, GrantOwner, RevocationReason, RevokeKey,
    Store, StoreError,
};

use super::denial_list::DenialList;
use super::follower::Pause;
use super::memory::{MemoryFile, blocking};
use super::revocation::Revocation;

/// Compares and writes back. Runs on the control runtime.
pub(super) struct Healer {
    store: Arc<dyn Store>,
    revocation: Arc<Revocation>,
    memory: MemoryFile,
    /// The list was read after a start or a gap.
    due: Arc<Notify>,
    clock: Clock,
    restored: IntCounter,
}

/// What a denial names.
type Name = (DenialKind, String);
/// And since when.
type Lost = (Name, Timestamp);

/// It begins so long after the list was read, or up to half of that sooner.
const DELAY: Duration = Duration::from_secs(2);
/// So many are written back, one after the other, then there is a pause.
const BURST: usize = 50;
const REST: Duration = Duration::from_millis(100);
/// Denials that the store is about to drop are left to lapse.
const LAPSING: Duration = Duration::from_secs(60 * 60);
/// Clients and grants per step of a walk through all of them.
const PAGE: usize = 500;

impl Healer {
    pub(super) fn new(
        store: Arc<dyn Store>,
        revocation: Arc<Revocation>,
        memory: MemoryFile,
        due: Arc<Notify>,
        clock: Clock,
        metrics: &Metrics,
    ) -> Healer {
        Healer {
            store,
            revocation,
            memory,
            due,
            clock,
            restored: metrics.revocations_restored.clone(),
        }
    }

    /// Never ends.
    pub(super) async fn run(self) -> Infallible {
        loop {
            self.due.notified().await;
            sleep(DELAY.mul_f64(0.5 + 0.5 * random_share())).await;
            let mut pause = Pause::new();
            while let Err(error) = self.heal().await {
                if pause.begin() {
                    tracing::warn!(error = %Causes(&error), "revocations that the store may lack are not told it yet");
                }
                sleep(pause.next()).await;
            }
        }
    }

    /// All that the store lacks, as of now: after a failure it is compared again.
    async fn heal(&self) -> Result<(), StoreError> {
        let known = self.known().await;
        if known.is_empty() {
            return Ok(());
        }
        let there = by_name(self.store.denials().await?.entries);
        let lapsed = self.clock.now().minus(DENIAL_RETENTION).plus(LAPSING);
        let lacking = known
            .into_iter()
            .filter(|(name, at)| *at > lapsed && there.get(name) < Some(at));
        let mut lacking: Vec<Lost> = lacking.collect();
        if lacking.is_empty() {
            return Ok(());
        }
        // What was lost is mostly the newest.
        lacking.sort_by_key(|(_, at)| std::cmp::Reverse(*at));
        let count = lacking.len();
        tracing::warn!(
            count,
            "the store has lost revocations: they are written back"
        );
        let families = self.families(&lacking).await?;
        for (index, ((kind, id), at)) in lacking.into_iter().enumerate() {
            if index % BURST == BURST - 1 {
                sleep(REST).await;
            }
            let grant = families.get(&id).filter(|_| kind == DenialKind::Grant);
            self.restore(Denial { kind, id, at }, grant).await?;
            self.restored.inc();
        }
        tracing::warn!(
            count,
            "the store has the revocations again that it had lost"
        );
        Ok(())
    }

    /// Of two denials with one name the later.
    async fn known(&self) -> HashMap<Name, Timestamp> {
        let mut known = self.revocation.list().news_since(&DenialList::default());
        // The list in memory drops denials of tokens sooner than their records end.
        if let Some(file) = self.memory.load_full() {
            match blocking(move || file.read()).await {
                Ok(remembered) => known.extend(remembered.denials),
                Err(error) => {
                    tracing::warn!(error = %Causes(&error), "the file of seen revocations is not read")
                }
            }
        }
        by_name(known)
    }

    /// Which grant each lost family is: a denial names only the family, from which no way leads
    /// back. So this looks through the grants of all clients; only after a loss.
    async fn families(&self, lacking: &[Lost]) -> Result<BTreeMap<String, GrantId>, StoreError> {
        let grants = lacking.iter().map(|lost| &lost.0);
        let grants = grants.filter(|(kind, _)| *kind == DenialKind::Grant);
        let wanted: BTreeSet<&str> = grants.map(|(_, id)| id.as_str()).collect();
        let mut found = BTreeMap::new();
        if !wanted.is_empty() {
            unless_unreadable(self.find_all(&wanted, &mut found).await)?;
        }
        Ok(found)
    }

    async fn find_all(
        &self,
        wanted: &BTreeSet<&str>,
        found: &mut BTreeMap<String, GrantId>,
    ) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let clients = self.store.clients(after.as_ref(), PAGE).await?;
            for client in clients.items {
                unless_unreadable(self.find_families(client.id, wanted, found).await)?;
            }
            after = clients.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn find_families(
        &self,
        client: ClientId,
        wanted: &BTreeSet<&str>,
        found: &mut BTreeMap<String, GrantId>,
    ) -> Result<(), StoreError> {
        let (owner, mut after) = (GrantOwner::Client(client), None);
        loop {
            let grants = self.store.grants(&owner, after.as_ref(), PAGE).await?;
            for grant in grants.items {
                let family = grant.id.family();
                if wanted.contains(family.as_str()) {
                    found.insert(family.to_string(), grant.id);
                }
            }
            after = grants.next;
            if after.is_none() {
                return Ok(());
            }
            sleep(REST).await;
        }
    }

    /// The record, where there is one that can say so, and the denial.
    async fn restore(&self, denial: Denial, grant: Option<&GrantId>) -> Result<(), StoreError> {
        let marked = self.mark(&denial, grant).await;
        match unless_unreadable(marked)? {
            Some(Denied::Too) => Ok(()),
            Some(Denied::NotYet) | None => self.store.deny(vec![denial]).await,
        }
    }

    async fn mark(&self, denial: &Denial, grant: Option<&GrantId>) -> Result<Denied, StoreError> {
        let (id, at) = (denial.id.as_str(), denial.at);
        match denial.kind {
            DenialKind::Key => {
                if let Ok(id) = KeyId::parse(id)
                    && let RevokeKey::Revoked(_) = self.store.revoke_key(&id, at).await?
                {
                    return Ok(Denied::Too);
                }
            }
            DenialKind::Session => {
                if let Ok(id) = SessionId::parse(id)
                    && let EndSession::Ended(_) = self.store.end_session(&id, at).await?
                {
                    return Ok(Denied::Too);
                }
            }
            DenialKind::Grant => {
                if let Some(id) = grant {
                    // Why it was is lost; this says nothing against the client or the user.
                    let why = RevocationReason::Operator;
                    let _before = self.store.revoke_grant(id, why, at).await?;
                }
            }
            DenialKind::Account
            | DenialKind::Client
            | DenialKind::Issuer
            | DenialKind::Jti
            | DenialKind::Subject => {}
        }
        Ok(Denied::NotYet)
    }
}

/// Whether marking a record put the denial on the list, too.
enum Denied {
    NotYet,
    Too,
}

/// A record that cannot be read lets nobody in, and will not be readable the next time either: it
/// is told, and what else there is to do goes on.
fn unless_unreadable<T>(answer: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(StoreError::Corrupt(what)) => {
            tracing::error!(
                what,
                "a record of the store cannot be told that it is revoked"
            );
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn by_name(denials: Vec<Denial>) -> HashMap<Name, Timestamp> {
    let mut by_name = HashMap::with_capacity(denials.len());
    for Denial { kind, id, at } in denials {
        let latest = by_name.entry((kind, id)).or_insert(at);
        *latest = at.max(*latest);
    }
    by_name
}

fn random_share() -> f64 {
    let [random] = random_bytes::<1>();
    f64::from(random) / 255.0
}
