//! `key report`: what it finds, its exit code, and that the commands it shows can be pasted.

use portcullis::scope::Scope;
use portcullis::store::{Day, Environment, KeyRecord, KeyUses, NewKey, Uses};

use super::*;
use crate::redis::RedisServer;
use crate::registry::home_on_redis;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a key is called that wants to break out of its quotes.
const NAME: &str = "it's $(touch broken) `touch broken` \"x\"; touch broken # \u{e9}";

fn ago(days: u32) -> Timestamp {
    Clock::system().now().minus(DAY * days)
}

fn set(text: &str) -> ScopeSet {
    ScopeSet::parse(text).expect("scopes")
}

fn key(id: &str, age: u32, scopes: &str, change: impl FnOnce(&mut KeyRecord)) -> NewKey {
    let mut record = KeyRecord {
        id: KeyId::parse(id).expect("an id"),
        account: AccountId::parse("acct_1").expect("an id"),
        name: "n".into(),
        environment: Environment::Live,
        scopes: set(scopes),
        created_at: ago(age),
        not_before: None,
        expires_at: Some(ago(0).plus(DAY * 100)),
        revoked_at: None,
        allowed_ips: Vec::new(),
        hint: String::new(),
    };
    change(&mut record);
    NewKey {
        digest: pepper().digest(id),
        record,
    }
}

fn seen(id: &str, days: u32, used: &str) -> KeyUses {
    let used = set(used);
    KeyUses {
        key: KeyId::parse(id).expect("an id"),
        day: Day::of(ago(days)),
        seen_at: Some(ago(days)),
        uses: Uses {
            requests: 5,
            used: used.iter().map(|scope: Scope| (scope, 5)).collect(),
            missing: Default::default(),
        },
    }
}

/// Keys of every kind, counted for 90 days.
fn furnish(home: &Home) {
    let keys = vec![
        key("key_1_good", 60, "domains:read", |_| {}),
        key("key_2_broad", 60, "domains:read domains:write", |record| {
            record.name = NAME.into();
            record.environment = Environment::Test;
            record.allowed_ips = vec!["192.0.2.0/24".parse().expect("a network")];
        }),
        key("key_3_idle", 60, "domains:read", |_| {}),
        key("key_4_young", 3, "domains:read domains:write", |_| {}),
        key("key_5_endless", 3, "domains:read", |record| {
            record.expires_at = None;
            record.account = AccountId::parse("acct_2").expect("an id");
        }),
        key("key_6_ending", 60, "domains:read", |record| {
            record.expires_at = Some(ago(0).plus(DAY * 3));
        }),
        key("key_7_expired", 60, "domains:read", |record| {
            record.expires_at = Some(ago(1));
        }),
        key("key_8_revoked", 60, "domains:read", |record| {
            record.revoked_at = Some(ago(1));
        }),
    ];
    let uses = vec![
        seen("key_1_good", 29, "domains:read"),
        seen("key_2_broad", 2, "domains:read"),
        seen("key_2_broad", 40, "domains:write"),
        seen("key_3_idle", 31, "domains:read"),
        seen("key_6_ending", 1, "domains:read"),
    ];
    home.with_store(async |store| {
        store.create_keys(keys).await.expect("written");
        store.begin_usage(ago(90)).await.expect("written");
        store.add_usage(uses, ago(0)).await.expect("written");
    });
}

/// Each finding as `key finding`, and the exit code.
fn found(home: &Home, arguments: &[&str]) -> (Vec<String>, i32) {
    let all = [&["key", "report", "--format", "json"], arguments].concat();
    let run = home.run(&all);
    let mut found = Vec::new();
    for key in run.json().as_array().expect("a list") {
        for finding in key["findings"].as_array().expect("a list") {
            let line = format!("{} {}", text(&key["id"]), text(&finding["finding"]));
            found.push(line);
        }
    }
    (found, run.code())
}

