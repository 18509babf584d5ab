//! What crosses the gateway: rows 41, 46, 48, 71, 72 and 74 to 80, as the upstream sees it.

use crate::support::{Reply, Setup, Upstream};

#[test]
fn rows_74_to_76_identity_is_the_gateways_own_whatever_the_client_sends() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address).start();
    let (id, key) = gateway.key(&["domains:read", "domains:write"]);
    let forged = "X-Auth-Subject: root\r\nx-auth-subject: root2\r\nX_Auth_Subject: root\r\nx.auth.subject: root\r\n\
                  x~auth~subject: root\r\nHTTP_X_AUTH_SUBJECT: root\r\nX-Auth-Scopes: everything\r\nx-auth-new: root\r\n\
                  connection: keep-alive, x-auth-subject, x-auth-account\r\n";
    let answer = gateway.get(&format!("x-api-key: {key}\r\n{forged}"));
    assert_eq!(answer.status, 200);
    let received = &upstream.received()[0];
    assert!(!received.head.contains("root"), "{}", received.head);
    assert_eq!(received.values("x-auth-subject"), ["acct_1"]);
    assert_eq!(received.values("x-auth-account"), ["acct_1"]);
    assert_eq!(received.values("x-auth-method"), ["api_key"]);
    assert_eq!(received.values("x-auth-env"), ["live"]);
    assert_eq!(
        received.values("x-auth-scopes"),
        ["domains:read domains:write"]
    );
    assert_eq!(received.values("x-auth-credential-id"), [id.as_str()]);
}

#[test]
fn row_79_no_credential_arrives_in_any_spelling() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address).start();
    let (_, key) = gateway.key(&["domains:read"]);
    for line in [
        format!("authorization: Bearer {key}\r\n"),
        format!("x-api-key: {key}\r\nx_api_key: {key}\r\nx.api.key: {key}\r\n"),
    ] {
        assert_eq!(gateway.get(&line).status, 200);
    }
    assert!(
        upstream
            .received()
            .iter()
            .all(|received| !received.head.contains(&key))
    );
}

#[test]
fn rows_46_71_72_and_77_fields_that_reroute_are_gone() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address).start();
    let (_, key) = gateway.key(&["domains:read"]);
    let names = [
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "te",
        "http2-settings",
        "x-original-url",
        "x-rewrite-url",
        "x-envoy-original-path",
        "x-original-uri",
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
        "x-forwarded-prefix",
        "x-forwarded-port",
        "forwarded",
        "x-real-ip",
        "true-client-ip",
        "cf-connecting-ip",
        "x_forwarded_for",
        "a_b",
    ];
    let lines: String = names
        .iter()
        .map(|name| format!("{name}: evil\r\n"))
        .collect();
    let answer = gateway.get(&format!("x-api-key: {key}\r\n{lines}x-forwarded-for: 6.6.6.6\r\nx-forwarded-proto: http\r\nx-kept: yes\r\n"));
    assert_eq!(answer.status, 200);
    let received = &upstream.received()[0];
    assert!(!received.head.contains("evil"), "{}", received.head);
    assert_eq!(received.values("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(received.values("x-forwarded-proto"), ["https"]);
    assert_eq!(received.values("x-forwarded-host"), ["api.osir.com"]);
    assert_eq!(received.values("host"), ["api.osir.com"]);
    assert_eq!(received.values("via"), ["1.1 portcullis"]);
    assert_eq!(received.values("x-kept"), ["yes"]);
}

#[test]
fn row_77_a_trusted_proxy_is_believed_about_its_client() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address)
        .extra("trusted_proxies: [127.0.0.0/8]\n")
        .start();
    let (_, key) = gateway.key(&["domains:read"]);
    gateway.get(&format!(
        "x-api-key: {key}\r\nx-forwarded-for: 6.6.6.6, 203.0.113.9\r\n"
    ));
    assert_eq!(
        upstream.received()[0].values("x-forwarded-for"),
        ["203.0.113.9, 127.0.0.1"]
    );
}

#[test]
fn row_80_request_ids_and_trace_context() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address).start();
    let (_, key) = gateway.key(&["domains:read"]);
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let answer = gateway.get(&format!(
        "x-api-key: {key}\r\nx-request-id: mine-1\r\ntraceparent: {parent}\r\n"
    ));
    assert_eq!(answer.header("x-request-id"), Some("mine-1"));
    let long = "a".repeat(5000);
    let answer = gateway.get(&format!("x-api-key: {key}\r\nx-request-id: {long}\r\ntraceparent: {parent}\r\ntraceparent: {parent}\r\n"));
    let fresh = answer.header("x-request-id").expect("an id").to_owned();
    assert!(fresh.len() == 32 && fresh.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let received = upstream.received();
    assert_eq!(
        (
            received[0].values("x-request-id"),
            received[0].values("traceparent")
        ),
        (vec!["mine-1"], vec![parent])
    );
    assert_eq!(
        (
            received[1].values("x-request-id"),
            received[1].values("traceparent").len()
        ),
        (vec![fresh.as_str()], 0)
    );
}

