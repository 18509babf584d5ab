//! Sessions and rotation end to end: each rule, and each kind of bad input, on the wire.

use serde_json::{Value, json};

use portcullis::admin::{RotateKeyBody, SessionSelection};

use portcullis::clock::Clock;
use portcullis::observe::Metrics;
use portcullis::secret::Secret;
use portcullis::store::{self, Denial, DenialKind, RedisSettings, StoreSettings};

use crate::support::{
    Answer, FORBIDDEN, Gateway, REDIS_PASSWORD, RedisServer, Setup, UNAUTHORIZED, Upstream,
    change_pepper, eventually,
};
use crate::tokens::Issuer;

fn ask(
    gateway: &Gateway,
    method: &str,
    path: &str,
    credential: &str,
    body: Option<&str>,
) -> Answer {
    let body = body.map_or(String::new(), |body| {
        format!(
            "content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    });
    let end = if body.is_empty() { "\r\n" } else { "" };
    gateway.send(format!(
        "{method} {path} HTTP/1.1\r\nhost: api.osir.com\r\nauthorization: Bearer {credential}\r\n{body}{end}"
    ))
}

pub(crate) fn post(gateway: &Gateway, credential: &str, body: &Value) -> Answer {
    ask(
        gateway,
        "POST",
        "/auth/sessions",
        credential,
        Some(&body.to_string()),
    )
}

/// A session: its token and id.
pub(crate) fn session(gateway: &Gateway, credential: &str, body: &Value) -> (String, String) {
    let answer = post(gateway, credential, body);
    assert_eq!(answer.status, 201, "{answer:?}");
    let given: Value = serde_json::from_str(&answer.body).expect("JSON");
    let text = |name: &str| given[name].as_str().expect("text").to_owned();
    (text("session_token"), text("session_id"))
}

fn use_of(gateway: &Gateway, token: &str) -> u16 {
    gateway
        .get(&format!("authorization: Bearer {token}\r\n"))
        .status
}

fn eventually_refused(gateway: &Gateway, token: &str) {
    eventually("it is refused", || {
        (use_of(gateway, token) == 401).then_some(())
    });
}

#[test]
fn a_session_may_some_of_what_its_key_may() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address).start();
    let (_, key) = gateway.key(&["domains:read", "domains:write"]);
    let answer = post(
        &gateway,
        &key,
        &json!({ "scopes": ["domains:read"], "ttl": 900, "label": "CI" }),
    );
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let given: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(given["token_type"], "Bearer");
    assert_eq!(given["expires_in"], 900);
    assert_eq!(given["scopes"], json!(["domains:read"]));
    let token = given["session_token"].as_str().expect("a token");
    assert!(
        token.starts_with("osir_sess_") && token.len() == 10 + 49,
        "{token}"
    );

    assert_eq!(use_of(&gateway, token), 200);
    let received = &upstream.received()[0];
    assert_eq!(received.values("x-auth-method"), ["session"]);
    assert_eq!(
        received.values("x-auth-credential-id"),
        [given["session_id"].as_str().expect("an id")]
    );
    assert_eq!(received.values("x-auth-scopes"), ["domains:read"]);
    assert!(received.values("authorization").is_empty());
    let denied = ask(&gateway, "DELETE", "/v1/domains", token, None);
    assert_eq!((denied.status, denied.body.as_str()), (403, FORBIDDEN));
    // interface.md §7.4
    assert_eq!(gateway.get(&format!("x-api-key: {token}\r\n")).status, 401);
    assert_eq!(upstream.received().len(), 1);
}

#[test]
fn a_wish_beyond_the_parent_is_403_and_a_bad_one_400() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address).start();
    let (_, key) = gateway.key(&["domains:read"]);
    for body in [
        json!({ "scopes": ["domains:write"] }),
        json!({ "scopes": ["domains:read", "no:such"] }),
    ] {
        let answer = post(&gateway, &key, &body);
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (403, FORBIDDEN),
            "{body}"
        );
        assert_eq!(
            answer.header("www-authenticate"),
            Some(r#"Bearer error="insufficient_scope""#)
        );
    }
    for body in [
        json!({ "ttl": 59 }),
        json!({ "ttl": 43_201 }),
        json!({ "ttl": -1 }),
        json!({ "ttl": "900" }),
        json!({ "idle_timeout": 59 }),
        json!({ "ttl": 60, "idle_timeout": 61 }),
        json!({ "allowed_ips": ["10.0.0.7/8"] }),
        json!({ "label": "a\u{7}b" }),
        json!({ "scopes": "domains:read" }),
        json!({ "scopes": ["a b"] }),
        json!({ "scope": ["domains:read"] }),
        json!([]),
    ] {
        assert_eq!(post(&gateway, &key, &body).status, 400, "{body}");
    }
    for body in ["", "{", "{\"ttl\":60,\"ttl\":61}", "null x"] {
        assert_eq!(
            ask(&gateway, "POST", "/auth/sessions", &key, Some(body)).status,
            400,
            "{body}"
        );
    }
    let large = format!("{{\"label\":\"{}\"}}", "x".repeat(20_000));
    assert_eq!(
        ask(&gateway, "POST", "/auth/sessions", &key, Some(&large)).status,
        413
    );
    let form = gateway.send(format!(
        "POST /auth/sessions HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {key}\r\n\
         content-type: text/plain\r\ncontent-length: 2\r\n\r\n{{}}"
    ));
    assert_eq!(form.status, 400);
    assert_eq!(
        ask(&gateway, "GET", "/auth/sessions", &key, None).body,
        r#"{"sessions":[],"next":null}"#
    );
}

