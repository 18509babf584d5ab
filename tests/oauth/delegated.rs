//! Login at a page of the operator's: the challenge out, the answer over the admin API, and the
//! browser's way back.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis::admin::{AcceptLoginBody, AdminAddress, ClientError, LoginView, RejectLoginBody};
use portcullis::auth::{RevokeTokens, TokenName, TokenSelection};
use portcullis::clock::Clock;
use portcullis::id::{AccountId, ClientId, InteractionId, SubjectId};
use portcullis::oauth::LoginChallenge;
use portcullis::observe::Metrics;
use portcullis::policy::{ExplainCredential, ExplainRequest};
use portcullis::secret::{Digest, Secret};
use portcullis::store::{
    CreateInteraction, InteractionRecord, InteractionState, RedisSettings, RejectReason,
    StoreSettings,
};
use serde_json::json;
use tokio::task::JoinSet;

use crate::house::{
    CALLBACK, House, claims, error, json, parameter, parameters, scopes, seed_query, text,
};
use crate::support::{Answer, REDIS_PASSWORD, Raw, RedisServer, eventually};

const DELEGATED: &str =
    r#", login: { delegated: { url: "https://login.osir.com/start?theme=dark" } }"#;
const ADMIN_TOKEN: &str = "an-admin-token-for-tests-only";

fn house() -> House {
    House::with(None, DELEGATED)
}

fn house_on_redis() -> House {
    House::with(Some(RedisServer::start()), DELEGATED)
}

/// A browser that was sent to the operator's page.
struct Sent<'a> {
    house: &'a House,
    cookie: String,
    challenge: String,
}

fn sent<'a>(house: &'a House, query: &str) -> Sent<'a> {
    let answer = house.authorize(query);
    assert_eq!(answer.status, 302, "{answer:?}");
    Sent::of(house, &answer)
}

