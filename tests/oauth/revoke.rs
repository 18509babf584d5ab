//! `POST /oauth/revoke` (RFC 7009) and `POST /oauth/introspect` (RFC 7662).

use crate::house::{House, OTHER_SECRET, SECRET, basic, error, json, text};
use crate::support::eventually;

fn revoke(house: &House, client: (&str, &str), token: &str) -> crate::support::Answer {
    let form = format!("token={token}&token_type_hint=nonsense");
    house.post("/oauth/revoke", &basic(client.0, client.1), &form)
}

const OWN: (&str, &str) = ("client_conf", SECRET);
const OTHER: (&str, &str) = ("client_other", OTHER_SECRET);

#[test]
fn revoking_a_refresh_token_ends_the_grant_and_its_access_tokens() {
    let house = House::start();
    let tokens = house.tokens();
    let (access, refresh) = (
        text(&tokens, "access_token"),
        text(&tokens, "refresh_token"),
    );
    // Unknown and foreign tokens are 200 and empty, and nothing happens.
    for token in [refresh.as_str(), access.as_str(), "x", "a.b.c", "osir_rt_x"] {
        let answer = revoke(&house, OTHER, token);
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{token}");
    }
    assert_eq!(house.call(&access), 200);
    let answer = revoke(&house, OWN, &refresh);
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    eventually("the access token is dead", || {
        (house.call(&access) == 401).then_some(())
    });
    let again = house.token(&format!("grant_type=refresh_token&refresh_token={refresh}"));
    assert_eq!(error(&again), "invalid_grant");
}

#[test]
fn revoking_an_access_token_ends_that_token_alone() {
    let house = House::start();
    let tokens = house.tokens();
    let access = text(&tokens, "access_token");
    assert_eq!(revoke(&house, OWN, &access).status, 200);
    eventually("the access token is dead", || {
        (house.call(&access) == 401).then_some(())
    });
    let refresh = text(&tokens, "refresh_token");
    let again = house.token(&format!("grant_type=refresh_token&refresh_token={refresh}"));
    assert_eq!(again.status, 200);
}

#[test]
fn revocation_needs_a_client_a_token_and_a_kind_that_is_revoked_here() {
    let house = House::start();
    let answer = revoke(&house, ("client_conf", "wrong"), "x");
    assert_eq!(
        (answer.status, error(&answer).as_str()),
        (401, "invalid_client")
    );
    let answer = house.post("/oauth/revoke", &basic("client_conf", SECRET), "token=");
    assert_eq!(
        (answer.status, error(&answer).as_str()),
        (400, "invalid_request")
    );
    let (_, key) = house.gateway.key(&["domains:read"]);
    let answer = revoke(&house, OWN, &key);
    assert_eq!(
        (answer.status, error(&answer).as_str()),
        (400, "unsupported_token_type")
    );
    assert_eq!(house.call(&key), 200);
}

#[test]
fn introspection_tells_a_client_of_its_own_tokens_and_a_resource_server_of_all() {
    let house = House::start();
    let tokens = house.tokens();
    let (access, refresh) = (
        text(&tokens, "access_token"),
        text(&tokens, "refresh_token"),
    );
    let look = |client: (&str, &str), token: &str| {
        let form = format!("token={token}");
        house.post("/oauth/introspect", &basic(client.0, client.1), &form)
    };
    const INACTIVE: &str = r#"{"active":false}"#;
    for client in [OWN, ("client_rs", SECRET)] {
        let answer = look(client, &access);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let told = json(&answer);
        assert_eq!(told["active"], true);
        assert_eq!(told["sub"], "usr_alice");
        assert_eq!(told["client_id"], "client_conf");
        assert_eq!(told["scope"], "domains:read domains:write");
        assert_eq!(told["aud"], "https://api.osir.com");
    }
    assert_eq!(json(&look(OWN, &refresh))["active"], true);
    for (client, token) in [
        (OTHER, access.as_str()),
        (OTHER, refresh.as_str()),
        (("client_rs", SECRET), refresh.as_str()),
        (OWN, "x"),
        (OWN, "a.b.c"),
    ] {
        let answer = look(client, token);
        assert_eq!((answer.status, answer.body.as_str()), (200, INACTIVE));
    }
    // Nobody who shows nothing but a name.
    let answer = house.post(
        "/oauth/introspect",
        "",
        &format!("client_id=client_pub&token={access}"),
    );
    assert_eq!(
        (answer.status, error(&answer).as_str()),
        (401, "invalid_client")
    );
    assert_eq!(revoke(&house, OWN, &refresh).status, 200);
    assert_eq!(look(OWN, &refresh).body, INACTIVE);
    eventually("the access token is inactive", || {
        (look(OWN, &access).body == INACTIVE).then_some(())
    });
}
