//! Sessions in cookies: what sets them, what they open, what other sites' pages cannot do with them,
//! and what upstreams see of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};

use portcullis::policy::{ExplainCredential, ExplainRequest};
use portcullis::secret::Secret;

use crate::support::{
    Answer, FORBIDDEN, Gateway, REDIS_PASSWORD, RedisServer, Reply, Setup, UNAUTHORIZED, Upstream,
    change_pepper, eventually,
};

const NAME: &str = "__Host-osir_session";
const OWN: &str = "https://api.osir.com";
const APP: &str = "https://app.osir.com";
const EVIL: &str = "https://evil.example";
/// What a page of the gateway's own origin has its browser say.
const FROM_OWN_PAGE: &str = "sec-fetch-site: same-origin\r\n";
const CLEARED: &str = "__Host-osir_session=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0";
const METHODS: [&str; 7] = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"];

/// The seed's routes, one that takes every method, and a public one, with sessions in cookies.
fn setup(upstream: &Upstream) -> Setup {
    Setup::before(upstream.address)
        .routes(
            "  - { name: all, prefix: /all, methods: [GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE], \
             access: { scopes: [domains:read] }, upstream: domains }\n  - { name: open, prefix: \
             /open, methods: [GET, POST], access: { public: a test }, upstream: domains }\n",
        )
        .extra("sessions: { cookie: { origins: [https://app.osir.com] } }\n")
}

/// A session in a cookie, as the browser and its page have it.
struct Login {
    token: String,
    csrf: String,
    id: String,
}

impl Login {
    fn cookie(&self) -> String {
        format!("cookie: {NAME}={}\r\n", self.token)
    }

    fn csrf(&self) -> String {
        format!("x-csrf-token: {}\r\n", self.csrf)
    }

    /// From a page of ours.
    fn proven(&self) -> String {
        format!("{}{}{FROM_OWN_PAGE}", self.cookie(), self.csrf())
    }
}

fn send(gateway: &Gateway, method: &str, path: &str, lines: &str) -> Answer {
    gateway.send(format!(
        "{method} {path} HTTP/1.1\r\nhost: api.osir.com\r\n{lines}\r\n"
    ))
}

