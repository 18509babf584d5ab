//! Instances: how soon a fleet on one Redis knows of a revocation, and what the fleet costs Redis.
//!
//! Each instance is what a gateway has: a store of its own, a follower, a cache of keys. All of them
//! live in this process and share its core, so the time to the last of them is an upper bound: on
//! machines of their own they would work side by side.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::Instant;

use portcullis::auth::{
    AccessTokens, Authenticator, Credential, Failure, Lease, Refusal, Revocation,
};
use portcullis::clock::Clock;
use portcullis::environment::Environment;
use portcullis::id::{AccountId, KeyId};
use portcullis::observe::Metrics;
use portcullis::scope::ScopeSet;
use portcullis::store::{self, KeyRecord, NewKey, RevokeKey, Store, StoreSettings};

use crate::Effort;
use crate::figures::Curve;
use crate::gateway;
use crate::redis_server::RedisServer;
use crate::ring;

const LAST: (&str, &str) = (
    "from the revocation's answer to the last instance's refusal",
    "ms",
);
const ANSWER: (&str, &str) = ("from the revocation's call to its answer", "ms");
const REDIS_CPU: (&str, &str) = ("CPU of Redis", "us per revocation");
const IDLE: (&str, &str) = ("commands to Redis while nothing happens", "per second");

/// A pause between two looks at whether an instance refuses: bounds what the time can tell.
const LOOK: Duration = Duration::from_micros(20);
const PATIENCE: Duration = Duration::from_secs(10);

/// What one gateway knows of credentials.
pub(crate) struct Instance {
    authenticator: Authenticator,
}

/// How one revocation went, in milliseconds.
pub(crate) struct Revoked {
    /// From the call.
    pub(crate) answered_after: f64,
    /// From the answer to the last instance's refusal.
    pub(crate) refused_after: f64,
}

/// Instances on one store, and the operator who revokes.
pub(crate) struct Fleet {
    pub(crate) instances: Vec<Instance>,
    pub(crate) operator: Arc<dyn Store>,
    /// The operator's. Each call is waited for.
    here: Runtime,
    /// As the control runtimes of all instances.
    _control: Runtime,
}

pub(crate) fn measure(effort: Effort) -> Curve {
    let mut curve = Curve::new("Revocation over a fleet on one Redis", "instances");
    let sizes: &[usize] = effort.choose(&[1, 5, 20, 50], &[1, 5]);
    for instances in sizes {
        let redis = RedisServer::start_measured();
        let fleet = Fleet::start(&redis.settings(), *instances);
        revoke(&mut curve, effort, &redis, &fleet);
        idle(&mut curve, effort, &redis, &fleet);
    }
    curve
}

fn revoke(curve: &mut Curve, effort: Effort, redis: &RedisServer, fleet: &Fleet) {
    let each = effort.choose(100, 10);
    let keys = fleet.write_keys(effort.rounds() * each);
    fleet.warm(&keys);
    let size = fleet.instances.len();
    for round in keys.chunks(each) {
        let before = redis.used();
        let revoked: Vec<Revoked> = round.iter().map(|key| fleet.revoke(key)).collect();
        let cpu = redis.used().cpu.saturating_sub(before.cpu);
        for (name, percent) in [("p50", 50), ("p99", 99)] {
            let answer = percentile(&revoked, |it| it.answered_after, percent);
            let last = percentile(&revoked, |it| it.refused_after, percent);
            curve.add(ANSWER, name, size, answer);
            curve.add(LAST, name, size, last);
        }
        curve.add(
            REDIS_CPU,
            "all instances together",
            size,
            cpu.as_secs_f64() * 1e6 / each as f64,
        );
    }
}

fn idle(curve: &mut Curve, effort: Effort, redis: &RedisServer, fleet: &Fleet) {
    let window = effort.choose(Duration::from_secs(3), Duration::from_secs(1));
    for _ in 0..effort.choose(3, 1) {
        let before = redis.used();
        std::thread::sleep(window);
        let after = redis.used();
        // Looking takes a command or two of its own.
        let commands = (after.commands - before.commands - 2.0).max(0.0);
        curve.add(
            IDLE,
            "all instances together",
            fleet.instances.len(),
            commands / window.as_secs_f64(),
        );
    }
}

impl Fleet {
    /// Starts them, and waits until each trusts what it knows.
    pub(crate) fn start(settings: &StoreSettings, instances: usize) -> Fleet {
        let control = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let here = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let start = |_| control.block_on(async { Instance::start(settings, control.handle()) });
        let instances: Vec<Instance> = (0..instances).map(start).collect();
        let operator = here.block_on(async {
            store::open(settings, &Clock::system(), &Metrics::new()).expect("a store")
        });
        for instance in &instances {
            wait_until(|| matches!(instance.authenticator.revocation().lease(), Lease::Fresh(_)));
        }
        Fleet {
            instances,
            operator,
            here,
            _control: control,
        }
    }

