//! What the API tells a client that comes with an access token, or without (identity.md §1.4).

use portcullis::policy::{ExplainCredential, ExplainRequest};
use portcullis::secret::Secret;

use crate::house::{House, claims, json, text};
use crate::support::{Answer, FORBIDDEN, UNAUTHORIZED};

const PLACE: &str = "https://api.osir.com/.well-known/oauth-protected-resource";

#[test]
fn no_credential_is_no_error_and_the_way_to_one_is_told() {
    let house = House::start();
    let missing =
        format!(r#"Bearer realm="osir", resource_metadata="{PLACE}", scope="domains:read""#);
    for line in [
        "",
        "authorization: Basic YTpi\r\n",
        "authorization: DPoP x\r\n",
    ] {
        let answer = house.gateway.get(line);
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (401, UNAUTHORIZED),
            "{line}"
        );
        assert_eq!(answer.header("www-authenticate"), Some(&*missing), "{line}");
    }
}

/// RFC 9728 §3.3: a client compares the `resource` it is led to with the URL that it asked for.
#[test]
fn a_challenge_leads_to_the_resource_that_was_asked_for() {
    let house = House::edited(None, |yaml| {
        let one = "audience: https://api.osir.com }";
        assert!(yaml.contains(one), "{yaml}");
        let three =
            "[https://api.osir.com, https://api.osir.com/v1/domains, https://api.osir.com/v1/vps]";
        yaml.replace(one, &format!("audience: {three} }}"))
    });
    for (path, resource) in [
        ("/v1/domains", "https://api.osir.com/v1/domains"),
        ("/v1/domains/example.com", "https://api.osir.com/v1/domains"),
        ("/auth/sessions", "https://api.osir.com"),
    ] {
        let ask = |path: &str| {
            house
                .gateway
                .send(format!("GET {path} HTTP/1.1\r\nhost: api.osir.com\r\n\r\n"))
        };
        let refused = ask(path);
        assert_eq!(refused.status, 401, "{path}");
        let challenge = refused.header("www-authenticate").expect("a challenge");
        let after = challenge.split(r#"resource_metadata="https://api.osir.com"#);
        let place = after.last().and_then(|after| after.split('"').next());
        let document = json(&ask(place.expect("a place")));
        assert_eq!(document["resource"], resource, "{path}: {challenge}");
    }
}

const DOMAINS: &str = "https://api.osir.com/v1/domains";

/// With a resource of its own for one of two routes.
fn with_two_resources() -> House {
    House::edited(None, |yaml| {
        let (one, routes) = ("audience: https://api.osir.com }", "routes:\n");
        assert!(yaml.contains(one) && yaml.contains(routes), "{yaml}");
        let two = format!("audience: [https://api.osir.com, {DOMAINS}] }}");
        let vps = "  - { name: vps-read, prefix: /v1/vps, methods: [GET], \
                   access: { scopes: [domains:read] }, upstream: domains }\n";
        yaml.replace(one, &two)
            .replace(routes, &format!("{routes}{vps}"))
    })
}

fn ask(house: &House, path: &str, token: &str) -> Answer {
    house.gateway.send(format!(
        "GET {path} HTTP/1.1\r\nhost: api.osir.com\r\nauthorization: Bearer {token}\r\n\r\n"
    ))
}

fn token_for(house: &House, resource: &str) -> String {
    let form = format!("grant_type=client_credentials&scope=domains:read{resource}");
    text(&json(&house.token(&form)), "access_token")
}

fn make_session(house: &House, token: &str) -> Answer {
    house.gateway.send(format!(
        "POST /auth/sessions HTTP/1.1\r\nhost: api.osir.com\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
    ))
}

/// RFC 8707 §2: whoever gets a token for one resource cannot use it at another.
#[test]
fn a_token_opens_the_resource_that_it_is_for_and_no_other() {
    let house = with_two_resources();
    let default = token_for(&house, "");
    let domains = token_for(&house, &format!("&resource={DOMAINS}"));
    assert_eq!(ask(&house, "/v1/domains/example.com", &domains).status, 200);
    assert_eq!(ask(&house, "/v1/vps", &default).status, 200);
    let before = house.upstream.received().len();
    for (path, token, place) in [
        ("/v1/vps", &domains, PLACE.to_owned()),
        ("/v1/domains", &default, format!("{PLACE}/v1/domains")),
    ] {
        // Again from the cache.
        for _ in 0..2 {
            let answer = ask(&house, path, token);
            assert_eq!((answer.status, answer.body.as_str()), (401, UNAUTHORIZED));
            let challenge = format!(
                r#"Bearer realm="osir", error="invalid_token", resource_metadata="{place}", scope="domains:read""#
            );
            // Where it leads, a token for this path is to be had.
            assert_eq!(answer.header("www-authenticate"), Some(&*challenge));
        }
    }
    assert_eq!(house.upstream.received().len(), before, "none came through");
    let series = r#"portcullis_authentications_total{kind="access_token",outcome="refused",reason="audience"}"#;
    assert_eq!(house.gateway.metric(series), 4.0);
    // A key is of no resource.
    let (_, key) = house.gateway.key(&["domains:read"]);
    for path in ["/v1/vps", "/v1/domains"] {
        assert_eq!(ask(&house, path, &key).status, 200, "{path}");
    }
}

#[test]
fn a_session_is_for_the_resource_of_the_token_that_gave_it() {
    let house = with_two_resources();
    let refused = make_session(&house, &token_for(&house, &format!("&resource={DOMAINS}")));
    assert_eq!(refused.status, 401, "the endpoints are of the default");
    let made = make_session(&house, &token_for(&house, ""));
    assert_eq!(made.status, 201, "{made:?}");
    let session = text(&json(&made), "session_token");
    assert_eq!(ask(&house, "/v1/vps", &session).status, 200);
    assert_eq!(ask(&house, "/auth/sessions/current", &session).status, 200);
    assert_eq!(ask(&house, "/v1/domains", &session).status, 401);
    let series =
        r#"portcullis_authentications_total{kind="session",outcome="refused",reason="audience"}"#;
    assert_eq!(house.gateway.metric(series), 1.0);
    // One that a key gave is as free as the key.
    let (_, key) = house.gateway.key(&["domains:read"]);
    let session = text(&json(&make_session(&house, &key)), "session_token");
    for path in ["/v1/vps", "/v1/domains"] {
        assert_eq!(ask(&house, path, &session).status, 200, "{path}");
    }
}

#[test]
fn explain_tells_of_the_resource_that_a_token_is_for() {
    let house = with_two_resources();
    let domains = token_for(&house, &format!("&resource={DOMAINS}"));
    let explain = |path: &str| {
        let request = ExplainRequest {
            method: "GET".into(),
            path: path.into(),
            host: None,
            address: None,
            credential: ExplainCredential::Token(Secret::new(domains.clone())),
        };
        let told = house
            .gateway
            .operate(async |admin| admin.explain(&request).await);
        told.expect("explained")
    };
    let good = explain("/v1/domains");
    assert_eq!(good["verdict"], "allow");
    assert!(
        good.to_string()
            .contains(&format!(" for {DOMAINS} with scopes domains:read"))
    );
    let bad = explain("/v1/vps");
    assert_eq!(
        (&bad["status"], &bad["reason"]),
        (&401.into(), &"audience".into())
    );
    let detail = "audience: of our own tokens, the route takes those for https://api.osir.com\"";
    assert!(bad.to_string().contains(detail), "{bad}");
}

#[test]
fn a_token_that_is_bad_or_over_is_invalid_token() {
    let house = House::start();
    let tokens = house.tokens();
    let access = text(&tokens, "access_token");
    let form = format!("token={}", text(&tokens, "refresh_token"));
    let basic = crate::house::basic("client_conf", crate::house::SECRET);
    assert_eq!(house.post("/oauth/revoke", &basic, &form).status, 200);
    house.is_refused(&access);
    let refresh = text(&house.tokens(), "refresh_token");
    let code = house.seed_code();
    let invalid = format!(
        r#"Bearer realm="osir", error="invalid_token", resource_metadata="{PLACE}", scope="domains:read""#
    );
    let before = house.upstream.received().len();
    let last = &access[access.len() - 20..];
    let cut = &access[..access.len() - 20];
    let reversed: String = last.chars().rev().collect();
    for token in [
        access.as_str(),
        &format!("{cut}{reversed}"),
        cut,
        &refresh,
        &code,
        crate::house::SECRET,
        "x",
    ] {
        let answer = house
            .gateway
            .get(&format!("authorization: Bearer {token}\r\n"));
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (401, UNAUTHORIZED),
            "{token}"
        );
        assert_eq!(
            answer.header("www-authenticate"),
            Some(&*invalid),
            "{token}"
        );
    }
    let came = house.upstream.received().len() - before;
    assert_eq!(came, 0, "none of them came through");
}

