//! The process metrics, under the names that every Prometheus client library gives them, so that
//! stock dashboards find them. Read from `/proc/self` at each scrape; what cannot be read is
//! left out.

use std::fmt::Write as _;
use std::fs;

/// Lines of the text exposition format.
pub(super) fn exposition() -> String {
    let mut text = String::new();
    let mut show = |name: &str, kind: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}"
            );
        }
    };
    let stat = Stat::read();
    let cpu = stat.as_ref().and_then(Stat::cpu_seconds);
    let start = stat.as_ref().and_then(Stat::start_seconds);
    show(
        "process_cpu_seconds_total",
        "counter",
        "User and system time.",
        cpu,
    );
    show(
        "process_start_time_seconds",
        "gauge",
        "Since the Unix epoch.",
        start,
    );
    let memory = |field| status_bytes(field);
    show(
        "process_resident_memory_bytes",
        "gauge",
        "Resident memory.",
        memory("VmRSS:"),
    );
    show(
        "process_virtual_memory_bytes",
        "gauge",
        "Virtual memory.",
        memory("VmSize:"),
    );
    show(
        "process_open_fds",
        "gauge",
        "Open file descriptors.",
        open_files(),
    );
    show(
        "process_max_fds",
        "gauge",
        "Limit of open file descriptors.",
        file_limit(),
    );
    text
}

/// `/proc/self/stat` after the command name, which may hold spaces and parentheses: proc(5).
struct Stat(Vec<String>);

/// USER_HZ: 100 in the kernel's interface to programs on every architecture that we build for.
const TICKS_PER_SECOND: f64 = 100.0;

impl Stat {
    fn read() -> Option<Stat> {
        let text = fs::read_to_string("/proc/self/stat").ok()?;
        let (_, fields) = text.rsplit_once(')')?;
        Some(Stat(fields.split_whitespace().map(String::from).collect()))
    }

    /// A field by its number in proc(5); the first after the name is 3.
    fn field(&self, number: usize) -> Option<f64> {
        self.0.get(number - 3)?.parse().ok()
    }

    fn cpu_seconds(&self) -> Option<f64> {
        Some((self.field(14)? + self.field(15)?) / TICKS_PER_SECOND)
    }

    fn start_seconds(&self) -> Option<f64> {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        let boot = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
        Some(boot.trim().parse::<f64>().ok()? + self.field(22)? / TICKS_PER_SECOND)
    }
}

fn status_bytes(field: &str) -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kilobytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024.0)
}

fn open_files() -> Option<f64> {
    // One of them is this reading itself.
    let open = fs::read_dir("/proc/self/fd").ok()?.count().checked_sub(1)?;
    Some(f64::from(u32::try_from(open).ok()?))
}

fn file_limit() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_names_have_plausible_values() {
        let text = exposition();
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.expect(name).trim().parse().expect("a number")
        };
        assert!(value("process_resident_memory_bytes ") > 100_000.0);
        assert!(value("process_open_fds ") >= 3.0);
        assert!(value("process_max_fds ") >= value("process_open_fds "));
        assert!(value("process_cpu_seconds_total ") >= 0.0);
        assert!(value("process_start_time_seconds ") > 1_600_000_000.0);
    }
}
