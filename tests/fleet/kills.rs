//! Everything of an account or of an issuer is refused at once, on each gateway.

use std::time::Duration;

use portcullis::clock::{Clock, Timestamp};
use portcullis::id::{AccountId, ClientId, GrantId, SubjectId};
use portcullis::observe::Metrics;
use portcullis::scope::ScopeSet;
use portcullis::secret::{Digest, random_bytes};
use portcullis::store::{
    self, CodeState, CreateGrant, GrantRecord, GrantStanding, RedirectRule, StoreSettings,
};
use serde_json::{Value, json};

use crate::house::{Fleet, IDP, ask, text};
use crate::proof::confirmed;

/// A client of our own server and a grant to it for this account.
fn grant(fleet: &Fleet, account: &str) -> GrantId {
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
    let now = Clock::system().now();
    let record = GrantRecord {
        id: GrantId::random(),
        client: ClientId::parse(&text(&made["client_id"])).expect("an id"),
        subject: SubjectId::parse("usr_1").expect("an id"),
        account: AccountId::parse(account).ok(),
        scopes: ScopeSet::parse("domains:read").expect("scopes"),
        resource: None,
        auth_time: now,
        acr: None,
        amr: Vec::new(),
        created_at: now,
        expires_at: now.plus(Duration::from_secs(3600)),
        standing: GrantStanding::Pending,
        code: CodeState {
            digest: Digest::from_bytes(random_bytes()),
            redirect: "https://app.example/callback".into(),
            redirect_rule: RedirectRule::Required,
            challenge: None,
            expires_at: now.plus(Duration::from_secs(600)),
            redeemed_at: None,
            wrong_verifiers: 0,
        },
        refresh: None,
    };
    let id = record.id;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let settings = StoreSettings::Redis(fleet.redis.settings());
        let store = store::open(&settings, &Clock::system(), &Metrics::new()).expect("opens");
        let created = store.create_grant(record).await.expect("it answers");
        assert_eq!(created, CreateGrant::Created);
    });
    id
}

fn audit_lines(fleet: &Fleet, event: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(fleet.gateways[0].path("audit.jsonl")).expect("readable");
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.filter(|line| line["event"] == event).collect()
}

fn ids(value: &Value) -> Vec<String> {
    let mut ids: Vec<_> = value.as_array().expect("a list").iter().map(text).collect();
    ids.sort();
    ids
}

