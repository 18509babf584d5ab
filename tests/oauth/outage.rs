//! The store is away: the documented error, never a verdict and never a half-made grant.

use crate::house::{House, PASSWORD, error, seed_query, text};

#[test]
fn without_its_store_the_server_is_temporarily_unavailable() {
    let mut house = House::on_redis();
    let refresh = text(&house.tokens(), "refresh_token");
    let code = house.seed_code();
    let mut browser = house.browser(&seed_query());
    browser.log_in("alice", PASSWORD);
    let (cookie, page, token) = (
        browser.cookie.clone(),
        browser.page.clone(),
        browser.form_token(),
    );
    house.redis.as_mut().expect("Redis").kill();

    for form in [
        format!("grant_type=refresh_token&refresh_token={refresh}"),
        format!("grant_type=authorization_code&code={code}"),
        "grant_type=client_credentials".to_owned(),
    ] {
        let answer = house.token(&form);
        assert_eq!(
            (answer.status, error(&answer).as_str()),
            (503, "temporarily_unavailable"),
            "{form}"
        );
        assert!(answer.header("retry-after").is_some());
    }
    for path in ["/oauth/revoke", "/oauth/introspect"] {
        let form = format!("token={refresh}&client_id=client_conf&client_secret=x");
        assert_eq!(house.post(path, "", &form).status, 503, "{path}");
    }
    // The client cannot be loaded, so there is nobody to go back to.
    let answer = house.authorize(&seed_query());
    assert_eq!((answer.status, answer.header("location")), (503, None));
    let form = format!("token={token}&decision=allow");
    let answer = house.browse(format!(
        "POST {page}/decision HTTP/1.1\r\nhost: osir.com\r\ncookie: {cookie}\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        form.len()
    ));
    assert_eq!(answer.status, 503);
    // Keys and metadata need no store.
    let keys = house
        .gateway
        .send("GET /oauth/jwks HTTP/1.1\r\nhost: api.osir.com\r\n\r\n");
    assert_eq!(keys.status, 200);
}
