//! `token revoke` and `signing-key list|rotate`: the same whether or not the gateway runs, and on
//! both stores.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use portcullis::clock::Clock;
use portcullis::id::{AccountId, ClientId, GrantId, SubjectId};
use portcullis::scope::ScopeSet;
use portcullis::sealed::Sealed;
use portcullis::secret::Secret;
use portcullis::store::{
    self, CodeState, CreateGrant, GrantRecord, GrantStanding, NewSigningKey, PublishSigningKey,
    Redeem, RedeemCode, RedirectRule, SigningAlgorithm,
};
use portcullis::token::jwt::{SignatureAlgorithm, SigningKey};
use portcullis::token::{OpaqueFormat, RefreshNonce, RefreshTokens};
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
                let url = redis.url();
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
        self.home
            .with_store(async |store| [grant(&store).await, grant(&store).await])
    }

    /// What of each kind of token there is to show.
    fn shown(&self) -> Shown {
        let (key, session_key) = (self.home.key(), self.home.key());
        let (own, pkcs8) = SigningKey::generate(SignatureAlgorithm::Es256).expect("a key");
        let grants = self.home.with_store(async |store| {
            let new = NewSigningKey {
                kid: own.kid().to_owned(),
                algorithm: SigningAlgorithm::Es256,
                public: own.public_jwk().to_owned(),
                private: Sealed::seal(&pepper(), own.kid(), &pkcs8),
            };
            let published = store.publish_signing_key(new, Clock::system().now()).await;
            assert_eq!(published.expect("written"), PublishSigningKey::Activated);
            [grant(&store).await, grant(&store).await]
        });
        Shown {
            session: self.home.session(&session_key.0),
            key,
            own,
            grants,
        }
    }
}

struct Shown {
    key: (String, String),
    session: (String, String),
    /// Our own server's.
    own: SigningKey,
    grants: [GrantId; 2],
}

/// The code of a grant, the same each time.
fn code(id: &GrantId) -> Secret {
    OpaqueFormat::new("osir").mint_code_from(id, &[7; 32])
}

