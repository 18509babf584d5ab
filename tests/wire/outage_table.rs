//! The outage contract, cell by cell as docs/outage.md tells it, and a store that answers late.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use portcullis::admin::{ClientError, NewKeyBody};
use portcullis::id::KeyId;
use portcullis::store::DenialKind;
use serde_json::json;
use tokio::time::Instant;

use crate::outage::{before, unknown_key};
use crate::sessions::{deny, post, session};
use crate::support::{Answer, Gateway, REDIS_PASSWORD, RedisServer, Setup, Upstream, eventually};
use crate::tokens::Issuer;

/// The states of the store, in the order of the table's columns.
const STATES: usize = 4;
/// How long what is known is served without the store. Long enough for all of a state's requests.
const STALE: Duration = Duration::from_secs(15);

/// Rows: what a request comes with, and its status in each state.
fn table() -> Vec<(String, [u16; STATES])> {
    let page = std::fs::read_to_string("docs/outage.md").expect("the page");
    let table = page.split("| a request with |").nth(1).expect("the table");
    let rows = table.lines().skip(2).take_while(|line| !line.is_empty());
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let status = |state: usize| {
            let cell = cells[2 + state];
            let digits = cell.get(..3).and_then(|digits| digits.parse().ok());
            digits.unwrap_or_else(|| panic!("no status in {cell:?}"))
        };
        (cells[1].to_owned(), std::array::from_fn(status))
    })
    .collect()
}

/// Everything that the rows are about, made while the store is there.
struct Scene {
    gateway: Gateway,
    known: String,
    /// One for each state.
    unused: Vec<String>,
    absent: String,
    damaged: String,
    revoked: String,
    session: String,
    unused_sessions: Vec<String>,
    ended: String,
    token: String,
    denied_token: String,
    lasting_token: String,
    keyless_token: String,
    revocable: Vec<KeyId>,
}

impl Scene {
    fn set(redis: &RedisServer, upstream: &Upstream) -> Scene {
        let (log, none, keyless) = (Issuer::new(), Issuer::new(), Issuer::new());
        let gateway = start(redis, upstream, &log, &none);
        let scopes = &["domains:read"];
        let (revoked_id, revoked) = gateway.key(scopes);
        let known = gateway.key(scopes).1;
        let given = || session(&gateway, &known, &json!({}));
        let ((ended, ended_id), live) = (given(), given().0);
        let token_of = |issuer: &Issuer, name: &str, jti: &str| {
            issuer.token(|claims| {
                claims["iss"] = name.into();
                claims["jti"] = jti.into();
            })
        };
        let damaged = format!("{}{}", &known[..known.len() - 1], other(&known));
        let scene = Scene {
            unused: (0..STATES).map(|_| gateway.key(scopes).1).collect(),
            absent: unknown_key(),
            session: live,
            unused_sessions: (0..STATES).map(|_| given().0).collect(),
            token: token_of(&log, "https://idp.example", "jti-1"),
            denied_token: token_of(&log, "https://idp.example", "jti-2"),
            lasting_token: token_of(&none, "https://lasting.example", "jti-3"),
            keyless_token: token_of(&keyless, "https://keyless.example", "jti-4"),
            revocable: (0..STATES).map(|_| gateway.key(scopes).0).collect(),
            damaged,
            revoked,
            ended,
            known,
            gateway,
        };
        for credential in [&scene.revoked, &scene.ended, &scene.denied_token] {
            assert_eq!(scene.bearer(credential).status, 200);
        }
        let revocation = async |admin: portcullis::admin::AdminClient| {
            let ended_id = portcullis::id::SessionId::parse(&ended_id).expect("an id");
            admin.revoke_key(&revoked_id).await.expect("revoked");
            admin.end_session(&ended_id).await.expect("ended");
        };
        scene.gateway.operate(revocation);
        deny(redis, DenialKind::Jti, "jti-2");
        for credential in [&scene.revoked, &scene.ended, &scene.denied_token] {
            eventually("it is refused", || {
                (scene.bearer(credential).status == 401).then_some(())
            });
        }
        scene
    }

    fn bearer(&self, credential: &str) -> Answer {
        let line = format!("authorization: Bearer {credential}\r\n");
        self.gateway.get(&line)
    }

    /// The status of a row's request.
    fn ask(&self, row: &str, state: usize) -> u16 {
        let credential = match row {
            "a key used here before" => &self.known,
            "a key not used here before" => &self.unused[state],
            "a key that the store does not have" => &self.absent,
            "a key with a wrong checksum" => &self.damaged,
            "a revoked key" => &self.revoked,
            "a session used here before" => &self.session,
            "a session not used here before" => &self.unused_sessions[state],
            "a session that was ended" => &self.ended,
            "an access token, `revocation: log`" => &self.token,
            "a revoked access token" => &self.denied_token,
            "an access token, `revocation: none`" => &self.lasting_token,
            "an access token whose issuer's keys were never had" => &self.keyless_token,
            "no credential" => return checked(&self.gateway.get("")),
            "a public route" => return checked(&self.public()),
            "a key, for a new session (`POST /auth/sessions`)" => {
                return checked(&post(&self.gateway, &self.known, &json!({})));
            }
            "the admin API: `key create`, `key revoke`" => return self.operate(state),
            other => panic!("a row that nobody asks for: {other}"),
        };
        checked(&self.bearer(credential))
    }

    fn public(&self) -> Answer {
        let request = "GET /public HTTP/1.1\r\nhost: api.osir.com\r\n\r\n";
        self.gateway.send(request)
    }

