//! The section *Bad input* of the issue, where no other file has it: forgers, thieves, and whoever
//! wants more than was given.

use portcullis::id::{GrantId, LoginName};
use portcullis::secret::Pepper;
use portcullis::store::{ChangeUser, UpdateClient};
use portcullis::token::{OpaqueFormat, RefreshNonce, RefreshTokens};

use crate::house::{
    CALLBACK, House, OTHER_SECRET, PASSWORD, PKCE, SECRET, basic, error, fields, json, parameter,
    pepper, public_query, scopes, seed_query, text,
};
use crate::support::Answer;

/// Nothing about an answer or the way to it tells whether there is such a client.
#[test]
fn an_unknown_client_and_a_wrong_secret_cannot_be_told_apart() {
    let house = House::start();
    let form = "grant_type=client_credentials";
    for path in ["/oauth/token", "/oauth/revoke", "/oauth/introspect"] {
        let ask = |id: &str, secret: &str| {
            let form = format!("{form}&token=x&client_id={id}&client_secret={secret}");
            let by_form = house.post(path, "", &form);
            let form = "grant_type=client_credentials&token=x";
            [by_form, house.post(path, &basic(id, secret), form)]
        };
        let mut told = Vec::new();
        for (id, secret) in [
            ("client_conf", OTHER_SECRET),
            ("client_nobody", OTHER_SECRET),
            // Disabled, with its right secret.
            ("client_gone", SECRET),
        ] {
            let mut answers = Vec::new();
            let calls = house.calls_of(|| answers.extend(ask(id, secret)));
            // The same work, and the secret was digested before it began.
            assert_eq!(
                calls.into_iter().collect::<Vec<_>>(),
                [("client".to_owned(), 2.0)],
                "{id}"
            );
            for answer in answers {
                assert_eq!(answer.status, 401);
                told.push((fields(&answer), answer.body));
            }
        }
        told.dedup();
        assert_eq!(told.len(), 1, "{path}: {told:?}");
    }
}

/// Only the look-up of the client reaches the store.
#[test]
fn a_forged_refresh_token_is_dead_before_the_store() {
    let house = House::start();
    let token = text(&house.tokens(), "refresh_token");
    let id = GrantId::random();
    let format = OpaqueFormat::new("osir");
    let mint = |format: &OpaqueFormat, pepper: &Pepper| {
        let tokens = RefreshTokens::new(format.clone(), &pepper.clone().into());
        let minted = tokens.mint(&id, 0, &RefreshNonce::random());
        minted.expose().to_owned()
    };
    let other_pepper = Pepper::new(b"another pepper of 32 bytes or more").expect("strong");
    let flip = |at: usize| {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        String::from_utf8(bytes).expect("ASCII")
    };
    let forged = [
        mint(&format, &other_pepper),
        mint(&OpaqueFormat::new("other"), &pepper()),
        flip(token.len() - 1),
        flip(token.len() - 30),
        flip(9),
        token[..token.len() - 1].to_owned(),
        format!("{token}0"),
        token.replace("_rt_", "_ac_"),
        token.to_uppercase(),
        format!("osir_rt_{}", "0".repeat(72)),
        format!("osir_rt_{}", "z".repeat(72)),
        "osir_rt_".to_owned(),
        "x".repeat(10_000),
    ];
    for forged in &forged {
        let calls = house.calls_of(|| {
            let answer = house.refresh(forged);
            assert_eq!(
                (answer.status, error(&answer).as_str()),
                (400, "invalid_grant"),
                "{forged}"
            );
        });
        assert_eq!(
            calls.into_iter().collect::<Vec<_>>(),
            [("client".to_owned(), 1.0)],
            "{forged}"
        );
        let calls = house.calls_of(|| {
            let form = format!("token={forged}");
            let answer = house.post("/oauth/revoke", &basic("client_conf", SECRET), &form);
            assert_eq!(answer.status, 200);
        });
        assert_eq!(
            calls.into_iter().collect::<Vec<_>>(),
            [("client".to_owned(), 1.0)],
            "{forged}"
        );
    }
    // With the pepper and a grant's id, but not its nonce, nothing is got either.
    let unknown = house.refresh(&mint(&format, &pepper()));
    assert_eq!(error(&unknown), "invalid_grant");
    assert_eq!(house.refresh(&token).status, 200, "and the true one works");
}

