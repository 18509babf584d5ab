//! `client …` and `user …`: the same whether the gateway runs or not, and on both stores.

use portcullis::id::{ClientId, GrantId, SubjectId};
use portcullis::secret::{Digest, random_bytes};
use portcullis::store::{
    CodeState, CreateGrant, GrantRecord, GrantStanding, Redeem, RedeemCode, RedirectRule, Store,
};

use super::*;
use crate::redis::RedisServer;

const CALLBACK: &str = "https://app.example/callback";
const PASSWORD: &str = "correct horse battery";

impl Home {
    fn json(&self, arguments: &[&str]) -> Value {
        self.json_with_input(arguments, "")
    }

    fn json_with_input(&self, arguments: &[&str], input: &str) -> Value {
        let all = [arguments, &["--format", "json"]].concat();
        self.run_with_input(&all, input).succeeds().json()
    }

    /// An error in words, and nothing on stdout.
    fn refusal(&self, arguments: &[&str], input: &str) -> String {
        let run = self.run_with_input(arguments, input);
        assert_eq!((run.code(), run.stdout()), (1, String::new()), "{run:?}");
        run.stderr().trim().to_owned()
    }

    fn register(&self) -> Value {
        let wish = ["--name", "App", "--scope", "domains:read"];
        let redirect = ["--redirect", CALLBACK];
        self.json(&[&["client", "create"], &wish[..], &redirect].concat())
    }

    fn user(&self, name: &str) -> Value {
        let wish = ["--account", "acct_1", "--scope", "domains:read"];
        let create = [&["user", "create", name], &wish[..]].concat();
        self.json_with_input(&create, &format!("{PASSWORD}\n"))
    }
}

/// On Redis, at rest.
pub(crate) fn home_on_redis(redis: &RedisServer) -> Home {
    let home = Home::build();
    home.write("gateway.yaml", &on_redis(CONFIG, redis));
    home
}

fn on_redis(config: &str, redis: &RedisServer) -> String {
    let url = redis.url();
    config.replace(
        "store: { embedded: data/keys.redb }",
        &format!("store: {{ redis: {{ url: \"{url}\" }} }}"),
    )
}

fn manages_clients(home: &Home) {
    let made = home.register();
    let (id, secret) = (text(&made["client_id"]), text(&made["client_secret"]));
    assert!(id.starts_with("client_") && secret.starts_with("osir_cs_"));
    let hint = format!("osir_cs_…{}", &secret[secret.len() - 10..secret.len() - 6]);
    let shown = home.json(&["client", "show", &id]);
    assert_eq!(
        shown,
        serde_json::json!({
            "client_id": id, "name": "App", "kind": "confidential",
            "grants": ["authorization_code", "refresh_token"], "redirects": [CALLBACK],
            "scopes": ["domains:read"], "authentication": "any_secret", "pkce": "optional",
            "consent": "once", "account": null,
            "secrets": [{ "hint": hint, "created_at": made["created_at"], "ends_at": null }],
            "created_at": made["created_at"], "disabled_at": null,
        })
    );
    let listed = home.json(&["client", "list"]);
    assert!(listed.as_array().expect("a list").contains(&shown));
    let table = home.run(&["client", "list"]).succeeds().stdout();
    let row = format!("{id}  App");
    assert!(table.starts_with("ID ") && table.contains(&row), "{table}");

    rotates_a_secret(home, &id, &secret);

    let disable = ["client", "disable", &id];
    let disabled = home.json(&disable);
    assert!(disabled["disabled_at"].is_string(), "{disabled}");
    assert_eq!(home.json(&disable), disabled, "to repeat it is safe");
    assert_eq!(
        home.refusal(&["client", "rotate-secret", &id], ""),
        "error: the client is disabled"
    );
    for command in ["show", "disable", "rotate-secret"] {
        assert_eq!(
            home.refusal(&["client", command, "client_none"], ""),
            "error: there is no client client_none"
        );
    }
    let told = ["client_create", "client_rotate", "client_disable"].map(|e| home.audit_lines(e));
    assert_eq!(told, [1, 3, 1]);
    let body = secret.rsplit('_').next().expect("a body");
    assert!(!home.read("data/audit.jsonl").contains(body));
}

