//! Instructions of each stage of a request, without any IO: counted by callgrind, held against
//! tests/data/costs.tsv.
//!
//! `cargo test --release --bench stages` (valgrind must be there). The program runs itself under
//! valgrind; each stage runs inside [`counted_stage`], where callgrind begins and ends a count.

use std::collections::VecDeque;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::pin::pin;
use std::process::Command;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use portcullis::auth::{
    Authenticator, Credential, IssuerRevocation, IssuerSettings, JwksSource, SignatureAlgorithm,
    TokenType,
};
use portcullis::clock::Clock;
use portcullis::edge::ConnectionLimits;
use portcullis::edge::cost::WireGuard;
use portcullis::environment::Environment;
use portcullis::gateway::cost::{Outbound, RequestIds, clean_response};
use portcullis::gateway::{
    Access, Asked, CHECKS, Caller, CanonicalPath, Challenging, PathPattern, Resolved,
    RouteSettings, RouteTable,
};
use portcullis::observe::Metrics;
use portcullis::scope::ScopeSet;
use portcullis::secret::Pepper;
use portcullis::token::OpaqueFormat;
use portcullis::upstream::{Endpoint, HostHeader, IdentityMode, Protocol, UpstreamSettings};

mod fixture;
#[path = "../tests/costs/table.rs"]
mod table;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Where requests are from.
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// How often each stage runs within one count.
const TIMES: u32 = 1_000;
/// valgrind hides AVX-512 and the like from the program, but compilers and libraries differ.
const SLACK: f64 = 10.0;
const HEAD: &str = "GET /v1/domains/example.com?include=records HTTP/1.1\r\nhost: api.osir.com\r\n\
     user-agent: osir-cli/2.4.1\r\naccept: application/json\r\naccept-encoding: gzip\r\nx-api-key: ";

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("stages") => run_all(),
        _ => count(),
    }
}

/// Runs this program under callgrind: a dump for each call of [`counted_stage`], in the order of the
/// names that it prints.
fn count() {
    let folder = tempfile::tempdir().expect("a folder");
    let ran = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--quiet",
            "--zero-before=stages::counted_stage",
            "--dump-after=stages::counted_stage",
        ])
        .arg(format!(
            "--callgrind-out-file={}",
            folder.path().join("calls").display()
        ))
        .arg(std::env::current_exe().expect("this program"))
        .arg("stages")
        .stderr(std::process::Stdio::inherit())
        .output()
        .expect("valgrind starts: apt-get install valgrind");
    assert!(ran.status.success(), "{ran:?}");
    let names = String::from_utf8(ran.stdout).expect("UTF-8");
    let figures: Vec<(String, f64)> = names
        .lines()
        .zip(1..)
        .map(|(name, number)| {
            let dump = folder.path().join(format!("calls.{number}"));
            (name.to_owned(), instructions(&dump) / f64::from(TIMES))
        })
        .collect();
    assert!(!figures.is_empty(), "no stage ran");
    table::hold("instructions of a stage", SLACK, &figures);
}

fn instructions(dump: &Path) -> f64 {
    let text = std::fs::read_to_string(dump).expect("callgrind wrote a dump for each stage");
    let totals = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let total = totals.and_then(|count| count.trim().parse().ok());
    total.expect("a dump has totals")
}

/// One count: what happens in here and in nothing else.
#[inline(never)]
fn counted_stage(stage: &mut dyn FnMut()) {
    for _ in 0..TIMES {
        stage();
    }
}

/// Caches are filled and lazy parts are made before the count.
fn stage(name: &str, mut work: impl FnMut()) {
    for _ in 0..50 {
        work();
    }
    counted_stage(&mut work);
    // Behind the call also so that it is none in tail position, whose end callgrind does not see.
    println!("{name}");
}

fn run_all() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let bench = runtime.block_on(Bench::prepare(folder.path()));
    let _inside = runtime.enter();
    bench.wire_guard();
    routes();
    bench.credentials();
    bench.authorize();
    bench.forward();
    responses();
}

/// An authenticator that knows one key and one token.
struct Bench {
    pepper: Pepper,
    authenticator: Authenticator,
    key: String,
    token: String,
}