fn post(gateway: &Gateway, lines: &str, body: &Value) -> Answer {
    let body = body.to_string();
    gateway.send(format!(
        "POST /auth/sessions HTTP/1.1\r\nhost: api.osir.com\r\n{lines}content-type: \
         application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ))
}

fn bearer(credential: &str) -> String {
    format!("authorization: Bearer {credential}\r\n")
}

fn login(gateway: &Gateway, key: &str) -> Login {
    let answer = post(gateway, &bearer(key), &json!({ "cookie": true }));
    assert_eq!(answer.status, 201, "{answer:?}");
    login_of(&answer)
}

fn login_of(answer: &Answer) -> Login {
    let cookie = answer.header("set-cookie").expect("a cookie");
    let value = cookie.strip_prefix(NAME).expect("its name");
    let value = value.strip_prefix('=').expect("its value");
    let given: Value = serde_json::from_str(&answer.body).expect("JSON");
    let text = |name: &str| given[name].as_str().expect("text").to_owned();
    Login {
        token: value.split(';').next().expect("a value").to_owned(),
        csrf: text("csrf_token"),
        id: text("session_id"),
    }
}

fn refused(answer: &Answer, what: &str) {
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (403, FORBIDDEN),
        "{what}"
    );
    assert_eq!(answer.header("www-authenticate"), None, "{what}");
    assert_eq!(answer.header("set-cookie"), None, "{what}");
}

#[test]
fn a_session_in_a_cookie_is_given_used_shown_and_ended_on_either_store() {
    let upstream = Upstream::start();
    let redis = RedisServer::start();
    let mut on_redis = setup(&upstream);
    on_redis.store = format!(
        "redis: {{ url: \"{}\", password: {REDIS_PASSWORD} }}",
        redis.url()
    );
    for setup in [setup(&upstream), on_redis] {
        let gateway = setup.start();
        let (_, key) = gateway.key(&["domains:read", "domains:write"]);
        let body =
            json!({ "cookie": true, "ttl": 900, "label": "a page", "scopes": ["domains:read"] });
        let answer = post(&gateway, &bearer(&key), &body);
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        let session = login_of(&answer);
        assert_eq!(
            answer.header("set-cookie"),
            Some(
                format!(
                    "{NAME}={}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=900",
                    session.token
                )
                .as_str()
            )
        );
        assert!(
            session.token.starts_with("osir_csess_") && session.token.len() == 11 + 49,
            "{}",
            session.token
        );
        assert!(!answer.body.contains(&session.token));
        let given: Value = serde_json::from_str(&answer.body).expect("JSON");
        let members: BTreeSet<&str> = given
            .as_object()
            .expect("an object")
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(
            members,
            BTreeSet::from([
                "allowed_ips",
                "created_at",
                "csrf_token",
                "ended_at",
                "expires_at",
                "expires_in",
                "hint",
                "idle_timeout",
                "label",
                "scopes",
                "session_id",
            ])
        );
        assert_eq!(given["expires_in"], 900);

        let before = upstream.received().len();
        assert_eq!(gateway.get(&session.cookie()).status, 200);
        assert_eq!(
            send(&gateway, "POST", "/all/x", &session.proven()).status,
            200
        );
        // What it may is what the session may.
        refused_for_scope(&send(&gateway, "DELETE", "/v1/domains", &session.proven()));
        let received = &upstream.received()[before..];
        assert_eq!(received.len(), 2);
        for request in received {
            assert_eq!(request.values("x-auth-method"), ["session"]);
            assert_eq!(
                request.values("x-auth-credential-id"),
                [session.id.as_str()]
            );
            assert_eq!(request.values("x-auth-scopes"), ["domains:read"]);
            assert!(request.values("cookie").is_empty());
            assert!(request.values("x-csrf-token").is_empty());
        }

        // A page that was loaded anew has the cookie only.
        let current = send(&gateway, "GET", "/auth/sessions/current", &session.cookie());
        let seen: Value = serde_json::from_str(&current.body).expect("JSON");
        assert_eq!(seen["csrf_token"], session.csrf.as_str());
        assert_eq!(seen["session_id"], session.id.as_str());
        assert_eq!(current.header("access-control-allow-origin"), None);
        assert!(!current.body.contains(&session.token));
        // Its parent sees it, without what the page needs.
        let one = format!("/auth/sessions/{}", session.id);
        let by_parent = send(&gateway, "GET", &one, &bearer(&key));
        assert!(
            by_parent.status == 200 && !by_parent.body.contains("csrf"),
            "{by_parent:?}"
        );

        let unproven = send(
            &gateway,
            "DELETE",
            "/auth/sessions/current",
            &session.cookie(),
        );
        refused(&unproven, "an end without proof");
        let ended = send(
            &gateway,
            "DELETE",
            "/auth/sessions/current",
            &session.proven(),
        );
        assert_eq!(
            (ended.status, ended.header("set-cookie")),
            (204, Some(CLEARED))
        );
        let dead = eventually("it is refused", || {
            let answer = gateway.get(&session.cookie());
            (answer.status == 401).then_some(answer)
        });
        assert_eq!(dead.body, UNAUTHORIZED);
        assert!(
            dead.header("www-authenticate")
                .is_some_and(|it| it.contains("invalid_token"))
        );
        // It may be the answer to an older request than the one that set the browser's cookie.
        assert_eq!(dead.header("set-cookie"), None);
    }
}

fn refused_for_scope(answer: &Answer) {
    assert_eq!((answer.status, answer.body.as_str()), (403, FORBIDDEN));
    let challenge = answer.header("www-authenticate").expect("a challenge");
    assert!(challenge.contains("insufficient_scope"), "{challenge}");
}

/// What the rules say, told in another way than the gateway does.
fn is_allowed(method: &str, site: Option<&str>, origin: Option<&str>, token: Token) -> bool {
    let safe = ["GET", "HEAD", "OPTIONS"].contains(&method);
    let configured = origin == Some(APP);
    match (safe, site) {
        (true, None) => origin.is_none() || configured || origin == Some(OWN),
        (true, Some("same-origin" | "none" | "same-site")) => true,
        (true, Some(_)) => configured,
        (false, None) => (configured || origin == Some(OWN)) && token == Token::Right,
        (false, Some("same-origin" | "none")) => token == Token::Right,
        (false, Some(_)) => configured && token == Token::Right,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Absent,
    OfAnotherSession,
    Right,
    Wrong,
}

#[test]
fn no_page_of_another_site_can_use_the_cookie() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).start();
    let (_, key) = gateway.key(&["domains:read"]);
    let (session, other) = (login(&gateway, &key), login(&gateway, &key));
    let sites = [
        None,
        Some("same-origin"),
        Some("none"),
        Some("same-site"),
        Some("cross-site"),
        Some("Same-Origin"),
        Some(""),
    ];
    let origins = [
        None,
        Some(OWN),
        Some(APP),
        Some(EVIL),
        Some("null"),
        Some("http://api.osir.com"),
        Some("https://api.osir.com:8443"),
        Some("https://app.osir.com.evil.example"),
        Some("*"),
    ];
    let tokens = [
        Token::Absent,
        Token::OfAnotherSession,
        Token::Right,
        Token::Wrong,
    ];
    let (mut allowed, mut denied) = (0, 0);
    let mut client = gateway.tls.connect();
    for method in METHODS {
        for site in sites {
            for origin in origins {
                for token in tokens {
                    let line = |name: &str, value: Option<&str>| {
                        value.map_or(String::new(), |value| format!("{name}: {value}\r\n"))
                    };
                    let shown = match token {
                        Token::Absent => None,
                        Token::OfAnotherSession => Some(other.csrf.as_str()),
                        Token::Right => Some(session.csrf.as_str()),
                        Token::Wrong => Some(&session.csrf[1..]),
                    };
                    client.send(format!(
                        "{method} /all HTTP/1.1\r\nhost: api.osir.com\r\n{}{}{}{}\r\n",
                        session.cookie(),
                        line("sec-fetch-site", site),
                        line("origin", origin),
                        line("x-csrf-token", shown),
                    ));
                    let answer = match method {
                        "HEAD" => client.head_answer(),
                        _ => client.answer(),
                    };
                    let what = format!("{method} {site:?} {origin:?} {token:?}");
                    if is_allowed(method, site, origin, token) {
                        assert_eq!(answer.status, 200, "{what}");
                        allowed += 1;
                    } else {
                        assert_eq!(answer.status, 403, "{what}");
                        if method != "HEAD" {
                            refused(&answer, &what);
                        }
                        denied += 1;
                    }
                }
            }
        }
    }
    assert!(allowed > 100 && denied > 100, "{allowed} {denied}");
    assert_eq!(upstream.received().len(), allowed);
    let count = |series: &str| gateway.metric(series) as usize;
    assert_eq!(
        count(r#"portcullis_authorization_denied_total{reason="csrf",route="all"}"#),
        denied
    );
    // What was refused was no use of the session: it was not even looked up.
    assert_eq!(
        count(
            r#"portcullis_authentications_total{kind="session",outcome="accepted",reason="none"}"#
        ),
        allowed
    );
    let folder = gateway.stop();
    let log = std::fs::read_to_string(folder.path().join("access.log")).expect("a log");
    assert_eq!(log.matches(r#""reason":"csrf""#).count(), denied);
}

#[test]
fn a_link_on_another_site_opens_a_page_and_nothing_else() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).start();
    let (_, key) = gateway.key(&["domains:read"]);
    let session = login(&gateway, &key);
    for (method, mode, dest, status) in [
        ("GET", "navigate", "document", 200),
        ("GET", "navigate", "iframe", 403),
        ("GET", "no-cors", "document", 403),
        ("GET", "no-cors", "image", 403),
        ("GET", "cors", "empty", 403),
        ("POST", "navigate", "document", 403),
        ("OPTIONS", "navigate", "document", 403),
    ] {
        let lines = format!(
            "{}sec-fetch-site: cross-site\r\nsec-fetch-mode: {mode}\r\nsec-fetch-dest: {dest}\r\n",
            session.cookie()
        );
        let answer = send(&gateway, method, "/all", &lines);
        assert_eq!(answer.status, status, "{method} {mode} {dest}");
    }
    assert_eq!(upstream.received().len(), 1);
}

#[test]
fn a_field_that_is_said_twice_says_nothing_and_an_upgrade_is_not_safe() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).start();
    let (_, key) = gateway.key(&["domains:read"]);
    let session = login(&gateway, &key);
    for lines in [
        format!("{}{FROM_OWN_PAGE}", session.proven()),
        format!("{}{}", session.proven(), session.csrf()),
        format!("{}origin: {OWN}\r\norigin: {OWN}\r\n", session.proven()),
    ] {
        refused(&send(&gateway, "POST", "/all", &lines), &lines);
    }
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\n";
    for (lines, status) in [
        (format!("{}{upgrade}", session.cookie()), 403),
        (format!("{}{upgrade}{FROM_OWN_PAGE}", session.cookie()), 403),
        (
            format!("{}{upgrade}origin: {OWN}\r\n", session.cookie()),
            403,
        ),
        (format!("{}{upgrade}", session.proven()), 200),
    ] {
        assert_eq!(
            send(&gateway, "GET", "/all", &lines).status,
            status,
            "{lines}"
        );
    }
    assert_eq!(upstream.received().len(), 1);
}

