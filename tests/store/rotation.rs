//! What every store promises of a key that gets another secret, or another digest of the same one,
//! asked of both.

use std::sync::Arc;
use std::time::Duration;

use portcullis::clock::Timestamp;
use portcullis::id::{KeyId, RequestId};
use portcullis::secret::{Digest, random_bytes};
use portcullis::store::{
    Event, KeyRecord, KeyRotated, KeyRotation, NewKey, Rehash, RevokeKey, RotateKey, Store,
};
use tokio::task::JoinSet;

use crate::contract::contract;
use crate::fixtures::{Ground, create, end, new_key, now, since};

contract! {
    a_rotated_key_keeps_its_id_and_both_secrets_work_until_the_overlap_ends
    a_repeated_wish_is_carried_out_once
    a_third_secret_has_to_wait_unless_in_an_emergency
    an_overlap_does_not_lengthen_a_keys_life
    of_twenty_parallel_rotations_one_is_carried_out
    what_is_revoked_expired_or_unknown_is_not_rotated
    a_digest_of_another_key_is_not_taken
    a_revocation_ends_both_secrets
    a_revocation_beside_a_rotation_leaves_no_secret_alive
    a_secret_is_rehashed_whether_it_is_the_current_one_or_the_one_before
    a_revocation_beside_a_rehash_leaves_no_secret_alive
    what_is_not_there_or_anothers_is_not_rehashed
}

const DAY: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn without_end() -> NewKey {
    let mut key = new_key();
    key.record.expires_at = None;
    key
}

fn digest() -> Digest {
    Digest::from_bytes(random_bytes())
}

pub(crate) fn wish(id: &KeyId, name: &str, overlap: Duration, at: Timestamp) -> KeyRotation {
    KeyRotation {
        id: id.clone(),
        digest: digest(),
        hint: "osir_live_\u{2026}next".into(),
        request: RequestId::parse(name).expect("valid"),
        overlap,
        at,
    }
}

pub(crate) async fn rotate(store: &dyn Store, wish: &KeyRotation) -> RotateKey {
    store.rotate_key(wish.clone()).await.expect("it answers")
}

fn rotated(wish: &KeyRotation, previous: &Digest) -> KeyRotated {
    KeyRotated {
        request: wish.request.clone(),
        at: wish.at,
        current: wish.digest,
        previous: *previous,
        previous_ends_at: wish.at.plus(wish.overlap),
    }
}

pub(crate) async fn under(store: &dyn Store, digest: &Digest) -> Option<KeyRecord> {
    store.key_by_digest(digest).await.expect("it answers")
}

/// Whether a request with this secret would be let in.
async fn works(store: &dyn Store, digest: &Digest, at: Timestamp) -> bool {
    let found = under(store, digest).await;
    found.is_some_and(|record| {
        record.revoked_at.is_none() && record.expires_at.is_none_or(|end| end > at)
    })
}

async fn a_rotated_key_keeps_its_id_and_both_secrets_work_until_the_overlap_ends(ground: Ground) {
    let store = ground.store();
    let key = without_end();
    create(&*store, &key).await;
    let (start, at) = (end(&*store).await, now());
    let id = &key.record.id;
    assert_eq!(store.key_rotation(id).await.expect("it answers"), None);
    let wish = wish(id, "r1", DAY, at);
    let expected = rotated(&wish, &key.digest);
    let answer = rotate(&*store, &wish).await;
    assert_eq!(answer, RotateKey::Rotated(expected.clone()));

    let mut new = key.record.clone();
    new.hint = wish.hint.clone();
    let mut old = key.record.clone();
    old.expires_at = Some(at.plus(DAY));
    assert_eq!(under(&*store, &wish.digest).await.as_ref(), Some(&new));
    assert_eq!(under(&*store, &key.digest).await, Some(old));
    assert_eq!(
        store.key(id).await.expect("it answers").as_ref(),
        Some(&new)
    );
    assert_eq!(store.keys(None, 9).await.expect("it answers"), [new]);
    let known = store.key_rotation(id).await.expect("it answers");
    assert_eq!(known, Some(expected));
    let events = since(&*store, &start).await.1;
    assert_eq!(
        events,
        [Event::Publish(key.digest), Event::Publish(wish.digest)]
    );
    assert_eq!(store.denials().await.expect("it answers").entries, []);
}

async fn a_repeated_wish_is_carried_out_once(ground: Ground) {
    let store = ground.store();
    let key = without_end();
    create(&*store, &key).await;
    let (id, at) = (&key.record.id, now());
    let first = wish(id, "r1", DAY, at);
    let expected = rotated(&first, &key.digest);
    let answer = rotate(&*store, &first).await;
    assert_eq!(answer, RotateKey::Rotated(expected.clone()));
    // Also with another secret, and later.
    for again in [first, wish(id, "r1", DAY, at.plus(DAY * 2))] {
        let answer = rotate(&*store, &again).await;
        assert_eq!(answer, RotateKey::Repeated(expected.clone()));
    }
    let mut old = key.record.clone();
    old.expires_at = Some(at.plus(DAY));
    assert_eq!(under(&*store, &key.digest).await, Some(old));
}

