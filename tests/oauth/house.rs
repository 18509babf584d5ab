//! A gateway with an authorization server, its clients and users.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use portcullis::clock::Clock;
use portcullis::dev::certificates;
use portcullis::id::{AccountId, ClientId, LoginName, SubjectId};
use portcullis::oauth::HashedPassword;
use portcullis::observe::Metrics;
use portcullis::scope::ScopeSet;
use portcullis::secret::{Pepper, Secret};
use portcullis::store::{
    ClientAuthentication, ClientKind, ClientRecord, ClientSecret, ClientSettings, Consent,
    GrantType, PkceRule, RedisSettings, Store, StoreSettings, UserRecord,
};
use serde_json::Value;

use crate::support::{
    Answer, Gateway, REDIS_PASSWORD, RedisServer, Setup, Tls, Upstream, eventually,
};

pub const SECRET: &str = "osir_cs_a-secret-of-the-client-that-nobody-guesses";
pub const OTHER_SECRET: &str = "osir_cs_a-secret-of-the-other-client";
/// With every character that form-encoding changes.
pub const ODD_SECRET: &str = "osir_cs_a:b+c%d e&f=g/é";
pub const CALLBACK: &str = "https://yourapp.com/callback";
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub const PKCE: &str =
    "&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256";
/// What the cookie of a login begins with.
pub const LOGIN_COOKIE: &str = "__Secure-pc_login=";
pub const PASSWORD: &str = "correct horse battery";
const PEPPER_2: &str = "1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f00f";
const PEPPER_3: &str = "2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f00f1e";
const PEPPER: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";

/// The house.
pub struct House {
    pub gateway: Gateway,
    pub upstream: Upstream,
    /// The issuer's host, where browsers go.
    pub osir: Tls,
    pub redis: Option<RedisServer>,
    pub settings: StoreSettings,
    setup: Setup,
}

/// One browser on its way through an authorization.
pub struct Browser<'a> {
    house: &'a House,
    pub cookie: String,
    pub page: String,
    pub answer: Answer,
}

impl House {
    /// With the embedded store.
    pub fn start() -> House {
        House::with(None, "")
    }

    /// With Redis.
    pub fn on_redis() -> House {
        House::with(Some(RedisServer::start()), "")
    }

    /// With more settings of `oauth`.
    pub fn with(redis: Option<RedisServer>, oauth: &str) -> House {
        House::edited(redis, |yaml| {
            let plain = "oauth: { issuer: https://osir.com }";
            assert!(yaml.contains(plain), "{yaml}");
            yaml.replace(
                plain,
                &format!("oauth: {{ issuer: https://osir.com{oauth} }}"),
            )
        })
    }

    /// With another configuration, made of the usual one.
    pub fn edited(redis: Option<RedisServer>, edit: impl FnOnce(String) -> String) -> House {
        let folder = tempfile::tempdir().expect("a folder");
        prepare(folder.path());
        let settings = match &redis {
            None => StoreSettings::Embedded {
                path: folder.path().join("store.redb"),
            },
            Some(redis) => on_redis(redis),
        };
        with_store(&settings, async |store| furnish(&store).await);
        let upstream = Upstream::start();
        let mut setup = Setup::before(upstream.address).extra(
            "access_tokens: [{ issuer: https://osir.com, builtin: true, audience: https://api.osir.com }]\n\
             oauth: { issuer: https://osir.com }\n",
        );
        if let Some(redis) = &redis {
            setup.store = format!(
                "redis: {{ url: \"{}\", password: {REDIS_PASSWORD}, timeout: 1s }}",
                redis.url()
            );
        }
        let gateway = Gateway::start_in(folder, &edit(setup.yaml()));
        House {
            osir: osir(&gateway),
            gateway,
            upstream,
            redis,
            settings,
            setup,
        }
    }

    /// Another gateway of the fleet: on the same Redis, in a folder of its own.
    pub fn beside(&self) -> House {
        let folder = tempfile::tempdir().expect("a folder");
        prepare(folder.path());
        let gateway = Gateway::start_in(folder, &self.setup.yaml());
        House {
            osir: osir(&gateway),
            gateway,
            upstream: Upstream::start(),
            redis: None,
            settings: self.settings.clone(),
            setup: self.setup.clone(),
        }
    }