#[test]
fn a_credential_in_a_header_beats_the_cookie_and_each_token_works_in_its_place() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).start();
    let (_, key) = gateway.key(&["domains:read"]);
    let session = login(&gateway, &key);
    let given: Value =
        serde_json::from_str(&post(&gateway, &bearer(&key), &json!({})).body).expect("JSON");
    let token = given["session_token"].as_str().expect("a token");
    let cookie = session.cookie();
    let dead = format!("{}x", &key[..key.len() - 1]);
    for (what, lines, status) in [
        (
            "a good key beside it",
            format!("{cookie}x-api-key: {key}\r\n"),
            200,
        ),
        (
            "a bad key beside it",
            format!("{cookie}{}", bearer(&dead)),
            401,
        ),
        (
            "another scheme",
            format!("{cookie}authorization: Basic YTpi\r\n"),
            401,
        ),
        (
            "a broken header",
            format!("{cookie}authorization: Bearer\r\n"),
            400,
        ),
        (
            "two of it, ignored",
            format!("{cookie}{cookie}{}", bearer(&key)),
            200,
        ),
        ("its token as bearer", bearer(&session.token), 401),
        (
            "its token as a key",
            format!("x-api-key: {}\r\n", session.token),
            401,
        ),
        (
            "a bearer session in it",
            format!("cookie: {NAME}={token}\r\n"),
            401,
        ),
        ("a key in it", format!("cookie: {NAME}={key}\r\n"), 401),
        ("a JWT in it", format!("cookie: {NAME}=a.b.c\r\n"), 401),
        ("nothing in it", format!("cookie: {NAME}=\r\n"), 401),
        (
            "quotes around it",
            format!("cookie: {NAME}=\"{}\"\r\n", session.token),
            401,
        ),
        (
            "a damaged token",
            format!("cookie: {NAME}={}x\r\n", session.token),
            401,
        ),
        (
            "another name",
            format!("cookie: osir_session={}\r\n", session.token),
            401,
        ),
        (
            "another case",
            format!("cookie: __host-osir_session={}\r\n", session.token),
            401,
        ),
        ("nothing at all", String::new(), 401),
    ] {
        let answer = gateway.get(&lines);
        assert_eq!(answer.status, status, "{what}: {answer:?}");
    }
    let received = upstream.received();
    assert_eq!(received.len(), 2);
    for request in &received {
        assert_eq!(request.values("x-auth-method"), ["api_key"]);
        assert!(
            request.values("cookie").is_empty(),
            "stripped although ignored"
        );
    }
    // The header's credential needs no proof: no browser adds it by itself.
    let lines = format!("{cookie}{}sec-fetch-site: cross-site\r\n", bearer(&key));
    assert_eq!(send(&gateway, "POST", "/all", &lines).status, 200);
    let answer = send(
        &gateway,
        "POST",
        "/all",
        &format!("cookie: {NAME}=x\r\n{FROM_OWN_PAGE}"),
    );
    assert_eq!((answer.status, answer.body.as_str()), (401, UNAUTHORIZED));
}