#[test]
fn endpoints_need_a_credential_and_know_their_methods() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address).start();
    let (_, key) = gateway.key(&["domains:read"]);
    let none = gateway.send("GET /auth/sessions HTTP/1.1\r\nhost: api.osir.com\r\n\r\n");
    assert_eq!((none.status, none.body.as_str()), (401, UNAUTHORIZED));
    assert_eq!(
        none.header("www-authenticate"),
        Some(r#"Bearer realm="osir""#)
    );
    let put = ask(&gateway, "PUT", "/auth/sessions", &key, None);
    assert_eq!(
        (put.status, put.header("allow")),
        (405, Some("DELETE, GET, POST"))
    );
    for path in [
        "/auth/sessions/ses_none",
        "/auth/sessions/current",
        "/auth/sessions/a/b",
        "/auth/sessionsx",
    ] {
        assert_eq!(ask(&gateway, "GET", path, &key, None).status, 404, "{path}");
    }
    assert_eq!(upstream.received().len(), 0);
}

#[test]
fn a_session_gives_no_session_and_sees_and_ends_only_itself() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address).start();
    let (_, key) = gateway.key(&["domains:read"]);
    let (one, one_id) = session(&gateway, &key, &json!({}));
    let (_, other_id) = session(&gateway, &key, &json!({}));
    assert_eq!(post(&gateway, &one, &json!({})).status, 403);
    assert_eq!(
        ask(&gateway, "GET", "/auth/sessions", &one, None).status,
        403
    );
    assert_eq!(
        ask(&gateway, "DELETE", "/auth/sessions", &one, None).status,
        403
    );
    let other = format!("/auth/sessions/{other_id}");
    assert_eq!(ask(&gateway, "DELETE", &other, &one, None).status, 404);
    let current = ask(&gateway, "GET", "/auth/sessions/current", &one, None);
    assert!(
        current.status == 200 && current.body.contains(&one_id),
        "{current:?}"
    );
    assert!(!current.body.contains(&one));
    assert_eq!(
        ask(&gateway, "DELETE", "/auth/sessions/current", &one, None).status,
        204
    );
    eventually_refused(&gateway, &one);
}