    /// Reloads it with other peppers: the file of the current one, and what else is said of them.
    pub fn reload(&self, current: &str, beside: &str) -> Result<(), String> {
        let yaml = self.with_peppers(current, beside);
        std::fs::write(self.gateway.path("gateway.yaml"), yaml).expect("writable");
        self.gateway.running().reload()
    }

    /// Stops it and starts it again in the same place with other peppers.
    pub fn restart(self, current: &str, beside: &str) -> House {
        let yaml = self.with_peppers(current, beside);
        let gateway = Gateway::start_in(self.gateway.stop(), &yaml);
        House {
            osir: osir(&gateway),
            gateway,
            ..self
        }
    }

    fn with_peppers(&self, current: &str, beside: &str) -> String {
        let credentials = format!("pepper: {{ file: {current} }}{beside}");
        self.setup
            .yaml()
            .replace("pepper: { file: pepper }", &credentials)
    }

    /// Does something with the store, which has to be one that others may have too.
    pub fn with_store<T>(&self, work: impl AsyncFnOnce(Arc<dyn Store>) -> T) -> T {
        with_store(&self.settings, work)
    }

    /// A POST of a form to the API's host.
    pub fn post(&self, path: &str, headers: &str, form: &str) -> Answer {
        self.gateway.send(format!(
            "POST {path} HTTP/1.1\r\nhost: api.osir.com\r\ncontent-type: application/x-www-form-urlencoded\r\n\
             content-length: {}\r\n{headers}\r\n{form}",
            form.len()
        ))
    }

    /// A POST to the token endpoint with the confidential client's secret in the form.
    pub fn token(&self, form: &str) -> Answer {
        let form = format!("{form}&client_id=client_conf&client_secret={SECRET}");
        self.post("/oauth/token", "", &form)
    }

    /// On the issuer's host.
    pub fn browse(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut client = self.osir.connect();
        client.send(request);
        client.answer()
    }

    pub fn authorize(&self, query: &str) -> Answer {
        self.browse(format!(
            "GET /oauth/authorize?{query} HTTP/1.1\r\nhost: osir.com\r\n\r\n"
        ))
    }

