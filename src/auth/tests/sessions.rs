//! Sessions judged with what gave them; identity.md §7, rule by rule.

use serde_json::json;
use tempfile::NamedTempFile;

use crate::id::{CredentialId, FamilyId, SessionId};
use crate::store::{
    CreateSession, NewSession, ParentToken, SessionParent, SessionRecord, SessionStore as _, Touch,
    UsageStore as _,
};

use super::*;

const IDLE: Failure = Failure::Refused(Refusal::Idle);
const EXPIRED: Failure = Failure::Refused(Refusal::Expired);
const ISSUER: &str = "https://idp.example";
const HOUR: Duration = Duration::from_secs(3600);

impl Room {
    /// A session in the store, as the desk writes it.
    async fn session(
        &self,
        parent: SessionParent,
        change: impl FnOnce(&mut SessionRecord),
    ) -> String {
        let minted = OpaqueFormat::new("osir").mint(OpaqueKind::Session);
        let mut record = session(parent);
        change(&mut record);
        let digest = self.digest(minted.secret.expose());
        let new = NewSession {
            digest,
            record,
            cap: 100,
        };
        let created = self.store.create_session(new).await;
        assert_eq!(created.ok(), Some(CreateSession::Created));
        self.follow().await;
        minted.secret.expose().to_owned()
    }

    /// Time as people and timers see it.
    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
        sleep(time).await;
    }
}

fn session(parent: SessionParent) -> SessionRecord {
    SessionRecord {
        id: SessionId::random(),
        parent,
        subject: "acct_1".into(),
        account: Some(AccountId::parse("acct_1").expect("id")),
        client: None,
        resource: None,
        environment: Environment::Live,
        scopes: ScopeSet::parse("domains:read").expect("scopes"),
        created_at: NOW,
        expires_at: NOW.plus(HOUR),
        idle_timeout: None,
        ended_at: None,
        allowed_ips: Vec::new(),
        label: String::new(),
        hint: "osir_sess_…abcd".into(),
    }
}

/// A room that trusts one issuer.
async fn trusting() -> (Room, NamedTempFile) {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
    let part = |range: std::ops::Range<usize>| {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&key.public_key_raw()[range])
    };
    let set = json!({ "keys": [{
        "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "k",
        "x": part(1..33), "y": part(33..65),
    }] });
    let file = NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), set.to_string()).expect("written");
    let room = trusting_keys_of(JwksSource::File(file.path().into())).await;
    (room, file)
}

async fn trusting_keys_of(jwks: JwksSource) -> Room {
    let settings = IssuerSettings {
        issuer: ISSUER.into(),
        jwks,
        audiences: vec!["api".into()],
        algorithms: vec![SignatureAlgorithm::Es256],
        token_type: TokenType::AccessToken,
        clock_skew: Duration::from_secs(60),
        max_lifetime: 24 * HOUR,
        revocation: IssuerRevocation::Log,
    };
    let (metrics, control) = (Arc::new(Metrics::new()), Handle::current());
    let tokens = AccessTokens::new(&[settings], Clock::manual(NOW), &metrics, &control, 10);
    let room = Room::closed_with(control, tokens.expect("valid settings"));
    eventually(|| matches!(room.authenticator.revocation().lease(), Lease::Fresh(_))).await;
    room
}

fn token() -> SessionParent {
    SessionParent::AccessToken(ParentToken {
        id: CredentialId::parse("jti-1").expect("id"),
        issuer: ISSUER.into(),
        family: Some(FamilyId::parse("fam-1").expect("id")),
        issued_at: NOW.minus(Duration::from_secs(60)),
        expires_at: NOW.plus(HOUR),
    })
}

fn of_token(record: &mut SessionRecord) {
    record.subject = format!("{ISSUER}|alice");
    record.client = Some("app".into());
}

