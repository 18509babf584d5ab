use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::*;
use crate::auth::{CredentialKind, JwksSource, SignatureAlgorithm, TokenType};
use crate::clock::Timestamp;
use crate::store::Environment;

const ISSUER: &str = "https://idp.example";
const NOW: i64 = 1_790_000_000;

/// One issuer with one Ed25519 key in a file, and tokens that it signs.
struct Bench {
    pair: Ed25519KeyPair,
    typ: &'static str,
    clock: Clock,
    metrics: Arc<Metrics>,
    tokens: AccessTokens,
    _file: NamedTempFile,
}

impl Bench {
    fn new() -> Bench {
        Bench::with(|_| {})
    }

    fn any_type() -> Bench {
        Bench::with(|settings| settings.token_type = TokenType::Any)
    }

    fn with(change: impl FnOnce(&mut IssuerSettings)) -> Bench {
        let pair = Ed25519KeyPair::generate().expect("a key");
        let file = NamedTempFile::new().expect("a file");
        std::fs::write(&file, key_set(&pair)).expect("written");
        let mut settings = settings(file.path().into());
        change(&mut settings);
        let typ = match settings.token_type {
            TokenType::AccessToken => "at+jwt",
            TokenType::Any => "JWT",
        };
        let clock = Clock::manual(Timestamp::from_secs(NOW));
        let metrics = Arc::new(Metrics::new());
        let control = Handle::current();
        let tokens = AccessTokens::new(&[settings], clock.clone(), &metrics, &control, 100);
        Bench {
            pair,
            typ,
            clock,
            metrics,
            tokens: tokens.expect("valid settings"),
            _file: file,
        }
    }

    /// A token with the usual claims and these changes; `null` takes a claim away.
    fn token(&self, changes: Value) -> String {
        self.token_of(&json!({"alg": "EdDSA", "typ": self.typ}), changes)
    }

