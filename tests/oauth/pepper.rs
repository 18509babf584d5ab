//! A change of the pepper: what was given out under one is good under the next, on one gateway and
//! in a fleet that is changed one gateway after the other.

use portcullis::admin::RotateClientBody;
use portcullis::id::{ClientId, RequestId};
use portcullis::secret::Secret;
use serde_json::Value;

use crate::house::{
    Browser, CALLBACK, House, OTHER_SECRET, PASSWORD, basic, claims, error, json, parameter,
    seed_query, text,
};
use crate::support::{Answer, Gateway, eventually};

const PREVIOUS: &str = ", previous_pepper: { file: pepper }";
const NEXT: &str = ", next_pepper: { file: pepper-2 }";

/// What is on its way when the pepper changes.
struct Underway<'a> {
    tokens: Value,
    code: String,
    at_login: Browser<'a>,
    at_consent: Browser<'a>,
    /// Sends its form once more.
    decided: Browser<'a>,
    first_code: String,
}

impl Underway<'_> {
    fn begin(house: &House) -> Underway<'_> {
        let mut at_consent = house.browser(&seed_query());
        at_consent.log_in("alice", PASSWORD);
        let mut decided = house.browser(&seed_query());
        decided.log_in("alice", PASSWORD);
        let consent = decided.answer.clone();
        decided.decide("allow");
        let first_code = parameter(&decided.answer, "code").expect("a code");
        decided.answer = consent;
        Underway {
            tokens: house.tokens(),
            code: house.seed_code(),
            at_login: house.browser(&seed_query()),
            at_consent,
            decided,
            first_code,
        }
    }

    /// Each comes to its end, on whichever gateway.
    fn end(self, house: &House) -> Value {
        assert_eq!(house.call(&text(&self.tokens, "access_token")), 200);
        redeemed(house, &self.code);
        let mut at_login = self.at_login.at(house);
        at_login.log_in("alice", PASSWORD);
        at_login.decide("allow");
        redeemed(house, &code_of(&at_login));
        let mut at_consent = self.at_consent.at(house);
        at_consent.decide("allow");
        redeemed(house, &code_of(&at_consent));
        let mut decided = self.decided.at(house);
        decided.decide("allow");
        assert_eq!(code_of(&decided), self.first_code, "the same code");
        redeemed(house, &self.first_code);
        refreshed(house, &self.tokens)
    }
}

fn code_of(browser: &Browser<'_>) -> String {
    parameter(&browser.answer, "code").unwrap_or_else(|| panic!("{:?}", browser.answer))
}

fn redeem(house: &House, code: &str) -> Answer {
    house.token(&format!(
        "grant_type=authorization_code&code={code}&redirect_uri={CALLBACK}"
    ))
}

/// Its tokens, the access token of which opens the API.
fn redeemed(house: &House, code: &str) -> Value {
    good(house, &redeem(house, code))
}

fn refresh(house: &House, tokens: &Value) -> Answer {
    let token = text(tokens, "refresh_token");
    house.token(&format!("grant_type=refresh_token&refresh_token={token}"))
}

fn refreshed(house: &House, tokens: &Value) -> Value {
    good(house, &refresh(house, tokens))
}

fn good(house: &House, answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    let tokens = json(answer);
    assert_eq!(house.call(&text(&tokens, "access_token")), 200);
    tokens
}

/// Whether a client's secret is good: one request.
fn authenticates(house: &House, client: &str, secret: &str) -> bool {
    let form = "grant_type=client_credentials&scope=domains:read";
    let answer = house.post("/oauth/token", &basic(client, secret), form);
    match answer.status {
        200 => true,
        _ => {
            let told = (answer.status, error(&answer));
            assert_eq!(told, (401, "invalid_client".into()));
            false
        }
    }
}

const CONF: (&str, &str) = ("client_conf", crate::house::SECRET);

/// Takes the pepper before out once a secret has moved, which it does behind its use.
fn forget_previous(house: &House) {
    eventually("the secret has moved", || {
        house.reload("pepper-2", "").expect("reloaded");
        if authenticates(house, CONF.0, CONF.1) {
            return Some(());
        }
        house.reload("pepper-2", PREVIOUS).expect("reloaded");
        assert!(authenticates(house, CONF.0, CONF.1));
        None
    });
}

/// A change by reloads alone; at the end a restart shows what is at rest.
fn outlives_a_change(house: House) {
    let underway = Underway::begin(&house);
    let unused = house.tokens();
    let kid = claims(&text(&unused, "access_token"))["header"]["kid"].clone();
    let (_, key) = house.gateway.key(&["domains:read"]);

    house.reload("pepper-2", PREVIOUS).expect("reloaded");
    let tokens = underway.end(&house);
    assert_eq!(house.call(&key), 200);
    for (client, secret) in [
        (CONF.0, "osir_cs_wrong"),
        ("client_nobody", CONF.1),
        ("client_service", OTHER_SECRET),
    ] {
        assert!(!authenticates(&house, client, secret), "{client}");
    }

    forget_previous(&house);
    let tokens = refreshed(&house, &tokens);
    assert_eq!(house.call(&text(&unused, "access_token")), 200);
    let forgotten = refresh(&house, &unused);
    assert_eq!(error(&forgotten), "invalid_grant", "made under the old one");
    assert!(
        !authenticates(&house, "client_other", OTHER_SECRET),
        "it never came along"
    );

    let house = house.restart("pepper-2", "");
    let tokens = refreshed(&house, &tokens);
    let signed = claims(&text(&tokens, "access_token"));
    assert_eq!(signed["header"]["kid"], kid, "the key was sealed anew");
    assert_eq!(house.call(&key), 200);
}