#[test]
fn a_parent_lists_and_ends_its_own_sessions_and_no_others() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address).start();
    let ((_, key), (_, stranger)) = (
        gateway.key(&["domains:read"]),
        gateway.key(&["domains:read"]),
    );
    let (one, one_id) = session(&gateway, &key, &json!({}));
    let (other, _) = session(&gateway, &key, &json!({}));
    let (foreign, _) = session(&gateway, &stranger, &json!({}));
    let path = format!("/auth/sessions/{one_id}");
    assert_eq!(ask(&gateway, "GET", &path, &stranger, None).status, 404);
    assert_eq!(ask(&gateway, "DELETE", &path, &stranger, None).status, 404);
    let list: Value =
        serde_json::from_str(&ask(&gateway, "GET", "/auth/sessions", &key, None).body)
            .expect("JSON");
    assert_eq!(list["sessions"].as_array().map(Vec::len), Some(2));
    for token in [&one, &other, &foreign] {
        assert_eq!(use_of(&gateway, token), 200);
    }
    assert_eq!(ask(&gateway, "DELETE", &path, &key, None).status, 204);
    eventually_refused(&gateway, &one);
    assert_eq!(
        ask(&gateway, "DELETE", "/auth/sessions", &key, None).body,
        r#"{"ended":1}"#
    );
    eventually_refused(&gateway, &other);
    assert_eq!(use_of(&gateway, &foreign), 200);
}

#[test]
fn a_revoked_key_ends_its_sessions_and_addresses_are_never_widened() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address).start();
    let (id, key) = gateway.key_with(
        &["domains:read"],
        portcullis::store::Environment::Live,
        &["127.0.0.0/8"],
    );
    let beyond = json!({ "allowed_ips": ["0.0.0.0/0"] });
    assert_eq!(post(&gateway, &key, &beyond).status, 403);
    let (elsewhere, _) = session(&gateway, &key, &json!({ "allowed_ips": ["127.9.9.9"] }));
    assert_eq!(use_of(&gateway, &elsewhere), 403);
    let (token, _) = session(&gateway, &key, &json!({}));
    assert_eq!(use_of(&gateway, &token), 200);
    gateway
        .operate(async |admin| admin.revoke_key(&id).await)
        .expect("revoked");
    eventually_refused(&gateway, &token);
}

#[test]
fn a_key_has_at_most_a_hundred_sessions() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address).start();
    let (_, key) = gateway.key(&["domains:read"]);
    for _ in 0..100 {
        session(&gateway, &key, &json!({}));
    }
    let answer = post(&gateway, &key, &json!({}));
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (429, Some("60"))
    );
    assert_eq!(
        answer.body,
        r#"{"error":"rate_limited","message":"Too many requests"}"#
    );
}

#[test]
fn operators_list_and_end_sessions_on_either_store() {
    let upstream = Upstream::start();
    let redis = RedisServer::start();
    let mut on_redis = Setup::before(upstream.address);
    on_redis.store = on(&redis);
    for setup in [Setup::before(upstream.address), on_redis] {
        let gateway = setup.start();
        let (id, key) = gateway.key(&["domains:read"]);
        let ((one, one_id), (two, _)) = (
            session(&gateway, &key, &json!({})),
            session(&gateway, &key, &json!({})),
        );
        let of_key = SessionSelection::Key(id);
        let list = gateway
            .operate(async |admin| admin.sessions(&of_key, None).await)
            .expect("a list");
        assert_eq!(list.sessions.len(), 2);
        let one_id = portcullis::id::SessionId::parse(&one_id).expect("an id");
        gateway
            .operate(async |admin| admin.end_session(&one_id).await)
            .expect("ended");
        eventually_refused(&gateway, &one);
        let ended = gateway
            .operate(async |admin| admin.end_sessions(&of_key).await)
            .expect("ended");
        assert_eq!(ended.ended.len(), 1);
        eventually_refused(&gateway, &two);
    }
}

/// A gateway on this Redis that trusts this issuer.
fn trusting(issuer: &Issuer, upstream: &Upstream, redis: &RedisServer) -> Gateway {
    let mut setup = Setup::before(upstream.address)
        .extra("access_tokens: [{ issuer: https://idp.example, jwks: jwks.json, audience: api, algorithms: [ES256] }]\n");
    let folder = Setup::before(upstream.address).start().stop();
    std::fs::write(folder.path().join("jwks.json"), issuer.jwks()).expect("writable");
    setup.store = on(redis);
    Gateway::start_in(folder, &setup.yaml())
}

fn on(redis: &RedisServer) -> String {
    format!(
        "redis: {{ url: \"{}\", password: {REDIS_PASSWORD} }}",
        redis.url()
    )
}

