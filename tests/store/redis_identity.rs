//! What is particular to identity in the Redis store: what a gateway that stopped half-way through
//! a verb leaves, what the server forgets by itself, and what a gateway must be allowed to do.

use std::sync::Arc;
use std::time::Duration;

use portcullis::observe::Metrics;
use portcullis::store::{
    CreateSession, EndSession, Rehash, RevocationReason, RevokeGrant, RotateKey, Store,
    StoreSettings, Touch,
};

use crate::fixtures::{create, now};
use crate::grants::Flow;
use crate::redis_server::{Demands, RedisServer};
use crate::rotation::{rotate, under, wish, without_end};
use crate::sessions::{self, new_session};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn open(server: &RedisServer) -> Arc<dyn Store> {
    let settings = StoreSettings::Redis(server.settings());
    let clock = portcullis::clock::Clock::system();
    portcullis::store::open(&settings, &clock, &Metrics::new()).expect("it opens")
}

#[tokio::test]
async fn a_user_with_only_the_documented_permissions_can_do_everything() {
    let server = RedisServer::demanding(Demands::Password, &[]);
    let store = open(&server);
    let flow = Flow::active(&store).await;
    let revoked = store.revoke_grant(&flow.record.id, RevocationReason::User, now());
    let revoked = revoked.await.expect("it answers");
    assert!(matches!(revoked, RevokeGrant::Revoked(_)), "{revoked:?}");

    let session = new_session(&sessions::key());
    let created = sessions::create(&*store, &session).await;
    assert_eq!(created, CreateSession::Created);
    let touch = Touch {
        digest: session.digest,
        seen_at: now(),
        keep_until: Some(session.record.expires_at),
    };
    store.touch(vec![touch]).await.expect("it answers");
    let ended = store.end_session(&session.record.id, now()).await;
    assert!(matches!(ended, Ok(EndSession::Ended(_))), "{ended:?}");

    let key = without_end();
    create(&*store, &key).await;
    let wish = wish(&key.record.id, "r1", DAY, now());
    assert!(matches!(
        rotate(&*store, &wish).await,
        RotateKey::Rotated(_)
    ));
    let new = without_end().digest;
    let rehashed = store.rehash_key(&key.record.id, &key.digest, &new).await;
    assert_eq!(rehashed.expect("it answers"), Rehash::Rehashed);
}

/// The new record is there, the id does not lead to it yet.
#[tokio::test]
async fn a_rotation_that_stopped_before_it_counted_is_carried_out_by_a_repetition() {
    let server = RedisServer::start();
    let store = open(&server);
    let key = without_end();
    create(&*store, &key).await;
    let wish = wish(&key.record.id, "r1", DAY, now());
    assert!(matches!(
        rotate(&*store, &wish).await,
        RotateKey::Rotated(_)
    ));
    let pointer = format!("pc:kid:{}", key.record.id);
    let old = format!("pc:k:{}", key.digest.to_text());
    let _: () = server.command(&["SET", &pointer, &key.digest.to_text()]);
    let _: u64 = server.command(&["HDEL", &old, "exp"]);
    let _: u64 = server.command(&["PERSIST", &old]);

    let answer = rotate(&*store, &wish).await;
    assert!(matches!(answer, RotateKey::Rotated(_)), "{answer:?}");
    let new = under(&*store, &wish.digest).await.expect("it is there");
    assert_eq!(
        store.key(&key.record.id).await.expect("it answers"),
        Some(new)
    );
    let old = under(&*store, &key.digest).await.expect("it is there");
    assert_eq!(old.expires_at, Some(wish.at.plus(DAY)));
}

