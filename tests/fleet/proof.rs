//! A revocation shows who has confirmed it, and until when the others may still serve.

use std::time::Duration;

use portcullis::clock::{Clock, Timestamp};
use rustix::process::Signal;
use serde_json::Value;

use crate::house::{Fleet, ask, text};
use crate::redis_server::eventually;

const STALE: Duration = Duration::from_secs(40);

/// Instances that have confirmed, in order.
pub(crate) fn confirmed(answer: &Value) -> Vec<String> {
    let lines = answer["confirmations"].as_array().expect("confirmations");
    let lines = lines.iter().filter(|line| line["confirmed_ms"].is_u64());
    lines.map(|line| text(&line["instance"])).collect()
}

fn instances(fleet: &Fleet) -> Vec<String> {
    let mut all: Vec<_> = fleet
        .gateways
        .iter()
        .map(|each| each.instance.clone())
        .collect();
    all.sort();
    all
}

#[test]
fn a_revocation_is_confirmed_by_each_gateway_and_from_then_on_each_refuses() {
    let fleet = Fleet::start(3);
    // Over a gateway's admin API, and by a command line that has only the store.
    for on_store in [false, true] {
        let (id, key) = fleet.key("acct_1");
        assert_eq!(fleet.verdicts(&key), [200; 3]);
        let revoke = ["key", "revoke", &id, "--wait", "20s", "--format", "json"];
        let answer = match on_store {
            true => fleet.run_on_store(&revoke),
            false => fleet.run(&revoke),
        };
        // At once: the proof is that nobody lets it in any more.
        assert_eq!(fleet.verdicts(&key), [401; 3]);
        let answer = answer.succeeds().json();
        assert!(answer["revoked_at"].is_string(), "{answer}");
        assert_eq!(confirmed(&answer), instances(&fleet), "{answer}");
        assert_eq!(
            (&answer["complete"], &answer["doubt"]),
            (&Value::Bool(true), &Value::Null)
        );
        let names = answer["confirmations"].as_array().expect("a list").iter();
        let pids: Vec<String> = names
            .map(|line| {
                text(&line["name"])
                    .rsplit(':')
                    .next()
                    .expect("a pid")
                    .into()
            })
            .collect();
        for gateway in &fleet.gateways {
            assert!(pids.contains(&gateway.pid().to_string()), "{pids:?}");
        }
    }
    let (id, _) = fleet.key("acct_1");
    let table = fleet
        .run(&["key", "revoke", &id, "--wait", "20s"])
        .succeeds()
        .stdout();
    let mut lines = table.lines();
    assert!(
        lines
            .next()
            .expect("a line")
            .starts_with(&format!("{id} is revoked since "))
    );
    assert!(
        lines.next().expect("a line").starts_with("INSTANCE "),
        "{table}"
    );
    let rows: Vec<&str> = lines.collect();
    assert_eq!(rows.len(), 3, "{table}");
    assert!(rows.iter().all(|row| row.ends_with(" ms")), "{table}");
    // Without it, the answer is as it was.
    let plain = fleet.tell(&["key", "revoke", &id], "");
    assert_eq!(plain.get("confirmations"), None, "{plain}");
}

#[test]
fn a_gateway_that_does_not_answer_is_named_with_the_moment_up_to_which_it_may_serve() {
    let fleet = Fleet::start(3);
    let (id, key) = fleet.key("acct_1");
    assert_eq!(fleet.verdicts(&key), [200; 3]);
    let silent = &fleet.gateways[2];
    silent.pause();
    let before = Clock::system().now();
    let revoke = ["key", "revoke", &id, "--wait", "300ms", "--format", "json"];
    let run = fleet.run(&revoke);
    let after = Clock::system().now();
    assert_eq!(run.code(), 1, "{run:?}");
    let answer = run.json();
    assert!(
        answer["revoked_at"].is_string(),
        "it is revoked all the same: {answer}"
    );
    assert_eq!(answer["complete"], Value::Bool(false));
    let mut expected = vec![
        fleet.gateways[0].instance.clone(),
        fleet.gateways[1].instance.clone(),
    ];
    expected.sort();
    assert_eq!(confirmed(&answer), expected, "{answer}");
    let lines = answer["confirmations"].as_array().expect("a list").iter();
    let mut lines = lines.filter(|line| line["instance"] == *silent.instance);
    let until = text(&lines.next().expect("it is named")["may_serve_until"]);
    let until = Timestamp::parse_rfc3339(&until).expect("a time");
    assert!(
        before.plus(STALE) <= until && until <= after.plus(STALE),
        "{until}"
    );
    assert_eq!(fleet.gateways[0].get(&key), 401);

    let table = fleet.run(&["key", "revoke", &id, "--wait", "300ms"]);
    assert_eq!(table.code(), 1, "{table:?}");
    let row = format!("{}  ", silent.instance);
    let row = table
        .stdout()
        .lines()
        .find(|line| line.starts_with(&row))
        .map(str::to_owned);
    let row = row.expect("a line");
    assert!(row.contains("  no answer; may serve until 20"), "{row}");
    assert!(
        table
            .stderr()
            .contains("`portcullis fleet forget INSTANCE`"),
        "{table:?}"
    );

    silent.signal(Signal::CONT);
    // What it knows again decides: its own confirmation, and then its verdict.
    let answer = fleet.run(&["key", "revoke", &id, "--wait", "20s"]);
    assert_eq!(answer.code(), 0, "{answer:?}");
    assert_eq!(fleet.verdicts(&key), [401; 3]);
}

