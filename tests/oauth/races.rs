//! What two or fifty do at once, on both stores: each ends as if one had come after the other.
//! (Fifty redemptions of one code are in `token.rs`.)

use portcullis::id::{ClientId, LoginName};
use portcullis::oauth::AppSelection;
use serde_json::Value;

use crate::house::{
    CALLBACK, House, PASSWORD, SECRET, basic, error, json, parameter, seed_query, text, together,
};
use crate::support::{Answer, RedisServer};

/// A long grace, so that no slow machine falls out of it.
fn houses() -> [House; 2] {
    let grace = ", refresh_token: { grace: 60s }";
    [None, Some(RedisServer::start())].map(|redis| House::with(redis, grace))
}

fn alice() -> LoginName {
    LoginName::parse("alice").expect("a name")
}

/// The pairs of those that got one; all others are `invalid_grant`.
fn pairs(answers: &[Answer]) -> Vec<Value> {
    let (good, bad): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    for answer in bad {
        assert_eq!(
            (answer.status, error(answer).as_str()),
            (400, "invalid_grant")
        );
    }
    good.into_iter().map(json).collect()
}

/// No token of these pairs works any more.
fn are_dead(house: &House, pairs: &[Value], refresh: impl Fn(&str) -> Answer) {
    for pair in pairs {
        let answer = refresh(&text(pair, "refresh_token"));
        assert_eq!(
            (answer.status, error(&answer).as_str()),
            (400, "invalid_grant")
        );
        house.is_refused(&text(pair, "access_token"));
    }
}

fn fifty_rotations_of_a_public_clients_token(house: &House) {
    let tokens = house.public_tokens();
    let refresh = |token: &str| {
        let form = "grant_type=refresh_token&client_id=client_pub&refresh_token=";
        house.post("/oauth/token", "", &format!("{form}{token}"))
    };
    let token = text(&tokens, "refresh_token");
    let answers = together(50, |_| refresh(&token));
    let mut all = pairs(&answers);
    assert_eq!(all.len(), 1, "one of them has it");
    // All others were reuse, and nobody can tell who the thief is.
    all.push(tokens);
    are_dead(house, &all, refresh);
}

#[test]
fn fifty_rotations_of_a_public_clients_token_give_one_pair_and_end_the_family_on_both_stores() {
    for house in houses() {
        fifty_rotations_of_a_public_clients_token(&house);
    }
}

fn fifty_rotations_of_a_confidential_clients_token(house: &House) {
    let tokens = house.tokens();
    let token = text(&tokens, "refresh_token");
    let answers = together(50, |_| house.refresh(&token));
    let mut all = pairs(&answers);
    assert_eq!(all.len(), 3, "the first, and two that repeat it");
    all.push(tokens);
    are_dead(house, &all, |token| house.refresh(token));
}

#[test]
fn fifty_rotations_of_a_confidential_clients_token_give_three_and_end_the_family_on_both_stores() {
    for house in houses() {
        fifty_rotations_of_a_confidential_clients_token(&house);
    }
}

/// As a client does that lost an answer, and then goes on.
#[test]
fn three_rotations_at_once_give_three_pairs_of_which_each_may_go_on() {
    for house in houses() {
        let token = text(&house.tokens(), "refresh_token");
        let answers = together(3, |_| house.refresh(&token));
        let all = pairs(&answers);
        assert_eq!(all.len(), 3);
        for pair in &all {
            assert_eq!(house.call(&text(pair, "access_token")), 200);
        }
        assert_eq!(house.refresh(&text(&all[1], "refresh_token")).status, 200);
    }
}

fn many_clicks_on_allow(house: &House) {
    let mut browser = house.browser(&seed_query());
    browser.log_in("alice", PASSWORD);
    let (page, cookie) = (browser.page.clone(), browser.cookie.clone());
    let form = format!("token={}&decision=allow", browser.form_token());
    let answers = together(20, |_| decide(house, &page, &cookie, &form));
    let codes: Vec<_> = answers
        .iter()
        .map(|answer| {
            assert_eq!(answer.status, 303, "{answer:?}");
            parameter(answer, "code").expect("a code")
        })
        .collect();
    assert!(codes.iter().all(|code| *code == codes[0]), "{codes:?}");
    let code = &codes[0];
    let form = format!("grant_type=authorization_code&code={code}&redirect_uri={CALLBACK}");
    assert_eq!(house.token(&form).status, 200);
    assert_eq!(grants(house), 1);
}

fn decide(house: &House, page: &str, cookie: &str, form: &str) -> Answer {
    house.browse(format!(
        "POST {page}/decision HTTP/1.1\r\nhost: osir.com\r\ncookie: {cookie}\r\ncontent-type: \
         application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        form.len()
    ))
}

/// How many live grants alice has given.
fn grants(house: &House) -> usize {
    let apps = house
        .gateway
        .operate(async |admin| admin.apps(&alice()).await)
        .expect("a list");
    apps.apps.iter().map(|app| app.grants.len()).sum()
}

#[test]
fn many_clicks_on_allow_give_one_code_and_one_grant_on_both_stores() {
    for house in houses() {
        many_clicks_on_allow(&house);
    }
}

