//! The room as a whole: an authenticator with its follower over a scripted store, in paused time.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet, yield_now};
use tokio::time::{Instant, advance, sleep};

use crate::clock::{Clock, Timestamp};
use crate::environment::Environment;
use crate::id::{AccountId, KeyId};
use crate::observe::Metrics;
use crate::scope::ScopeSet;
use crate::secret::{Digest, Pepper};
use crate::store::{Denial, DenialKind, KeyRecord, Store};
use crate::token::{OpaqueFormat, OpaqueKind};

use super::access_token::AccessTokens;
use super::look_ups::MOST;
use super::scripted_store::{Mood, ScriptedStore};
use super::*;

mod fleet;
mod losses;
mod sessions;
mod usage;
mod warm_up;

/// Where requests are from.
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);
const UNKNOWN: Failure = Failure::Refused(Refusal::Unknown);
const REVOKED: Failure = Failure::Refused(Refusal::Revoked);
const NO_STORE: Failure = Failure::Unavailable(Unavailable::Store);
const NO_LEASE: Failure = Failure::Unavailable(Unavailable::Lease);

struct Room {
    store: Arc<ScriptedStore>,
    authenticator: Arc<Authenticator>,
    follower: JoinHandle<std::convert::Infallible>,
    clock: Clock,
    metrics: Metrics,
    pepper: Pepper,
}

impl Room {
    /// With the log confirmed.
    async fn open() -> Room {
        let room = Room::closed(Handle::current());
        eventually(|| matches!(room.authenticator.revocation().lease(), Lease::Fresh(_))).await;
        room
    }

    fn closed(control: Handle) -> Room {
        Room::closed_with(control, no_issuers())
    }

    fn closed_with(control: Handle, access_tokens: AccessTokens) -> Room {
        Room::closed_under(&settings(), control, access_tokens)
    }

    fn closed_under(
        settings: &CredentialSettings,
        control: Handle,
        access_tokens: AccessTokens,
    ) -> Room {
        let (room, follower) = Room::unfollowed_under(settings, control, access_tokens);
        room.followed_by(follower)
    }

    /// Whose follower does not run yet.
    fn unfollowed(control: Handle, access_tokens: AccessTokens) -> (Room, Follower) {
        Room::unfollowed_under(&settings(), control, access_tokens)
    }

    fn unfollowed_under(
        settings: &CredentialSettings,
        control: Handle,
        access_tokens: AccessTokens,
    ) -> (Room, Follower) {
        let (store, clock) = (Arc::new(ScriptedStore::new()), Clock::manual(NOW));
        let metrics = Metrics::new();
        let (authenticator, follower) = Authenticator::new(
            settings,
            access_tokens,
            Arc::new(Revocation::new(&settings.cache, &[])),
            Arc::clone(&store) as Arc<dyn Store>,
            control,
            clock.clone(),
            &metrics,
        );
        let room = Room {
            store,
            authenticator: Arc::new(authenticator),
            follower: tokio::spawn(std::future::pending()),
            clock,
            metrics,
            pepper: settings.peppers.current().clone(),
        };
        (room, follower)
    }

    fn followed_by(mut self, follower: Follower) -> Room {
        self.follower.abort();
        self.follower = tokio::spawn(follower.run());
        self
    }

    /// A key in the store, of which the log has not told.
    fn key(&self, change: impl FnOnce(&mut KeyRecord)) -> String {
        let text = mint();
        let mut record = record();
        change(&mut record);
        self.store.put(self.digest(&text), record);
        text
    }

    fn digest(&self, text: &str) -> Digest {
        self.pepper.digest(text)
    }

    async fn verdict(&self, text: &str) -> Result<Principal, Failure> {
        let credential = Credential::read(text, self.authenticator.form());
        self.authenticator
            .authenticate(credential, HERE, None)
            .await
    }

    async fn failure(&self, text: &str) -> Option<Failure> {
        self.verdict(text).await.err()
    }

    /// A request in a task of its own.
    fn request(&self, text: &str) -> JoinHandle<Result<Principal, Failure>> {
        let (authenticator, text) = (Arc::clone(&self.authenticator), text.to_owned());
        tokio::spawn(async move {
            let credential = Credential::read(&text, authenticator.form());
            authenticator.authenticate(credential, HERE, None).await
        })
    }

