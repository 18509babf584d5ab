//! The refusals of interface.md §2 that other files do not have: exact status, body and fields.

use crate::support::{Reply, Setup, Upstream};

fn body(error: &str, message: &str) -> String {
    format!(r#"{{"error":"{error}","message":"{message}"}}"#)
}

#[test]
fn not_found_and_method_not_allowed_come_before_401() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address).start();
    let answer = gateway.send("GET /v1/other HTTP/1.1\r\nhost: api.osir.com\r\n\r\n");
    assert_eq!(
        (answer.status, answer.body),
        (404, body("not_found", "No such resource"))
    );
    let answer = gateway.send("OPTIONS /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\n\r\n");
    assert_eq!(
        answer.header("allow"),
        Some("DELETE, GET, HEAD, PATCH, POST, PUT")
    );
    let text = body(
        "method_not_allowed",
        "The method is not allowed for this resource",
    );
    assert_eq!((answer.status, answer.body), (405, text));
    let answer = gateway.send("TRACE /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\n\r\n");
    assert_eq!(answer.status, 405);
    assert_eq!(upstream.received().len(), 0);
}

#[test]
fn row_103_a_host_that_the_certificate_does_not_cover_is_421() {
    let gateway = Setup::before(Upstream::start().address).start();
    let answer = gateway.send("GET /v1/domains HTTP/1.1\r\nhost: other.test\r\n\r\n");
    let text = body(
        "misdirected_request",
        "This host is not served on this connection",
    );
    assert_eq!((answer.status, answer.body), (421, text));
    for (host, status) in [
        ("api.osir.com:8443", 401),
        ("a.wild.test", 401),
        ("a.b.wild.test", 421),
        ("wild.test", 421),
    ] {
        let answer = gateway.send(format!("GET /v1/domains HTTP/1.1\r\nhost: {host}\r\n\r\n"));
        assert_eq!(answer.status, status, "{host}");
    }
}

#[test]
fn row_99_clear_text_is_426_on_both_ports_and_the_key_is_not_echoed() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address).start();
    let (_, key) = gateway.key(&["domains:read"]);
    let get = format!("GET /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {key}\r\n\r\n");
    for request in [
        get.as_str(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET / HTTP/1.1\r\nbad header\r\n\r\n",
    ] {
        for address in [
            gateway.running().http().expect("http"),
            gateway.running().https(),
        ] {
            let mut client = crate::support::Raw::plain(address);
            client.send(request);
            let answer = client.answer();
            assert_eq!(
                (answer.status, answer.body.clone()),
                (426, body("https_required", "HTTPS is required"))
            );
            assert_eq!(answer.header("upgrade"), Some("TLS/1.2, HTTP/1.1"));
            assert_eq!(answer.header("connection"), Some("Upgrade, close"));
            assert_eq!(answer.header("location"), None);
            assert!(!format!("{answer:?}").contains(&key));
            assert!(client.is_closed());
        }
    }
    assert_eq!(upstream.received().len(), 0);
}

#[test]
fn a_body_beyond_the_limit_is_413_also_when_its_length_is_not_declared() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address)
        .extra("limits: { body: 1KiB }\n")
        .start();
    let (_, key) = gateway.key(&["domains:write"]);
    let post = format!("POST /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {key}\r\n");
    let text = body("payload_too_large", "The request body is too large");
    let answer = gateway.send(format!("{post}content-length: 1025\r\n\r\n"));
    assert_eq!((answer.status, answer.body), (413, text.clone()));
    assert_eq!(upstream.received().len(), 0);
    let chunk = "x".repeat(1025);
    let answer = gateway.send(format!(
        "{post}transfer-encoding: chunked\r\n\r\n401\r\n{chunk}\r\n0\r\n\r\n"
    ));
    assert_eq!((answer.status, answer.body), (413, text));
    assert!(
        upstream
            .received()
            .iter()
            .all(|received| !received.complete)
    );
    let answer = gateway.send(format!(
        "{post}content-length: 1024\r\n\r\n{}",
        "x".repeat(1024)
    ));
    assert_eq!(answer.status, 200);
}

#[test]
fn rows_18_and_106_what_stops_coming_is_408() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address)
        .extra("timeouts: { header: 300ms, body: 300ms }\n")
        .start();
    let (_, key) = gateway.key(&["domains:write"]);
    let text = body("request_timeout", "The request took too long to arrive");
    let mut head = gateway.tls.connect();
    head.send("GET /v1/domains HTTP/1.1\r\nhost: ");
    let answer = head.answer();
    assert_eq!((answer.status, answer.body), (408, text.clone()));
    assert!(head.is_closed());
    let mut half = gateway.tls.connect();
    half.send(format!("POST /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {key}\r\ncontent-length: 10\r\n\r\nhalf"));
    let answer = half.answer();
    assert_eq!((answer.status, answer.body), (408, text));
    assert!(half.is_closed());
    assert!(
        upstream
            .received()
            .iter()
            .all(|received| !received.complete)
    );
}

#[test]
fn an_idle_connection_and_a_silent_handshake_are_closed_without_a_word() {
    let gateway = Setup::before(Upstream::start().address)
        .extra("timeouts: { idle: 300ms, handshake: 300ms }\n")
        .start();
    let mut idle = gateway.tls.connect();
    idle.send("GET /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\n\r\n");
    assert_eq!(idle.answer().status, 401);
    assert!(idle.is_closed());
    let mut silent = crate::support::Raw::plain(gateway.running().https());
    assert!(silent.is_closed());
    let series = r#"portcullis_tls_handshakes_total{outcome="deadline",version="none"}"#;
    assert_eq!(gateway.metric(series), 1.0);
}

#[test]
fn upstreams_that_fail_are_502_and_504() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let nobody = closed.local_addr().expect("an address");
    drop(closed);
    let gateway = Setup::before(nobody).start();
    let (_, key) = gateway.key(&["domains:read"]);
    let answer = gateway.get(&format!("x-api-key: {key}\r\n"));
    assert_eq!(
        (answer.status, answer.body),
        (502, body("bad_gateway", "The upstream failed"))
    );

    let silent = Upstream::scripted(|_, _| Reply::Silence);
    let yaml = format!(
        "{{ endpoints: [http://{}], timeout: 300ms }}",
        silent.address
    );
    let gateway = Setup::before(silent.address).upstream(&yaml).start();
    let (_, key) = gateway.key(&["domains:read"]);
    let answer = gateway.get(&format!("x-api-key: {key}\r\n"));
    let text = body("gateway_timeout", "The upstream did not answer in time");
    assert_eq!((answer.status, answer.body), (504, text));
}

#[test]
fn an_answer_to_head_has_the_fields_and_no_body() {
    let gateway = Setup::before(Upstream::start().address).start();
    let mut client = gateway.tls.connect();
    client.send("HEAD /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\n\r\n");
    let answer = client.head_answer();
    assert_eq!(
        (answer.status, answer.header("content-length")),
        (401, Some("63"))
    );
    client.send("GET /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\n\r\n");
    assert_eq!(client.answer().status, 401);
}
