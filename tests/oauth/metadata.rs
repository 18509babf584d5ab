//! Metadata, resource metadata and keys.

use crate::house::{House, claims, json, text};

#[test]
fn the_metadata_says_what_the_server_does() {
    let house = House::start();
    let answer = house
        .browse("GET /.well-known/oauth-authorization-server HTTP/1.1\r\nhost: osir.com\r\n\r\n");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let told = json(&answer);
    for (member, expected) in [
        ("issuer", "https://osir.com"),
        ("authorization_endpoint", "https://osir.com/oauth/authorize"),
        ("token_endpoint", "https://api.osir.com/oauth/token"),
        ("revocation_endpoint", "https://api.osir.com/oauth/revoke"),
        (
            "introspection_endpoint",
            "https://api.osir.com/oauth/introspect",
        ),
        ("jwks_uri", "https://api.osir.com/oauth/jwks"),
    ] {
        assert_eq!(told[member], expected);
    }
    assert_eq!(
        told["code_challenge_methods_supported"],
        serde_json::json!(["S256"])
    );
    assert_eq!(told["authorization_response_iss_parameter_supported"], true);
    assert_eq!(
        told["scopes_supported"],
        serde_json::json!(["domains:read", "domains:write"])
    );
    // There is no OpenID Connect here.
    let openid =
        house.browse("GET /.well-known/openid-configuration HTTP/1.1\r\nhost: osir.com\r\n\r\n");
    assert_eq!(openid.status, 404);
}

#[test]
fn the_resource_says_who_gives_tokens_for_it() {
    let house = House::start();
    let answer = house
        .gateway
        .send("GET /.well-known/oauth-protected-resource HTTP/1.1\r\nhost: api.osir.com\r\n\r\n");
    let told = json(&answer);
    assert_eq!(told["resource"], "https://api.osir.com");
    assert_eq!(
        told["authorization_servers"],
        serde_json::json!(["https://osir.com"])
    );
}

#[test]
fn the_keys_are_public_and_have_the_one_that_signs() {
    let house = House::start();
    let answer = house
        .gateway
        .send("GET /oauth/jwks HTTP/1.1\r\nhost: api.osir.com\r\n\r\n");
    assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
    let set = json(&answer);
    let key = &set["keys"][0];
    assert_eq!(
        (&key["kty"], &key["use"], &key["alg"]),
        (&"EC".into(), &"sig".into(), &"ES256".into())
    );
    assert!(key.get("d").is_none());
    let tokens = json(&house.token("grant_type=client_credentials"));
    let told = claims(&text(&tokens, "access_token"));
    assert_eq!(told["header"]["kid"], key["kid"]);
}

#[test]
fn rs256_is_an_option() {
    let house = House::with(None, ", signing_algorithm: RS256");
    let access = text(
        &json(&house.token("grant_type=client_credentials")),
        "access_token",
    );
    assert_eq!(claims(&access)["header"]["alg"], "RS256");
    assert_eq!(house.call(&access), 200);
}

#[test]
fn an_endpoint_is_on_its_own_host_only() {
    let house = House::start();
    let api = |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nhost: api.osir.com\r\n\r\n");
        house.gateway.send(request).status
    };
    assert_eq!(api("/oauth/authorize"), 404);
    assert_eq!(api("/.well-known/oauth-authorization-server"), 404);
    let token =
        house.browse("POST /oauth/token HTTP/1.1\r\nhost: osir.com\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(token.status, 404);
}
