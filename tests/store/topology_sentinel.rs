//! A primary that sentinels watch: found by what most of them say, followed over a fail-over, and
//! not believed without them. All servers and sentinels run under the ACLs of deploy/redis.

use std::error::Error as _;
use std::time::Duration;

use portcullis::observe::Causes;
use portcullis::secret::Secret;
use portcullis::store::{
    Event, EventStore as _, Follow, KeyStore as _, Position, RedisServers, RedisStore, StoreError,
};
use rustix::process::Signal;
use tokio::time::Instant;

use crate::fixtures::{create, end, new_key, now};
use crate::redis_sentinel::{NAME, Watched};
use crate::redis_server::eventually;

/// For the sentinels: 3 s where nothing else runs. One that was kept from running for 2 s does nothing
/// for the next 30 s (`+tilt`); with two of them like that, it took 59 s.
const REPLACED: Duration = Duration::from_secs(120);
/// For the gateway, from when most of the sentinels name another primary.
const FOLLOWED: Duration = Duration::from_secs(10);

fn open(watched: &Watched) -> RedisStore {
    RedisStore::open(&watched.settings()).expect("good settings")
}

/// Two bounds on a fail-over: that of the sentinels, and that of the gateway, which begins when it
/// can know.
struct FailOver {
    since: Instant,
    known: Option<Instant>,
}

impl FailOver {
    fn begins() -> FailOver {
        FailOver {
            since: Instant::now(),
            known: None,
        }
    }

    /// Fails the test of whoever is late.
    fn goes_on(&mut self, watched: &Watched) {
        if self.known.is_none() && watched.is_replaced() {
            self.known = Some(Instant::now());
            eprintln!("replaced after {:?}", self.since.elapsed());
        }
        match self.known {
            None => assert!(
                self.since.elapsed() < REPLACED,
                "the sentinels name no other primary:\n{}",
                watched.logs()
            ),
            Some(known) => assert!(
                known.elapsed() < FOLLOWED,
                "the gateway does not follow, for {:?} since it can know:\n{}",
                known.elapsed(),
                watched.logs()
            ),
        }
    }
}

