//! A store that counts and times each verb of the store within.
//!
//! Not here: what an error means. Invariant: every answer passes through unchanged.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Histogram;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::clock::Timestamp;
use crate::id::{
    ClientId, GrantId, InstanceId, InteractionId, KeyId, LoginName, SessionId, SubjectId,
};
use crate::observe::{Metrics, StoreMetrics};
use crate::scope::ScopeSet;
use crate::sealed::Sealed;
use crate::secret::Digest;

use super::{
    ActivateSigningKey, AdvanceInteraction, AnswerLogin, ArchiveStore, ChangeUser, ClientRecord,
    ClientRotation, ClientSettings, ClientStore, ConsentRecord, CreateClient, CreateGrant,
    CreateInteraction, CreateKey, CreateSession, CreateUser, Cursor, Day, Decision, Denial,
    Denials, DisableClient, DropSigningKey, EndSession, Entries, Entry, EventStore, Fleet,
    FleetStore, Follow, Forget, GrantOwner, GrantRecord, GrantStore, InstanceReport,
    InteractionRecord, InteractionStore, KeyRecord, KeyRotated, KeyRotation, KeyStore, KeyUsage,
    KeyUses, Login, LoginAnswer, NewKey, NewSession, NewSigningKey, Page, PasswordHash, Position,
    PublishSigningKey, Redeem, RedeemCode, Rehash, Restored, RevocationReason, RevokeGrant,
    RevokeKey, Rotate, RotateClientSecret, RotateKey, RotateRefresh, SessionOwner, SessionRecord,
    SessionStore, SigningKeyRecord, SigningKeyStore, Store, StoreError, Touch, UpdateClient,
    UsageStore, UserRecord, UserStore,
};

/// Puts a store behind its counters.
pub(super) fn measure(store: impl Store, metrics: &Metrics) -> Arc<dyn Store> {
    Arc::new(Measured {
        store,
        duration: metrics.store_operation_duration.clone(),
        verbs: Verbs::new(metrics),
    })
}

struct Measured<S> {
    store: S,
    duration: Histogram,
    verbs: Verbs,
}

impl<S> Measured<S> {
    async fn time<T>(
        &self,
        verb: &StoreMetrics,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let start = Instant::now();
        let answer = answer.await;
        self.duration.observe(start.elapsed().as_secs_f64());
        count(verb, answer)
    }
}

fn count<T>(verb: &StoreMetrics, answer: Result<T, StoreError>) -> Result<T, StoreError> {
    match &answer {
        Ok(_) => verb.ok.inc(),
        Err(_) => verb.error.inc(),
    }
    answer
}

/// From the traits' verbs: the handles, and the traits themselves. A verb that is missing here does
/// not compile, since its trait is not whole.
macro_rules! measured {
    ($($trait:ident { $($verb:ident($($argument:ident: $type:ty),*) -> $answer:ty;)* })*) => {
        struct Verbs {
            archive: StoreMetrics,
            denials: StoreMetrics,
            deny: StoreMetrics,
            follow: StoreMetrics,
            log_end: StoreMetrics,
            log_holds: StoreMetrics,
            ping: StoreMetrics,
            restore: StoreMetrics,
            $($($verb: StoreMetrics,)*)*
        }

        impl Verbs {
            fn new(metrics: &Metrics) -> Verbs {
                Verbs {
                    archive: metrics.store("archive"),
                    denials: metrics.store("denials"),
                    deny: metrics.store("deny"),
                    follow: metrics.store("follow"),
                    log_end: metrics.store("log_end"),
                    log_holds: metrics.store("log_holds"),
                    ping: metrics.store("ping"),
                    restore: metrics.store("restore"),
                    $($($verb: metrics.store(stringify!($verb)),)*)*
                }
            }
        }

        $(#[async_trait::async_trait]
        impl<S: Store> $trait for Measured<S> {
            $(async fn $verb(&self, $($argument: $type),*) -> Result<$answer, StoreError> {
                self.time(&self.verbs.$verb, self.store.$verb($($argument),*)).await
            })*
        })*
    };
}

