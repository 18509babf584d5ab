//! What a run found, for people, for programs and for the report.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::dial::Dial;
use super::histogram::Histogram;
use super::machine::Machine;
use super::measurement::{Outcome, Point};
use super::plan::Plan;
use super::quantity::{bytes, count, latency, rate};

/// A run's figures. Its JSON is what `--format json` prints: names are kept, times are microseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) options: BTreeMap<&'static str, String>,
    pub(crate) address: String,
    pub(crate) tls: &'static str,
    pub(crate) elapsed_seconds: f64,
    /// Answers, of any status.
    pub(crate) answers: u64,
    pub(crate) throughput_per_second: f64,
    pub(crate) latency_us: Percentiles,
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Requests without an answer, by kind.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Open loop: requests that were due and never sent.
    pub(crate) missed: u64,
    pub(crate) reconnected: u64,
    pub(crate) received_body_bytes: u64,
    /// Of one core, how much each of the asking threads used.
    pub(crate) generator_load: f64,
    pub(crate) seconds: Vec<Second>,
    pub(crate) machine: Machine,
    #[serde(skip)]
    pub(crate) histogram: Histogram,
}

/// The latencies that are always told.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p99_9: f64,
    pub(crate) max: f64,
}

/// One second of the run.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Second {
    /// Where it ends.
    pub(crate) at: f64,
    pub(crate) throughput_per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Requests without an answer.
    pub(crate) errors: u64,
}

/// A thread that is busier than this may be what limits the figures.
const BUSY: f64 = 0.9;

impl Summary {
    pub(crate) fn new(plan: &Plan, dial: &Dial, outcome: &Outcome) -> Summary {
        let (total, elapsed) = (&outcome.total, outcome.elapsed.as_secs_f64());
        let over = |amount: f64| amount / elapsed.max(f64::MIN_POSITIVE);
        let errors = total.failures.iter();
        Summary {
            options: plan.options().into_iter().collect(),
            address: dial.address().to_string(),
            tls: dial.tls_version(),
            elapsed_seconds: elapsed,
            answers: total.answers(),
            throughput_per_second: over(outcome.in_time as f64),
            latency_us: Percentiles::of(&total.latency),
            statuses: total.statuses.clone(),
            errors: errors
                .map(|(kind, times)| (kind.to_string(), *times))
                .collect(),
            missed: outcome.missed,
            reconnected: total.reconnected,
            received_body_bytes: total.received,
            generator_load: over(outcome.busy.as_secs_f64()) / plan.threads.get() as f64,
            seconds: outcome.points.iter().map(Second::of).collect(),
            machine: Machine::this(),
            histogram: total.latency.clone(),
        }
    }

    /// Why this run counts as failed: nothing succeeded.
    pub(crate) fn trouble(&self) -> Option<String> {
        if self.statuses.range(200..400).next().is_some() {
            return None;
        }
        if let Some((status, times)) = self.statuses.iter().max_by_key(|(_, times)| **times) {
            let (times, why) = (count(*times), meaning(*status));
            return Some(format!(
                "no request succeeded: {times} answers were {status}{why}"
            ));
        }
        let worst = self.errors.iter().max_by_key(|(_, times)| **times);
        Some(match worst {
            Some((kind, times)) => format!("no request was answered: {} x {kind}", count(*times)),
            None => "no request was answered before the end".into(),
        })
    }
}

/// What to look at first.
fn meaning(status: u16) -> &'static str {
    match status {
        401 => " (the credential is missing, wrong, expired or revoked)",
        403 => " (the credential lacks a scope that the route requires)",
        404 | 405 => " (no route takes this path and method)",
        421 => " (no certificate or route is for this host)",
        502..=504 => " (the gateway does not reach its upstream)",
        _ => "",
    }
}

impl Percentiles {
    fn of(histogram: &Histogram) -> Percentiles {
        Percentiles {
            p50: micros(histogram.at(0.5)),
            p90: micros(histogram.at(0.9)),
            p99: micros(histogram.at(0.99)),
            p99_9: micros(histogram.at(0.999)),
            max: micros(histogram.max()),
        }
    }

    /// With their names, in order.
    pub(crate) fn named(&self) -> [(&'static str, String); 5] {
        let shown = |micros: f64| latency(Duration::from_secs_f64(micros / 1e6));
        [
            ("p50", shown(self.p50)),
            ("p90", shown(self.p90)),
            ("p99", shown(self.p99)),
            ("p99.9", shown(self.p99_9)),
            ("max", shown(self.max)),
        ]
    }
}

impl Second {
    fn of(point: &Point) -> Second {
        Second {
            at: point.at.as_secs_f64(),
            throughput_per_second: point.throughput,
            p50_us: micros(point.p50),
            p99_us: micros(point.p99),
            errors: point.failed,
        }
    }
}

fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e3
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let option = |name| self.options.get(name).map_or("", String::as_str);
        writeln!(f, "{} at {}", option("request"), self.address)?;
        writeln!(
            f,
            "{}, {}, {} connections, {}, {:.1} s\n",
            option("protocol"),
            self.tls,
            option("connections"),
            option("loop"),
            self.elapsed_seconds
        )?;
        writeln!(
            f,
            "throughput   {} requests/s",
            rate(self.throughput_per_second)
        )?;
        let latencies = self.latency_us.named();
        let latencies = latencies.map(|(name, latency)| format!("{name} {latency}"));
        writeln!(f, "latency      {}", latencies.join("   "))?;
        writeln!(f, "statuses     {}", listed(&self.statuses))?;
        writeln!(f, "errors       {}", listed(&self.errors))?;
        if self.missed > 0 {
            writeln!(
                f,
                "not sent     {} requests were due when no connection was free",
                count(self.missed)
            )?;
        }
        if self.reconnected > 0 {
            writeln!(f, "reconnected  {} times", count(self.reconnected))?;
        }
        let received = self.received_body_bytes as f64;
        let each_second = received / self.elapsed_seconds.max(f64::MIN_POSITIVE);
        writeln!(
            f,
            "received     {} of bodies, {}/s",
            bytes(received),
            bytes(each_second)
        )?;
        let (load, warning) = (self.generator_load * 100.0, self.warning());
        write!(
            f,
            "generator    {load:.0} % of a core on each thread{warning}"
        )
    }
}

impl Summary {
    /// Said when the figures may be the generator's own.
    pub(crate) fn warning(&self) -> &'static str {
        match self.generator_load > BUSY {
            true => ": it may be what limits the figures; try more --threads",
            false => "",
        }
    }
}

fn listed<K: fmt::Display>(counts: &BTreeMap<K, u64>) -> String {
    let counts: Vec<_> = counts
        .iter()
        .map(|(name, times)| format!("{name}: {}", count(*times)))
        .collect();
    match counts.is_empty() {
        true => "none".into(),
        false => counts.join("   "),
    }
}
