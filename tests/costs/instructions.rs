//! Instructions of a request, all of them, in the shipped binary under callgrind: TLS, HTTP, every
//! check, and the allocator; only the kernel's are missing.

use std::process::Command;

use crate::client::KeepAlive;
use crate::home::{Gateway, Home, start_upstream};
use crate::table::hold;

const REQUESTS: u32 = 500;
const WARM_UP: u32 = 100;
/// valgrind hides AVX-512 and the like from the program, but compilers and libraries differ.
const SLACK: f64 = 10.0;

#[test]
fn a_keep_alive_request_costs_no_more_instructions_than_it_did() {
    let home = Home::build(start_upstream());
    let version = Command::new("valgrind").arg("--version").output();
    version.expect("valgrind starts: apt-get install valgrind");
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!(
            "--callgrind-out-file={}",
            home.path("calls").display()
        ))
        .arg(format!("--vgdb-prefix={}", home.path("vgdb").display()))
        .arg(env!("CARGO_BIN_EXE_portcullis"));
    let gateway = home.serve(valgrind);
    let mut client = KeepAlive::connect(&home, gateway.address);
    client.ask(WARM_UP);
    tell(&home, &gateway, "zero");
    client.ask(REQUESTS);
    tell(&home, &gateway, "dump");
    let total = instructions(&home);
    let figures = [("keep-alive request".into(), total / f64::from(REQUESTS))];
    hold("instructions of a process", SLACK, &figures);
}

/// A word to the callgrind that runs the gateway.
fn tell(home: &Home, gateway: &Gateway, word: &str) {
    let told = Command::new("vgdb")
        .arg(format!("--pid={}", gateway.child.id()))
        .arg(format!("--vgdb-prefix={}", home.path("vgdb").display()))
        .arg(word)
        .output()
        .expect("vgdb is part of valgrind: apt-get install valgrind");
    assert!(told.status.success(), "{told:?}");
}

/// What the first dump says.
fn instructions(home: &Home) -> f64 {
    let dump = std::fs::read_to_string(home.path("calls.1")).expect("callgrind wrote it");
    let totals = dump.lines().find_map(|line| line.strip_prefix("totals: "));
    let total = totals.and_then(|count| count.trim().parse().ok());
    total.unwrap_or_else(|| panic!("no totals in:\n{dump}"))
}
