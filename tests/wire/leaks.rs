//! No secret that was issued or sent is in any log, metric, error, audit line or store (row 109).
//! Runs the binary itself at TRACE, so that what libraries log is looked at too.

use std::process::{Child, Command, Stdio};

use crate::support::{RedisServer, Setup, Tls, Upstream, eventually};

struct Served {
    child: Child,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn secrets_never_leak() {
    let upstream = Upstream::start();
    let redis = RedisServer::start();
    let mut setup = Setup::before(upstream.address)
        .extra("plaintext_credentials: revoke\nsessions: { cookie: {} }\n");
    let password = crate::support::REDIS_PASSWORD;
    setup.store = format!(
        "redis: {{ url: \"{}\", password: {password} }}",
        redis.url()
    );
    let probe = setup.start();
    let folder = probe.stop();
    // Fixed ports, since another process has to find them.
    let ports: Vec<u16> = (0..4)
        .map(|_| {
            std::net::TcpListener::bind("127.0.0.1:0")
                .expect("a port")
                .local_addr()
                .expect("an address")
                .port()
        })
        .collect();
    let mut yaml = setup.yaml();
    for port in &ports {
        yaml = yaml.replacen("127.0.0.1:0", &format!("127.0.0.1:{port}"), 1);
    }
    let path = folder.path().join("gateway.yaml");
    std::fs::write(&path, &yaml).expect("writable");
    let log = folder.path().join("stderr.log");
    let portcullis = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.arg("--config").arg(&path);
        command
    };
    let child = portcullis()
        .arg("serve")
        .env("PORTCULLIS_LOG", "trace")
        .stdout(std::fs::File::create(folder.path().join("stdout.log")).expect("a file"))
        .stderr(std::fs::File::create(&log).expect("a file"))
        .spawn()
        .expect("the binary");
    let mut served = Served { child };
    eventually("it serves", || {
        std::fs::read_to_string(&log)
            .ok()
            .filter(|text| text.contains("\"serving\""))
    });

    let mut secrets: Vec<String> = Vec::new();
    for scopes in [&["domains:read"][..], &["domains:read", "domains:write"]] {
        let mut create = portcullis();
        create.args([
            "--format",
            "json",
            "key",
            "create",
            "--account",
            "acct_1",
            "--name",
            "n",
        ]);
        for scope in scopes {
            create.args(["--scope", scope]);
        }
        let output = create.stderr(Stdio::null()).output().expect("the binary");
        let created: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        secrets.push(created["key"].as_str().expect("a key").to_owned());
    }
    let tls = Tls::new(
        ([127, 0, 0, 1], ports[0]).into(),
        &folder.path().join("certs/ca.pem"),
        "api.osir.com",
    );
    let jwt = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJ4In0.c2VjcmV0LXNpZ25hdHVyZS1ieXRlcw";
    let mut answers = String::new();
    let mut client = tls.connect();
    client.send(format!(
        "POST /auth/sessions HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {}\r\ncontent-type: \
         application/json\r\ncontent-length: 15\r\n\r\n{{\"cookie\":true}}",
        secrets[0]
    ));
    let given = client.answer();
    let cookie = given.header("set-cookie").expect("a cookie");
    let cookie = cookie.split(';').next().expect("a pair").to_owned();
    let session = cookie.split('=').next_back().expect("a token").to_owned();
    for line in [
        format!("cookie: {cookie}\r\n"),
        format!("cookie: {cookie}; {cookie}\r\n"),
        format!("x-api-key: {}\r\n", secrets[0]),
        format!("authorization: Bearer {}\r\n", secrets[1]),
        format!("authorization: Bearer {jwt}\r\n"),
        format!("authorization: Basic {}\r\n", secrets[0]),
        format!(
            "x-api-key: {}\r\nauthorization: Bearer {}\r\n",
            secrets[0], secrets[1]
        ),
        format!("x-api-key: {}x\r\n", secrets[0]),
        format!("x-api-key : {}\r\n", secrets[0]),
    ] {
        for method in ["GET", "DELETE"] {
            let mut client = tls.connect();
            client.send(format!(
                "{method} /v1/domains?key={} HTTP/1.1\r\nhost: api.osir.com\r\n{line}\r\n",
                secrets[1]
            ));
            answers.push_str(&format!("{:?}", client.answer()));
        }
    }
    let mut plain = crate::support::Raw::plain(([127, 0, 0, 1], ports[1]).into());
    plain.send(format!(
        "GET / HTTP/1.1\r\nhost: a\r\nx-api-key: {}\r\n\r\n",
        secrets[1]
    ));
    answers.push_str(&format!("{:?}", plain.answer()));
    let explained = portcullis()
        .args(["explain", "GET", "/v1/domains", "--key", &secrets[0]])
        .output()
        .expect("the binary");
    answers.push_str(&String::from_utf8_lossy(&explained.stdout));
    let mut metrics = crate::support::Raw::plain(([127, 0, 0, 1], ports[2]).into());
    metrics.send("GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    answers.push_str(&metrics.answer().body);
    let audit = folder.path().join("audit.jsonl");
    eventually("the exposed key is revoked", || {
        std::fs::read_to_string(&audit)
            .ok()
            .filter(|text| text.contains("key_revoke") || text.contains("revoke"))
    });
    let pid = served.child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .expect("kill")
            .success()
    );
    let status = eventually("it has drained", || {
        served.child.try_wait().expect("a child")
    });
    assert!(status.success(), "SIGTERM ends it with 0");
    drop(served);

    secrets.push(session);
    secrets.push(jwt.to_owned());
    secrets.push(jwt.rsplit('.').next().expect("a signature").to_owned());
    secrets.push(password.to_owned());
    secrets.push("an-admin-token-for-tests-only".to_owned());
    let mut places = vec![("the answers", answers), ("Redis", redis.dump())];
    for name in ["stderr.log", "stdout.log", "access.log", "audit.jsonl"] {
        places.push((
            name,
            std::fs::read_to_string(folder.path().join(name)).expect("there"),
        ));
    }
    assert!(
        places
            .iter()
            .all(|(place, text)| *place == "stdout.log" || !text.is_empty()),
        "each place was written to"
    );
    for (place, text) in &places {
        for secret in &secrets {
            // The body alone would be enough to use a key: prefixes cannot hide it.
            let body = secret.rsplit('_').next().expect("a body");
            let in_redis_auth = *place == "Redis" && secret == password;
            assert!(
                in_redis_auth || !text.contains(body),
                "a secret is in {place}"
            );
        }
    }
}
