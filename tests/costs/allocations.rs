//! Heap allocations of one keep-alive request through the whole gateway, and where they are made.
//!
//! This program is both ends of the count: run with `serve` it is the gateway itself with dhat as
//! its allocator; run without arguments it starts that, asks, and compares with the bound. Client
//! and upstream are in the other process, so every allocation that is counted is the gateway's.
//!
//! `cargo test --release --test allocations` (`SITES=40` shows more places).

mod client;
mod home;
mod table;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode};

use clap::Parser as _;
use serde_json::Value;

use client::KeepAlive;
use home::{Home, start_upstream};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const REQUESTS: u32 = 1_000;
const WARM_UP: u32 = 100;
const PROFILE: &str = "allocations.json";

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("serve") => {
            std::thread::spawn(obey);
            portcullis::cli::run(&portcullis::cli::Cli::parse())
        }
        _ => {
            count();
            ExitCode::SUCCESS
        }
    }
}

/// In the gateway's process: counts from one line on standard input to the next.
fn obey() {
    let mut orders = std::io::stdin().lines();
    while let Some(Ok(_)) = orders.next() {
        let profiler = dhat::Profiler::builder()
            .file_name(PROFILE)
            .trim_backtraces(Some(40))
            .build();
        println!("counting");
        let _ = orders.next();
        drop(profiler);
        println!("written");
    }
}

fn count() {
    let home = Home::build(start_upstream());
    let mut gateway = home.serve(Command::new(std::env::current_exe().expect("this program")));
    let mut client = KeepAlive::connect(&home, gateway.address);
    client.ask(WARM_UP);
    let mut orders = gateway.child.stdin.take().expect("piped");
    let mut told = BufReader::new(gateway.child.stdout.take().expect("piped")).lines();
    let mut order = |expected: &str| {
        writeln!(orders, "go on").expect("it listens");
        assert_eq!(told.next().expect("a line").expect("text"), expected);
    };
    order("counting");
    client.ask(REQUESTS);
    order("written");
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(PROFILE);
    std::fs::copy(home.path(PROFILE), &kept).expect("writable");
    let profile = Profile::read(&kept);
    profile.print();
    let per_request = |count: u64| count as f64 / f64::from(REQUESTS);
    let figures = [
        ("allocations".into(), per_request(profile.blocks())),
        ("bytes".into(), per_request(profile.bytes())),
    ];
    table::hold("heap, HTTP/1.1 keep-alive", 5.0, &figures);
}

/// What dhat saw.
struct Profile {
    sites: Vec<Site>,
}

/// One place that allocates: by its call stack, innermost frame first.
struct Site {
    blocks: u64,
    bytes: u64,
    stack: Vec<String>,
}

impl Profile {
    fn blocks(&self) -> u64 {
        self.sites.iter().map(|site| site.blocks).sum()
    }

    fn bytes(&self) -> u64 {
        self.sites.iter().map(|site| site.bytes).sum()
    }

    fn read(path: &Path) -> Profile {
        let text = std::fs::read(path).expect("dhat wrote it");
        let all: Value = serde_json::from_slice(&text).expect("JSON");
        let frames: Vec<&str> = array(&all["ftbl"]).filter_map(Value::as_str).collect();
        let site = |point: &Value| Site {
            blocks: point["tbk"].as_u64().expect("a count"),
            bytes: point["tb"].as_u64().expect("a count"),
            stack: array(&point["fs"])
                .filter_map(|frame| frames.get(usize::try_from(frame.as_u64()?).ok()?))
                .map(|frame| {
                    frame
                        .split_once(": ")
                        .map_or(*frame, |(_, name)| name)
                        .to_owned()
                })
                .collect(),
        };
        Profile {
            sites: array(&all["pps"]).map(site).collect(),
        }
    }

    fn print(&self) {
        let per_request = |count: u64| count as f64 / f64::from(REQUESTS);
        let blocks = self.sites.iter().map(|site| site.blocks).sum();
        let bytes = self.sites.iter().map(|site| site.bytes).sum();
        println!("allocations per request {:.2}", per_request(blocks));
        println!("bytes per request       {:.0}", per_request(bytes));
        let mut places: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for site in &self.sites {
            let place = places.entry(site.place()).or_default();
            place.0 += site.blocks;
            place.1 += site.bytes;
        }
        let mut places: Vec<_> = places.into_iter().collect();
        places.sort_by_key(|(_, counts)| std::cmp::Reverse(*counts));
        for (place, (blocks, bytes)) in places {
            println!(
                "{:6.2} {:7.0}  {place}",
                per_request(blocks),
                per_request(bytes)
            );
        }
    }
}

impl Site {
    /// From the first frame outside the standard library to the second of our own.
    fn place(&self) -> String {
        let outside = self.stack.iter().skip_while(|frame| is_of_std(frame));
        let mut shown: Vec<&str> = Vec::new();
        let mut own = 0;
        for frame in outside {
            shown.push(frame);
            own += u32::from(is_own(frame));
            if own == 2 || shown.len() == MAX_FRAMES {
                break;
            }
        }
        shown.join("\n                   < ")
    }
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Frames shown of a place.
const MAX_FRAMES: usize = 12;

/// The file in `function (the/last/four/parts.rs:line:column)`.
fn file(frame: &str) -> &str {
    let file = frame.rsplit_once(" (").map_or("", |(_, file)| file);
    file.split(':').next().unwrap_or_default()
}

fn is_own(frame: &str) -> bool {
    Path::new(file(frame)).is_file() && !file(frame).starts_with("tests/")
}

fn is_of_std(frame: &str) -> bool {
    const ROOTS: [&str; 12] = [
        "dhat-",
        "alloc/src/",
        "core/src/",
        "std/src/",
        "src/raw_vec/",
        "src/collections/",
        "src/vec/",
        "src/slice.rs",
        "src/string.rs",
        "src/alloc/",
        "tests/",
        "src/boxed",
    ];
    !is_own(frame) && ROOTS.iter().any(|root| file(frame).starts_with(root))
}
