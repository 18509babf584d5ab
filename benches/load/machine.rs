//! The machine that asks: its limits, and what a report tells of it.

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use portcullis::clock::Clock;

/// What a report tells of the machine; nothing that names it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) processor: String,
    pub(crate) kernel: String,
    /// When, in UTC.
    pub(crate) date: String,
}

impl Machine {
    pub(crate) fn this() -> Machine {
        let read = |file| fs::read_to_string(file).unwrap_or_default();
        let processors = read("/proc/cpuinfo");
        let model = processors
            .lines()
            .find(|line| line.starts_with("model name"));
        let model = model.and_then(|line| line.split_once(':'));
        let or_unknown = |text: &str| match text.trim() {
            "" => "unknown".to_owned(),
            text => text.to_owned(),
        };
        Machine {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: or_unknown(model.map_or("", |(_, name)| name)),
            kernel: or_unknown(&format!(
                "{} {}",
                read("/proc/sys/kernel/ostype").trim(),
                read("/proc/sys/kernel/osrelease").trim()
            )),
            date: Clock::system().now().to_string(),
        }
    }
}

/// Raises the limit of open files as far as it goes: a connection is one.
pub(crate) fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Where that is refused, connections fail above the limit, and the summary says so.
    let _ = setrlimit(Resource::Nofile, most);
}

/// The time that this thread has had on a processor.
pub(crate) fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}