#[test]
fn a_thief_with_another_client_gets_and_ends_nothing() {
    let house = House::start();
    let thief = basic("client_other", OTHER_SECRET);
    let code = house.seed_code();
    let redeem = format!("grant_type=authorization_code&code={code}&redirect_uri={CALLBACK}");
    let refused = |answer: &Answer, why: &str| {
        assert_eq!(
            (answer.status, error(answer).as_str()),
            (400, "invalid_grant"),
            "{why}"
        );
    };
    refused(
        &house.post("/oauth/token", &thief, &redeem),
        "an unused code",
    );
    let public = format!("{redeem}&client_id=client_pub");
    refused(
        &house.post("/oauth/token", "", &public),
        "by a public client",
    );
    let tokens = json(&house.token(&redeem));
    refused(&house.post("/oauth/token", &thief, &redeem), "a used code");
    let first = text(&tokens, "refresh_token");
    let second = json(&house.refresh(&first));
    for token in [&first, &text(&second, "refresh_token")] {
        let form = format!("grant_type=refresh_token&refresh_token={token}");
        refused(
            &house.post("/oauth/token", &thief, &form),
            "a refresh token",
        );
        let public = format!("{form}&client_id=client_pub");
        refused(
            &house.post("/oauth/token", "", &public),
            "by a public client",
        );
        let form = format!("token={token}");
        assert_eq!(house.post("/oauth/revoke", &thief, &form).status, 200);
    }
    assert_eq!(
        house.call(&text(&second, "access_token")),
        200,
        "nothing ended"
    );
    assert_eq!(house.refresh(&text(&second, "refresh_token")).status, 200);
}

/// RFC 9700 §4.8: a stolen code for a client without PKCE, and a request stripped of it.
#[test]
fn pkce_cannot_be_taken_off_on_the_way() {
    let house = House::start();
    // The request lost its challenge: the client's verifier gives that away.
    let code = house.seed_code();
    let form = format!("grant_type=authorization_code&code={code}&redirect_uri={CALLBACK}");
    let with = format!("{form}&code_verifier={}", crate::house::VERIFIER);
    assert_eq!(error(&house.token(&with)), "invalid_request");
    // The token request lost its verifier.
    let code = house.code(&format!("{}{PKCE}", seed_query()));
    let form = format!("grant_type=authorization_code&code={code}&redirect_uri={CALLBACK}");
    assert_eq!(error(&house.token(&form)), "invalid_grant");
    // `plain` in each way of asking for it.
    let challenge = "&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    for method in [
        "",
        "&code_challenge_method=plain",
        "&code_challenge_method=s256",
    ] {
        let answer = house.authorize(&format!("{}{challenge}{method}", seed_query()));
        let told = parameter(&answer, "error");
        assert_eq!(told.as_deref(), Some("invalid_request"), "{method}");
    }
    let answer = house.authorize(&public_query().replace(PKCE, ""));
    assert_eq!(
        parameter(&answer, "error").as_deref(),
        Some("invalid_request")
    );
}

/// Whatever a form says besides, what was asked for and shown is what is granted.
#[test]
fn no_scope_is_got_by_naming_it_at_another_place() {
    let house = House::start();
    let query = seed_query().replace("domains:read%20domains:write", "domains:read");
    let mut browser = house.browser(&query);
    browser.log_in("alice", PASSWORD);
    let more = "scope=domains:write&scopes=domains:write&client_id=client_other";
    let form = format!("token={}&decision=allow&{more}", browser.form_token());
    browser.send("decision", "", &form);
    let code = parameter(&browser.answer, "code").expect("a code");
    let form = format!("grant_type=authorization_code&code={code}&redirect_uri={CALLBACK}");
    let tokens = json(&house.token(&format!("{form}&scope=domains:read%20domains:write")));
    assert_eq!(tokens["scope"], "domains:read");
    let refresh = text(&tokens, "refresh_token");
    for scope in [
        "domains:write",
        "domains:read%20domains:write",
        "domains:admin",
        "*",
        "openid",
    ] {
        let answer = house.token(&format!(
            "grant_type=refresh_token&refresh_token={refresh}&scope={scope}"
        ));
        assert_eq!(error(&answer), "invalid_scope", "{scope}");
    }
    let service = house.token("grant_type=client_credentials&scope=domains:read%20vps:read");
    assert_eq!(error(&service), "invalid_scope");
    let access = text(&json(&house.refresh(&refresh)), "access_token");
    let write = house.gateway.send(format!(
        "DELETE /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\nauthorization: Bearer {access}\r\n\r\n"
    ));
    assert_eq!(write.status, 403);
}

