//! What keys are used for, counted on the wire and told by the report; over gateways, restarts of
//! the store, and rotations.

use std::sync::Arc;
use std::time::Duration;

use portcullis::admin::{FindingKind, KeyReportView, RotateKeyBody, ScopeUses};
use portcullis::auth::ReportQuery;
use portcullis::clock::Clock;
use portcullis::id::{AccountId, KeyId};
use portcullis::observe::Metrics;
use portcullis::scope::ScopeSet;
use portcullis::secret::{Pepper, Secret};
use portcullis::store::{Environment, KeyRecord, NewKey, RedisSettings, Store, StoreSettings};
use portcullis::token::{OpaqueFormat, OpaqueKind};
use serde_json::Value;

use crate::support::{
    Answer, FORBIDDEN, Gateway, PEPPER, REDIS_PASSWORD, RedisServer, Setup, Upstream, eventually,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A route for either of two scopes, and one for none, beside those of the seed.
fn before(upstream: &Upstream) -> Setup {
    Setup::before(upstream.address).routes(
        "  - { name: either, prefix: /v1/either, methods: [GET], access: { any_scope: \
         [domains:read, domains:write] }, upstream: domains }\n  - { name: whoever, prefix: \
         /v1/whoever, methods: [GET], access: authenticated, upstream: domains }\n",
    )
}

fn on(redis: &RedisServer, upstream: &Upstream) -> Setup {
    let mut setup = before(upstream);
    let url = redis.url();
    setup.store = format!("redis: {{ url: \"{url}\", password: {REDIS_PASSWORD} }}");
    setup
}

fn store_of(redis: &RedisServer) -> Arc<dyn Store> {
    let settings = StoreSettings::Redis(RedisSettings {
        password: Some(Secret::new(REDIS_PASSWORD)),
        timeout: Duration::from_secs(2),
        ..RedisSettings::at(redis.url())
    });
    portcullis::store::open(&settings, &Clock::system(), &Metrics::new()).expect("it opens")
}

fn ask(gateway: &Gateway, method: &str, path: &str, key: &str) -> Answer {
    gateway.send(format!(
        "{method} {path} HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {key}\r\n\
         content-length: 0\r\n\r\n"
    ))
}

/// So many of each: all are let through.
fn load(gateway: &Gateway, key: &str, reads: usize, writes: usize) {
    for (method, count) in [("GET", reads), ("POST", writes)] {
        for _ in 0..count {
            assert_eq!(ask(gateway, method, "/v1/domains", key).status, 200);
        }
    }
}

fn report(gateway: &Gateway, id: &KeyId) -> KeyReportView {
    let query = ReportQuery {
        days: 30,
        idle: DAY * 30,
        account: None,
    };
    let list = gateway.operate(async |admin| admin.key_report(&query, None).await);
    let keys = list.expect("a report").keys;
    let found = keys.into_iter().find(|key| key.id == *id);
    found.expect("every key that works is in it")
}

/// Requests, those that needed each granted scope, and those denied for each that is missing.
fn counts(report: &KeyReportView) -> String {
    let usage = &report.usage;
    let named = |uses: &[ScopeUses]| {
        let uses = uses.iter();
        let uses = uses.map(|uses| format!("{} {}", uses.scope, uses.requests));
        uses.collect::<Vec<_>>().join(", ")
    };
    let (used, denied) = (named(&usage.scopes), named(&usage.denied));
    format!("{}: {used}; denied: {denied}", usage.requests)
}

fn counts_exactly(setup: &Setup) {
    let gateway = setup.start();
    let (both, key) = gateway.key(&["domains:read", "domains:write"]);
    let (reader, read_key) = gateway.key(&["domains:read"]);
    let (unused, _) = gateway.key(&["domains:read"]);
    load(&gateway, &key, 5, 3);
    load(&gateway, &read_key, 2, 0);
    for path in ["/v1/either", "/v1/whoever"] {
        for key in [&key, &read_key] {
            assert_eq!(ask(&gateway, "GET", path, key).status, 200);
        }
    }
    for _ in 0..4 {
        let answer = ask(&gateway, "POST", "/v1/domains", &read_key);
        assert_eq!((answer.status, answer.body.as_str()), (403, FORBIDDEN));
    }
    assert_eq!(ask(&gateway, "GET", "/v1/nowhere", &key).status, 404);

    let found = report(&gateway, &both);
    assert_eq!(
        counts(&found),
        "10: domains:read 6, domains:write 4; denied: "
    );
    assert!(found.usage.last_seen.is_some() && found.usage.counted_since.is_some());
    let found = report(&gateway, &reader);
    assert_eq!(counts(&found), "4: domains:read 3; denied: domains:write 4");
    let found = report(&gateway, &unused);
    assert_eq!(counts(&found), "0: domains:read 0; denied: ");
    assert_eq!(found.usage.last_seen, None);
    assert!(
        found.young,
        "nothing is said of the scopes of a key of today"
    );
    let kinds: Vec<_> = found.findings.iter().map(|found| found.finding).collect();
    assert_eq!(kinds, [FindingKind::NoExpiry]);

    let shown = gateway.operate(async |admin| admin.key(&both).await);
    let shown = shown.expect("there").usage;
    assert_eq!((shown.requests, shown.scopes[0].requests), (10, 6));

    // The next gateway on this store goes on from there.
    load(&gateway, &key, 1, 0);
    let again = Gateway::start_in(gateway.stop(), &setup.yaml());
    assert_eq!(
        counts(&report(&again, &both)),
        "11: domains:read 7, domains:write 4; denied: "
    );
}

#[test]
fn each_request_counts_once_for_each_scope_that_it_needed_on_the_embedded_store() {
    counts_exactly(&before(&Upstream::start()));
}

#[test]
fn each_request_counts_once_for_each_scope_that_it_needed_on_redis() {
    counts_exactly(&on(&RedisServer::start(), &Upstream::start()));
}

#[test]
fn the_counts_of_a_fleet_add_up_and_the_last_are_told_at_the_end() {
    let (redis, upstream) = (RedisServer::start(), Upstream::start());
    let (one, other) = (on(&redis, &upstream).start(), on(&redis, &upstream).start());
    let (id, key) = one.key(&["domains:read", "domains:write"]);
    load(&one, &key, 20, 5);
    load(&other, &key, 30, 0);
    let session = other.send(format!(
        "POST /auth/sessions HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {key}\r\n\
         content-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
    ));
    let session: Value = serde_json::from_str(&session.body).expect("a session");
    let token = session["session_token"].as_str().expect("its token");
    let bearer = format!("authorization: Bearer {token}\r\n");
    assert_eq!(other.get(&bearer).status, 200);
    drop(other.stop());
    assert_eq!(
        counts(&report(&one, &id)),
        "56: domains:read 51, domains:write 5; denied: "
    );
}

#[test]
fn while_the_store_is_away_requests_go_on_and_their_counts_are_told_later() {
    let (mut redis, upstream) = (RedisServer::start(), Upstream::start());
    let gateway = on(&redis, &upstream).start();
    let (id, key) = gateway.key(&["domains:read"]);
    load(&gateway, &key, 3, 0);
    assert_eq!(report(&gateway, &id).usage.requests, 3);
    redis.kill();
    load(&gateway, &key, 7, 0);
    // The gateway tries in vain: what it counted stays.
    let query = ReportQuery {
        days: 1,
        idle: DAY,
        account: None,
    };
    let failed = gateway.operate(async |admin| admin.key_report(&query, None).await);
    assert!(failed.is_err(), "{failed:?}");
    load(&gateway, &key, 1, 0);
    redis.launch();
    let found = eventually("the store is back", || {
        let list = gateway.operate(async |admin| admin.key_report(&query, None).await);
        let key = list.ok()?.keys.into_iter().find(|key| key.id == id)?;
        (key.usage.requests > 3).then_some(key)
    });
    assert_eq!(counts(&found), "11: domains:read 11; denied: ");
    assert_eq!(gateway.metric("portcullis_usage_dropped_total"), 0.0);
}

#[test]
fn an_old_secret_that_is_still_shown_is_found_until_it_ends() {
    let gateway = before(&Upstream::start()).start();
    let (id, old) = gateway.key(&["domains:read"]);
    load(&gateway, &old, 1, 0);
    let rotate = |overlap: u64, request: &str| {
        let body = RotateKeyBody {
            overlap,
            request_id: request.into(),
        };
        gateway
            .operate(async |admin| admin.rotate_key(&id, &body).await)
            .expect("rotated")
    };
    let kinds = || -> Vec<FindingKind> {
        let findings = report(&gateway, &id).findings;
        findings.iter().map(|found| found.finding).collect()
    };
    let rotated = rotate(3600, "wish-1");
    load(&gateway, rotated.key.expose(), 1, 0);
    assert_eq!(kinds(), [FindingKind::NoExpiry], "not seen since");
    load(&gateway, &old, 1, 0);
    let found = eventually("the old secret is seen", || {
        let findings = report(&gateway, &id).findings;
        let mut findings = findings.into_iter();
        findings.find(|found| found.finding == FindingKind::OldSecretSeen)
    });
    let again = format!("portcullis key rotate {id} --request-id=wish-1");
    assert_eq!(found.mend, [again]);
    assert!(
        found.detail.ends_with(&rotated.previous_ends_at),
        "{found:?}"
    );
    // What the command does: it shows the same secret again.
    assert_eq!(rotate(0, "wish-1").key.expose(), rotated.key.expose());
    rotate(0, "wish-2");
    assert_eq!(kinds(), [FindingKind::NoExpiry], "the old secret has ended");
}

/// A key of 100 days ago, on a store on which uses have been counted for as long.
fn seasoned(scopes: &str) -> (NewKey, String) {
    let long_ago = Clock::system().now().minus(DAY * 100);
    let minted = OpaqueFormat::new("osir").mint(OpaqueKind::ApiKey(Environment::Live));
    let pepper = Pepper::new(PEPPER.as_bytes()).expect("strong");
    let key = NewKey {
        digest: pepper.digest(minted.secret.expose()),
        record: KeyRecord {
            id: KeyId::random(),
            account: AccountId::parse("acct_1").expect("an id"),
            name: "nightly deploy".into(),
            environment: Environment::Live,
            scopes: ScopeSet::parse(scopes).expect("scopes"),
            created_at: long_ago,
            not_before: None,
            expires_at: Some(Clock::system().now().plus(DAY * 200)),
            revoked_at: None,
            allowed_ips: Vec::new(),
            hint: minted.hint.clone(),
        },
    };
    (key, minted.secret.expose().to_owned())
}

#[test]
fn what_a_seasoned_key_does_not_use_is_found_and_an_idle_one_is() {
    let (redis, upstream) = (RedisServer::start(), Upstream::start());
    let (used, key) = seasoned("domains:read domains:write");
    let (idle, _) = seasoned("domains:read");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let store = store_of(&redis);
        let created = store.create_keys(vec![used.clone(), idle.clone()]).await;
        created.expect("written");
        let began = store.begin_usage(used.record.created_at).await;
        began.expect("written");
    });
    let gateway = on(&redis, &upstream).start();
    load(&gateway, &key, 2, 0);
    let found = report(&gateway, &used.record.id).findings;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].finding, FindingKind::UnusedScope);
    let unused = ScopeSet::parse("domains:write").ok();
    assert_eq!(found[0].scopes, unused);
    let (end, id) = (used.record.expires_at.expect("an end"), &used.record.id);
    assert_eq!(
        found[0].mend,
        [
            format!(
                "portcullis key create --account=acct_1 --name='nightly deploy' \
                 --scope=domains:read --expires={end}"
            ),
            format!("portcullis key revoke {id}"),
        ]
    );
    let id = &idle.record.id;
    let found = report(&gateway, id).findings;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].finding, FindingKind::Idle);
    assert_eq!(found[0].mend, [format!("portcullis key revoke {id}")]);
    gateway
        .operate(async |admin| admin.revoke_key(id).await)
        .expect("revoked");
    load(&gateway, &key, 0, 1);
    let query = ReportQuery {
        days: 30,
        idle: DAY * 30,
        account: None,
    };
    let list = gateway.operate(async |admin| admin.key_report(&query, None).await);
    let keys = list.expect("a report").keys;
    assert_eq!(keys.len(), 1, "a revoked key is in no report");
    assert_eq!(keys[0].findings, [], "mended");
}