impl<'a> Sent<'a> {
    fn of(house: &'a House, answer: &Answer) -> Sent<'a> {
        let page = answer.header("location").expect("a page");
        let start = "https://login.osir.com/start?theme=dark&login_challenge=";
        let challenge = page.strip_prefix(start).expect("the operator's page");
        let cookie = answer.header("set-cookie").expect("a cookie");
        assert!(cookie.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        Sent {
            house,
            cookie: cookie.split(';').next().expect("a pair").to_owned(),
            challenge: challenge.to_owned(),
        }
    }

    fn show(&self) -> Result<LoginView, ClientError> {
        let house = self.house;
        house
            .gateway
            .operate(async |admin| admin.login(&self.challenge).await)
    }

    fn accept(&self, body: &AcceptLoginBody) -> Result<String, ClientError> {
        let answered = self
            .house
            .gateway
            .operate(async |admin| admin.accept_login(&self.challenge, body).await);
        answered.map(|answered| answered.redirect_to)
    }

    fn reject(&self, reason: RejectReason) -> Result<String, ClientError> {
        let body = RejectLoginBody { reason };
        let answered = self
            .house
            .gateway
            .operate(async |admin| admin.reject_login(&self.challenge, &body).await);
        answered.map(|answered| answered.redirect_to)
    }

    /// The browser follows the operator's page.
    fn resume(&self, redirect_to: &str) -> Answer {
        resume(self.house, redirect_to, &self.cookie)
    }
}

fn resume(house: &House, redirect_to: &str, cookie: &str) -> Answer {
    let path = redirect_to.strip_prefix("https://osir.com").expect("ours");
    house.browse(format!(
        "GET {path} HTTP/1.1\r\nhost: osir.com\r\ncookie: {cookie}\r\n\r\n"
    ))
}

fn yes(subject: &str, granted: &str) -> AcceptLoginBody {
    AcceptLoginBody {
        subject: SubjectId::parse(subject).expect("an id"),
        account: AccountId::parse("acct_42").ok(),
        scopes: scopes(granted),
        auth_time: Some("2020-01-01T00:00:00Z".into()),
        acr: Some("urn:example:mfa".into()),
        amr: vec!["pwd".into(), "otp".into()],
    }
}

const BOTH: &str = "domains:read domains:write";

fn status<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> u16 {
    match answer {
        Err(ClientError::Refused { status, .. }) => status.as_u16(),
        other => panic!("not refused: {other:?}"),
    }
}

/// To the tokens.
fn redeem(house: &House, answer: &Answer) -> serde_json::Value {
    let code = parameter(answer, "code").expect("a code");
    let form = format!("grant_type=authorization_code&code={code}&redirect_uri={CALLBACK}");
    let answer = house.token(&form);
    assert_eq!(answer.status, 200, "{answer:?}");
    json(&answer)
}

/// On a connection of its own to the admin API, as curl would.
fn ask_admin(house: &House, method: &str, path: &str, token: &str, body: &str) -> Answer {
    let Some(AdminAddress::Tcp(address)) = house.gateway.running().admin() else {
        panic!("the admin API is on TCP");
    };
    let mut client = Raw::plain(*address);
    client.send(format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    ));
    client.answer()
}

/// The whole way, as docs/oauth.md has it.
fn a_login_comes_to_a_token(house: &House) {
    let login = sent(
        house,
        &format!("{}&login_hint=alice%40example.com", seed_query()),
    );
    let shown = login.show().expect("shown");
    assert_eq!(shown.client_id.as_str(), "client_conf");
    assert_eq!(shown.hints.get("login_hint"), Some("alice@example.com"));
    let answer = login.accept(&yes("auth0|alice", BOTH)).expect("taken");
    let returned = login.resume(&answer);
    assert_eq!(returned.status, 302, "{returned:?}");
    let location = returned.header("location").expect("a redirect");
    assert!(
        location.starts_with(&format!("{CALLBACK}?code=osir_ac_")),
        "{location}"
    );
    let told = parameters(&returned);
    assert_eq!(told["state"], "s%2B1");
    assert_eq!(told["iss"], "https%3A%2F%2Fosir.com");
    assert_eq!(told.len(), 3);

    let tokens = redeem(house, &returned);
    assert_eq!(tokens["scope"], BOTH);
    let access = text(&tokens, "access_token");
    let said = &claims(&access)["claims"];
    assert_eq!(said["sub"], "auth0|alice");
    assert_eq!(said["acct"], "acct_42");
    assert_eq!(said["acr"], "urn:example:mfa");
    assert_eq!(said["amr"], json!(["pwd", "otp"]));
    assert_eq!(said["auth_time"], 1_577_836_800);
    assert_eq!(house.call(&access), 200);

    // No record of the user here: what was granted stands.
    let refreshed = house.token(&format!(
        "grant_type=refresh_token&refresh_token={}",
        text(&tokens, "refresh_token")
    ));
    assert_eq!(json(&refreshed)["scope"], BOTH);
    let access = text(&json(&refreshed), "access_token");
    assert_eq!(claims(&access)["claims"]["amr"], json!(["pwd", "otp"]));
    assert_eq!(house.call(&access), 200);
}

#[test]
fn a_login_at_the_operators_page_comes_to_tokens_and_the_api() {
    a_login_comes_to_a_token(&house());
}

#[test]
fn a_login_at_the_operators_page_comes_to_tokens_and_the_api_on_redis() {
    a_login_comes_to_a_token(&house_on_redis());
}

#[test]
fn an_authorization_request_that_is_a_form_goes_to_the_page_by_303() {
    let house = house();
    let form = seed_query();
    let answer = house.browse(format!(
        "POST /oauth/authorize HTTP/1.1\r\nhost: osir.com\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        form.len()
    ));
    assert_eq!(answer.status, 303, "{answer:?}");
    let login = Sent::of(&house, &answer);
    let back = login.accept(&yes("usr", BOTH)).expect("taken");
    assert!(parameter(&login.resume(&back), "code").is_some());
}

#[test]
fn the_request_is_checked_before_anybody_is_sent_to_the_page() {
    let house = house();
    let unknown = house.authorize(&seed_query().replace("client_conf", "client_no"));
    assert_eq!((unknown.status, unknown.header("location")), (400, None));
    let wide = house.authorize(&seed_query().replace("domains:write", "domains:all"));
    assert_eq!(parameter(&wide, "error").as_deref(), Some("invalid_scope"));
    assert!(wide.header("location").expect("one").starts_with(CALLBACK));
}

#[test]
fn the_page_says_no_and_the_client_hears_why() {
    let house = house();
    for (reason, code) in [
        (RejectReason::AccessDenied, "access_denied"),
        (RejectReason::LoginRequired, "login_required"),
        (
            RejectReason::TemporarilyUnavailable,
            "temporarily_unavailable",
        ),
    ] {
        let login = sent(&house, &seed_query());
        let back = login.reject(reason).expect("taken");
        for _ in 0..2 {
            let returned = login.resume(&back);
            assert_eq!(returned.status, 302);
            let expected =
                format!("{CALLBACK}?error={code}&state=s%2B1&iss=https%3A%2F%2Fosir.com");
            assert_eq!(returned.header("location"), Some(expected.as_str()));
        }
        assert_eq!(login.reject(reason).expect("the same"), back);
        assert_eq!(status(login.accept(&yes("usr", BOTH))), 409);
    }
}

#[test]
fn only_the_browser_that_began_it_and_was_answered_goes_on() {
    let house = house();
    // The attacker begins; the victim is made to log in for it.
    let (attacker, victim) = (sent(&house, &seed_query()), sent(&house, &seed_query()));
    let back = attacker.accept(&yes("victim", BOTH)).expect("taken");
    let (page, verifier) = back.split_once("?login_verifier=").expect("a verifier");
    let other = victim.accept(&yes("victim", BOTH)).expect("taken");
    let (_, other) = other.split_once('=').expect("a verifier");

    let refused = |redirect_to: &str, cookie: &str| {
        let answer = resume(&house, redirect_to, cookie);
        assert_eq!(answer.status, 400, "{redirect_to} {cookie}: {answer:?}");
        assert_eq!(answer.header("location"), None);
        assert!(
            answer
                .body
                .contains("There is no such request in this browser")
        );
        answer.body
    };
    // The victim's browser has the verifier, and not the cookie; also none at all.
    let told = refused(&back, &victim.cookie);
    assert_eq!(refused(&back, "a=b"), told);
    // The attacker's has the cookie, and not the verifier; nor one of another interaction.
    assert_eq!(refused(page, &attacker.cookie), told);
    for guess in ["", other, &verifier.to_lowercase(), &format!("{verifier}A")] {
        let guess = format!("{page}?login_verifier={guess}");
        assert_eq!(refused(&guess, &attacker.cookie), told);
    }
    let twice = format!("{back}&login_verifier={verifier}");
    assert_eq!(refused(&twice, &attacker.cookie), told);
    // An interaction that there is not looks the same.
    let nowhere =
        format!("https://osir.com/oauth/interaction/int_1/resume?login_verifier={verifier}");
    assert_eq!(refused(&nowhere, &attacker.cookie), told);
    // None of it was in the way of whoever has both.
    assert!(parameter(&attacker.resume(&back), "code").is_some());
}

#[test]
fn resuming_is_by_get_and_before_an_answer_there_is_no_way() {
    let house = house();
    let login = sent(&house, &seed_query());
    let (id, _) = login.challenge.split_once('.').expect("two parts");
    let path = format!("/oauth/interaction/{id}/resume");
    let early = house.browse(format!(
        "GET {path}?login_verifier= HTTP/1.1\r\nhost: osir.com\r\ncookie: {}\r\n\r\n",
        login.cookie
    ));
    assert_eq!((early.status, early.header("location")), (400, None));
    for method in ["POST", "PUT"] {
        let answer = house.browse(format!(
            "{method} {path} HTTP/1.1\r\nhost: osir.com\r\ncontent-length: 0\r\n\r\n"
        ));
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET")));
    }
}

#[test]
fn an_answer_is_given_once_and_may_be_repeated() {
    let house = house();
    let login = sent(&house, &seed_query());
    let body = yes("alice", BOTH);
    let back = login.accept(&body).expect("taken");
    assert_eq!(login.accept(&body).expect("the same"), back);
    let later = AcceptLoginBody {
        auth_time: Some("2020-01-01T00:00:01Z".into()),
        ..body.clone()
    };
    let weaker = AcceptLoginBody {
        acr: None,
        ..body.clone()
    };
    for other in [
        yes("mallory", BOTH),
        yes("alice", "domains:read"),
        later,
        weaker,
    ] {
        assert_eq!(status(login.accept(&other)), 409, "{other:?}");
    }
    assert_eq!(status(login.reject(RejectReason::AccessDenied)), 409);

    let first = parameter(&login.resume(&back), "code").expect("a code");
    // The answer was lost on the way: the page and the browser ask again.
    assert_eq!(login.accept(&body).expect("the same"), back);
    assert_eq!(status(login.accept(&yes("mallory", BOTH))), 409);
    let again = login.resume(&back);
    assert_eq!(parameter(&again, "code").as_ref(), Some(&first));
    redeem(&house, &again);
    let late = login.resume(&back);
    assert_eq!((late.status, late.header("location")), (410, None));
}

#[test]
fn parallel_answers_are_one_answer() {
    let house = house_on_redis();
    let login = sent(&house, &seed_query());
    let outcomes = house.gateway.operate(async |admin| {
        let mut tasks = JoinSet::new();
        for number in 0..8 {
            let (admin, challenge) = (admin.clone(), login.challenge.clone());
            let body = AcceptLoginBody {
                auth_time: None,
                ..yes(&format!("user-{}", number % 2), BOTH)
            };
            tasks.spawn(async move {
                let taken = admin.accept_login(&challenge, &body).await;
                (number % 2, taken.map(|answered| answered.redirect_to))
            });
        }
        tasks.join_all().await
    });
    let winners: Vec<i32> = outcomes
        .iter()
        .filter_map(|(user, taken)| taken.is_ok().then_some(*user))
        .collect();
    let winner = winners[0];
    // All of the one user's, none of the other's.
    assert_eq!(winners, [winner; 4]);
    let back = outcomes.into_iter().find_map(|(_, taken)| taken.ok());
    let returned = login.resume(&back.expect("one was taken"));
    let token = text(&redeem(&house, &returned), "access_token");
    let claims = claims(&token);
    assert_eq!(claims["claims"]["sub"], format!("user-{winner}"));
}

#[test]
fn nothing_is_granted_beyond_the_request() {
    let house = house();
    let login = sent(&house, &seed_query().replace("%20domains:write", ""));
    assert_eq!(login.show().expect("shown").scopes.len(), 1);
    for beyond in [BOTH, "domains:write", "vps:read", ""] {
        assert_eq!(status(login.accept(&yes("alice", beyond))), 400, "{beyond}");
    }
    // Of what was asked for, some.
    let back = login.accept(&yes("alice", "domains:read")).expect("taken");
    assert_eq!(
        redeem(&house, &login.resume(&back))["scope"],
        "domains:read"
    );
    let login = sent(&house, &seed_query());
    let back = login.accept(&yes("alice", "domains:write")).expect("taken");
    assert_eq!(
        redeem(&house, &login.resume(&back))["scope"],
        "domains:write"
    );
}

#[test]
fn without_the_admin_token_nothing_is_shown_or_answered() {
    let house = house();
    let login = sent(&house, &seed_query());
    let path = format!("/v1/logins/{}", login.challenge);
    let body = json!({ "subject": "alice", "scopes": ["domains:read"] }).to_string();
    for token in ["", "an-admin-token-for-tests-onlY", &login.challenge] {
        for (method, rest, body) in [
            ("GET", "", ""),
            ("POST", "/accept", body.as_str()),
            ("POST", "/reject", r#"{"reason":"access_denied"}"#),
        ] {
            let answer = ask_admin(&house, method, &format!("{path}{rest}"), token, body);
            assert_eq!(answer.status, 401, "{method} {rest}");
            assert!(!answer.body.contains("redirect_to"));
        }
    }
    // Nor anywhere on the API's listener.
    let api = house
        .gateway
        .send(format!("GET {path} HTTP/1.1\r\nhost: api.osir.com\r\n\r\n"));
    assert_eq!(api.status, 404);
    let shown = ask_admin(&house, "GET", &path, ADMIN_TOKEN, "");
    assert_eq!(
        (shown.status, json(&shown)["state"].as_str()),
        (200, Some("open"))
    );
}

#[test]
fn a_challenge_that_there_is_not_and_one_that_is_none_have_the_same_answer() {
    let house = house();
    let login = sent(&house, &seed_query());
    let (id, bits) = login.challenge.split_once('.').expect("two parts");
    let zeros = "A".repeat(43);
    let same = [
        format!("{id}.{zeros}"),
        format!("int_0000000000000000000000.{bits}"),
        id.to_owned(),
        bits.to_owned(),
        "%00".to_owned(),
        "x".to_owned(),
        format!("{}=", login.challenge),
    ];
    let body = r#"{"subject":"alice","scopes":["domains:read"]}"#;
    for challenge in same {
        let path = format!("/v1/logins/{challenge}");
        for (method, rest, body) in [
            ("GET", "", ""),
            ("POST", "/accept", body),
            ("POST", "/reject", r#"{"reason":"access_denied"}"#),
        ] {
            let answer = ask_admin(&house, method, &format!("{path}{rest}"), ADMIN_TOKEN, body);
            assert_eq!(
                (answer.status, answer.body.as_str()),
                (
                    404,
                    r#"{"error":"not_found","message":"there is no login of this challenge"}"#
                ),
                "{method} {path}{rest}"
            );
        }
    }
    assert!(login.accept(&yes("alice", BOTH)).is_ok());
}

#[test]
fn each_way_of_login_has_its_own_pages_only() {
    let delegated = house();
    let login = sent(&delegated, &seed_query());
    let (id, _) = login.challenge.split_once('.').expect("two parts");
    for (method, rest) in [
        ("GET", ""),
        ("POST", "/login"),
        ("POST", "/decision"),
        ("GET", "/login"),
    ] {
        let answer = delegated.browse(format!(
            "{method} /oauth/interaction/{id}{rest} HTTP/1.1\r\nhost: osir.com\r\ncookie: {}\r\ncontent-length: 0\r\n\r\n",
            login.cookie
        ));
        assert_eq!(answer.status, 404, "{method} {rest}");
        assert!(answer.body.contains("There is no such page"), "{answer:?}");
    }
    let explained = |path: String, status: u16| {
        let request = ExplainRequest {
            method: "GET".into(),
            path,
            host: Some("osir.com".into()),
            address: None,
            credential: ExplainCredential::None,
        };
        let told = delegated
            .gateway
            .operate(async |admin| admin.explain(&request).await);
        assert_eq!(told.expect("explained")["status"], status);
    };
    explained(format!("/oauth/interaction/{id}"), 404);
    explained(format!("/oauth/interaction/{id}/resume"), 200);
    let builtin = House::start();
    let browser = builtin.browser(&seed_query());
    let answer = builtin.browse(format!(
        "GET {}/resume?login_verifier=x HTTP/1.1\r\nhost: osir.com\r\ncookie: {}\r\n\r\n",
        browser.page, browser.cookie
    ));
    assert_eq!(answer.status, 404);
    let path = format!("/v1/logins/{}", login.challenge);
    let answer = ask_admin(&builtin, "GET", &path, ADMIN_TOKEN, "");
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (
            404,
            r#"{"error":"not_found","message":"login is not delegated: see oauth.login"}"#
        )
    );
}

#[test]
fn a_login_is_not_carried_on_in_the_other_way_after_a_reload() {
    let house = house();
    let login = sent(&house, &seed_query());
    let (id, _) = login.challenge.split_once('.').expect("two parts");
    login.accept(&yes("victim", BOTH)).expect("taken");
    let path = house.gateway.path("gateway.yaml");
    let yaml = std::fs::read_to_string(&path).expect("readable");
    std::fs::write(&path, yaml.replace(DELEGATED, "")).expect("writable");
    let reloaded = house.gateway.operate(async |admin| admin.reload().await);
    reloaded.expect("reloaded");
    // Else whoever has the cookie alone would be asked for a yes in the victim's name.
    let answer = house.browse(format!(
        "GET /oauth/interaction/{id} HTTP/1.1\r\nhost: osir.com\r\ncookie: {}\r\n\r\n",
        login.cookie
    ));
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(
        house
            .browser(&seed_query())
            .answer
            .body
            .contains("Log in to osir")
    );
}

#[test]
fn what_was_granted_stands_until_the_subject_is_revoked() {
    let house = house();
    let login = sent(&house, &seed_query());
    let back = login.accept(&yes("auth0|alice", BOTH)).expect("taken");
    let tokens = redeem(&house, &login.resume(&back));
    assert_eq!(house.call(&text(&tokens, "access_token")), 200);
    let wish = RevokeTokens {
        tokens: TokenSelection::Subject(TokenName::parse("auth0|alice").expect("a name")),
        issuer: None,
    };
    let revoked = house
        .gateway
        .operate(async |admin| admin.revoke_tokens(&wish).await);
    assert_eq!(revoked.expect("revoked").grants_ended.len(), 1);
    let refused = house.token(&format!(
        "grant_type=refresh_token&refresh_token={}",
        text(&tokens, "refresh_token")
    ));
    assert_eq!(
        (refused.status, error(&refused).as_str()),
        (400, "invalid_grant")
    );
    eventually("its access tokens are dead", || {
        (house.call(&text(&tokens, "access_token")) == 401).then_some(())
    });
}

/// In the browser of this cookie value, over since a moment ago.
fn expired(redis: &RedisServer, browser: [u8; 32]) -> LoginChallenge {
    let settings = StoreSettings::Redis(RedisSettings {
        password: Some(Secret::new(REDIS_PASSWORD)),
        timeout: Duration::from_secs(5),
        ..RedisSettings::at(redis.url())
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let (clock, id) = (Clock::system(), InteractionId::random());
        let store = portcullis::store::open(&settings, &clock, &Metrics::new()).expect("a store");
        let challenge = LoginChallenge::of(&id);
        let now = clock.now();
        let record = InteractionRecord {
            id,
            browser: Digest::of_random(&browser),
            challenge: Some(challenge.digest()),
            client: ClientId::parse("client_conf").expect("an id"),
            request: "{}".into(),
            created_at: now.minus(Duration::from_secs(600)),
            expires_at: now,
            state: InteractionState::Open,
        };
        let made = store.create_interaction(record).await;
        assert_eq!(
            made.expect("the store is there"),
            CreateInteraction::Created
        );
        challenge
    })
}

#[test]
fn an_interaction_that_is_over_is_neither_answered_nor_resumed() {
    let house = house_on_redis();
    let browser = [7; 32];
    let challenge = expired(house.redis.as_ref().expect("Redis"), browser);
    let login = Sent {
        house: &house,
        cookie: format!("__Host-pc_int={}", URL_SAFE_NO_PAD.encode(browser)),
        challenge: challenge.expose().to_owned(),
    };
    assert_eq!(status(login.show()), 410);
    assert_eq!(status(login.accept(&yes("alice", BOTH))), 410);
    assert_eq!(status(login.reject(RejectReason::AccessDenied)), 410);
    let path = format!(
        "https://osir.com/oauth/interaction/{}/resume",
        challenge.interaction()
    );
    let answer = login.resume(&path);
    assert_eq!(answer.status, 410);
    assert!(answer.body.contains("This request has expired"));
}

#[test]
fn without_its_store_a_login_is_unavailable_and_nothing_is_half_made() {
    let mut house = house_on_redis();
    let (open, accepted) = {
        let (open, accepted) = (sent(&house, &seed_query()), sent(&house, &seed_query()));
        let back = accepted.accept(&yes("alice", BOTH)).expect("taken");
        ((open.challenge, open.cookie), (back, accepted.cookie))
    };
    house.redis.as_mut().expect("Redis").kill();
    let authorize = house.authorize(&seed_query());
    assert_eq!(
        (authorize.status, authorize.header("location")),
        (503, None)
    );
    let login = Sent {
        house: &house,
        challenge: open.0,
        cookie: open.1,
    };
    assert_eq!(status(login.show()), 503);
    assert_eq!(status(login.accept(&yes("alice", BOTH))), 503);
    assert_eq!(status(login.reject(RejectReason::AccessDenied)), 503);
    let resumed = resume(&house, &accepted.0, &accepted.1);
    assert_eq!((resumed.status, resumed.header("location")), (503, None));
    assert!(resumed.header("retry-after").is_some());
}