    /// A browser on the login page.
    pub fn browser(&self, query: &str) -> Browser<'_> {
        let answer = self.authorize(query);
        assert_eq!(answer.status, 302, "{answer:?}");
        let cookie = answer.header("set-cookie").expect("a cookie");
        let cookie = cookie.split(';').next().expect("a pair").to_owned();
        let page = answer.header("location").expect("a page").to_owned();
        let mut browser = Browser {
            house: self,
            cookie,
            page,
            answer,
        };
        browser.look();
        browser
    }

    /// A browser that comes back to a page.
    pub fn browser_again(&self, page: &str, cookie: &str) -> Browser<'_> {
        let answer = self.browse(format!(
            "GET {page} HTTP/1.1\r\nhost: osir.com\r\ncookie: {cookie}\r\n\r\n"
        ));
        Browser {
            house: self,
            cookie: cookie.to_owned(),
            page: page.to_owned(),
            answer,
        }
    }

    /// A code for the user of the tests, by login and consent.
    pub fn code(&self, query: &str) -> String {
        let mut browser = self.browser(query);
        browser.log_in("alice", PASSWORD);
        browser.decide("allow");
        parameter(&browser.answer, "code").expect("a code")
    }

    /// The usual one: the seed's request.
    pub fn seed_code(&self) -> String {
        self.code(&seed_query())
    }

    /// A whole grant: the answer of the token endpoint.
    pub fn tokens(&self) -> Value {
        let code = self.seed_code();
        let answer = self.token(&format!(
            "grant_type=authorization_code&code={code}&redirect_uri={CALLBACK}"
        ));
        assert_eq!(answer.status, 200, "{answer:?}");
        json(&answer)
    }

    /// A whole grant of the public client, which has no secret and used PKCE.
    pub fn public_tokens(&self) -> Value {
        let code = self.code(&public_query());
        let answer = self.post(
            "/oauth/token",
            "",
            &format!(
                "grant_type=authorization_code&client_id=client_pub&code={code}&code_verifier={VERIFIER}"
            ),
        );
        assert_eq!(answer.status, 200, "{answer:?}");
        json(&answer)
    }

    /// A refresh by the confidential client.
    pub fn refresh(&self, token: &str) -> Answer {
        self.token(&format!("grant_type=refresh_token&refresh_token={token}"))
    }

    /// Until an access token is refused: the gateway has heard of its end.
    pub fn is_refused(&self, access: &str) {
        eventually("the access token is dead", || {
            (self.call(access) == 401).then_some(())
        });
    }

    /// Redis takes no writes from now on, while reads go on; or both again.
    pub fn fill_up(&self, full: bool) {
        let redis = self.redis.as_ref().expect("a house on Redis");
        let most = if full { "1" } else { "0" };
        let mut tcp = TcpStream::connect(("127.0.0.1", redis.port)).expect("it listens");
        tcp.set_read_timeout(Some(Duration::from_secs(5)))
            .expect("a timeout");
        let commands = format!("AUTH {REDIS_PASSWORD}\r\nCONFIG SET maxmemory {most}\r\n");
        tcp.write_all(commands.as_bytes()).expect("it reads");
        let mut answer = [0; 10];
        tcp.read_exact(&mut answer).expect("it answers");
        assert_eq!(&answer, b"+OK\r\n+OK\r\n");
    }

    /// How often the gateway has called the store for requests, by verb.
    pub fn store_calls(&self) -> BTreeMap<String, f64> {
        // What it does by itself, whoever asks for what.
        const BACKGROUND: [&str; 5] = ["denials", "follow", "ping", "signing_keys", "touch"];
        let page = self.gateway.vitals("/metrics").body;
        let mut calls = BTreeMap::new();
        for line in page.lines() {
            let Some(rest) = line.strip_prefix(r#"portcullis_store_operations_total{op=""#) else {
                continue;
            };
            let (op, rest) = rest.split_once('"').expect("a label");
            let count: f64 = rest
                .rsplit(' ')
                .next()
                .and_then(|count| count.parse().ok())
                .expect("a count");
            if !BACKGROUND.contains(&op) && count > 0.0 {
                *calls.entry(op.to_owned()).or_default() += count;
            }
        }
        calls
    }

    /// What some work makes the gateway call the store for.
    pub fn calls_of(&self, work: impl FnOnce()) -> BTreeMap<String, f64> {
        let before = self.store_calls();
        work();
        let mut after = self.store_calls();
        for (op, count) in before {
            *after.entry(op).or_default() -= count;
        }
        after.retain(|_, count| *count > 0.0);
        after
    }

    /// The status of an API call with a token.
    pub fn call(&self, token: &str) -> u16 {
        self.gateway
            .get(&format!("authorization: Bearer {token}\r\n"))
            .status
    }
}

/// The issuer's host on a gateway.
fn osir(gateway: &Gateway) -> Tls {
    let address = gateway.running().https();
    Tls::new(address, &gateway.path("certs/ca.pem"), "osir.com")
}

fn with_store<T>(settings: &StoreSettings, work: impl AsyncFnOnce(Arc<dyn Store>) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let (clock, metrics) = (Clock::system(), Metrics::new());
        work(portcullis::store::open(settings, &clock, &metrics).expect("a store")).await
    })
}

impl<'a> Browser<'a> {
    /// The same browser, whose requests go to another gateway of the fleet from now on.
    pub fn at(self, house: &'a House) -> Browser<'a> {
        Browser { house, ..self }
    }
}

impl Browser<'_> {
    /// Loads the page.
    pub fn look(&mut self) {
        self.answer = self.house.browse(format!(
            "GET {} HTTP/1.1\r\nhost: osir.com\r\ncookie: a=b; {}\r\n\r\n",
            self.page, self.cookie
        ));
    }

