//! `/oauth/authorize`: what identity.md §1.1 asks beyond `authorize.rs`, and tricks with redirects.

use crate::house::{
    CALLBACK, House, PASSWORD, PKCE, SECRET, encoded, error, json, parameter, parameters,
    public_query, seed_query,
};
use crate::support::Answer;

/// What every answer to a browser has, page or redirect.
fn is_for_browsers_alone(answer: &Answer) {
    for (name, value) in [
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}: {answer:?}");
    }
    let policy = answer.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    for part in ["; frame-ancestors 'none'", "; base-uri 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    has_no_cors(answer);
}

fn has_no_cors(answer: &Answer) {
    let mut names = answer.headers.iter().map(|(name, _)| name);
    assert!(
        !names.any(|name| name.starts_with("access-control-")),
        "{answer:?}"
    );
}

fn post(house: &House, fields: &str, form: &str) -> Answer {
    house.browse(format!(
        "POST /oauth/authorize HTTP/1.1\r\nhost: osir.com\r\n{fields}content-length: {}\r\n\r\n{form}",
        form.len()
    ))
}

const FORM: &str = "content-type: application/x-www-form-urlencoded\r\n";

#[test]
fn a_redirect_uri_is_compared_byte_for_byte() {
    let house = House::start();
    for uri in [
        // More, less or other than what is registered, though it may lead to the same place.
        "https://yourapp.com/callback/",
        "https://yourapp.com/callback?",
        "https://yourapp.com/callback#",
        "https://yourapp.com/callback#f",
        "https://yourapp.com/callback?x=1",
        "https://yourapp.com/Callback",
        "https://yourapp.com//callback",
        "https://yourapp.com/./callback",
        "https://yourapp.com/x/../callback",
        "https://yourapp.com/%63allback",
        "https://yourapp.com/callback%2f",
        "https://yourapp.com/callback;x",
        "https://yourapp.com/other?x=1&y=2",
        "https://yourapp.com/other?x=%31",
        "https://yourapp.com/other?X=1",
        "https://yourapp.com:443/callback",
        "https://yourapp.com:/callback",
        "https://yourapp.com:8443/callback",
        "https://yourapp.com./callback",
        "https://YOURAPP.com/callback",
        "HTTPS://yourapp.com/callback",
        "http://yourapp.com/callback",
        // Whoever reads these may read another host.
        "https://user@yourapp.com/callback",
        "https://yourapp.com@evil.example/callback",
        "https://yourapp.com:x@evil.example/callback",
        "https://yourapp.com\\@evil.example/callback",
        "https://evil.example\\@yourapp.com/callback",
        "https://evil.example#@yourapp.com/callback",
        "https://evil.example?@yourapp.com/callback",
        "https://yourapp.com.evil.example/callback",
        "https://evil.example/https://yourapp.com/callback",
        "https:\\\\yourapp.com\\callback",
        "https:/yourapp.com/callback",
        "https:///yourapp.com/callback",
        "https:yourapp.com/callback",
        "//yourapp.com/callback",
        "/callback",
        "yourapp.com/callback",
        "https://yourapp.com%2fcallback",
        "https://yourapp.com%40evil.example/callback",
        "https://y\u{43e}urapp.com/callback",
        "https://yourapp\u{3002}com/callback",
        "https://yourapp.com\u{ff0f}callback",
        "https://yourapp.com/callback\u{202e}",
        "https://xn--yurapp-0ne.com/callback",
        // Two in one, and what breaks out of a field.
        "https://yourapp.com/callback https://evil.example/",
        "https://yourapp.com/callback,https://evil.example/",
        " https://yourapp.com/callback",
        "https://yourapp.com/callback ",
        "https://yourapp.com/callback\r\nset-cookie: evil=1",
        "https://yourapp.com/callback\u{0}",
        "https://yourapp.com/callback%0d%0aset-cookie:evil",
        "javascript:alert(1)",
        "data:text/html,evil",
        // Another client's.
        "http://127.0.0.1/cb",
    ] {
        let query = format!(
            "client_id=client_conf&response_type=code&scope=domains:read&state=s&redirect_uri={}",
            encoded(uri)
        );
        for answer in [house.authorize(&query), post(&house, FORM, &query)] {
            assert_eq!(answer.status, 400, "{uri}");
            assert_eq!(answer.header("location"), None, "{uri}");
            assert_eq!(answer.header("set-cookie"), None, "{uri}");
            assert!(!answer.body.contains("evil"), "{uri}");
            is_for_browsers_alone(&answer);
        }
    }
}

