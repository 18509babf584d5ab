//! Growth curves: what a request costs as routes, keys, connections, instances and endpoints grow.
//!
//! `cargo bench --profile dist --bench growth` measures all of them (about ten minutes) and writes a
//! CSV file and an SVG plot each into `docs/performance`. `-- --curve NAME` measures one, `--quick`
//! tries everything within a minute and keeps its figures to itself, `--out FOLDER` writes elsewhere.
//! `PORTCULLIS_BIN` names another gateway binary than the one that was just built.
//!
//! Not here: the comparison with other gateways. Invariant: a figure is the median of several
//! rounds, and its least and greatest are told with it.

mod connections;
mod denials;
mod endpoints;
mod figures;
mod gateway;
mod instances;
mod keys;
mod load;
mod plot;
mod process;
mod redis_server;
mod ring;
mod routes;
mod upstream;

use std::path::PathBuf;
use std::time::Duration;

use figures::Curve;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How thoroughly to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effort {
    /// Figures to keep.
    Full,
    /// Only that everything works.
    Quick,
}

impl Effort {
    /// One of two values.
    fn choose<T>(self, full: T, quick: T) -> T {
        match self {
            Effort::Full => full,
            Effort::Quick => quick,
        }
    }

    /// How long one round measures.
    fn window(self) -> Duration {
        self.choose(Duration::from_secs(2), Duration::from_millis(300))
    }

    /// How often each point is measured.
    fn rounds(self) -> usize {
        self.choose(5, 2)
    }
}

/// A curve, by the name under which it is asked for.
struct Named {
    name: &'static str,
    measure: fn(Effort) -> Curve,
}

#[rustfmt::skip] // A table: one line for each curve.
const CURVES: [Named; 7] = [
    Named { name: "routes", measure: routes::measure },
    Named { name: "keys-embedded", measure: keys::measure_embedded },
    Named { name: "keys-redis", measure: keys::measure_redis },
    Named { name: "connections", measure: connections::measure },
    Named { name: "instances", measure: instances::measure },
    Named { name: "denials", measure: denials::measure },
    Named { name: "endpoints", measure: endpoints::measure },
];

struct Options {
    curve: Option<String>,
    effort: Effort,
    out: PathBuf,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` runs this without: whoever tests does not want to wait.
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("run as `cargo bench --bench growth`");
        return;
    }
    let options = Options::parse(&arguments);
    process::pin_this_to_the_load_core();
    std::fs::create_dir_all(&options.out).expect("the folder for the figures can be made");
    println!("gateway: {}", gateway::binary().display());
    for Named { name, measure } in CURVES {
        if options.curve.as_deref().is_none_or(|wanted| wanted == name) {
            println!("\n## {name}");
            let curve = measure(options.effort);
            curve.write(&options.out, name);
            println!("\n{}", curve.markdown());
        }
    }
    println!("figures are in {}", options.out.display());
}

impl Options {
    fn parse(arguments: &[String]) -> Options {
        let has = |name: &str| arguments.iter().any(|argument| argument == name);
        let value = |name: &str| {
            let at = arguments.iter().position(|argument| argument == name)?;
            arguments.get(at + 1).cloned()
        };
        let curve = value("--curve");
        if let Some(wanted) = &curve {
            let known = CURVES.map(|curve| curve.name);
            assert!(
                known.contains(&wanted.as_str()),
                "--curve is one of {known:?}"
            );
        }
        let effort = if has("--quick") {
            Effort::Quick
        } else {
            Effort::Full
        };
        let out = value("--out").map_or_else(|| default_out(effort), PathBuf::from);
        Options { curve, effort, out }
    }
}

/// A smoke must not replace the figures that the documentation shows.
fn default_out(effort: Effort) -> PathBuf {
    match effort {
        Effort::Full => PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/performance")),
        Effort::Quick => std::env::temp_dir().join("portcullis-growth"),
    }
}