measured! {
    KeyStore {
        key_by_digest(digest: &Digest) -> Option<KeyRecord>;
        key(id: &KeyId) -> Option<KeyRecord>;
        keys(after: Option<&KeyId>, limit: usize) -> Vec<KeyRecord>;
        keys_at_hand(after: Option<&Digest>, limit: usize) -> Vec<(Digest, KeyRecord)>;
        create_keys(keys: Vec<NewKey>) -> Vec<CreateKey>;
        revoke_key(id: &KeyId, at: Timestamp) -> RevokeKey;
        rotate_key(rotation: KeyRotation) -> RotateKey;
        key_rotation(id: &KeyId) -> Option<KeyRotated>;
        rehash_key(id: &KeyId, old: &Digest, new: &Digest) -> Rehash;
    }
    FleetStore {
        report(report: InstanceReport) -> Option<Duration>;
        fleet() -> Fleet;
        leave(id: &InstanceId) -> ();
        forget(id: &InstanceId, silent_for: Duration) -> Forget;
    }
    UsageStore {
        touch(touches: Vec<Touch>) -> ();
        last_seen(digests: Vec<Digest>) -> Vec<Option<Timestamp>>;
        begin_usage(at: Timestamp) -> Timestamp;
        usage_began() -> Option<Timestamp>;
        add_usage(uses: Vec<KeyUses>, at: Timestamp) -> ();
        usage(keys: Vec<KeyId>, since: Day, until: Day) -> Vec<KeyUsage>;
    }
    SessionStore {
        create_session(session: NewSession) -> CreateSession;
        session_by_digest(digest: &Digest) -> Option<SessionRecord>;
        session(id: &SessionId) -> Option<SessionRecord>;
        sessions(owner: &SessionOwner, after: Option<&Cursor>, limit: usize) -> Page<SessionRecord>;
        end_session(id: &SessionId, at: Timestamp) -> EndSession;
        end_sessions(owner: &SessionOwner, at: Timestamp) -> Vec<SessionId>;
    }
    ClientStore {
        create_client(record: ClientRecord) -> CreateClient;
        client(id: &ClientId) -> Option<ClientRecord>;
        clients(after: Option<&Cursor>, limit: usize) -> Page<ClientRecord>;
        update_client(id: &ClientId, settings: ClientSettings, at: Timestamp) -> UpdateClient;
        rotate_client_secret(rotation: ClientRotation) -> RotateClientSecret;
        rehash_client_secret(id: &ClientId, old: &Digest, new: &Digest, at: Timestamp) -> Rehash;
        disable_client(id: &ClientId, at: Timestamp) -> DisableClient;
    }
    UserStore {
        create_user(record: UserRecord) -> CreateUser;
        user(id: &SubjectId) -> Option<UserRecord>;
        user_by_name(name: &LoginName) -> Option<UserRecord>;
        users(after: Option<&Cursor>, limit: usize) -> Page<UserRecord>;
        set_password(
            name: &LoginName,
            password: PasswordHash,
            instead_of: Option<PasswordHash>,
            at: Timestamp
        ) -> ChangeUser;
        set_user_scopes(name: &LoginName, scopes: ScopeSet, at: Timestamp) -> ChangeUser;
        disable_user(name: &LoginName, at: Timestamp) -> ChangeUser;
        enable_user(name: &LoginName, at: Timestamp) -> ChangeUser;
    }
    GrantStore {
        create_grant(record: GrantRecord) -> CreateGrant;
        grant(id: &GrantId) -> Option<GrantRecord>;
        grants(owner: &GrantOwner, after: Option<&Cursor>, limit: usize) -> Page<GrantRecord>;
        redeem_code(request: RedeemCode) -> Redeem;
        rotate_refresh(request: RotateRefresh) -> Rotate;
        revoke_grant(id: &GrantId, why: RevocationReason, at: Timestamp) -> RevokeGrant;
        revoke_grants(owner: &GrantOwner, why: RevocationReason, at: Timestamp) -> Vec<GrantId>;
    }
    InteractionStore {
        create_interaction(record: InteractionRecord) -> CreateInteraction;
        interaction(id: &InteractionId) -> Option<InteractionRecord>;
        log_in_interaction(id: &InteractionId, login: Login, at: Timestamp) -> AdvanceInteraction;
        answer_login(
            id: &InteractionId,
            challenge: &Digest,
            answer: LoginAnswer,
            at: Timestamp
        ) -> AnswerLogin;
        decide_interaction(
            id: &InteractionId,
            decision: Decision,
            at: Timestamp
        ) -> AdvanceInteraction;
        consent(client: &ClientId, subject: &SubjectId) -> Option<ConsentRecord>;
        remember_consent(
            client: &ClientId,
            subject: &SubjectId,
            scopes: ScopeSet,
            at: Timestamp
        ) -> ();
        forget_consent(client: &ClientId, subject: &SubjectId, at: Timestamp) -> ();
    }
    SigningKeyStore {
        signing_keys() -> Vec<SigningKeyRecord>;
        publish_signing_key(key: NewSigningKey, at: Timestamp) -> PublishSigningKey;
        activate_signing_key(
            kid: &str,
            published_for: Duration,
            retire_at: Timestamp,
            at: Timestamp
        ) -> ActivateSigningKey;
        drop_signing_key(kid: &str, at: Timestamp) -> DropSigningKey;
        reseal_signing_key(kid: &str, old: &Sealed, new: Sealed, at: Timestamp) -> Rehash;
    }
}

#[async_trait::async_trait]
impl<S: Store> EventStore for Measured<S> {
    async fn deny(&self, denials: Vec<Denial>) -> Result<(), StoreError> {
        self.time(&self.verbs.deny, self.store.deny(denials)).await
    }

    async fn denials(&self) -> Result<Denials, StoreError> {
        self.time(&self.verbs.denials, self.store.denials()).await
    }

    /// Counted but not timed: it waits on purpose, which would drown every other duration.
    async fn follow(&self, position: &Position, wait: Duration) -> Result<Follow, StoreError> {
        count(&self.verbs.follow, self.store.follow(position, wait).await)
    }

    async fn log_end(&self) -> Result<Position, StoreError> {
        self.time(&self.verbs.log_end, self.store.log_end()).await
    }

    async fn log_holds(&self, position: &Position) -> Result<bool, StoreError> {
        self.time(&self.verbs.log_holds, self.store.log_holds(position))
            .await
    }

    fn has_reached(&self, position: &Position, target: &Position) -> bool {
        self.store.has_reached(position, target)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.time(&self.verbs.ping, self.store.ping()).await
    }
}

/// Counted but not timed: they take as long as whoever is at the other end.
#[async_trait::async_trait]
impl<S: Store> ArchiveStore for Measured<S> {
    async fn archive(&self, to: mpsc::Sender<Entry>) -> Result<(), StoreError> {
        count(&self.verbs.archive, self.store.archive(to).await)
    }

    async fn restore(&self, entries: Entries, at: Timestamp) -> Result<Restored, StoreError> {
        count(&self.verbs.restore, self.store.restore(entries, at).await)
    }

    fn backend(&self) -> &'static str {
        self.store.backend()
    }
}