#[test]
fn a_loopback_redirect_is_an_address_with_any_port_that_there_can_be() {
    let house = House::start();
    let query = |uri: &str| {
        format!(
            "client_id=client_pub&redirect_uri={}&response_type=code&scope=domains:read{PKCE}",
            encoded(uri)
        )
    };
    for port in ["", ":1", ":8080", ":65535"] {
        let uri = format!("http://127.0.0.1{port}/cb");
        let mut browser = house.browser(&query(&uri));
        browser.decide("deny");
        let location = browser.answer.header("location").expect("a redirect");
        assert!(
            location.starts_with(&format!("{uri}?error=access_denied")),
            "{location}"
        );
    }
    for uri in [
        "http://127.0.0.1:65536/cb",
        "http://127.0.0.1:/cb",
        "http://127.0.0.1:+1/cb",
        "http://127.0.0.1:x/cb",
        "http://127.0.0.1:1@evil.example/cb",
        "http://127.0.0.1:1/cb/",
        "http://127.0.0.1:1/cb?x",
        "http://127.0.0.1:1/cb#f",
        "http://127.0.0.1:1\\/cb",
        "https://127.0.0.1:1/cb",
        "http://localhost:1/cb",
        "http://127.0.0.1.evil.example:1/cb",
        "http://127.1:1/cb",
        "http://127.0.0.01:1/cb",
        "http://127.0.0.2:1/cb",
        "http://2130706433:1/cb",
        "http://0x7f000001:1/cb",
        "http://[::1]:1/cb",
        "http://[::ffff:127.0.0.1]:1/cb",
        "http://0.0.0.0:1/cb",
    ] {
        let answer = house.authorize(&query(uri));
        assert_eq!(
            (answer.status, answer.header("location")),
            (400, None),
            "{uri}"
        );
    }
    // A port is free for an address of the own machine only.
    let elsewhere = "client_id=client_conf&response_type=code&scope=domains:read&redirect_uri=";
    let elsewhere = house.authorize(&format!("{elsewhere}https://yourapp.com:1/callback"));
    assert_eq!(elsewhere.status, 400);
}

#[test]
fn what_is_kept_of_a_request_is_bounded() {
    let house = House::start();
    let ask = |state: &str| house.authorize(&seed_query().replace("s%2B1", &encoded(state)));
    let kept = ask(&"x".repeat(2048));
    assert_eq!((kept.status, parameter(&kept, "error")), (302, None));
    // Longer than anyone has to echo.
    for state in ["x".repeat(2049), "é".repeat(1025), "x".repeat(6000)] {
        let mut refused = None;
        assert!(house.calls_of(|| refused = Some(ask(&state))).is_empty());
        let refused = refused.expect("an answer");
        assert_eq!((refused.status, refused.header("location")), (400, None));
        assert!(refused.body.contains("This request is malformed"));
    }
    // Each takes six bytes in the form that is kept.
    let state = "\u{1}".repeat(1000);
    let mut refused = None;
    let calls = house.calls_of(|| refused = Some(ask(&state)));
    assert_eq!(calls.into_keys().collect::<Vec<_>>(), ["client"]);
    let refused = refused.expect("an answer");
    assert_eq!(refused.status, 302);
    assert_eq!(
        parameter(&refused, "error").as_deref(),
        Some("invalid_request")
    );
    assert_eq!(parameter(&refused, "state"), Some(encoded(&state)));
}

