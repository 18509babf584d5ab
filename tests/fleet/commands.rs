//! Every command that revokes can wait for the fleet, over a gateway and directly on the store.

use serde_json::Value;

use crate::house::{Fleet, IDP, Run, text};
use crate::proof::confirmed;

/// A revocation that two gateways confirm; its answer.
fn proven(fleet: &Fleet, on_store: bool, arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--wait", "20s", "--format", "json"]].concat();
    let run = match on_store {
        true => fleet.run_on_store(&arguments),
        false => fleet.run(&arguments),
    };
    let answer = run.succeeds().json();
    let mut all: Vec<_> = fleet
        .gateways
        .iter()
        .map(|each| each.instance.clone())
        .collect();
    all.sort();
    assert_eq!(confirmed(&answer), all, "{arguments:?}: {answer}");
    answer
}

#[test]
fn commands_on_keys_and_sessions_wait_for_the_fleet() {
    let fleet = Fleet::start(2);
    for on_store in [false, true] {
        let (id, old) = fleet.key("acct_1");
        let (session, token) = fleet.session(&old);
        assert_eq!(
            (fleet.verdicts(&old), fleet.verdicts(&token)),
            (vec![200; 2], vec![200; 2])
        );
        let answer = proven(&fleet, on_store, &["session", "end", &session]);
        assert_eq!(fleet.verdicts(&token), [401; 2]);
        assert!(answer["ended_at"].is_string(), "{answer}");

        let (_, token) = fleet.session(&old);
        assert_eq!(fleet.verdicts(&token), [200; 2]);
        let answer = proven(&fleet, on_store, &["session", "end-all", "--key", &id]);
        assert_eq!(fleet.verdicts(&token), [401; 2]);
        assert_eq!(answer["ended"].as_array().map(Vec::len), Some(1));

        let answer = proven(&fleet, on_store, &["key", "rotate", &id, "--overlap", "0s"]);
        assert_eq!(fleet.verdicts(&old), [401; 2]);
        let new = text(&answer["key"]);
        assert_eq!(fleet.verdicts(&new), [200; 2]);

        proven(&fleet, on_store, &["key", "revoke", &id]);
        assert_eq!(fleet.verdicts(&new), [401; 2]);
    }
}

#[test]
fn commands_on_tokens_wait_for_the_fleet() {
    let fleet = Fleet::start(2);
    for (on_store, run) in [(false, "a"), (true, "b")] {
        let name = |what: &str| format!("{what}-{run}");
        let by_jti = fleet.token(&name("jti"), |_| {});
        let by_subject = fleet.token(&name("1"), |claims| claims["sub"] = name("sub").into());
        let by_client = fleet.token(&name("2"), |claims| {
            claims["client_id"] = name("app").into()
        });
        let (_, shown) = fleet.key("acct_1");
        let subject = format!("{IDP}|{}", name("sub"));
        for (token, by) in [
            (&by_jti, ["--jti", &*name("jti")]),
            (&by_subject, ["--subject", &*subject]),
            (&by_client, ["--client", &*name("app")]),
        ] {
            assert_eq!(fleet.verdicts(token), [200; 2], "{by:?}");
            let answer = proven(&fleet, on_store, &[&["token", "revoke"][..], &by].concat());
            assert_eq!(fleet.verdicts(token), [401; 2], "{by:?}");
            assert_eq!(
                answer["issued_before"].is_string(),
                by[0] != "--jti",
                "{answer}"
            );
        }
        assert_eq!(fleet.verdicts(&shown), [200; 2]);
        let folder = fleet.gateways[0].path("gateway.yaml");
        let folder = folder.parent().expect("a folder");
        let revoke = ["token", "revoke", "-", "--wait", "20s", "--format", "json"];
        let answer = Run::of(folder, &revoke, &format!("{shown}\n"))
            .succeeds()
            .json();
        assert_eq!(confirmed(&answer).len(), 2, "{answer}");
        assert_eq!(fleet.verdicts(&shown), [401; 2]);
    }
}

#[test]
fn commands_on_clients_and_users_wait_for_the_fleet() {
    let fleet = Fleet::start(2);
    for (on_store, name) in [(false, "alice"), (true, "bob")] {
        let create = [
            "user",
            "create",
            name,
            "--account",
            "acct_1",
            "--scope",
            "domains:read",
        ];
        fleet.tell(&create, "a long enough password");
        let redirect = [
            "--redirect",
            "https://app.example/callback",
            "--scope",
            "domains:read",
        ];
        let made = fleet.tell(
            &[&["client", "create", "--name", "app"][..], &redirect].concat(),
            "",
        );
        let client = text(&made["client_id"]);
        let answer = proven(&fleet, on_store, &["user", "revoke-app", name, "--all"]);
        assert_eq!(answer["apps"], Value::Array(Vec::new()));
        let answer = proven(&fleet, on_store, &["client", "revoke", &client]);
        assert!(answer["disabled_at"].is_string(), "{answer}");
        let answer = proven(&fleet, on_store, &["user", "disable", name]);
        assert!(answer["disabled_at"].is_string(), "{answer}");
    }
}
