//! `token revoke` and `signing-key list|rotate`: the same whether or not the gateway runs, and on
//! both stores.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use portcullis::clock::Clock;
use portcullis::id::{AccountId, ClientId, GrantId, SubjectId};
use portcullis::observe::Metrics;
use portcullis::scope::ScopeSet;
use portcullis::store::{
    self, CodeState, CreateGrant, GrantRecord, GrantStanding, Redeem, RedeemCode, RedirectRule,
    StoreSettings,
};
use portcullis::token::jwt::{SignatureAlgorithm, SigningKey};
use serde_json::{Value, json};

use super::redis::RedisServer;
use super::{CONFIG, Home, Served, eventually, pepper, text, with_admin};

const IDP: &str = "https://idp.example";

/// A home that trusts two other issuers beside its own, on one of the stores.
struct House {
    home: Home,
    redis: Option<RedisServer>,
    /// Signs as both of the others.
    key: SigningKey,
}

impl House {
    fn on_both_stores() -> [House; 2] {
        [None, Some(RedisServer::start())].map(|redis| {
            let home = Home::build();
            let hosts = ["certs", "--host", "api.osir.com", "--host", "osir.com"];
            fs::remove_dir_all(home.path("certs")).expect("removed");
            home.run(&hosts).succeeds();
            let (key, _) = SigningKey::generate(SignatureAlgorithm::Es256).expect("a key");
            let keys = format!(r#"{{"keys":[{}]}}"#, key.public_jwk());
            home.write("jwks.json", &keys);
            House { home, redis, key }
        })
    }

    fn configure(&self, text: &str) {
        let issuer = |name, more| {
            format!(
                "  - {{ issuer: {name}, jwks: jwks.json, audience: api, algorithms: [ES256]{more} }}\n"
            )
        };
        let issuers = format!(
            "access_tokens:\n  - {{ issuer: https://osir.com, builtin: true, audience: https://api.osir.com }}\n{}{}\
             oauth: {{ issuer: https://osir.com }}\n",
            issuer(IDP, ""),
            issuer("https://passing.example", ", revocation: none"),
        );
        let text = match &self.redis {
            None => text.to_owned(),
            Some(redis) => {
                let url = redis.settings().url;
                text.replace(
                    "embedded: data/keys.redb",
                    &format!("redis: {{ url: \"{url}\" }}"),
                )
            }
        };
        self.home.write("gateway.yaml", &format!("{text}{issuers}"));
    }

    /// An access token of the identity provider.
    fn token(&self, jti: &str, change: impl FnOnce(&mut Value)) -> String {
        let now = Clock::system().now().as_secs();
        let mut claims = json!({
            "iss": IDP, "aud": "api", "sub": "user-7", "client_id": "app-1", "jti": jti,
            "iat": now, "exp": now + 3600, "scope": "domains:read",
        });
        change(&mut claims);
        self.key.sign("at+jwt", &claims).expect("signed")
    }

    fn verdict(&self, token: &str) -> String {
        let explain = [
            "explain",
            "GET",
            "/v1/domains",
            "--token",
            "-",
            "--format",
            "json",
        ];
        let told = self.home.run_with_input(&explain, &format!("{token}\n"));
        text(&told.json()["verdict"])
    }

    fn revoke(&self, arguments: &[&str]) -> Value {
        let command = [&["token", "revoke", "--format", "json"], arguments].concat();
        self.home.run(&command).succeeds().json()
    }

    /// Two grants of our own server's whose codes were redeemed.
    fn grants(&self) -> [GrantId; 2] {
        let path = self.home.path("data/keys.redb");
        let settings = match &self.redis {
            None => StoreSettings::Embedded { path },
            Some(redis) => StoreSettings::Redis(redis.settings()),
        };
        fs::create_dir_all(self.home.path("data")).expect("made");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async {
            let store = store::open(&settings, &Clock::system(), &Metrics::new()).expect("opens");
            [grant(&store).await, grant(&store).await]
        })
    }
}