impl Bench {
    fn wire_guard(&self) {
        let long = Duration::from_secs(60);
        let limits = ConnectionLimits {
            connections: 100,
            connections_per_address: 100,
            handshake: long,
            header: long,
            idle: long,
            body_idle: long,
            header_bytes: 16 * 1024,
            header_count: 100,
            uri_bytes: 4 * 1024,
            h2_streams: 100,
        };
        let mut guard = WireGuard::new(&limits);
        let head = format!("{HEAD}{}\r\n\r\n", self.key);
        stage("wire guard, a head", || {
            assert_eq!(guard.scan(black_box(head.as_bytes())), head.len());
        });
    }

    fn credentials(&self) {
        let format = OpaqueFormat::new("osir");
        let key = fields(&[("x-api-key", &self.key)]);
        let bearer = format!("Bearer {}", self.token);
        let token = fields(&[("authorization", &bearer)]);
        stage("extract a key", || {
            black_box(Credential::extract(&key, self.authenticator.form()).expect("one key"));
        });
        stage("shape and checksum of a key", || {
            black_box(format.shape(black_box(&self.key)));
        });
        stage("digest of a key", || {
            black_box(self.pepper.digest(black_box(&self.key)));
        });
        stage("authenticate a cached key", || {
            black_box(self.authenticate(&key));
        });
        stage("authenticate a cached token", || {
            black_box(self.authenticate(&token));
        });
    }

    fn authenticate(&self, headers: &HeaderMap) -> Caller {
        let credential = Credential::extract(headers, self.authenticator.form()).expect("one");
        let verdict = at_once(self.authenticator.authenticate(credential, HERE, None));
        Caller::Known(verdict.expect("a good one"))
    }

    fn authorize(&self) {
        let Caller::Known(principal) = self.authenticate(&fields(&[("x-api-key", &self.key)]))
        else {
            unreachable!("a key is somebody's");
        };
        let table = table_of(8);
        let Resolved::Route(route) = table.resolve("api.osir.com", "/v1/service-7", &Method::GET)
        else {
            unreachable!("the table has it");
        };
        let asked = Asked {
            route,
            client: client(),
            upstream: Environment::Live,
        };
        stage("authorize", || {
            let allowed = CHECKS
                .iter()
                .all(|check| check.allows(black_box(&asked), black_box(&principal)));
            assert!(allowed);
        });
    }

    fn forward(&self) {
        let received = fields(&[
            ("host", "api.osir.com"),
            ("user-agent", "osir-cli/2.4.1"),
            ("accept", "application/json"),
            ("accept-encoding", "gzip"),
            ("x-api-key", &self.key),
        ]);
        let ids = RequestIds::of_a_worker();
        stage("request id", || {
            black_box(ids.of(black_box(&received), self.authenticator.form()));
        });
        let id = ids.of(&received, self.authenticator.form());
        let caller = self.authenticate(&received);
        let outbound = Outbound::new(upstream());
        let address = HeaderValue::try_from(client().to_string()).expect("visible ASCII");
        let mut copies = copies(&received);
        stage("fields for the upstream", || {
            let received = copies.pop_front().expect("one for each time");
            let fields = outbound.fields(received, &address, &caller, &id);
            black_box(fields.expect("a good host"));
        });
    }
}

fn routes() {
    let path = "/v1/service-7/example.com";
    stage("canonical path", || {
        black_box(CanonicalPath::parse(black_box(path)).expect("canonical"));
    });
    for size in [8, 1_000] {
        let table = table_of(size);
        stage(&format!("resolve among {size} routes"), || {
            let resolved = table.resolve(black_box("api.osir.com"), black_box(path), &Method::GET);
            assert!(matches!(resolved, Resolved::Route(_)));
        });
    }
}

fn responses() {
    let answer = fields(&[
        ("content-type", "application/json"),
        ("date", "Tue, 24 Nov 2026 11:00:00 GMT"),
        ("content-length", "600"),
    ]);
    let mut copies = copies(&answer);
    stage("response hygiene", || {
        let headers = copies.front_mut().expect("one for each time");
        clean_response(black_box(headers));
        copies.rotate_left(1);
    });
}

