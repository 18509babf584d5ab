//! What every store promises of signing keys, asked of both.

use std::sync::Arc;
use std::time::Duration;

use portcullis::clock::Timestamp;
use portcullis::sealed::Sealed;
use portcullis::secret::Pepper;
use portcullis::store::{
    ActivateSigningKey, DropSigningKey, NewSigningKey, PublishSigningKey, Rehash, SigningAlgorithm,
    SigningKeyState, Store,
};
use tokio::task::JoinSet;

use crate::contract::contract;
use crate::fixtures::{Ground, now};

contract! {
    of_twenty_first_keys_one_is_active_and_one_is_next
    a_key_is_published_for_a_while_before_it_signs
    a_retiring_key_goes_with_its_time
    the_active_key_cannot_be_dropped
    a_private_key_is_sealed_anew
}

const HOUR: Duration = Duration::from_secs(3600);

fn pepper() -> Pepper {
    Pepper::new(b"0123456789abcdefghijklmnopqrstuvwxyz").expect("strong")
}

fn key(kid: &str) -> NewSigningKey {
    NewSigningKey {
        kid: kid.into(),
        algorithm: SigningAlgorithm::Es256,
        public: r#"{"kty":"EC"}"#.into(),
        private: Sealed::seal(&pepper(), kid, b"pkcs8"),
    }
}

pub(crate) async fn publish(store: &dyn Store, kid: &str, at: Timestamp) -> PublishSigningKey {
    let answer = store.publish_signing_key(key(kid), at).await;
    answer.expect("it answers")
}

async fn activate(store: &dyn Store, kid: &str, at: Timestamp) -> ActivateSigningKey {
    let answer = store.activate_signing_key(kid, HOUR, at.plus(HOUR), at);
    answer.await.expect("it answers")
}

async fn states(store: &dyn Store) -> Vec<(String, SigningKeyState)> {
    let keys = store.signing_keys().await.expect("it answers");
    keys.into_iter().map(|key| (key.kid, key.state)).collect()
}

async fn of_twenty_first_keys_one_is_active_and_one_is_next(ground: Ground) {
    let store = ground.store();
    assert_eq!(store.signing_keys().await.expect("it answers"), []);
    let at = now();
    let mut tasks = JoinSet::new();
    for number in 0..20 {
        let store = Arc::clone(&store);
        tasks.spawn(async move { publish(&*store, &format!("k{number}"), at).await });
    }
    let answers = tasks.join_all().await;
    let count = |wanted| answers.iter().filter(|a| **a == wanted).count();
    assert_eq!(count(PublishSigningKey::Activated), 1);
    assert_eq!(count(PublishSigningKey::Published), 1);
    let states = states(&*store).await;
    let [
        (_, SigningKeyState::Next),
        (_, SigningKeyState::Active { since }),
    ] = &states[..]
    else {
        panic!("{states:?}");
    };
    assert_eq!(*since, at);
}

async fn a_key_is_published_for_a_while_before_it_signs(ground: Ground) {
    let store = ground.store();
    let at = now();
    assert_eq!(
        publish(&*store, "k1", at).await,
        PublishSigningKey::Activated
    );
    assert_eq!(
        publish(&*store, "k2", at).await,
        PublishSigningKey::Published
    );
    let early = activate(&*store, "k2", at.plus(HOUR / 2)).await;
    assert_eq!(early, ActivateSigningKey::TooEarly(at.plus(HOUR)));
    let then = at.plus(HOUR);
    let ActivateSigningKey::Activated(active) = activate(&*store, "k2", then).await else {
        panic!("it is time");
    };
    let opened = active.private.open(&pepper(), "k2").expect("it opens");
    assert_eq!(*opened, b"pkcs8");
    assert_eq!(
        states(&*store).await,
        [
            ("k2".to_owned(), SigningKeyState::Active { since: then }),
            (
                "k1".to_owned(),
                SigningKeyState::Retiring {
                    until: then.plus(HOUR)
                }
            ),
        ]
    );
    let again = activate(&*store, "k2", then).await;
    assert_eq!(again, ActivateSigningKey::AlreadyActive);
    let back = activate(&*store, "k1", then).await;
    assert_eq!(back, ActivateSigningKey::Unknown);
}

async fn a_retiring_key_goes_with_its_time(ground: Ground) {
    let store = ground.store();
    let at = now();
    let _first = publish(&*store, "k1", at).await;
    let _second = publish(&*store, "k2", at).await;
    let _active = activate(&*store, "k2", at.plus(HOUR)).await;
    let _third = publish(&*store, "k3", at.plus(HOUR * 2)).await;
    let kids = |states: Vec<(String, _)>| states.into_iter().map(|s| s.0).collect::<Vec<_>>();
    assert_eq!(kids(states(&*store).await), ["k3", "k2"]);
}

async fn the_active_key_cannot_be_dropped(ground: Ground) {
    let store = ground.store();
    let at = now();
    let _first = publish(&*store, "k1", at).await;
    let _second = publish(&*store, "k2", at).await;
    for (kid, answer) in [
        ("k1", DropSigningKey::Active),
        ("k2", DropSigningKey::Dropped),
        ("k2", DropSigningKey::Unknown),
    ] {
        let dropped = store.drop_signing_key(kid, at).await;
        assert_eq!(dropped.expect("it answers"), answer, "{kid}");
    }
    assert_eq!(states(&*store).await.len(), 1);
}

async fn a_private_key_is_sealed_anew(ground: Ground) {
    let store = ground.store();
    let at = now();
    let _first = publish(&*store, "k1", at).await;
    let old = store.signing_keys().await.expect("it answers").remove(0);
    let new = Sealed::seal(&pepper(), "k1", b"pkcs8");
    for answer in [Rehash::Rehashed, Rehash::Unknown] {
        let resealed = store.reseal_signing_key("k1", &old.private, new.clone(), at);
        assert_eq!(resealed.await.expect("it answers"), answer);
    }
    let found = store.signing_keys().await.expect("it answers").remove(0);
    assert_eq!(found.private, new);
}