async fn grant(store: &Arc<dyn store::Store>) -> GrantId {
    let (id, now) = (GrantId::random(), Clock::system().now());
    let digest = pepper().digest(&id.to_string());
    let client = ClientId::parse("client_1").expect("an id");
    let later = now.plus(Duration::from_secs(3600));
    let record = GrantRecord {
        id,
        client: client.clone(),
        subject: SubjectId::parse("usr_alice").expect("an id"),
        account: AccountId::parse("acct_1").ok(),
        scopes: ScopeSet::parse("domains:read").expect("scopes"),
        resource: None,
        auth_time: now,
        acr: None,
        amr: Vec::new(),
        created_at: now,
        expires_at: later,
        standing: GrantStanding::Pending,
        code: CodeState {
            digest,
            redirect: "https://yourapp.com/callback".into(),
            redirect_rule: RedirectRule::IfSent,
            challenge: None,
            expires_at: later,
            redeemed_at: None,
            wrong_verifiers: 0,
        },
        refresh: None,
    };
    let created = store.create_grant(record).await.expect("written");
    assert_eq!(created, CreateGrant::Created);
    let request = RedeemCode {
        grant: id,
        code: digest,
        client,
        redirect: None,
        challenge: None,
        refresh: None,
        at: now,
    };
    let redeemed = store.redeem_code(request).await.expect("written");
    assert!(matches!(redeemed, Redeem::Redeemed(_)), "{redeemed:?}");
    id
}

fn revokes_tokens(house: &House, grants: &[GrantId; 2]) {
    let denied = |token: &str| eventually(|| (house.verdict(token) == "deny").then_some(()));
    let allowed = |token: &str| eventually(|| (house.verdict(token) == "allow").then_some(()));
    let (one, other) = (house.token("jti-1", |_| {}), house.token("jti-2", |_| {}));
    let family = grants[0].family().to_string();
    let granted = house.token("jti-3", |claims| claims["fam"] = family.into());
    let apps = house.token("jti-4", |claims| {
        claims["sub"] = "user-8".into();
        claims["client_id"] = "app-2".into();
    });
    for token in [&one, &other, &granted, &apps] {
        allowed(token);
    }

    let revoked = house.revoke(&["--jti", "jti-1", "--issuer", IDP]);
    assert!(revoked["revoked_at"].is_string(), "{revoked}");
    assert_eq!(revoked["grants_ended"], json!([]));
    denied(&one);
    allowed(&other);

    let id = grants[0].to_string();
    let first = house.revoke(&["--grant", &id]);
    assert_eq!(first["grants_ended"], json!([id]));
    denied(&granted);
    let again = house.revoke(&["--grant", &id]);
    assert_eq!(
        (&again["revoked_at"], &again["grants_ended"]),
        (&first["revoked_at"], &json!([])),
        "to repeat it is safe"
    );

    let ended = house.revoke(&["--subject", "usr_alice"])["grants_ended"].clone();
    assert_eq!(ended, json!([grants[1].to_string()]));
    allowed(&other);
    let command = ["token", "revoke", "--subject", "https://idp.example|user-7"];
    let told = house.home.run(&command).succeeds().stdout();
    assert!(
        told.starts_with("refused since ") && told.ends_with("; grants ended: 0\n"),
        "{told}"
    );
    denied(&other);
    allowed(&apps);
    house.revoke(&["--client", "app-2", "--issuer", IDP]);
    denied(&apps);
    assert_eq!(house.home.audit_lines("token_revoke"), 6);
    refuses(house);
    assert_eq!(house.home.audit_lines("token_revoke"), 6);
}

fn refuses(house: &House) {
    let unknown = GrantId::from_bytes([0; 16]).to_string();
    let passing = "https://passing.example|u";
    for (arguments, words) in [
        (
            &["--jti", "x", "--issuer", "https://passing.example"][..],
            "`revocation: none`",
        ),
        (&["--subject", passing], "`revocation: none`"),
        (&["--jti", "x"], "name the issuer"),
        (&["--client", "x"], "name the issuer"),
        (
            &["--jti", "x", "--issuer", "https://x.example"],
            "there is no issuer https://x.example",
        ),
        (&["--grant", &unknown], "there is no grant grant_0000"),
    ] {
        let run = house.home.run(&[&["token", "revoke"], arguments].concat());
        assert_eq!((run.code(), run.stdout()), (1, String::new()), "{run:?}");
        assert!(run.stderr().contains(words), "{run:?}");
    }
    for arguments in [
        &["token", "revoke"][..],
        &["token", "revoke", "--jti", "a", "--client", "b"],
        &["token", "revoke", "--jti", ""],
        &["token", "revoke", "--grant", "grant_1"],
    ] {
        assert_eq!(house.home.run(arguments).code(), 2, "{arguments:?}");
    }
}

