//! Access tokens of one or more issuers, set up from keys.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use portcullis::auth::{
    AccessTokens, Failure, IssuerRevocation, IssuerSettings, JwksSource, Refusal,
    SignatureAlgorithm, TokenType,
};
use portcullis::clock::{Clock, Timestamp};
use portcullis::observe::Metrics;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::runtime::Handle;

use crate::jwks_issuer::{SigningKey, key_set};

pub(crate) const ISSUER: &str = "https://idp.example";
pub(crate) const NOW: i64 = 1_790_000_000;
pub(crate) const KID: &str = "main";

pub(crate) struct Bench {
    pub(crate) tokens: AccessTokens,
    pub(crate) metrics: Arc<Metrics>,
    _files: Vec<NamedTempFile>,
}

impl Bench {
    /// One issuer that has these keys in a file, each under [`KID`] and its place.
    pub(crate) fn with_keys(keys: &[&SigningKey]) -> Bench {
        let ids = std::iter::once(KID.to_owned()).chain((1..).map(|place| place.to_string()));
        let keys: Vec<Value> = keys.iter().zip(ids).map(|(key, id)| key.jwk(&id)).collect();
        Bench::with_key_sets(&[(ISSUER, key_set(&keys))])
    }

    pub(crate) fn with_key_sets(issuers: &[(&str, String)]) -> Bench {
        let mut files = Vec::new();
        let settings = issuers.iter().map(|(issuer, keys)| {
            let file = NamedTempFile::new().expect("a file");
            std::fs::write(&file, keys).expect("written");
            let path: PathBuf = file.path().into();
            files.push(file);
            settings(issuer, JwksSource::File(path))
        });
        let settings: Vec<IssuerSettings> = settings.collect();
        Bench {
            _files: files,
            ..Bench::of(&settings)
        }
    }

    pub(crate) fn of(settings: &[IssuerSettings]) -> Bench {
        let metrics = Arc::new(Metrics::new());
        let clock = Clock::manual(Timestamp::from_secs(NOW));
        let tokens = AccessTokens::new(settings, clock, &metrics, &Handle::current(), 1000);
        Bench {
            tokens: tokens.expect("valid settings"),
            metrics,
            _files: Vec::new(),
        }
    }

    pub(crate) async fn failure(&self, token: &str) -> Option<Failure> {
        self.tokens.verify(token).await.err()
    }

    pub(crate) async fn assert_accepts(&self, token: &str) {
        assert_eq!(self.failure(token).await, None);
    }

    /// The refusal is one of these: 401, whichever check is the first to see it.
    pub(crate) async fn assert_refuses(&self, token: &str, refusals: &[Refusal], case: &str) {
        match self.failure(token).await {
            Some(Failure::Refused(refusal)) if refusals.contains(&refusal) => {}
            other => panic!("{case}: {other:?}, not one of {refusals:?}"),
        }
    }

    pub(crate) fn fetches(&self, outcome: &str) -> u64 {
        let labels = [ISSUER, outcome];
        self.metrics.jwks_fetches.with_label_values(&labels).get()
    }
}

pub(crate) fn settings(issuer: &str, jwks: JwksSource) -> IssuerSettings {
    IssuerSettings {
        issuer: issuer.into(),
        jwks,
        audiences: vec!["api".into()],
        algorithms: vec![
            SignatureAlgorithm::Rs256,
            SignatureAlgorithm::Ps256,
            SignatureAlgorithm::Es256,
            SignatureAlgorithm::Es384,
            SignatureAlgorithm::Ed25519,
        ],
        token_type: TokenType::AccessToken,
        clock_skew: Duration::from_secs(60),
        max_lifetime: Duration::from_secs(24 * 3600),
        revocation: IssuerRevocation::Log,
    }
}

pub(crate) fn header(alg: &str) -> String {
    json!({"alg": alg, "kid": KID, "typ": "at+jwt"}).to_string()
}

pub(crate) fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": "api", "sub": "alice", "exp": NOW + 3600, "iat": NOW,
        "jti": "t-1", "client_id": "app", "scope": "domains:read",
    })
}

/// A token as it should be.
pub(crate) fn good(key: &SigningKey) -> String {
    key.token(&header(key.name()), claims().to_string())
}
