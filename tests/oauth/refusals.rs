//! Why a request was refused, where only the operator sees it: in the access log.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::house::{CALLBACK, House, OTHER_SECRET, SECRET, json, parameter, seed_query, text};
use crate::support::{Answer, eventually};

/// What the log is to say of some answers.
#[derive(Default)]
struct Expected(Vec<(String, Value)>);

impl Expected {
    /// `None` is a client that is not known, and no reason.
    fn of(&mut self, answer: &Answer, reason: Option<&str>, client: Option<&str>) {
        let id = answer.header("x-request-id").expect("an id").to_owned();
        self.0.push((id, serde_json::json!([reason, client])));
    }

    /// Stops the gateway and compares.
    fn are_logged(self, house: House) -> String {
        let folder = house.gateway.stop();
        let log = std::fs::read_to_string(folder.path().join("access.log")).expect("a log");
        let lines = log.lines().map(|line| {
            let line: Value = serde_json::from_str(line).expect("JSON");
            let said = serde_json::json!([line["reason"], line["client_id"]]);
            (text(&line, "request_id"), said)
        });
        let lines: BTreeMap<String, Value> = lines.collect();
        for (at, (id, expected)) in self.0.iter().enumerate() {
            assert_eq!(lines.get(id), Some(expected), "the answer {at}: {log}");
        }
        log
    }
}