#[test]
fn the_cookie_twice_is_400() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).start();
    let (_, key) = gateway.key(&["domains:read"]);
    let (one, other) = (login(&gateway, &key), login(&gateway, &key));
    let lines = [
        format!("cookie: {NAME}={}; {NAME}={}\r\n", one.token, one.token),
        format!(
            "cookie: {NAME}={}; a=b; {NAME}={}\r\n",
            one.token, other.token
        ),
        format!("{}{}", one.cookie(), other.cookie()),
        format!("cookie: {NAME}={}; {NAME}\r\n", one.token),
        format!("cookie: ={NAME}=x; {NAME}={}\r\n", one.token),
    ];
    for lines in &lines {
        let answer = gateway.get(lines);
        assert_eq!(answer.status, 400, "{lines}");
        assert_eq!(
            answer.body,
            r#"{"error":"bad_request","message":"The request is malformed or ambiguous"}"#
        );
        assert_eq!(
            answer.header("www-authenticate"),
            Some(r#"Bearer error="invalid_request""#)
        );
    }
    assert_eq!(upstream.received().len(), 0);
    let folder = gateway.stop();
    let log = std::fs::read_to_string(folder.path().join("access.log")).expect("a log");
    assert_eq!(
        log.matches(r#""reason":"session_cookie_repeated""#).count(),
        lines.len()
    );
}

#[test]
fn upstreams_see_every_other_cookie_byte_for_byte() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream)
        .upstream(&format!(
            "{{ endpoints: [http://{}], forward_credential: true }}",
            upstream.address
        ))
        .start();
    let (_, key) = gateway.key(&["domains:read"]);
    let session = login(&gateway, &key);
    let own = format!("{NAME}={}", session.token);
    let cases = [
        (format!("cookie: a=1; {own}; b=2\r\n"), vec!["a=1; b=2"]),
        (
            format!("cookie: {own}; a=1; b=\"2\"\r\n"),
            vec!["a=1; b=\"2\""],
        ),
        (
            format!("cookie: a=1; b=%20;c=; {own}\r\n"),
            vec!["a=1; b=%20;c="],
        ),
        (format!("cookie: a=1;{own};b=2\r\n"), vec!["a=1;b=2"]),
        (format!("cookie: {own}\r\n"), vec![]),
        (format!("cookie: {own};\r\n"), vec![]),
        (
            format!("cookie: a=1\r\ncookie: {own}\r\ncookie: b=2; c=3\r\n"),
            vec!["a=1; b=2; c=3"],
        ),
        (format!("cookie: {own}\r\ncookie: a=1\r\n"), vec!["a=1"]),
        (
            format!("cookie: __Host-osir_session2=1; {own}\r\n"),
            vec!["__Host-osir_session2=1"],
        ),
    ];
    for (lines, seen) in &cases {
        let before = upstream.received().len();
        // By the cookie, by a header that won, and on a route where nobody looks.
        assert_eq!(gateway.get(lines).status, 200, "{lines}");
        let beside = format!("{lines}{}x-csrf-token: {}\r\n", bearer(&key), session.csrf);
        assert_eq!(gateway.get(&beside).status, 200, "{lines}");
        assert_eq!(send(&gateway, "GET", "/open", lines).status, 200, "{lines}");
        for request in &upstream.received()[before..] {
            assert_eq!(&request.values("cookie"), seen, "{lines}");
            assert!(!request.head.contains(&session.token));
            assert!(request.values("x-csrf-token").is_empty());
        }
    }
    // Two of them, where a header won.
    assert_eq!(
        gateway
            .get(&format!("cookie: {own}; a=1; {own}\r\n{}", bearer(&key)))
            .status,
        200
    );
    let last = upstream.received().pop().expect("a request");
    assert_eq!(last.values("cookie"), ["a=1"]);
}

