//! The store is away: the documented error, never a verdict and never a half-made grant.

use portcullis::id::LoginName;

use crate::house::{
    Browser, CALLBACK, House, PASSWORD, SECRET, basic, error, json, parameter, parameters,
    seed_query, text,
};
use crate::support::{Answer, eventually};

const UNAVAILABLE: (u16, &str) = (503, "temporarily_unavailable");

fn is_unavailable(answer: &Answer) {
    assert_eq!((answer.status, error(answer).as_str()), UNAVAILABLE);
    assert!(answer.header("retry-after").is_some());
}

fn is_a_page_for_later(answer: &Answer) {
    assert_eq!((answer.status, answer.header("location")), (503, None));
    assert_eq!(answer.header("retry-after"), Some("5"));
    assert!(
        answer.body.contains("This is not available just now"),
        "{answer:?}"
    );
}

/// Asks until the store is back.
fn once_back(ask: impl Fn() -> Answer) -> Answer {
    eventually("the store is back", || {
        let answer = ask();
        (answer.status != 503).then_some(answer)
    })
}

/// A browser that is asked for its consent.
fn asked(house: &House) -> Browser<'_> {
    let mut browser = house.browser(&seed_query());
    browser.log_in("alice", PASSWORD);
    assert!(browser.answer.body.contains("Allow The app client_conf?"));
    browser
}

fn redemption(code: &str) -> String {
    format!("grant_type=authorization_code&code={code}&redirect_uri={CALLBACK}")
}

/// It is good once, and a replay ends what it gave.
fn is_good_once(house: &House, code: &str) {
    let tokens = once_back(|| house.token(&redemption(code)));
    assert_eq!(tokens.status, 200, "{tokens:?}");
    let replay = house.token(&redemption(code));
    assert_eq!(
        (replay.status, error(&replay).as_str()),
        (400, "invalid_grant")
    );
    let after = house.refresh(&text(&json(&tokens), "refresh_token"));
    assert_eq!(error(&after), "invalid_grant");
}

fn grants(house: &House) -> usize {
    let alice = LoginName::parse("alice").expect("a name");
    let apps = house
        .gateway
        .operate(async |admin| admin.apps(&alice).await);
    let apps = apps.expect("a list").apps;
    apps.iter().map(|app| app.grants.len()).sum()
}

#[test]
fn without_its_store_the_server_is_temporarily_unavailable() {
    let mut house = House::on_redis();
    let refresh = text(&house.tokens(), "refresh_token");
    let code = house.seed_code();
    let left = |browser: Browser<'_>| {
        let token = browser.form_token();
        (browser.page, browser.cookie, token)
    };
    let (yes, waiting) = (left(asked(&house)), left(house.browser(&seed_query())));
    house.redis.as_mut().expect("Redis").kill();

    for form in [
        format!("grant_type=refresh_token&refresh_token={refresh}"),
        format!("grant_type=authorization_code&code={code}"),
        "grant_type=client_credentials".to_owned(),
    ] {
        is_unavailable(&house.token(&form));
    }
    for path in ["/oauth/revoke", "/oauth/introspect"] {
        let form = format!("token={refresh}&client_id=client_conf&client_secret=x");
        is_unavailable(&house.post(path, "", &form));
    }
    // The client cannot be loaded, so there is nobody to go back to.
    is_a_page_for_later(&house.authorize(&seed_query()));
    for ((page, cookie, token), action, rest) in [
        (&yes, "decision", "decision=allow"),
        (&waiting, "login", "name=alice&password=x"),
    ] {
        let form = format!("token={token}&{rest}");
        let answer = house.browse(format!(
            "POST {page}/{action} HTTP/1.1\r\nhost: osir.com\r\ncookie: {cookie}\r\ncontent-type: \
             application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
            form.len()
        ));
        is_a_page_for_later(&answer);
    }
    // Keys and metadata need no store.
    let keys = house
        .gateway
        .send("GET /oauth/jwks HTTP/1.1\r\nhost: api.osir.com\r\n\r\n");
    assert_eq!(keys.status, 200);

    // Nothing was used up, and nothing is half there.
    house.redis.as_mut().expect("Redis").launch();
    let refreshed = once_back(|| house.refresh(&refresh));
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    is_good_once(&house, &code);
    let mut browser = house.browser_again(&yes.0, &yes.1);
    browser.decide("allow");
    is_good_once(&house, &parameter(&browser.answer, "code").expect("a code"));
    let mut browser = house.browser_again(&waiting.0, &waiting.1);
    browser.log_in("alice", PASSWORD);
    assert!(browser.answer.body.contains("Allow The app client_conf?"));
    assert_eq!(grants(&house), 1, "the one that was refreshed");
}

