//! Every route of the example configuration × method × kind of credential × scope set, each verdict
//! against a rule that knows nothing of the gateway's code: the table of the seed.

use crate::support::{Gateway, Setup, Upstream};

const SERVICES: [&str; 4] = ["domains", "vps", "email", "billing"];
const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE",
];

/// The seed: reading needs `SERVICE:read`, changing needs `SERVICE:write`.
fn expected(service: &str, method: &str, scopes: Option<&[String]>) -> u16 {
    let access = match method {
        "GET" | "HEAD" => "read",
        "POST" | "PUT" | "PATCH" | "DELETE" => "write",
        _ => return 405,
    };
    match scopes {
        None => 401,
        Some(scopes) if scopes.contains(&format!("{service}:{access}")) => 200,
        Some(_) => 403,
    }
}

/// The example, with this test's ports and files.
fn example(upstream: std::net::SocketAddr) -> String {
    let text = std::fs::read_to_string("gateway.yaml").expect("the example is at the root");
    let replaced = [
        ("https: 0.0.0.0:8443", "https: 127.0.0.1:0".to_owned()),
        ("http: 0.0.0.0:8080", "http: 127.0.0.1:0".to_owned()),
        (
            "metrics: 127.0.0.1:9090",
            "metrics: 127.0.0.1:0\n  admin: 127.0.0.1:0".to_owned(),
        ),
        (
            "pepper: { file: data/pepper }",
            "pepper: { file: pepper }".to_owned(),
        ),
        (
            "embedded: data/portcullis.redb",
            "embedded: store.redb".to_owned(),
        ),
        (
            "access_log: stdout",
            "access_log: off\nadmin_token: { file: admin-token }\naudit_log: audit.jsonl"
                .to_owned(),
        ),
        ("http://127.0.0.1:9101", format!("http://{upstream}")),
        ("http://127.0.0.1:9102", format!("http://{upstream}")),
        ("http://127.0.0.1:9103", format!("http://{upstream}")),
        ("http://127.0.0.1:9104", format!("http://{upstream}")),
    ];
    replaced.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "the example has changed: {from}");
        text.replacen(from, to, 1)
    })
}

#[test]
fn routes_times_methods_times_credentials_times_scopes() {
    let upstream = Upstream::start();
    let folder = Setup::before(upstream.address).start().stop();
    let gateway = Gateway::start_in(folder, &example(upstream.address));
    let all: Vec<String> = SERVICES
        .iter()
        .flat_map(|s| [format!("{s}:read"), format!("{s}:write")])
        .collect();
    let mut sets: Vec<Vec<String>> = vec![all.clone(), vec![]];
    sets.extend(all.iter().map(|scope| vec![scope.clone()]));
    sets.extend(all.iter().map(|left_out| {
        all.iter()
            .filter(|scope| *scope != left_out)
            .cloned()
            .collect()
    }));
    sets.retain(|set| !set.is_empty());
    let mut callers: Vec<(String, Option<Vec<String>>)> = vec![
        (String::new(), None),
        ("x-api-key: osir_live_garbage\r\n".into(), None),
        ("authorization: Bearer a.b.c\r\n".into(), None),
        ("authorization: Basic YTpi\r\n".into(), None),
    ];
    for set in sets {
        let names: Vec<&str> = set.iter().map(String::as_str).collect();
        let (_, key) = gateway.key(&names);
        callers.push((format!("x-api-key: {key}\r\n"), Some(set.clone())));
        callers.push((format!("authorization: Bearer {key}\r\n"), Some(set)));
    }
    let mut client = gateway.tls.connect();
    let (mut verdicts, mut allowed) = (0, 0);
    for (line, scopes) in &callers {
        for service in SERVICES {
            for method in METHODS {
                for path in [format!("/v1/{service}"), format!("/v1/{service}/a/b?c=d")] {
                    client.send(format!(
                        "{method} {path} HTTP/1.1\r\nhost: api.osir.com\r\n{line}\r\n"
                    ));
                    let answer = if method == "HEAD" {
                        client.head_answer()
                    } else {
                        client.answer()
                    };
                    let rule = expected(service, method, scopes.as_deref());
                    assert_eq!(answer.status, rule, "{method} {path} as {scopes:?}");
                    verdicts += 1;
                    allowed += usize::from(rule == 200);
                }
            }
        }
    }
    assert_eq!(
        upstream.received().len(),
        allowed,
        "what was not allowed went nowhere"
    );
    assert!(
        verdicts > 2000 && allowed > 500,
        "{verdicts} verdicts, {allowed} allowed"
    );
}
