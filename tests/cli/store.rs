//! A store is written into a file and taken in from one, through the binary: docs/store.md, step by
//! step.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use serde_json::Value;

use super::redis::RedisServer;
use super::{CONFIG, Home, Run, Served, text, with_admin};

/// The configuration with this server as its store.
fn on(redis: &RedisServer) -> String {
    let url = redis.url();
    let store = format!("redis: {{ url: \"{url}\", timeout: 5s }}");
    CONFIG.replace("embedded: data/keys.redb", &store)
}

/// What is in a file beside its first and last line, in the order of letters.
fn entries(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(String::from).collect();
    assert!(
        lines[0].starts_with(r#"{"portcullis_export":1,"created_at":""#),
        "{text}"
    );
    assert!(
        lines
            .last()
            .expect("an end")
            .starts_with(r#"{"end":{"entries":"#),
        "{text}"
    );
    lines.pop();
    lines.remove(0);
    lines.sort();
    lines
}

fn refused(run: &Run, words: &str) {
    assert_eq!((run.code(), run.stdout()), (1, String::new()), "{run:?}");
    assert!(run.stderr().contains(words), "{run:?}");
}

#[test]
fn a_store_is_moved_to_redis_and_back() {
    let home = Home::build();
    let (live, secret) = home.key();
    let (revoked, other) = home.key();
    home.run(&["key", "revoke", &revoked]).succeeds();
    let (session, token) = home.session(&live);
    let run = home.run(&["store", "export", "backup.jsonl"]).succeeds();
    assert_eq!(run.stdout(), "8 entries exported to backup.jsonl\n");
    let backup = home.read("backup.jsonl");
    let mode = fs::metadata(home.path("backup.jsonl"))
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o600);
    assert!(!home.path("backup.jsonl.part").exists());
    for secret in [&secret, &other, &token] {
        let body = secret.rsplit('_').next().expect("a body");
        assert!(!backup.contains(body), "a secret is in the export");
    }

    let redis = RedisServer::start();
    home.write("gateway.yaml", &on(&redis));
    let run = home.run(&["store", "import", "backup.jsonl"]).succeeds();
    assert_eq!(run.stdout(), "4 written, 0 there already, 1 denials\n");
    assert_eq!(home.verdict(&secret), "allow");
    assert_eq!(home.verdict(&other), "deny");
    let shown = home
        .run(&["key", "show", &revoked, "--format", "json"])
        .succeeds()
        .json();
    assert!(!shown["revoked_at"].is_null(), "{shown}");
    let listed = home
        .run(&["session", "list", "--format", "json"])
        .succeeds();
    assert!(listed.stdout().contains(&session), "{listed:?}");

    // Out again over a pipe, and into another file.
    let out = home.run(&["store", "export"]).succeeds();
    assert_eq!(entries(&out.stdout()), entries(&backup));
    assert!(out.stdout().contains(r#""from":"redis""#));
    home.write("gateway.yaml", &CONFIG.replace("keys.redb", "second.redb"));
    let run = home.run_with_input(&["store", "import", "-", "--format", "json"], &out.stdout());
    assert_eq!(
        run.succeeds().stdout(),
        "{\"written\":4,\"existing\":0,\"denials\":1}\n"
    );
    assert_eq!(home.verdict(&secret), "allow");
    assert_eq!(home.audit_lines("store_export"), 2);
    assert_eq!(home.audit_lines("store_import"), 2);
}

#[test]
fn a_store_with_something_in_it_is_merged_only_on_request() {
    let home = Home::build();
    let (_, secret) = home.key();
    home.run(&["store", "export", "backup.jsonl"]).succeeds();
    refused(
        &home.run(&["store", "import", "backup.jsonl"]),
        "the store is not empty: --merge adds",
    );
    let (_, later) = home.key();
    let run = home
        .run(&["store", "import", "backup.jsonl", "--merge"])
        .succeeds();
    assert_eq!(run.stdout(), "0 written, 1 there already, 0 denials\n");
    for secret in [&secret, &later] {
        assert_eq!(home.verdict(secret), "allow");
    }
}

/// The export with those lines alone that have this in them.
fn only(export: &str, word: &str) -> String {
    let (head, rest) = export.split_once('\n').expect("lines");
    let kept: Vec<&str> = rest.lines().filter(|line| line.contains(word)).collect();
    let text = format!("{head}\n{}\n", kept.join("\n"));
    let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    let sum: String = sum.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    let entries = kept.len();
    format!("{text}{{\"end\":{{\"entries\":{entries},\"sha256\":\"{sum}\"}}}}\n")
}

#[test]
fn a_key_that_the_store_denies_and_does_not_have_any_more_comes_back_revoked() {
    let home = Home::build();
    let (id, secret) = home.key();
    home.run(&["store", "export", "before.jsonl"]).succeeds();
    home.run(&["key", "revoke", &id]).succeeds();
    home.run(&["store", "export", "after.jsonl"]).succeeds();
    // As a store that was emptied, and was told by its gateways what had been revoked.
    home.write("gateway.yaml", &CONFIG.replace("keys.redb", "second.redb"));
    let denials = only(&home.read("after.jsonl"), r#"{"denial":"#);
    home.write("denials.jsonl", &denials);
    let run = home.run(&["store", "import", "denials.jsonl"]).succeeds();
    assert_eq!(run.stdout(), "0 written, 0 there already, 1 denials\n");
    let run = home
        .run(&["store", "import", "before.jsonl", "--merge"])
        .succeeds();
    assert_eq!(run.stdout(), "1 written, 0 there already, 0 denials\n");
    assert_eq!(home.verdict(&secret), "deny");
    let shown = home.run(&["key", "show", &id, "--format", "json"]);
    let shown = shown.succeeds().json();
    assert!(!shown["revoked_at"].is_null(), "{shown}");
}

#[test]
fn what_is_no_whole_export_of_this_pepper_is_refused_before_anything_is_written() {
    let home = Home::build();
    let _keys = [home.key(), home.key()];
    home.run(&["store", "export", "backup.jsonl"]).succeeds();
    let backup = home.read("backup.jsonl");
    home.write("gateway.yaml", &CONFIG.replace("keys.redb", "second.redb"));
    let last = backup.trim_end().rfind('\n').expect("lines") + 1;
    home.write("cut.jsonl", &backup[..last]);
    home.write("altered.jsonl", &backup.replacen("acct_1", "acct_2", 1));
    home.write(
        "newer.jsonl",
        &backup.replacen(r#""name":"#, r#""only_on_mondays":true,"name":"#, 1),
    );
    home.write("nothing.jsonl", "");
    for (file, words) in [
        (
            "cut.jsonl",
            "cut.jsonl: it has no end: it was cut, or its export broke off",
        ),
        (
            "altered.jsonl",
            "it was altered: its check sum is another one",
        ),
        (
            "newer.jsonl",
            "its line 2 is not known to this version: unknown field `only_on_mondays`",
        ),
        ("nothing.jsonl", "it is no export of a Portcullis store"),
        ("gateway.yaml", "it is no export of a Portcullis store"),
        ("absent.jsonl", "absent.jsonl"),
    ] {
        refused(&home.run(&["store", "import", file]), words);
    }
    home.write("pepper", "another-pepper-0123456789-abcdefghijklm");
    refused(
        &home.run(&["store", "import", "backup.jsonl"]),
        "it was made under a pepper that this configuration has neither as `pepper`",
    );
    let listed = home.run(&["key", "list", "--format", "json"]).succeeds();
    assert_eq!(
        listed.json(),
        Value::Array(Vec::new()),
        "nothing was written"
    );
}

#[test]
fn a_running_gateway_is_exported_and_its_file_is_not_imported_into() {
    let home = Home::build();
    home.write("gateway.yaml", &with_admin());
    let (_, secret) = home.key();
    let _served = Served::start(&home);
    let (_, later) = home.key();
    let run = home
        .run(&["store", "export", "backup.jsonl", "--format", "json"])
        .succeeds();
    assert_eq!(run.stdout(), "{\"file\":\"backup.jsonl\",\"entries\":2}\n");
    assert_eq!(home.audit_lines("store_export"), 1);
    let run = home.run(&["store", "import", "backup.jsonl"]);
    refused(
        &run,
        "the embedded store data/keys.redb is in use by another process",
    );
    assert!(run.stderr().contains("stop it first"), "{run:?}");

    home.write("gateway.yaml", &CONFIG.replace("keys.redb", "second.redb"));
    home.run(&["store", "import", "backup.jsonl"]).succeeds();
    for secret in [&secret, &later] {
        assert_eq!(home.verdict(secret), "allow");
    }
    let named = home.run(&["store", "export", "missing/backup.jsonl"]);
    refused(&named, "missing/backup.jsonl.part");
}

#[test]
fn gateways_on_redis_hear_of_what_is_imported() {
    let home = Home::build();
    let (id, secret) = home.key();
    home.run(&["store", "export", "before.jsonl"]).succeeds();
    home.run(&["key", "revoke", &id]).succeeds();
    home.run(&["store", "export", "after.jsonl"]).succeeds();

    let redis = RedisServer::start();
    let config = on(&redis).replace("admin: off", "admin: unix:data/admin.sock");
    home.write("gateway.yaml", &config);
    let _served = Served::start(&home);
    // Unknown, and remembered as that.
    assert_eq!(home.verdict(&secret), "deny");
    home.run(&["store", "import", "before.jsonl"]).succeeds();
    super::eventually(|| (home.verdict(&secret) == "allow").then_some(()));
    let run = home
        .run(&["store", "import", "after.jsonl", "--merge"])
        .succeeds();
    assert_eq!(run.stdout(), "0 written, 1 there already, 1 denials\n");
    super::eventually(|| (home.verdict(&secret) == "deny").then_some(()));
    let told = text(&home.run(&["key", "show", &id, "--format", "json"]).json()["revoked_at"]);
    assert!(!told.is_empty());
}

#[test]
fn an_export_that_nobody_reads_has_failed() {
    let home = Home::build();
    let mut child = super::portcullis(home.folder.path())
        .args(["store", "export"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    drop(child.stdout.take());
    let run = Run(child.wait_with_output().expect("ends"));
    assert_eq!(run.code(), 1, "{run:?}");
    assert!(run.stderr().contains("not taken to its end"), "{run:?}");
}

#[test]
fn an_import_goes_to_no_gateway() {
    let home = Home::build();
    home.write("backup.jsonl", "");
    let run = super::portcullis(home.folder.path())
        .args(["store", "import", "backup.jsonl"])
        .env("PORTCULLIS_ADMIN", "unix:data/admin.sock")
        .output()
        .expect("ends");
    let run = Run(run);
    assert_eq!(run.code(), 2, "{run:?}");
    assert!(run.stderr().contains("unset PORTCULLIS_ADMIN"), "{run:?}");
}