/// Reads work and writes do not: each step fails at its own write.
#[test]
fn while_the_store_takes_no_writes_nothing_is_used_up_and_nothing_half_made() {
    let house = House::on_redis();
    let (kept, returned) = (house.tokens(), house.tokens());
    let (access, refresh) = (text(&kept, "access_token"), text(&kept, "refresh_token"));
    let code = house.seed_code();
    let mut waiting = house.browser(&seed_query());
    let (mut yes, mut no) = (asked(&house), asked(&house));
    house.fill_up(true);

    // The client is known, so it is told (identity.md §1.1).
    let to_client = |answer: &Answer, status: u16| {
        assert_eq!(answer.status, status, "{answer:?}");
        let location = answer.header("location").expect("a redirect");
        assert!(location.starts_with(CALLBACK), "{location}");
        let told = parameters(answer);
        assert_eq!(told["error"], "temporarily_unavailable");
        assert_eq!(told["state"], "s%2B1");
        assert_eq!(told["iss"], "https%3A%2F%2Fosir.com");
        assert_eq!(told.len(), 3);
    };
    to_client(&house.authorize(&seed_query()), 302);
    let posted = house.browse(format!(
        "POST /oauth/authorize HTTP/1.1\r\nhost: osir.com\r\ncontent-type: \
         application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{}",
        seed_query().len(),
        seed_query()
    ));
    to_client(&posted, 303);
    let form = format!("token={}", waiting.form_token());
    let password = PASSWORD.replace(' ', "+");
    let right = format!("{form}&name=alice&password={password}");
    waiting.send("login", "", &right);
    is_a_page_for_later(&waiting.answer);
    let (yes_form, no_form) = (yes.form_token(), no.form_token());
    yes.send("decision", "", &format!("token={yes_form}&decision=allow"));
    to_client(&yes.answer, 303);
    no.send("decision", "", &format!("token={no_form}&decision=deny"));
    to_client(&no.answer, 303);
    is_unavailable(&house.token(&redemption(&code)));
    is_unavailable(&house.refresh(&refresh));
    // A revocation denies first, which there is always room for: it is not done, and holds already.
    let revoke = |token: &str| {
        let form = format!("token={token}");
        house.post("/oauth/revoke", &basic("client_conf", SECRET), &form)
    };
    let ending = text(&returned, "refresh_token");
    is_unavailable(&revoke(&ending));
    house.is_refused(&text(&returned, "access_token"));
    // What writes nothing goes on.
    assert_eq!(house.token("grant_type=client_credentials").status, 200);
    let form = format!("token={access}");
    let told = house.post("/oauth/introspect", &basic("client_conf", SECRET), &form);
    assert_eq!(json(&told)["active"], true);
    assert_eq!(house.call(&access), 200);
    assert_eq!(revoke(&access).status, 200);
    house.is_refused(&access);

    house.fill_up(false);
    is_good_once(&house, &code);
    assert_eq!(house.refresh(&refresh).status, 200);
    waiting.send("login", "", &right);
    assert_eq!(waiting.answer.status, 303);
    yes.look();
    yes.decide("allow");
    is_good_once(&house, &parameter(&yes.answer, "code").expect("a code"));
    no.look();
    no.decide("deny");
    let told = parameter(&no.answer, "error");
    assert_eq!(told.as_deref(), Some("access_denied"));
    assert_eq!(revoke(&ending).status, 200);
    assert_eq!(error(&house.refresh(&ending)), "invalid_grant");
    assert_eq!(grants(&house), 1, "the one that was refreshed");
}

/// Nobody knows what a store that hangs has done with a request. Whatever it was: a code is good
/// once or not at all, and there is no grant beside that.
#[test]
fn after_a_store_that_hung_a_code_is_good_once_or_not_at_all() {
    let house = House::on_redis();
    let redis = house.redis.as_ref().expect("Redis");
    let (code, refresh) = (house.seed_code(), text(&house.tokens(), "refresh_token"));
    let mut browser = asked(&house);
    let form = format!("token={}&decision=allow", browser.form_token());
    redis.pause();
    is_unavailable(&house.token(&redemption(&code)));
    is_unavailable(&house.refresh(&refresh));
    is_unavailable(&house.token("grant_type=client_credentials"));
    is_a_page_for_later(&house.authorize(&seed_query()));
    browser.send("decision", "", &form);
    is_a_page_for_later(&browser.answer);
    redis.resume();
    let answer = once_back(|| house.token(&redemption(&code)));
    match answer.status {
        200 => {
            let replay = house.token(&redemption(&code));
            assert_eq!(error(&replay), "invalid_grant");
        }
        status => assert_eq!((status, error(&answer).as_str()), (400, "invalid_grant")),
    }
    assert_eq!(grants(&house), 1, "the one that is refreshed");
    // A confidential client may repeat what it got no answer to.
    assert_eq!(house.refresh(&refresh).status, 200);
    browser.send("decision", "", &form);
    is_good_once(&house, &parameter(&browser.answer, "code").expect("a code"));
}