    fn token_of(&self, header: &Value, changes: Value) -> String {
        let mut claims = json!({
            "iss": ISSUER, "aud": "api", "sub": "alice", "exp": NOW + 3600, "iat": NOW,
            "jti": "t-1", "client_id": "app", "scope": "vps:read domains:read",
        });
        let Value::Object(changes) = changes else {
            panic!("changes are an object");
        };
        let members = claims.as_object_mut().expect("an object");
        for (claim, value) in changes {
            match value {
                Value::Null => members.remove(&claim),
                value => members.insert(claim, value),
            };
        }
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", part(header), part(&claims));
        let signature = self.pair.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    async fn verified(&self, changes: Value) -> Arc<VerifiedToken> {
        let token = self.token(changes);
        self.tokens.verify(&token).await.expect("a good token")
    }

    async fn outcome(&self, changes: Value) -> Option<Failure> {
        self.tokens.verify(&self.token(changes)).await.err()
    }

    fn lookups(&self, outcome: &str) -> u64 {
        let labels = ["access_token", outcome];
        self.metrics
            .credential_cache
            .with_label_values(&labels)
            .get()
    }
}

fn key_set(pair: &Ed25519KeyPair) -> String {
    let x = URL_SAFE_NO_PAD.encode(pair.public_key());
    json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": x}]}).to_string()
}

fn settings(path: PathBuf) -> IssuerSettings {
    IssuerSettings {
        issuer: ISSUER.into(),
        jwks: JwksSource::File(path),
        audiences: vec!["other".into(), "api".into()],
        algorithms: vec![SignatureAlgorithm::Ed25519],
        token_type: TokenType::AccessToken,
        clock_skew: Duration::from_secs(60),
        max_lifetime: Duration::from_secs(24 * 3600),
        revocation: IssuerRevocation::Log,
    }
}

fn refused(refusal: Refusal) -> Option<Failure> {
    Some(Failure::Refused(refusal))
}

#[tokio::test]
async fn a_token_becomes_an_identity_qualified_by_its_issuer() {
    let bench = Bench::new();
    let token = bench
        .verified(json!({"acct": "acme", "fam": "g-1", "nbf": NOW - 5}))
        .await;
    let expected = crate::auth::principal::Identity {
        kind: CredentialKind::AccessToken,
        credential_id: crate::id::CredentialId::parse("t-1").expect("an id"),
        subject: "https://idp.example|alice".into(),
        account: Some(crate::id::AccountId::parse("acme").expect("an id")),
        client_id: Some("app".into()),
        issuer: Some(ISSUER.into()),
        resource: None,
        grant: Some("g-1".into()),
        jti: Some("t-1".into()),
        issued_at: Timestamp::from_secs(NOW),
        scopes: crate::scope::ScopeSet::parse("domains:read vps:read").expect("scopes"),
        environment: Environment::Live,
        allowed_ips: Vec::new(),
        not_before: Some(Timestamp::from_secs(NOW - 5)),
        expires_at: Some(Timestamp::from_secs(NOW + 3600)),
    };
    assert_eq!(**token.identity, expected);
    assert_eq!(token.identity.issued_at, Timestamp::from_secs(NOW));
    assert_eq!(token.identity.jti.as_deref(), Some("t-1"));
    assert_eq!(token.identity.grant.as_deref(), Some("g-1"));
    assert_eq!(token.revocation, IssuerRevocation::Log);
}

#[tokio::test]
async fn a_token_without_a_usable_jti_is_named_by_its_hash() {
    let bench = Bench::new();
    for jti in [json!(null), json!("has a space"), json!("")] {
        let token = bench.verified(json!({ "jti": jti })).await;
        let id = token.identity.credential_id.as_str();
        assert!(id.starts_with("jwt_") && id.len() == 20, "{jti}: {id}");
        // What the issuer called it is still what a denial by `jti` is compared to.
        assert_eq!(token.identity.jti.as_deref(), jti.as_str());
    }
}

#[tokio::test]
async fn nothing_of_a_token_is_shown() {
    let bench = Bench::new();
    let shown = format!("{:?} {:?}", bench.verified(json!({})).await, bench.tokens);
    assert!(
        !shown.contains("alice") && !shown.contains("eyJ"),
        "{shown}"
    );
}

#[tokio::test]
async fn expiry_is_strict_with_the_skew_on_both_sides() {
    let bench = Bench::new();
    let times = |exp, iat, nbf| json!({"exp": NOW + exp, "iat": NOW + iat, "nbf": NOW + nbf});
    // RFC 7519 §4.1.4: "on or after" is too late, so the last good second is the one before.
    assert_eq!(bench.outcome(times(-59, -100, -100)).await, None);
    assert_eq!(
        bench.outcome(times(-60, -100, -100)).await,
        refused(Refusal::Expired)
    );
    assert_eq!(
        bench.outcome(times(-61, -100, -100)).await,
        refused(Refusal::Expired)
    );
    assert_eq!(bench.outcome(times(100, 60, 0)).await, None);
    assert_eq!(
        bench.outcome(times(100, 61, 0)).await,
        refused(Refusal::NotYetValid)
    );
    assert_eq!(bench.outcome(times(100, 0, 60)).await, None);
    assert_eq!(
        bench.outcome(times(100, 0, 61)).await,
        refused(Refusal::NotYetValid)
    );
    let fraction = json!({"exp": NOW as f64 - 59.5});
    assert_eq!(bench.outcome(fraction).await, None);
}

#[tokio::test]
async fn a_token_lives_no_longer_than_its_issuer_may_let_it() {
    let bench = Bench::new();
    assert_eq!(bench.outcome(json!({"exp": NOW + 86_400})).await, None);
    assert_eq!(
        bench.outcome(json!({"exp": NOW + 86_401})).await,
        refused(Refusal::Lifetime)
    );
    let bench = Bench::any_type();
    let undated = |exp: i64| json!({"iat": null, "exp": NOW + exp});
    assert_eq!(bench.outcome(undated(86_400)).await, None);
    assert_eq!(
        bench.outcome(undated(86_401)).await,
        refused(Refusal::Lifetime)
    );
}

#[tokio::test]
async fn an_undated_token_counts_as_issued_as_early_as_it_can_have_been() {
    let strict = Bench::new();
    assert_eq!(
        strict.outcome(json!({"iat": null})).await,
        refused(Refusal::Claims)
    );
    let token = Bench::any_type().verified(json!({"iat": null})).await;
    assert_eq!(
        token.identity.issued_at,
        Timestamp::from_secs(NOW + 3600 - 86_400)
    );
}

#[tokio::test]
async fn a_bound_token_is_no_bearer_token() {
    let outcome = Bench::new().outcome(json!({"cnf": {"jkt": "x"}})).await;
    assert_eq!(outcome, refused(Refusal::ProofRequired));
}

#[tokio::test]
async fn a_token_for_another_audience_is_refused() {
    let bench = Bench::new();
    for aud in [
        json!("API"),
        json!("api/"),
        json!([]),
        json!(["ap", "apis"]),
    ] {
        let outcome = bench.outcome(json!({ "aud": aud })).await;
        assert_eq!(outcome, refused(Refusal::Audience), "{aud}");
    }
    assert_eq!(bench.outcome(json!({"aud": ["x", "other"]})).await, None);
}

#[tokio::test]
async fn only_the_type_of_an_access_token_is_taken() {
    let bench = Bench::new();
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt"] {
        let token = bench.token_of(&json!({"alg": "EdDSA", "typ": typ}), json!({}));
        assert!(bench.tokens.verify(&token).await.is_ok(), "{typ}");
    }
    for typ in [
        json!("JWT"),
        json!("at"),
        json!("text/at+jwt"),
        json!("logout+jwt"),
        json!(""),
    ] {
        let token = bench.token_of(&json!({"alg": "EdDSA", "typ": typ}), json!({}));
        let outcome = bench.tokens.verify(&token).await.err();
        assert_eq!(outcome, refused(Refusal::TokenType), "{typ}");
    }
    let untyped = bench.token_of(&json!({"alg": "EdDSA"}), json!({}));
    assert_eq!(
        bench.tokens.verify(&untyped).await.err(),
        refused(Refusal::TokenType)
    );
}