#[test]
fn state_comes_back_byte_for_byte() {
    let house = House::start();
    let visible: String = (' '..='~').collect();
    let long = "x".repeat(2000);
    let odd = [
        visible.as_str(),
        "a&code=osir_ac_x&iss=https://evil.example#f",
        "%2B %25 + ++ %2525",
        "\u{0}\r\nset-cookie: evil=1",
        "é ☃ 𝄞 \u{202e}",
        "0",
        " ",
        &long,
    ];
    for state in odd {
        let sent = encoded(state);
        // An error, by GET and by POST.
        let query = format!(
            "client_id=client_conf&redirect_uri={CALLBACK}&response_type=token&state={sent}"
        );
        let (got, posted) = (house.authorize(&query), post(&house, FORM, &query));
        assert_eq!((got.status, posted.status), (302, 303), "{state}");
        let mut browser = house.browser(&seed_query().replace("s%2B1", &sent));
        browser.decide("deny");
        for answer in [&got, &posted, &browser.answer] {
            assert_eq!(parameter(answer, "state").as_ref(), Some(&sent), "{state}");
            // Its own cookie, where a step was taken, and none that the state brought.
            let mut fields = answer.headers.iter();
            assert!(fields.all(|(name, value)| {
                name != "set-cookie" || value.starts_with("__Host-pc_int=")
            }));
            assert_eq!(parameters(answer)["iss"], "https%3A%2F%2Fosir.com");
        }
    }
    // And with a code.
    let sent = encoded(&visible);
    let mut browser = house.browser(&seed_query().replace("s%2B1", &sent));
    browser.log_in("alice", PASSWORD);
    browser.decide("allow");
    assert!(parameter(&browser.answer, "code").is_some());
    assert_eq!(parameter(&browser.answer, "state"), Some(sent));
}

#[test]
fn a_get_is_answered_with_302_and_a_post_with_303() {
    let house = House::start();
    let wrong = seed_query().replace("=code", "=token");
    for (query, begins) in [
        (seed_query(), "/oauth/interaction/int_"),
        (wrong, "https://yourapp.com/callback?error=unsupported"),
    ] {
        for (answer, status) in [
            (house.authorize(&query), 302),
            (post(&house, FORM, &query), 303),
        ] {
            assert_eq!(answer.status, status, "{query}");
            let location = answer.header("location").expect("a redirect");
            assert!(location.starts_with(begins), "{location}");
            assert_eq!(answer.body, "");
        }
    }
    let mut browser = house.browser(&seed_query());
    let (token, password) = (browser.form_token(), PASSWORD.replace(' ', "+"));
    let form = format!("token={token}&name=alice&password={password}");
    browser.send("login", "", &form);
    assert_eq!(browser.answer.status, 303, "after a login");
    browser.look();
    browser.decide("allow");
    assert_eq!(browser.answer.status, 303, "after a decision");
}

