//! The key desk: makes, lists, rotates, revokes and takes over API keys, for the admin API and the
//! command line alike.
//!
//! Not here: whether a key admits a request (the rest of [`crate::auth`]), and any transport.
//! Invariants: a secret leaves the desk once, as the answer to the wish that made it; every change
//! leaves an audit line; a scope that the config does not know is in no key that the desk writes.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;

use crate::auth::{
    Checksum, CredentialForm, CredentialSettings, SessionDesk, SigningKeyDesk, TokenDesk,
};
use crate::clock::{Clock, Timestamp};
use crate::environment::Environment;
use crate::id::{AccountId, KeyId};
use crate::observe::{Actor, AuditAction, AuditEvent, AuditLog, AuditOutcome};
use crate::scope::ScopeSet;
use crate::secret::{Digest, LivePeppers, Peppers, Secret};
use crate::store::{CreateKey, KeyRecord, NewKey, RevokeKey, Store, StoreError};
use crate::token::{OpaqueFormat, OpaqueKind};

mod import;
mod import_line;
mod lines;
mod problem;
mod report;
mod rotation;
mod shown;
mod tools;

pub use import::{Import, ImportNote, ImportReport, ImportStopped, NoteKind};
pub use problem::KeyProblem;
pub use report::{CountedUsage, Finding, KeyReport, ReportPage, ReportQuery};
pub use rotation::{KeyRotationStatus, RotateKeyRequest, RotatedKey};
pub use shown::{RevokedShown, ShownError, ShownKind, ShownProblem};
pub use tools::DeskTools;

/// Manages API keys on one store.
pub struct KeyDesk {
    store: Arc<dyn Store>,
    format: OpaqueFormat,
    form: CredentialForm,
    peppers: LivePeppers,
    checksum: Checksum,
    scopes: Arc<ArcSwap<ScopeSet>>,
    clock: Clock,
    audit: AuditLog,
    sessions: SessionDesk,
    tokens: TokenDesk,
    signing_keys: SigningKeyDesk,
}

/// What a desk works with.
pub struct KeyDeskParts<'a> {
    /// Where the keys are.
    pub store: Arc<dyn Store>,
    /// How they look and are hashed.
    pub credentials: &'a CredentialSettings,
    /// Every scope that there is.
    pub scopes: ScopeSet,
    /// The time.
    pub clock: Clock,
    /// Where changes are told.
    pub audit: AuditLog,
}

/// A wish for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKeyRequest {
    /// The account that it acts for.
    pub account: AccountId,
    /// A label for people: 1 to 200 characters, no control characters.
    pub name: String,
    /// Live or test.
    pub environment: Environment,
    /// What it may do.
    pub scopes: ScopeSet,
    /// From when it works; `None` is at once.
    pub not_before: Option<Timestamp>,
    /// When it stops working; `None` is never.
    pub expires_at: Option<Timestamp>,
    /// Client addresses it may be used from; empty is any.
    pub allowed_ips: Vec<IpNet>,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPage {
    /// In the order of their ids.
    pub keys: Vec<KeyRecord>,
    /// Ask again beginning after this id; `None` is the end.
    pub next: Option<KeyId>,
}

/// Why the desk could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The wish cannot be granted as it is.
    #[error(transparent)]
    Problem(#[from] KeyProblem),
    /// The store did not take part; whether a change was written is not known.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no key of this id.
    #[error("there is no key {0}")]
    Unknown(KeyId),
}

/// Records read from the store at once while looking for one account's keys.
const SCAN_PAGE: usize = 500;
/// Pages looked through for one answer; past it the answer is short and says where to go on.
const SCAN_PAGES: usize = 20;
/// The longest name, in characters.
const NAME_CHARS: usize = 200;
/// How long a change waits for its audit line to reach the disk. Past it the change stands all
/// the same (interface.md §7.8).
const AUDIT_WAIT: Duration = Duration::from_secs(2);

impl KeyDesk {
    /// Opens the desk.
    pub fn new(parts: KeyDeskParts<'_>) -> KeyDesk {
        let format = OpaqueFormat::new(&parts.credentials.prefix);
        let peppers = LivePeppers::new(parts.credentials.peppers.clone());
        let sessions = SessionDesk {
            store: Arc::clone(&parts.store),
            format: format.clone(),
            peppers: peppers.clone(),
            clock: parts.clock.clone(),
            audit: parts.audit.clone(),
        };
        let (store, clock, audit) = (&parts.store, &parts.clock, &parts.audit);
        KeyDesk {
            tokens: TokenDesk::new(Arc::clone(store), clock.clone(), audit.clone()),
            signing_keys: SigningKeyDesk::new(
                Arc::clone(store),
                peppers.clone(),
                clock.clone(),
                audit.clone(),
            ),
            store: parts.store,
            format,
            form: CredentialForm::new(parts.credentials),
            peppers,
            checksum: parts.credentials.checksum,
            scopes: Arc::new(ArcSwap::from_pointee(parts.scopes)),
            clock: parts.clock,
            audit: parts.audit,
            sessions,
        }
    }