#[test]
fn an_upstream_cannot_set_or_clear_the_cookie() {
    let upstream = Upstream::scripted(|_, _| {
        Reply::Bytes(
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nset-cookie: a=1; Path=/\r\nset-cookie: \
              __Host-osir_session=osir_csess_x; Path=/; Secure\r\nset-cookie: b=2\r\n\r\n"
                .to_vec(),
        )
    });
    let gateway = setup(&upstream).start();
    let (_, key) = gateway.key(&["domains:read"]);
    let session = login(&gateway, &key);
    let answer = gateway.get(&session.cookie());
    let set: Vec<&str> = answer
        .headers
        .iter()
        .filter(|(name, _)| name == "set-cookie")
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(set, ["a=1; Path=/", "b=2"]);
}

#[test]
fn without_the_mode_cookies_pass_untouched_and_open_nothing() {
    let upstream = Upstream::scripted(|_, _| {
        Reply::Bytes(
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nset-cookie: __Host-osir_session=x\r\n\r\n"
                .to_vec(),
        )
    });
    // The session is from before the mode was switched off.
    let gateway = setup(&upstream).start();
    let (_, key) = gateway.key(&["domains:read"]);
    let session = login(&gateway, &key);
    let folder = gateway.stop();
    let gateway = Gateway::start_in(folder, &Setup::before(upstream.address).yaml());
    for lines in [session.cookie(), session.proven(), bearer(&session.token)] {
        assert_eq!(gateway.get(&lines).status, 401, "{lines}");
    }
    let wished = post(&gateway, &bearer(&key), &json!({ "cookie": true }));
    assert_eq!((wished.status, wished.header("set-cookie")), (400, None));
    assert_eq!(
        post(&gateway, &bearer(&key), &json!({ "cookie": false })).status,
        201
    );
    for (lines, seen) in [
        (
            format!("cookie: a=1; {NAME}=x;  b\r\n"),
            format!("a=1; {NAME}=x;  b"),
        ),
        (
            format!("cookie: {NAME}=x; {NAME}=y\r\n"),
            format!("{NAME}=x; {NAME}=y"),
        ),
    ] {
        let lines = format!("{lines}x-csrf-token: theirs\r\n{}", bearer(&key));
        let answer = gateway.get(&lines);
        assert_eq!(answer.header("set-cookie"), Some("__Host-osir_session=x"));
        let received = upstream.received().pop().expect("a request");
        assert_eq!(received.values("cookie"), [seen]);
        assert_eq!(received.values("x-csrf-token"), ["theirs"]);
    }
}

