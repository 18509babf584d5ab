//! What the clients of a run hold: good credentials, those that get revoked, and those that are
//! none.

use std::sync::Arc;
use std::time::Duration;

use portcullis::admin::{AdminClient, ClientError, NewKeyBody};
use portcullis::auth::{RevokeTokens, TokenName, TokenSelection};
use portcullis::clock::Clock;
use portcullis::id::{AccountId, ClientId, GrantId, KeyId, LoginName, SessionId, SubjectId};
use portcullis::oauth::HashedPassword;
use portcullis::scope::ScopeSet;
use portcullis::secret::Secret;
use portcullis::store::{
    ClientAuthentication, ClientKind, ClientRecord, ClientSecret, ClientSettings, CodeState,
    Consent, CreateGrant, Environment, GrantRecord, GrantStanding, GrantType, PkceRule,
    RedirectRule, Store, UserRecord,
};
use portcullis::token::{OpaqueFormat, OpaqueKind};
use serde_json::json;

use crate::client::Client;
use crate::gateway::{Gateway, Ground, IDP};
use crate::jwks_issuer::SigningKey;
use crate::oracle::{Class, Right};

/// A header with a credential, and how it could be revoked.
pub(crate) struct Credential {
    pub(crate) class: Class,
    pub(crate) right: Right,
    pub(crate) name: &'static str,
    pub(crate) value: String,
    pub(crate) means: Option<Means>,
}

/// What an operator names to revoke something.
#[derive(Clone, Debug)]
pub(crate) enum Means {
    Jwt(String),
    Key(KeyId),
    Session(SessionId),
}

/// Whoever redeems codes and rotates refresh tokens.
pub(crate) const CLIENT: &str = "client_faults";
pub(crate) const CLIENT_SECRET: &str = "osir_cs_a-secret-of-the-client-that-nobody-guesses";
pub(crate) const CALLBACK: &str = "https://app.example/callback";
const KID: &str = "key-1";
const HOUR: Duration = Duration::from_secs(3600);
const MAX: Duration = Duration::from_secs(90 * 24 * 3600);

impl Means {
    /// Asks a gateway to revoke it.
    pub(crate) async fn carry_out(&self, admin: &AdminClient) -> Result<(), ClientError> {
        match self {
            Means::Jwt(jti) => {
                let wish = RevokeTokens {
                    tokens: TokenSelection::Jti(TokenName::parse(jti).expect("a name")),
                    issuer: Some(IDP.into()),
                };
                admin.revoke_tokens(&wish).await.map(drop)
            }
            Means::Key(id) => admin.revoke_key(id).await.map(drop),
            Means::Session(id) => admin.end_session(id).await.map(drop),
        }
    }
}