    /// The desk beside it, for sessions.
    pub fn sessions(&self) -> &SessionDesk {
        &self.sessions
    }

    /// The desk beside it, for access tokens.
    pub fn tokens(&self) -> &TokenDesk {
        &self.tokens
    }

    /// The desk beside it, for what access tokens are signed with.
    pub fn signing_keys(&self) -> &SigningKeyDesk {
        &self.signing_keys
    }

    /// Replaces the scopes that keys may have, after a reload. Keys that have others keep them.
    pub fn set_scopes(&self, scopes: ScopeSet) {
        self.scopes.store(Arc::new(scopes));
    }

    /// Replaces the peppers, after a reload.
    pub fn set_peppers(&self, peppers: Peppers) {
        self.peppers.replace(peppers);
    }

    /// Makes a key. The secret is in this answer and nowhere else.
    pub async fn create(
        &self,
        request: NewKeyRequest,
        actor: Actor,
    ) -> Result<(KeyRecord, Secret), KeyError> {
        let minted = self.format.mint(OpaqueKind::ApiKey(request.environment));
        let record = self.draft(request, KeyId::random(), minted.hint)?;
        let new = NewKey {
            digest: self.digest(&minted.secret),
            record: record.clone(),
        };
        match self.store.create_keys(vec![new]).await?.first() {
            Some(CreateKey::Created) => {}
            // 256 random bits do not repeat, 95 of the id hardly: the store is not sound.
            Some(CreateKey::Exists) | None => {
                return Err(StoreError::Corrupt("a new random key exists already".into()).into());
            }
        }
        self.tell(AuditAction::KeyCreate, actor, &record).await;
        Ok((record, minted.secret))
    }

    /// Up to `limit` keys in the order of their ids, beginning after `after`, of one account or
    /// of all.
    pub async fn list(
        &self,
        after: Option<&KeyId>,
        limit: usize,
        account: Option<&AccountId>,
    ) -> Result<KeyPage, KeyError> {
        let page = if account.is_some() { SCAN_PAGE } else { limit };
        let mut keys = Vec::new();
        let mut next = after.cloned();
        for _ in 0..SCAN_PAGES {
            let records = self.store.keys(next.as_ref(), page.max(1)).await?;
            let whole = records.len() == page.max(1);
            for record in records {
                next = Some(record.id.clone());
                if account.is_none_or(|account| *account == record.account) {
                    keys.push(record);
                }
                if keys.len() == limit {
                    return Ok(KeyPage { keys, next });
                }
            }
            if !whole {
                return Ok(KeyPage { keys, next: None });
            }
        }
        Ok(KeyPage { keys, next })
    }

    /// One key.
    pub async fn show(&self, id: &KeyId) -> Result<KeyRecord, KeyError> {
        let record = self.store.key(id).await?;
        record.ok_or_else(|| KeyError::Unknown(id.clone()))
    }

    /// Revokes a key. To repeat it is safe, and completes what a crash left undone.
    pub async fn revoke(&self, id: &KeyId, actor: Actor) -> Result<RevokeKey, KeyError> {
        let revoked = self.store.revoke_key(id, self.clock.now()).await?;
        match &revoked {
            RevokeKey::Revoked(record) => self.tell(AuditAction::KeyRevoke, actor, record).await,
            RevokeKey::AlreadyRevoked(_) => {}
            RevokeKey::Unknown => return Err(KeyError::Unknown(id.clone())),
        }
        Ok(revoked)
    }

    /// Begins to take over existing keys: feed it lines, then finish it.
    pub fn import(&self, actor: Actor) -> Import<'_> {
        Import::new(self, actor)
    }

    /// The present, for whoever turns "in 90 days" into an instant.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What is kept of a new secret.
    fn digest(&self, secret: &Secret) -> Digest {
        self.peppers.load().current().digest(secret.expose())
    }

    /// Checks a wish and turns it into the record to write.
    fn draft(
        &self,
        request: NewKeyRequest,
        id: KeyId,
        hint: String,
    ) -> Result<KeyRecord, KeyProblem> {
        let now = self.clock.now();
        check_name(&request.name)?;
        self.check_scopes(&request.scopes)?;
        if request.expires_at.is_some_and(|end| end <= now) {
            return Err(KeyProblem::Expired);
        }
        if let (Some(start), Some(end)) = (request.not_before, request.expires_at)
            && start >= end
        {
            return Err(KeyProblem::NeverValid);
        }
        Ok(KeyRecord {
            id,
            account: request.account,
            name: request.name,
            environment: request.environment,
            scopes: request.scopes,
            created_at: now,
            not_before: request.not_before,
            expires_at: request.expires_at,
            revoked_at: None,
            allowed_ips: request.allowed_ips,
            hint,
        })
    }

    fn check_scopes(&self, wanted: &ScopeSet) -> Result<(), KeyProblem> {
        check_scopes(wanted, &self.scopes.load())
    }

    /// Leaves the audit line of a change to one key and waits a little for the disk.
    async fn tell(&self, action: AuditAction, actor: Actor, record: &KeyRecord) {
        self.audit.record(key_event(action, actor, record));
        if !self.audit.settle(AUDIT_WAIT).await {
            tracing::warn!(key = %record.id, "the audit line of this change is not on disk yet");
        }
    }
}

