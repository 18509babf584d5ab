//! Three gateways on one Redis, and everybody who uses them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use portcullis::clock::{Clock, Timestamp};
use portcullis::observe::Metrics;
use portcullis::store::{RedisSettings, Store, StoreSettings};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::board::Board;
use crate::client::Client;
use crate::clock::StepClock;
use crate::credentials::{self, Credential, Means};
use crate::gateway::{Gateway, Ground, Settings};
use crate::jwks_issuer::SigningKey;
use crate::oracle::{Class, recovery};
use crate::redis_cluster::RedisCluster;
use crate::redis_server::{Demands, RedisServer};
use crate::relay::Relay;
use crate::traffic::{self, Codes, Held};

/// How many gateways there are.
pub(crate) const GATEWAYS: usize = 3;
/// `credentials.cache.stale`, the shortest that there is.
pub(crate) const BOUND: Duration = Duration::from_secs(3);
/// As docs/decisions/0004-redis.md advises; the tests' servers sync each write.
pub(crate) const EVERY_SECOND: [&str; 2] = ["--appendfsync", "everysec"];
/// `store.redis.timeout`: twice the default, since a machine that runs all of this may be busy.
pub(crate) const DEADLINE: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(20);

/// How the gateways reach Redis, and whose clock can be stepped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wiring {
    Direct,
    /// Each through a relay of its own.
    Relayed,
    /// The last gateway has a clock of its own.
    GatewayClock,
    /// Redis has.
    RedisClock,
    /// A Redis Cluster of three primaries with a replica each, in the one server's place.
    Cluster,
}

/// How long a run is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Length {
    /// Of the undisturbed time before.
    pub(crate) calm: Duration,
    /// Of a fault that is felt at once.
    pub(crate) fault: Duration,
    /// What a fault is longer than the bound by, where that is its point.
    pub(crate) beyond: Duration,
    /// How many credentials of each kind get revoked.
    condemned: usize,
    codes: usize,
}

/// A fleet under load.
pub(crate) struct World {
    /// With [`Wiring::Cluster`] nobody uses it.
    pub(crate) redis: RedisServer,
    pub(crate) cluster: Option<RedisCluster>,
    pub(crate) relays: Vec<Relay>,
    pub(crate) gateways: Vec<Gateway>,
    pub(crate) clock: Option<StepClock>,
    pub(crate) board: Arc<Board>,
    pub(crate) length: Length,
    /// When the store lost what it knew.
    pub(crate) lost: Option<Instant>,
    /// Which gateway was down, from when to when.
    pub(crate) down: Option<(usize, Instant, Instant)>,
    ground: Ground,
    condemned: Vec<Held>,
    codes: Arc<Codes>,
    /// Held while something is being revoked.
    revoking: Arc<Mutex<()>>,
    traffic: JoinSet<()>,
}

impl Length {
    /// Long where `FAULTS_LONG` is set.
    pub(crate) fn chosen() -> Length {
        let long = std::env::var_os("FAULTS_LONG").is_some();
        let choose =
            |long_ms, short_ms| Duration::from_millis(if long { long_ms } else { short_ms });
        Length {
            calm: choose(3000, 600),
            fault: choose(12_000, 1000),
            beyond: choose(6000, 1000),
            condemned: if long { 24 } else { 6 },
            codes: if long { 800 } else { 150 },
        }
    }
}

