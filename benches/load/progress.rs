//! The line that tells how it goes: rewritten each second on a terminal, a new one elsewhere.

use std::io::Write;

use super::measurement::Point;
use super::plan::Plan;
use super::quantity::{latency, rate};

/// Writes to standard error, as a rule.
pub(crate) struct Progress<'a> {
    out: &'a mut dyn Write,
    live: bool,
}

impl<'a> Progress<'a> {
    pub(crate) fn new(out: &'a mut dyn Write, live: bool) -> Progress<'a> {
        Progress { out, live }
    }

    /// Before the connections are made.
    pub(crate) fn begin(&mut self, plan: &Plan) {
        let (target, connections) = (&plan.target, plan.connections);
        self.write(&format!(
            "{target}: {connections} connections, {:?}\n",
            plan.duration
        ));
    }

    /// After each second.
    pub(crate) fn show(&mut self, point: &Point) {
        // Below 80 columns, for a line that wraps cannot be rewritten.
        let line = format!(
            "{:>4.0} s {:>9} req/s  p50 {:>7}  p99 {:>7}  4xx/5xx {}  errors {}",
            point.at.as_secs_f64(),
            rate(point.throughput),
            latency(point.p50),
            latency(point.p99),
            point.refused,
            point.failed
        );
        match self.live {
            // Back to the first column, and nothing left of the line before (ECMA-48 EL).
            true => self.write(&format!("\r\x1b[K{line}")),
            false => self.write(&format!("{line}\n")),
        }
    }

    /// Before anything else is written.
    pub(crate) fn end(&mut self) {
        if self.live {
            self.write("\r\x1b[K");
        }
    }

    fn write(&mut self, text: &str) {
        // Whoever does not look on is not to end the run.
        let _ = self
            .out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush());
    }
}
