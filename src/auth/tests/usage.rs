//! What is counted of keys, and when the store hears of it.

use crate::id::SessionId;
use crate::scope::Scope;
use crate::store::{
    CreateSession, Day, KeyUsage, NewSession, SessionParent, SessionRecord, SessionStore as _,
    UsageStore as _, Uses,
};

use super::*;

impl Room {
    /// A key in the store, by its id.
    fn named(&self, id: &KeyId) -> String {
        self.key(|record| record.id = id.clone())
    }

    async fn usage(&self, id: &KeyId) -> KeyUsage {
        let today = Day::of(self.clock.now());
        let found = self.store.usage(vec![id.clone()], today.back(1), today);
        found.await.expect("it answers").remove(0)
    }

    async fn pass_interval(&self) {
        // The longest that there is between two times.
        self.clock.advance(Duration::from_secs(12));
        sleep(Duration::from_secs(12)).await;
        for _ in 0..1000 {
            yield_now().await;
        }
    }
}

fn set(text: &str) -> ScopeSet {
    ScopeSet::parse(text).expect("scopes")
}

fn uses(requests: u64, used: &[(&str, u64)], missing: &[(&str, u64)]) -> Uses {
    let scope = |name: &str| Scope::parse(name).expect("a scope");
    let named = |counts: &[(&str, u64)]| counts.iter().map(|(s, n)| (scope(s), *n)).collect();
    Uses {
        requests,
        used: named(used),
        missing: named(missing),
    }
}

#[tokio::test(start_paused = true)]
async fn each_request_counts_for_the_granted_scopes_that_it_needed() {
    let (room, id) = (Room::open().await, KeyId::random());
    let key = room.named(&id);
    let principal = room.verdict(&key).await.expect("good");
    principal.count_use(Some(&set("domains:read")));
    principal.count_use(Some(&set("domains:read domains:write")));
    // Of a route that takes any of these.
    principal.count_use(Some(&set("billing:read domains:write")));
    principal.count_use(None);
    principal.count_missing(&set("billing:read domains:read"));
    assert_eq!(room.usage(&id).await, KeyUsage::default(), "not told yet");
    room.pass_interval().await;
    let counted = KeyUsage {
        seen_at: Some(NOW),
        uses: uses(
            4,
            &[("domains:read", 2), ("domains:write", 2)],
            &[("billing:read", 1)],
        ),
    };
    assert_eq!(room.usage(&id).await, counted);
    room.pass_interval().await;
    assert_eq!(room.usage(&id).await, counted, "told once");
}

#[tokio::test(start_paused = true)]
async fn what_the_store_did_not_take_is_told_when_it_does() {
    let (room, id) = (Room::open().await, KeyId::random());
    let principal = room.verdict(&room.named(&id)).await.expect("good");
    room.store.set_counts(Mood::Fail);
    for _ in 0..3 {
        principal.count_use(Some(&set("domains:read")));
        room.pass_interval().await;
    }
    assert_eq!(room.usage(&id).await.uses, Uses::default());
    room.store.set_counts(Mood::Answer);
    room.pass_interval().await;
    let counted = uses(3, &[("domains:read", 3)], &[]);
    assert_eq!(room.usage(&id).await.uses, counted);
    assert!(room.counted("usage_dropped_total 0"));
}

#[tokio::test(start_paused = true)]
async fn a_refreshed_record_and_a_second_secret_go_on_with_the_same_counts() {
    let (room, id) = (Room::open().await, KeyId::random());
    let (old, new) = (room.named(&id), room.named(&id));
    let before = room.verdict(&old).await.expect("good");
    room.store.publish(room.digest(&old));
    room.follow().await;
    let after = room.verdict(&old).await.expect("good");
    assert!(!before.is_same(&after), "it was loaded anew");
    let other = room.verdict(&new).await.expect("good");
    for principal in [&before, &after, &other] {
        principal.count_use(Some(&set("domains:read")));
    }
    room.pass_interval().await;
    let counted = uses(3, &[("domains:read", 3)], &[]);
    assert_eq!(room.usage(&id).await.uses, counted);
}

#[tokio::test(start_paused = true)]
async fn a_session_counts_for_the_key_that_gave_it() {
    let (room, id) = (Room::open().await, KeyId::random());
    room.named(&id);
    let minted = OpaqueFormat::new("osir").mint(OpaqueKind::Session);
    let record = SessionRecord {
        id: SessionId::random(),
        parent: SessionParent::Key(id.clone()),
        subject: "acct_1".into(),
        account: None,
        client: None,
        resource: None,
        environment: Environment::Live,
        scopes: set("domains:read"),
        created_at: NOW,
        expires_at: NOW.plus(Duration::from_secs(3600)),
        idle_timeout: None,
        ended_at: None,
        allowed_ips: Vec::new(),
        label: String::new(),
        hint: String::new(),
    };
    let created = room.store.create_session(NewSession {
        digest: room.digest(minted.secret.expose()),
        record,
        cap: 100,
    });
    assert_eq!(created.await.ok(), Some(CreateSession::Created));
    let principal = room.verdict(minted.secret.expose()).await.expect("good");
    principal.count_use(Some(&set("domains:read")));
    principal.count_missing(&set("domains:write"));
    room.pass_interval().await;
    let counted = KeyUsage {
        seen_at: Some(NOW),
        uses: uses(1, &[("domains:read", 1)], &[("domains:write", 1)]),
    };
    assert_eq!(room.usage(&id).await, counted);
}

#[tokio::test(start_paused = true)]
async fn who_only_asks_or_comes_from_elsewhere_is_not_seen() {
    let (room, id) = (Room::open().await, KeyId::random());
    let elsewhere = KeyId::random();
    let key = room.named(&id);
    let bound = room.key(|record| {
        record.id = elsewhere.clone();
        record.allowed_ips = vec!["10.0.0.0/8".parse().expect("net")];
    });
    let credential = Credential::read(&key, room.authenticator.form());
    let asked = room.authenticator.inspect(credential, None).await;
    assert!(asked.is_ok() && room.verdict(&bound).await.is_ok());
    room.pass_interval().await;
    for id in [&id, &elsewhere] {
        assert_eq!(room.usage(id).await, KeyUsage::default());
    }
}

#[tokio::test(start_paused = true)]
async fn sights_of_a_key_in_use_are_told_each_minute_and_its_last_one_always() {
    let (room, id) = (Room::open().await, KeyId::random());
    let key = room.named(&id);
    let mut told = std::collections::BTreeSet::new();
    for _ in 0..10 {
        let principal = room.verdict(&key).await.expect("good");
        principal.count_use(None);
        room.pass_interval().await;
        told.insert(room.usage(&id).await.seen_at.expect("seen"));
    }
    assert!((2..=3).contains(&told.len()), "{told:?}");
    let last = room.clock.now();
    room.verdict(&key).await.expect("good");
    room.pass_interval().await;
    assert_eq!(room.usage(&id).await.seen_at, Some(last));
}
