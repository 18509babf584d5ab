//! Keys: what more of them cost a request when a few are used often and most rarely.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Effort;
use crate::figures::Curve;
use crate::gateway::{self, CACHE_CAPACITY, GatewayProcess, ONE_ROUTE, Site};
use crate::load::{Load, Requests};
use crate::process;
use crate::redis_server::RedisServer;
use crate::ring::{self, Zipf};
use crate::upstream;

const CPU: (&str, &str) = ("CPU of a request", "us");
const HITS: (&str, &str) = ("answered by the cache", "%");
const MEMORY: (&str, &str) = ("memory of the gateway", "MiB");
const START: (&str, &str) = ("start to ready", "s");
const IMPORT: (&str, &str) = ("import", "keys/s");

const CONNECTIONS: usize = 64;
/// Uses by Zipf's law, beyond a first of each key, before anything is measured.
const SETTLING: u64 = 200_000;

pub(crate) fn measure_embedded(effort: Effort) -> Curve {
    let mut curve = Curve::new("API keys, embedded store, cache of 100,000", "keys");
    for keys in sizes(effort) {
        let site = Site::prepare();
        let store = site.embedded();
        let took = site.import(&store, keys);
        add_import(&mut curve, keys, took);
        let gateway = site.serve(&store, ONE_ROUTE, &upstream::start(1));
        let served = Served {
            gateway: &gateway,
            redis: None,
        };
        use_keys(&mut curve, effort, keys, &served);
    }
    curve
}

pub(crate) fn measure_redis(effort: Effort) -> Curve {
    let mut curve = Curve::new("API keys, Redis, cache of 100,000", "keys");
    for keys in sizes(effort) {
        let redis = RedisServer::start_beside();
        let (site, store) = (Site::prepare(), redis.settings());
        let took = site.import(&store, keys);
        add_import(&mut curve, keys, took);
        let gateway = site.serve(&store, ONE_ROUTE, &upstream::start(1));
        let served = Served {
            gateway: &gateway,
            redis: Some(&redis),
        };
        use_keys(&mut curve, effort, keys, &served);
    }
    curve
}

fn sizes(effort: Effort) -> Vec<usize> {
    effort.choose(vec![10, 1_000, 100_000, 1_000_000], vec![10, 1_000])
}

fn add_import(curve: &mut Curve, keys: usize, took: std::time::Duration) {
    println!("imported {keys} keys in {took:.1?}");
    // Fewer are over before a rate could be told.
    if keys >= 1_000 {
        curve.add(
            IMPORT,
            "as `portcullis key import` does it",
            keys,
            keys as f64 / took.as_secs_f64(),
        );
    }
}

/// A store, as far as its own cost can be told from the gateway's.
struct Served<'a> {
    gateway: &'a GatewayProcess,
    redis: Option<&'a RedisServer>,
}

fn use_keys(curve: &mut Curve, effort: Effort, keys: usize, served: &Served<'_>) {
    let gateway = served.gateway;
    curve.add(
        START,
        "with all keys in the store",
        keys,
        gateway.ready_after.as_secs_f64(),
    );
    let load = Load::start(gateway, CONNECTIONS, CONNECTIONS, requests(keys));
    let firsts = keys.min(CACHE_CAPACITY) as u64;
    load.await_answers(firsts + effort.choose(SETTLING.min(2_000 + 20 * keys as u64), 500));
    for _ in 0..effort.rounds() {
        let lookups = Lookups::of(gateway);
        let redis_cpu = served.redis.map(|redis| redis.used().cpu);
        let round = load.round(gateway, effort.window());
        curve.add(CPU, "gateway", keys, round.cpu_us);
        if let (Some(redis), Some(before)) = (served.redis, redis_cpu) {
            let cpu = redis.used().cpu.saturating_sub(before);
            curve.add(CPU, "Redis", keys, cpu.as_secs_f64() * 1e6 / round.answered);
        }
        curve.add(
            HITS,
            "of all look-ups",
            keys,
            Lookups::of(gateway).hits_since(&lookups),
        );
        let mib = process::resident(gateway.pid()) / f64::from(1 << 20);
        curve.add(MEMORY, "resident", keys, mib);
    }
}

/// First each of the keys that the cache has room for, the most used last; then by Zipf's law.
fn requests(keys: usize) -> Requests {
    let (zipf, asked) = (Zipf::over(keys), AtomicUsize::new(0));
    let firsts = keys.min(CACHE_CAPACITY);
    Requests::new(move |random| {
        let asked = asked.fetch_add(1, Ordering::Relaxed);
        let rank = match firsts.checked_sub(asked + 1) {
            Some(rank) => rank,
            None => zipf.sample(random),
        };
        ("/v1/any".into(), ring::key(rank))
    })
}

/// `portcullis_credential_cache_total` at one moment.
struct Lookups {
    served: f64,
    all: f64,
}

impl Lookups {
    fn of(gateway: &GatewayProcess) -> Lookups {
        let scrape = gateway.scrape();
        let count = |outcome: &str| {
            let label = format!("cache=\"api_key\",outcome=\"{outcome}");
            gateway::sum(&scrape, "portcullis_credential_cache_total", &label)
        };
        Lookups {
            served: count("hit\"") + count("refresh\""),
            all: count(""),
        }
    }

    fn hits_since(&self, before: &Lookups) -> f64 {
        100.0 * (self.served - before.served) / (self.all - before.all)
    }
}