#[test]
fn an_answer_comes_after_the_query_that_a_redirect_has_itself() {
    let house = House::start();
    let uri = "https://yourapp.com/other?x=1";
    let query = seed_query().replace(CALLBACK, &encoded(uri));
    let mut denied = house.browser(&query);
    denied.decide("deny");
    let location = denied.answer.header("location").expect("a redirect");
    assert_eq!(
        location,
        format!("{uri}&error=access_denied&state=s%2B1&iss=https%3A%2F%2Fosir.com")
    );
    let mut allowed = house.browser(&query);
    allowed.log_in("alice", PASSWORD);
    allowed.decide("allow");
    let code = parameter(&allowed.answer, "code").expect("a code");
    let location = allowed.answer.header("location").expect("a redirect");
    assert_eq!(
        location,
        format!("{uri}&code={code}&state=s%2B1&iss=https%3A%2F%2Fosir.com")
    );
    let form = format!("grant_type=authorization_code&code={code}");
    for other in [
        CALLBACK,
        "https://yourapp.com/other",
        "https://yourapp.com/other?x=2",
    ] {
        let answer = house.token(&format!("{form}&redirect_uri={}", encoded(other)));
        assert_eq!(error(&answer), "invalid_grant", "{other}");
    }
    let answer = house.token(&format!("{form}&redirect_uri={}", encoded(uri)));
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn an_empty_parameter_is_absent_and_an_unknown_one_is_ignored() {
    let house = House::start();
    // As if it were not there: no state comes back, no PKCE is half-asked for, the only redirect
    // is taken.
    let empty = "&state=&code_challenge=&code_challenge_method=&resource=&response_mode=";
    let lone = "client_id=client_trusted&redirect_uri=&response_type=code&scope=domains:read";
    let mut browser = house.browser(&format!("{lone}{empty}"));
    browser.decide("deny");
    let location = browser.answer.header("location").expect("a redirect");
    assert_eq!(
        location,
        format!("{CALLBACK}?error=access_denied&iss=https%3A%2F%2Fosir.com")
    );
    for (query, error) in [
        (
            seed_query().replace("response_type=code", "response_type="),
            "invalid_request",
        ),
        (
            seed_query().replace("domains:read%20domains:write", ""),
            "invalid_scope",
        ),
        (
            public_query().replace(PKCE, "&code_challenge="),
            "invalid_request",
        ),
    ] {
        let answer = house.authorize(&query);
        assert_eq!(
            parameter(&answer, "error").as_deref(),
            Some(error),
            "{query}"
        );
    }
    assert_eq!(house.authorize("client_id=").status, 400);
    // As OpenID Connect and others send them.
    let more = "&nonce=n&prompt=login&max_age=1&acr_values=x&claims=%7B%7D&ui_locales=de&utm=1";
    let browser = house.browser(&format!("{}{more}", seed_query()));
    assert_eq!(browser.answer.status, 200);
}

#[test]
fn a_scope_is_a_list_however_its_blanks_are_written() {
    let house = House::start();
    for blank in ["%20", "+"] {
        let mut browser = house.browser(&seed_query().replace("%20", blank));
        browser.log_in("alice", PASSWORD);
        for words in ["View domains", "Manage domains"] {
            assert!(browser.answer.body.contains(words), "{blank}");
        }
    }
    for blank in ["%20%20", "%09", ",", "%2B", "%0A", "%C2%A0"] {
        let answer = house.authorize(&seed_query().replace("%20", blank));
        let error = parameter(&answer, "error");
        assert_eq!(error.as_deref(), Some("invalid_scope"), "{blank}");
    }
    // Case counts (RFC 6749 §3.3).
    let answer = house.authorize(&seed_query().replace("domains:read", "Domains:read"));
    assert_eq!(
        parameter(&answer, "error").as_deref(),
        Some("invalid_scope")
    );
}

#[test]
fn a_request_without_scope_asks_for_the_default_as_far_as_the_client_may() {
    let house = House::with(None, ", default_scopes: [domains:read]");
    let query = seed_query().replace("&scope=domains:read%20domains:write", "");
    for query in [query.clone(), format!("{query}&scope=")] {
        let mut browser = house.browser(&query);
        browser.log_in("alice", PASSWORD);
        assert!(browser.answer.body.contains("View domains"));
        assert!(!browser.answer.body.contains("Manage domains"));
    }
}

#[test]
fn only_a_code_in_the_query_is_given() {
    let house = House::start();
    let (kind, request) = ("unsupported_response_type", "invalid_request");
    for (change, expected) in [
        ("token", kind),
        ("code%20token", kind),
        ("id_token", kind),
        ("code%20id_token", kind),
        ("none", kind),
        ("CODE", kind),
        ("code&response_mode=fragment", request),
        ("code&response_mode=form_post", request),
    ] {
        let answer = house.authorize(&seed_query().replace("=code", &format!("={change}")));
        assert_eq!(answer.status, 302);
        let location = answer.header("location").expect("a redirect");
        let begins = format!("{CALLBACK}?error={expected}");
        assert!(location.starts_with(&begins), "{change}: {location}");
        assert!(!location.contains('#'), "{location}");
    }
    let plain = house.browser(&format!("{}&response_mode=query", seed_query()));
    assert_eq!(plain.answer.status, 200);
}

#[test]
fn a_posted_request_is_a_form_by_its_media_type() {
    let house = House::start();
    let query = seed_query();
    for fields in [
        "",
        "content-type: text/plain\r\n",
        "content-type: application/json\r\n",
    ] {
        let answer = post(&house, fields, &query);
        assert_eq!(
            (answer.status, answer.header("location")),
            (400, None),
            "{fields}"
        );
        is_for_browsers_alone(&answer);
    }
    let charset = "content-type: application/x-www-form-urlencoded; charset=utf-8\r\n";
    assert_eq!(post(&house, charset, &query).status, 303);
    // The body alone counts.
    let answer = house.browse(format!(
        "POST /oauth/authorize?{query} HTTP/1.1\r\nhost: osir.com\r\n{FORM}content-length: 0\r\n\r\n"
    ));
    assert_eq!(answer.status, 400);
    for bad in ["client_id=client_conf&x=%ff", "client_id=client_conf&x=%zz"] {
        assert_eq!(post(&house, FORM, bad).status, 400, "{bad}");
    }
    assert_eq!(post(&house, FORM, &"a".repeat(65 * 1024)).status, 413);
}

#[test]
fn every_answer_to_a_browser_keeps_out_frames_caches_and_scripts_of_others() {
    let house = House::start();
    let mut answers = Vec::new();
    let mut get = |target: &str, cookie: &str| {
        let answer = house.browse(format!(
            "GET {target} HTTP/1.1\r\nhost: osir.com\r\norigin: https://spa.example\r\ncookie: {cookie}\r\n\r\n"
        ));
        answers.push(answer.clone());
        answer
    };
    assert_eq!(get("/oauth/authorize", "a=b").status, 400);
    let wrong = format!(
        "/oauth/authorize?{}",
        seed_query().replace("=code", "=token")
    );
    assert_eq!(get(&wrong, "a=b").status, 302);
    let begun = get(&format!("/oauth/authorize?{}", seed_query()), "a=b");
    let page = begun.header("location").expect("a page").to_owned();
    assert_eq!(get(&page, "a=b").status, 400, "no cookie");
    let mut browser = house.browser(&seed_query());
    answers.push(browser.answer.clone());
    let fields = "sec-fetch-site: same-origin\r\norigin: https://osir.com\r\n";
    let mut send = |action: &str, form: &str, status: u16| {
        let form = format!("token={}&{form}", browser.form_token());
        browser.send(action, fields, &form);
        assert_eq!(browser.answer.status, status, "{action} {form}");
        answers.push(browser.answer.clone());
        if status == 303 {
            browser.look();
            answers.push(browser.answer.clone());
        }
    };
    send("login", "name=alice&password=wrong", 403);
    send(
        "login",
        &format!("name=alice&password={}", encoded(PASSWORD)),
        303,
    );
    send("decision", "decision=allow", 303);
    send("decision", "decision=allow", 403);
    assert_eq!(answers.len(), 11);
    for answer in &answers {
        is_for_browsers_alone(answer);
    }
}

#[test]
fn no_script_may_ask_for_leave_to_call_what_a_browser_is_sent_to() {
    let house = House::start();
    let page = house.browser(&seed_query()).page;
    for (path, allow) in [
        ("/oauth/authorize".to_owned(), "GET, HEAD, POST"),
        (page.clone(), "GET, HEAD"),
        (format!("{page}/login"), "POST"),
        (format!("{page}/decision"), "POST"),
    ] {
        for method in ["OPTIONS", "PUT", "DELETE"] {
            let answer = house.browse(format!(
                "{method} {path} HTTP/1.1\r\nhost: osir.com\r\norigin: https://spa.example\r\n\
                 access-control-request-method: POST\r\n\r\n"
            ));
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.header("allow"), Some(allow), "{path}");
            has_no_cors(&answer);
        }
    }
}

