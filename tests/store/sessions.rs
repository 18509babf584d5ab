//! What every store promises of sessions and of when secrets were last seen, asked of both.

use std::sync::Arc;
use std::time::Duration;

use portcullis::id::{AccountId, CredentialId, GrantId, KeyId, SessionId, SubjectId};
use portcullis::scope::ScopeSet;
use portcullis::secret::{Digest, random_bytes};
use portcullis::store::{
    CreateSession, Denial, DenialKind, EndSession, Environment, Event, NewSession, ParentToken,
    SessionOwner, SessionParent, SessionRecord, Store, Touch,
};
use tokio::task::JoinSet;

use crate::contract::contract;
use crate::fixtures::{Ground, end, now, since};

contract! {
    a_session_comes_back_whole_by_its_token_and_its_id
    a_creation_is_published
    a_digest_and_an_id_belong_to_one_session
    a_parent_has_no_more_sessions_than_it_may_even_in_parallel
    what_is_refused_leaves_no_record
    sessions_that_have_ended_leave_room
    an_end_is_on_the_list_and_in_the_log_and_stands
    sessions_are_listed_by_whose_they_are_the_first_to_end_in_front
    all_sessions_of_a_parent_end_together
    the_latest_sight_stands_and_brings_nothing_back
}

const CAP: usize = 3;

pub(crate) fn new_session(parent: &SessionParent) -> NewSession {
    let at = now();
    NewSession {
        digest: digest(),
        record: SessionRecord {
            id: SessionId::random(),
            parent: parent.clone(),
            subject: "acct_1".into(),
            account: Some(account("acct_1")),
            client: Some("client_1".into()),
            resource: Some("https://api.osir.com".into()),
            environment: Environment::Live,
            scopes: ScopeSet::parse("domains:read").expect("valid"),
            created_at: at,
            expires_at: at.plus(Duration::from_secs(900)),
            idle_timeout: Some(Duration::from_secs(300)),
            ended_at: None,
            allowed_ips: vec!["203.0.113.0/24".parse().expect("a network")],
            label: "CI \u{2013} \"nightly\"".into(),
            hint: "osir_sess_\u{2026}abcd".into(),
        },
        cap: CAP,
    }
}

fn account(id: &str) -> AccountId {
    AccountId::parse(id).expect("valid")
}

fn digest() -> Digest {
    Digest::from_bytes(random_bytes())
}

/// One of a gateway that knew no resources.
#[test]
fn a_record_of_before_is_for_any_resource() {
    let record = new_session(&key()).record;
    let mut before = serde_json::to_value(&record).expect("JSON");
    let members = before.as_object_mut().expect("an object");
    assert!(members.remove("resource").is_some());
    let read: SessionRecord = serde_json::from_value(before.clone()).expect("a record");
    assert_eq!(read.resource, None);
    assert_eq!(serde_json::to_value(&read).expect("JSON"), before);
}

pub(crate) fn key() -> SessionParent {
    SessionParent::Key(KeyId::random())
}

pub(crate) async fn create(store: &dyn Store, session: &NewSession) -> CreateSession {
    let answer = store.create_session(session.clone()).await;
    answer.expect("it answers")
}

async fn listed(store: &dyn Store, owner: &SessionOwner) -> Vec<SessionRecord> {
    let page = store.sessions(owner, None, 99).await.expect("it answers");
    assert_eq!(page.next, None);
    page.items
}

async fn a_session_comes_back_whole_by_its_token_and_its_id(ground: Ground) {
    let store = ground.store();
    let at = now();
    for parent in [
        key(),
        SessionParent::Login(SubjectId::random()),
        SessionParent::AccessToken(ParentToken {
            id: CredentialId::parse("jti-1").expect("valid"),
            issuer: "https://osir.com".into(),
            family: Some(GrantId::random().family()),
            issued_at: at,
            expires_at: at.plus(Duration::from_secs(3600)),
        }),
    ] {
        let session = new_session(&parent);
        let (digest, id) = (session.digest, session.record.id.clone());
        assert_eq!(
            store.session_by_digest(&digest).await.expect("it answers"),
            None
        );
        assert_eq!(store.session(&id).await.expect("it answers"), None);
        assert_eq!(create(&*store, &session).await, CreateSession::Created);
        let found = store.session_by_digest(&digest).await.expect("it answers");
        assert_eq!(found.as_ref(), Some(&session.record));
        assert_eq!(store.session(&id).await.expect("it answers"), found);
    }
}

/// Row 96: without this event, a token that was probed before it existed would stay unknown.
async fn a_creation_is_published(ground: Ground) {
    let store = ground.store();
    let start = end(&*store).await;
    let session = new_session(&key());
    assert_eq!(create(&*store, &session).await, CreateSession::Created);
    let events = since(&*store, &start).await.1;
    assert_eq!(events, [Event::Publish(session.digest)]);
}