fn rotates_a_secret(home: &Home, id: &str, old: &str) {
    let rotate = |overlap: &str, request: &str| {
        let arguments = ["--overlap", overlap, "--request-id", request];
        let all = [&["client", "rotate-secret", id], &arguments[..]].concat();
        home.run(&[&all[..], &["--format", "json"]].concat())
    };
    let first = rotate("1h", "wish-1").succeeds();
    let new = text(&first.json()["client_secret"]);
    assert!(new.starts_with("osir_cs_") && new != old);
    let again = rotate("1h", "wish-1").succeeds();
    assert_eq!(again.stdout(), first.stdout(), "the same wish");
    let shown = home.json(&["client", "show", id]);
    assert_eq!(
        (
            &shown["secrets"][0]["ends_at"],
            &shown["secrets"][1]["ends_at"]
        ),
        (&Value::Null, &first.json()["previous_ends_at"]),
        "two live secrets"
    );
    let third = rotate("1h", "wish-2");
    assert_eq!(third.code(), 1);
    assert!(
        third
            .stderr()
            .contains("two secrets of this client work until"),
        "{third:?}"
    );
    let last = rotate("0s", "wish-3").succeeds().json();
    let shown = home.json(&["client", "show", id]);
    assert_eq!(shown["secrets"].as_array().map(Vec::len), Some(1));
    assert_eq!(shown["secrets"][0]["created_at"], last["previous_ends_at"]);
    assert_eq!(rotate("31d", "wish-4").code(), 1, "30 days at most");
    let reused = rotate("0s", "wish-1").succeeds().json();
    assert_ne!(
        text(&reused["client_secret"]),
        new,
        "a secret that was ended does not come back"
    );
}

fn manages_users(home: &Home) {
    // Any visible character may be in a name.
    let name = "alice/1@example.com?x=%2F";
    let made = home.user(name);
    let shown = home.json(&["user", "show", name]);
    assert_eq!(made, shown);
    assert_eq!(
        shown,
        serde_json::json!({
            "id": made["id"], "name": name, "account": "acct_1", "scopes": ["domains:read"],
            "created_at": made["created_at"], "password_set_at": made["created_at"],
            "disabled_at": null,
        })
    );
    let listed = home.json(&["user", "list"]);
    assert!(listed.as_array().expect("a list").contains(&shown));
    let table = home.run(&["user", "list"]).succeeds().stdout();
    assert!(
        table.starts_with("NAME ") && table.contains(name),
        "{table}"
    );

    home.write("password", "another horse battery\r\n");
    let set = ["user", "set-password", name, "--password-file", "password"];
    let set = home.json(&set);
    assert_ne!(set["password_set_at"], made["password_set_at"]);
    let run = home.run_with_input(&["user", "set-password", name], PASSWORD);
    assert_eq!(
        run.succeeds().stdout(),
        format!("{name} has another password\n")
    );

    let disabled = home.json(&["user", "disable", name]);
    assert!(disabled["disabled_at"].is_string(), "{disabled}");
    assert_eq!(home.json(&["user", "disable", name]), disabled);
    let enabled = home.json(&["user", "enable", name]);
    assert_eq!(enabled["disabled_at"], Value::Null);

    let wish = ["--account", "a", "--scope", "domains:read"];
    let create = |name: &str, password: &str| {
        home.refusal(&[&["user", "create", name], &wish[..]].concat(), password)
    };
    assert_eq!(
        create(name, PASSWORD),
        "error: name: there is a user of this name"
    );
    for password in ["", "short", "a tab\tin a password", &"x".repeat(1025)] {
        assert_eq!(
            create("bob", password),
            "error: password: 12 to 1024 bytes, no control characters"
        );
    }
    let misspelt = ["--account", "a", "--scope", "domain:read"];
    let misspelt = home.refusal(
        &[&["user", "create", "bob"], &misspelt[..]].concat(),
        PASSWORD,
    );
    assert!(
        misspelt.contains("did you mean \"domains:read\"?"),
        "{misspelt}"
    );
    for command in ["show", "disable", "enable", "set-password", "apps"] {
        assert_eq!(
            home.refusal(&["user", command, "nobody"], PASSWORD),
            "error: there is no user nobody"
        );
    }
    let events = [
        "user_create",
        "user_password",
        "user_disable",
        "user_enable",
    ];
    assert_eq!(events.map(|event| home.audit_lines(event)), [1, 2, 1, 1]);
    let audit = home.read("data/audit.jsonl");
    assert!(!audit.contains("horse") && !audit.contains("argon2"));
}