/// RFC 6749 §3.1.2.3, §4.1.3: what the token request has to say follows what this one said.
#[test]
fn a_redirect_that_was_not_named_need_not_be_named_for_the_code() {
    let house = House::start();
    let basic = crate::house::basic("client_trusted", SECRET);
    let query = "client_id=client_trusted&response_type=code&scope=domains:read";
    let code = |query: &str| {
        let mut browser = house.browser(query);
        browser.log_in("alice", PASSWORD);
        parameter(&browser.answer, "code").expect("a code")
    };
    let redeem = |code: &str, rest: &str| {
        let form = format!("grant_type=authorization_code&code={code}{rest}");
        house.post("/oauth/token", &basic, &form)
    };
    let unnamed = code(query);
    let other = redeem(&unnamed, "&redirect_uri=https://yourapp.com/other");
    assert_eq!(error(&other), "invalid_grant", "named, then the same");
    assert_eq!(redeem(&unnamed, "").status, 200);
    let unnamed = code(query);
    let named = redeem(&unnamed, &format!("&redirect_uri={CALLBACK}"));
    assert_eq!(json(&named)["scope"], "domains:read");
    let named = code(&format!("{query}&redirect_uri={CALLBACK}"));
    assert_eq!(error(&redeem(&named, "")), "invalid_grant", "named before");
}