impl World {
    /// Starts everything, and lets everybody come once, so that each gateway knows them.
    pub(crate) async fn start(wiring: Wiring) -> World {
        let length = Length::chosen();
        let issuer = SigningKey::es256();
        let ground = Ground::new(&credentials::key_set(&issuer));
        let clock = matches!(wiring, Wiring::GatewayClock | Wiring::RedisClock)
            .then(|| StepClock::in_folder(ground.folder()));
        let environment = |whose| match &clock {
            Some(clock) if wiring == whose => clock.environment(),
            _ => Vec::new(),
        };
        let stepped = environment(Wiring::RedisClock);
        let redis = RedisServer::demanding_in(Demands::Nothing, &EVERY_SECOND, &stepped);
        let cluster = (wiring == Wiring::Cluster)
            .then(|| tokio::task::block_in_place(|| RedisCluster::with(Demands::Nothing, true)));
        let store = open(match &cluster {
            Some(cluster) => cluster.settings(),
            None => redis.settings(),
        });
        credentials::register(&*store).await;
        let settings = Settings {
            // Soon, so that a fault is noticed.
            fresh: Duration::from_secs(1),
            stale: BOUND,
            upstream: crate::upstream::start().await,
        };
        let (mut relays, mut gateways) = (Vec::new(), Vec::new());
        for number in 0..GATEWAYS {
            let place = match (&cluster, wiring) {
                (Some(cluster), _) => {
                    let urls: Vec<String> = cluster.servers().map(RedisServer::url).collect();
                    format!("cluster: {urls:?}")
                }
                (None, Wiring::Relayed) => {
                    relays.push(Relay::to(address(&redis)).await);
                    format!("url: \"redis://{}\"", relays[number].address)
                }
                (None, _) => format!("url: \"{}\"", redis.url()),
            };
            let last = number == GATEWAYS - 1;
            let stepped = environment(Wiring::GatewayClock);
            let stepped = if last { stepped } else { Vec::new() };
            let timeout = DEADLINE.as_millis();
            let store = format!("redis: {{ {place}, timeout: {timeout}ms }}");
            let gateway = ground.start(&format!("g{number}"), &store, &settings, &stepped);
            gateways.push(gateway);
            // The first one makes the signing key that the others read.
            gateways[0].is_up().await;
        }
        for gateway in &mut gateways {
            gateway.is_up().await;
        }
        let mut codes = Vec::new();
        for _ in 0..length.codes {
            codes.push(credentials::code(&store).await);
        }
        let mut world = World {
            redis,
            cluster,
            relays,
            gateways,
            clock,
            board: Arc::default(),
            length,
            lost: None,
            down: None,
            ground,
            condemned: Vec::new(),
            codes: Arc::new(Codes::new(codes)),
            revoking: Arc::default(),
            traffic: JoinSet::new(),
        };
        let held = world.issue(&issuer).await;
        world.load(held).await;
        world
    }

    /// A client of one gateway.
    pub(crate) fn client(&self, gateway: usize) -> Client {
        Client::of(self.gateways[gateway].https, &self.ground.trust)
    }

    fn clients(&self) -> Vec<Client> {
        (0..GATEWAYS).map(|gateway| self.client(gateway)).collect()
    }

    /// A new family: its refresh token and its first access token.
    pub(crate) async fn family(&self) -> (String, String) {
        let mut client = self.client(0);
        let given = credentials::patiently(async || {
            // A code whose answer was lost is used up.
            let code = self.code();
            let given = traffic::exchange_code(&mut client, &code).await;
            (given.status() == Some(200)).then_some(given)
        })
        .await
        .json();
        (
            traffic::text(&given, "refresh_token"),
            traffic::text(&given, "access_token"),
        )
    }

    /// A code that nobody has redeemed.
    pub(crate) fn code(&self) -> String {
        self.codes.take().expect("enough codes")
    }

    /// Makes the credentials, each in use at each gateway from now on.
    async fn issue(&mut self, issuer: &SigningKey) -> Vec<Held> {
        let mut all: Vec<Credential> = credentials::wrong(issuer);
        let mut client = self.client(0);
        let numbers = [
            (6, Class::Key, Class::Session, Class::Jwt),
            (
                self.length.condemned,
                Class::RevokedKey,
                Class::RevokedSession,
                Class::RevokedJwt,
            ),
        ];
        let parent = credentials::key(&self.gateways[0], Class::Key).await;
        for (count, keys, sessions, jwts) in numbers {
            for number in 0..count {
                let gateway = &self.gateways[number % GATEWAYS];
                all.push(credentials::key(gateway, keys).await);
                all.push(credentials::session(&mut client, &parent, sessions).await);
                all.push(credentials::jwt(issuer, jwts));
            }
        }
        let mut held = Vec::new();
        for credential in all {
            let Credential {
                class,
                right,
                name,
                value,
                means,
            } = credential;
            held.push(Held {
                subject: self.board.enter(class, right),
                name,
                value,
                means,
            });
        }
        held
    }

    async fn load(&mut self, held: Vec<Held>) {
        let subjects = self.board.subjects();
        let is = |one: &Held, classes: &[Class]| classes.contains(&subjects[one.subject].class);
        let revoked = [Class::RevokedKey, Class::RevokedSession, Class::RevokedJwt];
        let condemned = held.iter().filter(|one| is(one, &revoked));
        let condemned: Vec<Held> = condemned.cloned().collect();
        self.warm_up(&held, |one| !is(one, &[Class::Wrong])).await;
        let held = Arc::new(held);
        for gateway in 0..GATEWAYS {
            for part in 0..2 {
                let from = part * held.len() / 2;
                let (board, held) = (Arc::clone(&self.board), Arc::clone(&held));
                let client = self.client(gateway);
                self.traffic
                    .spawn(traffic::read(board, client, gateway, held, from));
            }
            let (first, _) = self.family().await;
            let (board, clients) = (Arc::clone(&self.board), self.clients());
            self.traffic
                .spawn(traffic::rotate(board, clients, first, gateway));
            let (board, clients) = (Arc::clone(&self.board), self.clients());
            let replays = (gateway == 0).then_some(BOUND + Duration::from_millis(200));
            let codes = Arc::clone(&self.codes);
            self.traffic
                .spawn(traffic::redeem(board, clients, codes, gateway, replays));
        }
        self.condemned.clone_from(&condemned);
        // All of them in the time that a run takes.
        let Length { calm, fault, .. } = self.length;
        let count = u32::try_from(condemned.len()).expect("few");
        let every = (calm + fault + BOUND) / count;
        let admins = self.gateways.iter().map(Gateway::admin).collect();
        self.traffic.spawn(traffic::revoke(
            Arc::clone(&self.board),
            admins,
            condemned,
            every,
            Arc::clone(&self.revoking),
        ));
    }