#[test]
fn each_cookie_is_a_session_made_anew_for_a_page_of_ours() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).start();
    let (_, key) = gateway.key(&["domains:read"]);
    let first = login(&gateway, &key);
    // What the browser had before is not taken over.
    let again = post(
        &gateway,
        &format!("{}{}", first.cookie(), bearer(&key)),
        &json!({ "cookie": true }),
    );
    let second = login_of(&again);
    assert!(first.token != second.token && first.csrf != second.csrf && first.id != second.id);
    // A session gives none, however it is shown.
    for body in [json!({ "cookie": true }), json!({})] {
        refused(
            &post(&gateway, &first.proven(), &body),
            "a session of a session",
        );
        refused(&post(&gateway, &first.cookie(), &body), "and without proof");
    }
    // Someone else's page would log its visitor in as somebody else.
    for lines in [
        "sec-fetch-site: cross-site\r\n".to_owned(),
        "sec-fetch-site: same-site\r\n".to_owned(),
        format!("origin: {EVIL}\r\n"),
        format!("origin: {EVIL}\r\nsec-fetch-site: cross-site\r\n"),
    ] {
        let lines = format!("{lines}{}", bearer(&key));
        refused(&post(&gateway, &lines, &json!({ "cookie": true })), &lines);
        assert_eq!(post(&gateway, &lines, &json!({})).status, 201, "{lines}");
    }
    assert_eq!(
        gateway
            .metric(r#"portcullis_authorization_denied_total{reason="csrf",route="own:sessions"}"#),
        6.0
    );
    for lines in [FROM_OWN_PAGE.to_owned(), format!("origin: {OWN}\r\n")] {
        let lines = format!("{lines}{}", bearer(&key));
        let answer = post(&gateway, &lines, &json!({ "cookie": true }));
        assert_eq!(answer.status, 201, "{lines}");
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    for body in [
        json!({ "cookie": "yes" }),
        json!({ "cookie": null }),
        json!({ "cookies": true }),
    ] {
        assert_eq!(post(&gateway, &bearer(&key), &body).status, 400, "{body}");
    }
}

#[test]
fn pages_of_a_configured_origin_may_read_and_others_are_told_nothing() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).start();
    let (_, key) = gateway.key(&["domains:read"]);
    let from_app = format!("origin: {APP}\r\nsec-fetch-site: same-site\r\n");
    let preflight = format!("{from_app}access-control-request-method: POST\r\n");
    let asked = send(&gateway, "OPTIONS", "/auth/sessions", &preflight);
    assert_eq!(asked.status, 204);
    assert_eq!(
        asked.header("access-control-allow-methods"),
        Some("DELETE, GET, POST")
    );
    assert_eq!(
        asked.header("access-control-allow-headers"),
        Some("authorization, content-type, x-csrf-token")
    );
    let given = post(
        &gateway,
        &format!("{from_app}{}", bearer(&key)),
        &json!({ "cookie": true }),
    );
    assert_eq!(given.status, 201);
    let session = login_of(&given);
    let current = "/auth/sessions/current";
    let shown = send(
        &gateway,
        "GET",
        current,
        &format!("{from_app}{}", session.cookie()),
    );
    assert!(shown.status == 200 && shown.body.contains(&session.csrf));
    let unproven = send(
        &gateway,
        "DELETE",
        current,
        &format!("{from_app}{}", session.cookie()),
    );
    assert_eq!((unproven.status, unproven.body.as_str()), (403, FORBIDDEN));
    let unknown = send(&gateway, "GET", current, &from_app);
    assert_eq!(unknown.status, 401);
    let lines = format!("{from_app}{}{}", session.cookie(), session.csrf());
    let ended = send(&gateway, "DELETE", current, &lines);
    assert_eq!(
        (ended.status, ended.header("set-cookie")),
        (204, Some(CLEARED))
    );
    for answer in [&asked, &given, &shown, &unproven, &unknown, &ended] {
        assert_eq!(
            answer.header("access-control-allow-origin"),
            Some(APP),
            "{answer:?}"
        );
        assert_eq!(
            answer.header("access-control-allow-credentials"),
            Some("true")
        );
        assert_eq!(answer.header("vary"), Some("Origin"));
    }
    for origin in [EVIL, OWN, "null", "*", "https://app.osir.com:443"] {
        let lines = format!("origin: {origin}\r\naccess-control-request-method: POST\r\n");
        let asked = send(&gateway, "OPTIONS", "/auth/sessions", &lines);
        assert_eq!(asked.status, 405, "{origin}");
        let listed = format!("origin: {origin}\r\n{}", bearer(&key));
        let listed = send(&gateway, "GET", "/auth/sessions", &listed);
        assert_eq!(listed.status, 200);
        for answer in [&asked, &listed] {
            let cors = answer
                .headers
                .iter()
                .find(|(name, _)| name.starts_with("access-control"));
            assert_eq!(cors, None, "{origin}");
        }
    }
}

