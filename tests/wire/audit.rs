//! Denied requests in the audit log: who, where, why, and never the credential.

use serde_json::{Value, json};

use crate::support::{Setup, Upstream};

#[test]
fn every_denial_leaves_a_line_with_its_reason_and_an_answer_leaves_none() {
    let gateway = Setup::before(Upstream::start().address).start();
    let (id, key) = gateway.key(&["domains:write"]);
    let (_, good) = gateway.key(&["domains:read"]);
    assert_eq!(gateway.get("").status, 401);
    let garbage = gateway.get("X-API-Key: osir_live_garbage\r\n");
    assert_eq!(garbage.status, 401);
    let scope = gateway.get(&format!("X-API-Key: {key}\r\n"));
    assert_eq!(scope.status, 403);
    assert_eq!(gateway.get(&format!("X-API-Key: {good}\r\n")).status, 200);
    let not_found = "GET /nowhere HTTP/1.1\r\nhost: api.osir.com\r\n\r\n";
    assert_eq!(gateway.send(not_found).status, 404);
    let folder = gateway.stop();

    let text = std::fs::read_to_string(folder.path().join("audit.jsonl")).expect("a log");
    assert!(!text.contains("garbage") && !text.contains(&key));
    let lines = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    let denied: Vec<Value> = lines
        .filter(|line: &Value| line["outcome"] == "denied")
        .collect();
    let told: Vec<Value> = denied
        .iter()
        .map(|line| {
            let member = |name: &str| line[name].clone();
            json!([
                member("event"),
                member("actor"),
                member("address"),
                member("route"),
                member("credential_id"),
                member("account"),
                member("reason"),
            ])
        })
        .collect();
    let from = json!("127.0.0.1");
    assert_eq!(
        told,
        [
            json!([
                "request",
                "client",
                from,
                "domains-read",
                null,
                null,
                "missing"
            ]),
            json!([
                "request",
                "client",
                from,
                "domains-read",
                null,
                null,
                "checksum"
            ]),
            json!([
                "request",
                "client",
                from,
                "domains-read",
                id.as_str(),
                "acct_1",
                "scope"
            ]),
        ]
    );
    let request = scope.header("x-request-id").expect("an id");
    assert_eq!(denied[2]["request_id"], request);
}