    /// Until each gateway lets everybody in who is entitled.
    async fn warm_up(&self, held: &[Held], entitled: impl Fn(&Held) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        for gateway in 0..GATEWAYS {
            let mut client = self.client(gateway);
            for one in held.iter().filter(|one| entitled(one)) {
                loop {
                    let exchange = client.get((one.name, &one.value)).await;
                    if exchange.status() == Some(200) {
                        break;
                    }
                    assert!(Instant::now() < deadline, "{gateway}: {exchange:?}");
                }
            }
        }
    }

    /// Lets the load go on.
    pub(crate) async fn go_on(&self, time: Duration) {
        sleep(time).await;
    }

    /// Nothing is revoked while this is held, and what was is known everywhere. (Else a store that
    /// forgets could take the only knowledge of a revocation along.)
    pub(crate) async fn hush(&self) -> OwnedMutexGuard<()> {
        let quiet = Arc::clone(&self.revoking).lock_owned().await;
        let board = &self.board;
        self.eventually("all revocations are known", || board.all_know(GATEWAYS))
            .await;
        quiet
    }

    /// Waits for what others bring about.
    pub(crate) async fn eventually(&self, what: &str, mut is: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is() {
            assert!(Instant::now() < deadline, "it did not come: {what}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits for a whole second without a 503, and gives the time from `end` to it.
    pub(crate) async fn recovers(&self, end: Instant) -> Duration {
        let deadline = Instant::now() + PATIENCE;
        loop {
            sleep(Duration::from_millis(50)).await;
            if let Some(time) = recovery(&self.board.samples(), end, Instant::now()) {
                return time;
            }
            assert!(Instant::now() < deadline, "it did not recover");
        }
    }

    /// Ends the load.
    pub(crate) async fn end(&mut self) {
        self.traffic.abort_all();
        while let Some(ended) = self.traffic.join_next().await {
            if let Err(error) = ended {
                assert!(error.is_cancelled(), "a client failed: {error}");
            }
        }
    }

    /// Kills a gateway and starts it again.
    pub(crate) async fn restart(&mut self, gateway: usize) {
        let since = Instant::now();
        self.gateways[gateway].restart();
        self.gateways[gateway].is_up().await;
        self.down = Some((gateway, since, Instant::now()));
    }

    /// The time by a gateway's clock.
    pub(crate) async fn time_at(&self, gateway: usize) -> Timestamp {
        let gateway = &self.gateways[gateway];
        let Credential { means, .. } = credentials::key(gateway, Class::Key).await;
        let Some(Means::Key(id)) = means else {
            panic!("a key is revoked by its id");
        };
        let key = gateway.admin().key(&id).await.expect("it was just made");
        Timestamp::parse_rfc3339(&key.key.created_at).expect("a time")
    }

    /// Asks once more with all that was revoked, and past the bound where that is let in.
    pub(crate) async fn sweep(&self) {
        let _quiet = self.revoking.lock().await;
        for gateway in 0..GATEWAYS {
            let mut client = self.client(gateway);
            for one in &self.condemned {
                let Some(at) = self.board.subjects()[one.subject].revoked else {
                    continue;
                };
                let past = at + BOUND + Duration::from_millis(200);
                loop {
                    let exchange = client.get((one.name, &one.value)).await;
                    self.board.saw(one.subject, gateway, &exchange);
                    if exchange.status() != Some(200) || exchange.sent > past {
                        break;
                    }
                    sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }
}

fn open(settings: RedisSettings) -> Arc<dyn Store> {
    let settings = RedisSettings {
        timeout: Duration::from_secs(5),
        ..settings
    };
    let (clock, metrics) = (Clock::system(), Metrics::new());
    portcullis::store::open(&StoreSettings::Redis(settings), &clock, &metrics).expect("a store")
}

/// Where a server listens.
pub(crate) fn address(redis: &RedisServer) -> SocketAddr {
    let url = redis.url();
    let address = url.strip_prefix("redis://").expect("a clear-text server");
    address.parse().expect("an address")
}
