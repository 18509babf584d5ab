//! What every store promises of users, asked of both.

use std::sync::Arc;
use std::time::Duration;

use portcullis::id::{AccountId, LoginName, SubjectId};
use portcullis::scope::ScopeSet;
use portcullis::store::{
    ChangeUser, CreateUser, Denial, DenialKind, Event, PasswordHash, Store, UserRecord,
};
use tokio::task::JoinSet;

use crate::contract::contract;
use crate::fixtures::{Ground, end, now, since};

contract! {
    a_user_is_found_by_its_name_and_its_id
    a_name_belongs_to_one_user_even_in_parallel
    users_are_listed_in_the_order_of_their_names
    a_password_made_anew_does_not_undo_one_that_was_changed
    a_disabled_user_is_denied_and_may_be_let_in_again
}

pub(crate) fn user(name: &str) -> UserRecord {
    UserRecord {
        id: SubjectId::random(),
        name: LoginName::parse(name).expect("valid"),
        password: PasswordHash::new("$argon2id$old"),
        password_set_at: now(),
        account: AccountId::parse("acct_1").expect("valid"),
        scopes: ScopeSet::parse("domains:read").expect("valid"),
        created_at: now(),
        disabled_at: None,
    }
}

async fn create(store: &dyn Store, record: &UserRecord) -> CreateUser {
    let answer = store.create_user(record.clone()).await;
    answer.expect("it answers")
}

async fn named(store: &dyn Store, name: &LoginName) -> Option<UserRecord> {
    store.user_by_name(name).await.expect("it answers")
}

async fn a_user_is_found_by_its_name_and_its_id(ground: Ground) {
    let store = ground.store();
    let record = user("ada@example.com");
    assert_eq!(named(&*store, &record.name).await, None);
    assert_eq!(store.user(&record.id).await.expect("it answers"), None);
    assert_eq!(create(&*store, &record).await, CreateUser::Created);
    assert_eq!(named(&*store, &record.name).await.as_ref(), Some(&record));
    let found = store.user(&record.id).await.expect("it answers");
    assert_eq!(found.as_ref(), Some(&record));
    let other = LoginName::parse("Ada@example.com").expect("valid");
    assert_eq!(named(&*store, &other).await, None);
    assert!(!format!("{record:?}").contains("argon2id"));
}

async fn a_name_belongs_to_one_user_even_in_parallel(ground: Ground) {
    let store = ground.store();
    let candidates: Vec<_> = (0..20).map(|_| user("ada")).collect();
    let mut tasks = JoinSet::new();
    for record in candidates.clone() {
        let store = Arc::clone(&store);
        tasks.spawn(async move { create(&*store, &record).await });
    }
    let answers = tasks.join_all().await;
    let created = answers.iter().filter(|a| **a == CreateUser::Created);
    assert_eq!(created.count(), 1);
    let name = &candidates[0].name;
    let winner = named(&*store, name).await.expect("one was created");
    for record in &candidates {
        let found = store.user(&record.id).await.expect("it answers");
        let expected = (record.id == winner.id).then(|| winner.clone());
        assert_eq!(found, expected);
    }
    // An id belongs to one user as well.
    let mut thief = user("eve");
    thief.id = winner.id.clone();
    assert_eq!(create(&*store, &thief).await, CreateUser::Exists);
    assert_eq!(named(&*store, &thief.name).await, None);
}

async fn users_are_listed_in_the_order_of_their_names(ground: Ground) {
    let store = ground.store();
    let records = ["ada", "bob", "cleo"].map(user);
    for record in records.iter().rev() {
        assert_eq!(create(&*store, record).await, CreateUser::Created);
    }
    let first = store.users(None, 2).await.expect("it answers");
    assert_eq!(first.items, records[..2]);
    let rest = store.users(first.next.as_ref(), 9).await;
    assert_eq!(rest.expect("it answers").items, records[2..]);
}

async fn a_password_made_anew_does_not_undo_one_that_was_changed(ground: Ground) {
    let store = ground.store();
    let mut record = user("ada");
    assert_eq!(create(&*store, &record).await, CreateUser::Created);
    let later = now().plus(Duration::from_secs(60));
    let hash = |text: &str| PasswordHash::new(text);
    let set = async |new: &str, old: Option<&str>| {
        let answer = store.set_password(&record.name, hash(new), old.map(hash), later);
        answer.await.expect("it answers")
    };
    // The same password, hashed anew.
    let mut expected = record.clone();
    expected.password = hash("$argon2id$anew");
    let answer = set("$argon2id$anew", Some("$argon2id$old")).await;
    assert_eq!(answer, ChangeUser::Changed(expected.clone()));
    // Another password.
    expected.password = hash("$argon2id$other");
    expected.password_set_at = later;
    let answer = set("$argon2id$other", None).await;
    assert_eq!(answer, ChangeUser::Changed(expected.clone()));
    // A login that began before that.
    let answer = set("$argon2id$late", Some("$argon2id$anew")).await;
    assert_eq!(answer, ChangeUser::Unchanged(expected.clone()));
    record = expected;
    assert_eq!(named(&*store, &record.name).await, Some(record));
}

async fn a_disabled_user_is_denied_and_may_be_let_in_again(ground: Ground) {
    let store = ground.store();
    let mut record = user("ada");
    assert_eq!(create(&*store, &record).await, CreateUser::Created);
    let (start, at, name) = (end(&*store).await, now(), record.name.clone());
    record.disabled_at = Some(at);
    let answer = store.disable_user(&name, at).await.expect("it answers");
    assert_eq!(answer, ChangeUser::Changed(record.clone()));
    let again = store.disable_user(&name, now()).await.expect("it answers");
    assert_eq!(again, ChangeUser::Unchanged(record.clone()));
    let denial = Denial {
        kind: DenialKind::Subject,
        id: record.id.to_string(),
        at,
    };
    assert_eq!(since(&*store, &start).await.1, [Event::Deny(denial)]);
    record.disabled_at = None;
    let answer = store.enable_user(&name, at).await.expect("it answers");
    assert_eq!(answer, ChangeUser::Changed(record.clone()));
    record.scopes = ScopeSet::empty();
    let answer = store.set_user_scopes(&name, ScopeSet::empty(), at).await;
    assert_eq!(answer.expect("it answers"), ChangeUser::Changed(record));
    let nobody = LoginName::parse("nobody").expect("valid");
    let answer = store.disable_user(&nobody, at).await.expect("it answers");
    assert_eq!(answer, ChangeUser::Unknown);
}
