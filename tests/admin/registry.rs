//! `/v1/clients` and `/v1/users`.

use portcullis::admin::{AdminClient, ClientError, NewUserBody, RotateClientBody};
use portcullis::id::{AccountId, LoginName, RequestId};
use portcullis::oauth::{AppSelection, NewClientRequest};
use portcullis::scope::ScopeSet;
use portcullis::secret::Secret;
use portcullis::store::{ClientKind, GrantType};
use serde_json::json;
use tokio::net::UnixStream;

use crate::broken_store::BrokenStore;
use crate::house::{House, Raw, exchange, request};

const PASSWORD: &str = "correct horse battery";

fn client(scope: &str) -> NewClientRequest {
    NewClientRequest {
        name: "App".into(),
        kind: ClientKind::Confidential,
        grants: vec![GrantType::ClientCredentials],
        redirects: Vec::new(),
        scopes: ScopeSet::parse(scope).expect("a scope"),
        authentication: None,
        pkce: None,
        consent: None,
        account: AccountId::parse("acct_1").ok(),
    }
}

fn user(name: &str) -> NewUserBody {
    NewUserBody {
        name: LoginName::parse(name).expect("a name"),
        account: AccountId::parse("acct_2").expect("an id"),
        scopes: ScopeSet::parse("domains:read").expect("a scope"),
        password: Secret::new(PASSWORD),
    }
}

/// Something over a socket of its own.
async fn ask(path: &std::path::Path, method: &str, target: &str, body: &str) -> Raw {
    let stream = UnixStream::connect(path).await.expect("connects");
    exchange(stream, &request(method, target, "Host: x\r\n", body)).await
}

