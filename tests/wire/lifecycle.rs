//! Drain, reload, readiness, metrics and logs.

use crate::support::{Gateway, Reply, Setup, Upstream, eventually};

#[test]
fn a_drain_loses_no_request() {
    let (begin, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::scripted(move |_, _| {
        wait.lock()
            .expect("not poisoned")
            .recv()
            .expect("the drain has begun");
        Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec())
    });
    let gateway = Setup::before(upstream.address).start();
    let (_, key) = gateway.key(&["domains:read"]);
    let https = gateway.running().https();
    let mut busy = gateway.tls.connect();
    busy.send(format!(
        "GET /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {key}\r\n\r\n"
    ));
    eventually("the request arrives", || {
        (upstream.received().len() == 1).then_some(())
    });
    let mut idle = gateway.tls.connect();
    idle.send("GET /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\n\r\n");
    assert_eq!(idle.answer().status, 401);
    let draining = std::thread::spawn(move || gateway.stop());
    assert!(idle.is_closed(), "an idle connection is closed at once");
    eventually("nothing new is accepted", || {
        std::net::TcpStream::connect(https).err()
    });
    begin.send(()).expect("the upstream waits");
    let answer = busy.answer();
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    assert!(busy.is_closed());
    draining.join().expect("drained");
}

#[test]
fn after_a_restart_the_first_request_with_a_key_asks_the_store_for_nothing() {
    let setup = Setup::before(Upstream::start().address);
    let gateway = setup.start();
    let (_, key) = gateway.key(&["domains:read"]);
    let gateway = Gateway::start_in(gateway.stop(), &setup.yaml());
    // The page that has the key, and the empty one after it.
    eventually("the keys were read into the cache", || {
        (gateway.metric(&operations("keys_at_hand")) == 2.0).then_some(())
    });
    assert_eq!(gateway.get(&format!("x-api-key: {key}\r\n")).status, 200);
    assert_eq!(gateway.metric(&operations("key_by_digest")), 0.0);
}

fn operations(verb: &str) -> String {
    format!(r#"portcullis_store_operations_total{{op="{verb}",outcome="ok"}}"#)
}

#[test]
fn row_112_a_bad_configuration_keeps_the_old_one_and_says_where() {
    let upstream = Upstream::start();
    let setup = Setup::before(upstream.address);
    let gateway = setup.start();
    let (_, key) = gateway.key(&["domains:read"]);
    let line = format!("x-api-key: {key}\r\n");
    let path = gateway.path("gateway.yaml");
    std::fs::write(
        &path,
        setup.yaml().replace("[domains:read]", "[domains:raed]"),
    )
    .expect("writable");
    let error = gateway.running().reload().expect_err("refused");
    assert!(
        error.contains("domains:raed") && error.contains("gateway.yaml:"),
        "{error}"
    );
    assert_eq!(gateway.get(&line).status, 200);
    assert_eq!(gateway.metric("portcullis_config_last_reload_success"), 0.0);
    std::fs::write(
        &path,
        setup
            .yaml()
            .replace("prefix: /v1/domains", "prefix: /v2/domains"),
    )
    .expect("writable");
    gateway.running().reload().expect("taken");
    assert_eq!(gateway.get(&line).status, 404);
    assert_eq!(gateway.metric("portcullis_config_last_reload_success"), 1.0);
    std::fs::write(&path, setup.yaml().replace("workers: 2", "workers: 3")).expect("writable");
    let error = gateway.running().reload().expect_err("needs a restart");
    assert_eq!(
        error,
        "workers cannot change while the gateway runs: restart it"
    );
    let folder = gateway.stop();
    let audit = std::fs::read_to_string(folder.path().join("audit.jsonl")).expect("an audit log");
    let reloads: Vec<&str> = audit
        .lines()
        .filter(|line| line.contains("config_reload"))
        .collect();
    assert!(
        reloads.len() >= 3 && reloads[0].contains("domains:raed"),
        "{audit}"
    );
}

#[test]
fn row_105_new_certificates_are_used_and_open_connections_go_on() {
    let gateway = Setup::before(Upstream::start().address).start();
    let mut before = gateway.tls.connect();
    before.send("GET /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\n\r\n");
    assert_eq!(before.answer().status, 401);
    let hosts = ["api.osir.com", "new.test"].map(String::from);
    portcullis::dev::certificates::make(&gateway.path("certs"), &hosts).expect("made");
    gateway.running().reload().expect("taken");
    let answer = gateway.send("GET /v1/domains HTTP/1.1\r\nhost: new.test\r\n\r\n");
    assert_eq!(answer.status, 401);
    before.send("GET /v1/domains HTTP/1.1\r\nhost: new.test\r\n\r\n");
    assert_eq!(
        before.answer().status,
        421,
        "this connection has the certificate that it began with"
    );
}

#[test]
fn the_vitals_listener_has_four_pages_and_nothing_else() {
    let gateway = Setup::before(Upstream::start().address).start();
    assert_eq!(gateway.vitals("/healthz").status, 200);
    eventually("it is ready", || {
        (gateway.vitals("/readyz").status == 200).then_some(())
    });
    assert_eq!(
        gateway.vitals("/readyz").body.trim(),
        r#"{"ready":true,"reasons":[]}"#
    );
    assert!(
        gateway
            .vitals("/version")
            .body
            .contains(env!("CARGO_PKG_VERSION"))
    );
    for path in ["/", "/v1/keys", "/v1/routes", "/metrics/../v1/keys"] {
        assert_eq!(gateway.vitals(path).status, 404, "{path}");
    }
    let metrics = gateway.vitals("/metrics").body;
    for name in [
        "portcullis_connections",
        "portcullis_inflight_requests",
        "portcullis_config_info",
        "portcullis_build_info",
        "portcullis_tls_certificate_expiry_timestamp_seconds",
        "portcullis_store_operations_total",
        "portcullis_revocation_lease_age_seconds",
        "portcullis_upstream_healthy",
    ] {
        assert!(metrics.contains(name), "{name}");
    }
}

#[test]
fn every_request_leaves_one_record() {
    let gateway = Setup::before(Upstream::start().address).start();
    let (id, key) = gateway.key(&["domains:read"]);
    gateway.get(&format!("x-api-key: {key}\r\nx-request-id: r-200\r\n"));
    gateway.get("x-request-id: r-401\r\n");
    gateway.send(
        "GET /v1/domains?secret=1 HTTP/1.1\r\nhost: api.osir.com\r\nx-request-id: r-query\r\n\r\n",
    );
    gateway.send("GET  / HTTP/1.1\r\n\r\n");
    let folder = gateway.stop();
    let text = std::fs::read_to_string(folder.path().join("access.log")).expect("a log");
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 4, "{text}");
    let line = |id: &str| {
        lines
            .iter()
            .find(|line| line["request_id"] == id)
            .expect(id)
            .clone()
    };
    let ok = line("r-200");
    assert_eq!(
        (&ok["status"], &ok["route"], &ok["upstream"]),
        (&200.into(), &"domains-read".into(), &"domains".into())
    );
    assert_eq!(
        (&ok["credential_id"], &ok["account"]),
        (&id.as_str().into(), &"acct_1".into())
    );
    assert_eq!(
        (&line("r-401")["status"], &line("r-401")["reason"]),
        (&401.into(), &"missing".into())
    );
    assert_eq!(line("r-query")["path"], "/v1/domains?[redacted]");
    let malformed = lines
        .iter()
        .find(|line| line["status"] == 400)
        .expect("the malformed one");
    assert_eq!(malformed["reason"], "request_line");
}

