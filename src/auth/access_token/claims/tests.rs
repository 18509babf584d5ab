use serde_json::json;

use super::*;

fn base() -> Value {
    json!({"iss": "i", "aud": "api", "sub": "alice", "exp": 2000})
}

fn with(claim: &str, value: Value) -> Members {
    let mut claims = base();
    claims[claim] = value;
    members(&claims)
}

fn members(claims: &Value) -> Members {
    Members::parse(claims.to_string().as_bytes()).expect("an object")
}

fn refusal(claims: &Members) -> Option<Refusal> {
    Claims::read(claims).err()
}

fn scopes_of(value: Value) -> String {
    let claims = with("scope", value);
    Claims::read(&claims).expect("valid").scopes.to_string()
}

#[test]
fn the_claims_of_rfc_9068_are_read() {
    let claims = members(&json!({
        "iss": "i", "aud": ["other", "api"], "sub": "alice", "exp": 2000, "iat": 1000.5, "nbf": 1001,
        "jti": "t1", "client_id": "app", "azp": "other", "scope": "a b", "scp": ["c"],
        "acct": "acme", "fam": "g1", "unknown": {"x": [1]},
    }));
    let read = Claims::read(&claims).expect("valid");
    assert_eq!(
        read.audience_among(&["x".into(), "api".into()]),
        Some("api")
    );
    assert_eq!(read.audience_among(&["ap".into()]), None);
    assert_eq!(read.subject, "alice");
    assert_eq!(read.expires_at, Timestamp::from_secs(2000));
    assert_eq!(read.issued_at, Some(Timestamp::from_millis(1_000_500)));
    assert_eq!(read.not_before, Some(Timestamp::from_secs(1001)));
    assert_eq!(
        (read.id, read.client, read.grant),
        (Some("t1"), Some("app"), Some("g1"))
    );
    assert_eq!(read.account.as_ref().map(AccountId::as_str), Some("acme"));
    assert_eq!(read.scopes.to_string(), "a b");
    assert!(!read.is_bound());
}

#[test]
fn row_86_a_date_is_a_number_within_the_calendar() {
    for claim in ["exp", "iat", "nbf"] {
        for bad in [
            json!("2000"),
            json!(null),
            json!(true),
            json!([2000]),
            json!({"n": 2000}),
            json!(1e300),
            json!(u64::MAX),
            json!(i64::MAX),
            json!(i64::MIN),
            json!(MAX_SECS + 1),
        ] {
            let claims = with(claim, bad.clone());
            assert_eq!(refusal(&claims), Some(Refusal::Claims), "{claim} {bad}");
        }
        for good in [json!(0), json!(-5), json!(2000.75), json!(MAX_SECS)] {
            assert_eq!(refusal(&with(claim, good.clone())), None, "{claim} {good}");
        }
    }
}

#[test]
fn row_87_what_must_be_there_is_there_and_of_the_right_type() {
    for claim in ["aud", "sub", "exp"] {
        let mut claims = base();
        claims.as_object_mut().expect("an object").remove(claim);
        assert_eq!(refusal(&members(&claims)), Some(Refusal::Claims), "{claim}");
    }
    for bad in [
        json!(null),
        json!({}),
        json!(5),
        json!([["api"]]),
        json!(["api", 5]),
        json!(true),
    ] {
        assert_eq!(
            refusal(&with("aud", bad.clone())),
            Some(Refusal::Claims),
            "aud {bad}"
        );
        assert_eq!(
            refusal(&with("sub", bad.clone())),
            Some(Refusal::Claims),
            "sub {bad}"
        );
        for claim in ["jti", "client_id", "azp", "fam", "acct"] {
            assert_eq!(
                refusal(&with(claim, bad.clone())),
                Some(Refusal::Claims),
                "{claim} {bad}"
            );
        }
    }
    let nobody = with("aud", json!([]));
    let nobody = Claims::read(&nobody).expect("valid");
    assert_eq!(nobody.audience_among(&["api".into()]), None);
}

#[test]
fn a_subject_can_stand_in_a_header() {
    for bad in [
        "",
        "a\r\nX-Auth-Account: b",
        "\u{0430}lice",
        "a\u{0}",
        &"x".repeat(256),
    ] {
        assert_eq!(
            refusal(&with("sub", json!(bad))),
            Some(Refusal::Claims),
            "{bad:?}"
        );
    }
    assert_eq!(refusal(&with("sub", json!("auth0|x@y.example z"))), None);
}

#[test]
fn a_damaged_account_is_not_no_account() {
    assert_eq!(refusal(&with("acct", json!("a b"))), Some(Refusal::Claims));
}

#[test]
fn row_89_only_single_spaces_separate_scopes_and_nothing_is_mended() {
    assert_eq!(scopes_of(json!("b a")), "a b");
    assert_eq!(scopes_of(json!(["b", "a"])), "a b");
    for odd in [
        json!("a  b"),
        json!(" a"),
        json!("a "),
        json!("a\tb"),
        json!("a\nb"),
        json!("a\u{a0}b"),
        json!("\u{0430} b"),
        json!(["a b"]),
        json!(["a", 5]),
        json!(["a", ["b"]]),
        json!([""]),
        json!(null),
        json!(5),
        json!({"a": true}),
    ] {
        assert_eq!(scopes_of(odd.clone()), "", "{odd}");
    }
    // One name, and not the three that a looser reader would make of it.
    assert_eq!(scopes_of(json!("a,b;c")), "a,b;c");
}

#[test]
fn scope_wins_over_scp_even_when_it_is_odd() {
    let mut claims = base();
    claims["scp"] = json!(["admin"]);
    let of = |claims: &Value| {
        Claims::read(&members(claims))
            .expect("valid")
            .scopes
            .to_string()
    };
    assert_eq!(of(&claims), "admin");
    claims["scope"] = json!("a  b");
    assert_eq!(of(&claims), "");
}

#[test]
fn a_bound_token_is_seen_whatever_it_is_bound_to() {
    for binding in [json!({"jkt": "x"}), json!({}), json!(null)] {
        let claims = with("cnf", binding.clone());
        assert!(
            Claims::read(&claims).expect("valid").is_bound(),
            "{binding}"
        );
    }
}
