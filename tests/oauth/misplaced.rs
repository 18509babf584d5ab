//! What was meant for an endpoint and misses it, by its host or a slash, reaches no upstream: it has
//! a client's secret or a user's password in it.

use crate::house::{House, SECRET, basic};

/// Everything that no other route takes is public and goes to the upstream.
fn house() -> House {
    House::edited(None, |yaml| {
        let rest = "  - { name: rest, prefix: /, methods: [GET, POST], \
                    access: { public: \"everything else\" }, upstream: domains }\n";
        yaml.replace("routes:\n", &format!("routes:\n{rest}"))
    })
}

#[test]
fn what_misses_an_endpoint_is_404_and_reaches_no_upstream() {
    let house = house();
    let form = format!("client_id=client_conf&client_secret={SECRET}");
    let send = |host: &str, path: &str| {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/x-www-form-urlencoded\r\n\
             content-length: {}\r\n{}\r\n{form}",
            form.len(),
            basic("client_conf", SECRET)
        );
        match host {
            "osir.com" => house.browse(request),
            _ => house.gateway.send(request),
        }
    };
    for (host, path) in [
        ("osir.com", "/oauth/token"),
        ("osir.com", "/oauth/revoke"),
        ("osir.com", "/oauth/introspect"),
        ("osir.com", "/oauth/token/"),
        ("api.osir.com", "/oauth/token/"),
        ("api.osir.com", "/oauth/revoke/"),
        ("api.osir.com", "/oauth/authorize"),
        ("osir.com", "/oauth/authorize/"),
        ("api.osir.com", "/oauth/interaction/int_1/login"),
        ("osir.com", "/oauth/interaction/int_1/login/"),
        ("osir.com", "/oauth/interaction/int_1/logon"),
        ("osir.com", "/oauth/interaction/"),
        ("osir.com", "/.well-known/oauth-protected-resource"),
    ] {
        let answer = send(host, path);
        assert_eq!(answer.status, 404, "{host}{path}: {answer:?}");
        assert_eq!(house.upstream.received().len(), 0, "{host}{path}");
    }
    // And what was meant for none goes where it went.
    for (count, path) in ["/oauth/userinfo", "/oauth/tokens", "/oauth/token/x"]
        .into_iter()
        .enumerate()
    {
        assert_eq!(send("api.osir.com", path).status, 200, "{path}");
        assert_eq!(house.upstream.received().len(), count + 1, "{path}");
    }
}