#[test]
fn after_flushall_each_gateway_is_listed_again_and_the_loss_is_said() {
    let fleet = Fleet::start(3);
    let _: String = fleet.redis.command(&["FLUSHALL"]);
    eventually("all are listed again", || {
        let list = fleet.list();
        let all = list["instances"].as_array().map(Vec::len) == Some(3);
        (all && list["list_lost_seconds"].is_f64()).then_some(())
    });
    let (id, _) = fleet.key("acct_1");
    let run = fleet.run(&["key", "revoke", &id, "--wait", "20s", "--format", "json"]);
    let answer = run.json();
    assert_eq!(confirmed(&answer), instances(&fleet), "{answer}");
    // One that was cut off meanwhile would not be listed, and might serve.
    assert_eq!((run.code(), &answer["complete"]), (1, &Value::Bool(false)));
    let doubt = text(&answer["doubt"]);
    assert!(
        doubt.starts_with("the store lost its list of gateways"),
        "{doubt}"
    );
    let again = fleet.run(&["key", "revoke", &id, "--wait", "20s"]);
    assert_eq!(again.code(), 1, "{again:?}");
    let warning = "warning: the store lost its list of gateways";
    assert!(again.stderr().contains(warning), "{again:?}");
    let shown = fleet.run(&["fleet"]).succeeds().stdout();
    assert!(
        shown.contains("the store lost its list of gateways"),
        "{shown}"
    );
}

#[test]
fn while_the_memory_is_full_everything_that_is_known_is_served() {
    let fleet = Fleet::start(2);
    let (_, key) = fleet.key("acct_1");
    assert_eq!(fleet.verdicts(&key), [200; 2]);
    let _: String = fleet.redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    eventually("reports are refused", || {
        let logs = fleet
            .gateways
            .iter()
            .map(|gateway| std::fs::read_to_string(gateway.path("serve.log")).expect("readable"));
        let refused = logs.filter(|log| log.contains("the store did not list this instance"));
        (refused.count() == 2).then_some(())
    });
    assert_eq!(fleet.verdicts(&key), [200; 2]);
    // And is listed, as of the last report.
    assert_eq!(fleet.list()["instances"].as_array().map(Vec::len), Some(2));
    let _: String = fleet.redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    let (id, _) = fleet.key("acct_1");
    fleet
        .run(&["key", "revoke", &id, "--wait", "20s"])
        .succeeds();
}

#[test]
fn a_wait_that_is_not_understood_revokes_nothing() {
    let fleet = Fleet::start(1);
    let (id, key) = fleet.key("acct_1");
    for wait in ["soon", "0s", "61s", "5"] {
        let run = fleet.run(&["key", "revoke", &id, "--wait", wait]);
        assert_eq!((run.code(), run.stdout()), (2, String::new()), "{run:?}");
        let socket = fleet.gateways[0].path("admin.sock");
        let path = format!("/v1/keys/{id}/revoke?wait={wait}");
        let (status, answer) = ask(&socket, "POST", &path, "");
        let message = "wait: from 1ms to 60s, such as 5s";
        assert_eq!((status, &answer["message"]), (400, &Value::from(message)));
    }
    assert_eq!(fleet.verdicts(&key), [200]);
    let socket = fleet.gateways[0].path("admin.sock");
    let (status, answer) = ask(
        &socket,
        "POST",
        &format!("/v1/keys/{id}/revoke?wait=20s"),
        "",
    );
    assert_eq!((status, &answer["outcome"]), (200, &Value::from("revoked")));
    assert_eq!(confirmed(&answer), instances(&fleet));
    assert_eq!(fleet.verdicts(&key), [401]);
}