#[test]
fn explain_says_what_the_gateway_does() {
    let gateway = Setup::before(Upstream::start().address).start();
    let (_, key) = gateway.key(&["domains:read"]);
    let ask = |gateway: &Gateway, method: &str, path: &str| {
        let request = portcullis::policy::ExplainRequest {
            method: method.into(),
            path: path.into(),
            host: None,
            address: None,
            credential: portcullis::policy::ExplainCredential::Key(
                portcullis::secret::Secret::new(key.clone()),
            ),
        };
        gateway
            .operate(async |admin| admin.explain(&request).await)
            .expect("explained")
    };
    let answer = ask(&gateway, "GET", "/v1/domains/1");
    assert_eq!(
        (&answer["verdict"], &answer["route"]),
        (&"allow".into(), &"domains-read".into())
    );
    let answer = ask(&gateway, "DELETE", "/v1/domains/1");
    assert_eq!(
        (&answer["verdict"], &answer["status"], &answer["reason"]),
        (&"deny".into(), &403.into(), &"scope".into())
    );
    let answer = ask(&gateway, "GET", "/v1/domains/../x");
    assert_eq!(
        (&answer["status"], &answer["reason"]),
        (&400.into(), &"path".into())
    );
    assert!(!answer.to_string().contains(&key));
}

#[test]
fn a_second_gateway_on_the_same_port_does_not_start() {
    let setup = Setup::before(Upstream::start().address);
    let gateway = setup.start();
    let folder = setup.start().stop();
    let path = folder.path().join("gateway.yaml");
    let taken = gateway.running().https();
    let yaml = setup
        .yaml()
        .replacen("https: 127.0.0.1:0", &format!("https: {taken}"), 1);
    std::fs::write(&path, yaml).expect("writable");
    let config = portcullis::config::Config::load(&path).expect("valid");
    let error = portcullis::app::start(&path, config)
        .err()
        .expect("the port is taken");
    assert_eq!(
        error.to_string(),
        format!("cannot listen on {taken} (listen.https)")
    );
}
