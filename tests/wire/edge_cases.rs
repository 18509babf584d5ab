//! Paths and methods (rows 65 to 73), TLS (rows 98 to 104), caps, and HTTP/2.

use std::process::Command;

use crate::support::{Setup, Upstream};

#[test]
fn rows_65_to_69_a_path_that_reads_as_another_is_400_and_goes_nowhere() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address).start();
    let (_, key) = gateway.key(&["domains:read"]);
    for path in [
        "/v1/domains/..",
        "/v1/domains/../vps",
        "/v1/domains/%2e%2e/vps",
        "/v1/domains/%2E./vps",
        "/v1/domains/.",
        "/v1/domains/a%2fb",
        "/v1/domains/a%5cb",
        "/v1/domains/a%00",
        "/v1/domains/%252e%252e/x",
        "/v1/domains/%c0%ae%c0%ae/x",
        "/v1/domains/%ef%bc%8e%ef%bc%8e/x",
        "/v1/domains/..;/x",
        "//v1/domains",
        "/v1//domains",
        "/v1/domains/a.",
        "/v1/domains/a%20",
        "/v1/domains/%zz",
        "/v1/domains%3fx",
        "/v1/domains%23x",
        "/v1/domains;x",
        "/v1/domains/a%3bx",
        "/v1/domains/%25%32%65",
    ] {
        let answer = gateway.send(format!(
            "GET {path} HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {key}\r\n\r\n"
        ));
        assert_eq!(answer.status, 400, "{path}");
    }
    for path in ["/V1/domains", "/v1/domainsx", "/v1/%2a", "/x/v1/domains"] {
        let answer = gateway.send(format!(
            "GET {path} HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {key}\r\n\r\n"
        ));
        assert_eq!(answer.status, 404, "{path}");
    }
    assert_eq!(upstream.received().len(), 0);
}

#[test]
fn what_was_matched_is_what_is_forwarded() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address)
        .routes("  - { name: stripped, prefix: /api/v2, methods: [GET], strip_prefix: /api, access: { scopes: [domains:read] }, upstream: domains }\n")
        .start();
    let (_, key) = gateway.key(&["domains:read"]);
    for (path, forwarded) in [
        (
            "/v1/%64omains/%7ea%c3%a4?q=%2e%2e/&b=[1]",
            "/v1/domains/~a%C3%A4?q=%2e%2e/&b=[1]",
        ),
        ("/api/v2/x?y=1", "/v2/x?y=1"),
        ("/v1/domains?", "/v1/domains?"),
        ("https://api.osir.com/v1/domains/1", "/v1/domains/1"),
    ] {
        let answer = gateway.send(format!(
            "GET {path} HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {key}\r\n\r\n"
        ));
        assert_eq!(answer.status, 200, "{path}");
        let received = upstream.received();
        let line = received.last().expect("arrived").request_line().to_owned();
        assert_eq!(line, format!("GET {forwarded} HTTP/1.1"));
    }
}

#[test]
fn rows_25_and_39_to_40_upgrades_go_nowhere() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address).start();
    let (_, key) = gateway.key(&["domains:read", "domains:write"]);
    let answer = gateway.get(&format!("x-api-key: {key}\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n"));
    assert_eq!(answer.status, 200);
    let received = &upstream.received()[0];
    assert!(received.values("upgrade").is_empty() && received.values("http2-settings").is_empty());
    let answer = gateway.send(format!(
        "POST /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {key}\r\nconnection: upgrade\r\nupgrade: websocket\r\ncontent-length: 0\r\n\r\n"
    ));
    assert_eq!(answer.status, 400);
    assert_eq!(upstream.received().len(), 1);
}