async fn a_digest_and_an_id_belong_to_one_session(ground: Ground) {
    let store = ground.store();
    let session = new_session(&key());
    assert_eq!(create(&*store, &session).await, CreateSession::Created);
    let mut same_id = new_session(&key());
    same_id.record.id = session.record.id.clone();
    assert_eq!(create(&*store, &same_id).await, CreateSession::Exists);
    let mut same_digest = new_session(&key());
    same_digest.digest = session.digest;
    assert_eq!(create(&*store, &same_digest).await, CreateSession::Exists);
    let id = &same_digest.record.id;
    assert_eq!(store.session(id).await.expect("it answers"), None);
    let ended = store.end_session(id, now()).await.expect("it answers");
    assert_eq!(ended, EndSession::Unknown);
    assert_eq!(
        listed(&*store, &SessionOwner::Everyone).await,
        [session.record]
    );
}

async fn a_parent_has_no_more_sessions_than_it_may_even_in_parallel(ground: Ground) {
    let store = ground.store();
    let parent = key();
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let (store, session) = (Arc::clone(&store), new_session(&parent));
        tasks.spawn(async move { create(&*store, &session).await });
    }
    let answers = tasks.join_all().await;
    let count = |wanted| answers.iter().filter(|a| **a == wanted).count();
    assert_eq!(count(CreateSession::Created), CAP);
    assert_eq!(count(CreateSession::TooMany), 20 - CAP);
    let owner = SessionOwner::Parent(parent);
    assert_eq!(listed(&*store, &owner).await.len(), CAP);
    let other = new_session(&key());
    assert_eq!(create(&*store, &other).await, CreateSession::Created);
}

/// A key at its cap may ask as often as it likes: each wish would else fill the store for as long as
/// the session was to live.
async fn what_is_refused_leaves_no_record(ground: Ground) {
    let store = ground.store();
    let parent = key();
    for _ in 0..CAP {
        let session = new_session(&parent);
        assert_eq!(create(&*store, &session).await, CreateSession::Created);
    }
    let refused = new_session(&parent);
    for session in [&refused, &new_session(&parent), &new_session(&parent)] {
        assert_eq!(create(&*store, session).await, CreateSession::TooMany);
    }
    let mut same_digest = new_session(&key());
    same_digest.digest = Digest::from_bytes([7; 32]);
    assert_eq!(create(&*store, &same_digest).await, CreateSession::Created);
    same_digest.record.id = SessionId::random();
    assert_eq!(create(&*store, &same_digest).await, CreateSession::Exists);

    // Each session is a record and the way to it from its id.
    let sessions = CAP + 1;
    assert_eq!(ground.documents(store), 2 * sessions);

    // An id that was refused is still free.
    let store = ground.store();
    let mut room = refused;
    room.record.parent = key();
    assert_eq!(create(&*store, &room).await, CreateSession::Created);
}

async fn sessions_that_have_ended_leave_room(ground: Ground) {
    let store = ground.store();
    let parent = key();
    for _ in 0..CAP {
        let session = new_session(&parent);
        assert_eq!(create(&*store, &session).await, CreateSession::Created);
    }
    let mut later = new_session(&parent);
    assert_eq!(create(&*store, &later).await, CreateSession::TooMany);
    // By itself: they ended by then.
    later.record.created_at = now().plus(Duration::from_secs(1000));
    later.record.expires_at = now().plus(Duration::from_secs(2000));
    later.record.id = SessionId::random();
    assert_eq!(create(&*store, &later).await, CreateSession::Created);

    let parent = key();
    let mut last = None;
    for _ in 0..CAP {
        let session = new_session(&parent);
        assert_eq!(create(&*store, &session).await, CreateSession::Created);
        last = Some(session.record.id);
    }
    let id = last.expect("there is one");
    let ended = store.end_session(&id, now()).await.expect("it answers");
    assert!(matches!(ended, EndSession::Ended(_)), "{ended:?}");
    let session = new_session(&parent);
    assert_eq!(create(&*store, &session).await, CreateSession::Created);
}