#[test]
fn each_refused_token_request_has_its_reason_and_its_client_in_the_access_log() {
    let house = House::start();
    let mut expected = Expected::default();
    let service = "grant_type=client_credentials";
    for (form, reason, client) in [
        (
            "client_id=client_nobody&client_secret=x",
            "client_unknown",
            None,
        ),
        ("scope=domains:read", "client_missing", None),
        (
            "client_id=client_conf&client_secret=wrong",
            "client_secret_wrong",
            Some("client_conf"),
        ),
        (
            "client_id=client_conf",
            "client_method",
            Some("client_conf"),
        ),
        (
            &*format!("client_id=client_gone&client_secret={SECRET}"),
            "client_disabled",
            Some("client_gone"),
        ),
        (
            "client_id=client_pub",
            "grant_type_not_allowed",
            Some("client_pub"),
        ),
        (
            &*format!("client_id=client_conf&client_secret={SECRET}&resource=https://x.example"),
            "resource_not_allowed",
            Some("client_conf"),
        ),
        (
            "client_id=client_pub&client_id=client_pub",
            "request_malformed",
            None,
        ),
    ] {
        let answer = house.post("/oauth/token", "", &format!("{service}&{form}"));
        assert!(matches!(answer.status, 400 | 401), "{form}: {answer:?}");
        expected.of(&answer, Some(reason), client);
    }
    let (code, foreign) = (house.seed_code(), house.seed_code());
    let redeem = |code: &str, rest: &str| {
        house.token(&format!(
            "grant_type=authorization_code&code={code}&redirect_uri={CALLBACK}{rest}"
        ))
    };
    let conf = Some("client_conf");
    expected.of(&redeem("osir_ac_nothing", ""), Some("code_unknown"), conf);
    let elsewhere = house.token(&format!(
        "grant_type=authorization_code&code={code}&redirect_uri=https://yourapp.com/other?x=1"
    ));
    expected.of(&elsewhere, Some("redirect_mismatch"), conf);
    let short = redeem(&code, "&code_verifier=short");
    expected.of(&short, Some("code_verifier_wrong"), conf);
    let form = format!(
        "grant_type=authorization_code&code={foreign}&redirect_uri={CALLBACK}&client_id=client_other&client_secret={OTHER_SECRET}"
    );
    let answer = house.post("/oauth/token", "", &form);
    expected.of(&answer, Some("code_foreign"), Some("client_other"));
    let good = redeem(&code, "");
    assert_eq!(good.status, 200);
    expected.of(&good, None, conf);
    expected.of(&redeem(&code, ""), Some("code_used"), conf);
    let ended = text(&json(&good), "refresh_token");
    expected.of(&house.refresh(&ended), Some("grant_revoked"), conf);
    expected.of(
        &house.refresh("osir_rt_nothing"),
        Some("refresh_unknown"),
        conf,
    );
    let tokens = house.public_tokens();
    let refresh = text(&tokens, "refresh_token");
    let form = format!("grant_type=refresh_token&client_id=client_pub&refresh_token={refresh}");
    assert_eq!(house.post("/oauth/token", "", &form).status, 200);
    let again = house.post("/oauth/token", "", &form);
    expected.of(&again, Some("refresh_reused"), Some("client_pub"));
    let log = expected.are_logged(house);
    for secret in [
        SECRET,
        OTHER_SECRET,
        &code,
        &refresh,
        "client_nobody",
        "x.example",
    ] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[test]
fn each_refused_browser_has_its_reason_and_its_client_in_the_access_log() {
    let house = House::start();
    let mut expected = Expected::default();
    let (query, conf) = (seed_query(), Some("client_conf"));
    for (query, reason, client) in [
        (
            query.replace("client_conf", "client_nobody"),
            "client_unknown",
            None,
        ),
        (
            query.replace("yourapp", "evil"),
            "redirect_unregistered",
            conf,
        ),
        (
            query.replace("=code&", "=token&"),
            "response_type_unknown",
            conf,
        ),
        (
            query.replace("domains:write", "openid"),
            "scope_unknown",
            conf,
        ),
        (format!("{query}&a=1&a=2"), "request_malformed", conf),
    ] {
        expected.of(&house.authorize(&query), Some(reason), client);
    }
    let mut browser = house.browser(&query);
    expected.of(&browser.answer, None, conf);
    browser.log_in("alice", "not+this");
    assert_eq!(browser.answer.status, 403);
    expected.of(&browser.answer, Some("password_wrong"), conf);
    let form = "token=forged&decision=deny";
    browser.send("decision", "", form);
    expected.of(&browser.answer, Some("form_forged"), conf);
    browser.look();
    browser.decide("deny");
    expected.of(&browser.answer, Some("user_denied"), conf);
    browser.look();
    expected.of(&browser.answer, Some("interaction_used"), conf);
    let stranger = house.browser_again(&browser.page, "a=b");
    expected.of(&stranger.answer, Some("interaction_unknown"), None);
    let log = expected.are_logged(house);
    for secret in ["not+this", "client_nobody", "evil"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[test]
fn who_is_slowed_down_is_in_the_access_log() {
    let house = House::start();
    let mut expected = Expected::default();
    let form = "grant_type=client_credentials&client_id=client_conf&client_secret=wrong";
    let slowed = eventually("a refusal", || {
        let answer = house.post("/oauth/token", "", form);
        (answer.status == 429).then_some(answer)
    });
    expected.of(&slowed, Some("throttled"), None);
    let mut browser = house.browser(&seed_query());
    while browser.answer.status != 429 {
        browser.look();
        browser.log_in("alice", "not+this");
    }
    expected.of(&browser.answer, Some("throttled"), Some("client_conf"));
    expected.are_logged(house);
}

#[test]
fn an_invalid_scope_is_told_apart() {
    const WRITE: &str = r#""domains:write": Manage domains"#;
    let house = House::edited(None, |yaml| {
        assert!(yaml.contains(WRITE), "{yaml}");
        yaml.replace(WRITE, &format!(r#"{WRITE}, "domains:admin": Everything"#))
    });
    let mut expected = Expected::default();
    let conf = Some("client_conf");
    let base = seed_query();
    let base = base.replace("scope=domains:read%20domains:write&", "");
    let tokens = house.public_tokens();
    let refresh = text(&tokens, "refresh_token");
    for (scope, reason, told) in [
        (
            "",
            "scope_missing",
            "no scope was asked for, and there is no default for this client",
        ),
        (
            "openid",
            "scope_unknown",
            "one of these scopes is not known here",
        ),
        (
            "domains:admin",
            "scope_not_allowed",
            "this client may not ask for one of these scopes",
        ),
        (
            "domains:read%20%20domains:write",
            "scope_malformed",
            "the scope is not a list of names with one space between two",
        ),
    ] {
        let answer = house.authorize(&format!("{base}&scope={scope}"));
        assert_eq!(
            parameter(&answer, "error").as_deref(),
            Some("invalid_scope"),
            "{scope}"
        );
        let escaped = told.replace(' ', "%20").replace(',', "%2C");
        assert_eq!(
            parameter(&answer, "error_description"),
            Some(escaped),
            "{scope}"
        );
        expected.of(&answer, Some(reason), conf);
        if scope.is_empty() {
            continue; // a service gets what it has
        }
        let answer = house.token(&format!("grant_type=client_credentials&scope={scope}"));
        let body = serde_json::json!({ "error": "invalid_scope", "error_description": told });
        assert_eq!((answer.status, json(&answer)), (400, body), "{scope}");
        expected.of(&answer, Some(reason), conf);
    }
    let form = format!(
        "grant_type=refresh_token&client_id=client_pub&refresh_token={refresh}&scope=domains:write"
    );
    let wider = house.post("/oauth/token", "", &form);
    assert_eq!(
        json(&wider)["error_description"],
        "one of these scopes was not granted, or none still is"
    );
    expected.of(&wider, Some("scope_not_granted"), Some("client_pub"));
    expected.are_logged(house);
}