#[tokio::test]
async fn an_issuer_without_types_must_tell_access_tokens_by_a_claim() {
    let bench = Bench::any_type();
    let bare = |changes: Value| {
        let mut all = json!({"client_id": null, "scope": null});
        let members = changes.as_object().expect("an object").clone();
        all.as_object_mut().expect("an object").extend(members);
        all
    };
    assert_eq!(
        bench.outcome(bare(json!({}))).await,
        refused(Refusal::TokenType)
    );
    for claim in ["client_id", "azp", "scope", "scp"] {
        assert_eq!(
            bench.outcome(bare(json!({ claim: "x" }))).await,
            None,
            "{claim}"
        );
    }
    for claim in ["at_hash", "c_hash"] {
        let id_token = json!({"azp": "x", claim: "x"});
        assert_eq!(
            bench.outcome(id_token).await,
            refused(Refusal::TokenType),
            "{claim}"
        );
    }
    for typ in [
        "logout+jwt",
        "dpop+jwt",
        "application/secevent+jwt",
        "portcullis+jwt",
    ] {
        let token = bench.token_of(&json!({"alg": "EdDSA", "typ": typ}), json!({}));
        let outcome = bench.tokens.verify(&token).await.err();
        assert_eq!(outcome, refused(Refusal::TokenType), "{typ}");
    }
}

#[tokio::test]
async fn an_issuer_without_types_names_no_account() {
    let token = Bench::any_type().verified(json!({"acct": "acme"})).await;
    assert_eq!(token.identity.account, None);
}

#[tokio::test]
async fn row_93_a_cached_token_ends_with_its_exp() {
    let bench = Bench::new();
    let token = bench.token(json!({"exp": NOW + 100}));
    assert!(bench.tokens.verify(&token).await.is_ok());
    bench.clock.advance(Duration::from_millis(159_999));
    assert!(bench.tokens.verify(&token).await.is_ok());
    bench.clock.advance(Duration::from_millis(1));
    let outcome = bench.tokens.verify(&token).await.err();
    assert_eq!(outcome, refused(Refusal::Expired));
    assert_eq!((bench.lookups("miss"), bench.lookups("hit")), (1, 2));
}

#[tokio::test]
async fn row_92_the_same_token_is_verified_once_and_another_is_not_found_under_it() {
    let bench = Bench::new();
    let token = bench.token(json!({}));
    let first = bench.tokens.verify(&token).await.expect("good");
    let again = bench.tokens.verify(&token).await.expect("good");
    assert!(Arc::ptr_eq(&first, &again));
    let (signed, _) = token.rsplit_once('.').expect("three parts");
    let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode([7; 64]));
    let outcome = bench.tokens.verify(&forged).await.err();
    assert_eq!(outcome, refused(Refusal::Signature));
    assert_eq!((bench.lookups("miss"), bench.lookups("hit")), (2, 1));
}

#[tokio::test]
async fn a_refused_token_is_not_cached() {
    let bench = Bench::new();
    let early = bench.token(json!({"nbf": NOW + 100}));
    let outcome = bench.tokens.verify(&early).await.err();
    assert_eq!(outcome, refused(Refusal::NotYetValid));
    bench.clock.advance(Duration::from_secs(40));
    assert!(bench.tokens.verify(&early).await.is_ok());
}

#[tokio::test]
async fn what_cannot_be_a_token_is_not_looked_up() {
    let bench = Bench::new();
    let outcome = bench.tokens.verify(&"a".repeat(MAX_LEN + 1)).await.err();
    assert_eq!(outcome, refused(Refusal::Malformed));
    assert_eq!((bench.lookups("miss"), bench.lookups("hit")), (0, 0));
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_with_the_file_in_the_message() {
    let build = |issuers: &[IssuerSettings]| {
        let metrics = Arc::new(Metrics::new());
        let clock = Clock::system();
        let built = AccessTokens::new(issuers, clock, &metrics, &Handle::current(), 10);
        built.map(|_| ()).expect_err("refused").to_string()
    };
    let missing = settings("/nonexistent/jwks.json".into());
    assert_eq!(
        build(&[missing]),
        "the key set /nonexistent/jwks.json cannot be read"
    );
    let empty = NamedTempFile::new().expect("a file");
    let text = format!("the key set {} cannot be used", empty.path().display());
    assert_eq!(build(&[settings(empty.path().into())]), text);
    let bench_file = NamedTempFile::new().expect("a file");
    let pair = Ed25519KeyPair::generate().expect("a key");
    std::fs::write(&bench_file, key_set(&pair)).expect("written");
    let twice = [
        settings(bench_file.path().into()),
        settings(bench_file.path().into()),
    ];
    assert_eq!(
        build(&twice),
        "the issuer https://idp.example is configured twice"
    );
    let mut clear = settings(PathBuf::new());
    clear.jwks = JwksSource::Url {
        url: "http://idp.example/jwks".into(),
        ca: None,
    };
    let text = "the key set URL of the issuer https://idp.example cannot be used";
    assert_eq!(build(&[clear]), text);
}
