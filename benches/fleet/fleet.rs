//! Three gateways, the keys that get revoked, and the load beside.

use std::sync::Arc;
use std::time::Duration;

use portcullis::admin::{AdminClient, NewKeyBody};
use portcullis::id::KeyId;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::client::Client;
use crate::figures::{Revocation, Run};
use crate::gateway::{Gateway, Ground, Settings};
use crate::redis_server::{Demands, RedisServer};
use crate::watch::Watch;

/// How many gateways there are.
pub(crate) const GATEWAYS: usize = 3;
/// The defaults of the configuration.
const FRESH: Duration = Duration::from_secs(60);
/// `credentials.cache.stale`: nothing is let in later than that.
pub(crate) const BOUND: Duration = Duration::from_secs(300);
/// Of an issuer that has no tokens here: RFC 7517 appendix A.1.
const KEY_SET: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"1","alg":"ES256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#;
const WAIT: &str = "5s";
/// Keys that are in use and stay so.
const OTHERS: usize = 64;
/// Connections of each gateway that the others come on.
const CONNECTIONS: u32 = 4;

/// A running fleet.
pub(crate) struct Fleet {
    gateways: Vec<Gateway>,
    watches: Vec<Watch>,
    keys: Vec<(KeyId, String)>,
    load: JoinSet<()>,
    _ground: Ground,
    _redis: RedisServer,
}

impl Fleet {
    /// With so many keys to revoke, and so many other requests a second at each gateway.
    pub(crate) async fn start(keys: usize, rate: u32) -> Fleet {
        let ground = Ground::new(KEY_SET);
        // As docs/decisions/0004-redis.md advises; the tests' servers sync each write.
        let redis = RedisServer::demanding(Demands::Nothing, &["--appendfsync", "everysec"]);
        let settings = Settings {
            fresh: FRESH,
            stale: BOUND,
            upstream: crate::upstream::start().await,
        };
        let store = format!("redis: {{ url: \"{}\" }}", redis.url());
        let mut gateways = Vec::new();
        for number in 0..GATEWAYS {
            let mut gateway = ground.start(&format!("g{number}"), &store, &settings, &[]);
            gateway.is_up().await;
            gateways.push(gateway);
        }
        let admin = gateways[0].admin();
        let (keys, others) = (make(&admin, keys).await, make(&admin, OTHERS).await);
        let others: Arc<Vec<(KeyId, String)>> = Arc::new(others);
        let mut load = JoinSet::new();
        for gateway in &gateways {
            for connection in 0..CONNECTIONS {
                let client = Client::of(gateway.https, &ground.trust);
                let every = Duration::from_secs(1) * CONNECTIONS / rate;
                load.spawn(ask(client, Arc::clone(&others), connection as usize, every));
            }
        }
        let watches = gateways
            .iter()
            .map(|gateway| Watch::start(Client::of(gateway.https, &ground.trust)));
        Fleet {
            watches: watches.collect(),
            gateways,
            keys,
            load,
            _ground: ground,
            _redis: redis,
        }
    }

    /// Revokes one key after the other, each through the next gateway's admin API; every second one
    /// waits for the proof that all gateways know.
    pub(crate) async fn measure(mut self) -> Run {
        let mut revocations = Vec::new();
        for (number, (id, key)) in self.keys.iter().enumerate() {
            for watch in &mut self.watches {
                watch.is_let_in(key).await;
            }
            let admin = self.gateways[number % GATEWAYS].admin();
            let wait = (number % 2 == 1).then(|| WAIT.parse().expect("a wait"));
            let called = Instant::now();
            let revoked = admin.prove(wait, async |admin| admin.revoke_key(id).await);
            let proof = revoked.await.expect("revoked").proof;
            let answered = Instant::now();
            assert!(
                proof.as_ref().is_none_or(|proof| proof.complete),
                "{proof:?}"
            );
            let mut ends = Vec::new();
            for watch in &mut self.watches {
                ends.push(watch.is_refused().await);
            }
            revocations.push(Revocation {
                called,
                answered,
                is_proven: proof.is_some(),
                ends,
            });
        }
        self.load.shutdown().await;
        Run::of(&revocations, BOUND)
    }
}

async fn make(admin: &AdminClient, count: usize) -> Vec<(KeyId, String)> {
    let at_once = Arc::new(Semaphore::new(8));
    let mut making = JoinSet::new();
    for _ in 0..count {
        let (admin, at_once) = (admin.clone(), Arc::clone(&at_once));
        making.spawn(async move {
            let _permit = at_once.acquire().await.expect("it is not closed");
            let body = NewKeyBody {
                account: "acct_1".into(),
                name: "a bench".into(),
                scopes: vec!["domains:read".into()],
                env: None,
                not_before: None,
                expires_at: None,
                allowed_ips: Vec::new(),
            };
            let created = admin.create_key(&body).await.expect("a key");
            (created.id, created.key.expose().to_owned())
        });
    }
    making.join_all().await
}

/// The load: keys in turn, at a steady rate.
async fn ask(mut client: Client, keys: Arc<Vec<(KeyId, String)>>, from: usize, every: Duration) {
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for (_, key) in keys.iter().cycle().skip(from) {
        tick.tick().await;
        let exchange = client.get(("x-api-key", key)).await;
        assert_eq!(exchange.status(), Some(200), "{exchange:?}");
    }
}
