//! The audit log: what users, clients and thieves do at the endpoints leaves a line, once, and what
//! nobody vouches for leaves none.

use serde_json::{Value, json};

use crate::house::{
    CALLBACK, House, PASSWORD, SECRET, basic, claims, error, public_query, seed_query, text,
};
use crate::support::eventually;

/// The lines of the endpoints, once there are so many.
fn lines(house: &House, count: usize) -> Vec<Value> {
    let path = house.gateway.path("audit.jsonl");
    eventually("the audit lines", || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let lines = text.lines().map(serde_json::from_str::<Value>);
        let mut lines: Vec<Value> = lines.collect::<Result<_, _>>().ok()?;
        // Requests that were denied are not asked about here, nor what chains the lines.
        lines.retain(|line| line["actor"] == "client" && line["event"] != "request");
        for line in lines.iter_mut().filter_map(Value::as_object_mut) {
            line.retain(|name, _| !["chain", "seq", "prev", "seal"].contains(&name.as_str()));
        }
        (lines.len() >= count).then_some(lines)
    })
}

/// Without what differs from run to run; what stays has to be there.
fn shape(line: &Value) -> Value {
    let mut line = line.clone();
    let members = line.as_object_mut().expect("an object");
    for member in ["time", "credential_id"] {
        assert!(members.remove(member).is_some(), "{member}");
    }
    line
}

fn expected(event: &str, more: &Value) -> Value {
    let mut line = json!({
        "event": event, "actor": "client", "address": "127.0.0.1", "account": "acct_user",
        "client": "client_conf", "subject": "usr_alice", "outcome": "done",
    });
    let members = line.as_object_mut().expect("an object");
    members.extend(more.as_object().expect("an object").clone());
    line
}

fn redeem(house: &House, code: &str) -> crate::support::Answer {
    house.token(&format!(
        "grant_type=authorization_code&code={code}&redirect_uri={CALLBACK}"
    ))
}

fn revoke(house: &House, token: &str) {
    let show = basic("client_conf", SECRET);
    let answer = house.post("/oauth/revoke", &show, &format!("token={token}"));
    assert_eq!(answer.status, 200);
}

#[test]
fn a_consent_a_replay_a_reuse_and_a_revocation_leave_a_line_each() {
    let house = House::start();
    // A replay, again and again.
    let code = house.seed_code();
    assert_eq!(redeem(&house, &code).status, 200);
    for _ in 0..3 {
        assert_eq!(error(&redeem(&house, &code)), "invalid_grant");
    }
    // A reuse, again and again.
    let first = text(&house.tokens(), "refresh_token");
    let second = crate::house::json(&house.refresh(&first));
    assert_eq!(house.refresh(&text(&second, "refresh_token")).status, 200);
    for _ in 0..3 {
        assert_eq!(error(&house.refresh(&first)), "invalid_grant");
    }
    // Revocations, each twice.
    let tokens = house.tokens();
    let access = text(&tokens, "access_token");
    revoke(&house, &access);
    house.is_refused(&access);
    revoke(&house, &access);
    let refresh = text(&tokens, "refresh_token");
    revoke(&house, &refresh);
    revoke(&house, &refresh);
    // A no, twice.
    let mut browser = house.browser(&seed_query());
    browser.log_in("alice", PASSWORD);
    browser.decide("deny");
    let page = browser.page.clone();
    let again = house.browser_again(&page, &browser.cookie);
    assert_eq!(again.answer.status, 410, "{:?}", again.answer);

    let lines = lines(&house, 8);
    let give = expected(
        "consent_give",
        &json!({ "scopes": ["domains:read", "domains:write"] }),
    );
    let jti = claims(&access)["claims"]["jti"].clone();
    assert_eq!(lines.len(), 8, "{lines:#?}");
    assert_eq!(lines[5]["credential_id"], jti);
    assert_eq!(lines[0]["credential_id"], lines[1]["credential_id"]);
    let mut shapes: Vec<Value> = lines[..7].iter().map(shape).collect();
    let mut of_access = expected("token_revoke", &json!({ "reason": "jti" }));
    of_access
        .as_object_mut()
        .expect("an object")
        .remove("account");
    let expected_lines = [
        give.clone(),
        expected("code_replay", &json!({ "outcome": "denied" })),
        give.clone(),
        expected("refresh_reuse", &json!({ "outcome": "denied" })),
        give,
        of_access,
        expected("token_revoke", &json!({ "reason": "grant" })),
    ];
    for (found, expected) in shapes.drain(..).zip(expected_lines) {
        assert_eq!(found, expected);
    }
    let mut deny = lines[7].clone();
    deny.as_object_mut().expect("an object").remove("time");
    assert_eq!(deny, expected("consent_deny", &json!({})));
}

/// Who is asked by nobody is not said to have been.
#[test]
fn a_grant_without_a_question_says_so() {
    let house = House::start();
    let query = seed_query().replace("client_conf", "client_trusted");
    let mut browser = house.browser(&query);
    browser.log_in("alice", PASSWORD);
    let lines = lines(&house, 1);
    assert_eq!(
        (&lines[0]["event"], &lines[0]["client"], &lines[0]["reason"]),
        (
            &json!("consent_give"),
            &json!("client_trusted"),
            &json!("not_asked")
        )
    );
}

/// Else whoever likes could fill the disk.
#[test]
fn what_no_credential_of_ours_vouches_for_leaves_no_line() {
    let house = House::start();
    let mut browser = house.browser(&seed_query());
    browser.log_in("alice", "a wrong password");
    browser.log_in("nobody", PASSWORD);
    // A no before any login.
    let mut other = house.browser(&public_query());
    other.decide("deny");
    assert!(
        other
            .answer
            .header("location")
            .is_some_and(|to| to.contains("access_denied"))
    );
    let tokens = house.public_tokens();
    let refresh = text(&tokens, "refresh_token");
    let access = text(&tokens, "access_token");
    for forged in ["x", "a.b.c", &format!("{refresh}x"), &format!("{access}x")] {
        redeem(&house, forged);
        house.refresh(forged);
        revoke(&house, forged);
    }
    // Another client's are none of its business.
    house.refresh(&refresh);
    revoke(&house, &refresh);
    revoke(&house, &access);
    // Lines are in the order of what they tell.
    revoke(&house, &text(&house.tokens(), "refresh_token"));
    let events: Vec<_> = lines(&house, 3)
        .iter()
        .map(|line| (text(line, "event"), text(line, "client")))
        .collect();
    let expected = [
        ("consent_give", "client_pub"),
        ("consent_give", "client_conf"),
        ("token_revoke", "client_conf"),
    ];
    assert_eq!(
        events,
        expected.map(|(event, client)| (event.to_owned(), client.to_owned()))
    );
}