async fn a_third_secret_has_to_wait_unless_in_an_emergency(ground: Ground) {
    let store = ground.store();
    let key = without_end();
    create(&*store, &key).await;
    let (id, at) = (&key.record.id, now());
    let second = wish(id, "r1", DAY, at);
    assert!(matches!(
        rotate(&*store, &second).await,
        RotateKey::Rotated(_)
    ));
    let third = wish(id, "r2", DAY, at);
    let answer = rotate(&*store, &third).await;
    assert_eq!(answer, RotateKey::Overlapping(at.plus(DAY)));
    assert_eq!(under(&*store, &third.digest).await, None);

    let emergency = wish(id, "r3", Duration::ZERO, at);
    let answer = rotate(&*store, &emergency).await;
    assert!(matches!(answer, RotateKey::Rotated(_)), "{answer:?}");
    assert!(!works(&*store, &key.digest, at).await);
    assert!(!works(&*store, &second.digest, at).await);
    assert!(works(&*store, &emergency.digest, at).await);
    // After that, and after an overlap, there is room again.
    let fourth = wish(id, "r4", DAY, at);
    assert!(matches!(
        rotate(&*store, &fourth).await,
        RotateKey::Rotated(_)
    ));
    let fifth = wish(id, "r5", DAY, at.plus(DAY));
    assert!(matches!(
        rotate(&*store, &fifth).await,
        RotateKey::Rotated(_)
    ));
    assert!(!works(&*store, &emergency.digest, at.plus(DAY)).await);
}

async fn an_overlap_does_not_lengthen_a_keys_life(ground: Ground) {
    let store = ground.store();
    let key = new_key();
    create(&*store, &key).await;
    let ends = key.record.expires_at.expect("it has an end");
    let wish = wish(&key.record.id, "r1", DAY, now());
    let RotateKey::Rotated(rotated) = rotate(&*store, &wish).await else {
        panic!("it is live");
    };
    assert_eq!(rotated.previous_ends_at, ends);
    for digest in [&key.digest, &wish.digest] {
        let found = under(&*store, digest).await.expect("it is there");
        assert_eq!(found.expires_at, Some(ends));
    }
}

async fn of_twenty_parallel_rotations_one_is_carried_out(ground: Ground) {
    let store = ground.store();
    let key = without_end();
    create(&*store, &key).await;
    let (id, at) = (&key.record.id, now());
    let mut tasks = JoinSet::new();
    let wishes: Vec<_> = (0..20)
        .map(|number| wish(id, &format!("r{number}"), DAY, at))
        .collect();
    for wish in wishes.clone() {
        let store = Arc::clone(&store);
        tasks.spawn(async move { rotate(&*store, &wish).await });
    }
    let mut winners = Vec::new();
    for answer in tasks.join_all().await {
        match answer {
            RotateKey::Rotated(rotated) => winners.push(rotated),
            other => assert_eq!(other, RotateKey::Overlapping(at.plus(DAY))),
        }
    }
    let [winner] = &winners[..] else {
        panic!("{winners:?}");
    };
    let known = store.key_rotation(id).await.expect("it answers");
    assert_eq!(known.as_ref(), Some(winner));
    for wish in &wishes {
        let found = under(&*store, &wish.digest).await;
        assert_eq!(found.is_some(), wish.digest == winner.current);
    }
    assert_eq!(store.keys(None, 9).await.expect("it answers").len(), 1);
}

async fn what_is_revoked_expired_or_unknown_is_not_rotated(ground: Ground) {
    let store = ground.store();
    let at = now();
    let unknown = wish(&KeyId::random(), "r1", DAY, at);
    assert_eq!(rotate(&*store, &unknown).await, RotateKey::Unknown);
    let key = new_key();
    create(&*store, &key).await;
    let late = wish(&key.record.id, "r1", DAY, at.plus(DAY));
    assert_eq!(rotate(&*store, &late).await, RotateKey::Expired);
    let _first = store
        .revoke_key(&key.record.id, at)
        .await
        .expect("it answers");
    let dead = wish(&key.record.id, "r1", DAY, at);
    assert_eq!(rotate(&*store, &dead).await, RotateKey::Revoked);
    assert_eq!(under(&*store, &dead.digest).await, None);
}

async fn a_digest_of_another_key_is_not_taken(ground: Ground) {
    let store = ground.store();
    let (key, other) = (without_end(), without_end());
    create(&*store, &key).await;
    create(&*store, &other).await;
    for taken in [other.digest, key.digest] {
        let mut wish = wish(&key.record.id, "r1", DAY, now());
        wish.digest = taken;
        assert_eq!(rotate(&*store, &wish).await, RotateKey::DigestTaken);
    }
    assert_eq!(under(&*store, &other.digest).await, Some(other.record));
    assert_eq!(under(&*store, &key.digest).await, Some(key.record));
}