    /// The form token of the page.
    pub fn form_token(&self) -> String {
        let after = self.answer.body.split(r#"name="token" value=""#).nth(1);
        let value = after.and_then(|after| after.split('"').next());
        value.unwrap_or_default().to_owned()
    }

    pub fn send(&mut self, action: &str, headers: &str, form: &str) {
        self.answer = self.house.browse(format!(
            "POST {}/{action} HTTP/1.1\r\nhost: osir.com\r\ncookie: {}\r\ncontent-type: \
             application/x-www-form-urlencoded\r\ncontent-length: {}\r\n{headers}\r\n{form}",
            self.page,
            self.cookie,
            form.len()
        ));
        self.keep_login();
    }

    /// Keeps the cookie of a login, beside the one that it has.
    fn keep_login(&mut self) {
        let set = self.answer.headers.iter();
        let mut set = set.filter(|(name, _)| name == "set-cookie");
        let login = set.find(|(_, value)| value.starts_with(LOGIN_COOKIE));
        let Some((_, login)) = login else {
            return;
        };
        let pair = login.split(';').next().expect("a pair");
        let own = self.cookie.split("; ").next().expect("a pair");
        self.cookie = format!("{own}; {pair}");
    }

    /// Logs in, and looks at the page that comes then.
    pub fn log_in(&mut self, name: &str, password: &str) {
        let (token, password) = (self.form_token(), password.replace(' ', "+"));
        let form = format!("token={token}&name={name}&password={password}");
        self.send("login", "sec-fetch-site: same-origin\r\n", &form);
        if self.answer.header("location") == Some(&self.page) {
            assert_eq!(self.answer.status, 303);
            self.look();
        }
    }

    pub fn decide(&mut self, decision: &str) {
        let form = format!("token={}&decision={decision}", self.form_token());
        self.send("decision", "sec-fetch-site: same-origin\r\n", &form);
    }
}

/// The seed's query, with `state`.
pub fn seed_query() -> String {
    format!(
        "client_id=client_conf&redirect_uri={CALLBACK}&response_type=code&scope=domains:read%20domains:write&state=s%2B1"
    )
}

/// The public client's query.
pub fn public_query() -> String {
    format!(
        "client_id=client_pub&redirect_uri=http://127.0.0.1:5001/cb&response_type=code&scope=domains:read{PKCE}"
    )
}

/// The pepper of the gateway.
pub fn pepper() -> Pepper {
    Pepper::new(PEPPER.as_bytes()).expect("strong")
}

fn on_redis(redis: &RedisServer) -> StoreSettings {
    StoreSettings::Redis(RedisSettings {
        password: Some(Secret::new(REDIS_PASSWORD)),
        timeout: Duration::from_secs(5),
        ..RedisSettings::at(redis.url())
    })
}

/// The fields of an answer that do not differ by themselves.
pub fn fields(answer: &Answer) -> Vec<(String, String)> {
    let mut fields = answer.headers.clone();
    fields.retain(|(name, _)| !matches!(name.as_str(), "date" | "x-request-id"));
    fields
}

/// Does some work on many threads that begin together.
pub fn together<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let (start, work) = (Barrier::new(count), &work);
    std::thread::scope(|scope| {
        let one = |which: usize| {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                work(which)
            })
        };
        let threads: Vec<_> = (0..count).map(one).collect();
        let joined = threads.into_iter();
        joined
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    })
}

/// Each byte escaped that any reader could take for something else.
pub fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

pub fn basic(client: &str, secret: &str) -> String {
    let pair = STANDARD.encode(format!("{client}:{secret}"));
    format!("authorization: Basic {pair}\r\n")
}

pub fn json(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("no JSON: {answer:?}"))
}