impl std::fmt::Debug for KeyDesk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyDesk").finish_non_exhaustive()
    }
}

/// Parses `192.0.2.0/24`, `2001:db8::/32` or a single address. What is IPv4 in IPv6's clothes
/// (`::ffff:192.0.2.7`, RFC 4291 §2.5.5.2) is kept as the IPv4 that it is compared with.
pub fn parse_allowed_ip(text: &str) -> Result<IpNet, KeyProblem> {
    let single = |_| text.parse::<IpAddr>().map(IpNet::from);
    let net: IpNet = text
        .parse()
        .or_else(single)
        .map_err(|_| KeyProblem::Address)?;
    // Host bits are most likely a mistake: 10.0.0.7/8 reads as one address and admits a network.
    if net == net.trunc() {
        Ok(canonical(net))
    } else {
        Err(KeyProblem::Address)
    }
}

/// As [`Principal::allows_address`](super::Principal::allows_address) reads a client's address.
fn canonical(net: IpNet) -> IpNet {
    const MAPPED: u8 = 96;
    let bits = net.prefix_len().checked_sub(MAPPED);
    match (net.network().to_canonical(), bits) {
        // An IPv4 network has no 96 bits.
        (address @ IpAddr::V4(_), Some(bits)) => IpNet::new(address, bits).unwrap_or(net),
        _ => net,
    }
}

fn check_name(name: &str) -> Result<(), KeyProblem> {
    let chars = name.chars().count();
    if (1..=NAME_CHARS).contains(&chars) && !name.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(KeyProblem::Name)
    }
}

fn check_scopes(wanted: &ScopeSet, known: &ScopeSet) -> Result<(), KeyProblem> {
    match wanted.iter().find(|scope| !known.contains(scope)) {
        Some(scope) => Err(KeyProblem::unknown_scope(&scope, known)),
        None => Ok(()),
    }
}

fn key_event(action: AuditAction, actor: Actor, record: &KeyRecord) -> AuditEvent {
    AuditEvent::new(action, actor, AuditOutcome::Done)
        .credential(&record.id)
        .account(record.account.clone())
        .grants(record.scopes.clone(), record.expires_at)
}

/// The known scope that a misspelt one was probably meant to be.
fn nearest<'a>(wanted: &str, known: &'a ScopeSet) -> Option<&'a str> {
    let distance = |name: &&str| edit_distance(wanted, name);
    known
        .names()
        .min_by_key(distance)
        .filter(|name| edit_distance(wanted, name) <= 3)
}

/// Levenshtein's, over bytes: scopes are ASCII.
fn edit_distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.bytes().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_scope_is_told_the_right_one() {
        let known = ScopeSet::parse("domains:read domains:write vps:read").expect("scopes");
        let near = |wanted| nearest(wanted, &known);
        assert_eq!(near("domain:read"), Some("domains:read"));
        assert_eq!(near("vps:raed"), Some("vps:read"));
        assert_eq!(near("mail:admin"), None);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "abc"), 3);
    }

    #[test]
    fn an_allowed_address_is_a_network_without_host_bits_or_one_address() {
        let shown = |text| parse_allowed_ip(text).map(|net| net.to_string()).ok();
        assert_eq!(shown("192.0.2.0/24").as_deref(), Some("192.0.2.0/24"));
        assert_eq!(shown("192.0.2.7").as_deref(), Some("192.0.2.7/32"));
        assert_eq!(shown("2001:db8::1").as_deref(), Some("2001:db8::1/128"));
        for (mapped, kept) in [
            ("::ffff:127.0.0.1", "127.0.0.1/32"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            // More than IPv4, or none of it.
            ("::/0", "::/0"),
            ("::ffff:0:0:0/96", "::ffff:0:0:0/96"),
        ] {
            assert_eq!(shown(mapped).as_deref(), Some(kept), "{mapped}");
        }
        for wrong in [
            "10.0.0.7/8",
            "10.0.0",
            "",
            "localhost",
            "10.0.0.0/33",
            "::ffff:192.0.2.7/120",
        ] {
            assert_eq!(parse_allowed_ip(wrong), Err(KeyProblem::Address), "{wrong}");
        }
    }

    #[test]
    fn names_are_safe_on_a_terminal() {
        for wrong in ["", "a\nb", "a\u{1b}[2J", "a\u{9b}", &"x".repeat(201)] {
            assert_eq!(check_name(wrong), Err(KeyProblem::Name), "{wrong:?}");
        }
        assert_eq!(check_name("CI – production"), Ok(()));
    }
}