/// Before the fault: a busy machine may make Redis miss its deadline once.
pub(crate) async fn patiently<T>(mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..20 {
        if let Some(done) = attempt().await {
            return done;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("the fleet does not even work without a fault");
}

fn bearer(class: Class, right: Right, token: &str, means: Option<Means>) -> Credential {
    Credential {
        class,
        right,
        name: "authorization",
        value: format!("Bearer {token}"),
        means,
    }
}

pub(crate) async fn key(gateway: &Gateway, class: Class) -> Credential {
    let body = NewKeyBody {
        account: "acct_1".into(),
        name: "a fault".into(),
        scopes: vec!["domains:read".into()],
        env: None,
        not_before: None,
        expires_at: None,
        allowed_ips: Vec::new(),
    };
    let admin = gateway.admin();
    let created = patiently(async || admin.create_key(&body).await.ok()).await;
    Credential {
        class,
        right: Right::Entitled,
        name: "x-api-key",
        value: created.key.expose().to_owned(),
        means: Some(Means::Key(created.id)),
    }
}

/// Of a parent.
pub(crate) async fn session(client: &mut Client, parent: &Credential, class: Class) -> Credential {
    let credential = Some((parent.name, parent.value.as_str()));
    let made = client
        .post(
            "/auth/sessions",
            "application/json",
            credential,
            "{}".into(),
        )
        .await;
    assert_eq!(made.status(), Some(201), "{made:?}");
    let made = made.json();
    let token = made["session_token"].as_str().expect("a token");
    let id = made["session_id"].as_str().expect("an id");
    let means = Means::Session(SessionId::parse(id).expect("an id"));
    bearer(class, Right::Entitled, token, Some(means))
}

/// Of the issuer whose key set is a file.
pub(crate) fn jwt(issuer: &SigningKey, class: Class) -> Credential {
    let jti = format!("jti-{}", GrantId::random());
    let token = token(issuer, &jti, HOUR);
    bearer(class, Right::Entitled, &token, Some(Means::Jwt(jti)))
}

/// Never let in: keys that no store has or that are damaged, tokens that are forged or over.
pub(crate) fn wrong(issuer: &SigningKey) -> Vec<Credential> {
    let format = OpaqueFormat::new("osir");
    let unknown = |kind| format.mint(kind).secret.expose().to_owned();
    let key = |value: String| Credential {
        class: Class::Wrong,
        right: Right::None,
        name: "x-api-key",
        value,
        means: None,
    };
    let never = unknown(OpaqueKind::ApiKey(Environment::Live));
    let last = if never.ends_with('0') { "1" } else { "0" };
    let damaged = format!("{}{last}", &never[..never.len() - 1]);
    let bearer = |token: &str| bearer(Class::Wrong, Right::None, token, None);
    vec![
        key(unknown(OpaqueKind::ApiKey(Environment::Live))),
        key(never),
        key(damaged),
        bearer(&unknown(OpaqueKind::Session)),
        bearer(&token(&SigningKey::es256(), "forged", HOUR)),
        bearer(&token(issuer, "over", Duration::ZERO)),
    ]
}

fn token(signer: &SigningKey, jti: &str, life: Duration) -> String {
    let now = Clock::system().now().as_secs() - 120;
    let life = i64::try_from(life.as_secs()).expect("small");
    let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": KID }).to_string();
    let claims = json!({
        "iss": IDP, "aud": "https://api.osir.com", "sub": "someone", "client_id": "an-app",
        "iat": now, "exp": now + life, "jti": jti, "scope": "domains:read",
    });
    signer.token(&header, claims.to_string())
}

/// The issuer's key set.
pub(crate) fn key_set(issuer: &SigningKey) -> String {
    crate::jwks_issuer::key_set(&[issuer.jwk(KID)])
}

/// The OAuth client and its user, as the registry writes them.
pub(crate) async fn register(store: &dyn Store) {
    let now = Clock::system().now();
    let client = ClientRecord {
        id: ClientId::parse(CLIENT).expect("an id"),
        kind: ClientKind::Confidential,
        settings: ClientSettings {
            name: "An app".into(),
            redirects: vec![CALLBACK.into()],
            grants: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
            scopes: scopes(),
            authentication: ClientAuthentication::AnySecret,
            pkce: PkceRule::Optional,
            consent: Consent::Never,
            account: None,
        },
        secrets: vec![ClientSecret {
            digest: Ground::pepper().digest(CLIENT_SECRET),
            hint: "…".into(),
            created_at: now,
            ends_at: None,
        }],
        rotation: None,
        created_at: now,
        disabled_at: None,
    };
    let user = UserRecord {
        id: subject(),
        name: LoginName::parse("alice").expect("a name"),
        password: HashedPassword::new(&Secret::new("not used here")).to_hash(),
        password_set_at: now,
        account: AccountId::parse("acct_user").expect("an id"),
        scopes: scopes(),
        created_at: now,
        disabled_at: None,
    };
    let _ = store.create_client(client).await.expect("a client");
    let _ = store.create_user(user).await.expect("a user");
}

/// A code as the consent page gives it, good for an hour: it waits for its fault.
pub(crate) async fn code(store: &Arc<dyn Store>) -> String {
    let (now, id) = (Clock::system().now(), GrantId::random());
    let code = OpaqueFormat::new("osir").mint_code(&id);
    let grant = GrantRecord {
        id,
        client: ClientId::parse(CLIENT).expect("an id"),
        subject: subject(),
        account: Some(AccountId::parse("acct_user").expect("an id")),
        scopes: scopes(),
        resource: None,
        auth_time: now,
        acr: None,
        amr: Vec::new(),
        created_at: now,
        expires_at: now.plus(MAX),
        standing: GrantStanding::Pending,
        code: CodeState {
            digest: Ground::pepper().digest(code.expose()),
            redirect: CALLBACK.into(),
            redirect_rule: RedirectRule::Required,
            challenge: None,
            expires_at: now.plus(HOUR),
            redeemed_at: None,
            wrong_verifiers: 0,
        },
        refresh: None,
    };
    let created = store.create_grant(grant).await.expect("a grant");
    assert_eq!(created, CreateGrant::Created);
    code.expose().to_owned()
}

fn subject() -> SubjectId {
    SubjectId::parse("usr_alice").expect("an id")
}

fn scopes() -> ScopeSet {
    ScopeSet::parse("domains:read").expect("a scope")
}