#[test]
fn a_page_outlives_a_change_of_the_pepper() {
    let upstream = Upstream::start();
    let mut setup = setup(&upstream);
    let gateway = setup.start();
    let (_, key) = gateway.key(&["domains:read"]);
    let session = login(&gateway, &key);
    let folder = gateway.stop();
    change_pepper(folder.path());
    setup.credentials = ", previous_pepper: { file: old-pepper }".into();
    let gateway = Gateway::start_in(folder, &setup.yaml());
    assert_eq!(
        send(&gateway, "POST", "/all", &session.proven()).status,
        200
    );
    // Loaded anew, it gets the token of the current pepper.
    let current = send(&gateway, "GET", "/auth/sessions/current", &session.cookie());
    let seen: Value = serde_json::from_str(&current.body).expect("JSON");
    let csrf = seen["csrf_token"].as_str().expect("a token");
    assert_ne!(csrf, session.csrf);
    let lines = format!(
        "{}x-csrf-token: {csrf}\r\n{FROM_OWN_PAGE}",
        session.cookie()
    );
    assert_eq!(send(&gateway, "POST", "/all", &lines).status, 200);
}

#[test]
fn neither_the_cookie_nor_its_token_is_kept_or_told_anywhere() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).start();
    let (_, key) = gateway.key(&["domains:read"]);
    let session = login(&gateway, &key);
    let mut told = String::new();
    for (method, path, lines) in [
        ("GET", "/all", session.cookie()),
        ("POST", "/all", session.cookie()),
        ("POST", "/all", session.proven()),
        (
            "GET",
            "/all",
            format!("{}{}", session.cookie(), session.cookie()),
        ),
        ("GET", "/all", bearer(&session.token)),
        ("GET", "/nowhere", session.proven()),
        ("PUT", "/auth/sessions/current", session.proven()),
        ("DELETE", "/auth/sessions/current", session.proven()),
        ("DELETE", "/auth/sessions/current", session.proven()),
    ] {
        told += &format!("{:?}", send(&gateway, method, path, &lines));
    }
    let path = format!("/all/{}", session.token);
    told += &format!("{:?}", send(&gateway, "GET", &path, &session.cookie()));
    told += &gateway.vitals("/metrics").body;
    let folder = gateway.stop();
    let read = |name: &str| std::fs::read(folder.path().join(name)).expect("there");
    let places = [
        ("the answers", told.into_bytes()),
        ("the access log", read("access.log")),
        ("the audit log", read("audit.jsonl")),
        ("the store", read("store.redb")),
    ];
    for (place, bytes) in places {
        assert!(!bytes.is_empty(), "{place}");
        let body = session.token.rsplit('_').next().expect("a body");
        for secret in [body, &session.csrf] {
            let found = bytes
                .windows(secret.len())
                .any(|part| part == secret.as_bytes());
            assert!(!found, "a secret is in {place}");
        }
    }
}