#[test]
fn rows_98_and_104_old_tls_and_unknown_protocols_are_refused() {
    let gateway = Setup::before(Upstream::start().address).start();
    let address = gateway.running().https().to_string();
    let openssl = |arguments: &[&str]| {
        let mut command = Command::new("openssl");
        command
            .args([
                "s_client",
                "-connect",
                &address,
                "-servername",
                "api.osir.com",
            ])
            .args(arguments);
        let output = command
            .stdin(std::process::Stdio::null())
            .output()
            .expect("openssl is there");
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    };
    assert!(openssl(&["-tls1_3"]).contains("Cipher is TLS_AES_128_GCM_SHA256"));
    assert!(openssl(&["-tls1_2"]).contains("Cipher is ECDHE-ECDSA-AES128-GCM-SHA256"));
    for refused in [
        &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"][..],
        &["-tls1", "-cipher", "ALL:@SECLEVEL=0"],
        &[
            "-tls1_2",
            "-cipher",
            "ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA:AES128-GCM-SHA256@SECLEVEL=0",
        ],
    ] {
        assert!(openssl(refused).contains("Cipher is (NONE)"), "{refused:?}");
    }
    assert!(openssl(&["-alpn", "spdy/3"]).contains("no application protocol"));
    assert!(openssl(&["-alpn", "h2,http/1.1"]).contains("ALPN protocol: h2"));
}

#[test]
fn row_100_hostile_hellos_end_in_a_close_and_the_gateway_lives() {
    let gateway = Setup::before(Upstream::start().address).start();
    for bytes in [
        &b"\x16\x03\x01\xff\xff"[..],
        b"\x16\x03\x01\x00\x01\x01",
        b"\x16\x00\x00\x00\x00",
        b"\x15\x03\x01\x00\x02\x01\x00",
        b"\x80\x2e\x01\x00\x02",
        b"\0\0\0\0",
        &[0x16; 4096],
    ] {
        let mut client = crate::support::Raw::plain(gateway.running().https());
        client.send(bytes);
        client.shutdown();
        let _ = client.rest();
    }
    assert_eq!(gateway.get("").status, 401);
}

#[test]
fn connection_caps_close_what_is_too_much_and_count_it() {
    let gateway = Setup::before(Upstream::start().address)
        .extra("limits: { connections: 3, connections_per_address: 2 }\n")
        .start();
    let mut first = gateway.tls.connect();
    let mut second = gateway.tls.connect();
    for client in [&mut first, &mut second] {
        client.send("GET /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\n\r\n");
        assert_eq!(client.answer().status, 401);
    }
    let mut third = crate::support::Raw::plain(gateway.running().https());
    assert!(third.is_closed());
    assert_eq!(
        gateway.metric(r#"portcullis_connections_refused_total{reason="address"}"#),
        1.0
    );
    drop(first);
    crate::support::eventually("a place is free", || {
        (gateway.metric(r#"portcullis_connections{listener="https"}"#) == 1.0).then_some(())
    });
    assert_eq!(gateway.get("").status, 401);
}

/// curl speaks HTTP/2 as browsers do.
fn curl(gateway: &crate::support::Gateway, arguments: &[&str]) -> String {
    let address = gateway.running().https();
    let output = Command::new("curl")
        .args(["-sS", "--http2", "-i", "--max-time", "20", "--cacert"])
        .arg(gateway.path("certs/ca.pem"))
        .args(["--connect-to", &format!("api.osir.com:443:{address}")])
        .args(arguments)
        .output()
        .expect("curl is there");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn http_2_is_the_same_gateway() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address).start();
    let (_, key) = gateway.key(&["domains:read", "domains:write"]);
    let header = format!("x-api-key: {key}");
    let url = "https://api.osir.com/v1/domains";
    let answer = curl(
        &gateway,
        &[
            url,
            "-H",
            &header,
            "-H",
            "x-auth-subject: root",
            "-H",
            "te: trailers",
        ],
    );
    assert!(
        answer.starts_with("HTTP/2 200") && answer.ends_with("ok"),
        "{answer}"
    );
    assert_eq!(upstream.received()[0].values("x-auth-subject"), ["acct_1"]);
    assert_eq!(upstream.received()[0].values("via"), ["2 portcullis"]);
    assert_eq!(upstream.received()[0].values("host"), ["api.osir.com"]);
    assert!(upstream.received()[0].values("te").is_empty());
    let answer = curl(&gateway, &[url, "-H", &header, "-d", "a=b"]);
    assert!(answer.starts_with("HTTP/2 200"), "{answer}");
    assert_eq!(upstream.received()[1].body, b"a=b");
    for (arguments, status) in [
        (&[url][..], "401"),
        (
            &[url, "-H", &header, "-H", "authorization: Bearer x"],
            "400",
        ),
        (&[url, "-H", &header, "--path-as-is", "-X", "BREW"], "501"),
        (
            &[
                "https://api.osir.com/v1/domains/../vps",
                "--path-as-is",
                "-H",
                &header,
            ],
            "400",
        ),
        (&[url, "-H", &header, "-H", "host: other.test"], "421"),
        (&[url, "-H", &header, "-H", "expect: x"], "417"),
    ] {
        let answer = curl(&gateway, arguments);
        assert!(
            answer.starts_with(&format!("HTTP/2 {status}")),
            "{arguments:?}: {answer}"
        );
        assert!(answer.contains("x-request-id: "), "{answer}");
    }
    let many: Vec<String> = (0..120).map(|number| format!("x-{number}: 1")).collect();
    let mut arguments = vec![url, "-H", &header];
    arguments.extend(many.iter().flat_map(|field| ["-H", field.as_str()]));
    assert!(
        curl(&gateway, &arguments).starts_with("HTTP/2 431"),
        "rows 32 and 56"
    );
    assert_eq!(upstream.received().len(), 2);
    curl(
        &gateway,
        &[url, "-H", &header, "-H", "cookie: a=1", "-H", "cookie: b=2"],
    );
    assert_eq!(upstream.received()[2].values("cookie"), ["a=1; b=2"]);
}

#[test]
fn rows_36_and_37_bytes_after_an_upgrade_that_did_not_happen_are_the_next_request() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address).start();
    let (_, key) = gateway.key(&["domains:read"]);
    let mut client = gateway.tls.connect();
    client.send(format!(
        "GET /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {key}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 12\r\n\r\nGET /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\n\r\n"
    ));
    assert_eq!(client.answer().status, 200);
    assert_eq!(client.answer().status, 401, "judged by itself");
    assert_eq!(upstream.received().len(), 1);
}