/// The `error` of an answer.
pub fn error(answer: &Answer) -> String {
    json(answer)["error"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

pub fn text(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap_or_default().to_owned()
}

/// A parameter of a redirect.
pub fn parameter(answer: &Answer, name: &str) -> Option<String> {
    parameters(answer).get(name).cloned()
}

pub fn parameters(answer: &Answer) -> BTreeMap<String, String> {
    let location = answer.header("location").unwrap_or_default();
    let query = location.split_once('?').map_or("", |(_, query)| query);
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The claims of an access token.
pub fn claims(token: &str) -> Value {
    let part = |at: usize| {
        let part = token.split('.').nth(at).expect("three parts");
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
    };
    let (header, claims): (Value, Value) = (part(0), part(1));
    serde_json::json!({ "header": header, "claims": claims })
}

fn prepare(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let hosts = ["localhost", "127.0.0.1", "api.osir.com", "osir.com"].map(String::from);
    certificates::make(&folder.join("certs"), &hosts).expect("certificates");
    for (name, text) in [
        ("pepper", PEPPER),
        ("pepper-2", PEPPER_2),
        ("pepper-3", PEPPER_3),
        ("admin-token", "an-admin-token-for-tests-only"),
    ] {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("writable");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    }
}

async fn furnish(store: &Arc<dyn Store>) {
    let all = [
        GrantType::AuthorizationCode,
        GrantType::ClientCredentials,
        GrantType::RefreshToken,
    ];
    let code = [GrantType::AuthorizationCode, GrantType::RefreshToken];
    let callbacks = [CALLBACK, "https://yourapp.com/other?x=1"];
    for client in [
        client("client_conf", SECRET, &all, &callbacks),
        client("client_other", OTHER_SECRET, &all, &callbacks),
        client("client_rs", SECRET, &[], &[]),
        client("client_odd", ODD_SECRET, &all, &callbacks),
        client(
            "client_service",
            SECRET,
            &[GrantType::ClientCredentials],
            &[CALLBACK],
        ),
        ClientRecord {
            disabled_at: Some(Clock::system().now()),
            ..client("client_gone", SECRET, &all, &[CALLBACK])
        },
        ClientRecord {
            secrets: vec![
                secret("osir_cs_newer", None),
                secret("osir_cs_older", Some(Duration::from_secs(3600))),
                secret("osir_cs_ended", Some(Duration::ZERO)),
            ],
            ..client("client_two", SECRET, &all, &[CALLBACK])
        },
        public(client(
            "client_pub",
            SECRET,
            &code,
            &["http://127.0.0.1/cb"],
        )),
        with(
            client("client_trusted", SECRET, &code, &[CALLBACK]),
            |settings| {
                settings.consent = Consent::Never;
            },
        ),
        with(
            client("client_once", SECRET, &code, &[CALLBACK]),
            |settings| {
                settings.consent = Consent::Once;
                settings.name = "<b>Once</b> & co".into();
            },
        ),
        with(
            client("client_pkce", SECRET, &code, &[CALLBACK]),
            |settings| {
                settings.pkce = PkceRule::Required;
                settings.authentication = ClientAuthentication::Basic;
            },
        ),
    ] {
        let _ = store
            .create_client(client)
            .await
            .expect("the store is there");
    }
    for (name, scopes) in [
        ("alice", "domains:read domains:write"),
        ("carol", "domains:read"),
    ] {
        let record = user(name, scopes);
        let _ = store.create_user(record).await.expect("the store is there");
    }
    let bob = user("bob", "domains:read");
    let (name, now) = (bob.name.clone(), bob.created_at);
    let _ = store.create_user(bob).await.expect("the store is there");
    let _ = store
        .disable_user(&name, now)
        .await
        .expect("the store is there");
}

fn client(id: &str, secret: &str, grants: &[GrantType], redirects: &[&str]) -> ClientRecord {
    let now = Clock::system().now();
    ClientRecord {
        id: ClientId::parse(id).expect("an id"),
        kind: ClientKind::Confidential,
        settings: ClientSettings {
            name: format!("The app {id}"),
            redirects: redirects.iter().map(ToString::to_string).collect(),
            grants: grants.to_vec(),
            scopes: scopes("domains:read domains:write"),
            authentication: ClientAuthentication::AnySecret,
            pkce: PkceRule::Optional,
            consent: Consent::Always,
            account: Some(AccountId::parse("acct_client").expect("an id")),
        },
        secrets: vec![self::secret(secret, None)],
        rotation: None,
        created_at: now,
        disabled_at: None,
    }
}

/// One that ends so long from now on, or never.
fn secret(text: &str, ends_in: Option<Duration>) -> ClientSecret {
    let now = Clock::system().now();
    ClientSecret {
        digest: pepper().digest(text),
        hint: "…".into(),
        created_at: now,
        ends_at: ends_in.map(|time| now.plus(time)),
    }
}

fn public(mut client: ClientRecord) -> ClientRecord {
    client.kind = ClientKind::Public;
    client.secrets.clear();
    with(client, |settings| {
        settings.authentication = ClientAuthentication::None;
        settings.consent = Consent::Once;
    })
}

fn with(mut client: ClientRecord, change: impl FnOnce(&mut ClientSettings)) -> ClientRecord {
    change(&mut client.settings);
    client
}

fn user(name: &str, granted: &str) -> UserRecord {
    let now = Clock::system().now();
    UserRecord {
        id: SubjectId::parse(&format!("usr_{name}")).expect("an id"),
        name: LoginName::parse(name).expect("a name"),
        password: HashedPassword::new(&Secret::new(PASSWORD)).to_hash(),
        password_set_at: now,
        account: AccountId::parse("acct_user").expect("an id"),
        scopes: scopes(granted),
        created_at: now,
        disabled_at: None,
    }
}

pub fn scopes(text: &str) -> ScopeSet {
    ScopeSet::parse(text).expect("scopes")
}
