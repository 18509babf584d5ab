//! A Redis store that lost data: restored from an older copy, emptied, or another one in its place.
//! Nothing revoked comes back, on whichever gateway, and the store is told again (interface.md §7.3).

use portcullis::admin::SessionSelection;
use portcullis::id::{KeyId, SessionId};
use serde_json::json;
use tokio::time::{Duration, Instant};

use crate::outage::{before, unavailable};
use crate::sessions::session;
use crate::support::{Gateway, RedisServer, UNAUTHORIZED, Upstream, eventually};

fn line(key: &str) -> String {
    format!("x-api-key: {key}\r\n")
}

fn revoke(gateway: &Gateway, id: &KeyId) {
    let revoked = gateway.operate(async |admin| admin.revoke_key(id).await);
    revoked.expect("revoked");
}

fn is_refused(gateway: &Gateway, key: &str) {
    eventually("the key is refused", || {
        (gateway.get(&line(key)).status == 401).then_some(())
    });
}

/// The first verdict after an outage.
fn first_verdict(gateway: &Gateway, key: &str) -> u16 {
    eventually("a verdict", || {
        let status = gateway.get(&line(key)).status;
        (status != 503).then_some(status)
    })
}

fn gaps(gateway: &Gateway, cause: &str) -> f64 {
    gateway.metric(&format!(
        "portcullis_revocation_log_gaps_total{{cause=\"{cause}\"}}"
    ))
}

fn is_noticed(gateway: &Gateway, cause: &str) {
    eventually("the loss is noticed", || {
        (gaps(gateway, cause) >= 1.0).then_some(())
    });
}

/// The store says so again, to its list and in the record.
fn is_healed(redis: &RedisServer, gateway: &Gateway, id: &KeyId) {
    eventually("the record says revoked", || {
        let key = gateway.operate(async |admin| admin.key(id).await);
        key.ok()?.key.revoked_at.map(drop)
    });
    eventually("the list has it", || {
        let member = format!("key:{id}");
        let at: Option<f64> = redis.command(&["ZSCORE", "pc:{rev}:nb", &member]);
        at.map(drop)
    });
}

#[test]
fn what_was_revoked_before_a_rollback_stays_revoked_on_each_gateway() {
    let upstream = Upstream::start();
    let mut redis = RedisServer::start();
    let setup = before(&redis, &upstream);
    let (one, other) = (setup.start(), setup.start());
    let (id, key) = one.key(&["domains:read"]);
    let (_, honest) = one.key(&["domains:read"]);
    for gateway in [&one, &other] {
        assert_eq!(gateway.get(&line(&key)).status, 200);
        assert_eq!(gateway.get(&line(&honest)).status, 200);
    }
    let (session, session_id) = session(&one, &honest, &json!({}));
    let bearer = format!("authorization: Bearer {session}\r\n");
    assert_eq!(other.get(&bearer).status, 200);
    let copy = redis.copy();
    revoke(&one, &id);
    let session_id = SessionId::parse(&session_id).expect("an id");
    let ended = one.operate(async |admin| admin.end_session(&session_id).await);
    ended.expect("ended");
    for gateway in [&one, &other] {
        is_refused(gateway, &key);
        eventually("the session is refused", || {
            (gateway.get(&bearer).status == 401).then_some(())
        });
    }

    redis.restore(&copy);
    for gateway in [&one, &other] {
        assert_eq!(first_verdict(gateway, &key), 401);
        is_noticed(gateway, "behind");
        assert_eq!(gateway.get(&line(&key)).status, 401);
        assert_eq!(gateway.get(&line(&honest)).status, 200);
        assert_eq!(gateway.get(&bearer).status, 401);
    }
    is_healed(&redis, &one, &id);
    eventually("the session is off its lists", || {
        let all = SessionSelection::Everyone;
        let page = one.operate(async |admin| admin.sessions(&all, None).await);
        page.ok()?.sessions.is_empty().then_some(())
    });
    // Who starts now knows only what the store has, which is enough again.
    let fresh = setup.start();
    let answer = fresh.get(&line(&key));
    assert_eq!((answer.status, answer.body.as_str()), (401, UNAUTHORIZED));
    assert_eq!(gaps(&fresh, "behind"), 0.0);
    assert_eq!(fresh.get(&line(&honest)).status, 200);
    assert_eq!(fresh.get(&bearer).status, 401);
}