fn reports(home: &Home) {
    furnish(home);
    let all = [
        "key_2_broad unused_scope",
        "key_3_idle idle",
        "key_5_endless no_expiry",
        "key_6_ending expires_soon",
    ];
    let (lines, code) = found(home, &[]);
    assert_eq!((lines, code), (all.map(String::from).to_vec(), 1));
    let (lines, _) = found(home, &["--days", "50", "--idle", "50d"]);
    assert_eq!(lines, all[2..], "used within 50 days");
    let (lines, _) = found(
        home,
        &["--days", "20", "--idle", "12d", "--account", "acct_1"],
    );
    assert_eq!(
        lines,
        ["key_1_good idle", all[0], all[1], all[3]],
        "of one account"
    );
    let (lines, code) = found(home, &["--account", "acct_none"]);
    assert_eq!((lines.len(), code), (0, 0));

    let table = home.run(&["key", "report"]);
    assert_eq!(table.code(), 1);
    let shown = table.stdout();
    assert!(shown.starts_with("KEY "), "{shown}");
    assert!(
        shown.contains("unused_scope  not used in 30 days: domains:write  ")
            && shown.contains("  portcullis key create --account=acct_1 ")
            && shown.contains(" # when it is in use: portcullis key revoke key_2_broad\n"),
        "{shown}"
    );
    let told = table.stderr();
    assert!(told.contains("4 findings in 6 keys that work."), "{told}");
    assert!(told.contains("2 of them are too young"), "{told}");
    pastes(home);
}

/// Carries out what mends a key, as somebody does who copies the lines.
fn pastes(home: &Home) {
    let report = home.run(&["key", "report", "--format", "json"]).json();
    let broad = &report[1];
    let mend: Vec<String> = broad["findings"][0]["mend"]
        .as_array()
        .expect("a list")
        .iter()
        .map(text)
        .collect();
    let binary = Path::new(env!("CARGO_BIN_EXE_portcullis"));
    let bin = binary.parent().expect("a folder").display();
    for command in &mend {
        let done = Command::new("sh")
            .args(["-ec", &format!("PATH={bin}:$PATH; {command} --format=json")])
            .current_dir(home.folder.path())
            .env_remove("PORTCULLIS_ADMIN")
            .output()
            .expect("sh is there");
        assert!(done.status.success(), "{command}: {done:?}");
    }
    assert!(!home.path("broken").exists());
    let keys = home.run(&["key", "list", "--format", "json"]).json();
    let keys = keys.as_array().expect("a list");
    let made = keys
        .iter()
        .find(|key| key["name"] == NAME && key["id"] != broad["id"]);
    let made = made.expect("the new one");
    assert_eq!(made["scopes"], serde_json::json!(["domains:read"]));
    assert_eq!(
        (&made["env"], &made["expires_at"], &made["allowed_ips"]),
        (
            &Value::from("test"),
            &broad["expires_at"],
            &serde_json::json!(["192.0.2.0/24"])
        )
    );
    let (lines, _) = found(home, &[]);
    assert!(
        !lines.iter().any(|line| line.contains("unused_scope")),
        "{lines:?}"
    );
}

#[test]
fn keys_are_reported_with_the_gateway_stopped() {
    reports(&Home::build());
}

#[test]
fn keys_are_reported_with_the_gateway_running_on_redis() {
    let redis = RedisServer::start();
    let home = home_on_redis(&redis);
    let config = home.read("gateway.yaml");
    home.write(
        "gateway.yaml",
        &config.replace("admin: off", "admin: unix:data/admin.sock"),
    );
    let _served = Served::start(&home);
    reports(&home);
}

#[test]
fn nothing_is_called_unused_before_uses_were_counted() {
    let home = Home::build();
    let old = key("key_old", 60, "domains:read domains:write", |_| {});
    home.with_store(async |store| store.create_keys(vec![old]).await.expect("written"));
    let report = home.run(&["key", "report", "--format", "json"]).succeeds();
    assert_eq!(report.json()[0]["young"], true);
    assert_eq!(report.json()[0]["counted_since"], Value::Null);
    for wrong in [
        &["--days", "0"][..],
        &["--days", "91"],
        &["--idle", "soon"],
        &["--idle", "0d"],
    ] {
        let run = home.run(&[&["key", "report"], wrong].concat());
        assert_eq!(run.code(), 2, "{wrong:?}");
    }
}