/// A user lets a client act for it, as the gateway writes that.
async fn connect(store: &dyn Store, client: &str, subject: &str) {
    let now = Clock::system().now();
    let (client, subject) = (ClientId::parse(client), SubjectId::parse(subject));
    let (client, subject) = (client.expect("an id"), subject.expect("an id"));
    let scopes = ScopeSet::parse("domains:read").expect("scopes");
    let code = CodeState {
        digest: Digest::of_random(&random_bytes::<32>()),
        redirect: CALLBACK.into(),
        redirect_rule: RedirectRule::IfSent,
        challenge: None,
        expires_at: now.plus(Duration::from_secs(60)),
        redeemed_at: None,
        wrong_verifiers: 0,
    };
    let record = GrantRecord {
        id: GrantId::random(),
        client: client.clone(),
        subject: subject.clone(),
        account: None,
        scopes: scopes.clone(),
        resource: None,
        auth_time: now,
        acr: None,
        amr: Vec::new(),
        created_at: now,
        expires_at: now.plus(Duration::from_secs(3600)),
        standing: GrantStanding::Pending,
        code,
        refresh: None,
    };
    let redeem = RedeemCode {
        grant: record.id,
        code: record.code.digest,
        client: client.clone(),
        redirect: None,
        challenge: None,
        refresh: None,
        at: now,
    };
    let created = store.create_grant(record).await.expect("written");
    assert_eq!(created, CreateGrant::Created);
    let redeemed = store.redeem_code(redeem).await.expect("written");
    assert!(matches!(redeemed, Redeem::Redeemed(_)), "{redeemed:?}");
    let remembered = store.remember_consent(&client, &subject, scopes, now).await;
    remembered.expect("written");
}

/// Three clients act for alice, two of them twice, and one for bob.
struct Connected {
    clients: [String; 3],
    alice: String,
}

impl Connected {
    fn prepare(home: &Home) -> Connected {
        let clients = [(); 3].map(|()| text(&home.register()["client_id"]));
        let (alice, bob) = (home.user("alice"), home.user("bob"));
        let (alice, bob) = (text(&alice["id"]), text(&bob["id"]));
        home.with_store(async |store| {
            for client in clients.iter().chain(&clients[..2]) {
                connect(store.as_ref(), client, &alice).await;
            }
            connect(store.as_ref(), &clients[0], &bob).await;
        });
        Connected { clients, alice }
    }

