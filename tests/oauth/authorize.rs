//! `/oauth/authorize`, row by row of identity.md §1.1.

use crate::house::{CALLBACK, House, PKCE, parameter, parameters, seed_query};

fn base(client: &str) -> String {
    format!("client_id={client}&redirect_uri={CALLBACK}&response_type=code&scope=domains:read")
}

#[test]
fn an_unknown_client_or_redirect_is_a_page_and_never_a_redirect() {
    let house = House::start();
    for query in [
        "".to_owned(),
        "client_id=client_nobody&response_type=code".into(),
        "client_id=client_gone&response_type=code".into(),
        // Several are registered, none is named.
        "client_id=client_conf&response_type=code&scope=domains:read".into(),
        "client_id=client_conf&response_type=code&redirect_uri=https://evil.example/".into(),
        format!("client_id=client_conf&response_type=code&redirect_uri={CALLBACK}/"),
        format!("client_id=client_conf&response_type=code&redirect_uri={CALLBACK}%23f"),
        "client_id=client_conf&response_type=code&redirect_uri=https://yourapp.com:443/callback".into(),
        "client_id=client_conf&response_type=code&redirect_uri=https://YOURAPP.com/callback".into(),
        "client_id=client_conf&response_type=code&redirect_uri=https://yourapp.com@evil.example/callback".into(),
        "client_id=client_conf&response_type=code&redirect_uri=https://yourapp.com/other".into(),
        format!("{}&client_id=client_conf", base("client_conf")),
        format!("{}&redirect_uri={CALLBACK}", base("client_conf")),
        "client_id=%ff".into(),
    ] {
        let answer = house.authorize(&query);
        assert_eq!(answer.status, 400, "{query}");
        assert_eq!(answer.header("location"), None, "{query}");
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
}

#[test]
fn what_else_is_wrong_goes_back_to_the_client_with_state_and_iss() {
    let house = House::start();
    let base = base("client_conf");
    let without = |part: &str| base.replace(part, "");
    for (query, error) in [
        (format!("{base}&scope=domains:read"), "invalid_request"),
        (format!("{base}&nonce=1&nonce=2"), "invalid_request"),
        (without("&response_type=code"), "invalid_request"),
        (base.replace("=code", "="), "invalid_request"),
        (base.replace("=code", "=token"), "unsupported_response_type"),
        (
            base.replace("client_conf", "client_service"),
            "unauthorized_client",
        ),
        (
            base.replace("client_conf", "client_pkce"),
            "invalid_request",
        ),
        (
            format!("{base}&code_challenge={}", "a".repeat(43)),
            "invalid_request",
        ),
        (
            format!(
                "{base}&code_challenge={}&code_challenge_method=plain",
                "a".repeat(43)
            ),
            "invalid_request",
        ),
        (
            format!(
                "{base}&code_challenge={}&code_challenge_method=S256",
                "a".repeat(42)
            ),
            "invalid_request",
        ),
        (
            format!(
                "{base}&code_challenge={}%2F&code_challenge_method=S256",
                "a".repeat(43)
            ),
            "invalid_request",
        ),
        (
            format!("{base}&code_challenge_method=S256"),
            "invalid_request",
        ),
        (
            base.replace("domains:read", "domains:admin"),
            "invalid_scope",
        ),
        (base.replace("domains:read", "openid"), "invalid_scope"),
        (without("&scope=domains:read"), "invalid_scope"),
        (
            format!("{base}&resource=https://other.example"),
            "invalid_target",
        ),
    ] {
        let answer = house.authorize(&format!("{query}&state=a%20b%2Bc%25"));
        assert_eq!(answer.status, 302, "{query}");
        let location = answer.header("location").expect("a redirect");
        assert!(
            location.starts_with(&format!("{CALLBACK}?error={error}")),
            "{query}: {location}"
        );
        assert_eq!(parameter(&answer, "state").as_deref(), Some("a%20b%2Bc%25"));
        assert_eq!(
            parameter(&answer, "iss").as_deref(),
            Some("https%3A%2F%2Fosir.com")
        );
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    // No state, none back; a repeated one is not guessed at.
    for query in [
        base.replace("=code", "="),
        format!("{base}&state=1&state=2"),
    ] {
        let answer = house.authorize(&query);
        assert_eq!(parameter(&answer, "state"), None);
        assert_eq!(
            parameter(&answer, "error").as_deref(),
            Some("invalid_request")
        );
    }
}

#[test]
fn the_query_of_a_redirect_is_kept_and_a_lone_redirect_need_not_be_named() {
    let house = House::start();
    let answer = house.authorize(
        "client_id=client_conf&redirect_uri=https://yourapp.com/other?x=1&response_type=token",
    );
    let location = answer.header("location").expect("a redirect");
    assert!(
        location.starts_with("https://yourapp.com/other?x=1&error="),
        "{location}"
    );
    let answer = house.authorize("client_id=client_trusted&response_type=token");
    let location = answer.header("location").expect("a redirect");
    assert!(
        location.starts_with(&format!("{CALLBACK}?error=")),
        "{location}"
    );
}

#[test]
fn seed_step_1_a_login_and_a_yes_give_a_code() {
    let house = House::start();
    let mut browser = house.browser(&seed_query().replace("%20", "+"));
    browser.log_in("alice", crate::house::PASSWORD);
    browser.decide("allow");
    assert_eq!(browser.answer.status, 303);
    let told = parameters(&browser.answer);
    assert!(told["code"].starts_with("osir_ac_"));
    assert_eq!(told["state"], "s%2B1");
    assert_eq!(told["iss"], "https%3A%2F%2Fosir.com");
    assert_eq!(told.len(), 3);
}

#[test]
fn the_seeds_request_is_complete_without_state() {
    let house = House::start();
    let mut browser = house.browser(&seed_query().replace("&state=s%2B1", ""));
    browser.log_in("alice", crate::house::PASSWORD);
    browser.decide("allow");
    let told = parameters(&browser.answer);
    assert!(told["code"].starts_with("osir_ac_"));
    assert_eq!(told["iss"], "https%3A%2F%2Fosir.com");
    assert_eq!(told.len(), 2);
}

#[test]
fn an_authorization_request_may_be_a_form() {
    let house = House::start();
    let form = seed_query();
    let answer = house.browse(format!(
        "POST /oauth/authorize HTTP/1.1\r\nhost: osir.com\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        form.len()
    ));
    assert_eq!(answer.status, 303, "{answer:?}");
    assert!(
        answer
            .header("location")
            .expect("a page")
            .starts_with("/oauth/interaction/int_")
    );
    let cookie = answer.header("set-cookie").expect("a cookie");
    assert!(cookie.starts_with("__Host-pc_int="));
    assert!(cookie.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax"));
}

#[test]
fn a_public_client_needs_pkce() {
    let house = House::start();
    let query = "client_id=client_pub&redirect_uri=http://127.0.0.1:5001/cb&response_type=code&scope=domains:read";
    let answer = house.authorize(query);
    assert_eq!(answer.status, 302);
    let error = parameter(&answer, "error");
    assert_eq!(error.as_deref(), Some("invalid_request"));
    let answer = house.authorize(&format!("{query}{PKCE}"));
    assert_eq!(parameter(&answer, "error"), None, "{answer:?}");
}

#[test]
fn a_loopback_redirect_may_have_any_port() {
    let house = House::start();
    let query = |uri: &str| {
        format!(
            "client_id=client_pub&redirect_uri={uri}&response_type=code&scope=domains:read{PKCE}"
        )
    };
    assert_eq!(
        house.authorize(&query("http://127.0.0.1:49152/cb")).status,
        302
    );
    for other in [
        "http://127.0.0.1:49152/",
        "http://localhost:49152/cb",
        "http://127.0.0.2:1/cb",
    ] {
        assert_eq!(house.authorize(&query(other)).status, 400, "{other}");
    }
}
