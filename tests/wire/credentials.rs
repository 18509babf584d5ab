//! API keys in both forms, scopes, and everything that is not one good key.

use portcullis::store::Environment;

use crate::support::{FORBIDDEN, Setup, UNAUTHORIZED, Upstream, eventually};

#[test]
fn both_header_forms_of_the_seed_reach_the_upstream() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address).start();
    let (_, key) = gateway.key(&["domains:read"]);
    for line in [
        format!("Authorization: Bearer {key}\r\n"),
        format!("authorization: bEARER {key}\r\n"),
        format!("X-API-Key: {key}\r\n"),
    ] {
        let answer = gateway.get(&line);
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok"), "{line}");
    }
    assert_eq!(upstream.received().len(), 3);
}

#[test]
fn a_missing_credential_is_401_with_a_challenge_and_no_error_attribute() {
    let gateway = Setup::before(Upstream::start().address).start();
    for line in ["", "Authorization: Basic YTpi\r\n"] {
        let answer = gateway.get(line);
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (401, UNAUTHORIZED),
            "{line}"
        );
        assert_eq!(
            answer.header("www-authenticate"),
            Some(r#"Bearer realm="osir""#)
        );
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert!(answer.header("x-request-id").is_some());
    }
}

#[test]
fn a_bad_credential_is_401_with_invalid_token_whatever_is_wrong_with_it() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address).start();
    let (_, key) = gateway.key(&["domains:read"]);
    let swapped = key.replace("_live_", "_test_");
    let flipped = format!(
        "{}{}",
        &key[..20],
        key[20..].replacen(|c: char| c.is_ascii_digit(), "z", 1)
    );
    for credential in [
        swapped.as_str(),
        &flipped,
        &key[..key.len() - 1],
        "osir_rt_abc",
        "osir_sess_abc",
        "garbage",
        "a.b.c",
        "osir_live_",
        &format!("{key}x"),
    ] {
        let answer = gateway.get(&format!("Authorization: Bearer {credential}\r\n"));
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (401, UNAUTHORIZED),
            "{credential}"
        );
        let challenge = r#"Bearer realm="osir", error="invalid_token""#;
        assert_eq!(
            answer.header("www-authenticate"),
            Some(challenge),
            "{credential}"
        );
    }
    assert_eq!(upstream.received().len(), 0);
}

#[test]
fn a_missing_scope_is_403_and_names_the_scope() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address).start();
    let (_, key) = gateway.key(&["domains:read"]);
    let answer = gateway.send(format!(
        "DELETE /v1/domains/1 HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {key}\r\n\r\n"
    ));
    assert_eq!((answer.status, answer.body.as_str()), (403, FORBIDDEN));
    let challenge = r#"Bearer error="insufficient_scope", scope="domains:write""#;
    assert_eq!(answer.header("www-authenticate"), Some(challenge));
    assert_eq!(upstream.received().len(), 0);
}

#[test]
fn rows_78_and_91_two_credentials_are_400() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address).start();
    let (_, key) = gateway.key(&["domains:read"]);
    for lines in [
        format!("x-api-key: {key}\r\nx-api-key: {key}\r\n"),
        format!("authorization: Bearer {key}\r\nauthorization: Bearer {key}\r\n"),
        format!("authorization: Bearer {key}\r\nx-api-key: {key}\r\n"),
        format!("authorization: Bearer {key} {key}\r\n"),
        "authorization: Bearer\r\n".to_owned(),
    ] {
        let answer = gateway.get(&lines);
        assert_eq!(answer.status, 400, "{lines}");
        assert_eq!(
            answer.header("www-authenticate"),
            Some(r#"Bearer error="invalid_request""#)
        );
    }
    assert_eq!(upstream.received().len(), 0);
}

#[test]
fn row_91_a_key_in_query_cookie_or_body_is_no_credential() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address).start();
    let (_, key) = gateway.key(&["domains:read", "domains:write"]);
    let in_query = gateway.send(format!(
        "GET /v1/domains?api_key={key}&access_token={key} HTTP/1.1\r\nhost: api.osir.com\r\n\r\n"
    ));
    let in_cookie = gateway.get(&format!("cookie: x-api-key={key}; authorization={key}\r\n"));
    let body = format!("access_token={key}");
    let in_body = gateway.send(format!(
        "POST /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert_eq!(
        [in_query.status, in_cookie.status, in_body.status],
        [401, 401, 401]
    );
    assert_eq!(upstream.received().len(), 0);
}

#[test]
fn an_address_outside_the_keys_list_is_403_without_a_challenge() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address).start();
    let (_, here) = gateway.key_with(&["domains:read"], Environment::Live, &["127.0.0.0/8"]);
    let (_, there) = gateway.key_with(&["domains:read"], Environment::Live, &["192.0.2.0/24"]);
    assert_eq!(gateway.get(&format!("x-api-key: {here}\r\n")).status, 200);
    let answer = gateway.get(&format!(
        "x-api-key: {there}\r\nx-forwarded-for: 192.0.2.1\r\n"
    ));
    assert_eq!((answer.status, answer.body.as_str()), (403, FORBIDDEN));
    assert_eq!(answer.header("www-authenticate"), None);
}