/// Each round is decided once, one way or the other.
fn a_yes_beside_a_no(house: &House) {
    for _ in 0..6 {
        let mut browser = house.browser(&seed_query());
        browser.log_in("alice", PASSWORD);
        let (page, cookie, token) = (
            browser.page.clone(),
            browser.cookie.clone(),
            browser.form_token(),
        );
        let answers = together(2, |which| {
            let decision = ["allow", "deny"][which];
            let form = format!("token={token}&decision={decision}");
            decide(house, &page, &cookie, &form)
        });
        let won: Vec<&Answer> = answers
            .iter()
            .filter(|answer| answer.status == 303)
            .collect();
        let [won] = won.as_slice() else {
            panic!("one of them counts: {answers:?}");
        };
        assert!(
            answers.iter().any(|answer| answer.status == 410),
            "{answers:?}"
        );
        browser.look();
        assert_eq!(browser.answer.status, 410);
        match parameter(won, "code") {
            Some(code) => {
                let form = "grant_type=authorization_code";
                let form = format!("{form}&code={code}&redirect_uri={CALLBACK}");
                assert_eq!(house.token(&form).status, 200);
                let selection = AppSelection::All;
                let revoked = house
                    .gateway
                    .operate(async |admin| admin.revoke_apps(&alice(), &selection).await);
                assert_eq!(revoked.expect("revoked").apps.len(), 1);
            }
            None => assert_eq!(parameter(won, "error").as_deref(), Some("access_denied")),
        }
        assert_eq!(grants(house), 0);
    }
}

#[test]
fn a_yes_beside_a_no_is_one_of_them_on_both_stores() {
    for house in houses() {
        a_yes_beside_a_no(&house);
    }
}

/// Whichever comes first: after both, nothing of the grant works.
fn a_revocation_beside_a_refresh(house: &House) {
    for _ in 0..8 {
        let tokens = house.tokens();
        let token = text(&tokens, "refresh_token");
        let answers = together(2, |which| match which {
            0 => house.refresh(&token),
            _ => house.post(
                "/oauth/revoke",
                &basic("client_conf", SECRET),
                &format!("token={token}"),
            ),
        });
        assert_eq!(answers[1].status, 200, "{answers:?}");
        let mut all = pairs(&answers[..1]);
        all.push(tokens);
        are_dead(house, &all, |token| house.refresh(token));
    }
    assert_eq!(grants(house), 0);
}

#[test]
fn a_revocation_beside_a_refresh_leaves_no_live_token_on_both_stores() {
    for house in houses() {
        a_revocation_beside_a_refresh(&house);
    }
}

/// A replayed code beside the first refresh of what it gave.
#[test]
fn a_replay_beside_a_refresh_leaves_no_live_token_on_both_stores() {
    for house in houses() {
        for _ in 0..4 {
            let code = house.seed_code();
            let form = format!("grant_type=authorization_code&code={code}&redirect_uri={CALLBACK}");
            let tokens = json(&house.token(&form));
            let token = text(&tokens, "refresh_token");
            let answers = together(2, |which| match which {
                0 => house.refresh(&token),
                _ => house.token(&form),
            });
            assert_eq!(error(&answers[1]), "invalid_grant");
            let mut all = pairs(&answers[..1]);
            all.push(tokens);
            are_dead(&house, &all, |token| house.refresh(token));
        }
    }
}

/// Disabled while it refreshes or redeems: what it granted is over, also once it is enabled again.
fn a_user_that_is_disabled_meanwhile(house: &House) {
    let admin = |enable: bool| {
        let changed = house.gateway.operate(async |admin| match enable {
            true => admin.enable_user(&alice()).await,
            false => admin.disable_user(&alice()).await,
        });
        changed.expect("changed");
    };
    for _ in 0..4 {
        let tokens = house.tokens();
        let token = text(&tokens, "refresh_token");
        let code = house.seed_code();
        let redeem = format!("grant_type=authorization_code&code={code}&redirect_uri={CALLBACK}");
        let answers = together(3, |which| match which {
            0 => Some(house.refresh(&token)),
            1 => Some(house.token(&redeem)),
            _ => {
                admin(false);
                None
            }
        });
        let answers: Vec<Answer> = answers.into_iter().flatten().collect();
        let mut all = pairs(&answers);
        all.push(tokens);
        are_dead(house, &all, |token| house.refresh(token));
        admin(true);
        are_dead(house, &all, |token| house.refresh(token));
        assert_eq!(grants(house), 0);
    }
}

#[test]
fn a_user_that_is_disabled_meanwhile_leaves_no_live_token_on_both_stores() {
    for house in houses() {
        a_user_that_is_disabled_meanwhile(&house);
    }
}

/// The same for a client, which is disabled for good.
#[test]
fn a_client_that_is_disabled_meanwhile_leaves_no_live_token_on_both_stores() {
    for house in houses() {
        let tokens = house.tokens();
        let token = text(&tokens, "refresh_token");
        let client = ClientId::parse("client_conf").expect("an id");
        let answers = together(2, |which| match which {
            0 => Some(house.refresh(&token)),
            _ => {
                let disabled = house
                    .gateway
                    .operate(async |admin| admin.disable_client(&client).await);
                disabled.expect("disabled");
                None
            }
        });
        let first = answers.into_iter().flatten().next().expect("an answer");
        let mut all = vec![tokens];
        match first.status {
            200 => all.push(json(&first)),
            status => assert_eq!((status, error(&first).as_str()), (401, "invalid_client")),
        }
        for pair in &all {
            let answer = house.refresh(&text(pair, "refresh_token"));
            assert_eq!(
                (answer.status, error(&answer).as_str()),
                (401, "invalid_client")
            );
            house.is_refused(&text(pair, "access_token"));
        }
    }
}
