//! `grant_type=refresh_token`: rotation, reuse, narrowing.

use crate::house::{House, OTHER_SECRET, PKCE, VERIFIER, basic, error, json, text};
use crate::support::eventually;

fn refresh(house: &House, token: &str, rest: &str) -> crate::support::Answer {
    house.token(&format!(
        "grant_type=refresh_token&refresh_token={token}{rest}"
    ))
}

#[test]
fn seed_token_refresh_gives_a_new_pair_and_reuse_of_the_old_one_ends_all_on_both_stores() {
    for house in [House::start(), House::on_redis()] {
        let first = text(&house.tokens(), "refresh_token");
        let second = json(&refresh(&house, &first, ""));
        assert_eq!(second["expires_in"], 3600);
        let third = json(&refresh(&house, &text(&second, "refresh_token"), ""));
        let access = text(&third, "access_token");
        assert_eq!(house.call(&access), 200);
        // Two rotations back: no grace reaches that far.
        let reused = refresh(&house, &first, "");
        assert_eq!(
            (reused.status, error(&reused).as_str()),
            (400, "invalid_grant")
        );
        let after = refresh(&house, &text(&third, "refresh_token"), "");
        assert_eq!(error(&after), "invalid_grant");
        eventually("its access tokens are dead", || {
            (house.call(&access) == 401).then_some(())
        });
    }
}

#[test]
fn a_confidential_client_may_repeat_its_last_rotation_and_a_public_one_may_not() {
    let house = House::start();
    let first = text(&house.tokens(), "refresh_token");
    assert_eq!(refresh(&house, &first, "").status, 200);
    assert_eq!(refresh(&house, &first, "").status, 200);

    let query = format!(
        "client_id=client_pub&redirect_uri=http://127.0.0.1:1/cb&response_type=code&scope=domains:read{PKCE}"
    );
    let code = house.code(&query);
    let post = |form: &str| house.post("/oauth/token", "", &format!("client_id=client_pub&{form}"));
    let tokens = json(&post(&format!(
        "grant_type=authorization_code&code={code}&code_verifier={VERIFIER}"
    )));
    let first = text(&tokens, "refresh_token");
    let form = format!("grant_type=refresh_token&refresh_token={first}");
    assert_eq!(post(&form).status, 200);
    assert_eq!(error(&post(&form)), "invalid_grant");
}

#[test]
fn a_scope_may_narrow_and_never_widen_and_a_refusal_uses_nothing_up() {
    let house = House::start();
    let first = text(&house.tokens(), "refresh_token");
    let wider = refresh(&house, &first, "&scope=domains:read%20domains:admin");
    assert_eq!(
        (wider.status, error(&wider).as_str()),
        (400, "invalid_scope")
    );
    let target = refresh(&house, &first, "&resource=https://other.example");
    assert_eq!(
        (target.status, error(&target).as_str()),
        (400, "invalid_target")
    );
    let narrow = json(&refresh(&house, &first, "&scope=domains:read"));
    assert_eq!(narrow["scope"], "domains:read");
    // The refresh token goes on with all of it.
    let whole = json(&refresh(&house, &text(&narrow, "refresh_token"), ""));
    assert_eq!(whole["scope"], "domains:read domains:write");
}

#[test]
fn a_foreign_client_and_a_forger_change_nothing() {
    let house = House::start();
    let token = text(&house.tokens(), "refresh_token");
    let form = format!("grant_type=refresh_token&refresh_token={token}");
    let foreign = house.post("/oauth/token", &basic("client_other", OTHER_SECRET), &form);
    assert_eq!(error(&foreign), "invalid_grant");
    let last = if token.ends_with('0') { "1" } else { "0" };
    let forged = format!("{}{last}", &token[..token.len() - 1]);
    for forged in [forged.as_str(), "osir_rt_x", "x"] {
        assert_eq!(error(&refresh(&house, forged, "")), "invalid_grant");
    }
    assert_eq!(refresh(&house, &token, "").status, 200);
}