    /// 200 where both are done.
    fn operate(&self, state: usize) -> u16 {
        let body = NewKeyBody {
            account: "acct_1".into(),
            name: "a test".into(),
            scopes: vec!["domains:read".into()],
            env: None,
            not_before: None,
            expires_at: None,
            allowed_ips: Vec::new(),
        };
        let revocable = &self.revocable[state];
        let created = self
            .gateway
            .operate(async |admin| admin.create_key(&body).await.map(drop));
        let revoked = self
            .gateway
            .operate(async |admin| admin.revoke_key(revocable).await.map(drop));
        let status = |done: Result<(), ClientError>| match done {
            Ok(()) => 200,
            Err(ClientError::Refused { status, .. }) => status.as_u16(),
            Err(error) => panic!("{error}"),
        };
        let (created, revoked) = (status(created), status(revoked));
        assert_eq!(created, revoked);
        created
    }
}

/// A 503 says when to come again.
fn checked(answer: &Answer) -> u16 {
    let told = answer.header("retry-after").is_some();
    assert_eq!(told, answer.status == 503, "{answer:?}");
    answer.status
}

/// Another character than the last.
fn other(key: &str) -> char {
    if key.ends_with('a') { 'b' } else { 'a' }
}

fn start(redis: &RedisServer, upstream: &Upstream, log: &Issuer, none: &Issuer) -> Gateway {
    let mut setup = before(redis, upstream)
        .routes(
            "  - { name: public, path: /public, methods: [GET], access: { public: for a test }, \
             upstream: domains }\n",
        )
        .extra(
            "access_tokens:\n  - { issuer: https://idp.example, jwks: log.json, audience: api, algorithms: [ES256] }\n  \
             - { issuer: https://lasting.example, jwks: none.json, audience: api, algorithms: [ES256], revocation: none }\n  \
             - { issuer: https://keyless.example, jwks: \"https://127.0.0.1:1/jwks.json\", audience: api, algorithms: [ES256] }\n",
        );
    let stale = STALE.as_secs();
    // An absent key is absent for the whole test, and records are refreshed in it.
    setup.credentials = format!(", cache: {{ fresh: 1s, stale: {stale}s, negative: 5m }}");
    let folder = Setup::before(upstream.address).start().stop();
    for (name, issuer) in [("log.json", log), ("none.json", none)] {
        std::fs::write(folder.path().join(name), issuer.jwks()).expect("writable");
    }
    Gateway::start_in(folder, &setup.yaml())
}

#[test]
fn each_cell_of_the_table_is_what_a_client_gets() {
    let table = table();
    assert!(table.len() >= 16, "{table:?}");
    let upstream = Upstream::start();
    let mut redis = RedisServer::start();
    let scene = Scene::set(&redis, &upstream);
    let check = |state: usize| {
        for (row, cells) in &table {
            assert_eq!(scene.ask(row, state), cells[state], "{row}, state {state}");
        }
    };
    check(0);
    redis.kill();
    let away = Instant::now();
    check(1);
    assert!(away.elapsed() < STALE, "the machine is too slow for this");
    eventually("the lease ends", || {
        (scene.bearer(&scene.known).status == 503).then_some(())
    });
    check(2);
    redis.launch();
    eventually("the log is followed again", || {
        (scene.bearer(&scene.known).status == 200).then_some(())
    });
    check(3);
}

/// Delays what the store says.
struct Relay {
    address: SocketAddr,
    delay: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
}

impl Relay {
    fn before(redis: &RedisServer) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let (delay, ended): (Arc<AtomicU64>, Arc<AtomicBool>) = Default::default();
        let (to, late, over) = (redis.port, Arc::clone(&delay), Arc::clone(&ended));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else {
                    continue;
                };
                let ways = |stream: &TcpStream| stream.try_clone().expect("a handle");
                let (from, into) = (ways(&client), ways(&server));
                std::thread::spawn(move || carry(from, into, &AtomicU64::new(0)));
                let late = Arc::clone(&late);
                std::thread::spawn(move || carry(server, client, &late));
            }
        });
        Relay {
            address,
            delay,
            ended,
        }
    }

    fn delay(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).expect("short");
        self.delay.store(millis, Ordering::Relaxed);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes it, so that it sees.
        drop(TcpStream::connect(self.address));
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, delay: &AtomicU64) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        std::thread::sleep(Duration::from_millis(delay.load(Ordering::Relaxed)));
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

#[test]
fn a_store_that_answers_late_is_used_up_to_its_timeout() {
    let (upstream, redis) = (Upstream::start(), RedisServer::start());
    let relay = Relay::before(&redis);
    let mut setup = before(&redis, &upstream);
    setup.store = format!(
        "redis: {{ url: \"redis://{}\", password: {REDIS_PASSWORD}, timeout: 1s }}",
        relay.address
    );
    let gateway = setup.start();
    let get = |key: &str| gateway.get(&format!("x-api-key: {key}\r\n"));
    let keys: Vec<String> = (0..3).map(|_| gateway.key(&["domains:read"]).1).collect();
    assert_eq!(get(&keys[0]).status, 200);

    relay.delay(Duration::from_millis(100));
    assert_eq!(get(&keys[1]).status, 200);
    relay.delay(Duration::from_millis(1500));
    let asked = Instant::now();
    assert_eq!(checked(&get(&keys[2])), 503);
    assert!(asked.elapsed() < Duration::from_secs(2), "row 110");
    for known in &keys[..2] {
        assert_eq!(get(known).status, 200);
    }
    relay.delay(Duration::ZERO);
    eventually("it is looked up again", || {
        (get(&keys[2]).status == 200).then_some(())
    });
}
