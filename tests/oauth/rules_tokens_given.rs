//! `POST /oauth/revoke` (RFC 7009) and `POST /oauth/introspect` (RFC 7662) beyond `revoke.rs`: what
//! a client may do with tokens that were given.

use crate::house::{House, OTHER_SECRET, SECRET, basic, error, json, text};
use crate::support::Answer;

const INACTIVE: &str = r#"{"active":false}"#;

fn look(house: &House, client: &str, secret: &str, form: &str) -> Answer {
    house.post("/oauth/introspect", &basic(client, secret), form)
}

fn revoke(house: &House, form: &str) -> Answer {
    house.post("/oauth/revoke", &basic("client_conf", SECRET), form)
}

#[test]
fn a_hint_is_only_a_hint() {
    let house = House::start();
    let tokens = house.tokens();
    let (access, refresh) = (
        text(&tokens, "access_token"),
        text(&tokens, "refresh_token"),
    );
    for token in [&access, &refresh] {
        for hint in ["access_token", "refresh_token", "", "nonsense", "%00"] {
            let form = format!("token={token}&token_type_hint={hint}");
            let told = json(&look(&house, "client_conf", SECRET, &form));
            assert_eq!(told["active"], true, "{hint}");
        }
    }
    assert_eq!(
        revoke(
            &house,
            &format!("token={access}&token_type_hint=refresh_token")
        )
        .status,
        200
    );
    house.is_refused(&access);
    assert_eq!(
        revoke(
            &house,
            &format!("token={refresh}&token_type_hint=access_token")
        )
        .status,
        200
    );
    assert_eq!(error(&house.refresh(&refresh)), "invalid_grant");
}

#[test]
fn whoever_asks_about_a_token_or_ends_one_shows_who_they_are() {
    let house = House::start();
    let tokens = house.tokens();
    let access = text(&tokens, "access_token");
    let form = format!("token={access}");
    for path in ["/oauth/introspect", "/oauth/revoke"] {
        for (headers, more) in [
            (String::new(), ""),
            (String::new(), "&client_id=client_conf"),
            (String::new(), "&client_id=client_conf&client_secret=wrong"),
            (basic("client_conf", OTHER_SECRET), ""),
            (basic("client_gone", SECRET), ""),
            // The token itself is no way to be somebody.
            (format!("authorization: Bearer {access}\r\n"), ""),
        ] {
            let answer = house.post(path, &headers, &format!("{form}{more}"));
            assert_eq!(
                (answer.status, error(&answer).as_str()),
                (401, "invalid_client"),
                "{path} {headers}{more}"
            );
            let challenge = answer.header("www-authenticate");
            assert_eq!(challenge, Some(r#"Basic realm="osir""#));
        }
    }
    assert_eq!(house.call(&access), 200, "nothing was revoked");
}

#[test]
fn a_public_client_may_give_its_tokens_back() {
    let house = House::start();
    let tokens = house.public_tokens();
    let (access, refresh) = (
        text(&tokens, "access_token"),
        text(&tokens, "refresh_token"),
    );
    let post = |client: &str| {
        let form = format!("client_id={client}&token={refresh}");
        house.post("/oauth/revoke", "", &form)
    };
    assert_eq!(post("client_pub").status, 200);
    house.is_refused(&access);
}

#[test]
fn of_a_token_that_is_over_nothing_is_told() {
    let house = House::start();
    let tokens = house.tokens();
    let first = text(&tokens, "refresh_token");
    let second = text(&json(&house.refresh(&first)), "refresh_token");
    let active = |token: &str| look(&house, "client_conf", SECRET, &format!("token={token}"));
    assert_eq!(active(&first).body, INACTIVE, "it was used");
    assert_eq!(json(&active(&second))["active"], true);
    let (_, key) = house.gateway.key(&["domains:read"]);
    let code = house.seed_code();
    for token in [key.as_str(), &code, SECRET, "osir_sess_x", "%00", "a.b.c"] {
        let answer = active(token);
        assert_eq!((answer.status, answer.body.as_str()), (200, INACTIVE));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let missing = look(&house, "client_conf", SECRET, "token=");
    assert_eq!(
        (missing.status, error(&missing).as_str()),
        (400, "invalid_request")
    );
}

#[test]
fn a_code_or_a_secret_is_no_token_to_revoke_and_stays_what_it_is() {
    let house = House::start();
    let code = house.seed_code();
    for token in [code.as_str(), SECRET, "x", "a.b.c"] {
        let answer = revoke(&house, &format!("token={token}"));
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{token}");
    }
    let session = {
        let access = text(&house.tokens(), "access_token");
        let body = "{}";
        let made = house.gateway.send(format!(
            "POST /auth/sessions HTTP/1.1\r\nhost: api.osir.com\r\nauthorization: Bearer {access}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ));
        assert_eq!(made.status, 201, "{made:?}");
        text(&json(&made), "session_token")
    };
    let answer = revoke(&house, &format!("token={session}"));
    assert_eq!(
        (answer.status, error(&answer).as_str()),
        (400, "unsupported_token_type")
    );
    assert_eq!(house.call(&session), 200);
    let form = format!(
        "grant_type=authorization_code&code={code}&redirect_uri={}",
        crate::house::CALLBACK
    );
    assert_eq!(house.token(&form).status, 200);
}
