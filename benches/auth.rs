//! What authentication and authorization cost, without any network: a key's digest, its shape, a
//! cached key, and the comparison of scopes.
//!
//! `cargo bench --bench auth`

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue};

use portcullis::auth::{
    AccessTokens, Authenticator, CacheSettings, Checksum, Credential, CredentialSettings, Lease,
    Revocation,
};
use portcullis::clock::Clock;
use portcullis::environment::Environment;
use portcullis::id::{AccountId, KeyId};
use portcullis::observe::Metrics;
use portcullis::scope::ScopeSet;
use portcullis::secret::Pepper;
use portcullis::store::{self, KeyRecord, NewKey, StoreSettings};
use portcullis::token::{OpaqueFormat, OpaqueKind};

const PEPPER: &[u8] = b"0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";

fn settings() -> CredentialSettings {
    CredentialSettings {
        realm: "bench".into(),
        prefix: "osir".into(),
        pepper: Pepper::new(PEPPER).expect("strong"),
        previous_pepper: None,
        checksum: Checksum::Required,
        cache: CacheSettings {
            capacity: 100_000,
            fresh: Duration::from_secs(60),
            stale: Duration::from_secs(300),
            negative: Duration::from_secs(2),
        },
    }
}

fn parts(criterion: &mut Criterion) {
    let format = OpaqueFormat::new("osir");
    let key = format.mint(OpaqueKind::ApiKey(Environment::Live)).secret;
    let pepper = Pepper::new(PEPPER).expect("strong");
    criterion.bench_function("shape and checksum", |bench| {
        bench.iter(|| format.shape(black_box(key.expose())));
    });
    criterion.bench_function("digest", |bench| {
        bench.iter(|| pepper.digest(black_box(key.expose())))
    });
    let granted = ScopeSet::parse(
        "billing:read billing:write domains:read domains:write email:read email:write vps:read vps:write",
    );
    let granted = granted.expect("valid");
    let required = ScopeSet::parse("domains:read").expect("valid");
    criterion.bench_function("one scope of eight", |bench| {
        bench.iter(|| black_box(&required).is_subset_of(black_box(&granted)));
    });
}

/// The whole of authenticate for a key that is cached: extract, digest, cache, denials, lease.
fn cached_key(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let (authenticator, key) = runtime.block_on(prepare(folder.path()));
    let mut headers = HeaderMap::new();
    headers.insert("x-api-key", HeaderValue::from_str(&key).expect("ASCII"));
    criterion.bench_function("authenticate a cached key", |bench| {
        bench.iter(|| {
            let credential = Credential::extract(&headers, authenticator.form()).expect("one key");
            let verdict = runtime.block_on(authenticator.authenticate(credential));
            black_box(verdict.expect("a good key"))
        });
    });
}

async fn prepare(folder: &std::path::Path) -> (Authenticator, String) {
    let (clock, metrics) = (Clock::system(), Arc::new(Metrics::new()));
    let store = StoreSettings::Embedded {
        path: folder.join("store.redb"),
    };
    let store = store::open(&store, &clock, &metrics).expect("a store");
    let control = tokio::runtime::Handle::current();
    let tokens = AccessTokens::new(&[], clock.clone(), &metrics, &control, 1).expect("no issuers");
    let settings = settings();
    let revocation = Arc::new(Revocation::new(&settings.cache, &[]));
    let (authenticator, follower) = Authenticator::new(
        &settings,
        tokens,
        Arc::clone(&revocation),
        Arc::clone(&store),
        control,
        clock.clone(),
        &metrics,
    );
    tokio::spawn(follower.run());
    let minted = OpaqueFormat::new("osir").mint(OpaqueKind::ApiKey(Environment::Live));
    let record = KeyRecord {
        id: KeyId::random(),
        account: AccountId::parse("acct_1").expect("an id"),
        name: "bench".into(),
        environment: Environment::Live,
        scopes: ScopeSet::parse("domains:read").expect("valid"),
        created_at: clock.now(),
        not_before: None,
        expires_at: None,
        revoked_at: None,
        allowed_ips: Vec::new(),
        hint: minted.hint,
    };
    let digest = settings.pepper.digest(minted.secret.expose());
    let written = store
        .create_keys(vec![NewKey { digest, record }])
        .await
        .expect("written");
    assert_eq!(written.len(), 1);
    while !matches!(revocation.lease(), Lease::Fresh(_)) {
        tokio::task::yield_now().await;
    }
    (authenticator, minted.secret.expose().to_owned())
}

criterion_group!(benches, parts, cached_key);
criterion_main!(benches);