#[test]
fn what_is_underway_outlives_a_change_of_the_pepper() {
    outlives_a_change(House::start());
}

#[test]
fn what_is_underway_outlives_a_change_of_the_pepper_on_redis() {
    outlives_a_change(House::on_redis());
}

#[test]
fn a_change_with_a_restart_is_as_good() {
    let house = House::start();
    let tokens = house.tokens();
    let house = house.restart("pepper-2", PREVIOUS);
    let tokens = refreshed(&house, &tokens);
    let house = house.restart("pepper-3", ", previous_pepper: { file: pepper-2 }");
    refreshed(&house, &tokens);
}

#[test]
fn a_pepper_in_use_cannot_be_lost_by_a_reload() {
    let house = House::start();
    for beside in ["", ", previous_pepper: { file: pepper-3 }"] {
        let refused = house.reload("pepper-2", beside).expect_err("a refusal");
        assert!(refused.contains("`previous_pepper`"), "{refused}");
        assert!(authenticates(&house, CONF.0, CONF.1));
    }
    // Both ways: it comes in, and where it does not work out, it goes again.
    house.reload("pepper", NEXT).expect("reloaded");
    house.reload("pepper-2", PREVIOUS).expect("reloaded");
    let made = house.tokens();
    house.reload("pepper", NEXT).expect("reloaded");
    refreshed(&house, &made);
    assert!(authenticates(&house, CONF.0, CONF.1));
}

/// Every gateway learns the next pepper; one makes everything under it; the other takes it.
#[test]
fn a_fleet_changes_its_pepper_one_gateway_after_the_other() {
    let one = House::on_redis();
    let other = one.beside();
    let underway = (Underway::begin(&one), Underway::begin(&other));
    let (_, old_key) = one.gateway.key(&["domains:read"]);
    for house in [&one, &other] {
        house.reload("pepper", NEXT).expect("reloaded");
    }
    one.reload("pepper-2", PREVIOUS).expect("reloaded");

    // One makes everything under the new pepper, the other under the old one; each takes both.
    let (_, new_key) = one.gateway.key(&["domains:read"]);
    for house in [&one, &other, &one] {
        assert_eq!((house.call(&old_key), house.call(&new_key)), (200, 200));
        assert!(authenticates(house, CONF.0, CONF.1));
    }
    let mut begun = one.browser(&seed_query()).at(&other);
    begun.log_in("alice", PASSWORD);
    let mut begun = begun.at(&one);
    begun.decide("allow");
    let mut tokens = redeemed(&other, &code_of(&begun));
    let mut begun = other.browser(&seed_query()).at(&one);
    begun.log_in("alice", PASSWORD);
    let mut begun = begun.at(&other);
    begun.decide("allow");
    redeemed(&one, &code_of(&begun));
    for house in [&one, &other, &one] {
        tokens = refreshed(house, &tokens);
        assert_eq!(other.call(&text(&tokens, "access_token")), 200);
    }
    a_wish_has_one_answer(&one.gateway, &other.gateway, "wish-1");
    a_wish_has_one_answer(&other.gateway, &one.gateway, "wish-2");
    // The signing key, which one has sealed anew, opens for a gateway that comes back.
    let other_ends_at = underway.1.end(&one);
    let underway_at_one = underway.0.end(&other);
    let other = other.restart("pepper", NEXT);
    refreshed(&other, &underway_at_one);

    other.reload("pepper-2", PREVIOUS).expect("reloaded");
    let tokens = refreshed(&other, &tokens);
    refreshed(&one, &other_ends_at);
    for house in [&one, &other] {
        forget_previous(house);
        assert_eq!((house.call(&old_key), house.call(&new_key)), (200, 200));
    }
    refreshed(&one, &tokens);
}

/// A rotation that is asked for on one gateway and again on another, which has another pepper.
fn a_wish_has_one_answer(one: &Gateway, other: &Gateway, request: &str) {
    let client = ClientId::parse("client_other").expect("an id");
    let body = RotateClientBody {
        overlap: 0,
        request_id: RequestId::parse(request).expect("an id"),
    };
    let [first, second] = [one, other].map(|gateway| -> Secret {
        let rotated = gateway
            .operate(async |admin| admin.rotate_client_secret(&client, &body).await)
            .expect("rotated");
        rotated.client_secret
    });
    assert!(first.matches(&second), "the same secret");
}
