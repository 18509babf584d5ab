//! The documents of identity.md §1.3 (RFC 8414), RFC 9728 and RFC 7517, whole.

use serde_json::{Value, json};

use crate::house::{House, claims, text};
use crate::support::Answer;

fn osir(house: &House, path: &str) -> Answer {
    house.browse(format!("GET {path} HTTP/1.1\r\nhost: osir.com\r\n\r\n"))
}

fn api(house: &House, path: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nhost: api.osir.com\r\n\r\n");
    house.gateway.send(request)
}

fn metadata(issuer: &str) -> Value {
    let with_none = json!(["client_secret_post", "client_secret_basic", "none"]);
    json!({
        "issuer": issuer,
        "authorization_endpoint": "https://osir.com/oauth/authorize",
        "token_endpoint": "https://api.osir.com/oauth/token",
        "revocation_endpoint": "https://api.osir.com/oauth/revoke",
        "introspection_endpoint": "https://api.osir.com/oauth/introspect",
        "jwks_uri": "https://api.osir.com/oauth/jwks",
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": with_none,
        "revocation_endpoint_auth_methods_supported": with_none,
        "introspection_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
        "scopes_supported": ["domains:read", "domains:write"],
        "authorization_response_iss_parameter_supported": true,
        "protected_resources": ["https://api.osir.com"],
    })
}

const METADATA: &str = "/.well-known/oauth-authorization-server";
const RESOURCE: &str = "/.well-known/oauth-protected-resource";

#[test]
fn the_metadata_is_all_of_this_and_no_more() {
    let house = House::start();
    let answer = osir(&house, METADATA);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let cache = answer.header("cache-control");
    assert_eq!(cache, Some("public, max-age=3600"));
    assert_eq!(crate::house::json(&answer), metadata("https://osir.com"));
    for other in [format!("{METADATA}/"), format!("{METADATA}/x")] {
        assert_eq!(osir(&house, &other).status, 404, "{other}");
    }
}

#[test]
fn a_page_for_developers_is_told_where_there_is_one() {
    let page = "https://osir.com/help";
    let house = House::with(None, &format!(", documentation: {page}"));
    let mut expected = metadata("https://osir.com");
    expected["service_documentation"] = page.into();
    assert_eq!(crate::house::json(&osir(&house, METADATA)), expected);
    let told = crate::house::json(&api(&house, RESOURCE));
    assert_eq!(told["resource_documentation"], page);
}

/// RFC 8414 §3.1: the path comes after the well-known part, and `issuer` is the same bytes.
#[test]
fn the_path_of_an_issuer_comes_after_the_well_known_one() {
    let house = House::edited(None, |yaml| {
        yaml.replace(
            "issuer: https://osir.com",
            "issuer: https://osir.com/tenant/1",
        )
    });
    let answer = osir(&house, &format!("{METADATA}/tenant/1"));
    let issuer = "https://osir.com/tenant/1";
    assert_eq!(crate::house::json(&answer), metadata(issuer));
    for other in [
        METADATA.to_owned(),
        format!("{METADATA}/tenant"),
        format!("{METADATA}/tenant/1/"),
        format!("/tenant/1{METADATA}"),
    ] {
        assert_eq!(osir(&house, &other).status, 404, "{other}");
    }
    let refused = house.authorize("client_id=client_trusted&response_type=token");
    let iss = crate::house::parameter(&refused, "iss");
    assert_eq!(iss.as_deref(), Some("https%3A%2F%2Fosir.com%2Ftenant%2F1"));
    let tokens = crate::house::json(&house.token("grant_type=client_credentials"));
    let token = text(&tokens, "access_token");
    assert_eq!(claims(&token)["claims"]["iss"], issuer);
    assert_eq!(house.call(&token), 200);
}

/// RFC 9728 §3.1, §3.3: `resource` is what the address was made of.
#[test]
fn each_resource_has_its_document_at_an_address_made_of_its_name() {
    let house = House::edited(None, |yaml| {
        yaml.replace(
            "audience: https://api.osir.com",
            "audience: [https://api.osir.com, https://api.osir.com/mcp]",
        )
    });
    for (path, resource) in [
        ("", "https://api.osir.com"),
        ("/mcp", "https://api.osir.com/mcp"),
    ] {
        let answer = api(&house, &format!("{RESOURCE}{path}"));
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(
            crate::house::json(&answer),
            json!({
                "resource": resource,
                "authorization_servers": ["https://osir.com"],
                "bearer_methods_supported": ["header"],
                "resource_name": "osir",
                "scopes_supported": ["domains:read", "domains:write"],
            }),
            "what has no value is left out"
        );
    }
    assert_eq!(api(&house, &format!("{RESOURCE}/other")).status, 404);
    assert_eq!(osir(&house, RESOURCE).status, 404, "not its host");
}

#[test]
fn the_key_set_has_public_members_only() {
    for (algorithm, kind, members) in [
        (
            "ES256",
            "EC",
            ["alg", "crv", "kid", "kty", "use", "x", "y"].as_slice(),
        ),
        (
            "RS256",
            "RSA",
            ["alg", "e", "kid", "kty", "n", "use"].as_slice(),
        ),
    ] {
        let house = House::with(None, &format!(", signing_algorithm: {algorithm}"));
        let answer = api(&house, "/oauth/jwks");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
        let set = crate::house::json(&answer);
        let keys = set["keys"].as_array().expect("a list");
        assert_eq!(keys.len(), 1);
        let key = keys[0].as_object().expect("a key");
        let mut names: Vec<&str> = key.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, members);
        assert_eq!(
            (&key["kty"], &key["use"], &key["alg"]),
            (&kind.into(), &"sig".into(), &algorithm.into())
        );
    }
}
