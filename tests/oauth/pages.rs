//! Login and consent in a browser: what is shown, and what is refused.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis::admin::NewUserBody;
use portcullis::clock::Clock;
use portcullis::id::{AccountId, InteractionId, LoginName};
use portcullis::oauth::NewClientRequest;
use portcullis::secret::{Digest, Secret};
use portcullis::store::{
    ClientKind, Consent, CreateInteraction, GrantType, InteractionRecord, InteractionState, Login,
};

use crate::house::{CALLBACK, House, PASSWORD, encoded, parameter, parameters, scopes, seed_query};

#[test]
fn the_pages_name_the_client_the_host_and_each_scope_and_nothing_can_frame_them() {
    let house = House::start();
    let query = seed_query().replace("client_conf", "client_once");
    let mut browser = house.browser(&query);
    for heading in ["Log in to osir", "Allow &lt;b&gt;Once&lt;/b&gt; &amp; co?"] {
        let answer = &browser.answer;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.body.contains(heading), "{}", answer.body);
        assert!(answer.body.contains("<code>yourapp.com</code>"));
        assert!(!answer.body.contains("<b>") && !answer.body.contains("<script"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"));
        // Or the redirect after the form is blocked (identity.md §0.6).
        assert!(
            policy.ends_with("form-action 'self' https://yourapp.com"),
            "{policy}"
        );
        browser.log_in("alice", PASSWORD);
    }
    browser.look();
    for words in ["View domains", "Manage domains"] {
        assert!(browser.answer.body.contains(words));
    }
}

#[test]
fn every_failed_login_looks_the_same() {
    let house = House::start();
    let mut browser = house.browser(&seed_query());
    let mut bodies = Vec::new();
    for (name, password) in [
        ("alice", "wrong"),
        ("nobody", PASSWORD),
        ("bob", PASSWORD),
        ("a%20b", "x"),
        ("alice", ""),
    ] {
        browser.log_in(name, password);
        assert_eq!(browser.answer.status, 403, "{name}");
        bodies.push(browser.answer.body.clone());
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1);
    assert!(bodies[0].contains("The name or the password is wrong."));
    browser.log_in("alice", PASSWORD);
    assert!(browser.answer.body.contains("Allow The app client_conf?"));
}

#[test]
fn whoever_keeps_guessing_has_to_wait() {
    let house = House::start();
    let mut browser = house.browser(&seed_query());
    for _ in 0..5 {
        browser.log_in("alice", "wrong");
        assert_eq!(browser.answer.status, 403);
    }
    // However slow this is: each wait is twice the one before.
    crate::support::eventually("a refusal", || {
        browser.log_in("alice", "wrong");
        (browser.answer.status == 429).then_some(())
    });
    assert!(browser.answer.header("retry-after").is_some());
    assert!(browser.answer.body.contains("Too many attempts."));
}

#[test]
fn a_no_needs_no_login_and_is_final() {
    let house = House::start();
    let mut browser = house.browser(&seed_query());
    let token = browser.form_token();
    browser.decide("deny");
    assert_eq!(browser.answer.status, 303);
    assert_eq!(
        parameter(&browser.answer, "error").as_deref(),
        Some("access_denied")
    );
    assert_eq!(
        parameter(&browser.answer, "state").as_deref(),
        Some("s%2B1")
    );
    // The back button.
    browser.look();
    assert_eq!(browser.answer.status, 410);
    assert!(
        browser
            .answer
            .body
            .contains("You have answered this already")
    );
    browser.send("decision", "", &format!("token={token}&decision=allow"));
    assert_eq!(browser.answer.status, 410);
}

#[test]
fn a_second_click_gives_the_same_code_until_it_is_used() {
    let house = House::start();
    let mut browser = house.browser(&seed_query());
    browser.log_in("alice", PASSWORD);
    let form = format!("token={}&decision=allow", browser.form_token());
    browser.send("decision", "", &form);
    let first = parameter(&browser.answer, "code").expect("a code");
    browser.send("decision", "", &form);
    assert_eq!(parameter(&browser.answer, "code").as_ref(), Some(&first));
    let token = house.token(&format!(
        "grant_type=authorization_code&code={first}&redirect_uri={CALLBACK}"
    ));
    assert_eq!(token.status, 200);
    browser.send("decision", "", &form);
    assert_eq!(browser.answer.status, 410);
}

/// Or Chromium shows the page before from its memory, and its form with it: `backButton` in
/// tests/clients/pages.mjs.
#[test]
fn whatever_takes_an_interaction_on_sets_its_cookie_again() {
    let house = House::start();
    let mut browser = house.browser(&seed_query());
    let password = PASSWORD.replace(' ', "+");
    let login = format!("name=alice&password={password}");
    let own = browser.cookie.clone();
    for (action, form) in [("login", login.as_str()), ("decision", "decision=allow")] {
        let form = format!("token={}&{form}", browser.form_token());
        browser.send(action, "sec-fetch-site: same-origin\r\n", &form);
        assert_eq!(browser.answer.status, 303, "{action}");
        // After it the login's, which is another.
        let mut set = browser.answer.headers.iter();
        let first = set.find(|(name, _)| name == "set-cookie");
        let (_, cookie) = first.expect("a cookie");
        let expected = format!("{own}; Path=/; Secure; HttpOnly; SameSite=Lax");
        assert_eq!(*cookie, expected, "{action}");
        browser.look();
        assert_eq!(browser.answer.header("set-cookie"), None);
    }
}

#[test]
fn an_interaction_belongs_to_one_browser_and_a_form_to_its_page() {
    let house = House::start();
    let (mut victim, attacker) = (house.browser(&seed_query()), house.browser(&seed_query()));
    // The attacker's page in the victim's browser: nothing to see, nothing to send.
    let own = victim.page.clone();
    victim.page.clone_from(&attacker.page);
    victim.look();
    assert_eq!(victim.answer.status, 400);
    let form = format!("token={}&decision=deny", attacker.form_token());
    victim.send("decision", "", &form);
    assert_eq!(victim.answer.status, 400);
    victim.page = own;
    victim.look();
    let token = victim.form_token();
    // Another interaction's token, none, and another site's form.
    for (headers, form) in [
        ("", form.clone()),
        ("", "decision=deny".to_owned()),
        (
            "sec-fetch-site: cross-site\r\n",
            format!("token={token}&decision=deny"),
        ),
        (
            "origin: https://evil.example\r\n",
            format!("token={token}&decision=deny"),
        ),
    ] {
        victim.send("decision", headers, &form);
        assert_eq!(victim.answer.status, 403, "{headers}{form}");
    }
    victim.send(
        "decision",
        "origin: null\r\n",
        &format!("token={token}&decision=deny"),
    );
    assert_eq!(victim.answer.status, 303);
}

#[test]
fn two_tabs_of_one_browser_do_not_disturb_each_other() {
    let house = House::start();
    let mut first = house.browser(&seed_query());
    let answer = house.browse(format!(
        "GET /oauth/authorize?{} HTTP/1.1\r\nhost: osir.com\r\ncookie: {}\r\n\r\n",
        seed_query(),
        first.cookie
    ));
    let cookie = answer.header("set-cookie").expect("a cookie");
    assert!(cookie.starts_with(&first.cookie), "one browser, one cookie");
    let first_page = first.page.clone();
    first.page = answer.header("location").expect("a page").to_owned();
    first.look();
    first.decide("deny");
    assert_eq!(first.answer.status, 303);
    first.page = first_page;
    first.look();
    assert_eq!(first.answer.status, 200);
}

#[test]
fn consent_is_asked_once_or_never_where_the_client_says_so_and_always_of_a_public_one() {
    let house = House::start();
    let query = |client: &str| seed_query().replace("client_conf", client);
    let mut browser = house.browser(&query("client_trusted"));
    browser.log_in("alice", PASSWORD);
    assert!(parameter(&browser.answer, "code").is_some());
    let mut browser = house.browser(&query("client_once"));
    browser.log_in("alice", PASSWORD);
    browser.decide("allow");
    let mut browser = house.browser(&query("client_once"));
    browser.log_in("alice", PASSWORD);
    assert!(parameter(&browser.answer, "code").is_some(), "asked before");
    let public = format!(
        "client_id=client_pub&redirect_uri=http://127.0.0.1:1/cb&response_type=code&scope=domains:read{}",
        crate::house::PKCE
    );
    for _ in 0..2 {
        let mut browser = house.browser(&public);
        browser.log_in("alice", PASSWORD);
        assert!(browser.answer.body.contains("Allow The app client_pub?"));
        browser.decide("allow");
        assert!(parameters(&browser.answer).contains_key("code"));
    }
}

/// A consent is for a resource (RFC 8707): the page names it, and it spares no other's.
#[test]
fn consent_to_another_resource_is_asked_each_time_and_names_it() {
    let house = House::edited(None, |yaml| {
        let one = "audience: https://api.osir.com }";
        assert!(yaml.contains(one), "{yaml}");
        yaml.replace(
            one,
            "audience: [https://api.osir.com, https://api.osir.com/mcp] }",
        )
    });
    let query = seed_query().replace("client_conf", "client_once");
    let ask = |resource: &str| {
        let mut browser = house.browser(&format!("{query}{resource}"));
        browser.log_in("alice", PASSWORD);
        browser
    };
    const NAMED: &str = "<p>This is for <code>https://api.osir.com/mcp</code> alone.</p>";
    let (default, other) = (
        "&resource=https://api.osir.com",
        "&resource=https://api.osir.com/mcp",
    );
    // A consent to one of them is remembered for none.
    for resource in [other, default, other, default, ""] {
        let mut browser = ask(resource);
        let page = browser.answer.body.clone();
        assert!(page.contains("will be able to"), "{resource}: {page}");
        assert_eq!(page.contains(NAMED), resource == other, "{resource}");
        browser.decide("allow");
        assert!(parameter(&browser.answer, "code").is_some(), "{resource}");
    }
    // To all of them: good for the default, which the page would not have named.
    for resource in ["", default] {
        let code = parameter(&ask(resource).answer, "code");
        assert!(code.is_some(), "{resource}: asked before");
    }
    let asked = ask(other).answer;
    assert_eq!(parameter(&asked, "code"), None);
    assert!(asked.body.contains(NAMED), "{asked:?}");
}

#[test]
fn a_user_gives_no_more_than_they_have() {
    let house = House::start();
    let mut browser = house.browser(&seed_query());
    browser.log_in("carol", PASSWORD);
    assert!(browser.answer.body.contains("View domains"));
    assert!(!browser.answer.body.contains("Manage domains"));
    browser.decide("allow");
    let code = parameter(&browser.answer, "code").expect("a code");
    let answer = house.token(&format!(
        "grant_type=authorization_code&code={code}&redirect_uri={CALLBACK}"
    ));
    assert_eq!(crate::house::json(&answer)["scope"], "domains:read");
    let mut browser = house.browser(&seed_query().replace("domains:read%20", ""));
    browser.log_in("carol", PASSWORD);
    browser.decide("allow");
    assert_eq!(
        parameter(&browser.answer, "error").as_deref(),
        Some("access_denied")
    );
}

/// The seed's table *Scopes*, word by word, from the configuration that is shipped.
#[test]
fn the_consent_page_has_the_seeds_words_for_each_of_its_eight_scopes() {
    let shipped = std::fs::read_to_string("gateway.yaml").expect("the example");
    let table = shipped.split("\nscopes:\n").nth(1).expect("its scopes");
    let table = table.split("\n\n").next().expect("a table");
    let house = House::edited(None, |yaml| {
        let two = r#"scopes: { "domains:read": View domains, "domains:write": Manage domains }"#;
        assert!(yaml.contains(two), "{yaml}");
        yaml.replace(two, &format!("scopes:\n{table}"))
    });
    let words = [
        ("domains:read", "View domains"),
        ("domains:write", "Manage domains"),
        ("vps:read", "View servers"),
        ("vps:write", "Manage servers"),
        ("email:read", "View email settings"),
        ("email:write", "Manage email"),
        ("billing:read", "View billing info"),
        ("billing:write", "Manage billing"),
    ];
    let all = words.map(|(scope, _)| scope).join(" ");
    let client = house.gateway.operate(async |admin| {
        let user = NewUserBody {
            name: LoginName::parse("erin").expect("a name"),
            account: AccountId::parse("acct_erin").expect("an id"),
            scopes: scopes(&all),
            password: Secret::new(PASSWORD),
        };
        admin.create_user(&user).await.expect("made");
        let client = NewClientRequest {
            name: "All of it".into(),
            kind: ClientKind::Confidential,
            grants: vec![GrantType::AuthorizationCode],
            redirects: vec![CALLBACK.into()],
            scopes: scopes(&all),
            authentication: None,
            pkce: None,
            consent: Some(Consent::Always),
            account: None,
        };
        admin.create_client(&client).await.expect("made").client
    });
    let query = format!(
        "client_id={}&response_type=code&scope={}",
        client.client_id,
        encoded(&all)
    );
    let mut browser = house.browser(&query);
    browser.log_in("erin", PASSWORD);
    assert_eq!(browser.answer.status, 200, "{:?}", browser.answer);
    for (scope, words) in words {
        let line = format!("<li>{words} <code>{scope}</code></li>");
        assert!(browser.answer.body.contains(&line), "{line}");
    }
    assert_eq!(browser.answer.body.matches("<li>").count(), words.len());
    browser.decide("allow");
    assert!(parameter(&browser.answer, "code").is_some());
}

/// One that began eleven minutes ago, at each step that it can have come to.
#[test]
fn an_interaction_that_took_too_long_ends_in_a_clear_page() {
    let house = House::on_redis();
    let mut browser = house.browser(&seed_query());
    let own = browser.page.rsplit('/').next().expect("an id");
    let own = InteractionId::parse(own).expect("an id");
    let (_, value) = browser.cookie.split_once('=').expect("a pair");
    let digest = Digest::of_random(&URL_SAFE_NO_PAD.decode(value).expect("base64url"));
    let now = Clock::system().now();
    let login = Login {
        subject: portcullis::id::SubjectId::parse("usr_alice").expect("an id"),
        account: None,
        scopes: scopes("domains:read"),
        auth_time: now,
        acr: None,
        amr: Vec::new(),
    };
    for state in [InteractionState::Open, InteractionState::LoggedIn(login)] {
        let id = InteractionId::random();
        let made = house.with_store(async |store| {
            let found = store.interaction(&own).await.expect("the store is there");
            let minutes = |count: u64| std::time::Duration::from_secs(60 * count);
            let record = InteractionRecord {
                id: id.clone(),
                created_at: now.minus(minutes(11)),
                expires_at: now.minus(minutes(1)),
                state: state.clone(),
                ..found.expect("the browser's own")
            };
            assert_eq!(record.browser, digest);
            store.create_interaction(record).await
        });
        assert_eq!(
            made.expect("the store is there"),
            CreateInteraction::Created
        );
        let token = browser.form_token();
        browser.page = format!("/oauth/interaction/{id}");
        browser.look();
        let mut answers = vec![browser.answer.clone()];
        for (action, form) in [
            ("login", "name=alice&password=x"),
            ("decision", "decision=allow"),
            ("decision", "decision=deny"),
        ] {
            browser.send(action, "", &format!("token={token}&{form}"));
            answers.push(browser.answer.clone());
        }
        for answer in answers {
            assert_eq!((answer.status, answer.header("location")), (410, None));
            assert!(
                answer.body.contains("This request has expired"),
                "{answer:?}"
            );
            assert!(answer.body.contains("Go back to the app and start again."));
        }
    }
}
