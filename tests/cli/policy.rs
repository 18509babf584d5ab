//! `routes`, `explain` and `check`: what the policy is, and who answers a request.

use std::process::Command;

use portcullis::oauth::Endpoint;
use serde_json::{Value, json};

use super::dev::{Dev, manage};
use super::{CONFIG, Home, Served, eventually, text};

#[test]
fn routes_and_explain_work_without_a_gateway() {
    let home = Home::build();
    let routes = home.run(&["routes", "--format", "json"]).succeeds().json();
    assert_eq!(routes[0]["route"], "domains-read");
    let table = home.run(&["routes"]).succeeds().stdout();
    assert!(
        table.starts_with("ROUTE") && table.contains("/v1/domains"),
        "{table}"
    );

    let explain = |scopes: &str| {
        home.run(&[
            "explain",
            "GET",
            "/v1/domains/x",
            "--scopes",
            scopes,
            "--format",
            "json",
        ])
    };
    assert_eq!(
        explain("domains:read").succeeds().json()["verdict"],
        "allow"
    );
    let denied = explain("domains:write");
    assert_eq!(
        (denied.code(), &denied.json()["verdict"]),
        (1, &Value::from("deny"))
    );
}

#[test]
fn explain_and_check_know_what_intake_refuses() {
    let home = Home::build();
    let explain = |arguments: &[&str]| {
        let mut all = vec!["explain", "--format", "json"];
        all.extend(arguments);
        home.run(&all).json()
    };
    let status = |arguments: &[&str]| explain(arguments)["status"].as_u64();
    let scopes = ["--scopes", "domains:read"];
    assert_eq!(
        status(&["FOO", "/v1/domains", scopes[0], scopes[1]]),
        Some(501)
    );
    assert_eq!(
        status(&["get", "/v1/domains", scopes[0], scopes[1]]),
        Some(501)
    );
    let host = |host| status(&["GET", "/v1/domains", scopes[0], scopes[1], "--host", host]);
    assert_eq!(
        (host("api.osir.com"), host("other.example")),
        (Some(200), Some(421))
    );
    home.write(
        "gateway.yaml",
        &CONFIG.replace(
            "    upstream: domains
",
            "    upstream: domains
    hosts: [other.example]
",
        ),
    );
    let run = home.run(&["check"]);
    assert_eq!(run.code(), 1);
    assert!(
        run.stderr().contains("no certificate covers other.example"),
        "{run:?}"
    );
}

#[test]
fn routes_and_explain_know_the_session_endpoints() {
    let home = Home::build();
    let (id, key) = home.key();
    let (session, token) = home.session(&id);
    let routes = home.run(&["routes", "--format", "json"]).succeeds().json();
    let own = |path, methods, access| {
        json!({
            "route": "own:sessions", "hosts": "*", "methods": methods, "path": path,
            "access": access, "upstream": "(the gateway itself)",
        })
    };
    let parent = "an API key or access token";
    let either = "what gave the session, or the session";
    assert_eq!(
        routes.as_array().expect("a list")[1..],
        [
            own("/auth/sessions", "DELETE GET POST", parent),
            own("/auth/sessions/{id}", "DELETE GET", either),
            own("/auth/sessions/current", "DELETE GET", "a session token"),
        ]
    );
    let own = format!("/auth/sessions/{session}");
    for (method, path, kind, shown, status, reason) in [
        ("POST", "/auth/sessions", "--key", &key, 200, Value::Null),
        ("PUT", "/auth/sessions", "--key", &key, 405, "method".into()),
        ("GET", &own, "--key", &key, 200, Value::Null),
        ("GET", &own, "--token", &token, 200, Value::Null),
        (
            "GET",
            "/auth/sessions/current",
            "--key",
            &key,
            404,
            "not_found".into(),
        ),
        (
            "DELETE",
            "/auth/sessions/current",
            "--token",
            &token,
            200,
            Value::Null,
        ),
        (
            "POST",
            "/auth/sessions",
            "--token",
            &token,
            403,
            "session_chained".into(),
        ),
        (
            "GET",
            "/auth/sessions/a/b",
            "--key",
            &key,
            404,
            "not_found".into(),
        ),
        (
            "GET",
            "/auth/sessionsx",
            "--key",
            &key,
            404,
            "not_found".into(),
        ),
    ] {
        let explain = ["explain", method, path, kind, "-", "--format", "json"];
        let told = home.run_with_input(&explain, &format!("{shown}\n")).json();
        assert_eq!(
            (&told["status"], &told["reason"]),
            (&status.into(), &reason),
            "{method} {path} {kind}: {told}"
        );
    }
}