/// Puts a denial on the list, as another gateway of the fleet would.
pub(crate) fn deny(redis: &RedisServer, kind: DenialKind, id: &str) {
    let settings = StoreSettings::Redis(RedisSettings {
        password: Some(Secret::new(REDIS_PASSWORD)),
        timeout: std::time::Duration::from_secs(2),
        ..RedisSettings::at(redis.url())
    });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let clock = Clock::system();
        let store = store::open(&settings, &clock, &Metrics::new()).expect("a store");
        let (id, at) = (id.into(), clock.now());
        store
            .deny(vec![Denial { kind, id, at }])
            .await
            .expect("denied");
    });
}

#[test]
fn a_session_of_an_access_token_acts_as_it_lives_no_longer_and_ends_with_it() {
    let (issuer, upstream, redis) = (Issuer::new(), Upstream::start(), RedisServer::start());
    let gateway = trusting(&issuer, &upstream, &redis);
    let now = Clock::system().now().as_secs();
    let parent = issuer.token(|claims| claims["exp"] = (now + 300).into());
    let answer = post(&gateway, &parent, &json!({ "ttl": 900 }));
    assert_eq!(answer.status, 201, "{answer:?}");
    let given: Value = serde_json::from_str(&answer.body).expect("JSON");
    let expires_in = given["expires_in"].as_u64().expect("seconds");
    assert!((280..=300).contains(&expires_in), "{given}");
    let (token, id) = (
        given["session_token"].as_str().expect("a token"),
        given["session_id"].as_str().expect("an id"),
    );
    assert_eq!(use_of(&gateway, token), 200);
    let received = &upstream.received()[0];
    assert_eq!(received.values("x-auth-method"), ["session"]);
    assert_eq!(received.values("x-auth-credential-id"), [id]);
    assert_eq!(
        received.values("x-auth-subject"),
        ["https://idp.example|user-7"]
    );
    assert_eq!(received.values("x-auth-client-id"), ["app-1"]);
    let beyond = json!({ "scopes": ["domains:write"] });
    assert_eq!(post(&gateway, &parent, &beyond).status, 403);

    // Another token of the same user did not give it.
    let sibling = issuer.token(|claims| claims["jti"] = "jti-2".into());
    let path = format!("/auth/sessions/{id}");
    assert_eq!(ask(&gateway, "GET", &path, &sibling, None).status, 404);
    assert_eq!(ask(&gateway, "GET", &path, &parent, None).status, 200);
    let (other, _) = session(&gateway, &sibling, &json!({}));
    assert_eq!(use_of(&gateway, &other), 200);

    deny(&redis, DenialKind::Jti, "jti-1");
    eventually_refused(&gateway, token);
    assert_eq!(use_of(&gateway, &other), 200);
    deny(&redis, DenialKind::Subject, "https://idp.example|user-7");
    eventually_refused(&gateway, &other);
}

#[test]
fn a_token_that_cannot_be_denied_by_its_id_gives_no_session() {
    let (issuer, upstream, redis) = (Issuer::new(), Upstream::start(), RedisServer::start());
    let gateway = trusting(&issuer, &upstream, &redis);
    let odd = issuer.token(|claims| claims["jti"] = "an id with spaces".into());
    assert_eq!(use_of(&gateway, &odd), 200);
    assert_eq!(post(&gateway, &odd, &json!({})).status, 403);
    let nameless = issuer.token(|claims| drop(claims.as_object_mut().map(|it| it.remove("jti"))));
    assert_eq!(post(&gateway, &nameless, &json!({})).status, 201);
}