async fn an_end_is_on_the_list_and_in_the_log_and_stands(ground: Ground) {
    let store = ground.store();
    let session = new_session(&key());
    assert_eq!(create(&*store, &session).await, CreateSession::Created);
    let (id, start, at) = (&session.record.id, end(&*store).await, now());
    let mut expected = session.record.clone();
    expected.ended_at = Some(at);
    let first = store.end_session(id, at).await.expect("it answers");
    assert_eq!(first, EndSession::Ended(expected.clone()));
    let later = at.plus(Duration::from_secs(1));
    let again = store.end_session(id, later).await.expect("it answers");
    assert_eq!(again, EndSession::AlreadyEnded(expected.clone()));

    let denial = Denial {
        kind: DenialKind::Session,
        id: id.to_string(),
        at,
    };
    let denials = store.denials().await.expect("it answers").entries;
    assert_eq!(denials, std::slice::from_ref(&denial));
    assert_eq!(since(&*store, &start).await.1, [Event::Deny(denial)]);
    // Told apart from one that never was, and not listed.
    let found = store.session_by_digest(&session.digest).await;
    assert_eq!(found.expect("it answers"), Some(expected));
    assert_eq!(listed(&*store, &SessionOwner::Everyone).await, []);
    let unknown = store.end_session(&SessionId::random(), at).await;
    assert_eq!(unknown.expect("it answers"), EndSession::Unknown);
}

async fn sessions_are_listed_by_whose_they_are_the_first_to_end_in_front(ground: Ground) {
    let store = ground.store();
    let (one, other) = (key(), key());
    let mut sessions = Vec::new();
    for (parent, who, minutes) in [
        (&one, "acct_a", 30),
        (&one, "acct_a", 10),
        (&other, "acct_a", 20),
        (&other, "acct_b", 5),
    ] {
        let mut session = new_session(parent);
        session.record.account = Some(account(who));
        session.record.expires_at = now().plus(Duration::from_secs(60 * minutes));
        assert_eq!(create(&*store, &session).await, CreateSession::Created);
        sessions.push(session.record);
    }
    let [a30, a10, a20, b5] = &sessions[..] else {
        panic!("four");
    };
    let of = |parent: &SessionParent| SessionOwner::Parent(parent.clone());
    let pick = |records: &[&SessionRecord]| records.iter().map(|&r| r.clone()).collect::<Vec<_>>();
    assert_eq!(listed(&*store, &of(&one)).await, pick(&[a10, a30]));
    assert_eq!(listed(&*store, &of(&other)).await, pick(&[b5, a20]));
    let owner = SessionOwner::Account(account("acct_a"));
    assert_eq!(listed(&*store, &owner).await, pick(&[a10, a20, a30]));
    let all = SessionOwner::Everyone;
    assert_eq!(listed(&*store, &all).await, pick(&[b5, a10, a20, a30]));

    // Page by page, also over one that has ended.
    let ended = store.end_session(&a10.id, now()).await.expect("it answers");
    assert!(matches!(ended, EndSession::Ended(_)), "{ended:?}");
    let first = store.sessions(&all, None, 2).await.expect("it answers");
    assert_eq!(first.items, pick(&[b5, a20]));
    let rest = store.sessions(&all, first.next.as_ref(), 2).await;
    assert_eq!(rest.expect("it answers").items, pick(&[a30]));
}

async fn all_sessions_of_a_parent_end_together(ground: Ground) {
    let store = ground.store();
    let (parent, other) = (key(), key());
    let mut mine = Vec::new();
    for _ in 0..CAP {
        let session = new_session(&parent);
        assert_eq!(create(&*store, &session).await, CreateSession::Created);
        mine.push(session.record.id);
    }
    let stranger = new_session(&other);
    assert_eq!(create(&*store, &stranger).await, CreateSession::Created);
    let owner = SessionOwner::Parent(parent);
    let mut ended = store.end_sessions(&owner, now()).await.expect("it answers");
    ended.sort();
    mine.sort();
    assert_eq!(ended, mine);
    assert_eq!(
        store.denials().await.expect("it answers").entries.len(),
        CAP
    );
    let left = listed(&*store, &SessionOwner::Everyone).await;
    assert_eq!(left, [stranger.record]);
    let again = store.end_sessions(&owner, now()).await.expect("it answers");
    assert_eq!(again, []);
}

async fn the_latest_sight_stands_and_brings_nothing_back(ground: Ground) {
    let store = ground.store();
    let start = end(&*store).await;
    let (one, other, at) = (digest(), digest(), now());
    let touch = |digest, seconds| Touch {
        digest,
        seen_at: at.plus(Duration::from_secs(seconds)),
        keep_until: Some(at.plus(Duration::from_secs(900))),
    };
    store.touch(Vec::new()).await.expect("it answers");
    let batch = vec![touch(one, 5), touch(other, 1), touch(one, 3)];
    store.touch(batch).await.expect("it answers");
    store.touch(vec![touch(one, 4)]).await.expect("it answers");
    let asked = vec![other, digest(), one];
    let seen = store.last_seen(asked).await.expect("it answers");
    let after = |seconds| Some(at.plus(Duration::from_secs(seconds)));
    assert_eq!(seen, [after(1), None, after(5)]);
    let found = store.session_by_digest(&one).await.expect("it answers");
    assert_eq!(found, None);
    assert_eq!(since(&*store, &start).await.1, []);
}