    fn are_listed_and_revoked(&self, home: &Home) {
        let listed = |user: &str| -> Vec<String> {
            let apps = home.json(&["user", "apps", user]);
            let apps = apps.as_array().expect("a list").iter();
            apps.map(|app| text(&app["client_id"])).collect()
        };
        let mut all = self.clients.to_vec();
        all.sort();
        assert_eq!(listed("alice"), all);
        let apps = home.json(&["user", "apps", "alice"]);
        let first = apps.as_array().expect("a list").iter();
        let first = first
            .clone()
            .find(|app| app["client_id"] == *self.clients[0]);
        let first = first.expect("it is there");
        assert_eq!(first["grants"].as_array().map(Vec::len), Some(2), "{first}");
        assert_eq!(
            (&first["name"], &first["scopes"][0]),
            (&"App".into(), &"domains:read".into())
        );
        let table = home.run(&["user", "apps", "alice"]).succeeds().stdout();
        assert!(
            table.starts_with("CLIENT ") && table.contains(&all[0]),
            "{table}"
        );
        for grant in first["grants"].as_array().expect("a list") {
            assert!(table.contains(&text(grant)), "{table}");
        }

        let [one, two, _] = &self.clients;
        let revoked = home.json(&["user", "revoke-app", "alice", one]);
        assert_eq!(revoked[0]["client_id"], **one);
        assert_eq!(home.audit_lines("grant_revoke"), 1);
        let again = home.json(&["user", "revoke-app", "alice", one]);
        assert_eq!(again, serde_json::json!([]), "to repeat it is safe");
        all.retain(|client| client != one);
        assert_eq!(listed("alice"), all);
        assert_eq!(
            listed("bob"),
            std::slice::from_ref(one),
            "somebody else's stays"
        );

        let rest = home.run(&["user", "revoke-app", "alice", "--all"]);
        assert_eq!(rest.succeeds().stdout(), "apps revoked: 2\n");
        assert_eq!(listed("alice"), [""; 0]);
        assert!(all.contains(two));
        assert_eq!(
            home.refusal(&["user", "revoke-app", "alice", "client_none"], ""),
            "error: there is no client client_none"
        );
    }

    /// A consent that stayed would connect the app again without a question.
    fn are_asked_again(&self, home: &Home) {
        let alice = SubjectId::parse(&self.alice).expect("an id");
        home.with_store(async |store| {
            for client in &self.clients {
                let client = ClientId::parse(client).expect("an id");
                let consent = store.consent(&client, &alice).await.expect("answers");
                assert_eq!(consent, None, "{client}");
            }
        });
    }
}

#[test]
fn clients_and_users_are_managed_with_the_gateway_stopped() {
    let home = Home::build();
    manages_clients(&home);
    manages_users(&home);
}

#[test]
fn clients_and_users_are_managed_with_the_gateway_running() {
    let home = Home::build();
    home.write("gateway.yaml", &with_admin());
    let _served = Served::start(&home);
    manages_clients(&home);
    manages_users(&home);
}

#[test]
fn clients_and_users_are_managed_on_redis_with_the_gateway_stopped() {
    let redis = RedisServer::start();
    let home = home_on_redis(&redis);
    manages_clients(&home);
    manages_users(&home);
}

#[test]
fn clients_and_users_are_managed_on_redis_with_the_gateway_running() {
    let redis = RedisServer::start();
    let home = home_on_redis(&redis);
    home.write("gateway.yaml", &on_redis(&with_admin(), &redis));
    let _served = Served::start(&home);
    manages_clients(&home);
    manages_users(&home);
}

#[test]
fn connected_apps_are_listed_and_revoked_with_the_gateway_stopped() {
    let home = Home::build();
    let connected = Connected::prepare(&home);
    connected.are_listed_and_revoked(&home);
    connected.are_asked_again(&home);
}

#[test]
fn connected_apps_are_listed_and_revoked_with_the_gateway_running() {
    let home = Home::build();
    home.write("gateway.yaml", &with_admin());
    let connected = Connected::prepare(&home);
    let served = Served::start(&home);
    connected.are_listed_and_revoked(&home);
    drop(served);
    connected.are_asked_again(&home);
}

#[test]
fn connected_apps_are_listed_and_revoked_on_redis_with_the_gateway_stopped() {
    let redis = RedisServer::start();
    let home = home_on_redis(&redis);
    let connected = Connected::prepare(&home);
    connected.are_listed_and_revoked(&home);
    connected.are_asked_again(&home);
}

