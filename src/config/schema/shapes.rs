//! The sections of `gateway.yaml`, key by key. The doc comments are what editors show.

#![expect(dead_code, reason = "the shapes are only described, never built")]

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::redis::Redis;
use super::values::{
    Access, AccessLog, Algorithm, Audience, AuditCopy, Checksum, Duration, Environment, Host,
    Identity, Login, Method, PlaintextCredentials, Revocation, Secret, SigningAlgorithm, Size,
    TokenType,
};

/// Portcullis: gateway.yaml
///
/// Relative paths are relative to the folder of this file.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Gateway {
    /// What is listened on.
    listen: Option<Listen>,
    /// The server's own certificates.
    tls: Tls,
    /// Where credentials live: one of `embedded` (the default) and `redis`.
    store: Option<Store>,
    /// How API keys look, are kept and are cached.
    credentials: Credentials,
    /// What becomes of a credential that is seen in clear text: reported, or also revoked.
    #[schemars(extend("default" = "report"))]
    plaintext_credentials: Option<PlaintextCredentials>,
    /// The issuers whose JWT access tokens are accepted.
    #[schemars(length(min = 1))]
    access_tokens: Option<Vec<Issuer>>,
    /// Temporary access that a key or an access token gives to others.
    sessions: Option<Sessions>,
    /// The gateway's own authorization server; it needs an entry of `access_tokens` with `builtin`.
    oauth: Option<OAuth>,
    /// Every scope there is: its name, and what it lets its holder do.
    scopes: Option<BTreeMap<String, String>>,
    /// Groups of equal servers, by name.
    #[schemars(extend("minProperties" = 1))]
    upstreams: BTreeMap<String, Upstream>,
    /// The policy: which requests go where, and who may make them.
    #[schemars(length(min = 1))]
    routes: Vec<Route>,
    /// Peers whose `X-Forwarded-…` and `Forwarded` are believed: addresses or networks.
    #[schemars(length(min = 1))]
    trusted_proxies: Option<Vec<String>>,
    /// Bounds on sizes and counts.
    limits: Option<Limits>,
    /// Bounds on waiting for clients.
    timeouts: Option<Timeouts>,
    /// Where access-log lines go: `stdout`, `off`, or `{ file: path }`.
    #[schemars(extend("default" = "stdout"))]
    access_log: Option<AccessLog>,
    /// The file that audit lines are appended to.
    #[schemars(extend("default" = "data/audit.jsonl"))]
    audit_log: Option<String>,
    /// Where audit lines go besides their file.
    audit_copy: Option<AuditCopy>,
    /// The admin API's token; needed where `listen.admin` is a TCP address.
    admin_token: Option<Secret>,
    /// The signed tokens for upstreams with `identity: jwt`.
    internal_token: Option<InternalToken>,
    /// How many workers serve requests; one per core where it is left out.
    #[schemars(range(min = 1, max = 1024))]
    workers: Option<u32>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct InternalToken {
    /// The P-256 private key (PEM) that signs them, the same on every gateway of a fleet; where
    /// `internal_token` is left out, one that lives as long as the process.
    key: String,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Listen {
    /// The API, TLS only.
    #[schemars(extend("default" = "0.0.0.0:8443"))]
    https: Option<String>,
    /// Clear text: answers 426 and nothing else. Off where it is left out.
    http: Option<String>,
    /// `/metrics`, `/healthz`, `/readyz` and `/version`; `off` for none.
    #[schemars(extend("default" = "127.0.0.1:9090"))]
    metrics: Option<String>,
    /// The admin API: `unix:PATH`, a loopback address (then `admin_token` is needed), or `off`.
    #[schemars(extend("default" = "unix:data/admin.sock"))]
    admin: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Tls {
    /// Chosen by SNI; the first is for clients that send none.
    #[schemars(length(min = 1))]
    certificates: Vec<Certificate>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Certificate {
    /// PEM file of the certificate chain, leaf first.
    cert: String,
    /// PEM file of its private key: PKCS#8, PKCS#1 or SEC1, not encrypted.
    key: String,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("minProperties" = 1, "maxProperties" = 1))]
struct Store {
    /// The file of the embedded store, for one gateway; made when missing.
    #[schemars(extend("default" = "data/portcullis.redb"))]
    embedded: Option<String>,
    /// Redis 7, shared by a fleet: a server, a primary that sentinels watch, or a Cluster.
    redis: Option<Redis>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Credentials {
    /// The name of the API in the `WWW-Authenticate` challenge.
    realm: String,
    /// The first part of every key: `osir` in `osir_live_…`.
    #[schemars(regex(pattern = "^[a-z0-9]{1,16}$"))]
    prefix: String,
    /// The HMAC key for secrets at rest: `{ file: path }` or `${env:NAME}`, never the value itself.
    pepper: Secret,
    /// The pepper before, while what was hashed with it moves to the current one on use.
    previous_pepper: Option<Secret>,
    /// The pepper to come: what other gateways of the fleet make under it is accepted already.
    next_pepper: Option<Secret>,
    /// Whether a key must carry a valid checksum; `optional` is for keys that an older API gave out.
    #[schemars(extend("default" = "required"))]
    checksum: Option<Checksum>,
    /// How long what is known may be served.
    cache: Option<Cache>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Cache {
    /// The most entries in each of the caches. As many keys are read from the embedded store at start.
    #[schemars(range(min = 1, max = 100_000_000), extend("default" = 100_000))]
    capacity: Option<u64>,
    /// Past this age a record is refreshed in the background when it is used.
    #[schemars(extend("default" = "60s"))]
    fresh: Option<Duration>,
    /// How old the last word of the store may be before nothing is served any more.
    #[schemars(extend("default" = "5m"))]
    stale: Option<Duration>,
    /// How long an unknown key stays unknown.
    #[schemars(extend("default" = "2s"))]
    negative: Option<Duration>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Sessions {
    /// Where the endpoints are, on every host.
    #[schemars(extend("default" = "/auth/sessions"))]
    path: Option<String>,
    /// How long a session lives where nobody says so.
    #[schemars(extend("default" = "1h"))]
    ttl: Option<Duration>,
    /// The longest that may be asked for, at most 24h.
    #[schemars(extend("default" = "12h"))]
    max_ttl: Option<Duration>,
    /// Lets sessions be given in a cookie, for pages in a browser. Off where it is left out; `{}` is on.
    cookie: Option<SessionCookie>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct SessionCookie {
    /// Its name; `__Host-<prefix>_session` where it is left out.
    #[schemars(regex(pattern = r"^__Host-[A-Za-z0-9_-]{1,64}$"))]
    name: Option<String>,
    /// Origins of pages elsewhere on the same site that may use it.
    #[schemars(length(min = 1))]
    origins: Option<Vec<String>>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct OAuth {
    /// The `iss` of its tokens: an https URL, the same as in `access_tokens`.
    issuer: String,
    /// Where browsers are sent: `host` or `host:port`; the issuer's where it is left out.
    authorize_host: Option<String>,
    /// Where clients call: `host` or `host:port`; that of the first audience where it is left out.
    token_host: Option<String>,
    /// How long an access token lives.
    #[schemars(extend("default" = "1h"))]
    access_token_ttl: Option<Duration>,
    /// How long a refresh token lives.
    refresh_token: Option<RefreshToken>,
    /// What new signing keys sign with.
    #[schemars(extend("default" = "ES256"))]
    signing_algorithm: Option<SigningAlgorithm>,
    /// What is granted to a request that names no scope.
    #[schemars(length(min = 1))]
    default_scopes: Option<Vec<String>>,
    /// A page for developers, told in the metadata.
    documentation: Option<String>,
    /// Who logs users in: the gateway, or `{ delegated: { url: … } }`, a page of yours.
    #[schemars(extend("default" = "builtin"))]
    login: Option<Login>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RefreshToken {
    /// How long it lives without use.
    #[schemars(extend("default" = "30d"))]
    idle: Option<Duration>,
    /// How long it lives however often it is used.
    #[schemars(extend("default" = "90d"))]
    absolute: Option<Duration>,
    /// For how long a confidential client may ask again when an answer was lost.
    #[schemars(extend("default" = "10s"))]
    grace: Option<Duration>,
}

#[derive(JsonSchema)]
#[schemars(
    deny_unknown_fields,
    extend("oneOf" = [{ "required": ["builtin"] }, { "required": ["jwks", "algorithms"] }])
)]
struct Issuer {
    /// An https URL; compared to `iss` byte for byte.
    issuer: String,
    /// Its public keys: an https URL, or the path of a file. Not beside `builtin`.
    jwks: Option<String>,
    /// The gateway's own authorization server: needs no `jwks` and no `algorithms`.
    builtin: Option<bool>,
    /// PEM file of the CA for the `jwks` URL; the public ones where it is left out.
    ca: Option<String>,
    /// What `aud` must hold; one of them is enough.
    audience: Audience,
    /// The only signature algorithms its tokens may use.
    #[schemars(length(min = 1))]
    algorithms: Option<Vec<Algorithm>>,
    /// What the `typ` header must say: `at+jwt` (RFC 9068), or `any` for older identity providers.
    #[schemars(extend("default" = "at+jwt"))]
    token_type: Option<TokenType>,
    /// The allowed difference of clocks.
    #[schemars(extend("default" = "60s"))]
    clock_skew: Option<Duration>,
    /// The longest accepted `exp - iat`.
    #[schemars(extend("default" = "24h"))]
    max_lifetime: Option<Duration>,
    /// Whether its tokens can be revoked here (`log`), or pass to their `exp` (`none`).
    #[schemars(extend("default" = "log"))]
    revocation: Option<Revocation>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Upstream {
    /// `http://host:port`, `https://host:port`, or `h2c://host:port` (HTTP/2 without TLS).
    #[schemars(length(min = 1))]
    endpoints: Vec<String>,
    /// PEM file of the CA for https endpoints; the public ones where it is left out.
    ca: Option<String>,
    /// From the last byte sent to the answer's head.
    #[schemars(extend("default" = "30s"))]
    timeout: Option<Duration>,
    /// For TCP and TLS to be set up.
    #[schemars(extend("default" = "3s"))]
    connect_timeout: Option<Duration>,
    /// Between two reads of an answer's body.
    #[schemars(extend("default" = "60s"))]
    idle_timeout: Option<Duration>,
    /// How long an unused connection is kept.
    #[schemars(extend("default" = "60s"))]
    keep_alive: Option<Duration>,
    /// Live, or a sandbox: the only kind that test keys may reach.
    #[schemars(extend("default" = "live"))]
    environment: Option<Environment>,
    /// How the caller is told: `X-Auth-…` headers, one signed `X-Auth-Token`, or not at all.
    #[schemars(extend("default" = "headers"))]
    identity: Option<Identity>,
    /// Which `Host` the upstream sees: the client's, or its own.
    #[schemars(extend("default" = "preserve"))]
    host: Option<Host>,
    /// Whether the client's credential is passed on; for upstreams that cannot do without.
    #[schemars(extend("default" = false))]
    forward_credential: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("oneOf" = [{ "required": ["prefix"] }, { "required": ["path"] }]))]
struct Route {
    /// The name in logs and metrics.
    name: String,
    /// A path and everything beneath it, at a segment boundary.
    prefix: Option<String>,
    /// One path; `{name}` stands for one segment.
    path: Option<String>,
    /// Only these hosts; every host of the certificates where it is left out.
    #[schemars(length(min = 1))]
    hosts: Option<Vec<String>>,
    /// Only these methods; HEAD is not implied by GET.
    #[schemars(length(min = 1))]
    methods: Vec<Method>,
    /// Who may use it. There is no default.
    access: Access,
    /// Where its requests go: a name of `upstreams`.
    upstream: String,
    /// Cut from the beginning of the path before it is forwarded.
    strip_prefix: Option<String>,
    /// Instead of the upstream's `timeout`.
    timeout: Option<Duration>,
    /// Instead of `limits.body`.
    max_body: Option<Size>,
    /// Whether request trailers are passed on.
    #[schemars(extend("default" = false))]
    trailers: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Limits {
    /// Open connections in all.
    #[schemars(range(min = 1, max = 10_000_000), extend("default" = 20_000))]
    connections: Option<u64>,
    /// Open connections from one address (IPv6: one /64).
    #[schemars(range(min = 1, max = 10_000_000), extend("default" = 4_096))]
    connections_per_address: Option<u64>,
    /// The most bytes of a request head; past it 431.
    #[schemars(extend("default" = "64KiB"))]
    header_bytes: Option<Size>,
    /// The most fields of a request head or trailer section; past it 431.
    #[schemars(range(min = 1, max = 100), extend("default" = 100))]
    header_count: Option<u32>,
    /// The most bytes of a request target; past it 414.
    #[schemars(extend("default" = "8KiB"))]
    uri_bytes: Option<Size>,
    /// The most bytes of a request body; past it 413. Routes may set their own.
    #[schemars(extend("default" = "100MiB"))]
    body: Option<Size>,
    /// The most streams open at once on one HTTP/2 connection.
    #[schemars(range(min = 1, max = 10_000), extend("default" = 100))]
    h2_streams: Option<u32>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Timeouts {
    /// From accept to a finished TLS handshake.
    #[schemars(extend("default" = "10s"))]
    handshake: Option<Duration>,
    /// From a request head's first byte to its last.
    #[schemars(extend("default" = "10s"))]
    header: Option<Duration>,
    /// From an answer's end to the next request's first byte.
    #[schemars(extend("default" = "75s"))]
    idle: Option<Duration>,
    /// Between two reads of a request body, and for an answer's bytes to be taken.
    #[schemars(extend("default" = "30s"))]
    body: Option<Duration>,
}