#[test]
fn tokens_are_revoked_with_the_gateway_stopped_on_both_stores() {
    for house in House::on_both_stores() {
        house.configure(CONFIG);
        let grants = house.grants();
        revokes_tokens(&house, &grants);
    }
}

#[test]
fn tokens_are_revoked_with_the_gateway_running_on_both_stores() {
    for house in House::on_both_stores() {
        house.configure(&with_admin());
        let grants = house.grants();
        let _served = Served::start(&house.home);
        revokes_tokens(&house, &grants);
    }
}

/// From one key on, which is active.
fn rotates_signing_keys(house: &House) {
    let run = |arguments: &[&str]| {
        let command = [&["signing-key"], arguments, &["--format", "json"]].concat();
        house.home.run(&command).succeeds().json()
    };
    let told = || {
        let keys = run(&["list"]);
        let keys = keys.as_array().expect("a list").iter();
        keys.map(|key| (text(&key["kid"]), text(&key["state"])))
            .collect::<Vec<_>>()
    };
    let is = |kid: &str, state: &str| (kid.to_owned(), state.to_owned());
    let before = house.home.audit_lines("signing_key_rotate");
    let first = told()[0].0.clone();
    assert_eq!(told(), [is(&first, "active")]);

    let published = run(&["rotate"]);
    assert_eq!(
        (&published["outcome"], &published["algorithm"]),
        (&json!("published"), &json!("ES256"))
    );
    let second = text(&published["kid"]);
    assert_eq!(told(), [is(&second, "next"), is(&first, "active")]);
    assert_eq!(run(&["list"])[0]["signs_at"], published["signs_at"]);
    let again = run(&["rotate"]);
    assert_eq!(
        (&again["outcome"], &again["kid"], &again["signs_at"]),
        (&json!("waiting"), &published["kid"], &published["signs_at"]),
        "to repeat it is safe"
    );
    let words = house.home.run(&["signing-key", "rotate"]).succeeds();
    let expected = format!("{second} was published before, and signs from ");
    assert!(words.stdout().starts_with(&expected), "{words:?}");
    let table = house.home.run(&["signing-key", "list"]).succeeds().stdout();
    assert!(
        table.starts_with("KID") && table.contains("next") && !table.contains("private"),
        "{table}"
    );
    assert_eq!(house.home.audit_lines("signing_key_rotate"), before + 1);

    let emergency = run(&["rotate", "--now"]);
    assert_eq!(emergency["outcome"], "activated");
    let third = text(&emergency["kid"]);
    assert!(third != first && third != second);
    assert_eq!(told(), [is(&third, "active")]);
    assert_eq!(house.home.audit_lines("signing_key_rotate"), before + 2);
}

#[test]
fn signing_keys_are_rotated_with_the_gateway_stopped_on_both_stores() {
    for house in House::on_both_stores() {
        house.configure(CONFIG);
        let list = ["signing-key", "list", "--format", "json"];
        assert_eq!(house.home.run(&list).succeeds().json(), json!([]));
        let rotate = ["signing-key", "rotate", "--format", "json"];
        let first = house.home.run(&rotate).succeeds().json();
        assert_eq!(first["outcome"], "activated", "the first signs at once");
        rotates_signing_keys(&house);
    }
}

#[test]
fn signing_keys_are_rotated_with_the_gateway_running_on_both_stores() {
    for house in House::on_both_stores() {
        house.configure(&with_admin());
        let _served = Served::start(&house.home);
        rotates_signing_keys(&house);
    }
}

#[test]
fn without_an_authorization_server_no_signing_key_is_made() {
    let home = Home::build();
    for arguments in [
        &["signing-key", "rotate"][..],
        &["signing-key", "rotate", "--now"],
    ] {
        let run = home.run(arguments);
        assert_eq!(run.code(), 1, "{run:?}");
        assert!(
            run.stderr().contains("`oauth` is not configured"),
            "{run:?}"
        );
    }
    let list = home.run(&["signing-key", "list", "--format", "json"]);
    assert_eq!(list.succeeds().json(), json!([]));
}