#[test]
fn a_token_is_taken_from_one_authorization_field_and_from_nowhere_else() {
    let house = House::start();
    let form = "grant_type=client_credentials&scope=domains:read";
    let access = text(&json(&house.token(form)), "access_token");
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        let answer = house
            .gateway
            .get(&format!("authorization: {scheme} {access}\r\n"));
        assert_eq!(answer.status, 200, "{scheme}");
    }
    // RFC 6750 §2.2, §2.3 are not offered.
    let in_query = house.gateway.send(format!(
        "GET /v1/domains?access_token={access} HTTP/1.1\r\nhost: api.osir.com\r\n\r\n"
    ));
    let body = format!("access_token={access}");
    let in_body = house.gateway.send(format!(
        "POST /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    ));
    let in_cookie = house
        .gateway
        .get(&format!("cookie: access_token={access}\r\n"));
    let as_key = house.gateway.get(&format!("x-api-key: {access}\r\n"));
    for answer in [in_query, in_body, in_cookie, as_key] {
        assert_eq!((answer.status, answer.body.as_str()), (401, UNAUTHORIZED));
    }
    let bearer = format!("authorization: Bearer {access}\r\n");
    for lines in [
        format!("{bearer}x-api-key: {access}\r\n"),
        format!("{bearer}{bearer}"),
        format!("authorization: Bearer {access}, Bearer {access}\r\n"),
        format!("authorization: Bearer {access} x\r\n"),
        "authorization: Bearer \u{7f}\r\n".to_owned(),
    ] {
        let answer = house.gateway.get(&lines);
        assert_eq!(answer.status, 400, "{lines}");
        let told = json(&answer);
        assert_eq!(told["error"], "bad_request", "{lines}");
    }
}

#[test]
fn a_scope_that_is_missing_is_named_and_the_body_is_the_seeds() {
    let house = House::start();
    let form = "grant_type=client_credentials&scope=domains:read";
    let access = text(&json(&house.token(form)), "access_token");
    let answer = house.gateway.send(format!(
        "DELETE /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\nauthorization: Bearer {access}\r\n\r\n"
    ));
    assert_eq!((answer.status, answer.body.as_str()), (403, FORBIDDEN));
    let challenge = format!(
        r#"Bearer error="insufficient_scope", scope="domains:write", resource_metadata="{PLACE}""#
    );
    assert_eq!(answer.header("www-authenticate"), Some(&*challenge));
    // Nothing of the token is told to whoever holds it.
    let told = claims(&access);
    for claim in ["sub", "jti", "acct", "client_id"] {
        let value = text(&told["claims"], claim);
        assert!(!format!("{answer:?}").contains(&value), "{claim}");
    }
}

/// RFC 9068 §2.2: all that a resource server needs, and nothing about a person.
#[test]
fn an_access_token_has_the_claims_of_its_profile_and_no_others() {
    let house = House::start();
    let names = |token: &str| {
        let told = claims(token);
        let told = told["claims"].as_object().expect("claims").clone();
        told.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    let tokens = house.tokens();
    let mut user = names(&text(&tokens, "access_token"));
    user.sort_unstable();
    assert_eq!(
        user,
        [
            "acct",
            "aud",
            "auth_time",
            "client_id",
            "exp",
            "fam",
            "iat",
            "iss",
            "jti",
            "scope",
            "sub"
        ]
    );
    let own = json(&house.token("grant_type=client_credentials"));
    let own = text(&own, "access_token");
    let mut service = names(&own);
    service.sort_unstable();
    assert_eq!(
        service,
        [
            "acct",
            "aud",
            "client_id",
            "exp",
            "iat",
            "iss",
            "jti",
            "scope",
            "sub"
        ]
    );
    // The grant's id is in codes and refresh tokens; who sees a token may not learn it.
    let told = claims(&text(&tokens, "access_token"));
    assert!(!text(&told["claims"], "fam").starts_with("grant_"));
    let header = told["header"].as_object().expect("a header").clone();
    let mut header: Vec<String> = header.into_iter().map(|(name, _)| name).collect();
    header.sort_unstable();
    assert_eq!(header, ["alg", "kid", "typ"]);
    let again = claims(&text(
        &json(&house.token("grant_type=client_credentials")),
        "access_token",
    ));
    assert_ne!(claims(&own)["claims"]["jti"], again["claims"]["jti"]);
}