/// Copies, one for each time that a stage runs, warm-up included.
fn copies(headers: &HeaderMap) -> VecDeque<HeaderMap> {
    (0..TIMES + 50).map(|_| headers.clone()).collect()
}

fn fields(fields: &[(&'static str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&'static str, &str)| {
        let value = HeaderValue::from_str(value).expect("visible ASCII");
        (HeaderName::from_static(name), value)
    };
    fields.iter().map(field).collect()
}

fn client() -> IpAddr {
    Ipv4Addr::LOCALHOST.into()
}

/// What is cached is there at once, but for the moments in which the cache does its own work.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        std::thread::yield_now();
    }
}

fn table_of(routes: usize) -> RouteTable {
    let route = |number| RouteSettings {
        name: format!("service-{number}"),
        hosts: Vec::new(),
        pattern: PathPattern::Prefix(format!("/v1/service-{number}")),
        methods: vec![Method::GET],
        access: Access::Scopes(ScopeSet::parse("domains:read").expect("valid")),
        upstream: 0,
        strip_prefix: None,
        timeout: None,
        max_body: None,
        trailers: false,
    };
    let routes: Vec<RouteSettings> = (0..routes).map(route).collect();
    RouteTable::new(
        &routes,
        &Challenging {
            realm: "osir",
            resources: &[],
        },
        &Metrics::new(),
    )
    .expect("no two are the same")
}

fn upstream() -> UpstreamSettings {
    let long = Duration::from_secs(60);
    UpstreamSettings {
        name: "domains".into(),
        endpoints: vec![Endpoint {
            protocol: Protocol::Http,
            host: "127.0.0.1".into(),
            port: 80,
        }],
        ca: None,
        timeout: long,
        connect_timeout: long,
        idle_timeout: long,
        keep_alive: long,
        environment: Environment::Live,
        identity: IdentityMode::Headers,
        host: HostHeader::Preserve,
        forward_credential: false,
    }
}

const ISSUER: &str = "https://idp.example";

impl Bench {
    async fn prepare(folder: &Path) -> Bench {
        let signing = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
        let issuers = [issuer(&signing, &folder.join("jwks.json"))];
        let (authenticator, key) = fixture::authenticator(folder, &issuers).await;
        let bench = Bench {
            token: token(&signing, Clock::system().now().as_secs()),
            pepper: fixture::pepper(),
            authenticator,
            key: key.expose().to_owned(),
        };
        bench.fill_caches().await;
        bench
    }

    async fn fill_caches(&self) {
        let bearer = format!("Bearer {}", self.token);
        for headers in [
            fields(&[("x-api-key", &self.key)]),
            fields(&[("authorization", &bearer)]),
        ] {
            let credential = Credential::extract(&headers, self.authenticator.form()).expect("one");
            let verdict = self
                .authenticator
                .authenticate(credential, HERE, None)
                .await;
            verdict.expect("a good one");
        }
    }
}

fn issuer(signing: &rcgen::KeyPair, jwks: &Path) -> IssuerSettings {
    let point = signing.public_key_raw();
    let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
    let keys = serde_json::json!({ "keys": [{
        "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "key-1",
        "x": part(1..33), "y": part(33..65),
    }] });
    std::fs::write(jwks, keys.to_string()).expect("writable");
    IssuerSettings {
        issuer: ISSUER.into(),
        jwks: JwksSource::File(jwks.to_owned()),
        audiences: vec!["api".into()],
        algorithms: vec![SignatureAlgorithm::Es256],
        token_type: TokenType::AccessToken,
        clock_skew: Duration::from_secs(60),
        max_lifetime: Duration::from_secs(24 * 3_600),
        revocation: IssuerRevocation::Log,
    }
}

fn token(signing: &rcgen::KeyPair, now: i64) -> String {
    let claims = serde_json::json!({
        "iss": ISSUER, "aud": "api", "sub": "user-7", "client_id": "app-1", "jti": "jti-1",
        "iat": now, "exp": now + 3_600, "scope": "domains:read domains:write",
    });
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256);
    header.typ = Some("at+jwt".into());
    header.kid = Some("key-1".into());
    let key = jsonwebtoken::EncodingKey::from_ec_der(signing.serialized_der());
    jsonwebtoken::encode(&header, &claims, &key).expect("signed")
}