async fn grant(store: &Arc<dyn store::Store>) -> GrantId {
    let (id, now) = (GrantId::random(), Clock::system().now());
    let digest = pepper().digest(code(&id).expose());
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
        told.starts_with("refused since ")
            && told.ends_with(
                "; grants ended: 0\n\
                 no grant of it is known here; its tokens issued up to now are refused all the same\n"
            ),
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
        (
            &["--client", "client_none", "--issuer", "https://osir.com"],
            "error: there is no client client_none",
        ),
        (
            &["--subject", "https://osir.co|usr_alice"],
            "there is no issuer https://osir.co in",
        ),
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

fn revokes_what_is_shown(house: &House, shown: &Shown) {
    let secrets = [
        revokes_shown_access_tokens(house, shown),
        revokes_shown_secrets(house, shown),
    ];
    let audit = house.home.read("data/audit.jsonl");
    for secret in secrets.iter().flatten() {
        let parts = secret.split(['.', '_']);
        let body = parts.max_by_key(|part| part.len()).expect("a part");
        assert!(!audit.contains(body), "an audit line holds {secret}");
    }
}

/// From standard input; what was shown is nowhere in the answer.
fn show(house: &House, token: &str, format: &str) -> super::Run {
    let command = ["token", "revoke", "-", "--format", format];
    let run = house.home.run_with_input(&command, &format!("{token}\n"));
    let told = run.stdout() + &run.stderr();
    assert!(!told.contains(token), "{told}");
    run
}

fn is_refused(house: &House, token: &str, words: &str) {
    let run = show(house, token, "table");
    assert_eq!((run.code(), run.stdout()), (1, String::new()), "{run:?}");
    assert!(run.stderr().contains(words), "{run:?}");
}

fn revokes_shown_access_tokens(house: &House, shown: &Shown) -> Vec<String> {
    let before = house.home.audit_lines("token_revoke");
    let (one, other) = (house.token("jti-a", |_| {}), house.token("jti-b", |_| {}));
    let now = Clock::system().now().as_secs();
    let own = json!({
        "iss": "https://osir.com", "aud": "https://api.osir.com", "sub": "usr_alice",
        "client_id": "client_1", "jti": "jti-own", "iat": now, "exp": now + 3600,
        "scope": "domains:read",
    });
    let own = shown.own.sign("at+jwt", &own).expect("signed");
    for (token, jti) in [(&one, "jti-a"), (&own, "jti-own")] {
        // A gateway that has just started reads its signing keys in a moment.
        eventually(|| (house.verdict(token) == "allow").then_some(()));
        let told = show(house, token, "json").succeeds().json();
        assert_eq!(
            (&told["kind"], &told["id"], &told["grants_ended"]),
            (&json!("access_token"), &json!(jti), &json!([]))
        );
        assert!(told["revoked_at"].is_string(), "{told}");
        eventually(|| (house.verdict(token) == "deny").then_some(()));
    }
    eventually(|| (house.verdict(&other) == "allow").then_some(()));
    // As an argument, which `ps` shows; and again, which is safe.
    let again = house.home.run(&["token", "revoke", &one]).succeeds();
    assert!(
        again
            .stdout()
            .starts_with("access token jti-a: refused since "),
        "{again:?}"
    );
    assert_eq!(house.home.audit_lines("token_revoke"), before + 3);

    let stranger = SigningKey::generate(SignatureAlgorithm::Es256).expect("a key");
    let claims = json!({
        "iss": IDP, "aud": "api", "sub": "user-7", "client_id": "app-1", "jti": "jti-b",
        "iat": now, "exp": now + 3600, "scope": "domains:read",
    });
    let forged = stranger.0.sign("at+jwt", &claims).expect("signed");
    is_refused(house, &forged, "no issuer of `access_tokens` stands for");
    let foreign = house.token("jti-c", |claims| {
        claims["iss"] = "https://x.example".into();
    });
    is_refused(house, &foreign, "no issuer of `access_tokens` stands for");
    let passing = house.token("jti-c", |claims| {
        claims["iss"] = "https://passing.example".into();
    });
    is_refused(house, &passing, "`revocation: none`");
    let expired = house.token("jti-c", |claims| {
        (claims["iat"], claims["exp"]) = ((now - 7200).into(), (now - 3600).into());
    });
    is_refused(house, &expired, "has expired");
    assert_eq!(house.verdict(&other), "allow", "a forgery revoked nothing");
    assert_eq!(house.home.audit_lines("token_revoke"), before + 3);
    vec![one, own]
}

fn revokes_shown_secrets(house: &House, shown: &Shown) -> Vec<String> {
    let format = OpaqueFormat::new("osir");
    let refresh_tokens = RefreshTokens::new(format.clone(), &pepper().into());
    let refresh = |grant: &GrantId| {
        let token = refresh_tokens.mint(grant, 3, &RefreshNonce::random());
        token.expose().to_owned()
    };
    let [one, other] = &shown.grants;
    let code = code(other).expose().to_owned();
    let (key_id, key) = &shown.key;
    let (session_id, session) = &shown.session;
    let secrets = [refresh(one), code, key.clone(), session.clone()];
    let (one, other) = (one.to_string(), other.to_string());
    for (secret, kind, id, grants) in [
        (&secrets[0], "refresh_token", &one, json!([one])),
        (&secrets[1], "authorization_code", &other, json!([other])),
        (&secrets[2], "api_key", key_id, json!([])),
        (&secrets[3], "session", session_id, json!([])),
    ] {
        let told = show(house, secret, "json").succeeds().json();
        assert_eq!(
            (&told["kind"], &told["id"], &told["grants_ended"]),
            (&json!(kind), &json!(id), &grants)
        );
        let again = show(house, secret, "json").succeeds().json();
        assert_eq!(
            (&again["revoked_at"], &again["grants_ended"]),
            (&told["revoked_at"], &json!([])),
            "to repeat it is safe"
        );
        let words = show(house, secret, "table").succeeds().stdout();
        assert!(words.contains(id.as_str()), "{words}");
    }
    eventually(|| (house.home.verdict(key) == "deny").then_some(()));
    let listed = house.home.run(&["key", "show", key_id, "--format", "json"]);
    assert!(listed.succeeds().json()["revoked_at"].is_string());

    let unknown = GrantId::from_bytes([0; 16]);
    let client = format.mint_client_secret().secret.expose().to_owned();
    for (token, words) in [
        (client.as_str(), "`client rotate-secret ID --overlap 0s`"),
        (refresh(&unknown).as_str(), "nothing here is known by it"),
        (
            format.mint_code(&shown.grants[1]).expose(),
            "nothing here is known by it",
        ),
        ("osir_rt_abc", "it is damaged"),
        (&session[..session.len() - 1], "it is damaged"),
        ("an-unknown-text", "nothing here is known by it"),
    ] {
        is_refused(house, token, words);
    }
    secrets.into()
}

#[test]
fn what_is_shown_is_revoked_with_the_gateway_stopped_on_both_stores() {
    for house in House::on_both_stores() {
        house.configure(CONFIG);
        let shown = house.shown();
        revokes_what_is_shown(&house, &shown);
    }
}

#[test]
fn what_is_shown_is_revoked_with_the_gateway_running_on_both_stores() {
    for house in House::on_both_stores() {
        house.configure(CONFIG);
        let shown = house.shown();
        house.configure(&with_admin());
        let _served = Served::start(&house.home);
        revokes_what_is_shown(&house, &shown);
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
