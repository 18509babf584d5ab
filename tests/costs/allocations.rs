//! Heap allocations of one keep-alive request through the whole gateway, and where they are made.
//!
//! This program is both ends of the count: run with `serve` it is the gateway itself with dhat as
//! its allocator; run without arguments it starts that, asks, and holds what dhat counted against
//! tests/data/costs.tsv. Client and upstream are in the other process, so every allocation that is
//! counted is the gateway's; one that grows counts as one more.
//!
//! `cargo test --release --test allocations` prints the places too; `target/tmp/allocations.json`
//! can be opened in DHAT's viewer.

mod client;
mod home;
mod profile;
mod table;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode};

use clap::Parser as _;

use client::KeepAlive;
use home::{Home, start_upstream};
use profile::Profile;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const REQUESTS: u32 = 1_000;
const WARM_UP: u32 = 100;
/// In percent. Some belong to no request: the caches' own work, now and then.
const SLACK: f64 = 3.0;
const PROFILE: &str = "allocations.json";
/// Call frames that dhat keeps of each allocation.
const FRAMES: usize = 40;

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
            .trim_backtraces(Some(FRAMES))
            .build();
        println!("counting");
        let _ = orders.next();
        drop(profiler);
        println!("written");
    }
}

fn count() {
    let home = Home::build(start_upstream());
    let this_program = std::env::current_exe().expect("it has a path");
    let mut gateway = home.serve(Command::new(this_program));
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
    let profile = Profile::read(&kept, REQUESTS);
    profile.print();
    let figures = [
        ("allocations".into(), profile.blocks()),
        ("bytes".into(), profile.bytes()),
    ];
    table::hold("heap, HTTP/1.1 keep-alive", SLACK, &figures);
}
