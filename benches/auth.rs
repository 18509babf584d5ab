//! What authentication and authorization cost, without any network: a key's digest, its shape, a
//! cached key, and the comparison of scopes.
//!
//! `cargo bench --bench auth`

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue};

use portcullis::auth::Credential;
use portcullis::environment::Environment;
use portcullis::scope::ScopeSet;
use portcullis::token::{OpaqueFormat, OpaqueKind};

mod fixture;

/// Where requests are from.
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn parts(criterion: &mut Criterion) {
    let format = OpaqueFormat::new("osir");
    let key = format.mint(OpaqueKind::ApiKey(Environment::Live)).secret;
    let pepper = fixture::pepper();
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
    let (authenticator, key) = runtime.block_on(fixture::authenticator(folder.path(), &[]));
    let mut headers = HeaderMap::new();
    headers.insert(
        "x-api-key",
        HeaderValue::from_str(key.expose()).expect("ASCII"),
    );
    criterion.bench_function("authenticate a cached key", |bench| {
        bench.iter(|| {
            let credential = Credential::extract(&headers, authenticator.form()).expect("one key");
            let verdict = runtime.block_on(authenticator.authenticate(credential, HERE, None));
            black_box(verdict.expect("a good key"))
        });
    });
}

criterion_group!(benches, parts, cached_key);
criterion_main!(benches);
