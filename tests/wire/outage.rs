//! A Redis store that hangs, is away, comes back, or was never there (row 110).

use std::time::Duration;

use tokio::time::Instant;

use crate::support::{Gateway, RedisServer, Setup, UNAUTHORIZED, Upstream, eventually};

const SERVICE_UNAVAILABLE: &str =
    r#"{"error":"service_unavailable","message":"The service is temporarily unavailable"}"#;

pub(crate) fn before(redis: &RedisServer, upstream: &Upstream) -> Setup {
    let mut setup = Setup::before(upstream.address);
    let password = crate::support::REDIS_PASSWORD;
    setup.store = format!(
        "redis: {{ url: \"{}\", password: {password} }}",
        redis.url()
    );
    setup
}

/// A well-formed key that no store has.
pub(crate) fn unknown_key() -> String {
    let format = portcullis::token::OpaqueFormat::new("osir");
    let live = portcullis::store::Environment::Live;
    format
        .mint(portcullis::token::OpaqueKind::ApiKey(live))
        .secret
        .expose()
        .to_owned()
}

pub(crate) fn unavailable(gateway: &Gateway, key: &str) {
    let asked = Instant::now();
    let answer = gateway.get(&format!("x-api-key: {key}\r\n"));
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (503, SERVICE_UNAVAILABLE)
    );
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.header("www-authenticate"), None);
    assert!(
        asked.elapsed() < Duration::from_secs(2),
        "row 110 promises an answer within 2 s"
    );
}

#[test]
fn while_redis_hangs_or_is_away_known_keys_work_and_unknown_ones_are_503() {
    let upstream = Upstream::start();
    let mut redis = RedisServer::start();
    let gateway = before(&redis, &upstream).start();
    let (id, known) = gateway.key(&["domains:read"]);
    let line = format!("x-api-key: {known}\r\n");
    assert_eq!(gateway.get(&line).status, 200);
    let answer = gateway.get(&format!("x-api-key: {}\r\n", unknown_key()));
    assert_eq!((answer.status, answer.body.as_str()), (401, UNAUTHORIZED));

    redis.pause();
    assert_eq!(gateway.get(&line).status, 200);
    unavailable(&gateway, &unknown_key());
    redis.resume();
    eventually("unknown keys are 401 again", || {
        (gateway
            .get(&format!("x-api-key: {}\r\n", unknown_key()))
            .status
            == 401)
            .then_some(())
    });

    redis.kill();
    assert_eq!(gateway.get(&line).status, 200);
    unavailable(&gateway, &unknown_key());
    eventually("it says so", || {
        (gateway.vitals("/readyz").status == 503).then_some(())
    });
    redis.launch();
    eventually("unknown keys are 401 again", || {
        (gateway
            .get(&format!("x-api-key: {}\r\n", unknown_key()))
            .status
            == 401)
            .then_some(())
    });
    assert_eq!(gateway.get(&line).status, 200);
    gateway
        .operate(async |admin| admin.revoke_key(&id).await)
        .expect("revoked");
    eventually("the key is refused", || {
        (gateway.get(&line).status == 401).then_some(())
    });
}

#[test]
fn past_the_bound_nothing_is_trusted_any_more() {
    let upstream = Upstream::start();
    let mut redis = RedisServer::start();
    let mut setup = before(&redis, &upstream);
    setup.credentials = ", cache: { fresh: 500ms, stale: 3s }".into();
    let gateway = setup.start();
    let (_, known) = gateway.key(&["domains:read"]);
    assert_eq!(gateway.get(&format!("x-api-key: {known}\r\n")).status, 200);
    redis.kill();
    let away = Instant::now();
    eventually("the lease ends", || {
        (gateway.get(&format!("x-api-key: {known}\r\n")).status == 503).then_some(())
    });
    assert!(
        away.elapsed() < Duration::from_millis(6500),
        "the bound was 3 s"
    );
    unavailable(&gateway, &known);
}

#[test]
fn without_redis_the_gateway_starts_refuses_with_503_and_recovers() {
    let upstream = Upstream::start();
    let mut redis = RedisServer::start();
    redis.kill();
    let gateway = before(&redis, &upstream).start();
    unavailable(&gateway, &unknown_key());
    let ready = gateway.vitals("/readyz");
    assert_eq!(ready.status, 503);
    assert!(
        ready.body.contains("store_unavailable") && ready.body.contains("lease_stale"),
        "{}",
        ready.body
    );
    redis.launch();
    eventually("it is ready", || {
        (gateway.vitals("/readyz").status == 200).then_some(())
    });
    let (_, key) = gateway.key(&["domains:read"]);
    eventually("a new key works", || {
        (gateway.get(&format!("x-api-key: {key}\r\n")).status == 200).then_some(())
    });
}

#[test]
fn a_revocation_on_one_gateway_is_one_on_the_other() {
    let upstream = Upstream::start();
    let redis = RedisServer::start();
    let (one, other) = (
        before(&redis, &upstream).start(),
        before(&redis, &upstream).start(),
    );
    let (id, key) = one.key(&["domains:read"]);
    let line = format!("x-api-key: {key}\r\n");
    assert_eq!((one.get(&line).status, other.get(&line).status), (200, 200));
    one.operate(async |admin| admin.revoke_key(&id).await)
        .expect("revoked");
    for gateway in [&one, &other] {
        eventually("the key is refused", || {
            (gateway.get(&line).status == 401).then_some(())
        });
    }
}