#[test]
fn row_110_without_the_store_a_session_is_neither_given_nor_half_given() {
    let upstream = Upstream::start();
    let mut redis = RedisServer::start();
    let mut setup = Setup::before(upstream.address);
    setup.store = on(&redis);
    let gateway = setup.start();
    let (_, key) = gateway.key(&["domains:read"]);
    let (token, id) = session(&gateway, &key, &json!({}));
    assert_eq!(use_of(&gateway, &token), 200);
    redis.kill();
    let path = format!("/auth/sessions/{id}");
    for (method, path, body) in [
        ("POST", "/auth/sessions", Some("{}")),
        ("GET", "/auth/sessions", None),
        ("DELETE", "/auth/sessions", None),
        ("DELETE", path.as_str(), None),
    ] {
        let answer = ask(&gateway, method, path, &key, body);
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (
                503,
                r#"{"error":"service_unavailable","message":"The service is temporarily unavailable"}"#
            ),
            "{method} {path}"
        );
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.header("www-authenticate"), None);
    }
    // What is known goes on, what is not known cannot be judged.
    assert_eq!(use_of(&gateway, &token), 200);
    let unseen =
        portcullis::token::OpaqueFormat::new("osir").mint(portcullis::token::OpaqueKind::Session);
    assert_eq!(use_of(&gateway, unseen.secret.expose()), 503);
    redis.launch();
    eventually("there is one session, as before", || {
        let list = ask(&gateway, "GET", "/auth/sessions", &key, None);
        (list.status == 200 && list.body.matches("session_id").count() == 1).then_some(())
    });
    assert_eq!(use_of(&gateway, unseen.secret.expose()), 401);
}

#[test]
fn ttl_and_idle_timeout_hold_at_their_bounds_and_the_config_sets_them() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address)
        .extra("sessions: { path: /temporary, ttl: 2m, max_ttl: 5m }\n")
        .start();
    let (_, key) = gateway.key(&["domains:read"]);
    let give = |body: Value| {
        let answer = ask(
            &gateway,
            "POST",
            "/temporary",
            &key,
            Some(&body.to_string()),
        );
        let given = serde_json::from_str(&answer.body).unwrap_or(Value::Null);
        (answer.status, given)
    };
    for (body, expires_in, idle) in [
        (json!({}), 120, Value::Null),
        (json!({ "ttl": 60, "idle_timeout": 60 }), 60, json!(60)),
        (json!({ "ttl": 300, "idle_timeout": 300 }), 300, json!(300)),
    ] {
        let (status, given) = give(body.clone());
        assert_eq!(status, 201, "{body}");
        assert_eq!(given["expires_in"], expires_in, "{body}");
        assert_eq!(given["idle_timeout"], idle, "{body}");
    }
    for body in [
        json!({ "ttl": 59 }),
        json!({ "ttl": 301 }),
        json!({ "idle_timeout": 121 }),
        json!({ "ttl": 60, "idle_timeout": 59 }),
    ] {
        assert_eq!(give(body.clone()).0, 400, "{body}");
    }
    // The default path is nothing here.
    assert_eq!(post(&gateway, &key, &json!({})).status, 404);
}

fn rotation(overlap: u64, request: &str) -> RotateKeyBody {
    RotateKeyBody {
        overlap,
        request_id: request.into(),
    }
}

#[test]
fn a_load_runs_through_a_rotation_and_the_old_secret_is_seen() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address).start();
    let (id, old) = gateway.key(&["domains:read"]);
    assert_eq!(use_of(&gateway, &old), 200);
    let new = std::thread::scope(|scope| {
        for _ in 0..2 {
            let (tls, old) = (gateway.tls.clone(), old.clone());
            scope.spawn(move || {
                for _ in 0..200 {
                    let mut client = tls.connect();
                    client.send(format!(
                        "GET /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {old}\r\n\r\n"
                    ));
                    assert_eq!(client.answer().status, 200);
                }
            });
        }
        let rotate = || {
            gateway.operate(async |admin| admin.rotate_key(&id, &rotation(3600, "wish-1")).await)
        };
        let new = rotate().expect("rotated").key.expose().to_owned();
        let again = rotate().expect("repeated");
        assert_eq!((&again.id, again.key.expose()), (&id, new.as_str()));
        for _ in 0..50 {
            assert_eq!(use_of(&gateway, &new), 200);
        }
        new
    });
    let second =
        gateway.operate(async |admin| admin.rotate_key(&id, &rotation(3600, "wish-2")).await);
    assert!(second.is_err(), "two secrets work already");
    eventually("both were seen", || {
        let shown = gateway
            .operate(async |admin| admin.key(&id).await)
            .expect("shown");
        let rotation = shown.rotation.expect("it was rotated");
        (rotation.last_seen.is_some() && rotation.previous_last_seen.is_some()).then_some(())
    });
    // The emergency: every old secret ends at once, and the key's sessions with it.
    let (token, _) = session(&gateway, &old, &json!({}));
    assert_eq!(use_of(&gateway, &token), 200);
    let last = gateway.operate(async |admin| admin.rotate_key(&id, &rotation(0, "wish-3")).await);
    let last = last.expect("rotated");
    assert_eq!(last.sessions_ended, 1);
    for dead in [&old, &new, &token] {
        eventually_refused(&gateway, dead);
    }
    assert_eq!(use_of(&gateway, last.key.expose()), 200);
    // The same wish again ends nothing that came after it.
    let (later, _) = session(&gateway, last.key.expose(), &json!({}));
    let again = gateway.operate(async |admin| admin.rotate_key(&id, &rotation(0, "wish-3")).await);
    let again = again.expect("repeated");
    assert_eq!(
        (again.key.expose(), again.sessions_ended),
        (last.key.expose(), 0)
    );
    assert_eq!(use_of(&gateway, &later), 200);
}