/// With an authorization server; the certificates cover its hosts.
fn with_oauth() -> String {
    format!(
        "{CONFIG}access_tokens: [{{ issuer: https://osir.com, builtin: true, audience: https://api.osir.com }}]\n\
         oauth: {{ issuer: https://osir.com }}\n"
    )
}

impl Home {
    /// What would become of a request without a credential.
    fn told(&self, method: &str, path: &str, host: Option<&str>) -> Value {
        let mut explain = vec!["explain", method, path, "--format", "json"];
        explain.extend(host.into_iter().flat_map(|host| ["--host", host]));
        self.run(&explain).json()
    }
}

#[test]
fn every_own_endpoint_is_listed_where_requests_find_it() {
    let home = Home::build();
    let config = with_oauth().replace("admin: off", "admin: unix:data/admin.sock");
    home.write("gateway.yaml", &config);
    let _served = Served::start(&home);
    let routes = home.run(&["routes", "--format", "json"]).succeeds().json();
    let rows: Vec<[String; 4]> = routes
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| ["route", "hosts", "methods", "path"].map(|member| text(&row[member])))
        .filter(|[route, ..]| route.starts_with("own:"))
        .collect();
    for endpoint in Endpoint::ALL {
        let is_listed = rows.iter().any(|[route, ..]| route == endpoint.label());
        // The way back from a login page of the operator's, which is not configured here.
        assert_eq!(is_listed, endpoint != Endpoint::Resume, "{endpoint:?}");
    }
    assert_eq!(
        rows.iter().find(|[route, ..]| route == "own:oauth-token"),
        Some(
            &[
                "own:oauth-token",
                "api.osir.com",
                "POST OPTIONS",
                "/oauth/token"
            ]
            .map(String::from)
        )
    );
    for [route, host, methods, path] in &rows {
        let path = path
            .replace("{interaction}", "int_1")
            .replace("{id}", "ses_1");
        let of = |told: &Value| (told["route"].clone(), told["reason"].clone());
        let host = (host != "*").then_some(host.as_str());
        let reason = match route.as_str() {
            "own:sessions" => Value::from("missing"),
            _ => Value::Null,
        };
        for method in methods.split(' ') {
            let told = of(&home.told(method, &path, host));
            assert_eq!(
                told,
                (route.as_str().into(), reason.clone()),
                "{method} {path}"
            );
        }
        // Whoever asks without a host is told of it all the same.
        let anywhere = of(&home.told(methods.split(' ').next().expect("a method"), &path, None));
        assert_eq!(anywhere.0, route.as_str(), "{path}");
        assert_eq!(of(&home.told("PATCH", &path, host)).1, "method", "{path}");
        if host.is_some() {
            let elsewhere = of(&home.told("GET", &path, Some("api.osir.test")));
            assert_eq!(elsewhere, (Value::Null, "not_found".into()), "{path}");
        }
    }
}

#[test]
fn explain_says_who_answers_an_own_endpoint() {
    let home = Home::build();
    home.write("gateway.yaml", &with_oauth());
    for (method, path, details) in [
        (
            "POST",
            "/oauth/token",
            [
                "own:oauth-token: the gateway's authorization server answers, on api.osir.com only",
                "a client, with its secret if it has one: the endpoint judges that itself",
            ],
        ),
        (
            "GET",
            "/oauth/authorize",
            [
                "own:oauth-authorize: the gateway's authorization server answers, on osir.com only",
                "a browser that a client sent: the endpoint judges that itself",
            ],
        ),
        (
            "GET",
            "/auth/sessions",
            [
                "own:sessions: the gateway's session endpoints answer",
                "it can be sent in a header",
            ],
        ),
    ] {
        let told = home.told(method, path, None);
        let checks = told["checks"].as_array().expect("a list");
        let found: Vec<String> = checks.iter().map(|check| text(&check["detail"])).collect();
        for detail in details {
            assert!(
                found.iter().any(|found| found == detail),
                "{detail}: {told}"
            );
        }
    }
}

