//! `POST /oauth/token`, row by row of identity.md §1.2.

use crate::house::{
    CALLBACK, House, OTHER_SECRET, PKCE, SECRET, VERIFIER, basic, claims, error, json, seed_query,
    text,
};

#[test]
fn seed_step_2_and_3_a_code_gives_tokens_and_the_token_opens_the_api() {
    let house = House::start();
    let code = house.seed_code();
    // The seed's request as written.
    let answer = house.post(
        "/oauth/token",
        "",
        &format!(
            "grant_type=authorization_code&code={code}&client_id=client_conf&client_secret={SECRET}&redirect_uri={CALLBACK}"
        ),
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("pragma"), Some("no-cache"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let tokens = json(&answer);
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(tokens["expires_in"], 3600);
    assert_eq!(tokens["scope"], "domains:read domains:write");
    assert!(text(&tokens, "refresh_token").starts_with("osir_rt_"));
    let access = text(&tokens, "access_token");
    let told = claims(&access);
    assert_eq!(told["header"]["alg"], "ES256");
    assert_eq!(told["header"]["typ"], "at+jwt");
    assert_eq!(told["claims"]["iss"], "https://osir.com");
    assert_eq!(told["claims"]["aud"], "https://api.osir.com");
    assert_eq!(told["claims"]["sub"], "usr_alice");
    assert_eq!(told["claims"]["client_id"], "client_conf");
    assert_eq!(told["claims"]["acct"], "acct_user");
    let second = |claim: &str| told["claims"][claim].as_i64().expect("a time");
    assert_eq!(second("exp") - second("iat"), 3600);
    assert_eq!(house.call(&access), 200);
    let received = &house.upstream.received()[0];
    assert_eq!(
        received.values("x-auth-subject"),
        ["https://osir.com|usr_alice"]
    );
    assert_eq!(received.values("x-auth-account"), ["acct_user"]);
    // Never passed through.
    assert!(received.values("authorization").is_empty());
}

#[test]
fn other_methods_are_405_with_allow() {
    let house = House::start();
    for method in ["GET", "PUT", "DELETE"] {
        let answer = house.gateway.send(format!(
            "{method} /oauth/token HTTP/1.1\r\nhost: api.osir.com\r\n\r\n"
        ));
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.header("allow"), Some("POST, OPTIONS"));
    }
    let preflight = house.gateway.send(
        "OPTIONS /oauth/token HTTP/1.1\r\nhost: api.osir.com\r\norigin: https://spa.example\r\n\r\n",
    );
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-origin"), Some("*"));
    assert_eq!(preflight.header("access-control-allow-credentials"), None);
}

#[test]
fn what_is_no_unambiguous_form_is_invalid_request() {
    let house = House::start();
    let who = format!("client_id=client_conf&client_secret={SECRET}");
    for form in [
        format!("grant_type=client_credentials&grant_type=client_credentials&{who}"),
        format!("grant_type=client_credentials&{who}&scope=%ff"),
        format!("grant_type=client_credentials&{who}&scope=%zz"),
        who.clone(),
        format!("grant_type=&{who}"),
        format!("grant_type=authorization_code&{who}"),
        format!("grant_type=refresh_token&{who}"),
    ] {
        let answer = house.post("/oauth/token", "", &form);
        assert_eq!(
            (answer.status, error(&answer).as_str()),
            (400, "invalid_request"),
            "{form}"
        );
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let form = format!("grant_type=client_credentials&{who}");
    let in_url = house.post(&format!("/oauth/token?{who}"), "", &form);
    assert_eq!(
        (in_url.status, error(&in_url).as_str()),
        (400, "invalid_request")
    );
    for content_type in [
        "content-type: application/json\r\n",
        "",
        "content-type: text/plain\r\n",
    ] {
        let answer = house.gateway.send(format!(
            "POST /oauth/token HTTP/1.1\r\nhost: api.osir.com\r\n{content_type}content-length: {}\r\n\r\n{form}",
            form.len()
        ));
        assert_eq!(
            (answer.status, error(&answer).as_str()),
            (400, "invalid_request"),
            "{content_type}"
        );
    }
    // A parameter of the media type changes nothing.
    let answer = house.gateway.send(format!(
        "POST /oauth/token HTTP/1.1\r\nhost: api.osir.com\r\ncontent-type: Application/X-WWW-Form-Urlencoded; charset=UTF-8\r\ncontent-length: {}\r\n\r\n{form}",
        form.len()
    ));
    assert_eq!(answer.status, 200, "{answer:?}");
    // Oversize forms are not read.
    let answer = house.post("/oauth/token", "", &"a".repeat(65 * 1024));
    assert_eq!(answer.status, 413);
}

#[test]
fn two_ways_of_authentication_at_once_are_invalid_request() {
    let house = House::start();
    let form = "grant_type=client_credentials";
    let both = format!("{form}&client_id=client_conf&client_secret={SECRET}");
    let answer = house.post("/oauth/token", &basic("client_conf", SECRET), &both);
    assert_eq!(
        (answer.status, error(&answer).as_str()),
        (400, "invalid_request")
    );
    let other = format!("{form}&client_id=client_other");
    let answer = house.post("/oauth/token", &basic("client_conf", SECRET), &other);
    assert_eq!(
        (answer.status, error(&answer).as_str()),
        (400, "invalid_request")
    );
    // Basic alone, also with its own name in the form.
    for form in [form.to_owned(), format!("{form}&client_id=client_conf")] {
        let answer = house.post("/oauth/token", &basic("client_conf", SECRET), &form);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[test]
fn whoever_is_no_client_is_invalid_client_with_a_challenge() {
    let house = House::start();
    let form = |id: &str, secret: &str| {
        format!("grant_type=client_credentials&client_id={id}&client_secret={secret}")
    };
    let mut bodies = Vec::new();
    for (headers, form) in [
        (String::new(), form("client_nobody", SECRET)),
        (String::new(), form("client_conf", OTHER_SECRET)),
        (String::new(), form("client_conf", "")),
        (String::new(), form("client_gone", SECRET)),
        // Registered for Basic only.
        (String::new(), form("client_pkce", SECRET)),
        // A public client has no secret.
        (String::new(), form("client_pub", SECRET)),
        (
            basic("client_conf", OTHER_SECRET),
            "grant_type=client_credentials".into(),
        ),
        (
            basic("client_nobody", SECRET),
            "grant_type=client_credentials".into(),
        ),
        (
            "authorization: Bearer x\r\n".into(),
            "grant_type=client_credentials".into(),
        ),
        (String::new(), "grant_type=client_credentials".into()),
    ] {
        let answer = house.post("/oauth/token", &headers, &form);
        assert_eq!(answer.status, 401, "{form}");
        assert_eq!(
            answer.header("www-authenticate"),
            Some(r#"Basic realm="osir""#)
        );
        bodies.push(answer.body);
    }
    // Nothing tells an unknown client from a wrong secret.
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    assert!(bodies[0].contains("invalid_client"));
}

#[test]
fn a_grant_that_is_not_there_or_not_the_clients_is_told_so() {
    let house = House::start();
    let unknown = house.token("grant_type=password&username=alice&password=x");
    assert_eq!(
        (unknown.status, error(&unknown).as_str()),
        (400, "unsupported_grant_type")
    );
    let form = format!(
        "grant_type=refresh_token&refresh_token=x&client_id=client_service&client_secret={SECRET}"
    );
    let answer = house.post("/oauth/token", "", &form);
    assert_eq!(
        (answer.status, error(&answer).as_str()),
        (400, "unauthorized_client")
    );
    let form = "grant_type=client_credentials&client_id=client_pub";
    let answer = house.post("/oauth/token", "", form);
    assert_eq!(
        (answer.status, error(&answer).as_str()),
        (400, "unauthorized_client")
    );
}

#[test]
fn a_code_is_good_once_for_its_client_redirect_and_verifier() {
    let house = House::start();
    let code = house.seed_code();
    let redeem = |who: &str, rest: &str| {
        let form = format!("grant_type=authorization_code&code={code}&{rest}");
        let secret = if who == "client_conf" {
            SECRET
        } else {
            OTHER_SECRET
        };
        let answer = house.post("/oauth/token", &basic(who, secret), &form);
        (answer.status, error(&answer))
    };
    let redirect = format!("redirect_uri={CALLBACK}");
    let invalid = (400, "invalid_grant".to_owned());
    // A foreign client with a stolen code changes nothing.
    assert_eq!(redeem("client_other", &redirect), invalid);
    assert_eq!(redeem("client_conf", ""), invalid);
    assert_eq!(redeem("client_conf", &format!("{redirect}/")), invalid);
    assert_eq!(
        redeem("client_conf", "redirect_uri=https://yourapp.com/other?x=1"),
        invalid
    );
    // A verifier where there was no challenge: downgrade.
    let downgrade = redeem(
        "client_conf",
        &format!("{redirect}&code_verifier={VERIFIER}"),
    );
    assert_eq!(downgrade, (400, "invalid_request".into()));
    let unknown = redeem(
        "client_conf",
        &format!("{redirect}&resource=https://other.example"),
    );
    assert_eq!(unknown, (400, "invalid_target".into()));
    let form = format!("grant_type=authorization_code&code={code}&{redirect}");
    let tokens = json(&house.token(&form));
    let access = text(&tokens, "access_token");
    assert_eq!(house.call(&access), 200);
    // A replay in an otherwise good request revokes what the code gave.
    assert_eq!(redeem("client_conf", &redirect), invalid);
    crate::support::eventually("the access token is dead", || {
        (house.call(&access) == 401).then_some(())
    });
    let refresh = text(&tokens, "refresh_token");
    let answer = house.token(&format!("grant_type=refresh_token&refresh_token={refresh}"));
    assert_eq!(error(&answer), "invalid_grant");
}

#[test]
fn a_code_that_is_none_is_invalid_grant() {
    let house = House::start();
    for code in [
        "x",
        "osir_ac_short",
        "osir_rt_x",
        &format!("osir_ac_{}", "0".repeat(65)),
    ] {
        let answer = house.token(&format!("grant_type=authorization_code&code={code}"));
        assert_eq!(
            (answer.status, error(&answer).as_str()),
            (400, "invalid_grant"),
            "{code}"
        );
    }
}

#[test]
fn pkce_binds_a_code_to_its_verifier_and_spares_the_redirect() {
    let house = House::start();
    let query = format!(
        "client_id=client_pub&redirect_uri=http://127.0.0.1:5001/cb&response_type=code&scope=domains:read{PKCE}"
    );
    let code = house.code(&query);
    let redeem = |rest: &str| {
        let form = format!("grant_type=authorization_code&client_id=client_pub&code={code}{rest}");
        house.post("/oauth/token", "", &form)
    };
    for wrong in [
        "",
        "&code_verifier=short",
        &format!("&code_verifier={}", "x".repeat(43)),
    ] {
        assert_eq!(error(&redeem(wrong)), "invalid_grant", "{wrong}");
    }
    // As OAuth 2.1 has it: without redirect_uri.
    let answer = redeem(&format!("&code_verifier={VERIFIER}"));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(json(&answer)["scope"], "domains:read");
    // A replay with a wrong verifier kills nothing.
    let access = text(&json(&answer), "access_token");
    assert_eq!(error(&redeem("&code_verifier=wrong")), "invalid_grant");
    assert_eq!(house.call(&access), 200);
}

#[test]
fn client_credentials_act_as_the_client_itself() {
    let house = House::start();
    let answer = house
        .token("grant_type=client_credentials&scope=domains:read&resource=https://api.osir.com/");
    assert_eq!(answer.status, 200, "{answer:?}");
    let tokens = json(&answer);
    assert!(tokens.get("refresh_token").is_none());
    assert_eq!(tokens["scope"], "domains:read");
    let access = text(&tokens, "access_token");
    let told = claims(&access);
    assert_eq!(told["claims"]["sub"], "client:client_conf");
    assert_eq!(told["claims"]["acct"], "acct_client");
    assert!(told["claims"].get("fam").is_none());
    assert_eq!(house.call(&access), 200);
    for (rest, expected) in [
        ("scope=domains:admin", "invalid_scope"),
        ("scope=openid", "invalid_scope"),
        ("scope=domains:read%20%20domains:write", "invalid_scope"),
        ("resource=https://api.osir.com/v1", "invalid_target"),
    ] {
        let answer = house.token(&format!("grant_type=client_credentials&{rest}"));
        assert_eq!(
            (answer.status, error(&answer).as_str()),
            (400, expected),
            "{rest}"
        );
    }
}

#[test]
fn both_secrets_of_a_rotation_work_and_one_that_has_ended_does_not() {
    let house = House::start();
    for (secret, status) in [
        ("osir_cs_newer", 200),
        ("osir_cs_older", 200),
        ("osir_cs_ended", 401),
    ] {
        let form =
            format!("grant_type=client_credentials&client_id=client_two&client_secret={secret}");
        assert_eq!(
            house.post("/oauth/token", "", &form).status,
            status,
            "{secret}"
        );
        let headers = basic("client_two", secret);
        let answer = house.post("/oauth/token", &headers, "grant_type=client_credentials");
        assert_eq!(answer.status, status, "{secret}");
    }
}

#[test]
fn too_many_failures_are_429_with_retry_after() {
    let house = House::start();
    let form = "grant_type=client_credentials&client_id=client_conf&client_secret=wrong";
    for _ in 0..30 {
        assert_eq!(house.post("/oauth/token", "", form).status, 401);
    }
    // However slow this is: each wait is twice the one before.
    let refused = crate::support::eventually("a refusal", || {
        let answer = house.post("/oauth/token", "", form);
        (answer.status == 429).then_some(answer)
    });
    assert_eq!(error(&refused), "too_many_requests");
    assert!(refused.header("retry-after").is_some());
}

#[test]
fn fifty_redemptions_of_one_code_give_one_grant_on_both_stores() {
    for house in [House::start(), House::on_redis()] {
        let code = house.code(&seed_query());
        let form = format!("grant_type=authorization_code&code={code}&redirect_uri={CALLBACK}");
        let answers: Vec<u16> = std::thread::scope(|scope| {
            let one = || scope.spawn(|| house.token(&form).status);
            let threads: Vec<_> = (0..50).map(|_| one()).collect();
            let joined = threads
                .into_iter()
                .map(|thread| thread.join().expect("an answer"));
            joined.collect()
        });
        assert_eq!(
            answers.iter().filter(|status| **status == 200).count(),
            1,
            "{answers:?}"
        );
        assert_eq!(answers.iter().filter(|status| **status == 400).count(), 49);
    }
}