fn refusal<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> (u16, String) {
    match answer {
        Err(ClientError::Refused { status, message }) => (status.as_u16(), message),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn each_change_of_a_client_or_user_leaves_an_audit_line_without_a_secret() {
    let house = House::build();
    let (open, admin, _) = house.open_socket().await;
    let made = admin.create_client(&client("vps:read")).await;
    let made = made.expect("made");
    let id = &made.client.client_id;
    let wish = RotateClientBody {
        overlap: 60,
        request_id: RequestId::parse("wish-1").expect("an id"),
    };
    let rotated = admin.rotate_client_secret(id, &wish).await;
    let rotated = rotated.expect("rotated");
    admin.disable_client(id).await.expect("disabled");
    admin.disable_client(id).await.expect("no change, no line");
    let alice = admin.create_user(&user("alice")).await.expect("made");
    admin.disable_user(&alice.name).await.expect("disabled");
    admin.enable_user(&alice.name).await.expect("enabled");
    open.close().await;

    let uid = rustix::process::getuid().as_raw();
    let of_client = |event| {
        json!({
            "time": "2026-09-21T14:13:20.123Z", "event": event, "actor": "admin_api", "uid": uid,
            "client": id, "account": "acct_1", "scopes": ["vps:read"], "outcome": "done",
        })
    };
    let of_user = |event| {
        json!({
            "time": "2026-09-21T14:13:20.123Z", "event": event, "actor": "admin_api", "uid": uid,
            "subject": alice.id, "account": "acct_2", "scopes": ["domains:read"],
            "outcome": "done",
        })
    };
    let lines = house.audit_lines().await;
    assert_eq!(
        lines,
        [
            of_client("client_create"),
            of_client("client_rotate"),
            of_client("client_disable"),
            of_user("user_create"),
            of_user("user_disable"),
            of_user("user_enable"),
        ]
    );
    let first = made.client_secret.as_ref().expect("confidential");
    let shown = format!("{lines:?} {made:?} {rotated:?} {alice:?}");
    for secret in [first.expose(), rotated.client_secret.expose(), PASSWORD] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(!shown.contains("argon2"), "{shown}");
}

#[tokio::test]
async fn lists_of_clients_go_on_where_a_page_ended() {
    let house = House::build();
    let (open, admin, _) = house.open_socket().await;
    let mut made = Vec::new();
    for _ in 0..501 {
        let created = admin.create_client(&client("vps:read")).await;
        made.push(created.expect("made").client.client_id);
    }
    made.sort();
    let first = admin.clients(None).await.expect("a page");
    assert_eq!(first.clients.len(), 500);
    let next = first.next.expect("there is more");
    let last = admin.clients(Some(&next)).await.expect("a page");
    assert_eq!((last.clients.len(), last.next), (1, None));
    let seen = first.clients.into_iter().chain(last.clients);
    let seen: Vec<_> = seen.map(|client| client.client_id).collect();
    assert_eq!(seen, made);
    open.close().await;
}

#[tokio::test]
async fn a_user_has_one_name_with_any_visible_character_in_it() {
    let house = House::build();
    let (open, admin, _) = house.open_socket().await;
    let odd = "a/b?c=%2F&d#e@f";
    let made = admin.create_user(&user(odd)).await.expect("made");
    let shown = admin.user(&made.name).await.expect("there");
    assert_eq!((shown.name.as_str(), &shown), (odd, &made));
    assert_eq!(
        refusal(admin.create_user(&user(odd)).await),
        (400, "name: there is a user of this name".into())
    );
    let users = admin.users(None).await.expect("a list").users;
    assert_eq!(users, [made]);
    open.close().await;
}

#[tokio::test]
async fn bodies_of_clients_and_users_are_read_strictly_and_a_password_is_not_repeated() {
    let house = House::build();
    let (open, admin, path) = house.open_socket().await;
    let misspelt = r#"{"name":"n","kind":"public","grants":[],"redirect":[]}"#;
    let answer = ask(&path, "POST", "/v1/clients", misspelt).await;
    assert_eq!(answer.status, 400);
    assert!(
        answer.body.contains("unknown field `redirect`"),
        "{answer:?}"
    );
    assert_eq!(
        refusal(admin.create_client(&client("vps:raed")).await),
        (
            400,
            r#"scopes: unknown scope "vps:raed"; did you mean "vps:read"?"#.into()
        )
    );
    let body = r#"{"name":"n","account":"a","scopes":["vps:read"],"password":424242424242}"#;
    let answer = ask(&path, "POST", "/v1/users", body).await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("a password is a text"), "{answer:?}");
    assert!(!answer.body.contains("424242"), "{answer:?}");
    let short = NewUserBody {
        password: Secret::new("hunter2"),
        ..user("alice")
    };
    let (status, message) = refusal(admin.create_user(&short).await);
    assert_eq!(status, 400);
    assert_eq!(message, "password: 12 to 1024 bytes, no control characters");
    assert!(house.audit_lines().await.is_empty());
    open.close().await;
}

#[tokio::test]
async fn clients_and_users_that_there_are_not_are_404_and_other_methods_are_405() {
    let house = House::build();
    let (open, _, path) = house.open_socket().await;
    for (method, target) in [
        ("GET", "/v1/clients/client_1"),
        ("POST", "/v1/clients/client_1/disable"),
        ("POST", "/v1/clients/client_1/enable"),
        ("GET", "/v1/clients/"),
        ("GET", "/v1/clients/%"),
        ("GET", "/v1/users/alice"),
        ("GET", "/v1/users/alice/apps"),
        ("POST", "/v1/users/alice/enable"),
        ("GET", "/v1/users/a/b"),
    ] {
        let answer = ask(&path, method, target, "").await;
        assert_eq!(answer.status, 404, "{method} {target}");
    }
    assert_eq!(
        ask(&path, "GET", "/v1/users/alice%20", "").await.body,
        r#"{"error":"not_found","message":"there is no such resource"}"#
    );
    for (method, target, allow) in [
        ("DELETE", "/v1/clients", "get, post"),
        ("POST", "/v1/clients/client_1", "get"),
        ("GET", "/v1/clients/client_1/rotate-secret", "post"),
        ("GET", "/v1/clients/client_1/disable", "post"),
        ("PUT", "/v1/users", "get, post"),
        ("POST", "/v1/users/alice", "get"),
        ("DELETE", "/v1/users/alice/apps", "get"),
        ("POST", "/v1/users/alice/apps", "get"),
        ("GET", "/v1/users/alice/apps/revoke", "post"),
        ("GET", "/v1/users/alice/password", "post"),
    ] {
        let answer = ask(&path, method, target, "").await;
        assert_eq!(answer.status, 405, "{method} {target}");
        let allow = format!("allow: {allow}\r\n");
        assert!(answer.head.contains(&allow), "{answer:?}");
    }
    for query in ["limit=1", "after=%", "after"] {
        for list in ["clients", "users"] {
            let answer = ask(&path, "GET", &format!("/v1/{list}?{query}"), "").await;
            assert_eq!(answer.status, 400, "{list} {query}");
        }
    }
    open.close().await;
}

async fn unavailable<T: std::fmt::Debug>(answer: impl Future<Output = Result<T, ClientError>>) {
    assert_eq!(refusal(answer.await).0, 503);
}

#[tokio::test]
async fn without_its_store_every_verb_on_clients_and_users_is_503() {
    let house = House::over(|_, _| std::sync::Arc::new(BrokenStore));
    let (open, admin, _) = house.open_socket().await;
    let admin: &AdminClient = &admin;
    let id = portcullis::id::ClientId::random();
    let name = user("alice").name;
    unavailable(admin.create_client(&client("vps:read"))).await;
    unavailable(admin.clients(None)).await;
    unavailable(admin.client(&id)).await;
    unavailable(admin.disable_client(&id)).await;
    unavailable(admin.create_user(&user("alice"))).await;
    unavailable(admin.users(None)).await;
    unavailable(admin.disable_user(&name)).await;
    unavailable(admin.apps(&name)).await;
    unavailable(admin.revoke_apps(&name, &AppSelection::All)).await;
    open.close().await;
    assert!(house.audit_lines().await.is_empty(), "nothing was done");
}

#[tokio::test]
async fn a_token_that_is_shown_is_told_by_its_kind_and_never_repeated() {
    let house = House::build();
    let (open, _, path) = house.open_socket().await;
    let at = "/v1/tokens/revoke-shown";
    assert_eq!(ask(&path, "GET", at, "").await.status, 405);
    for (token, status, words) in [
        // The puppet's issuer has made none.
        ("a.b.c", 400, "stands for this access token (signature)"),
        ("osir_rt_424242", 400, "it is damaged"),
        ("osir_live_424242", 404, "nothing here is known by it"),
        ("424242", 404, "nothing here is known by it"),
    ] {
        let body = format!(r#"{{"token":"{token}"}}"#);
        let answer = ask(&path, "POST", at, &body).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.body.contains(words), "{answer:?}");
        assert!(!answer.body.contains("424242"), "{answer:?}");
    }
    for body in [r#"{"token":424242}"#, r#"{"token":["424242"]}"#] {
        let answer = ask(&path, "POST", at, body).await;
        assert_eq!(answer.status, 400);
        assert!(answer.body.contains("a token is a text"), "{answer:?}");
        assert!(!answer.body.contains("424242"), "{answer:?}");
    }
    assert!(house.audit_lines().await.is_empty());
    open.close().await;
}
