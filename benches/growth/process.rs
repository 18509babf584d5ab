//! Processes: what they cost, and on which core they run.
//!
//! Everything is read from `/proc`, in the units that the kernel documents (proc(5)).

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

/// The core of the process that is measured.
const MEASURED_CORE: &str = "1";
/// The core of everything else: clients, upstreams, and whoever waits.
const LOAD_CORE: &str = "0";

/// A command that will run on the measured core, where there are two and `taskset` is installed.
pub(crate) fn on_the_measured_core(program: &Path) -> Command {
    on_core(program, MEASURED_CORE)
}

/// A command that will run beside the clients.
pub(crate) fn on_the_load_core(program: &Path) -> Command {
    on_core(program, LOAD_CORE)
}

/// Moves this process away from the measured core. Threads made later follow.
pub(crate) fn pin_this_to_the_load_core() {
    if can_pin() {
        let pid = std::process::id().to_string();
        let mut command = Command::new("taskset");
        command.args(["-p", "-c", LOAD_CORE, &pid]);
        let done = command.output().is_ok_and(|done| done.status.success());
        assert!(done, "taskset moves a process of one's own");
    }
}

/// User and system time of a process and all its threads, also those that have ended.
pub(crate) fn cpu(pid: u32) -> Duration {
    let stat = read(&format!("/proc/{pid}/stat"));
    // The name in parentheses may hold spaces; user and system time are fields 14 and 15.
    let (_, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
    let ticks: u64 = fields
        .split(' ')
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().expect("a count of ticks"))
        .sum();
    Duration::from_secs_f64(ticks as f64 / ticks_per_second())
}

/// Resident memory of a process in bytes.
pub(crate) fn resident(pid: u32) -> f64 {
    let status = read(&format!("/proc/{pid}/status"));
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let text = line.expect("a process that lives has memory");
    let kib: f64 = text
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .expect("a count");
    kib * 1024.0
}

fn on_core(program: &Path, core: &str) -> Command {
    if can_pin() {
        let mut command = Command::new("taskset");
        command.args(["-c", core]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

/// `taskset` replaces itself by what it starts, so the process id is that of the program.
fn can_pin() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| {
        let allowed = Command::new("taskset")
            .args(["-c", MEASURED_CORE, "true"])
            .output();
        allowed.is_ok_and(|done| done.status.success())
    })
}

fn ticks_per_second() -> f64 {
    static TICKS: OnceLock<f64> = OnceLock::new();
    *TICKS.get_or_init(|| {
        let asked = Command::new("getconf").arg("CLK_TCK").output();
        let told = asked
            .ok()
            .and_then(|told| String::from_utf8(told.stdout).ok());
        // 100 on every architecture that Linux serves with one figure.
        told.and_then(|text| text.trim().parse().ok())
            .unwrap_or(100.0)
    })
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}
