//! `/v1/logins`: the forms of questions and answers. The whole way of a login is in
//! `tests/oauth/delegated.rs`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use portcullis::id::{ClientId, InteractionId};
use portcullis::oauth::{LoginChallenge, LoginMode, LoginPage, OAuthSettings, RefreshSettings};
use portcullis::scope::{Scope, ScopeSet};
use portcullis::secret::{Digest, random_bytes};
use portcullis::store::{
    ClientAuthentication, ClientKind, ClientRecord, ClientSettings, Consent, CreateClient,
    CreateInteraction, DisableClient, GrantType, InteractionRecord, InteractionState, PkceRule,
    SigningAlgorithm, Store,
};
use serde_json::json;
use tokio::net::UnixStream;

use crate::broken_store::BrokenStore;
use crate::house::{House, Raw, exchange, request};

const TEN_MINUTES: Duration = Duration::from_secs(600);

fn settings(login: LoginMode) -> OAuthSettings {
    let scope = |name: &str, words: &str| (Scope::parse(name).expect("a scope"), words.into());
    OAuthSettings {
        issuer: "https://osir.com".into(),
        authorize_host: "osir.com:8443".into(),
        token_host: "api.osir.com".into(),
        resources: vec!["https://api.osir.com".into()],
        access_token_ttl: Duration::from_secs(3600),
        refresh: RefreshSettings {
            idle: Duration::from_secs(3600),
            absolute: Duration::from_secs(3600),
            grace: Duration::ZERO,
        },
        algorithm: SigningAlgorithm::Es256,
        scopes: vec![
            scope("domains:read", "View domains"),
            scope("domains:write", "Manage domains"),
            scope("vps:read", "View servers"),
        ],
        default_scopes: ScopeSet::empty(),
        documentation: None,
        realm: "osir".into(),
        login,
    }
}

fn delegated() -> LoginMode {
    LoginMode::Delegated(LoginPage::parse("https://login.osir.com/").expect("a page"))
}

/// A gateway with delegated login, a client and an interaction of it.
struct Asked {
    house: House,
    challenge: LoginChallenge,
}

impl Asked {
    async fn of(house: House, kind: ClientKind) -> Asked {
        *house.gateway.oauth.lock().expect("no panic") = Some(settings(delegated()));
        let now = house.clock.now();
        let client = client(&house, kind);
        let made = house.store.create_client(client).await;
        assert_eq!(made.expect("it answers"), CreateClient::Created);
        let id = InteractionId::random();
        let challenge = LoginChallenge::of(&id);
        // As the authorize endpoint writes it.
        let request = json!({
            "redirect": "https://yourapp.com/callback", "redirect_was_sent": true, "state": "s",
            "scopes": ["domains:read", "vps:read"], "resource": null, "challenge": null,
            "hints": { "login_hint": "<alice>", "prompt": "login" },
        });
        let record = InteractionRecord {
            id,
            browser: Digest::of_random(&random_bytes::<32>()),
            challenge: Some(challenge.digest()),
            client: client_id(),
            request: request.to_string(),
            created_at: now,
            expires_at: now.plus(TEN_MINUTES),
            state: InteractionState::Open,
        };
        let made = house.store.create_interaction(record).await;
        assert_eq!(made.expect("it answers"), CreateInteraction::Created);
        Asked { house, challenge }
    }

    fn path(&self, rest: &str) -> String {
        format!("/v1/logins/{}{rest}", self.challenge.expose())
    }
}

fn client_id() -> ClientId {
    ClientId::parse("client_1").expect("an id")
}

fn client(house: &House, kind: ClientKind) -> ClientRecord {
    ClientRecord {
        id: client_id(),
        kind,
        settings: ClientSettings {
            name: "Your \"App\"".into(),
            redirects: vec!["https://yourapp.com/callback".into()],
            grants: vec![GrantType::AuthorizationCode],
            scopes: ScopeSet::parse("domains:read domains:write vps:read").expect("scopes"),
            authentication: ClientAuthentication::AnySecret,
            pkce: PkceRule::Optional,
            consent: Consent::Once,
            account: None,
        },
        secrets: Vec::new(),
        rotation: None,
        created_at: house.clock.now(),
        disabled_at: None,
    }
}

