//! The cookie that binds a login to its browser, among the cookies of others on the same host.

use crate::house::{House, LOGIN_COOKIE, PASSWORD, parameter, seed_query, text};
use crate::support::{Reply, Upstream};

/// A house whose API's upstream sets cookies.
fn house(upstream: &Upstream) -> House {
    House::edited(None, |yaml| {
        let (before, after) = yaml.split_once("[http://127.0.0.1:").expect("an upstream");
        let (_, after) = after.split_once(']').expect("its end");
        format!("{before}[http://{}]{after}", upstream.address)
    })
}

#[test]
fn no_upstream_sees_or_sets_the_cookie_of_a_login() {
    let upstream = Upstream::scripted(|_, _| {
        Reply::Bytes(
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nset-cookie: a=1; Path=/\r\nset-cookie: \
              __Host-pc_int=theirs; Path=/; Secure\r\nset-cookie: b=2\r\n\r\n"
                .to_vec(),
        )
    });
    let house = house(&upstream);
    let access = text(&house.tokens(), "access_token");
    let cookie = house.browser(&seed_query()).cookie;
    for host in ["osir.com", "api.osir.com"] {
        for (lines, seen) in [
            (format!("cookie: a=1; {cookie}; b=2\r\n"), vec!["a=1; b=2"]),
            (format!("cookie: {cookie}\r\n"), vec![]),
            // No session cookie is configured: what looks like one is another app's.
            (
                format!("cookie: __Host-osir_session=1;{cookie}\r\nx-csrf-token: theirs\r\n"),
                vec!["__Host-osir_session=1"],
            ),
        ] {
            let answer = house.browse(format!(
                "GET /v1/domains HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer \
                 {access}\r\n{lines}\r\n"
            ));
            assert_eq!(answer.status, 200, "{answer:?}");
            let set = answer
                .headers
                .iter()
                .filter(|(name, _)| name == "set-cookie");
            let set: Vec<&str> = set.map(|(_, value)| value.as_str()).collect();
            assert_eq!(set, ["a=1; Path=/", "b=2"]);
            let received = upstream.received().pop().expect("a request");
            assert_eq!(received.values("cookie"), seen, "{lines}");
            let theirs = lines.contains("x-csrf-token");
            assert_eq!(received.values("x-csrf-token").len(), usize::from(theirs));
        }
    }
}

/// Apps on the same host set what they like, also bytes beyond ASCII.
#[test]
fn a_login_works_beside_any_other_cookie() {
    let house = House::start();
    let mut browser = house.browser(&seed_query());
    for (before, after) in [(&b"name=J\xf6rg; "[..], &b""[..]), (b"", b";x=\xff\xfe")] {
        let head = format!(
            "GET {} HTTP/1.1\r\nhost: osir.com\r\ncookie: ",
            browser.page
        );
        let cookie = browser.cookie.as_bytes();
        let request = [head.as_bytes(), before, cookie, after, b"\r\n\r\n"].concat();
        let answer = house.browse(request);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.body.contains("Log in to osir"));
    }
    browser.log_in("alice", PASSWORD);
    assert!(browser.answer.body.contains("Allow The app client_conf?"));
}

/// Who had the browser begin with a cookie that they know does not go on as the user who logs in.
#[test]
fn a_login_gives_the_browser_another_cookie_which_whoever_knew_the_first_does_not_have() {
    let house = House::start();
    let mut victim = house.browser(&seed_query());
    let known = victim.cookie.clone();
    let before = house.browser_again(&victim.page, &known);
    assert_eq!(before.answer.status, 200);
    victim.log_in("alice", PASSWORD);
    assert!(victim.answer.body.contains("Allow The app client_conf?"));
    let renewed = victim.cookie.clone();
    let (_, login) = renewed.split_once("; ").expect("two cookies");
    // One of another login, beside the right one of the browser, and by itself.
    let mut other = house.browser(&seed_query());
    other.log_in("alice", PASSWORD);
    let (_, others) = other.cookie.split_once("; ").expect("two cookies");
    for cookie in [
        known.clone(),
        format!("{known}; {LOGIN_COOKIE}"),
        format!("{known}; {others}"),
        login.to_owned(),
    ] {
        let mut thief = house.browser_again(&victim.page, &cookie);
        assert_eq!(thief.answer.status, 400, "{cookie}");
        assert!(
            thief
                .answer
                .body
                .contains("There is no such request in this browser")
        );
        let form = format!("token={}&decision=allow", victim.form_token());
        for decision in ["allow", "deny"] {
            let form = form.replace("allow", decision);
            thief.send("decision", "sec-fetch-site: same-origin\r\n", &form);
            assert_eq!(thief.answer.status, 400, "{cookie}");
            assert_eq!(thief.answer.header("set-cookie"), None);
        }
    }
    // One that a neighbouring host has planted does not keep the user from going on.
    victim.cookie = format!("{known}; {others}; {login}");
    victim.look();
    assert_eq!(victim.answer.status, 200);
    victim.decide("allow");
    assert!(parameter(&victim.answer, "code").is_some());
    // And no more after the decision.
    let thief = house.browser_again(&victim.page, &known);
    assert_eq!(thief.answer.status, 400);
}

#[test]
fn the_cookie_of_a_login_is_of_its_pages_and_ends_with_them() {
    let house = House::start();
    let mut browser = house.browser(&seed_query());
    let form = format!("token={}&name=alice&password=", browser.form_token());
    let form = form + &PASSWORD.replace(' ', "+");
    browser.send("login", "", &form);
    let set = browser
        .answer
        .headers
        .iter()
        .filter(|(name, _)| name == "set-cookie");
    let set: Vec<&str> = set.map(|(_, value)| value.as_str()).collect();
    assert_eq!(set.len(), 2, "{set:?}");
    let (_, attributes) = set[1].split_once("; ").expect("attributes");
    let (path, rest) = attributes.split_once("; Max-Age=").expect("a time");
    assert_eq!(path, format!("Path={}", browser.page));
    let (seconds, rest) = rest.split_once("; ").expect("more");
    let seconds: u32 = seconds.parse().expect("a number");
    assert!((1..=600).contains(&seconds));
    assert_eq!(rest, "Secure; HttpOnly; SameSite=Lax");
    // The second of two clicks on the login has not got it yet.
    let first = browser.cookie.clone();
    let own = first.split("; ").next().expect("a pair");
    browser.cookie = own.to_owned();
    browser.send("login", "", &form);
    assert_eq!(browser.answer.status, 303);
    browser.look();
    assert!(browser.answer.body.contains("Allow The app client_conf?"));
}
