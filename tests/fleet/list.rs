//! `portcullis fleet`: who is there, and how they differ.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use crate::house::{Fleet, Run, ask, listed, text};
use crate::redis_server::eventually;

#[test]
fn each_gateway_shows_with_its_configuration_and_lease_until_it_is_stopped() {
    let mut fleet = Fleet::start(2);
    let (id, _) = fleet.key("acct_1");
    fleet
        .run(&["key", "revoke", &id, "--wait", "20s"])
        .succeeds();
    let list = fleet.list();
    assert_eq!(
        (&list["configs_differ"], &list["list_lost_seconds"]),
        (&Value::Bool(false), &Value::Null)
    );
    let instances = list["instances"].as_array().expect("a list");
    assert_eq!(instances.len(), 2);
    for instance in instances {
        assert_eq!(instance["state"], "live");
        assert_eq!(instance["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(instance["config"], instances[0]["config"]);
        assert_eq!(instance["stale_seconds"], 40.0);
        assert!(
            instance["lease_age_seconds"]
                .as_f64()
                .is_some_and(|age| age < 20.0)
        );
        assert!(instance["last_revocation"].is_string(), "{instance}");
        assert!(instance["started_at"].is_string() && instance["reported_at"].is_string());
    }
    let (status, told) = ask(
        &fleet.gateways[1].path("admin.sock"),
        "GET",
        "/v1/fleet",
        "",
    );
    assert_eq!((status, listed(&told)), (200, listed(&list)));
    let (status, _) = ask(
        &fleet.gateways[1].path("admin.sock"),
        "POST",
        "/v1/fleet",
        "",
    );
    assert_eq!(status, 405);
    let table = fleet.run_on_store(&["fleet"]).succeeds().stdout();
    let heading = "INSTANCE             NAME";
    assert!(
        table.starts_with(heading) && table.lines().count() == 3,
        "{table}"
    );
    for gateway in &fleet.gateways {
        let row = format!("{}  {}  ", gateway.instance, gateway.name(&list));
        assert!(table.contains(&row), "{table}");
    }

    let mut stopped = fleet.gateways.pop().expect("the second");
    stopped.signal(Signal::TERM);
    assert!(stopped.ends_well());
    let only = fleet.gateways[0].instance.clone();
    assert_eq!(listed(&fleet.list()), [(only, "live".into())]);
}

#[test]
fn a_gateway_that_was_killed_or_hangs_is_silent_and_one_that_comes_back_is_live() {
    let mut fleet = Fleet::start(3);
    let killed = fleet.gateways.remove(1);
    let instance = killed.instance.clone();
    drop(killed);
    let (first, third) = (&fleet.gateways[0], &fleet.gateways[1]);
    third.pause();
    fleet.await_states(&[
        (&first.instance, "live"),
        (&third.instance, "silent"),
        (&instance, "silent"),
    ]);
    let table = fleet.run(&["fleet"]).succeeds().stdout();
    assert_eq!(table.matches("silent since 20").count(), 2, "{table}");
    third.signal(Signal::CONT);
    fleet.await_states(&[
        (&first.instance, "live"),
        (&third.instance, "live"),
        (&instance, "silent"),
    ]);
}

#[test]
fn a_killed_gateway_is_forgotten_by_who_knows_that_it_has_ended() {
    let mut fleet = Fleet::start(3);
    let killed = fleet.gateways.pop().expect("the third");
    let name = killed.name(&fleet.list());
    let gone = killed.instance.clone();
    drop(killed);
    let live: Vec<_> = fleet.gateways.iter().map(|g| g.instance.clone()).collect();
    let revoked = |fleet: &Fleet, wait: &str| {
        let (id, _) = fleet.key("acct_1");
        fleet.run(&["key", "revoke", &id, "--wait", wait])
    };
    assert_eq!(revoked(&fleet, "300ms").code(), 1, "it may serve");
    // At the moment, the store cannot know that it has ended.
    let run = fleet.run(&["fleet", "forget", &live[0]]);
    let expected = format!("{} reported less than 6 s ago, so it runs", live[0]);
    assert!(
        run.code() == 1 && run.stderr().contains(&expected),
        "{run:?}"
    );
    let run = fleet.run_on_store(&["fleet", "forget", &live[1]]);
    assert!(
        run.code() == 1 && run.stderr().contains("so it runs"),
        "{run:?}"
    );
    let run = fleet.run(&["fleet", "forget", "gw_nobody"]);
    assert!(
        run.code() == 1 && run.stderr().contains("gw_nobody"),
        "{run:?}"
    );

    let states = [(&*live[0], "live"), (&*live[1], "live")];
    fleet.await_states(&[states[0], states[1], (&gone, "silent")]);
    let told = fleet.run(&["fleet", "forget", &gone]).succeeds().stdout();
    let expected = format!("{gone} ({name}) is forgotten; it reported last at ");
    assert!(told.starts_with(&expected), "{told}");
    fleet.await_states(&states);
    let _proven = revoked(&fleet, "20s").succeeds();
    let audit = fs::read_to_string(fleet.gateways[0].path("audit.jsonl")).expect("readable");
    let lines = audit
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    let lines: Vec<Value> = lines
        .filter(|line: &Value| line["event"] == "fleet_forget")
        .collect();
    assert_eq!(lines.len(), 1, "{audit}");
    assert_eq!(
        (&lines[0]["instance"], &lines[0]["outcome"]),
        (&Value::from(gone.as_str()), &Value::from("done"))
    );

    let socket = fleet.gateways[0].path("admin.sock");
    let one = |instance: &str| format!("/v1/fleet/{instance}");
    for (method, path, status) in [
        ("DELETE", one(&gone), 404),
        ("DELETE", one(&live[0]), 409),
        ("GET", one(&live[0]), 405),
        ("DELETE", "/v1/fleet".to_owned(), 405),
        ("DELETE", one("a/b"), 404),
    ] {
        assert_eq!(ask(&socket, method, &path, "").0, status, "{method} {path}");
    }
    fleet.await_states(&states);
}

/// Whoever vouched was wrong: it was cut off, and comes back.
#[test]
fn a_gateway_that_was_forgotten_and_comes_back_is_listed_and_proofs_are_in_doubt() {
    let fleet = Fleet::start(2);
    let (first, second) = (&fleet.gateways[0], &fleet.gateways[1]);
    second.pause();
    fleet.await_states(&[(&first.instance, "live"), (&second.instance, "silent")]);
    let forget = ["fleet", "forget", &second.instance];
    let _told = fleet.run_on_store(&forget).succeeds();
    fleet.await_states(&[(&first.instance, "live")]);
    second.signal(Signal::CONT);
    fleet.await_states(&[(&first.instance, "live"), (&second.instance, "live")]);
    assert!(fleet.list()["list_lost_seconds"].is_number());
}

#[test]
fn configurations_that_differ_are_marked() {
    let fleet = Fleet::start(3);
    let other = &fleet.gateways[2];
    let path = other.path("gateway.yaml");
    let config = fs::read_to_string(&path).expect("readable");
    fs::write(&path, format!("{config}# another\n")).expect("written");
    let (status, _) = ask(&other.path("admin.sock"), "POST", "/v1/reload", "");
    assert_eq!(status, 200);
    let list = eventually("the other configuration is live", || {
        let list = fleet.list();
        (list["configs_differ"] == true).then_some(list)
    });
    let digest = |instance: &str| {
        let instances = list["instances"].as_array().expect("a list").iter();
        let mut found = instances.filter(|each| each["instance"] == instance);
        text(&found.next().expect("listed")["config"])
    };
    let (one, two) = (digest(&fleet.gateways[0].instance), digest(&other.instance));
    assert_ne!(one, two);
    let table = fleet.run(&["fleet"]).succeeds().stdout();
    let row = table.lines().find(|line| line.starts_with(&other.instance));
    assert!(
        row.is_some_and(|row| row.contains(&format!("{} *  ", &two[..12]))),
        "{table}"
    );
    assert_eq!(
        table.matches('*').count(),
        2,
        "the one, and the word on it: {table}"
    );
    assert!(
        table.contains("* another configuration than most have"),
        "{table}"
    );
}

/// The log is JSON, whose writer drops the causes of an error.
#[test]
fn the_log_says_why_the_store_is_away() {
    let mut fleet = Fleet::start(1);
    fleet.redis.kill();
    let log = fleet.gateways[0].path("serve.log");
    let why = "the store failed: the store is unavailable: ";
    eventually("the cause is told", || {
        let log = fs::read_to_string(&log).expect("readable");
        let lines = log.lines().map(serde_json::from_str::<Value>);
        let fields = lines.map(|line| line.expect("JSON")["fields"].clone());
        let mut followed =
            fields.filter(|fields| fields["message"] == "the revocation log is not followed");
        let error = text(&followed.next()?["error"]);
        assert!(error.len() > why.len() && error.starts_with(why), "{error}");
        Some(())
    });
    let run = fleet.run(&["key", "list"]);
    let words =
        "error: the store is unavailable\n  = help: the running gateway's process log says why\n";
    assert_eq!(run.stderr(), words);
}

#[test]
fn a_store_without_a_gateway_says_so_and_nobody_is_waited_for() {
    let fleet = Fleet::start(0);
    let none = "no gateway is running on this store\n";
    assert_eq!(fleet.run_on_store(&["fleet"]).succeeds().stdout(), none);
    let folder = tempfile::tempdir().expect("a folder");
    Run::of(folder.path(), &["certs"], "").succeeds();
    let pepper = folder.path().join("pepper");
    fs::write(&pepper, "0123456789abcdefghijklmnopqrstuvwxyz").expect("written");
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(&pepper, fs::Permissions::from_mode(0o600)).expect("set");
    let config = "listen: { https: 127.0.0.1:0, metrics: off, admin: off }\n\
        tls: { certificates: [{ cert: certs/gateway.pem, key: certs/gateway-key.pem }] }\n\
        store: { embedded: data/keys.redb }\n\
        credentials: { realm: osir, prefix: osir, pepper: { file: pepper } }\n\
        audit_log: data/audit.jsonl\nscopes: { domains:read: View domains }\n\
        upstreams: { domains: { endpoints: [http://127.0.0.1:9] } }\n\
        routes: [{ name: r, prefix: /v1, methods: [GET], access: { scopes: [domains:read] }, upstream: domains }]\n";
    fs::write(folder.path().join("gateway.yaml"), config).expect("written");
    let create = [
        "key",
        "create",
        "--account",
        "a",
        "--name",
        "n",
        "--scope",
        "domains:read",
    ];
    let made = Run::of(
        folder.path(),
        &[&create[..], &["--format", "json"]].concat(),
        "",
    );
    let id = text(&made.succeeds().json()["id"]);
    let run = Run::of(folder.path(), &["key", "revoke", &id, "--wait", "5s"], "").succeeds();
    assert!(run.stdout().ends_with(none), "{run:?}");
    let again = ["key", "revoke", &id, "--wait", "5s", "--format", "json"];
    let answer = Run::of(folder.path(), &again, "").succeeds().json();
    assert_eq!(
        (&answer["confirmations"], &answer["complete"]),
        (&Value::Array(Vec::new()), &Value::Bool(true))
    );
    assert_eq!(
        Run::of(folder.path(), &["fleet"], "").succeeds().stdout(),
        none
    );
}