/// The rotation has ended the old secret in the store, and this gateway has not heard of it: its
/// cache lets the secret in, and gives it no session that would stay.
#[test]
fn an_ended_secret_gives_no_session_where_its_end_was_not_heard_of_yet() {
    let upstream = Upstream::start();
    let redis = RedisServer::start();
    let mut setup = Setup::before(upstream.address);
    setup.store = format!(
        "redis: {{ url: \"{}\", password: {REDIS_PASSWORD} }}",
        redis.url()
    );
    let gateway = setup.start();
    let (_, key) = gateway.key(&["domains:read"]);
    let (other_id, other) = gateway.key(&["domains:read"]);
    let (_, before) = session(&gateway, &key, &json!({}));
    // Up to here the log was heard: what is cached from now on stays.
    let revoked = gateway.operate(async |admin| admin.revoke_key(&other_id).await);
    revoked.expect("revoked");
    eventually_refused(&gateway, &other);
    assert_eq!(use_of(&gateway, &key), 200);
    let pepper = std::fs::read(gateway.path("pepper")).expect("the pepper");
    let pepper = portcullis::secret::Pepper::new(&pepper).expect("strong");
    let digest = pepper.digest(&key).to_text();
    redis.set_field(&format!("pc:k:{digest}"), "exp", "1");

    let refused = post(&gateway, &key, &json!({}));
    assert_eq!((refused.status, refused.body.as_str()), (401, UNAUTHORIZED));
    let challenge = refused.header("www-authenticate");
    assert_eq!(
        challenge,
        Some(r#"Bearer realm="osir", error="invalid_token""#)
    );
    let listed = ask(&gateway, "GET", "/auth/sessions", &key, None);
    assert_eq!(listed.status, 200, "the cache still lets it in");
    let listed: Value = serde_json::from_str(&listed.body).expect("JSON");
    let sessions = listed["sessions"].as_array().expect("a list");
    let live = |one: &&Value| one["ended_at"].is_null();
    let live: Vec<_> = sessions.iter().filter(live).collect();
    assert_eq!(live.len(), 1, "{listed}");
    assert_eq!(live[0]["session_id"], before.as_str());
}

#[test]
fn a_key_and_a_session_outlive_a_change_of_the_pepper() {
    let upstream = Upstream::start();
    let mut setup = Setup::before(upstream.address);
    let gateway = setup.start();
    let ((_, key), (_, unused)) = (
        gateway.key(&["domains:read"]),
        gateway.key(&["domains:read"]),
    );
    let (token, _) = session(&gateway, &key, &json!({}));
    let folder = gateway.stop();
    change_pepper(folder.path());
    setup.credentials = ", previous_pepper: { file: old-pepper }".into();
    let gateway = Gateway::start_in(folder, &setup.yaml());
    for _ in 0..200 {
        assert_eq!(
            (use_of(&gateway, &key), use_of(&gateway, &token)),
            (200, 200)
        );
    }
    let folder = gateway.stop();
    setup.credentials = String::new();
    let gateway = Gateway::start_in(folder, &setup.yaml());
    assert_eq!(use_of(&gateway, &key), 200, "it moved when it was used");
    assert_eq!(use_of(&gateway, &unused), 401, "it never came along");
}