/// Follows until everything so far is known; what a gateway does over gaps and errors.
async fn caught_up(store: &RedisStore, position: &Position) -> Vec<Event> {
    let since = Instant::now();
    loop {
        match store.follow(position, Duration::ZERO).await {
            Ok(Follow::Events { events, .. }) => return events,
            Ok(Follow::Gap(_)) => return Vec::new(),
            Err(_) => assert!(since.elapsed() < FOLLOWED, "it is not followed again"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_primary_is_found_and_a_fail_over_is_followed() {
    let mut watched = Watched::start();
    let store = open(&watched);
    let (key, other) = (new_key(), new_key());
    create(&store, &key).await;
    create(&store, &other).await;
    let position = end(&store).await;
    // Waits for the replica, so nothing of this is lost.
    let revoked = store.revoke_key(&other.record.id, now()).await;
    let _revoked = revoked.expect("it answers");

    watched.primary.kill();
    let mut fail_over = FailOver::begins();
    let error = loop {
        match store.key_by_digest(&key.digest).await {
            Ok(found) => assert!(found.is_some(), "an absence that is none"),
            Err(error) => break error,
        }
    };
    assert!(matches!(
        error,
        StoreError::Unavailable(_) | StoreError::Deadline(_)
    ));
    // Absence is never what is answered meanwhile, and writes work again.
    let revoked = loop {
        if let Ok(found) = store.key_by_digest(&key.digest).await {
            assert!(found.is_some(), "an absence that is none");
        }
        if let Ok(revoked) = store.revoke_key(&key.record.id, now()).await {
            break revoked;
        }
        fail_over.goes_on(&watched);
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let took = fail_over.since.elapsed();
    eprintln!("followed after {took:?}: {revoked:?}");
    let events = caught_up(&store, &position).await;
    let denied: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Deny(denial) => Some(denial.id.clone()),
            Event::Publish(_) => None,
        })
        .collect();
    assert_eq!(
        denied,
        [other.record.id.to_string(), key.record.id.to_string()]
    );
    let info: String = watched.replica.command(&["INFO", "replication"]);
    assert!(info.contains("role:master"), "{info}");
}

/// The primary lives on as a replica, and says READONLY or nothing at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_demoted_is_left() {
    let watched = Watched::start();
    let store = open(&watched);
    let key = new_key();
    create(&store, &key).await;
    let position = end(&store).await;
    let _none = caught_up(&store, &position).await;
    eventually("the fail-over begins", || {
        let sentinel = &watched.sentinels[0];
        sentinel.ask::<String>(&["SENTINEL", "FAILOVER", NAME])
    });
    eventually("the replica is the primary", || {
        let info: String = watched.replica.try_command(&["INFO", "replication"])?;
        info.contains("role:master").then_some(())
    });
    let mut fail_over = FailOver::begins();
    let id = key.record.id.to_string();
    loop {
        if let Ok(found) = store.key_by_digest(&key.digest).await {
            assert!(found.is_some(), "an absence that is none");
        }
        let _perhaps = store.revoke_key(&key.record.id, now()).await;
        let denial = format!("key:{id}");
        let there: Option<Option<f64>> =
            watched
                .replica
                .try_command(&["ZSCORE", "pc:{rev}:nb", &denial]);
        if matches!(there, Some(Some(_))) {
            break;
        }
        fail_over.goes_on(&watched);
    }
    let events = caught_up(&store, &position).await;
    assert!(matches!(events.last(), Some(Event::Deny(_))), "{events:?}");
}

/// As in a partition that has the gateway, the primary and a minority of the sentinels on one side.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_most_of_the_sentinels_nothing_is_confirmed() {
    let watched = Watched::start();
    let store = open(&watched);
    let key = new_key();
    create(&store, &key).await;
    let position = end(&store).await;
    let follow = async || store.follow(&position, Duration::ZERO).await;
    let _none = follow().await.expect("all of them agree");

    watched.sentinels[0].signal(Signal::STOP);
    let _none = follow().await.expect("two of three are enough");
    watched.sentinels[1].signal(Signal::STOP);
    let error = follow().await.expect_err("one of three is not");
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    assert!(
        matches!(error, StoreError::Deadline(_)) || cause.contains("of 3 sentinels answered"),
        "{error:?}"
    );
    // What was connected before goes on with look-ups: no lease follows from them.
    let found = store.key_by_digest(&key.digest).await.expect("it answers");
    assert!(found.is_some());

    for sentinel in &watched.sentinels[..2] {
        sentinel.signal(Signal::CONT);
    }
    assert_eq!(caught_up(&store, &position).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_the_sentinels_do_not_know_is_told_as_such() {
    let watched = Watched::start();
    let mut settings = watched.settings();
    if let RedisServers::Sentinel(sentinels) = &mut settings.servers {
        sentinels.primary = "another".into();
    }
    let store = RedisStore::open(&settings).expect("good settings");
    let error = store.ping().await.expect_err("nobody has this name");
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    assert!(
        cause.starts_with("the sentinels know no primary named another: "),
        "{cause}"
    );
    if let RedisServers::Sentinel(sentinels) = &mut settings.servers {
        sentinels.password = Some(Secret::new("not-the-sentinels-password"));
    }
    let store = RedisStore::open(&settings).expect("good settings");
    let error = store.ping().await.expect_err("refused");
    assert!(
        !format!("{error:?}").contains("not-the-sentinels-password"),
        "{error:?}"
    );
    assert_eq!(
        Causes(&error).to_string(),
        "the store is unavailable: 0 of 3 sentinels answered, and no more than half name one \
         primary: Redis refused the connection: authentication failed"
    );
}