#[tokio::test(start_paused = true)]
async fn a_session_may_what_it_and_its_key_may_from_where_both_may() {
    let room = Room::open().await;
    let id = KeyId::random();
    let key = room.key(|record| {
        record.id = id.clone();
        record.allowed_ips = vec!["10.1.0.0/16".parse().expect("net")];
    });
    let token = room
        .session(SessionParent::Key(id.clone()), |record| {
            record.scopes = ScopeSet::parse("domains:read email:read").expect("scopes");
            record.allowed_ips = vec!["10.0.0.0/8".parse().expect("net")];
        })
        .await;
    let principal = room.verdict(&token).await.expect("good");
    assert_eq!(principal.kind(), CredentialKind::Session);
    assert_eq!(principal.scopes().to_string(), "domains:read");
    assert!(principal.allows_address("10.1.2.3".parse().expect("address")));
    assert!(!principal.allows_address("10.2.2.3".parse().expect("address")));
    assert_eq!(principal.as_parent(), None, "a session gives no session");

    // The key's scopes are those of now, not those of then.
    let mut less = record();
    less.id = id;
    less.scopes = ScopeSet::parse("domains:write").expect("scopes");
    room.store.put(room.digest(&key), less);
    room.pass(Duration::from_secs(61)).await;
    let _refreshes = room.verdict(&token).await;
    room.pass(Duration::from_secs(1)).await;
    let principal = room.verdict(&token).await.expect("good");
    assert_eq!(principal.scopes().to_string(), "");
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_by_itself_with_its_key_and_without_it() {
    let room = Room::open().await;
    let id = KeyId::random();
    let _key = room.key(|record| {
        record.id = id.clone();
        record.expires_at = Some(NOW.plus(Duration::from_secs(600)));
    });
    let of_key = || SessionParent::Key(id.clone());
    let short = room
        .session(of_key(), |record| {
            record.expires_at = NOW.plus(Duration::from_secs(60));
        })
        .await;
    let long = room.session(of_key(), |_| {}).await;
    let orphan = room
        .session(SessionParent::Key(KeyId::random()), |_| {})
        .await;
    assert_eq!(room.failure(&orphan).await, Some(REVOKED));
    room.pass(Duration::from_millis(59_999)).await;
    assert_eq!(room.failure(&short).await, None);
    room.pass(Duration::from_millis(1)).await;
    assert_eq!(room.failure(&short).await, Some(EXPIRED));
    assert_eq!(room.failure(&long).await, None);
    room.pass(Duration::from_secs(540)).await;
    assert_eq!(room.failure(&long).await, Some(EXPIRED), "its key's end");
}

#[tokio::test(start_paused = true)]
async fn whatever_denies_the_key_denies_a_cached_session() {
    for kind in [DenialKind::Session, DenialKind::Key, DenialKind::Account] {
        let room = Room::open().await;
        let (id, own) = (KeyId::random(), SessionId::random());
        let _key = room.key(|record| record.id = id.clone());
        let session = room
            .session(SessionParent::Key(id.clone()), |record| {
                record.id = own.clone();
            })
            .await;
        assert_eq!(room.failure(&session).await, None);
        let denied = match kind {
            DenialKind::Session => own.to_string(),
            DenialKind::Key => id.to_string(),
            _ => "acct_1".into(),
        };
        room.deny(kind, &denied);
        room.follow().await;
        assert_eq!(room.failure(&session).await, Some(REVOKED), "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_denies_the_token_denies_a_cached_session() {
    for (kind, id) in [
        (DenialKind::Jti, "jti-1"),
        (DenialKind::Grant, "fam-1"),
        (DenialKind::Client, "app"),
        (DenialKind::Subject, "https://idp.example|alice"),
        (DenialKind::Issuer, ISSUER),
        (DenialKind::Account, "acct_1"),
    ] {
        let (room, _keys) = trusting().await;
        let session = room.session(token(), of_token).await;
        assert_eq!(room.failure(&session).await, None);
        room.deny(kind, id);
        room.follow().await;
        assert_eq!(room.failure(&session).await, Some(REVOKED), "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_of_ours_is_denied_by_the_bare_id_and_nobody_elses_subject_is() {
    // As disabling a user does.
    let own = trusting_keys_of(JwksSource::Builtin).await;
    let (foreign, _keys) = trusting().await;
    for (room, refused) in [(own, Some(REVOKED)), (foreign, None)] {
        let session = room.session(token(), of_token).await;
        assert_eq!(room.failure(&session).await, None);
        room.deny(DenialKind::Subject, "alice");
        room.follow().await;
        assert_eq!(room.failure(&session).await, refused);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_of_a_token_whose_issuer_is_not_trusted_any_more_is_refused() {
    let room = Room::open().await;
    let session = room.session(token(), of_token).await;
    assert_eq!(
        room.failure(&session).await,
        Some(Failure::Refused(Refusal::Issuer))
    );
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_ends_unless_another_gateway_saw_it() {
    let room = Room::open().await;
    let id = KeyId::random();
    let _key = room.key(|record| record.id = id.clone());
    let idle = |record: &mut SessionRecord| record.idle_timeout = Some(Duration::from_secs(60));
    let session = room.session(SessionParent::Key(id.clone()), idle).await;
    // Every use keeps it alive, also from the cache.
    for _ in 0..5 {
        room.pass(Duration::from_secs(59)).await;
        assert_eq!(room.failure(&session).await, None);
    }
    let touch = |at| Touch {
        digest: room.digest(&session),
        seen_at: at,
        keep_until: None,
    };
    room.pass(Duration::from_secs(50)).await;
    let elsewhere = room.clock.now();
    room.store
        .touch(vec![touch(elsewhere)])
        .await
        .expect("told");
    room.pass(Duration::from_secs(30)).await;
    assert_eq!(
        room.failure(&session).await,
        None,
        "seen 30 s ago elsewhere"
    );
    room.pass(Duration::from_secs(60)).await;
    assert_eq!(room.failure(&session).await, Some(IDLE));
    // It cannot be known to be idle without the store.
    room.store.set_lookups(Mood::Fail);
    room.pass(Duration::from_secs(2)).await;
    assert_eq!(room.failure(&session).await, Some(NO_STORE));
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_about_a_session_does_not_use_it() {
    let room = Room::open().await;
    let id = KeyId::random();
    let _key = room.key(|record| record.id = id.clone());
    let idle = |record: &mut SessionRecord| record.idle_timeout = Some(Duration::from_secs(60));
    let session = room.session(SessionParent::Key(id), idle).await;
    room.pass(Duration::from_secs(40)).await;
    let credential = Credential::read(&session, room.authenticator.form());
    assert!(room.authenticator.inspect(credential, None).await.is_ok());
    room.pass(Duration::from_secs(40)).await;
    assert_eq!(room.failure(&session).await, Some(IDLE));
}

#[tokio::test(start_paused = true)]
async fn whoever_shows_a_session_from_where_it_may_not_be_used_does_not_use_it() {
    let room = Room::open().await;
    let id = KeyId::random();
    let _key = room.key(|record| record.id = id.clone());
    let bound = |record: &mut SessionRecord| {
        record.idle_timeout = Some(Duration::from_secs(60));
        record.allowed_ips = vec!["192.0.2.0/24".parse().expect("net")];
    };
    let session = room.session(SessionParent::Key(id), bound).await;
    let show = async |from: &str| {
        let credential = Credential::read(&session, room.authenticator.form());
        let from = from.parse().expect("an address");
        room.authenticator
            .authenticate(credential, from, None)
            .await
    };
    room.pass(Duration::from_secs(40)).await;
    assert!(show("192.0.2.7").await.is_ok());
    room.pass(Duration::from_secs(40)).await;
    let principal = show("198.51.100.7")
        .await
        .expect("the address is for others to check");
    assert!(!principal.allows_address("198.51.100.7".parse().expect("an address")));
    room.pass(Duration::from_secs(40)).await;
    assert_eq!(show("192.0.2.7").await.err(), Some(IDLE));
}

#[tokio::test(start_paused = true)]
async fn a_session_needs_the_store_once_and_the_log_always() {
    let room = Room::open().await;
    let id = KeyId::random();
    let _key = room.key(|record| record.id = id.clone());
    let of_key = SessionParent::Key(id);
    let (known, unseen) = (
        room.session(of_key.clone(), |_| {}).await,
        room.session(of_key, |_| {}).await,
    );
    assert_eq!(room.failure(&known).await, None);
    room.store.set_lookups(Mood::Fail);
    assert_eq!(room.failure(&known).await, None);
    assert_eq!(room.failure(&unseen).await, Some(NO_STORE));
    room.store.set_log(Mood::Fail);
    sleep(Duration::from_secs(400)).await;
    assert_eq!(room.failure(&known).await, Some(NO_LEASE));
}

#[tokio::test(start_paused = true)]
async fn row_93_an_end_during_a_load_hits_what_the_load_brings() {
    let room = Room::open().await;
    let (key, ended) = (KeyId::random(), SessionId::random());
    let _key = room.key(|record| record.id = key.clone());
    let parent = SessionParent::Key(key.clone());
    let session = room
        .session(parent, |record| record.id = ended.clone())
        .await;
    let request = room.request_in_flight(&session).await;
    room.deny(DenialKind::Session, ended.as_str());
    room.follow().await;
    room.store.set_lookups(Mood::Answer);
    assert_eq!(request.await.expect("no panic").err(), Some(REVOKED));
    assert_eq!(room.failure(&session).await, Some(REVOKED));
    // Also when it is the key that gave it.
    let of_key = room.session(SessionParent::Key(key.clone()), |_| {}).await;
    let request = room.request_in_flight(&of_key).await;
    room.deny(DenialKind::Key, key.as_str());
    room.follow().await;
    room.store.set_lookups(Mood::Answer);
    assert_eq!(request.await.expect("no panic").err(), Some(REVOKED));
}

/// A token is good by itself: what it waits for is its issuer's key set.
#[tokio::test(start_paused = true)]
async fn row_93_a_denial_during_a_verification_hits_the_token() {
    let (room, _keys) = trusting().await;
    let session = room.session(token(), of_token).await;
    let request = room.request_in_flight(&session).await;
    room.deny(DenialKind::Grant, "fam-1");
    room.follow().await;
    room.store.set_lookups(Mood::Answer);
    assert_eq!(request.await.expect("no panic").err(), Some(REVOKED));
}