#[test]
fn explain_reads_its_token_as_a_cookie() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).start();
    let (_, key) = gateway.key(&["domains:read"]);
    let session = login(&gateway, &key);
    let request = ExplainRequest {
        method: "GET".into(),
        path: "/v1/domains".into(),
        host: None,
        address: None,
        credential: ExplainCredential::Token(Secret::new(session.token.clone())),
    };
    let answer = gateway
        .operate(async |admin| admin.explain(&request).await)
        .expect("explained");
    assert_eq!(answer["verdict"], "allow", "{answer}");
    let text = answer.to_string();
    assert!(
        text.contains("csrf: ") && text.contains(&session.id) && !text.contains(&session.token)
    );
}

/// What browsers speak.
struct Http2(h2::client::SendRequest<Bytes>);

impl Http2 {
    async fn connect(gateway: &Gateway) -> Http2 {
        let mut config = (*gateway.tls.config).clone();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let tcp = tokio::net::TcpStream::connect(gateway.tls.address)
            .await
            .expect("it listens");
        let name = ServerName::try_from("api.osir.com").expect("a name");
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let tls = connector.connect(name, tcp).await.expect("a handshake");
        let (sender, connection) = h2::client::handshake(tls).await.expect("settings");
        tokio::spawn(connection);
        Http2(sender)
    }

    /// Its status, its fields and its body.
    async fn send(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &str,
    ) -> (u16, HeaderMap, String) {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{OWN}{path}"));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a request");
        let mut ready = self.0.clone().ready().await.expect("open");
        let (response, mut stream) = ready.send_request(request, body.is_empty()).expect("sent");
        if !body.is_empty() {
            let body = Bytes::copy_from_slice(body.as_bytes());
            stream.send_data(body, true).expect("sent");
        }
        let response = response.await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let (mut body, mut bytes) = (response.into_body(), Vec::new());
        while let Some(piece) = body.data().await {
            bytes.extend_from_slice(&piece.expect("a piece"));
        }
        (status, headers, String::from_utf8(bytes).expect("UTF-8"))
    }
}

#[test]
fn over_http_2_it_is_the_same_cookie_in_crumbs() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).start();
    let (_, key) = gateway.key(&["domains:read"]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let client = Http2::connect(&gateway).await;
        let key = format!("Bearer {key}");
        let json = ("content-type", "application/json");
        let fields = [
            ("authorization", key.as_str()),
            json,
            ("sec-fetch-site", "same-origin"),
        ];
        let (status, headers, body) = client
            .send("POST", "/auth/sessions", &fields, r#"{"cookie":true}"#)
            .await;
        assert_eq!(status, 201, "{body}");
        let answer = Answer {
            status,
            headers: headers
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_str().expect("ASCII").to_owned()))
                .collect(),
            body,
        };
        let session = login_of(&answer);
        let own = format!("{NAME}={}", session.token);
        let (own, csrf) = (
            ("cookie", own.as_str()),
            ("x-csrf-token", session.csrf.as_str()),
        );
        let (a, b, ours) = (
            ("cookie", "a=1"),
            ("cookie", "b=2"),
            ("sec-fetch-site", "same-origin"),
        );

        for (method, fields, status) in [
            ("GET", vec![a, own, b], 200),
            ("POST", vec![a, own, b, csrf, ours], 200),
            ("POST", vec![a, own, csrf], 403),
            ("POST", vec![a, own, ours], 403),
            (
                "POST",
                vec![a, own, csrf, ("sec-fetch-site", "cross-site")],
                403,
            ),
            ("POST", vec![a, own, csrf, ("origin", OWN)], 200),
            ("POST", vec![a, own, csrf, ("origin", EVIL)], 403),
            ("GET", vec![own, a, own], 400),
            ("GET", vec![own, ("authorization", "Bearer nothing")], 401),
        ] {
            let answer = client.send(method, "/all", &fields, "").await;
            assert_eq!(answer.0, status, "{method} {fields:?}: {answer:?}");
        }
        let received = upstream.received();
        let seen: Vec<_> = received.iter().map(|it| it.values("cookie")).collect();
        assert_eq!(seen, [vec!["a=1; b=2"], vec!["a=1; b=2"], vec!["a=1"]]);
        let ended = client
            .send("DELETE", "/auth/sessions/current", &[own, csrf, ours], "")
            .await;
        assert_eq!(ended.0, 204);
        assert_eq!(ended.1["set-cookie"], CLEARED);
    });
}