/// The id leads to the new record, the old one has no end yet.
#[tokio::test]
async fn a_rotation_that_stopped_before_the_old_secrets_end_is_completed_by_a_repetition() {
    let server = RedisServer::start();
    let store = open(&server);
    let key = without_end();
    create(&*store, &key).await;
    let wish = wish(&key.record.id, "r1", DAY, now());
    assert!(matches!(
        rotate(&*store, &wish).await,
        RotateKey::Rotated(_)
    ));
    let old = format!("pc:k:{}", key.digest.to_text());
    let _: u64 = server.command(&["HDEL", &old, "exp"]);
    let _: u64 = server.command(&["PERSIST", &old]);

    let answer = rotate(&*store, &wish).await;
    assert!(matches!(answer, RotateKey::Repeated(_)), "{answer:?}");
    let old = under(&*store, &key.digest).await.expect("it is there");
    assert_eq!(old.expires_at, Some(wish.at.plus(DAY)));
}

/// The denial is there, the record does not say so yet: nobody is let in, and a repetition ends it.
#[tokio::test]
async fn a_revoked_grant_is_denied_before_it_is_marked() {
    let server = RedisServer::start();
    let store = open(&server);
    let flow = Flow::active(&store).await;
    let id = flow.record.id;
    let place = format!("pc:g:{id}");
    let before: String = server.command(&["GET", &place]);
    for repetition in [false, true] {
        let answer = store.revoke_grant(&id, RevocationReason::User, now()).await;
        let answer = answer.expect("it answers");
        assert!(matches!(answer, RevokeGrant::Revoked(_)), "{answer:?}");
        if !repetition {
            let _: () = server.command(&["SET", &place, &before]);
        }
    }
    let denials = store.denials().await.expect("it answers").entries;
    assert_eq!(denials.len(), 1, "one grant, once on the list");
}

#[tokio::test]
async fn the_server_forgets_by_itself_what_has_ended() {
    let server = RedisServer::start();
    let store = open(&server);
    let session = new_session(&sessions::key());
    let created = sessions::create(&*store, &session).await;
    assert_eq!(created, CreateSession::Created);
    let pending = Flow::begun(&store).await;
    let active = Flow::active(&store).await;
    let digest = session.digest.to_text();
    let minute = 60_000;
    for (key, least, most) in [
        (format!("pc:s:{digest}"), 14 * minute, 15 * minute),
        (
            format!("pc:sid:{}", session.record.id),
            14 * minute,
            15 * minute,
        ),
        (
            "pc:ix:sessions-account:acct_1".into(),
            14 * minute,
            15 * minute,
        ),
        (
            format!("pc:g:{}", pending.record.id),
            10 * minute,
            11 * minute,
        ),
        (
            format!("pc:ix:grants-subject:{}", pending.record.subject),
            10 * minute,
            11 * minute,
        ),
        (
            format!("pc:g:{}", active.record.id),
            90 * 24 * 60 * minute,
            91 * 24 * 60 * minute,
        ),
        (
            format!("pc:ix:grants-subject:{}", active.record.subject),
            89 * 24 * 60 * minute,
            91 * 24 * 60 * minute,
        ),
    ] {
        let left: i64 = server.command(&["PTTL", &key]);
        assert!(left > least && left <= most, "{key}: {left}");
    }
}

#[tokio::test]
async fn a_rotated_out_secret_is_forgotten_a_day_after_its_end() {
    let server = RedisServer::start();
    let store = open(&server);
    let key = without_end();
    create(&*store, &key).await;
    let wish = wish(&key.record.id, "r1", DAY, now());
    assert!(matches!(
        rotate(&*store, &wish).await,
        RotateKey::Rotated(_)
    ));
    let new = without_end().digest;
    let rehashed = store.rehash_key(&key.record.id, &key.digest, &new).await;
    assert_eq!(rehashed.expect("it answers"), Rehash::Rehashed);
    let left = |digest: &portcullis::secret::Digest| -> i64 {
        server.command(&["PTTL", &format!("pc:k:{}", digest.to_text())])
    };
    let (hour, old) = (3_600_000, left(&new));
    assert!(old > 47 * hour && old <= 48 * hour, "{old}");
    assert_eq!(left(&wish.digest), -1);
}