#[test]
fn row_48_an_answers_hop_by_hop_fields_stay_behind() {
    let upstream = Upstream::scripted(|_, _| {
        Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive, x-inner\r\nkeep-alive: timeout=5\r\nx-inner: 1\r\nproxy-authenticate: Basic\r\nupgrade: h2c\r\nx-request-id: theirs\r\nx-kept: 1\r\n\r\nok".to_vec())
    });
    let gateway = Setup::before(upstream.address).start();
    let (_, key) = gateway.key(&["domains:read"]);
    let answer = gateway.get(&format!("x-api-key: {key}\r\nx-request-id: mine\r\n"));
    let names: Vec<&str> = answer
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        (
            answer.status,
            answer.header("x-request-id"),
            answer.header("x-kept")
        ),
        (200, Some("mine"), Some("1"))
    );
    for name in ["keep-alive", "x-inner", "proxy-authenticate", "upgrade"] {
        assert!(!names.contains(&name), "{name}: {answer:?}");
    }
}

#[test]
fn rows_17_and_76_request_trailers_are_dropped_unless_the_route_wants_them() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address).start();
    let (_, key) = gateway.key(&["domains:write"]);
    let post = format!(
        "POST /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {key}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let answer = gateway.send(format!(
        "{post}2\r\nhi\r\n0\r\nx-auth-subject: root\r\nx-sum: 1\r\n\r\n"
    ));
    assert_eq!(answer.status, 200);
    let received = &upstream.received()[0];
    assert_eq!(
        String::from_utf8_lossy(&received.body),
        "2\r\nhi\r\n0\r\n\r\n"
    );
}

#[test]
fn the_signed_mode_tells_the_same_in_one_token() {
    let upstream = Upstream::start();
    let yaml = format!(
        "{{ endpoints: [http://{}], identity: jwt }}",
        upstream.address
    );
    let gateway = Setup::before(upstream.address).upstream(&yaml).start();
    let (id, key) = gateway.key(&["domains:read"]);
    let line = format!("x-api-key: {key}\r\nx-auth-token: forged\r\n");
    let mut client = gateway.tls.connect();
    for _ in 0..2 {
        client.send(format!(
            "GET /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\n{line}\r\n"
        ));
        assert_eq!(client.answer().status, 200);
    }
    let received = upstream.received();
    let token = received[0].values("x-auth-token")[0].to_owned();
    assert_eq!(
        received[1].values("x-auth-token"),
        [token.as_str()],
        "one token is used for a while"
    );
    let part = |index: usize| {
        use base64::Engine as _;
        let text = token.split('.').nth(index).expect("three parts");
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(text)
            .expect("base64url");
        serde_json::from_slice::<serde_json::Value>(&bytes).expect("JSON")
    };
    assert_eq!(part(0)["typ"], "portcullis+jwt");
    let keys = gateway.vitals("/internal/jwks.json").body;
    let keys: serde_json::Value = serde_json::from_str(&keys).expect("JSON");
    assert_eq!(keys["keys"][0]["kid"], part(0)["kid"]);
    let claims = part(1);
    assert_eq!(
        (claims["aud"].as_str(), claims["sub"].as_str()),
        (Some("domains"), Some("acct_1"))
    );
    assert_eq!(
        (claims["cred"].as_str(), claims["scope"].as_str()),
        (Some(id.as_str()), Some("domains:read"))
    );
    assert_eq!(
        claims["exp"]
            .as_i64()
            .zip(claims["iat"].as_i64())
            .map(|(exp, iat)| exp - iat),
        Some(120)
    );
    // No replay from inside to outside.
    assert_eq!(
        gateway
            .get(&format!("authorization: Bearer {token}\r\n"))
            .status,
        401
    );
}

#[test]
fn rows_17_and_76_trailers_that_a_route_lets_pass_hold_no_identity_and_no_credential() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address)
        .routes("  - { name: t, path: /t, methods: [POST], access: { scopes: [domains:write] }, upstream: domains, trailers: true }\n")
        .start();
    let (_, key) = gateway.key(&["domains:write"]);
    let answer = gateway.send(format!(
        "POST /t HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {key}\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\nhi\r\n0\r\n\
         x-auth-subject: root\r\nX_Auth_Scopes: root\r\nx-forwarded-for: 6.6.6.6\r\nx-real-ip: 6.6.6.6\r\nx-sum: 1\r\n\r\n"
    ));
    assert_eq!(answer.status, 200);
    let body = String::from_utf8_lossy(&upstream.received()[0].body).into_owned();
    assert!(
        !body.contains("root") && !body.contains("6.6.6.6"),
        "{body}"
    );
}

#[test]
fn row_109_a_credential_in_a_path_or_a_request_id_is_not_written() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address).start();
    let (_, key) = gateway.key(&["domains:read"]);
    let answer = gateway.send(format!(
        "GET /v1/domains/{key} HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {key}\r\nx-request-id: {key}\r\n\r\n"
    ));
    assert_eq!(answer.status, 200);
    assert_ne!(answer.header("x-request-id"), Some(key.as_str()));
    assert_ne!(
        upstream.received()[0].values("x-request-id"),
        [key.as_str()]
    );
    let folder = gateway.stop();
    let log = std::fs::read_to_string(folder.path().join("access.log")).expect("a log");
    assert!(
        log.contains(r#""path":"[redacted]""#) && !log.contains(&key[10..]),
        "{log}"
    );
}
