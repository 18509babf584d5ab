//! The operator's side on the wire: admin API over a unix socket and over TCP, its client, and
//! the metrics and health listener.

#[path = "admin/broken_store.rs"]
mod broken_store;
#[path = "admin/house.rs"]
mod house;
#[path = "admin/logins.rs"]
mod logins;
#[path = "admin/registry.rs"]
mod registry;
#[path = "admin/store.rs"]
mod store;

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::sync::Arc;

use portcullis::admin::{
    AdminAddress, AdminClient, AdminListener, ClientError, MetricsListener, NewKeyBody, NotReady,
    Revocation, Vitals,
};
use portcullis::auth::{ImportReport, NoteKind};
use portcullis::environment::Environment;
use portcullis::id::{AccountId, KeyId};
use portcullis::observe::Metrics;
use portcullis::policy::{ExplainCredential, ExplainRequest};
use portcullis::secret::Secret;
use portcullis::token::{OpaqueFormat, OpaqueKind};
use serde_json::json;
use tokio::net::{TcpStream, UnixStream};

use broken_store::BrokenStore;
use house::{House, TOKEN, exchange, pepper, request};

fn wish(account: &str, scopes: &[&str]) -> NewKeyBody {
    NewKeyBody {
        account: account.into(),
        name: "CI".into(),
        scopes: scopes.iter().map(|scope| (*scope).into()).collect(),
        env: None,
        not_before: None,
        expires_at: None,
        allowed_ips: Vec::new(),
    }
}

fn id(text: &str) -> KeyId {
    KeyId::parse(text).expect("an id")
}

#[tokio::test]
async fn a_key_is_made_listed_shown_and_revoked_over_the_socket() {
    let house = House::build();
    let (open, client, _) = house.open_socket().await;

    let made = client.create_key(&wish("acct_1", &["domains:read"])).await;
    let made = made.expect("made");
    let shown = client.key(&made.id).await.expect("there").key;
    assert_eq!(shown.scopes.to_string(), "domains:read");
    assert_eq!(shown.created_at, "2026-09-21T14:13:20.123Z");
    let listed = client.keys(None, 100, None).await.expect("a list");
    assert_eq!((listed.keys, listed.next), (vec![shown], None));

    let revoked = client.revoke_key(&made.id).await.expect("revoked");
    assert_eq!(revoked.outcome, Revocation::Revoked);
    let again = client.revoke_key(&made.id).await.expect("repeatable");
    assert_eq!(again.outcome, Revocation::AlreadyRevoked);
    assert_eq!(again.key.revoked_at, revoked.key.revoked_at);

    let digest = pepper().digest(made.key.expose());
    let record = house.store.key_by_digest(&digest).await.expect("answers");
    assert_eq!(record.map(|record| record.id), Some(made.id));
    open.close().await;
}

#[tokio::test]
async fn row_109_the_secret_is_in_the_answer_to_its_creation_and_nowhere_else() {
    let house = House::build();
    let (open, client, _) = house.open_socket().await;
    let made = client.create_key(&wish("acct_1", &["domains:read"])).await;
    let made = made.expect("made");
    client.revoke_key(&made.id).await.expect("revoked");

    let body = made.key.expose().rsplit('_').next().expect("a body");
    let lines = house.audit_lines().await;
    let listed = client.keys(None, 100, None).await.expect("a list");
    let shown = client.key(&made.id).await.expect("there").key;
    for text in [
        format!("{lines:?}"),
        serde_json::to_string(&listed).expect("JSON"),
        serde_json::to_string(&shown).expect("JSON"),
        format!("{made:?}"),
    ] {
        assert!(!text.contains(body), "{text}");
    }
    open.close().await;
}

