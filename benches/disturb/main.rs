//! Does one client's, upstream's, operator's or store's trouble reach the others? Open-loop load on
//! a gateway process of its own, while one thing at a time goes wrong.
//!
//! Requests are due at fixed times whatever becomes of those before, and a latency counts from the
//! time at which its request was due. Every round measures the undisturbed gateway twice, so that
//! the noise of the machine stands beside each difference.
//!
//! `cargo bench --bench disturb -- --rounds 1 --add` adds a round to those in
//! `target/disturb/rounds.json` and writes `report.md` and `p99.svg` beside it.

use std::path::PathBuf;
use std::time::Duration;

mod disturbance;
mod gateway;
mod load;
mod report;
mod upstream;
#[path = "../../tests/support/redis.rs"]
#[expect(dead_code, unreachable_pub, reason = "the tests use more of it")]
mod redis;

use disturbance::Disturbance;
use gateway::{Gateway, Layout};
use load::Load;
use report::{Rounds, Run};

/// What the command line says.
struct Options {
    add: bool,
    connections: usize,
    rate: Option<u32>,
    rounds: usize,
    routes: usize,
    share: f64,
    folder: PathBuf,
    layout: Layout,
}

/// A run: quiet, then disturbed, then quiet again.
#[derive(Clone, Copy)]
struct Phases {
    before: Duration,
    disturbed: Duration,
    after: Duration,
}

/// What comes first is slower, and nobody's trouble.
const WARM_UP: Duration = Duration::from_secs(3);
const PHASES: Phases = Phases {
    before: Duration::from_secs(2),
    disturbed: Duration::from_secs(10),
    after: Duration::from_secs(2),
};

fn main() {
    let options = Options::parse();
    options.layout.pin_this_process();
    let upstreams = upstream::start();
    let mut gateway = Gateway::start(options.layout, options.routes, &upstreams);
    let load = Load::connect(&gateway, options.connections);
    let file = options.folder.join("rounds.json");
    std::fs::create_dir_all(&options.folder).expect("a folder for the results");
    let mut rounds = Rounds::open(&file, options.add);
    let rate = options.rate.or(rounds.rate()).unwrap_or_else(|| {
        let capacity = load.capacity(Duration::from_secs(4));
        println!("capacity: {capacity} requests/s, closed loop");
        rounds.set_capacity(capacity);
        part(capacity, options.share)
    });
    rounds.set_setup(rate, options.connections, options.routes, options.layout);
    println!("{rate} requests/s over {} connections", options.connections);
    load.open_loop(rate, tokio::time::Instant::now(), WARM_UP);
    for _ in 0..options.rounds {
        let runs = Disturbance::ALL.map(|disturbance| {
            let run = one(disturbance, &load, &mut gateway, rate);
            println!("{run}");
            run
        });
        rounds.add(&runs);
        rounds.save(&file);
    }
    std::fs::write(options.folder.join("report.md"), rounds.markdown()).expect("writable");
    std::fs::write(options.folder.join("p99.svg"), rounds.svg()).expect("writable");
    print!("{}", rounds.markdown());
}

fn one(disturbance: Disturbance, load: &Load, gateway: &mut Gateway, rate: u32) -> Run {
    let whole = PHASES.before + PHASES.disturbed + PHASES.after;
    let prepared = disturbance.prepare(gateway);
    let begun = tokio::time::Instant::now() + Duration::from_millis(50);
    let from = begun + PHASES.before;
    let (cpu, reloads) = (gateway.cpu(), gateway.reloads());
    let samples = std::thread::scope(|scope| {
        scope.spawn(|| disturbance.disturb(prepared, gateway, from, from + PHASES.disturbed));
        load.open_loop(rate, begun, whole)
    });
    let (cpu, reloads) = (
        gateway.cpu().saturating_sub(cpu),
        gateway.reloads() - reloads,
    );
    if matches!(disturbance, Disturbance::Reload | Disturbance::Reloads) {
        assert!(reloads > 0, "the gateway takes its configurations");
        println!("{reloads} reloads");
    }
    Run::new(
        disturbance.name(),
        &samples,
        PHASES.before..PHASES.before + PHASES.disturbed,
        whole,
        cpu,
    )
}

/// A share of the capacity.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "requests a second"
)]
fn part(capacity: u32, share: f64) -> u32 {
    (f64::from(capacity) * share) as u32
}

impl Options {
    fn parse() -> Options {
        let arguments: Vec<String> = std::env::args().collect();
        let value = |name: &str| {
            let at = arguments.iter().position(|argument| argument == name)?;
            arguments.get(at + 1).map(String::as_str)
        };
        let number = |name: &str, default: usize| {
            value(name).map_or(default, |text| text.parse().expect("a number"))
        };
        let layout = match number("--workers", 1) {
            1 => Layout::OneEach,
            workers => Layout::Shared { workers },
        };
        Options {
            add: arguments.iter().any(|argument| argument == "--add"),
            connections: number("--connections", 32),
            rate: value("--rate").map(|text| text.parse().expect("requests a second")),
            rounds: number("--rounds", 1),
            routes: number("--routes", 1000),
            share: value("--share").map_or(0.25, |text| text.parse().expect("0.25 is 25 %")),
            folder: value("--out").map_or_else(default_folder, PathBuf::from),
            layout,
        }
    }
}

fn default_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/disturb")
}
