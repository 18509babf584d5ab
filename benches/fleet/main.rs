//! How long after its revocation is a credential still let in? Three gateway processes on one
//! Redis, under load; each key that gets revoked is in use at all of them until it is refused.
//!
//! `cargo bench --bench fleet` prints what it found; `-- --write` also puts it into
//! docs/reliability.md. Not here: what becomes of revocations while something is broken
//! (`tests/faults`). Invariant: a key counts as let in until its last 200 has arrived, wherever
//! that was, and times are counted from before the revocation was asked for.

mod figures;
mod fleet;
mod watch;

#[path = "../../tests/faults/client.rs"]
#[expect(dead_code, reason = "the faults use more of it")]
mod client;
#[path = "../../tests/faults/gateway.rs"]
#[expect(dead_code, reason = "the faults use more of it")]
mod gateway;
#[path = "../../tests/support/redis.rs"]
#[expect(dead_code, unreachable_pub, reason = "the tests use more of it")]
mod redis_server;
#[path = "../../tests/faults/upstream.rs"]
mod upstream;

use figures::Run;
use fleet::Fleet;

/// What the command line says.
struct Options {
    rate: u32,
    revocations: usize,
    runs: usize,
    write: bool,
}

fn main() {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runs = runtime.expect("a runtime").block_on(async {
        let mut runs = Vec::new();
        for number in 1..=options.runs {
            // Each run has a fleet of its own: no figure depends on what another left behind.
            let fleet = Fleet::start(options.revocations, options.rate).await;
            let run = fleet.measure().await;
            println!("run {number}: {run}");
            runs.push(run);
        }
        runs
    });
    let report = figures::report(&runs, options.rate);
    print!("{report}");
    if options.write {
        figures::write(&report);
    }
    let bounds = runs.iter().map(Run::late);
    assert_eq!(bounds.sum::<usize>(), 0, "allowed past the bound");
}

impl Options {
    fn parse() -> Options {
        let arguments: Vec<String> = std::env::args().collect();
        let number = |name: &str, default: u32| {
            let at = arguments.iter().position(|argument| argument == name);
            let value = at.and_then(|at| arguments.get(at + 1));
            value.map_or(default, |text| text.parse().expect("a number"))
        };
        Options {
            rate: number("--rate", 300),
            revocations: number("--revocations", 1000) as usize,
            runs: number("--runs", 3) as usize,
            write: arguments.iter().any(|argument| argument == "--write"),
        }
    }
}