#[test]
fn check_refuses_a_route_that_the_authorization_server_hides() {
    let home = Home::build();
    let route = |more: &str| {
        let route = format!(
            "  - {{ name: mine, path: /oauth/token, methods: [POST], {more}access: authenticated, upstream: domains }}\n"
        );
        with_oauth().replace("access_tokens:", &format!("{route}access_tokens:"))
    };
    home.write("gateway.yaml", &route(""));
    let refused = home.run(&["check"]);
    assert_eq!(refused.code(), 78, "{refused:?}");
    let belongs = "`/oauth/token` belongs to the authorization server on api.osir.com";
    assert!(refused.stderr().contains(belongs), "{refused:?}");
    // Where it is not, but whoever takes the one host for the other would send a secret.
    home.write("gateway.yaml", &route("hosts: [osir.com], "));
    let refused = home.run(&["check"]);
    assert_eq!(refused.code(), 78, "{refused:?}");
    let belongs = "`/oauth/token` belongs to the authorization server on osir.com";
    assert!(refused.stderr().contains(belongs), "{refused:?}");
    home.write("gateway.yaml", &route("hosts: [api.osir.test], "));
    home.run(&["check"]).succeeds();
    // And there it is the route's.
    let told = home.told("POST", "/oauth/token", Some("api.osir.test"));
    assert_eq!(
        (&told["route"], &told["reason"]),
        (&json!("mine"), &json!("missing"))
    );
}

/// A request that misses an endpoint is told of as what it is, before any route.
#[test]
fn explain_says_that_what_misses_an_endpoint_is_nobodys() {
    let home = Home::build();
    let rest = "  - { name: rest, prefix: /, methods: [POST], access: authenticated, upstream: domains }\n";
    let config = with_oauth().replace("access_tokens:", &format!("{rest}access_tokens:"));
    home.write("gateway.yaml", &config);
    for (host, path, route, reason) in [
        (Some("osir.com"), "/oauth/token", Value::Null, "not_found"),
        (
            Some("api.osir.com"),
            "/oauth/token/",
            Value::Null,
            "not_found",
        ),
        (
            Some("api.osir.com"),
            "/oauth/interaction/x/y",
            Value::Null,
            "not_found",
        ),
        (None, "/oauth/token/", Value::Null, "not_found"),
        (
            Some("api.osir.com"),
            "/oauth/tokens",
            json!("rest"),
            "missing",
        ),
        (
            Some("api.osir.test"),
            "/oauth/token",
            json!("rest"),
            "missing",
        ),
    ] {
        let told = home.told("POST", path, host);
        assert_eq!(
            (&told["route"], &told["reason"]),
            (&route, &json!(reason)),
            "{host:?}{path}: {told}"
        );
    }
}

/// "Last seen" says when an old secret is out of use: whoever asks about it must not move it.
#[test]
fn explain_is_no_use_of_a_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(folder.path());
    let manage = |arguments: &[&str]| manage(&dev, folder.path(), arguments).succeeds().json();
    let rotated = |which: &str| {
        let id = text(&dev.ready["keys"][which]["id"]);
        let rotated = manage(&["key", "rotate", &id]);
        (id, text(&rotated["key"]))
    };
    let last_seen = |id: &str| manage(&["key", "show", id])["rotation"]["last_seen"].clone();
    let ((asked, asked_key), (used, used_key)) = (rotated("read_only"), rotated("full"));
    let told = manage(&["explain", "GET", "/v1/domains", "--key", &asked_key]);
    assert_eq!(told["verdict"], "allow");
    let request = format!(
        "curl -K .portcullis/curl.conf https://api.osir.com/v1/domains -H 'X-API-Key: {used_key}'"
    );
    let bash = Command::new("bash")
        .args(["-c", &request])
        .current_dir(folder.path())
        .output();
    assert!(bash.expect("bash").status.success());
    // Sights are told in the order in which they are noted.
    eventually(|| (!last_seen(&used).is_null()).then_some(()));
    assert_eq!(last_seen(&asked), Value::Null);
    dev.stop();
}