#[test]
fn a_restart_during_an_outage_forgets_no_revocation_though_the_store_has() {
    let upstream = Upstream::start();
    let mut redis = RedisServer::start();
    let setup = before(&redis, &upstream);
    let gateway = setup.start();
    let (id, key) = gateway.key(&["domains:read"]);
    assert_eq!(gateway.get(&line(&key)).status, 200);
    let copy = redis.copy();
    revoke(&gateway, &id);
    is_refused(&gateway, &key);
    let memory = gateway.path("data/revocations.redb");
    eventually("it is on disk", || {
        let bytes = std::fs::read(&memory).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        text.contains(&format!("key:{id}")).then_some(())
    });

    redis.kill();
    let gateway = Gateway::start_in(gateway.stop(), &setup.yaml());
    unavailable(&gateway, &key);
    redis.restore(&copy);
    assert_eq!(first_verdict(&gateway, &key), 401);
    is_noticed(&gateway, "behind");
    is_healed(&redis, &gateway, &id);
    assert_eq!(gateway.get(&line(&key)).status, 401);
}

#[test]
fn an_emptied_store_and_another_one_in_its_place_are_noticed() {
    let upstream = Upstream::start();
    let mut redis = RedisServer::start();
    let setup = before(&redis, &upstream);
    let gateway = setup.start();
    let (id, key) = gateway.key(&["domains:read"]);
    assert_eq!(gateway.get(&line(&key)).status, 200);
    revoke(&gateway, &id);
    is_refused(&gateway, &key);
    let _: () = redis.command(&["FLUSHALL"]);
    is_noticed(&gateway, "emptied");
    // There is no record any more, and the denial is on the list again.
    eventually("the list has it", || {
        let member = format!("key:{id}");
        let at: Option<f64> = redis.command(&["ZSCORE", "pc:{rev}:nb", &member]);
        at.map(drop)
    });
    assert_eq!(gateway.get(&line(&key)).status, 401);

    let other = RedisServer::start();
    drop(before(&other, &upstream).start());
    redis.restore(&other.copy());
    is_noticed(&gateway, "another");
    eventually("that list has it too", || {
        let member = format!("key:{id}");
        let at: Option<f64> = redis.command(&["ZSCORE", "pc:{rev}:nb", &member]);
        at.map(drop)
    });
    assert_eq!(gateway.get(&line(&key)).status, 401);
}

/// Row 97: what a store that comes back, or caches that were emptied, cost the store.
#[test]
fn when_the_store_is_back_each_key_in_use_is_looked_up_once() {
    const KEYS: usize = 200;
    let upstream = Upstream::start();
    let mut redis = RedisServer::start();
    let mut setup = before(&redis, &upstream);
    let fresh = Duration::from_secs(2);
    setup.credentials = ", cache: { fresh: 2s, stale: 5m }".into();
    let gateway = setup.start();
    let keys: Vec<String> = (0..KEYS)
        .map(|_| gateway.key(&["domains:read"]).1)
        .collect();
    let use_all = || {
        std::thread::scope(|scope| {
            for part in keys.chunks(KEYS / 4) {
                let gateway = &gateway;
                scope.spawn(move || {
                    for key in part {
                        assert_eq!(gateway.get(&line(key)).status, 200);
                    }
                });
            }
        });
    };
    // A record is read again after 80 % of its freshness at the earliest.
    let most = |since: Instant| {
        let times = since.elapsed().as_secs_f64() / (0.8 * fresh.as_secs_f64());
        KEYS * (1 + times as usize)
    };
    use_all();

    redis.kill();
    let away = Instant::now();
    while away.elapsed() < fresh {
        use_all();
    }
    redis.launch();
    let back = Instant::now();
    eventually("the log is followed", || {
        use_all();
        (gateway.vitals("/readyz").status == 200).then_some(())
    });
    use_all();
    let (calls, bound) = (redis.calls("hgetall"), most(back));
    assert!((1..=bound).contains(&calls), "{calls} of at most {bound}");

    let _: () = redis.command(&["CONFIG", "RESETSTAT"]);
    let emptied = Instant::now();
    let _: u64 = redis.command(&["XTRIM", "pc:{rev}:log", "MAXLEN", "0"]);
    is_noticed(&gateway, "emptied");
    use_all();
    use_all();
    let (calls, bound) = (redis.calls("hgetall"), most(emptied));
    assert!(
        (KEYS..=bound).contains(&calls),
        "{calls} of at most {bound}"
    );
}