#[test]
fn everything_of_an_account_is_refused_at_once_and_for_good() {
    let mut fleet = Fleet::start(2);
    let ((one, first), (two, second)) = (fleet.key("acct_lost"), fleet.key("acct_lost"));
    let (_, others) = fleet.key("acct_kept");
    let (session, of_session) = fleet.session(&first);
    let token = fleet.token("jti-1", |claims| claims["acct"] = "acct_lost".into());
    let kept = fleet.token("jti-2", |claims| claims["acct"] = "acct_kept".into());
    let lost = [&first, &second, &of_session, &token];
    let (mine, not_mine) = (grant(&fleet, "acct_lost"), grant(&fleet, "acct_kept"));
    for credential in lost.into_iter().chain([&others, &kept]) {
        assert_eq!(fleet.verdicts(credential), [200; 2], "{credential}");
    }
    let revoke = ["token", "revoke", "--account", "acct_lost", "--wait", "20s"];
    let answer = fleet.tell(&revoke, "");
    for credential in lost {
        assert_eq!(fleet.verdicts(credential), [401; 2], "{credential}");
    }
    for credential in [&others, &kept] {
        assert_eq!(fleet.verdicts(credential), [200; 2], "{credential}");
    }
    assert_eq!(confirmed(&answer).len(), 2, "{answer}");
    let mut keys = vec![one, two];
    keys.sort();
    assert_eq!(ids(&answer["keys_revoked"]), keys);
    assert_eq!(ids(&answer["sessions_ended"]), [session]);
    assert_eq!(ids(&answer["grants_ended"]), [mine.to_string()]);
    let time = |name: &str| Timestamp::parse_rfc3339(&text(&answer[name])).expect("a time");
    let minute = Duration::from_secs(60);
    assert_eq!(time("issued_before"), time("revoked_at").plus(minute));

    let line = &audit_lines(&fleet, "token_revoke")[0];
    assert_eq!(
        (&line["reason"], &line["account"]),
        (&json!("account"), &json!("acct_lost"))
    );
    let revoked = audit_lines(&fleet, "key_revoke");
    let mut told: Vec<_> = revoked
        .iter()
        .map(|line| text(&line["credential_id"]))
        .collect();
    told.sort();
    assert_eq!(told, keys);
    assert_eq!(audit_lines(&fleet, "session_end").len(), 1);

    // The records say it themselves, whatever the list of denials forgets.
    let _: u64 = fleet.redis.command(&["DEL", "pc:{rev}:nb"]);
    fleet.join("late");
    assert_eq!(fleet.verdicts(&first), [401; 3]);
    assert_eq!(fleet.verdicts(&others), [200; 3]);

    let again = fleet
        .run(&["token", "revoke", "--account", "acct_lost"])
        .succeeds()
        .stdout();
    assert!(
        again.contains("grants ended: 0\nkeys revoked: 0; sessions ended: 0; "),
        "{again}"
    );
    let all = fleet.tell(
        &["token", "revoke", "--all", "--issuer", "https://osir.com"],
        "",
    );
    assert_eq!(
        ids(&all["grants_ended"]),
        [not_mine.to_string()],
        "of our own server, all"
    );
}

#[test]
fn everything_of_an_issuer_is_refused_at_once() {
    let fleet = Fleet::start(2);
    let (_, key) = fleet.key("acct_1");
    let tokens = ["jti-1", "jti-2"].map(|jti| fleet.token(jti, |_| {}));
    for credential in tokens.iter().chain([&key]) {
        assert_eq!(fleet.verdicts(credential), [200; 2]);
    }
    let revoke = ["token", "revoke", "--all", "--issuer", IDP, "--wait", "20s"];
    let answer = fleet.tell(&revoke, "");
    for token in &tokens {
        assert_eq!(fleet.verdicts(token), [401; 2]);
    }
    assert_eq!(fleet.verdicts(&key), [200; 2]);
    assert_eq!(confirmed(&answer).len(), 2, "{answer}");
    assert_eq!(ids(&answer["grants_ended"]), [""; 0]);
    let line = &audit_lines(&fleet, "token_revoke")[0];
    assert_eq!(
        (&line["reason"], &line["credential_id"]),
        (&json!("issuer"), &json!(IDP))
    );

    for wrong in [
        &["--all"][..],
        &["--account", "acct_1", "--issuer", IDP],
        &["--all", "--issuer", IDP, "--account", "acct_1"],
    ] {
        let run = fleet.run(&[&["token", "revoke"], wrong].concat());
        assert_eq!((run.code(), run.stdout()), (2, String::new()), "{run:?}");
    }
    let unknown = fleet.run(&[
        "token",
        "revoke",
        "--all",
        "--issuer",
        "https://nobody.example",
    ]);
    assert_eq!(unknown.code(), 1, "{unknown:?}");
    let socket = fleet.gateways[0].path("admin.sock");
    for (body, message) in [
        (
            json!({"tokens": "all"}),
            "name the issuer whose tokens are all to be revoked",
        ),
        (
            json!({"tokens": {"account": "acct_1"}, "issuer": IDP}),
            "what an account has is not of one issuer: leave the issuer out",
        ),
    ] {
        let (status, answer) = ask(&socket, "POST", "/v1/tokens/revoke", &body.to_string());
        assert_eq!((status, &answer["message"]), (400, &json!(message)));
    }
    assert_eq!(fleet.verdicts(&key), [200; 2]);
}