#[test]
fn row_69_what_is_left_after_stripping_is_canonical_too() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address)
        .routes("  - { name: stripped, prefix: /api, methods: [GET], strip_prefix: /api, access: { scopes: [domains:read] }, upstream: domains }\n")
        .start();
    let (_, key) = gateway.key(&["domains:read"]);
    for (path, status) in [
        ("/api%2e/admin", 400),
        ("/api/%2e%2e/admin", 400),
        ("/api//admin", 400),
        ("/apix/admin", 404),
        ("/api", 200),
        ("/api/admin", 200),
    ] {
        let answer = gateway.send(format!(
            "GET {path} HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {key}\r\n\r\n"
        ));
        assert_eq!(answer.status, status, "{path}");
    }
    let lines: Vec<String> = upstream
        .received()
        .iter()
        .map(|r| r.request_line().to_owned())
        .collect();
    assert_eq!(lines, ["GET / HTTP/1.1", "GET /admin HTTP/1.1"]);
}

#[test]
fn rows_28_and_102_no_connect_no_trace_no_early_data() {
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address).start();
    let (_, key) = gateway.key(&["domains:read"]);
    for (method, target, statuses) in [
        ("CONNECT", "api.osir.com:443", [400, 405]),
        ("TRACE", "/v1/domains", [405, 405]),
        ("TRACK", "/v1/domains", [501, 405]),
    ] {
        let answer = gateway.send(format!(
            "{method} {target} HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {key}\r\n\r\n"
        ));
        assert!(statuses.contains(&answer.status), "{method}: {answer:?}");
    }
    assert_eq!(upstream.received().len(), 0);
    let address = gateway.running().https().to_string();
    let mut session = Command::new("openssl")
        .args([
            "s_client",
            "-connect",
            &address,
            "-servername",
            "api.osir.com",
            "-tls1_3",
            "-ign_eof",
        ])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("openssl is there");
    let request = b"GET /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\ncontent-length: 1\r\n\r\n";
    std::io::Write::write_all(session.stdin.as_mut().expect("piped"), request).expect("sent");
    let output = session
        .wait_with_output()
        .expect("it ends when the gateway closes");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("Max Early Data: 0"), "{text}");
}
