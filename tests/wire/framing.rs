//! Bytes that two parsers could read differently: refused, closed, and nothing at the upstream
//! (rows 1 to 34 and 42 to 45).

use crate::support::{Gateway, Setup, Upstream};

fn start() -> (Upstream, Gateway, String) {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address).start();
    let (_, key) = gateway.key(&["domains:read", "domains:write"]);
    (upstream, gateway, key)
}

/// Sends each case and asserts its status, its body's error word, and that the connection closes.
fn refuse(cases: &[(&str, u16)]) {
    let (upstream, gateway, key) = start();
    for (case, status) in cases {
        let request = case.replace("KEY", &key);
        let mut client = gateway.tls.connect();
        client.send(&request);
        let answer = client.answer();
        assert_eq!(answer.status, *status, "{case:?} gave {answer:?}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/json"),
            "{case:?}"
        );
        assert!(answer.header("x-request-id").is_some(), "{case:?}");
        assert!(client.is_closed(), "{case:?} left the connection open");
    }
    assert_eq!(
        upstream.received(),
        [],
        "nothing of these may reach an upstream"
    );
}

const POST: &str = "POST /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: KEY\r\n";

#[test]
fn rows_1_to_8_one_framing_or_none() {
    let with = |lines: &str, body: &str| format!("{POST}{lines}\r\n{body}");
    let owned = [
        (
            with(
                "content-length: 5\r\ntransfer-encoding: chunked\r\n",
                "0\r\n\r\n",
            ),
            400,
        ),
        (
            with(
                "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
                "0\r\n\r\n",
            ),
            400,
        ),
        (
            with(
                "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
                "0\r\n\r\n",
            ),
            400,
        ),
        (
            with("transfer-encoding: identity, chunked\r\n", "0\r\n\r\n"),
            400,
        ),
        (
            with("transfer-encoding: gzip, chunked\r\n", "0\r\n\r\n"),
            501,
        ),
        (with("transfer-encoding: gzip\r\n", ""), 400),
        (with("transfer-encoding: \r\n", ""), 400),
        (with("transfer-encoding: chunked;q=1\r\n", ""), 400),
        (with("transfer-encoding: \"chunked\"\r\n", ""), 400),
        (with("transfer-encoding: chunked, identity\r\n", ""), 400),
        (with("transfer-encoding: xchunked\r\n", ""), 400),
        (
            with("transfer_encoding: chunked\r\ncontent-length: 0\r\n", ""),
            400,
        ),
        (with("transfer-encoding : chunked\r\n", ""), 400),
        (with("content-length: +5\r\n", "hello"), 400),
        (with("content-length: -5\r\n", "hello"), 400),
        (with("content-length: 0x5\r\n", "hello"), 400),
        (with("content-length: 5,0\r\n", "hello"), 400),
        (with("content-length: 5, 5\r\n", "hello"), 400),
        (with("content-length: \r\n", ""), 400),
        (with("content-length: 18446744073709551617\r\n", ""), 400),
        (
            with("content-length: 5\r\ncontent-length: 6\r\n", "hello"),
            400,
        ),
        (
            with("content-length: 5\r\ncontent-length: 5\r\n", "hello"),
            400,
        ),
        (with("content-length: 9223372036854775813\r\n", ""), 413),
    ];
    let cases: Vec<(&str, u16)> = owned.iter().map(|(case, s)| (case.as_str(), *s)).collect();
    refuse(&cases);
    refuse(&[(
        "POST /v1/domains HTTP/1.0\r\nhost: api.osir.com\r\nx-api-key: KEY\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    )]);
}

#[test]
fn rows_10_to_17_a_bad_chunk_is_400_and_never_502() {
    let (upstream, gateway, key) = start();
    let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(16 * 1024));
    for body in [
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\x0b\r\nhello\r\n0\r\n\r\n",
        "1_0\r\nhello\r\n0\r\n\r\n",
        "5\0\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        long.as_str(),
        "0\r\ncontent-length: 5\r\n\r\n",
        "0\r\ntransfer-encoding: chunked\r\n\r\n",
        "0\r\nbad name: x\r\n\r\n",
        "0\r\nx: a\nb\r\n\r\n",
    ] {
        let mut client = gateway.tls.connect();
        client.send(format!("{POST}transfer-encoding: chunked\r\n\r\n{body}").replace("KEY", &key));
        let answer = client.answer();
        assert_eq!(answer.status, 400, "{body:?} gave {answer:?}");
        assert!(client.is_closed(), "{body:?}");
    }
    assert!(
        upstream
            .received()
            .iter()
            .all(|received| !received.complete),
        "{upstream:?}",
        upstream = upstream.received()
    );
}

#[test]
fn rows_19_to_26_lines_names_and_versions() {
    let get = "GET /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\n";
    let with = |lines: &str| format!("{get}{lines}\r\n");
    let mut owned = vec![
        (with("x: a\0b\r\n"), 400),
        (with("x: a\x01b\r\n"), 400),
        (with("x: a\rb\r\n"), 400),
        (with("x: a\r\n folded\r\n"), 400),
        (
            "GET /v1/domains HTTP/1.1\r\n host: api.osir.com\r\n\r\n".into(),
            400,
        ),
        (with("x : a\r\n"), 400),
        (with("x\t: a\r\n"), 400),
        (with(": a\r\n"), 400),
        (with("no colon\r\n"), 400),
        (
            "GET /v1/domains HTTP/1.1\nhost: api.osir.com\n\n".into(),
            400,
        ),
        (with("x: a\ny: b\r\n"), 400),
        ("GET /v1/domains HTTP/1.2\r\nhost: a\r\n\r\n".into(), 505),
        ("GET /v1/domains HTTP/2.0\r\nhost: a\r\n\r\n".into(), 505),
        ("GET /v1/domains HTTP/0.9\r\nhost: a\r\n\r\n".into(), 505),
        ("GET /v1/domains\r\n\r\n".into(), 400),
        ("GET  /v1/domains HTTP/1.1\r\nhost: a\r\n\r\n".into(), 400),
        ("GET\t/v1/domains HTTP/1.1\r\nhost: a\r\n\r\n".into(), 400),
        ("GET /v1/domains HTTP/1.1 \r\nhost: a\r\n\r\n".into(), 400),
        ("GET /v1 /domains HTTP/1.1\r\nhost: a\r\n\r\n".into(), 400),
        ("get /v1/domains HTTP/1.1\r\nhost: a\r\n\r\n".into(), 501),
        ("BREW /v1/domains HTTP/1.1\r\nhost: a\r\n\r\n".into(), 501),
        ("GET /v1/domains#x HTTP/1.1\r\nhost: a\r\n\r\n".into(), 400),
    ];
    for byte in "\"(),/;<=>?@[\\]{}\u{e4}".chars() {
        owned.push((with(&format!("x{byte}y: a\r\n")), 400));
    }
    let cases: Vec<(&str, u16)> = owned.iter().map(|(case, s)| (case.as_str(), *s)).collect();
    refuse(&cases);
}

#[test]
fn rows_30_and_31_exactly_one_host() {
    let mut cases = vec![
        ("GET /v1/domains HTTP/1.1\r\n\r\n".to_owned(), 400),
        (
            "GET /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\nhost: api.osir.com\r\n\r\n".into(),
            400,
        ),
        (
            "GET http://other.test/v1/domains HTTP/1.1\r\nhost: api.osir.com\r\n\r\n".into(),
            400,
        ),
        (
            "GET http://u@api.osir.com/v1/domains HTTP/1.1\r\nhost: api.osir.com\r\n\r\n".into(),
            400,
        ),
    ];
    for host in [
        "",
        "a, b",
        "u@api.osir.com",
        "api.osir.com/x",
        "api.osir.com:x",
        "api.osir.com:99999",
    ] {
        cases.push((
            format!("GET /v1/domains HTTP/1.1\r\nhost: {host}\r\n\r\n"),
            400,
        ));
    }
    let cases: Vec<(&str, u16)> = cases.iter().map(|(case, s)| (case.as_str(), *s)).collect();
    refuse(&cases);
}

#[test]
fn row_32_large_heads_are_refused_in_words() {
    let (upstream, gateway, _) = start();
    let get = "GET /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\n";
    for (request, status, error) in [
        (
            format!("{get}x: {}\r\n\r\n", "a".repeat(100 * 1024)),
            431,
            "headers_too_large",
        ),
        (
            format!("{get}{}\r\n", "x: a\r\n".repeat(20_000)),
            431,
            "headers_too_large",
        ),
        (
            format!("{get}{}\r\n", "x: a\r\n".repeat(100)),
            431,
            "headers_too_large",
        ),
        (
            format!(
                "GET /{} HTTP/1.1\r\nhost: api.osir.com\r\n\r\n",
                "a".repeat(9000)
            ),
            414,
            "uri_too_long",
        ),
    ] {
        let mut client = gateway.tls.connect();
        client.send(&request);
        let answer = client.answer();
        assert_eq!(answer.status, status);
        assert!(
            answer.body.starts_with(&format!(r#"{{"error":"{error}","#)),
            "{}",
            answer.body
        );
        assert!(client.is_closed());
    }
    assert_eq!(upstream.received().len(), 0);
}

#[test]
fn rows_33_and_34_the_body_of_a_refused_request_is_never_a_request() {
    let (upstream, gateway, key) = start();
    let hidden =
        format!("GET /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {key}\r\n\r\n");
    let head = format!(
        "POST /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\ncontent-length: {}\r\n\r\n",
        hidden.len()
    );
    let mut at_once = gateway.tls.connect();
    at_once.send(format!("{head}{hidden}"));
    assert_eq!(at_once.answer().status, 401);
    assert!(at_once.is_closed());
    let mut late = gateway.tls.connect();
    late.send(&head);
    assert_eq!(late.answer().status, 401);
    late.send(&hidden);
    assert!(late.is_closed());
    assert_eq!(upstream.received().len(), 0);
}

#[test]
fn row_42_framing_cannot_be_named_away() {
    let (upstream, gateway, key) = start();
    let answer = gateway.send(
        format!(
            "{POST}connection: content-length, transfer-encoding\r\ncontent-length: 5\r\n\r\nhello"
        )
        .replace("KEY", &key),
    );
    assert_eq!(answer.status, 200);
    let received = &upstream.received()[0];
    assert_eq!(
        (received.body.as_slice(), received.values("content-length")),
        (&b"hello"[..], vec!["5"])
    );
}

#[test]
fn rows_43_and_44_expectations() {
    let (upstream, gateway, key) = start();
    let mut client = gateway.tls.connect();
    client.send("POST /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n");
    let rest = String::from_utf8(client.rest()).expect("ASCII");
    assert!(
        rest.starts_with("HTTP/1.1 401 "),
        "no 100 before a refusal: {rest}"
    );
    let answer = gateway.get("expect: something\r\n");
    assert_eq!(
        (answer.status, &answer.body[..28]),
        (417, r#"{"error":"expectation_failed"#)
    );
    let mut client = gateway.tls.connect();
    client.send(
        format!("{POST}expect: 100-continue\r\ncontent-length: 5\r\n\r\nhello")
            .replace("KEY", &key),
    );
    assert_eq!(client.answer().status, 200);
    assert!(upstream.received()[0].values("expect").is_empty());
}

#[test]
fn row_45_pipelined_requests_are_judged_alone_and_in_order() {
    let (upstream, gateway, key) = start();
    let good =
        format!("GET /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {key}\r\n\r\n");
    let bare = "GET /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\n\r\n";
    let mut client = gateway.tls.connect();
    let mut expected = Vec::new();
    let mut requests = String::new();
    for number in 0..300 {
        requests.push_str(if number % 3 == 1 { bare } else { &good });
        expected.push(if number % 3 == 1 { 401 } else { 200 });
    }
    requests.push_str("GET /v1/domains HTTP/1.1\r\nhost : bad\r\n\r\n");
    requests.push_str(&good);
    expected.push(400);
    client.send(&requests);
    let statuses: Vec<u16> = expected.iter().map(|_| client.answer().status).collect();
    assert_eq!(statuses, expected);
    assert!(client.is_closed());
    assert_eq!(upstream.received().len(), 200);
}

#[test]
fn rows_9_and_18_a_get_with_a_body_is_one_request_and_half_a_body_is_none() {
    let (upstream, gateway, key) = start();
    let answer = gateway.get(&format!(
        "x-api-key: {key}\r\ncontent-length: 20\r\n\r\nGET / HTTP/1.1\r\n\r\nxx"
    ));
    assert_eq!(answer.status, 200);
    assert_eq!(upstream.received().len(), 1);
    let mut client = gateway.tls.connect();
    client.send(format!("{POST}content-length: 10\r\n\r\nhalf").replace("KEY", &key));
    drop(client);
    crate::support::eventually("the upstream sees the end", || {
        upstream
            .received()
            .get(1)
            .map(|received| assert!(!received.complete))
    });
}

#[test]
fn a_byte_at_a_time_is_the_same_request() {
    let (upstream, gateway, key) = start();
    let mut client = gateway.tls.connect();
    let request = format!("{POST}transfer-encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\n\r\n");
    for byte in request.replace("KEY", &key).bytes() {
        client.send([byte]);
    }
    assert_eq!(client.answer().status, 200);
    let received = &upstream.received()[0];
    let body = String::from_utf8_lossy(&received.body).into_owned();
    assert!(
        received.complete && body.contains("hello") && !body.contains("x=y"),
        "{body:?}"
    );
}