#[test]
fn a_test_key_reaches_only_a_test_upstream() {
    let upstream = Upstream::start();
    let live = Setup::before(upstream.address).start();
    let (_, key) = live.key_with(&["domains:read"], Environment::Test, &[]);
    assert!(key.starts_with("osir_test_"));
    assert_eq!(live.get(&format!("x-api-key: {key}\r\n")).status, 403);
    let yaml = format!(
        "{{ endpoints: [http://{}], environment: test }}",
        upstream.address
    );
    let sandbox = Setup::before(upstream.address).upstream(&yaml).start();
    let (_, key) = sandbox.key_with(&["domains:read"], Environment::Test, &[]);
    assert_eq!(sandbox.get(&format!("x-api-key: {key}\r\n")).status, 200);
}

#[test]
fn row_111_a_revoked_key_is_refused_at_once_also_from_the_cache() {
    let gateway = Setup::before(Upstream::start().address).start();
    let (id, key) = gateway.key(&["domains:read"]);
    let line = format!("x-api-key: {key}\r\n");
    assert_eq!(gateway.get(&line).status, 200);
    gateway
        .operate(async |admin| admin.revoke_key(&id).await)
        .expect("revoked");
    eventually("the key is refused", || {
        (gateway.get(&line).status == 401).then_some(())
    });
    assert_eq!(gateway.get(&line).body, UNAUTHORIZED);
}

#[test]
fn row_96_a_key_that_was_probed_before_it_existed_works_once_it_does() {
    let gateway = Setup::before(Upstream::start().address).start();
    let (_, key) = gateway.key(&["domains:read"]);
    let folder = gateway.stop();
    // The same key in an empty store: unknown, and remembered as that.
    std::fs::rename(
        folder.path().join("store.redb"),
        folder.path().join("kept.redb"),
    )
    .expect("moved");
    let yaml = std::fs::read_to_string(folder.path().join("gateway.yaml")).expect("there");
    let gateway = crate::support::Gateway::start_in(folder, &yaml);
    let line = format!("x-api-key: {key}\r\n");
    assert_eq!(gateway.get(&line).status, 401);
    let import = format!(
        r#"{{"key":"{key}","account":"acct_1","name":"imported","scopes":["domains:read"]}}"#
    );
    let report = gateway
        .operate(async |admin| {
            admin
                .import_keys(std::io::Cursor::new(import.into_bytes()))
                .await
        })
        .expect("imported");
    assert_eq!((report.created, report.refused), (1, 0));
    eventually("the key works", || {
        (gateway.get(&line).status == 200).then_some(())
    });
}

#[test]
fn a_public_route_neither_looks_at_a_credential_nor_passes_one_on() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address)
        .routes("  - { name: status, path: /status, methods: [GET], access: { public: \"health page\" }, upstream: domains }\n")
        .start();
    let answer = gateway.send(
        "GET /status HTTP/1.1\r\nhost: api.osir.com\r\nauthorization: Bearer osir_live_bad\r\nx-api-key: k\r\n\r\n",
    );
    assert_eq!(answer.status, 200);
    let received = &upstream.received()[0];
    assert!(received.values("authorization").is_empty() && received.values("x-api-key").is_empty());
    assert!(received.values("x-auth-subject").is_empty());
}

#[test]
fn row_97_a_clear_text_request_with_many_keys_does_not_ask_the_store_for_each() {
    let gateway = Setup::before(Upstream::start().address).start();
    let format = portcullis::token::OpaqueFormat::new("osir");
    let kind = portcullis::token::OpaqueKind::ApiKey(Environment::Live);
    let lines: String = (0..90)
        .map(|_| format!("x-api-key: {}\r\n", format.mint(kind).secret.expose()))
        .collect();
    let series = r#"portcullis_store_operations_total{op="key_by_digest",outcome="ok"}"#;
    let before = gateway.metric(series);
    let mut client = gateway.plain();
    client.send(format!("GET / HTTP/1.1\r\nhost: a\r\n{lines}\r\n"));
    assert_eq!(client.answer().status, 426);
    drop(client);
    eventually("the look-ups are through", || {
        (gateway.metric(series) - before >= 2.0).then_some(())
    });
    assert_eq!(gateway.metric(series) - before, 2.0);
}

#[test]
fn plaintext_exposure_is_counted_and_revokes_if_so_configured() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address)
        .extra("plaintext_credentials: revoke\n")
        .start();
    let (id, key) = gateway.key(&["domains:read"]);
    let mut client = gateway.plain();
    client.send(format!(
        "GET /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {key}\r\n\r\n"
    ));
    assert_eq!(client.answer().status, 426);
    assert_eq!(upstream.received().len(), 0);
    eventually("the key is revoked", || {
        let key = gateway
            .operate(async |admin| admin.key(&id).await)
            .expect("known");
        key.key.revoked_at
    });
    let series = r#"portcullis_plaintext_refused_total{credential="api_key"}"#;
    assert_eq!(gateway.metric(series), 1.0);
    // The revocation is written; this gateway hears of it through the log, as any other would.
    eventually("the key is refused", || {
        (gateway.get(&format!("x-api-key: {key}\r\n")).status == 401).then_some(())
    });
    let reached = upstream.received().len();
    assert_eq!(gateway.get(&format!("x-api-key: {key}\r\n")).status, 401);
    assert_eq!(
        upstream.received().len(),
        reached,
        "once refused, always refused"
    );
}