    /// A request whose load has reached the store, which holds its answer.
    async fn request_in_flight(&self, text: &str) -> JoinHandle<Result<Principal, Failure>> {
        self.store.set_lookups(Mood::Hold);
        let before = self.store.lookup_count();
        let request = self.request(text);
        eventually(|| self.store.lookup_count() == before + 1).await;
        request
    }

    /// Waits until the follower has applied what the log says.
    async fn follow(&self) {
        let denial = Denial {
            kind: DenialKind::Jti,
            id: format!("marker-{}", KeyId::random()),
            at: NOW,
        };
        self.store.deny(denial.clone());
        let revocation = self.authenticator.revocation();
        eventually(|| revocation.denies(NOW, [(denial.kind, denial.id.as_str())])).await;
    }

    fn deny(&self, kind: DenialKind, id: &str) {
        self.store.deny(Denial {
            kind,
            id: id.into(),
            at: self.clock.now(),
        });
    }

    fn counted(&self, line: &str) -> bool {
        let text = self.metrics.render();
        text.lines()
            .any(|shown| shown == format!("portcullis_{line}"))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

fn settings() -> CredentialSettings {
    CredentialSettings {
        realm: "osir".into(),
        prefix: "osir".into(),
        peppers: Pepper::of_test(b'z').into(),
        checksum: Checksum::Required,
        cache: CacheSettings {
            capacity: 10_000,
            fresh: Duration::from_secs(60),
            stale: Duration::from_secs(300),
            negative: Duration::from_secs(2),
        },
    }
}

fn no_issuers() -> AccessTokens {
    let (clock, metrics) = (Clock::system(), Arc::new(Metrics::new()));
    AccessTokens::new(&[], clock, &metrics, &Handle::current(), 1).expect("no issuer, no problem")
}

fn mint() -> String {
    let kind = OpaqueKind::ApiKey(Environment::Live);
    let minted = OpaqueFormat::new("osir").mint(kind);
    minted.secret.expose().to_owned()
}

fn record() -> KeyRecord {
    KeyRecord {
        id: KeyId::random(),
        account: AccountId::parse("acct_1").expect("id"),
        name: "test".into(),
        environment: Environment::Live,
        scopes: ScopeSet::parse("domains:read domains:write").expect("scopes"),
        created_at: NOW.minus(Duration::from_secs(3600)),
        not_before: None,
        expires_at: None,
        revoked_at: None,
        allowed_ips: Vec::new(),
        hint: "osir_live_…abcd".into(),
    }
}

/// Lets other tasks run, in no time, until it is so.
async fn eventually(is_so: impl Fn() -> bool) {
    for _ in 0..100_000 {
        if is_so() {
            return;
        }
        yield_now().await;
    }
    panic!("it did not come to be");
}

#[tokio::test(start_paused = true)]
async fn a_good_key_tells_who_holds_it_and_what_it_may() {
    let room = Room::open().await;
    let id = KeyId::random();
    let key = room.key(|record| {
        record.id = id.clone();
        record.environment = Environment::Test;
        record.allowed_ips = vec!["10.0.0.0/8".parse().expect("net")];
        record.expires_at = Some(NOW.plus(Duration::from_secs(60)));
    });
    let principal = room.verdict(&key).await.expect("good");
    assert_eq!(principal.kind(), CredentialKind::ApiKey);
    assert_eq!(principal.credential_id().as_str(), id.as_str());
    assert_eq!(principal.subject(), "acct_1");
    assert_eq!(principal.account().map(AccountId::as_str), Some("acct_1"));
    assert_eq!(principal.scopes().to_string(), "domains:read domains:write");
    assert_eq!(principal.environment(), Environment::Test);
    assert_eq!(
        principal.expires_at(),
        Some(NOW.plus(Duration::from_secs(60)))
    );
    assert!(principal.allows_address("10.1.2.3".parse().expect("address")));
    assert!(principal.allows_address("::ffff:10.1.2.3".parse().expect("address")));
    assert!(!principal.allows_address("11.1.2.3".parse().expect("address")));
    assert!(
        room.counted(r#"authentications_total{kind="api_key",outcome="accepted",reason="none"} 1"#)
    );
}

#[tokio::test(start_paused = true)]
async fn a_thousand_concurrent_first_uses_make_one_load() {
    let room = Room::open().await;
    let key = room.key(|_| {});
    room.store.set_lookups(Mood::Hold);
    let requests: Vec<_> = (0..1000).map(|_| room.request(&key)).collect();
    // Every request has run up to its wait.
    for _ in 0..10 {
        yield_now().await;
    }
    room.store.set_lookups(Mood::Answer);
    for request in requests {
        assert!(request.await.expect("no panic").is_ok());
    }
    assert_eq!(room.store.lookup_count(), 1);
    assert!(room.counted(r#"credential_cache_total{cache="api_key",outcome="miss"} 1"#));
    assert!(room.counted(r#"credential_cache_total{cache="api_key",outcome="shared"} 999"#));
}

#[tokio::test(start_paused = true)]
async fn of_many_keys_at_once_only_so_many_are_looked_up_at_a_time() {
    let room = Room::open().await;
    let keys: Vec<String> = (0..3 * MOST).map(|_| room.key(|_| {})).collect();
    room.store.set_lookups(Mood::Hold);
    // Twice each, as after a flush of the caches: one look-up a key all the same.
    let twice = || keys.iter().chain(&keys);
    let requests: Vec<_> = twice().map(|key| room.request(key)).collect();
    for _ in 0..100 {
        yield_now().await;
    }
    assert_eq!(room.store.lookup_count(), MOST);
    room.store.set_lookups(Mood::Answer);
    for request in requests {
        assert!(request.await.expect("no panic").is_ok());
    }
    assert_eq!(room.store.lookup_count(), keys.len());
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_place_at_a_store_that_hangs_is_503_in_time_too() {
    let room = Room::open().await;
    let keys: Vec<String> = (0..2 * MOST).map(|_| room.key(|_| {})).collect();
    room.store.set_lookups(Mood::Hang);
    let asked = Instant::now();
    let requests: Vec<_> = keys.iter().map(|key| room.request(key)).collect();
    for request in requests {
        assert_eq!(request.await.expect("no panic").err(), Some(NO_STORE));
    }
    assert!(asked.elapsed() <= Duration::from_secs(2));
    room.store.set_lookups(Mood::Answer);
    assert!(room.verdict(&keys[0]).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_refresh_makes_way_for_those_who_wait() {
    let room = Room::open().await;
    let known = room.key(|_| {});
    assert!(room.verdict(&known).await.is_ok());
    advance(Duration::from_secs(60)).await;
    let others: Vec<String> = (0..MOST).map(|_| room.key(|_| {})).collect();
    room.store.set_lookups(Mood::Hold);
    let requests: Vec<_> = others.iter().map(|key| room.request(key)).collect();
    eventually(|| room.store.lookup_count() == 1 + MOST).await;
    assert!(room.verdict(&known).await.is_ok());
    room.store.set_lookups(Mood::Answer);
    for request in requests {
        assert!(request.await.expect("no panic").is_ok());
    }
    assert_eq!(room.store.lookup_count(), 1 + MOST);
    // A second later a use gets its refresh.
    advance(Duration::from_secs(1)).await;
    assert!(room.verdict(&known).await.is_ok());
    eventually(|| room.store.lookup_count() == 2 + MOST).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn first_uses_on_several_threads_make_one_load_for_each_key() {
    let room = Room::open().await;
    let keys: Vec<String> = (0..50).map(|_| room.key(|_| {})).collect();
    let mut requests = JoinSet::new();
    for _ in 0..40 {
        for key in &keys {
            let request = room.request(key);
            requests.spawn(async move { request.await.expect("no panic").is_ok() });
        }
    }
    assert!(requests.join_all().await.into_iter().all(|good| good));
    assert_eq!(room.store.lookup_count(), keys.len());
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_failing_loads_is_one_call_and_the_error_is_not_cached() {
    let room = Room::open().await;
    let key = room.key(|_| {});
    let first = room.request_in_flight(&key).await;
    let others: Vec<_> = (0..100).map(|_| room.request(&key)).collect();
    for _ in 0..10 {
        yield_now().await;
    }
    room.store.set_lookups(Mood::Fail);
    assert_eq!(first.await.expect("no panic").err(), Some(NO_STORE));
    for other in others {
        assert_eq!(other.await.expect("no panic").err(), Some(NO_STORE));
    }
    assert_eq!(room.store.lookup_count(), 1);
    room.store.set_lookups(Mood::Answer);
    assert!(room.verdict(&key).await.is_ok());
    assert_eq!(room.store.lookup_count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_does_not_end_the_load_that_others_wait_for() {
    let room = Room::open().await;
    let key = room.key(|_| {});
    let first = room.request_in_flight(&key).await;
    let second = room.request(&key);
    yield_now().await;
    first.abort();
    assert!(first.await.expect_err("aborted").is_cancelled());
    room.store.set_lookups(Mood::Answer);
    assert!(second.await.expect("no panic").is_ok());
    assert_eq!(room.store.lookup_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn garbage_is_refused_without_a_look_up_also_when_the_store_is_down() {
    let room = Room::open().await;
    room.store.set_lookups(Mood::Fail);
    let mut flipped = mint().into_bytes();
    let last = flipped.len() - 1;
    flipped[last] = if flipped[last] == b'a' { b'b' } else { b'a' };
    let flipped = String::from_utf8(flipped).expect("ASCII");
    let swapped = mint().replace("_live_", "_test_");
    for (text, refusal) in [
        (flipped.as_str(), Refusal::Checksum),
        (swapped.as_str(), Refusal::Checksum),
        ("osir_live_short", Refusal::Checksum),
        ("osir_rt_abc", Refusal::Foreign),
        ("hello", Refusal::Malformed),
    ] {
        assert_eq!(room.failure(text).await, Some(Failure::Refused(refusal)));
    }
    assert_eq!(room.store.lookup_count(), 0);
    assert!(
        room.counted(
            r#"authentications_total{kind="api_key",outcome="refused",reason="checksum"} 3"#
        )
    );
}

#[tokio::test(start_paused = true)]
async fn no_credential_is_absent_and_a_session_is_unknown() {
    let room = Room::open().await;
    let absent = room
        .authenticator
        .authenticate(Credential::Absent, HERE, None)
        .await;
    assert_eq!(absent.err(), Some(Failure::Absent));
    assert_eq!(room.store.lookup_count(), 0);
    let session = OpaqueFormat::new("osir").mint(OpaqueKind::Session);
    // Asked once: that it is unknown is remembered for a moment.
    for _ in 0..2 {
        assert_eq!(room.failure(session.secret.expose()).await, Some(UNKNOWN));
        assert_eq!(room.store.lookup_count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn row_111_a_revocation_hits_a_cached_key() {
    let room = Room::open().await;
    let id = KeyId::random();
    let key = room.key(|record| record.id = id.clone());
    assert!(room.verdict(&key).await.is_ok());
    room.deny(DenialKind::Key, id.as_str());
    room.follow().await;
    assert_eq!(room.failure(&key).await, Some(REVOKED));
}

#[tokio::test(start_paused = true)]
async fn row_93_a_revocation_during_a_load_hits_what_the_load_brings() {
    let room = Room::open().await;
    let id = KeyId::random();
    let key = room.key(|record| record.id = id.clone());
    let request = room.request_in_flight(&key).await;
    room.deny(DenialKind::Key, id.as_str());
    room.follow().await;
    room.store.set_lookups(Mood::Answer);
    assert_eq!(request.await.expect("no panic").err(), Some(REVOKED));
    assert_eq!(room.failure(&key).await, Some(REVOKED));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_says_revoked_is_refused_whatever_the_log_says() {
    let room = Room::open().await;
    let key = room.key(|record| record.revoked_at = Some(NOW.plus(Duration::from_secs(9))));
    assert_eq!(room.failure(&key).await, Some(REVOKED));
}

#[tokio::test(start_paused = true)]
async fn an_account_denial_hits_its_older_keys() {
    let room = Room::open().await;
    let old = room.key(|_| {});
    let new = room.key(|record| record.created_at = NOW.plus(Duration::from_secs(60)));
    let other = room.key(|record| record.account = AccountId::parse("acct_2").expect("id"));
    room.deny(DenialKind::Account, "acct_1");
    room.follow().await;
    assert_eq!(room.failure(&old).await, Some(REVOKED));
    assert!(room.verdict(&new).await.is_ok());
    assert!(room.verdict(&other).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_change_during_a_load_makes_the_load_start_over() {
    let room = Room::open().await;
    let key = room.key(|_| {});
    let request = room.request_in_flight(&key).await;
    let mut narrower = record();
    narrower.scopes = ScopeSet::parse("domains:read").expect("scopes");
    room.store.put(room.digest(&key), narrower);
    room.store.publish(room.digest(&key));
    room.follow().await;
    room.store.set_lookups(Mood::Answer);
    let principal = request.await.expect("no panic").expect("good");
    assert_eq!(principal.scopes().to_string(), "domains:read");
    assert_eq!(room.store.lookup_count(), 2);
    // What the first load brought is in no cache.
    let principal = room.verdict(&key).await.expect("good");
    assert_eq!(principal.scopes().to_string(), "domains:read");
    assert_eq!(room.store.lookup_count(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_comes_after_a_change_does_not_wait_for_the_load_from_before_it() {
    let room = Room::open().await;
    let key = room.key(|_| {});
    let _before = room.request_in_flight(&key).await;
    room.store.publish(room.digest(&key));
    room.follow().await;
    let _after = room.request_in_flight(&key).await;
    assert_eq!(room.store.lookup_count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_keeps_changing_is_503_after_three_loads() {
    let room = Room::open().await;
    let key = room.key(|_| {});
    room.store.set_lookups(Mood::Change);
    assert_eq!(room.failure(&key).await, Some(NO_STORE));
    assert_eq!(room.store.lookup_count(), 3);
    room.store.set_lookups(Mood::Answer);
    assert!(room.verdict(&key).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_change_drops_the_cached_record() {
    let room = Room::open().await;
    let key = room.key(|_| {});
    assert!(room.verdict(&key).await.is_ok());
    room.store.remove(&room.digest(&key));
    room.store.publish(room.digest(&key));
    room.follow().await;
    assert_eq!(room.failure(&key).await, Some(UNKNOWN));
}

#[tokio::test(start_paused = true)]
async fn a_gap_in_the_log_drops_the_caches_and_reads_the_list_again() {
    let room = Room::open().await;
    let (changed, id) = (room.key(|_| {}), KeyId::random());
    let revoked = room.key(|record| record.id = id.clone());
    assert!(room.verdict(&changed).await.is_ok());
    assert!(room.verdict(&revoked).await.is_ok());
    let in_flight = room.key(|_| {});
    let request = room.request_in_flight(&in_flight).await;

    room.store.remove(&room.digest(&changed));
    room.store.remove(&room.digest(&in_flight));
    room.deny(DenialKind::Key, id.as_str());
    room.store.lose_log();
    sleep(Duration::from_millis(200)).await;
    assert_eq!(room.store.list_count(), 2);

    room.store.set_lookups(Mood::Answer);
    assert_eq!(room.failure(&changed).await, Some(UNKNOWN));
    assert_eq!(room.failure(&revoked).await, Some(REVOKED));
    assert_eq!(request.await.expect("no panic").err(), Some(UNKNOWN));
}

#[tokio::test(start_paused = true)]
async fn a_gap_drops_the_caches_also_while_the_list_cannot_be_read() {
    let room = Room::open().await;
    let (cached, in_flight) = (room.key(|_| {}), room.key(|_| {}));
    assert!(room.verdict(&cached).await.is_ok());
    room.store.remove(&room.digest(&cached));
    let _before = room.request_in_flight(&in_flight).await;
    room.store.lose_log();
    // Less than the pause before the list is read.
    sleep(Duration::from_millis(10)).await;
    room.store.set_log(Mood::Fail);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(room.store.list_count(), 1);
    // Nobody waits for a load from before the gap.
    let _after = room.request_in_flight(&in_flight).await;
    room.store.set_lookups(Mood::Answer);
    assert_eq!(room.failure(&cached).await, Some(UNKNOWN));
}

#[tokio::test(start_paused = true)]
async fn a_change_between_a_gap_and_the_new_position_is_not_missed() {
    let room = Room::open().await;
    let key = room.key(|_| {});
    room.store.lose_log();
    // Less than the pause before the list is read.
    sleep(Duration::from_millis(10)).await;
    assert!(room.verdict(&key).await.is_ok());
    room.store.remove(&room.digest(&key));
    room.store.publish(room.digest(&key));
    assert_eq!(room.store.list_count(), 1);
    sleep(Duration::from_millis(200)).await;
    assert_eq!(room.store.list_count(), 2);
    assert_eq!(room.failure(&key).await, Some(UNKNOWN));
}

#[tokio::test(start_paused = true)]
async fn row_96_a_key_probed_before_it_exists_works_as_soon_as_it_is_published() {
    let room = Room::open().await;
    let key = mint();
    assert_eq!(room.failure(&key).await, Some(UNKNOWN));
    room.store.put(room.digest(&key), record());
    assert_eq!(room.failure(&key).await, Some(UNKNOWN));
    room.store.publish(room.digest(&key));
    room.follow().await;
    assert!(room.verdict(&key).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn row_96_a_key_probed_before_it_exists_works_within_two_seconds_at_worst() {
    let room = Room::open().await;
    let key = mint();
    assert_eq!(room.failure(&key).await, Some(UNKNOWN));
    room.store.put(room.digest(&key), record());
    advance(Duration::from_millis(1_599)).await;
    assert_eq!(room.failure(&key).await, Some(UNKNOWN));
    advance(Duration::from_millis(401)).await;
    assert!(room.verdict(&key).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn row_97_an_unknown_key_is_looked_up_once_in_its_time() {
    let room = Room::open().await;
    let key = mint();
    for _ in 0..1000 {
        assert_eq!(room.failure(&key).await, Some(UNKNOWN));
    }
    assert_eq!(room.store.lookup_count(), 1);
    assert!(room.counted(r#"credential_cache_total{cache="api_key",outcome="absent"} 999"#));
    advance(Duration::from_secs(2)).await;
    assert_eq!(room.failure(&key).await, Some(UNKNOWN));
    assert_eq!(room.store.lookup_count(), 2);
}

#[tokio::test(start_paused = true)]
async fn row_110_a_known_key_is_served_to_the_bound_and_an_unknown_one_is_503() {
    let room = Room::open().await;
    let (known, unseen, absent) = (room.key(|_| {}), room.key(|_| {}), mint());
    assert!(room.verdict(&known).await.is_ok());
    assert_eq!(room.failure(&absent).await, Some(UNKNOWN));
    room.store.set_lookups(Mood::Fail);
    room.store.set_log(Mood::Fail);

    sleep(Duration::from_secs(299)).await;
    assert!(room.verdict(&known).await.is_ok());
    assert_eq!(room.failure(&unseen).await, Some(NO_STORE));
    assert_eq!(room.failure(&absent).await, Some(NO_STORE));

    sleep(Duration::from_secs(2)).await;
    let lookups = room.store.lookup_count();
    for key in [&known, &unseen, &absent] {
        assert_eq!(room.failure(key).await, Some(NO_LEASE));
    }
    assert_eq!(room.store.lookup_count(), lookups);
    assert!(room.counted(
        r#"authentications_total{kind="api_key",outcome="unavailable",reason="lease_stale"} 3"#
    ));

    room.store.set_lookups(Mood::Answer);
    room.store.set_log(Mood::Answer);
    sleep(Duration::from_secs(5)).await;
    assert!(room.verdict(&known).await.is_ok());
    assert!(room.verdict(&unseen).await.is_ok());
    assert_eq!(room.failure(&absent).await, Some(UNKNOWN));
}

#[tokio::test(start_paused = true)]
async fn row_110_a_store_that_hangs_makes_503_within_two_seconds() {
    let room = Room::open().await;
    let (known, unseen) = (room.key(|_| {}), room.key(|_| {}));
    assert!(room.verdict(&known).await.is_ok());
    room.store.set_lookups(Mood::Hang);
    room.store.set_log(Mood::Hang);
    let begun = Instant::now();
    assert_eq!(room.failure(&unseen).await, Some(NO_STORE));
    assert!(begun.elapsed() <= Duration::from_secs(2));
    assert!(room.verdict(&known).await.is_ok());
    sleep(Duration::from_secs(301)).await;
    assert_eq!(room.failure(&known).await, Some(NO_LEASE));
    // The follower was not caught in the call that hangs.
    room.store.set_log(Mood::Answer);
    sleep(Duration::from_secs(9)).await;
    assert!(room.verdict(&known).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_runs_out_during_a_load_is_503() {
    let room = Room::open().await;
    let key = room.key(|_| {});
    room.store.set_log(Mood::Fail);
    sleep(Duration::from_secs(299)).await;
    let request = room.request_in_flight(&key).await;
    sleep(Duration::from_millis(1_500)).await;
    room.store.set_lookups(Mood::Answer);
    assert_eq!(request.await.expect("no panic").err(), Some(NO_LEASE));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_verified_before_the_log_was_read() {
    let room = Room::closed(Handle::current());
    room.store.set_log(Mood::Fail);
    let key = room.key(|_| {});
    yield_now().await;
    assert_eq!(room.authenticator.revocation().lease(), Lease::Unconfirmed);
    assert_eq!(room.failure(&key).await, Some(NO_LEASE));
    assert_eq!(room.store.lookup_count(), 0);
    room.store.set_log(Mood::Answer);
    sleep(Duration::from_secs(3)).await;
    assert!(room.verdict(&key).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_revocation_from_before_the_start_is_known() {
    let room = Room::closed(Handle::current());
    let id = KeyId::random();
    let key = room.key(|record| record.id = id.clone());
    room.deny(DenialKind::Key, id.as_str());
    eventually(|| matches!(room.authenticator.revocation().lease(), Lease::Fresh(_))).await;
    assert_eq!(room.failure(&key).await, Some(REVOKED));
}

#[tokio::test(start_paused = true)]
async fn row_93_expiry_and_beginning_are_judged_on_every_use() {
    let room = Room::open().await;
    let minute = Duration::from_secs(60);
    let key = room.key(|record| {
        record.not_before = Some(NOW.plus(minute));
        record.expires_at = Some(NOW.plus(2 * minute));
    });
    let not_yet = Some(Failure::Refused(Refusal::NotYetValid));
    let expired = Some(Failure::Refused(Refusal::Expired));
    let milli = Duration::from_millis(1);
    room.clock.advance(minute - milli);
    assert_eq!(room.failure(&key).await, not_yet);
    room.clock.advance(milli);
    assert_eq!(room.failure(&key).await, None);
    room.clock.advance(minute - milli);
    assert_eq!(room.failure(&key).await, None);
    room.clock.advance(milli);
    assert_eq!(room.failure(&key).await, expired);
    assert_eq!(room.store.lookup_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_step_of_the_wall_clock_does_not_touch_the_lease() {
    let room = Room::open().await;
    let key = room.key(|_| {});
    room.clock.advance(Duration::from_secs(1_000_000));
    assert!(room.verdict(&key).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_record_past_its_freshness_is_served_and_refreshed_once_behind() {
    let room = Room::open().await;
    let key = room.key(|_| {});
    assert!(room.verdict(&key).await.is_ok());
    let mut narrower = record();
    narrower.scopes = ScopeSet::parse("domains:read").expect("scopes");
    room.store.put(room.digest(&key), narrower);

    // Spread: from 80 % of its time.
    advance(Duration::from_secs(47)).await;
    assert!(room.verdict(&key).await.is_ok());
    assert_eq!(room.store.lookup_count(), 1);
    advance(Duration::from_secs(13)).await;
    room.store.set_lookups(Mood::Hold);
    for _ in 0..10 {
        let principal = room.verdict(&key).await.expect("good");
        assert_eq!(principal.scopes().to_string(), "domains:read domains:write");
    }
    room.store.set_lookups(Mood::Answer);
    eventually(|| room.store.lookup_count() == 2).await;
    sleep(Duration::from_millis(1)).await;
    let principal = room.verdict(&key).await.expect("good");
    assert_eq!(principal.scopes().to_string(), "domains:read");
    assert_eq!(room.store.lookup_count(), 2);
    assert!(room.counted(r#"credential_cache_total{cache="api_key",outcome="refresh"} 1"#));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_fails_is_tried_once_a_second_and_the_key_served_on() {
    let room = Room::open().await;
    let key = room.key(|_| {});
    assert!(room.verdict(&key).await.is_ok());
    advance(Duration::from_secs(60)).await;
    room.store.set_lookups(Mood::Fail);
    for _ in 0..30 {
        assert!(room.verdict(&key).await.is_ok());
        sleep(Duration::from_millis(100)).await;
    }
    let refreshes = room.store.lookup_count() - 1;
    assert!((2..=4).contains(&refreshes), "{refreshes}");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_finds_the_key_gone_ends_it() {
    let room = Room::open().await;
    let key = room.key(|_| {});
    assert!(room.verdict(&key).await.is_ok());
    room.store.remove(&room.digest(&key));
    advance(Duration::from_secs(60)).await;
    assert!(room.verdict(&key).await.is_ok());
    sleep(Duration::from_millis(1)).await;
    assert_eq!(room.failure(&key).await, Some(UNKNOWN));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_costs_one_answer() {
    let room = Room::open().await;
    let key = room.key(|_| {});
    room.store.set_lookups(Mood::Panic);
    assert_eq!(room.failure(&key).await, Some(NO_STORE));
    room.store.set_lookups(Mood::Answer);
    assert!(room.verdict(&key).await.is_ok());
}

#[test]
fn without_the_control_runtime_a_look_up_is_503() {
    let control = tokio::runtime::Runtime::new().expect("runtime");
    let worker = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("runtime");
    let handle = control.handle().clone();
    drop(control);
    worker.block_on(async {
        let room = Room::closed(handle);
        let key = room.key(|_| {});
        eventually(|| matches!(room.authenticator.revocation().lease(), Lease::Fresh(_))).await;
        assert_eq!(room.failure(&key).await, Some(NO_STORE));
    });
}

#[tokio::test(start_paused = true)]
async fn an_exposed_key_is_identified_also_when_it_is_revoked_or_the_lease_is_gone() {
    let room = Room::open().await;
    let id = KeyId::random();
    let key = room.key(|record| {
        record.id = id.clone();
        record.revoked_at = Some(NOW);
    });
    let (form, other, unseen) = (room.authenticator.form(), mint(), mint());
    let identify = |text| room.authenticator.identify(Credential::read(text, form));
    assert_eq!(identify(&key).await, Ok(Some(id.clone())));
    assert_eq!(identify(&other).await, Ok(None));
    assert_eq!(identify("a.b.c").await, Ok(None));
    room.store.set_log(Mood::Fail);
    room.store.set_lookups(Mood::Fail);
    sleep(Duration::from_secs(400)).await;
    assert_eq!(identify(&key).await, Ok(Some(id)));
    assert_eq!(identify(&unseen).await, Err(Unavailable::Store));
}

#[tokio::test(start_paused = true)]
async fn the_age_of_the_lease_is_shown() {
    let room = Room::open().await;
    room.store.set_log(Mood::Fail);
    sleep(Duration::from_secs(100)).await;
    let shown = room.metrics.revocation_lease_age.get();
    assert!((95.0..=100.0).contains(&shown), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_confirms_the_lease_only_up_to_when_it_was_asked_for() {
    let room = Room::open().await;
    sleep(Duration::from_millis(10_500)).await;
    // On a quiet log the answer took its whole wait: what it proves is as old by then.
    let age = room.authenticator.revocation().lease_age();
    let age = age.expect("confirmed");
    assert!(age >= Duration::from_secs(1), "{age:?}");
    assert!(age <= Duration::from_secs(2), "{age:?}");
}
