//! The embedded store forgets what has ended: with each change a little, and on opening everything.

use std::sync::Arc;
use std::time::Duration;

use portcullis::clock::Clock;
use portcullis::store::{CreateSession, EmbeddedStore, RotateKey, Store};

use crate::fixtures::{create, now};
use crate::grants::Flow;
use crate::rotation::{rotate, under, wish, without_end};
use crate::sessions::{self, new_session};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn what_has_ended_goes_with_a_later_change_and_what_has_not_stays() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("store.redb");
    let store: Arc<dyn Store> =
        Arc::new(EmbeddedStore::open(&path, &Clock::system()).expect("it opens"));
    let (short, mut long) = (new_session(&sessions::key()), new_session(&sessions::key()));
    long.record.expires_at = now().plus(DAY);
    for session in [&short, &long] {
        let created = sessions::create(&*store, session).await;
        assert_eq!(created, CreateSession::Created);
    }
    let flow = Flow::active(&store).await;

    let mut later = new_session(&sessions::key());
    later.record.created_at = now().plus(DAY / 2);
    later.record.expires_at = now().plus(DAY);
    let created = sessions::create(&*store, &later).await;
    assert_eq!(created, CreateSession::Created);
    for (session, there) in [(&short, false), (&long, true), (&later, true)] {
        let found = store.session_by_digest(&session.digest).await;
        assert_eq!(found.expect("it answers").is_some(), there);
        let found = store.session(&session.record.id).await;
        assert_eq!(found.expect("it answers").is_some(), there);
    }
    // Redeemed: its code's end is no longer its own.
    let grant = store.grant(&flow.record.id).await.expect("it answers");
    assert!(grant.is_some());
}

#[tokio::test]
async fn on_opening_everything_goes_that_has_ended() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("store.redb");
    let clock = Clock::manual(now());
    let open =
        || -> Arc<dyn Store> { Arc::new(EmbeddedStore::open(&path, &clock).expect("it opens")) };
    let store = open();
    let session = new_session(&sessions::key());
    let created = sessions::create(&*store, &session).await;
    assert_eq!(created, CreateSession::Created);
    let key = without_end();
    create(&*store, &key).await;
    let wish = wish(&key.record.id, "r1", DAY, clock.now());
    assert!(matches!(
        rotate(&*store, &wish).await,
        RotateKey::Rotated(_)
    ));
    drop(store);

    clock.advance(DAY);
    let store = open();
    let found = store.session_by_digest(&session.digest).await;
    assert_eq!(found.expect("it answers"), None);
    assert!(under(&*store, &key.digest).await.is_some(), "a day longer");
    drop(store);

    clock.advance(DAY * 2);
    let store = open();
    assert_eq!(under(&*store, &key.digest).await, None);
    let current = under(&*store, &wish.digest).await;
    assert_eq!(
        store.key(&key.record.id).await.expect("it answers"),
        current
    );
    assert!(current.is_some());
}