/// What client and user may now, and no more, however much was granted before.
#[test]
fn a_grant_gives_no_more_than_client_and_user_have_now() {
    let house = House::on_redis();
    let tokens = house.tokens();
    assert_eq!(tokens["scope"], "domains:read domains:write");
    let alice = LoginName::parse("alice").expect("a name");
    let now = portcullis::clock::Clock::system().now();
    let narrowed = house.with_store(async |store| {
        let only = scopes("domains:read");
        store.set_user_scopes(&alice, only, now).await
    });
    assert!(
        matches!(narrowed, Ok(ChangeUser::Changed(_))),
        "{narrowed:?}"
    );
    let second = json(&house.refresh(&text(&tokens, "refresh_token")));
    assert_eq!(second["scope"], "domains:read");
    let token = text(&second, "refresh_token");
    let form = format!("grant_type=refresh_token&refresh_token={token}&scope=domains:write");
    assert_eq!(error(&house.token(&form)), "invalid_scope");
    let updated = house.with_store(async |store| {
        let id = portcullis::id::ClientId::parse("client_conf").expect("an id");
        let client = store.client(&id).await.expect("the store is there");
        let mut settings = client.expect("the client").settings;
        settings.scopes = scopes("domains:write");
        store.update_client(&id, settings, now).await
    });
    assert!(
        matches!(updated, Ok(UpdateClient::Updated(_))),
        "{updated:?}"
    );
    assert_eq!(
        error(&house.refresh(&token)),
        "invalid_scope",
        "nothing is left"
    );
}

/// Without the cookie, with another browser's, without the form's token or with another page's, from
/// another site: nothing is decided, and the page goes on for whom it belongs to.
#[test]
fn a_form_of_another_page_browser_or_site_decides_nothing() {
    let house = House::start();
    let mut victim = house.browser(&seed_query());
    victim.log_in("alice", PASSWORD);
    let attacker = house.browser(&seed_query());
    let (token, cookie) = (victim.form_token(), victim.cookie.clone());
    let own = "sec-fetch-site: same-origin\r\n";
    let allow = format!("token={token}&decision=allow");
    let stolen = format!("token={}&decision=allow", attacker.form_token());
    let half = format!("token={}&decision=allow", &token[..token.len() - 1]);
    let (mine, good) = (cookie.as_str(), allow.as_str());
    for (cookie, fields, form, status, why) in [
        ("", own, good, 400, "no cookie"),
        (attacker.cookie.as_str(), own, good, 400, "another browser"),
        ("__Host-pc_int=x", own, good, 400, "no cookie of ours"),
        (mine, own, "decision=allow", 403, "no token"),
        (mine, own, "token=&decision=allow", 403, "an empty token"),
        (mine, own, stolen.as_str(), 403, "another page's token"),
        (mine, own, half.as_str(), 403, "half a token"),
        (
            mine,
            "sec-fetch-site: cross-site\r\n",
            good,
            403,
            "another site",
        ),
        (
            mine,
            "sec-fetch-site: same-site\r\n",
            good,
            403,
            "a sister's site",
        ),
        (mine, "sec-fetch-site: none\r\n", good, 403, "typed in"),
        (
            mine,
            "origin: https://evil.example\r\n",
            good,
            403,
            "another origin",
        ),
        (
            mine,
            "origin: https://osir.com.evil.example\r\n",
            good,
            403,
            "a longer origin",
        ),
        (
            mine,
            "origin: http://osir.com\r\n",
            good,
            403,
            "without TLS",
        ),
        (
            mine,
            "origin: https://api.osir.com\r\n",
            good,
            403,
            "the API's origin",
        ),
        (
            mine,
            "sec-fetch-site: cross-site\r\norigin: https://osir.com\r\n",
            good,
            403,
            "a site that only says so",
        ),
    ] {
        victim.cookie = cookie.to_owned();
        for action in ["decision", "login"] {
            let form = format!("{form}&name=alice&password=x");
            victim.send(action, fields, &form);
            assert_eq!(victim.answer.status, status, "{action}: {why}");
            assert_eq!(victim.answer.header("location"), None, "{why}");
        }
    }
    victim.cookie.clone_from(&cookie);
    // As a page elsewhere can send it without a form: no media type of a form, no POST.
    for request in [
        format!(
            "POST {}/decision HTTP/1.1\r\nhost: osir.com\r\ncookie: {}\r\ncontent-type: text/plain\r\n\
                 content-length: {}\r\n\r\n{good}",
            victim.page,
            victim.cookie,
            good.len()
        ),
        format!(
            "GET {}/decision?{good} HTTP/1.1\r\nhost: osir.com\r\ncookie: {}\r\n\r\n",
            victim.page, victim.cookie
        ),
    ] {
        let answer = house.browse(request);
        assert!(matches!(answer.status, 400 | 405), "{answer:?}");
    }
    victim.look();
    assert_eq!(victim.answer.status, 200, "still asked");
    victim.send("decision", "origin: https://osir.com\r\n", good);
    assert!(parameter(&victim.answer, "code").is_some());
}