#[test]
fn connected_apps_are_listed_and_revoked_on_redis_with_the_gateway_running() {
    let redis = RedisServer::start();
    let home = home_on_redis(&redis);
    home.write("gateway.yaml", &on_redis(&with_admin(), &redis));
    let _served = Served::start(&home);
    let connected = Connected::prepare(&home);
    connected.are_listed_and_revoked(&home);
    connected.are_asked_again(&home);
}

#[test]
fn a_client_that_the_endpoints_would_refuse_is_not_registered() {
    let home = Home::build();
    let refusal = |arguments: &[&str]| {
        let all = [&["client", "create", "--name", "n"], arguments].concat();
        home.refusal(&all, "").replace("error: ", "")
    };
    let (scope, redirect) = (["--scope", "domains:read"], ["--redirect", CALLBACK]);
    let with = |more: &[&str]| refusal(&[&scope[..], &redirect, more].concat());
    assert_eq!(
        refusal(&scope),
        "redirects: authorization_code needs at least one"
    );
    assert_eq!(refusal(&redirect), "scopes: at least one");
    assert_eq!(
        with(&["--public", "--grant", "client_credentials"]),
        "grants: client_credentials is for confidential clients"
    );
    assert_eq!(
        with(&["--grant", "refresh_token"]),
        "grants: refresh_token comes with authorization_code"
    );
    assert_eq!(
        with(&["--authentication", "none"]),
        "authentication: of a confidential client any_secret, basic or post; of a public one none"
    );
    assert_eq!(home.json(&["client", "list"]), serde_json::json!([]));

    for arguments in [
        &["client", "create"][..],
        &[
            "client",
            "create",
            "--name",
            "n",
            "--redirect",
            "http://app.example/",
        ],
        &["client", "create", "--name", "n", "--grant", "password"],
        &[
            "client",
            "create",
            "--name",
            "n",
            "--public",
            "--resource-server",
        ],
        &["client", "create", "--name", "n", "--consent", "sometimes"],
        &["user", "create", "alice", "--account", "a"],
        &["user", "create", "a b", "--account", "a", "--scope", "s"],
        &[
            "user",
            "create",
            "alice",
            "--account",
            "a",
            "--scope",
            "s",
            "--password",
            "p",
        ],
        &["user", "revoke-app", "alice"],
        &["user", "revoke-app", "alice", "client_1", "--all"],
    ] {
        assert_eq!(home.run(arguments).code(), 2, "{arguments:?}");
    }
}

#[test]
fn public_clients_and_resource_servers_get_what_their_kind_has() {
    let home = Home::build();
    let create =
        |arguments: &[&str]| home.json(&[&["client", "create", "--name", "n"], arguments].concat());
    let loopback = "http://127.0.0.1/cb";
    let public = create(&[
        "--public",
        "--redirect",
        loopback,
        "--scope",
        "domains:read",
    ]);
    assert_eq!(
        (
            &public["client_secret"],
            &public["authentication"],
            &public["pkce"]
        ),
        (&Value::Null, &"none".into(), &"required".into())
    );
    let id = text(&public["client_id"]);
    assert_eq!(
        home.refusal(&["client", "rotate-secret", &id], ""),
        "error: a public client has no secret"
    );
    let server = create(&["--resource-server"]);
    assert_eq!(server["grants"], serde_json::json!([]));
    assert!(server["client_secret"].is_string());
}

#[test]
fn for_people_a_client_secret_is_on_stdout_once_and_the_warning_on_stderr() {
    let home = Home::build();
    let create = ["client", "create", "--name", "n", "--resource-server"];
    let run = home.run(&create).succeeds();
    assert_eq!(run.stdout().matches("osir_cs_").count(), 1);
    assert!(run.stderr().contains("shown this once"), "{run:?}");
    assert!(!run.stderr().contains("osir_cs_"), "{run:?}");
}