#[tokio::test]
async fn each_change_leaves_an_audit_line_with_who_did_it() {
    let house = House::build();
    let (open, client, _) = house.open_socket().await;
    let made = client.create_key(&wish("acct_1", &["vps:read"])).await;
    let made = made.expect("made");
    client.revoke_key(&made.id).await.expect("revoked");
    client
        .revoke_key(&made.id)
        .await
        .expect("no change, no line");
    open.close().await;

    let uid = rustix::process::getuid().as_raw();
    let line = |event| {
        json!({
            "time": "2026-09-21T14:13:20.123Z", "event": event, "actor": "admin_api", "uid": uid,
            "credential_id": made.id, "account": "acct_1", "scopes": ["vps:read"],
            "outcome": "done",
        })
    };
    let expected = [line("key_create"), line("key_revoke")];
    assert_eq!(house.audit_lines().await, expected);
}

#[tokio::test]
async fn lists_come_in_pages_and_by_account() {
    let house = House::build();
    let (open, client, _) = house.open_socket().await;
    for account in ["a", "b", "a&b=c%", "a"] {
        client.create_key(&wish(account, &[])).await.expect("made");
    }
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = client.keys(after.as_ref(), 3, None).await.expect("a page");
        assert!(page.keys.len() <= 3);
        seen.extend(page.keys.into_iter().map(|key| key.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let mut sorted = seen.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!((seen.len(), &seen), (4, &sorted));

    for (account, count) in [("a", 2), ("b", 1), ("a&b=c%", 1), ("c", 0)] {
        let account = AccountId::parse(account).expect("an id");
        let page = client
            .keys(None, 100, Some(&account))
            .await
            .expect("a page");
        assert_eq!(page.keys.len(), count, "{account}");
        assert!(page.keys.iter().all(|key| key.account == account));
    }
    open.close().await;
}

#[tokio::test]
async fn wishes_that_cannot_be_granted_are_told_why() {
    let house = House::build();
    let (open, client, _) = house.open_socket().await;
    let refusal = async |body: &NewKeyBody| match client.create_key(body).await {
        Err(ClientError::Refused { status, message }) => (status.as_u16(), message),
        other => panic!("{other:?}"),
    };
    let (status, message) = refusal(&wish("a", &["domain:read"])).await;
    assert_eq!(status, 400);
    assert_eq!(
        message,
        r#"scopes: unknown scope "domain:read"; did you mean "domains:read"?"#
    );
    let past = NewKeyBody {
        expires_at: Some("2020-01-01T00:00:00Z".into()),
        ..wish("a", &[])
    };
    assert_eq!(refusal(&past).await.1, "expires_at: lies in the past");
    let vague = NewKeyBody {
        expires_at: Some("2027-01-01".into()),
        ..wish("a", &[])
    };
    let (_, message) = refusal(&vague).await;
    assert_eq!(
        message,
        "expires_at: a time looks like 2027-01-31T12:00:00Z"
    );
    let host_bits = NewKeyBody {
        allowed_ips: vec!["10.0.0.7/8".into()],
        ..wish("a", &[])
    };
    assert_eq!(refusal(&host_bits).await.0, 400);
    assert_eq!(refusal(&wish("", &[])).await.0, 400);
    assert!(house.audit_lines().await.is_empty());
    open.close().await;
}

#[tokio::test]
async fn bodies_are_bounded_and_read_strictly() {
    let house = House::build();
    let (open, _, path) = house.open_socket().await;
    let post = async |body: &str| {
        let stream = UnixStream::connect(&path).await.expect("connects");
        exchange(stream, &request("POST", "/v1/keys", "Host: x\r\n", body)).await
    };
    assert_eq!(post("").await.status, 400);
    assert_eq!(post("[]").await.json()["error"], "bad_request");
    let misspelt = r#"{"account":"a","name":"n","scopes":[],"expires":"2027-01-01T00:00:00Z"}"#;
    let answer = post(misspelt).await;
    assert_eq!(answer.status, 400);
    assert!(
        answer.body.contains("unknown field `expires`"),
        "{answer:?}"
    );

    let large = post(&" ".repeat(64 * 1024 + 1)).await;
    assert_eq!(large.status, 413);
    assert_eq!(
        large.body,
        r#"{"error":"payload_too_large","message":"the request body is larger than 65536 bytes"}"#
    );
    open.close().await;
}

#[tokio::test]
async fn what_there_is_not_is_404_and_other_methods_are_405() {
    let house = House::build();
    let (open, _, path) = house.open_socket().await;
    let ask = async |method: &str, target: &str| {
        let stream = UnixStream::connect(&path).await.expect("connects");
        exchange(stream, &request(method, target, "Host: x\r\n", "")).await
    };
    for target in [
        "/",
        "/v1",
        "/v1/keys/",
        "/v1/keys/key_1/revoke/x",
        "/v1//keys",
        "/metrics",
    ] {
        assert_eq!(ask("GET", target).await.status, 404, "{target}");
    }
    assert_eq!(
        ask("GET", "/v1/keys/key_1").await.body,
        r#"{"error":"not_found","message":"there is no key key_1"}"#
    );
    for (method, target, allow) in [
        ("DELETE", "/v1/keys", "get, post"),
        ("POST", "/v1/keys/key_1", "get"),
        ("GET", "/v1/keys/import", "post"),
        ("GET", "/v1/keys/key_1/revoke", "post"),
        ("GET", "/v1/reload", "post"),
        ("POST", "/v1/routes", "get"),
    ] {
        let answer = ask(method, target).await;
        assert_eq!(answer.status, 405, "{method} {target}");
        assert!(
            answer.head.contains(&format!("allow: {allow}\r\n")),
            "{answer:?}"
        );
    }
    for query in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "after=%",
        "after=a%22",
        "page=2",
    ] {
        let answer = ask("GET", &format!("/v1/keys?{query}")).await;
        assert_eq!(answer.status, 400, "{query}");
    }
    open.close().await;
}

#[tokio::test]
async fn over_tcp_the_token_comes_before_everything() {
    let house = House::build();
    let (open, address) = house.open_tcp().await;
    let ask = async |target: &str, fields: String| {
        let stream = TcpStream::connect(address).await.expect("connects");
        exchange(stream, &request("GET", target, &fields, "")).await
    };
    let good = format!("Host: {address}\r\nAuthorization: Bearer {TOKEN}\r\n");
    assert_eq!(ask("/v1/keys", good).await.status, 200);

    for fields in [
        format!("Host: {address}\r\n"),
        format!("Host: {address}\r\nAuthorization: Bearer {TOKEN}x\r\n"),
        format!("Host: {address}\r\nAuthorization: Basic {TOKEN}\r\n"),
        format!("Host: {address}\r\nX-API-Key: {TOKEN}\r\n"),
    ] {
        for target in ["/v1/keys", "/nothing"] {
            let answer = ask(target, fields.clone()).await;
            assert_eq!(answer.status, 401, "{fields}");
            assert_eq!(
                answer.body,
                r#"{"error":"unauthorized","message":"the admin token is missing or wrong"}"#
            );
            let challenge = "www-authenticate: bearer realm=\"portcullis-admin\"\r\n";
            assert!(answer.head.contains(challenge), "{answer:?}");
        }
    }
    // A web page whose name was rebound to this address has the browser send its own name.
    let rebound = format!("Host: evil.example\r\nAuthorization: Bearer {TOKEN}\r\n");
    assert_eq!(ask("/v1/keys", rebound).await.status, 421);
    open.close().await;
}

#[tokio::test]
async fn tcp_needs_a_loopback_address_and_a_real_token() {
    let token = || Some(Secret::new(TOKEN));
    let bind = async |address: [u8; 4], token| {
        let address = AdminAddress::Tcp((address, 0).into());
        AdminListener::bind(&address, token).await
    };
    let text = |bound: Result<AdminListener, _>| match bound {
        Ok(_) => panic!("bound"),
        Err(error) => format!("{error}"),
    };
    assert!(text(bind([0, 0, 0, 0], token()).await).contains("only on a loopback address"));
    assert!(text(bind([127, 0, 0, 1], None).await).contains("needs a token"));
    let short = Some(Secret::new("short"));
    assert!(text(bind([127, 0, 0, 1], short).await).contains("at least 16"));

    let far = AdminAddress::Tcp(([192, 0, 2, 1], 9091).into());
    let client = AdminClient::new(far, token().as_ref());
    assert!(matches!(client, Err(ClientError::NotLoopback(_))));
    let near = AdminAddress::Tcp(([127, 0, 0, 1], 9091).into());
    let client = AdminClient::new(near, Some(&Secret::new("a\r\nb")));
    assert!(matches!(client, Err(ClientError::Token)));
}

#[tokio::test]
async fn the_socket_is_private_and_leaves_with_its_listener() {
    let house = House::build();
    let (open, client, path) = house.open_socket().await;
    let there = std::fs::metadata(&path).expect("there");
    assert!(there.file_type().is_socket());
    assert_eq!(there.permissions().mode() & 0o777, 0o600);
    let folder = path.parent().expect("a folder");
    assert_eq!(std::fs::read_dir(folder).expect("readable").count(), 1);

    let address = AdminAddress::Unix(path.clone());
    let second = AdminListener::bind(&address, None).await;
    let second = second.expect_err("someone answers there").to_string();
    assert!(
        second.contains("answers on this socket already"),
        "{second}"
    );
    client
        .routes()
        .await
        .expect("the first one is not disturbed");

    open.close().await;
    assert!(!path.exists());
    let gone = client.routes().await;
    assert!(
        matches!(gone, Err(ClientError::NotRunning { .. })),
        "{gone:?}"
    );
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_file_is_left_alone() {
    let house = House::build();
    let path = house.folder.path().join("run/admin.sock");
    std::fs::create_dir(house.folder.path().join("run")).expect("made");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("binds"));
    assert!(path.exists(), "a crash leaves the file behind");
    let (open, client, _) = house.open_socket().await;
    client.routes().await.expect("answers");
    open.close().await;

    std::fs::write(&path, "precious").expect("written");
    let refused = AdminListener::bind(&AdminAddress::Unix(path.clone()), None).await;
    let refused = refused.expect_err("not a socket").to_string();
    assert!(refused.contains("not a socket"), "{refused}");
    assert_eq!(std::fs::read_to_string(&path).expect("there"), "precious");
}

#[tokio::test]
async fn an_import_tells_each_bad_line_and_takes_the_others() {
    let house = House::build();
    let (open, client, _) = house.open_socket().await;
    let own = OpaqueFormat::new("osir").mint(OpaqueKind::ApiKey(Environment::Test));
    let own = own.secret.expose().to_owned();
    let (rest_of_it, last) = own.split_at(own.len() - 1);
    let damaged = format!("{rest_of_it}{}", if last == "0" { "1" } else { "0" });
    let rest = r#""account":"acct_1","name":"n","scopes":["domains:read"]"#;
    let lines = [
        format!(r#"{{"key":"{own}",{rest}}}"#),
        String::new(),
        format!(r#"{{"key":"{damaged}",{rest}}}"#),
        format!(r#"{{"key":"legacy-key-0123456789","id":"key_old1",{rest}}}"#),
        r#"{"key":"legacy-key-9876543210","account":"a","name":"n","scopes":["domains:raed"]}"#
            .into(),
        format!(r#"{{"key":"legacy-key-abcdefghij","expires":"never",{rest}}}"#),
        "not JSON legacy-key-abcdefghij".into(),
        "x".repeat(20_000),
        format!(r#"{{"key":"legacy-key-0123456789",{rest}}}"#),
    ]
    .join("\n");

    let report = client
        .import_keys(std::io::Cursor::new(lines.clone()))
        .await;
    let report = report.expect("a report");
    assert_eq!((report.created, report.existing, report.refused), (2, 1, 5));
    let notes: Vec<_> = report
        .notes
        .iter()
        .map(|note| (note.line, note.kind))
        .collect();
    let refused = |line| (line, NoteKind::Refused);
    let expected = [refused(3), refused(5), refused(6), refused(7), refused(8)];
    assert_eq!(notes[..5], expected);
    assert_eq!(notes[5..], [(9, NoteKind::Existing)]);
    assert!(
        report.notes[1]
            .reason
            .contains(r#"did you mean "domains:read"?"#)
    );
    assert_eq!(report.notes[2].reason, "expires: unknown field");
    assert_eq!(report.notes[4].reason, "the line is longer than 16 KiB");

    let record = house
        .store
        .key_by_digest(&pepper().digest("legacy-key-0123456789"))
        .await;
    let record = record.expect("answers").expect("taken over");
    assert_eq!((record.id, record.hint.as_str()), (id("key_old1"), "…6789"));
    let record = house.store.key_by_digest(&pepper().digest(&own)).await;
    let record = record.expect("answers").expect("taken over");
    assert_eq!(record.environment, Environment::Test);

    // The audit line of each key, then of the whole; no key in any of it.
    let audit = house.audit_lines().await;
    let events: Vec<_> = audit.iter().map(|line| line["event"].clone()).collect();
    assert_eq!(events, ["key_import", "key_import", "key_import_end"]);
    assert_eq!(audit[2]["count"], 2);
    let told = format!("{report:?}{audit:?}");
    for secret in ["legacy-key", &own[10..]] {
        assert!(!told.contains(secret), "{told}");
    }
    open.close().await;
}

#[tokio::test]
async fn ten_thousand_keys_are_taken_over_and_feeding_them_again_changes_nothing() {
    let house = House::build();
    let (open, client, _) = house.open_socket().await;
    let lines: String = (0..10_000)
        .map(|n| {
            format!(
                "{{\"key\":\"legacy-key-{n:010}\",\"account\":\"acct_{n}\",\"name\":\"n\",\
                 \"scopes\":[\"domains:read\"]}}\n"
            )
        })
        .collect();
    let feed = async || {
        let report = client
            .import_keys(std::io::Cursor::new(lines.clone()))
            .await;
        report.expect("a report")
    };
    let first = ImportReport {
        created: 10_000,
        ..ImportReport::default()
    };
    assert_eq!(feed().await, first);
    let again = feed().await;
    assert_eq!(
        (again.created, again.existing, again.refused),
        (0, 10_000, 0)
    );
    assert_eq!(again.notes.len(), 1000, "notes are bounded");
    let lines = house.audit_lines().await.len();
    assert_eq!(lines, 10_000 + 2, "no audit line was dropped");
    open.close().await;
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_503_and_no_verdict() {
    let house = House::over(|_, _| Arc::new(BrokenStore));
    let (open, client, path) = house.open_socket().await;
    let shown = client.key(&id("key_1")).await;
    let Err(ClientError::Refused { status, message }) = shown else {
        panic!("{shown:?}");
    };
    assert_eq!(status.as_u16(), 503);
    assert_eq!(message, "the store did not answer within 250ms");

    let stream = UnixStream::connect(&path).await.expect("connects");
    let line = r#"{"key":"legacy-key-0123456789","account":"a","name":"n","scopes":[]}"#;
    let answer = exchange(
        stream,
        &request("POST", "/v1/keys/import", "Host: x\r\n", line),
    )
    .await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["report"]["created"], 0);
    let audit = house.audit_lines().await;
    assert_eq!(
        audit.last().map(|line| &line["outcome"]),
        Some(&json!("failed"))
    );
    open.close().await;
}

#[tokio::test]
async fn explain_routes_and_reload_ask_the_gateway() {
    let house = House::build();
    let (open, client, path) = house.open_socket().await;
    let request = ExplainRequest {
        method: "GET".into(),
        path: "/v1/domains".into(),
        host: None,
        address: None,
        credential: ExplainCredential::Key(Secret::new("hush")),
    };
    let told = client.explain(&request).await.expect("an answer");
    assert_eq!(told["verdict"], "deny");
    let asked = told["asked"].as_str().expect("a text");
    assert!(
        asked.contains("Key(Secret(redacted))") && !asked.contains("hush"),
        "{asked}"
    );
    let two = r#"{"method":"GET","path":"/","key":"a","scopes":["b"]}"#;
    let stream = UnixStream::connect(&path).await.expect("connects");
    let post = house::request("POST", "/v1/explain", "Host: x\r\n", two);
    let answer = exchange(stream, &post).await;
    assert_eq!((answer.status, answer.body.contains("hush")), (400, false));

    let routes = client.routes().await.expect("an answer");
    assert_eq!(routes, json!([{ "route": "domains-read" }]));

    client.reload().await.expect("reloaded");
    *house.gateway.reload_problem.lock().expect("no panic") = Some("gateway.yaml:7:3".into());
    let refused = client.reload().await;
    let Err(ClientError::Refused { status, message }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(status.as_u16(), 422);
    assert!(
        message.ends_with("the old one stays:\ngateway.yaml:7:3"),
        "{message}"
    );
    open.close().await;
}

/// The clock is paused: it jumps to the next deadline as soon as nothing else can happen.
#[tokio::test(start_paused = true)]
async fn row_106_slow_heads_and_slow_bodies_meet_a_deadline() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let house = House::build();
    let (open, address) = house.open_tcp().await;
    let mut silent = TcpStream::connect(address).await.expect("connects");
    let half = b"GET /v1/keys HTTP/1.1\r\nHost: localhost\r\nX-";
    silent.write_all(half).await.expect("taken");
    let mut rest = Vec::new();
    // Closed, by an end or a reset; nothing was answered.
    let _ = silent.read_to_end(&mut rest).await;
    assert_eq!(rest, b"");

    let stream = TcpStream::connect(address).await.expect("connects");
    let head = format!(
        "POST /v1/keys HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Length: 10\r\n\r\n{{"
    );
    let answer = exchange(stream, head.as_bytes()).await;
    assert_eq!(answer.status, 408);
    assert_eq!(answer.json()["error"], "request_timeout");
    open.close().await;
}

#[tokio::test]
async fn row_109_the_metrics_listener_has_four_paths_and_no_other() {
    let house = House::build();
    let listener = MetricsListener::bind(([127, 0, 0, 1], 0).into()).await;
    let listener = listener.expect("binds");
    let address = listener.address();
    let vitals = Vitals {
        metrics: Arc::new(Metrics::new()),
        gateway: house.gateway.clone(),
    };
    let served = tokio::spawn(listener.serve(vitals, std::future::pending()));
    let ask = async |method: &str, target: &str| {
        let stream = TcpStream::connect(address).await.expect("connects");
        exchange(stream, &request(method, target, "Host: x\r\n", "")).await
    };

    let metrics = ask("GET", "/metrics").await;
    assert_eq!(metrics.status, 200);
    assert!(
        metrics
            .head
            .contains("content-type: text/plain; version=0.0.4")
    );
    for name in ["portcullis_build_info{", "process_resident_memory_bytes "] {
        assert!(metrics.body.contains(name), "{name}");
    }
    assert_eq!(ask("GET", "/healthz").await.body, "ok");
    let version = ask("GET", "/version").await.json();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(
        ask("GET", "/readyz").await.body,
        r#"{"ready":true,"reasons":[]}"#
    );

    *house.gateway.missing.lock().expect("no panic") = vec![
        NotReady::Store,
        NotReady::Jwks {
            issuer: "https://idp.example".into(),
        },
    ];
    let answer = ask("GET", "/readyz").await;
    assert_eq!(answer.status, 503);
    assert_eq!(
        answer.body,
        concat!(
            r#"{"ready":false,"reasons":[{"reason":"store_unavailable"},"#,
            r#"{"reason":"jwks_unavailable","issuer":"https://idp.example"}]}"#
        )
    );
    assert_eq!(ask("HEAD", "/healthz").await.body, "");
    assert_eq!(ask("POST", "/metrics").await.status, 405);
    for target in [
        "/",
        "/v1/keys",
        "/v1/routes",
        "/v1/reload",
        "/metrics/",
        "/debug/pprof",
    ] {
        let answer = ask("GET", target).await;
        assert_eq!(
            (answer.status, &answer.json()["error"]),
            (404, &json!("not_found"))
        );
    }
    served.abort();
    assert!(house.audit_lines().await.is_empty());
}
