//! The access log: one JSON line a request.

use std::path::PathBuf;

/// Whether and where access-log lines are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLogSettings {
    /// Where to.
    pub target: AccessLogTarget,
}

/// Where access-log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLogTarget {
    /// Appended to a file, reopened on SIGHUP.
    File(PathBuf),
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
}