/// Something over a socket of its own.
async fn ask(path: &Path, method: &str, target: &str, body: &str) -> Raw {
    let stream = UnixStream::connect(path).await.expect("connects");
    exchange(stream, &request(method, target, "Host: x\r\n", body)).await
}

const YES: &str = r#"{"subject":"alice","account":"acct_1","scopes":["domains:read"],"auth_time":"2026-09-21T14:00:00Z","acr":"mfa","amr":["pwd","otp"]}"#;

#[tokio::test]
async fn a_page_is_told_who_asks_for_what_and_nothing_secret() {
    let asked = Asked::of(House::build(), ClientKind::Confidential).await;
    let (open, _, path) = asked.house.open_socket().await;
    let shown = ask(&path, "GET", &asked.path(""), "").await;
    assert_eq!(shown.status, 200, "{shown:?}");
    let mut expected = json!({
        "client_id": "client_1", "client_name": "Your \"App\"", "client_kind": "confidential",
        "redirect_host": "yourapp.com",
        "scopes": [
            { "name": "domains:read", "description": "View domains" },
            { "name": "vps:read", "description": "View servers" },
        ],
        "resource": null, "consent": "once",
        "hints": { "login_hint": "<alice>", "prompt": "login" },
        "state": "open",
        "created_at": "2026-09-21T14:13:20.123Z", "expires_at": "2026-09-21T14:23:20.123Z",
    });
    assert_eq!(shown.json(), expected);
    assert!(
        shown.head.contains("cache-control: no-store\r\n"),
        "{shown:?}"
    );

    let answered = ask(&path, "POST", &asked.path("/accept"), YES).await;
    assert_eq!(answered.status, 200, "{answered:?}");
    let members = answered.json();
    let back = members["redirect_to"].as_str().expect("a text");
    let id = asked.challenge.interaction();
    let start = format!("https://osir.com:8443/oauth/interaction/{id}/resume?login_verifier=");
    let verifier = back.strip_prefix(&start).expect("the authorize host");
    assert_eq!(verifier.len(), 43);
    assert_eq!(members.as_object().map(serde_json::Map::len), Some(1));
    // Whoever asks again is not told where to go on.
    expected["state"] = "accepted".into();
    let shown = ask(&path, "GET", &asked.path(""), "").await;
    assert_eq!(shown.json(), expected);
    open.close().await;
}