async fn a_revocation_ends_both_secrets(ground: Ground) {
    let store = ground.store();
    let key = without_end();
    create(&*store, &key).await;
    let (id, at) = (&key.record.id, now());
    let wish = wish(id, "r1", DAY, at);
    assert!(matches!(
        rotate(&*store, &wish).await,
        RotateKey::Rotated(_)
    ));
    let answer = store.revoke_key(id, at).await.expect("it answers");
    assert!(matches!(answer, RevokeKey::Revoked(_)), "{answer:?}");
    for digest in [&key.digest, &wish.digest] {
        let found = under(&*store, digest).await.expect("it is there");
        assert_eq!(found.revoked_at, Some(at));
    }
    assert_eq!(store.denials().await.expect("it answers").entries.len(), 1);
}

async fn a_revocation_beside_a_rotation_leaves_no_secret_alive(ground: Ground) {
    let store = ground.store();
    for _ in 0..20 {
        let key = without_end();
        create(&*store, &key).await;
        let (id, at) = (key.record.id.clone(), now());
        let wish = wish(&id, "r1", DAY, at);
        let rotation = {
            let (store, wish) = (Arc::clone(&store), wish.clone());
            tokio::spawn(async move { rotate(&*store, &wish).await })
        };
        let answer = store.revoke_key(&id, at).await.expect("it answers");
        assert!(matches!(answer, RevokeKey::Revoked(_)), "{answer:?}");
        let _either = rotation.await.expect("no panic");
        for digest in [&key.digest, &wish.digest] {
            assert!(!works(&*store, digest, at).await);
        }
    }
}

async fn a_secret_is_rehashed_whether_it_is_the_current_one_or_the_one_before(ground: Ground) {
    let store = ground.store();
    let key = without_end();
    create(&*store, &key).await;
    let (id, at) = (&key.record.id, now());
    let wish = wish(id, "r1", DAY, at);
    assert!(matches!(
        rotate(&*store, &wish).await,
        RotateKey::Rotated(_)
    ));
    for old in [key.digest, wish.digest] {
        let before = under(&*store, &old).await;
        let (start, new) = (end(&*store).await, digest());
        let answer = store.rehash_key(id, &old, &new).await;
        assert_eq!(answer.expect("it answers"), Rehash::Rehashed);
        assert_eq!(under(&*store, &old).await, None);
        assert_eq!(under(&*store, &new).await, before);
        let events = since(&*store, &start).await.1;
        assert_eq!(events, [Event::Publish(new), Event::Publish(old)]);
        let again = store.rehash_key(id, &old, &new).await;
        assert_eq!(again.expect("it answers"), Rehash::Unknown);
    }
    let known = store.key_rotation(id).await.expect("it answers");
    let known = known.expect("it was rotated");
    assert!(works(&*store, &known.current, at).await);
    assert!(works(&*store, &known.previous, at).await);
    assert_eq!(store.keys(None, 9).await.expect("it answers").len(), 1);
    // It is still one key: a revocation ends all of it.
    let answer = store.revoke_key(id, at).await.expect("it answers");
    assert!(matches!(answer, RevokeKey::Revoked(_)), "{answer:?}");
    assert!(!works(&*store, &known.current, at).await);
    assert!(!works(&*store, &known.previous, at).await);
}

async fn a_revocation_beside_a_rehash_leaves_no_secret_alive(ground: Ground) {
    let store = ground.store();
    for _ in 0..20 {
        let key = without_end();
        create(&*store, &key).await;
        let (id, at, new) = (key.record.id.clone(), now(), digest());
        let rehash = {
            let (store, id) = (Arc::clone(&store), id.clone());
            tokio::spawn(async move { store.rehash_key(&id, &key.digest, &new).await })
        };
        let answer = store.revoke_key(&id, at).await.expect("it answers");
        assert!(matches!(answer, RevokeKey::Revoked(_)), "{answer:?}");
        let _either = rehash.await.expect("no panic").expect("it answers");
        for digest in [&key.digest, &new] {
            assert!(!works(&*store, digest, at).await);
        }
        assert!(store.key(&id).await.expect("it answers").is_some());
    }
}

async fn what_is_not_there_or_anothers_is_not_rehashed(ground: Ground) {
    let store = ground.store();
    let (key, other) = (without_end(), without_end());
    create(&*store, &key).await;
    create(&*store, &other).await;
    for (id, old, new) in [
        (&key.record.id, digest(), digest()),
        (&key.record.id, other.digest, digest()),
        (&key.record.id, key.digest, other.digest),
        (&key.record.id, key.digest, key.digest),
    ] {
        let answer = store.rehash_key(id, &old, &new).await;
        assert_eq!(answer.expect("it answers"), Rehash::Unknown);
    }
    assert_eq!(under(&*store, &key.digest).await, Some(key.record));
    assert_eq!(under(&*store, &other.digest).await, Some(other.record));
}
