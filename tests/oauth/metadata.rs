//! Metadata, resource metadata and keys.

use portcullis::app::explain_offline;
use portcullis::auth::RotationHaste;
use portcullis::clock::Clock;
use portcullis::config::Config;
use portcullis::observe::Metrics;
use portcullis::policy::{ExplainCredential, ExplainRequest};
use portcullis::store::StoreSettings;
use serde_json::Value;

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
fn a_client_with_nothing_but_the_address_is_told_the_way() {
    let house = House::start();
    let place = "https://api.osir.com/.well-known/oauth-protected-resource";
    let missing = house.gateway.get("");
    assert_eq!(missing.status, 401);
    assert_eq!(
        missing.header("www-authenticate"),
        Some(&*format!(
            r#"Bearer realm="osir", resource_metadata="{place}", scope="domains:read""#
        ))
    );
    let session = house
        .gateway
        .send("GET /auth/sessions HTTP/1.1\r\nhost: api.osir.com\r\n\r\n");
    assert_eq!(session.status, 401);
    assert_eq!(
        session.header("www-authenticate"),
        Some(&*format!(
            r#"Bearer realm="osir", resource_metadata="{place}""#
        ))
    );
    let form = "grant_type=client_credentials&scope=domains:read";
    let access = text(&json(&house.token(form)), "access_token");
    let lacking = house.gateway.send(format!(
        "DELETE /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\nauthorization: Bearer {access}\r\n\r\n"
    ));
    assert_eq!(lacking.status, 403);
    assert_eq!(
        lacking.header("www-authenticate"),
        Some(&*format!(
            r#"Bearer error="insufficient_scope", scope="domains:write", resource_metadata="{place}""#
        ))
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

#[test]
fn another_algorithm_publishes_its_key_before_it_signs() {
    let house = House::start();
    let path = house.gateway.path("gateway.yaml");
    let yaml = std::fs::read_to_string(&path).expect("the file");
    let changed = yaml.replace(
        "oauth: { issuer: https://osir.com",
        "oauth: { issuer: https://osir.com, signing_algorithm: RS256",
    );
    std::fs::write(&path, changed).expect("writable");
    house.gateway.running().reload().expect("taken");
    let answer = house
        .gateway
        .send("GET /oauth/jwks HTTP/1.1\r\nhost: api.osir.com\r\n\r\n");
    let set = json(&answer);
    assert_eq!(
        (&set["keys"][0]["alg"], &set["keys"][1]["alg"]),
        (&"RS256".into(), &"ES256".into())
    );
    let access = text(
        &json(&house.token("grant_type=client_credentials")),
        "access_token",
    );
    assert_eq!(claims(&access)["header"]["alg"], "ES256");
    assert_eq!(house.call(&access), 200);
}

#[test]
fn an_emergency_rotation_ends_the_tokens_of_the_old_key() {
    let house = House::start();
    let tokens = house.tokens();
    let access = text(&tokens, "access_token");
    assert_eq!(house.call(&access), 200);
    let rotated = house
        .gateway
        .operate(async |admin| admin.rotate_signing_key(RotationHaste::Emergency).await)
        .expect("rotated");
    crate::support::eventually("the old key's token is dead", || {
        (house.call(&access) == 401).then_some(())
    });
    let refresh = text(&tokens, "refresh_token");
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");
    let access = text(&json(&house.token(&form)), "access_token");
    assert_eq!(claims(&access)["header"]["kid"], rotated.kid.as_str());
    assert_eq!(house.call(&access), 200);
}

#[test]
fn explaining_a_configuration_makes_no_signing_key() {
    let house = House::start();
    let folder = house.gateway.stop();
    let store = folder.path().join("store.redb");
    std::fs::remove_file(&store).expect("a store");
    let config = Config::load(&folder.path().join("gateway.yaml")).expect("a configuration");
    for (method, path, route, reason) in [
        ("GET", "/v1/domains", "domains-read", "missing"),
        ("POST", "/oauth/token", "own:oauth-token", ""),
        ("GET", "/oauth/token", "", "method"),
    ] {
        let told = explained(&config, method, path);
        let said = |member: &str| told[member].as_str().unwrap_or_default().to_owned();
        assert_eq!(
            (&*said("route"), &*said("reason")),
            (route, reason),
            "{told}"
        );
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let keys = runtime.block_on(async {
        let settings = StoreSettings::Embedded { path: store };
        let store = portcullis::store::open(&settings, &Clock::system(), &Metrics::new());
        store.expect("a store").signing_keys().await
    });
    assert!(keys.expect("the store is there").is_empty());
}

/// A runtime for each: the store is let go with it.
fn explained(config: &Config, method: &str, path: &str) -> Value {
    let request = ExplainRequest {
        method: method.into(),
        path: path.into(),
        host: Some("api.osir.com".into()),
        address: None,
        credential: ExplainCredential::None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let told = runtime.block_on(explain_offline(config, &request));
    told.expect("an answer")
}