#[tokio::test]
async fn a_public_client_is_asked_for_each_time_and_a_disabled_one_not_at_all() {
    let asked = Asked::of(House::build(), ClientKind::Public).await;
    let (open, _, path) = asked.house.open_socket().await;
    let shown = ask(&path, "GET", &asked.path(""), "").await.json();
    assert_eq!(shown["consent"], "always");
    let now = asked.house.clock.now();
    let disabled = asked.house.store.disable_client(&client_id(), now).await;
    assert!(matches!(disabled, Ok(DisableClient::Disabled(_))));
    for (method, rest, body) in [
        ("GET", "", ""),
        ("POST", "/accept", YES),
        ("POST", "/reject", r#"{"reason":"access_denied"}"#),
    ] {
        let answer = ask(&path, method, &asked.path(rest), body).await;
        assert_eq!(answer.status, 404, "{method} {rest}");
    }
    open.close().await;
}

#[tokio::test]
async fn an_answer_that_cannot_be_taken_is_told_why() {
    let asked = Asked::of(House::build(), ClientKind::Confidential).await;
    let (open, _, path) = asked.house.open_socket().await;
    let accept = |change: serde_json::Value| {
        let mut body: serde_json::Value = serde_json::from_str(YES).expect("JSON");
        let members = body.as_object_mut().expect("an object");
        members.extend(change.as_object().expect("an object").clone());
        body.to_string()
    };
    let too_many = vec!["x"; 17];
    for (change, message) in [
        (
            json!({ "scopes": ["domains:write"] }),
            "scopes: more than the client asks for and may have",
        ),
        (
            json!({ "scopes": ["domains:read", "billing:read"] }),
            "scopes: more than the client asks for and may have",
        ),
        (
            json!({ "scopes": [] }),
            "scopes: at least one; to grant none, reject",
        ),
        (
            json!({ "subject": "client:client_1" }),
            "subject: begins with client:, as what a client does in its own name",
        ),
        (
            json!({ "acr": "a\nb" }),
            "acr: 1 to 128 printable ASCII characters",
        ),
        (
            json!({ "acr": "" }),
            "acr: 1 to 128 printable ASCII characters",
        ),
        (
            json!({ "amr": ["pwd", ""] }),
            "amr: up to 16 texts of 1 to 64 printable ASCII characters",
        ),
        (
            json!({ "amr": too_many }),
            "amr: up to 16 texts of 1 to 64 printable ASCII characters",
        ),
        // A minute ahead is another clock; more is not.
        (
            json!({ "auth_time": "2026-09-21T14:14:21Z" }),
            "auth_time: lies ahead",
        ),
        (
            json!({ "auth_time": "2026-09-21" }),
            "auth_time: a time looks like 2027-01-31T12:00:00Z",
        ),
    ] {
        let answer = ask(&path, "POST", &asked.path("/accept"), &accept(change)).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert_eq!(
            answer.json(),
            json!({ "error": "bad_request", "message": message })
        );
    }
    for (rest, body) in [
        ("/accept", ""),
        ("/accept", "{}"),
        ("/accept", r#"{"subject":"alice"}"#),
        ("/accept", r#"{"subject":"","scopes":["domains:read"]}"#),
        ("/accept", r#"{"subject":"a b","scopes":["domains:read"]}"#),
        (
            "/accept",
            r#"{"subject":"a","scopes":["domains:read"],"remember":true}"#,
        ),
        ("/accept", r#"{"subject":"a","scopes":"domains:read"}"#),
        ("/reject", ""),
        ("/reject", "{}"),
        ("/reject", r#"{"reason":"because"}"#),
        (
            "/reject",
            r#"{"reason":"access_denied","error_description":"x"}"#,
        ),
    ] {
        let answer = ask(&path, "POST", &asked.path(rest), body).await;
        assert_eq!(answer.status, 400, "{rest} {body}: {answer:?}");
    }
    assert!(
        asked.house.audit_lines().await.is_empty(),
        "nothing was taken"
    );
    let shown = ask(&path, "GET", &asked.path(""), "").await.json();
    assert_eq!(shown["state"], "open");
    open.close().await;
}

#[tokio::test]
async fn each_answer_that_was_taken_leaves_one_audit_line() {
    let asked = Asked::of(House::build(), ClientKind::Confidential).await;
    let (open, _, path) = asked.house.open_socket().await;
    for status in [200, 200] {
        let answer = ask(&path, "POST", &asked.path("/accept"), YES).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    let no = r#"{"reason":"login_required"}"#;
    let other = ask(&path, "POST", &asked.path("/reject"), no).await;
    assert_eq!(
        (other.status, other.json()),
        (
            409,
            json!({ "error": "conflict", "message": "this login was answered otherwise" })
        )
    );
    let uid = rustix::process::getuid().as_raw();
    let accepted = json!({
        "time": "2026-09-21T14:13:20.123Z", "event": "login_accept", "actor": "admin_api",
        "uid": uid, "account": "acct_1", "client": "client_1", "subject": "alice",
        "scopes": ["domains:read"], "outcome": "done",
    });
    let lines = asked.house.audit_lines().await;
    assert_eq!(lines, [accepted]);
    assert!(!format!("{lines:?}").contains(asked.challenge.expose()));
    open.close().await;

    let asked = Asked::of(House::build(), ClientKind::Confidential).await;
    let (open, _, path) = asked.house.open_socket().await;
    for _ in 0..2 {
        let answer = ask(&path, "POST", &asked.path("/reject"), no).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let shown = ask(&path, "GET", &asked.path(""), "").await.json();
    assert_eq!(shown["state"], "rejected");
    let rejected = json!({
        "time": "2026-09-21T14:13:20.123Z", "event": "login_reject", "actor": "admin_api",
        "uid": uid, "client": "client_1", "outcome": "done", "reason": "login_required",
    });
    assert_eq!(asked.house.audit_lines().await, [rejected]);
    open.close().await;
}

#[tokio::test]
async fn a_login_is_over_after_ten_minutes_answered_or_not() {
    let asked = Asked::of(House::build(), ClientKind::Confidential).await;
    let (open, _, path) = asked.house.open_socket().await;
    asked
        .house
        .clock
        .advance(TEN_MINUTES - Duration::from_millis(1));
    let answer = ask(&path, "POST", &asked.path("/accept"), YES).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    asked.house.clock.advance(Duration::from_millis(1));
    for (method, rest, body) in [
        ("GET", "", ""),
        ("POST", "/accept", YES),
        ("POST", "/reject", r#"{"reason":"access_denied"}"#),
    ] {
        let answer = ask(&path, method, &asked.path(rest), body).await;
        assert_eq!(
            (answer.status, answer.json()),
            (
                410,
                json!({ "error": "expired", "message": "this login has expired" })
            ),
            "{method} {rest}"
        );
    }
    open.close().await;
}

#[tokio::test]
async fn logins_take_their_methods_and_are_there_only_where_login_is_delegated() {
    let asked = Asked::of(House::build(), ClientKind::Confidential).await;
    let (open, _, path) = asked.house.open_socket().await;
    for (method, rest, allow) in [
        ("POST", "", "get"),
        ("DELETE", "", "get"),
        ("GET", "/accept", "post"),
        ("PUT", "/reject", "post"),
    ] {
        let answer = ask(&path, method, &asked.path(rest), "").await;
        assert_eq!(answer.status, 405, "{method} {rest}");
        assert!(answer.head.contains(&format!("allow: {allow}\r\n")));
    }
    for target in [
        "/v1/logins",
        &asked.path("/consent"),
        &asked.path("/accept/x"),
    ] {
        let answer = ask(&path, "GET", target, "").await;
        assert_eq!(answer.json()["message"], "there is no such resource");
    }
    for server in [None, Some(settings(LoginMode::Builtin))] {
        *asked.house.gateway.oauth.lock().expect("no panic") = server;
        for (method, rest, body) in [
            ("GET", "", ""),
            ("POST", "/accept", YES),
            ("POST", "/reject", r#"{"reason":"access_denied"}"#),
        ] {
            let answer = ask(&path, method, &asked.path(rest), body).await;
            assert_eq!(answer.status, 404, "{method} {rest}");
            let message = answer.json()["message"].clone();
            assert_eq!(message, "login is not delegated: see oauth.login");
        }
    }
    open.close().await;
}

#[tokio::test]
async fn without_its_store_a_login_is_neither_shown_nor_answered() {
    let store: Arc<dyn Store> = Arc::new(BrokenStore);
    let house = House::over(|_, _| store);
    *house.gateway.oauth.lock().expect("no panic") = Some(settings(delegated()));
    let (open, _, path) = house.open_socket().await;
    let challenge = LoginChallenge::of(&InteractionId::random());
    for (method, rest, body) in [
        ("GET", "", ""),
        ("POST", "/accept", YES),
        ("POST", "/reject", r#"{"reason":"access_denied"}"#),
    ] {
        let target = format!("/v1/logins/{}{rest}", challenge.expose());
        let answer = ask(&path, method, &target, body).await;
        assert_eq!(answer.status, 503, "{method} {rest}");
    }
    open.close().await;
    assert!(house.audit_lines().await.is_empty(), "nothing was done");
}