    /// Writes so many keys, and gives their texts and ids.
    pub(crate) fn write_keys(&self, count: usize) -> Vec<(String, KeyId)> {
        let keys: Vec<(String, KeyId)> = (0..count)
            .map(|number| (ring::key(number), KeyId::random()))
            .collect();
        let new = keys
            .iter()
            .map(|(key, id)| new_key(key, id.clone()))
            .collect();
        let written = self.here.block_on(self.operator.create_keys(new));
        assert_eq!(written.expect("the store takes them").len(), count);
        keys
    }

    /// Has every instance use each key, so that its cache holds it.
    pub(crate) fn warm(&self, keys: &[(String, KeyId)]) {
        for instance in &self.instances {
            for (key, _) in keys {
                // A load that was overtaken by its own publication is refused once.
                wait_until(|| self.here.block_on(instance.verdict(key)).is_ok());
            }
        }
    }

    /// Revokes keys without waiting for each, and then for the fleet to know the last.
    pub(crate) fn revoke_quietly(&self, keys: &[(String, KeyId)]) {
        for some in keys.chunks(500) {
            let revocations = some.iter().map(|(_, id)| {
                let (operator, id) = (Arc::clone(&self.operator), id.clone());
                self.here
                    .spawn(async move { operator.revoke_key(&id, Clock::system().now()).await })
            });
            for revocation in revocations.collect::<Vec<_>>() {
                let answer = self.here.block_on(revocation).expect("no panic");
                assert!(matches!(answer, Ok(RevokeKey::Revoked(_))), "{answer:?}");
            }
        }
        for (instance, (key, _)) in self.instances.iter().zip(keys.last()) {
            wait_until(|| self.here.block_on(instance.verdict(key)).is_err());
        }
    }

    /// Revokes a key, and waits until the last instance refuses it.
    pub(crate) fn revoke(&self, (key, id): &(String, KeyId)) -> Revoked {
        let called = Instant::now();
        let answer = self
            .here
            .block_on(self.operator.revoke_key(id, Clock::system().now()));
        assert!(matches!(answer, Ok(RevokeKey::Revoked(_))), "{answer:?}");
        let answered = Instant::now();
        for instance in &self.instances {
            wait_until(|| {
                let verdict = self.here.block_on(instance.verdict(key));
                verdict == Err(Failure::Refused(Refusal::Revoked))
            });
        }
        Revoked {
            answered_after: (answered - called).as_secs_f64() * 1e3,
            refused_after: answered.elapsed().as_secs_f64() * 1e3,
        }
    }
}

impl Instance {
    fn start(settings: &StoreSettings, control: &Handle) -> Instance {
        let (clock, metrics) = (Clock::system(), Arc::new(Metrics::new()));
        let store = store::open(settings, &clock, &metrics).expect("a store");
        let credentials = gateway::credentials();
        let tokens =
            AccessTokens::new(&[], clock.clone(), &metrics, control, 1).expect("no issuers");
        let revocation = Arc::new(Revocation::new(&credentials.cache, &[]));
        let (authenticator, follower) = Authenticator::new(
            &credentials,
            tokens,
            revocation,
            store,
            control.clone(),
            clock,
            &metrics,
        );
        control.spawn(follower.run());
        Instance { authenticator }
    }

    async fn verdict(&self, key: &str) -> Result<(), Failure> {
        let credential = Credential::read(key, self.authenticator.form());
        self.authenticator.inspect(credential, None).await.map(drop)
    }
}

/// Of one of the delays.
pub(crate) fn percentile(
    revoked: &[Revoked],
    delay: impl Fn(&Revoked) -> f64,
    percent: usize,
) -> f64 {
    let mut delays: Vec<f64> = revoked.iter().map(delay).collect();
    delays.sort_by(f64::total_cmp);
    delays[delays.len() * percent / 100]
}

fn new_key(key: &str, id: KeyId) -> NewKey {
    let record = KeyRecord {
        id,
        account: AccountId::parse("acct_1").expect("an id"),
        name: "bench".into(),
        environment: Environment::Live,
        scopes: ScopeSet::parse("bench:read").expect("a scope"),
        created_at: Clock::system().now(),
        not_before: None,
        expires_at: None,
        revoked_at: None,
        allowed_ips: Vec::new(),
        hint: "osir_live_…".into(),
    };
    NewKey {
        digest: gateway::credentials().peppers.current().digest(key),
        record,
    }
}

fn wait_until(mut there: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !there() {
        assert!(Instant::now() < deadline, "an instance did not learn of it");
        std::thread::sleep(LOOK);
    }
}
