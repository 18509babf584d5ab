//! Routes: what a larger policy costs a request.

use std::hint::black_box;

use http::Method;
use tokio::time::Instant;

use portcullis::gateway::{Access, Challenging, PathPattern, Resolved, RouteSettings, RouteTable};
use portcullis::observe::Metrics;
use portcullis::scope::ScopeSet;

use crate::Effort;
use crate::figures::Curve;
use crate::gateway::{GatewayProcess, HOST, Site};
use crate::load::{Load, Requests};
use crate::process;
use crate::ring::{self, Random};
use crate::upstream;

const CPU: (&str, &str) = ("CPU of a request", "us");
const RESOLVE: (&str, &str) = ("finding the route", "ns");
const MEMORY: (&str, &str) = ("memory of the gateway after start", "MiB");
const START: (&str, &str) = ("start to ready", "s");
const SCRAPE: (&str, &str) = ("one scrape of the metrics", "ms");

const CONNECTIONS: usize = 64;
/// Resources of one service; each has a route for its list and one for its entries.
const RESOURCES: usize = 10;

pub(crate) fn measure(effort: Effort) -> Curve {
    let mut curve = Curve::new("Routes", "routes");
    let sizes: &[usize] = effort.choose(&[8, 100, 1_000, 10_000], &[8, 1_000]);
    let gateways: Vec<_> = sizes.iter().map(|routes| start(*routes)).collect();
    for (gateway, routes) in gateways.iter().zip(sizes) {
        let mib = process::resident(gateway.pid()) / f64::from(1 << 20);
        curve.add(MEMORY, "resident", *routes, mib);
        curve.add(
            START,
            "policy and all",
            *routes,
            gateway.ready_after.as_secs_f64(),
        );
    }
    // Every route is used once before anything is timed, and all sizes take turns.
    for _ in 0..effort.rounds() {
        for (gateway, routes) in gateways.iter().zip(sizes) {
            let load = Load::start(gateway, CONNECTIONS, CONNECTIONS, requests(*routes));
            load.await_answers(effort.choose(10_000, 200));
            let cpu = load.round(gateway, effort.window()).cpu_us;
            curve.add(CPU, "all routes used alike", *routes, cpu);
            drop(load);
            let asked = Instant::now();
            black_box(gateway.scrape());
            curve.add(
                SCRAPE,
                "every route used",
                *routes,
                asked.elapsed().as_secs_f64() * 1e3,
            );
        }
    }
    drop(gateways);
    resolve(&mut curve, effort, sizes);
    curve
}

fn start(routes: usize) -> GatewayProcess {
    let site = Site::prepare();
    let store = site.embedded();
    site.import(&store, 1);
    site.serve(&store, &yaml(routes), &upstream::start(1))
}

fn requests(routes: usize) -> Requests {
    let key = ring::key(0);
    Requests::new(move |random| (path(random.below(routes), random), key.clone()))
}

/// `/v1/s3/r7` for a list and `/v1/s3/r7/{id}` for an entry: a tree of a few levels.
fn pattern(route: usize) -> String {
    let (service, resource) = (route / (2 * RESOURCES), route / 2 % RESOURCES);
    let entry = if route % 2 == 1 { "/{id}" } else { "" };
    format!("/v1/s{service}/r{resource}{entry}")
}

/// A path that only this route is for.
fn path(route: usize, random: &mut Random) -> String {
    pattern(route).replace("{id}", &random.below(1_000_000).to_string())
}

fn yaml(routes: usize) -> String {
    let line = |route: usize| {
        format!(
            "  - {{ name: r{route}, path: \"{}\", methods: [GET], access: {{ scopes: [\"bench:read\"] }}, \
             upstream: only }}\n",
            pattern(route)
        )
    };
    (0..routes).map(line).collect()
}

/// Without a network: the table alone, for a tree of paths and for one node with all of them.
fn resolve(curve: &mut Curve, effort: Effort, sizes: &[usize]) {
    let wide = |route: usize| format!("/route-{route}");
    for routes in sizes {
        let tree = table(*routes, pattern);
        let flat = table(*routes, wide);
        let mut random = Random::from(7);
        let asked: Vec<usize> = (0..4096).map(|_| random.below(*routes)).collect();
        let in_tree: Vec<String> = asked
            .iter()
            .map(|route| path(*route, &mut random))
            .collect();
        let in_flat: Vec<String> = asked.iter().map(|route| wide(*route)).collect();
        for _ in 0..effort.rounds() {
            let times = effort.choose(100, 2);
            curve.add(
                RESOLVE,
                "by service and resource",
                *routes,
                time(&tree, &in_tree, times),
            );
            curve.add(
                RESOLVE,
                "all side by side",
                *routes,
                time(&flat, &in_flat, times),
            );
        }
    }
}

/// Nanoseconds to find one.
fn time(table: &RouteTable, paths: &[String], times: usize) -> f64 {
    let started = Instant::now();
    for _ in 0..times {
        for path in paths {
            let found = table.resolve(black_box(HOST), black_box(path), &Method::GET);
            assert!(matches!(black_box(found), Resolved::Route(_)));
        }
    }
    started.elapsed().as_secs_f64() * 1e9 / (times * paths.len()) as f64
}

fn table(routes: usize, pattern: impl Fn(usize) -> String) -> RouteTable {
    let settings = (0..routes).map(|route| RouteSettings {
        name: format!("r{route}"),
        hosts: Vec::new(),
        pattern: PathPattern::Template(pattern(route)),
        methods: vec![Method::GET],
        access: Access::Scopes(ScopeSet::parse("bench:read").expect("a scope")),
        upstream: 0,
        strip_prefix: None,
        timeout: None,
        max_body: None,
        trailers: false,
    });
    let settings: Vec<RouteSettings> = settings.collect();
    RouteTable::new(
        &settings,
        &Challenging {
            realm: "bench",
            resources: &[],
        },
        &Metrics::new(),
    )
    .expect("no two are alike")
}
