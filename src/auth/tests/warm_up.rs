//! What is read into the cache at start, and what becomes of it.

use super::*;

impl Room {
    async fn warm_up(&self) {
        self.authenticator.warm_up(&*self.store).await;
    }

    /// A reading whose first page has been read, and which the store holds.
    async fn warm_up_in_flight(&self) -> JoinHandle<()> {
        self.store.set_lookups(Mood::Hold);
        let (authenticator, store) = (Arc::clone(&self.authenticator), Arc::clone(&self.store));
        let reading = tokio::spawn(async move { authenticator.warm_up(&*store).await });
        eventually(|| self.store.pages().len() == 1).await;
        reading
    }

    async fn scopes(&self, key: &str) -> String {
        let principal = self.verdict(key).await.expect("good");
        principal.scopes().to_string()
    }
}

fn narrower() -> KeyRecord {
    KeyRecord {
        scopes: ScopeSet::parse("domains:read").expect("scopes"),
        ..record()
    }
}

#[tokio::test(start_paused = true)]
async fn no_first_use_asks_the_store_for_a_key_that_was_at_hand() {
    let room = Room::open().await;
    let keys: Vec<String> = (0..600).map(|_| room.key(|_| {})).collect();
    room.warm_up().await;
    assert_eq!(room.store.pages(), [256, 256, 88, 0]);
    for key in &keys {
        assert!(room.verdict(key).await.is_ok());
    }
    assert_eq!(room.store.lookup_count(), 0);
    assert!(room.counted(r#"credential_cache_total{cache="api_key",outcome="hit"} 600"#));
}

#[tokio::test(start_paused = true)]
async fn a_change_while_a_page_is_read_makes_what_was_read_void() {
    let room = Room::open().await;
    let (changed, other) = (room.key(|_| {}), room.key(|_| {}));
    let reading = room.warm_up_in_flight().await;
    room.store.put(room.digest(&changed), narrower());
    room.store.publish(room.digest(&changed));
    room.follow().await;
    room.store.set_lookups(Mood::Answer);
    reading.await.expect("no panic");
    assert_eq!(room.scopes(&other).await, "domains:read domains:write");
    assert_eq!(room.store.lookup_count(), 0);
    assert_eq!(room.scopes(&changed).await, "domains:read");
    assert_eq!(room.store.lookup_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_gap_in_the_log_while_a_page_is_read_makes_all_of_it_void() {
    let room = Room::open().await;
    let key = room.key(|_| {});
    let reading = room.warm_up_in_flight().await;
    room.store.put(room.digest(&key), narrower());
    room.store.lose_log();
    sleep(Duration::from_millis(200)).await;
    assert_eq!(room.store.list_count(), 2);
    room.store.set_lookups(Mood::Answer);
    reading.await.expect("no panic");
    assert_eq!(room.scopes(&key).await, "domains:read");
    assert_eq!(room.store.lookup_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_after_the_warm_up_drops_what_was_read() {
    let room = Room::open().await;
    let key = room.key(|_| {});
    room.warm_up().await;
    room.store.put(room.digest(&key), narrower());
    room.store.publish(room.digest(&key));
    room.follow().await;
    assert_eq!(room.scopes(&key).await, "domains:read");
    assert_eq!(room.store.lookup_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn row_111_a_revocation_hits_a_key_that_was_read_at_start() {
    let room = Room::open().await;
    let id = KeyId::random();
    let key = room.key(|record| record.id = id.clone());
    let reading = room.warm_up_in_flight().await;
    room.deny(DenialKind::Key, id.as_str());
    room.follow().await;
    room.store.set_lookups(Mood::Answer);
    reading.await.expect("no panic");
    assert_eq!(room.failure(&key).await, Some(REVOKED));
    assert_eq!(room.store.lookup_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_load_has_brought_stays() {
    let room = Room::open().await;
    let key = room.key(|_| {});
    assert!(room.verdict(&key).await.is_ok());
    // Without a word in the log: which of the two is kept can be seen.
    room.store.put(room.digest(&key), narrower());
    room.warm_up().await;
    assert_eq!(room.store.pages(), [1, 0]);
    assert_eq!(room.scopes(&key).await, "domains:read domains:write");
    // Past the time in which the front has it.
    advance(Duration::from_secs(5)).await;
    assert_eq!(room.scopes(&key).await, "domains:read domains:write");
    assert_eq!(room.store.lookup_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_of_no_use_are_not_kept() {
    let room = Room::open().await;
    let revoked = room.key(|record| record.revoked_at = Some(NOW));
    let expired = room.key(|record| record.expires_at = Some(NOW));
    let soon = room.key(|record| record.not_before = Some(NOW.plus(Duration::from_secs(9))));
    room.warm_up().await;
    let verdict = room.failure(&soon).await;
    assert_eq!(verdict, Some(Failure::Refused(Refusal::NotYetValid)));
    assert_eq!(room.store.lookup_count(), 0);
    assert_eq!(room.failure(&revoked).await, Some(REVOKED));
    let verdict = room.failure(&expired).await;
    assert_eq!(verdict, Some(Failure::Refused(Refusal::Expired)));
    assert_eq!(room.store.lookup_count(), 2);
}

#[tokio::test(start_paused = true)]
async fn no_more_is_read_than_the_cache_keeps() {
    let mut settings = settings();
    settings.cache.capacity = 300;
    let (room, _) = Room::unfollowed_under(&settings, Handle::current(), no_issuers());
    let _keys: Vec<String> = (0..600).map(|_| room.key(|_| {})).collect();
    room.warm_up().await;
    assert_eq!(room.store.pages(), [256, 44]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_or_hangs_ends_the_warm_up_and_nothing_else() {
    let room = Room::open().await;
    let key = room.key(|_| {});
    room.store.set_lookups(Mood::Fail);
    room.warm_up().await;
    room.store.set_lookups(Mood::Hang);
    let began = Instant::now();
    room.warm_up().await;
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    assert_eq!(room.store.pages(), [1, 1]);
    room.store.set_lookups(Mood::Answer);
    assert!(room.verdict(&key).await.is_ok());
    assert_eq!(room.store.lookup_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_read_together_is_not_refreshed_together() {
    let room = Room::open().await;
    let keys: Vec<String> = (0..600).map(|_| room.key(|_| {})).collect();
    room.warm_up().await;
    let refreshed = async |after: u64| {
        advance(Duration::from_secs(after)).await;
        let before = room.store.lookup_count();
        for key in &keys {
            assert!(room.verdict(key).await.is_ok());
            // A refresh, if this was one, gives its place at the store to the next.
            for _ in 0..10 {
                yield_now().await;
            }
        }
        room.store.lookup_count() - before
    };
    assert_eq!(refreshed(11).await, 0);
    // Half of them, by digests: 300 with a deviation of 12.
    let by_half = refreshed(25).await;
    assert!((200..400).contains(&by_half), "{by_half}");
    // The rest, whose time `fresh` ends: what was refreshed has another such time before it.
    assert_eq!(by_half + refreshed(24).await, 600);
}

#[tokio::test(start_paused = true)]
async fn row_96_a_key_probed_before_it_exists_works_when_it_was_read() {
    let room = Room::open().await;
    let key = mint();
    assert_eq!(room.failure(&key).await, Some(UNKNOWN));
    room.store.put(room.digest(&key), record());
    room.warm_up().await;
    assert!(room.verdict(&key).await.is_ok());
}
