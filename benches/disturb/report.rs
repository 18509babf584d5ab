//! Rounds of runs: kept as JSON, told as a table and a plot.

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::disturbance::Disturbance;
use crate::gateway::Layout;
use crate::load::Sample;

/// One disturbance in one round. Latencies in microseconds.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    name: &'static str,
    requests: usize,
    failed: usize,
    p50: u64,
    p99: u64,
    p999: u64,
    most: u64,
    cpu: Duration,
    over_time: Vec<u64>,
}

/// Everything measured with one setup.
pub(crate) struct Rounds {
    all: Value,
}

/// The plot's step.
const STEP: Duration = Duration::from_millis(500);
const COLOURS: [&str; 7] = [
    "#222", "#c0392b", "#2471a3", "#d68910", "#7d3c98", "#148f77", "#999",
];

impl Run {
    pub(crate) fn new(
        name: &'static str,
        samples: &[Sample],
        disturbed: Range<Duration>,
        whole: Duration,
        cpu: Duration,
    ) -> Run {
        let within = |range: Range<Duration>| {
            let mut micros: Vec<u64> = samples
                .iter()
                .filter(|sample| range.contains(&sample.due))
                .map(|sample| {
                    u64::try_from(sample.latency.as_micros()).expect("no request takes so long")
                })
                .collect();
            micros.sort_unstable();
            micros
        };
        let micros = within(disturbed);
        let steps = u32::try_from(whole.as_millis() / STEP.as_millis()).expect("some seconds");
        Run {
            name,
            requests: micros.len(),
            failed: samples.iter().filter(|sample| !sample.good).count(),
            p50: quantile(&micros, 0.5),
            p99: quantile(&micros, 0.99),
            p999: quantile(&micros, 0.999),
            most: quantile(&micros, 1.0),
            cpu,
            over_time: (0..steps)
                .map(|step| quantile(&within(STEP * step..STEP * (step + 1)), 0.99))
                .collect(),
        }
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name, "requests": self.requests, "failed": self.failed, "p50_us": self.p50,
            "p99_us": self.p99, "p999_us": self.p999, "max_us": self.most,
            "gateway_cpu_seconds": self.cpu.as_secs_f64(), "p99_us_each_half_second": self.over_time,
        })
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<14} {:>7} requests, {} failed; p50 {} p99 {} p99.9 {} max {} us; gateway {:.2} CPU s",
            self.name,
            self.requests,
            self.failed,
            self.p50,
            self.p99,
            self.p999,
            self.most,
            self.cpu.as_secs_f64()
        )
    }
}

/// The value that this share of the sorted ones does not exceed.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place in the list"
)]
fn quantile(sorted: &[u64], share: f64) -> u64 {
    let place = (sorted.len() as f64 * share).ceil() as usize;
    sorted
        .get(place.saturating_sub(1))
        .or(sorted.last())
        .copied()
        .unwrap_or(0)
}

impl Rounds {
    /// Those of before, or none.
    pub(crate) fn open(file: &Path, add: bool) -> Rounds {
        let before = add.then(|| std::fs::read(file).ok()).flatten();
        let all =
            before.map(|bytes| serde_json::from_slice(&bytes).expect("written by this bench"));
        Rounds {
            all: all.unwrap_or_else(|| json!({ "rounds": [] })),
        }
    }

    /// Requests a second of the rounds before.
    pub(crate) fn rate(&self) -> Option<u32> {
        self.all["rate"]
            .as_u64()
            .and_then(|rate| rate.try_into().ok())
    }

    pub(crate) fn set_capacity(&mut self, capacity: u32) {
        self.all["capacity"] = capacity.into();
    }

    pub(crate) fn set_setup(
        &mut self,
        rate: u32,
        connections: usize,
        routes: usize,
        layout: Layout,
    ) {
        self.all["rate"] = rate.into();
        self.all["connections"] = connections.into();
        self.all["routes"] = routes.into();
        self.all["layout"] = format!("{layout:?}").into();
    }

    pub(crate) fn add(&mut self, runs: &[Run]) {
        let runs = runs.iter().map(Run::json).collect();
        self.all["rounds"]
            .as_array_mut()
            .expect("made so")
            .push(Value::Array(runs));
    }

    pub(crate) fn save(&self, file: &Path) {
        std::fs::write(file, serde_json::to_vec_pretty(&self.all).expect("JSON"))
            .expect("writable");
    }

    /// A table: medians over the rounds, and how each differs from the same round's undisturbed run.
    pub(crate) fn markdown(&self) -> String {
        let noise = self.noise();
        let mut text = format!(
            "{} rounds, {} requests/s over {} connections, {} routes, {}; capacity {}. Milliseconds; median (least to most). \
             Noise: two undisturbed runs of one round differ by a factor of {noise:.2} at most.\n\n\
             | meanwhile | p50 | p99 | p99 against undisturbed | p99.9 | longest | failed | gateway's CPU s |\n|---|---|---|---|---|---|---|---|\n",
            self.rounds().count(),
            self.all["rate"],
            self.all["connections"],
            self.all["routes"],
            self.all["layout"].as_str().unwrap_or("?"),
            self.all["capacity"],
        );
        for disturbance in Disturbance::ALL {
            let name = disturbance.name();
            let ratios = self.ratios(name);
            let verdict = match disturbance {
                Disturbance::None | Disturbance::NoneAgain => "",
                _ if middle(&ratios) <= noise => ", within noise",
                _ => ", **beyond noise**",
            };
            let failed: f64 = self.values(name, "failed").iter().sum();
            let _ = writeln!(
                text,
                "| {name} | {} | {} | {:.2} ({:.2} to {:.2}){verdict} | {} | {} | {failed} | {:.2} |",
                self.told(name, "p50_us"),
                self.told(name, "p99_us"),
                middle(&ratios),
                least(&ratios),
                most(&ratios),
                self.told(name, "p999_us"),
                self.told(name, "max_us"),
                middle(&self.values(name, "gateway_cpu_seconds")),
            );
        }
        text
    }

    /// Each disturbance's p99 over the time of a run, the median of the rounds; logarithmic.
    pub(crate) fn svg(&self) -> String {
        let (width, height, left, top) = (900.0, 420.0, 60.0, 20.0);
        let series: Vec<(&str, Vec<f64>)> = Disturbance::ALL
            .iter()
            .map(|disturbance| (disturbance.name(), self.over_time(disturbance.name())))
            .collect();
        let all = || {
            series
                .iter()
                .flat_map(|(_, values)| values.iter().copied())
                .filter(|value| *value > 0.0)
        };
        let floor = 10_f64.powf(least(&all().collect::<Vec<_>>()).log10().floor());
        let ceiling = 10_f64.powf(most(&all().collect::<Vec<_>>()).log10().ceil());
        let steps = series
            .iter()
            .map(|(_, values)| values.len())
            .max()
            .unwrap_or(1) as f64;
        let x = |step: f64| left + step / steps * (width - left - 160.0);
        let y = |micros: f64| {
            let share = (micros.max(floor) / floor).log10() / (ceiling / floor).log10();
            top + (1.0 - share) * (height - top - 40.0)
        };
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n\
             <rect x=\"{:.1}\" y=\"{top}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#f4f1e8\"/>\n\
             <text x=\"{left}\" y=\"14\">p99 of the measured requests over a run; shaded: the disturbance</text>\n",
            x(4.0),
            x(24.0) - x(4.0),
            height - top - 40.0,
        );
        let mut line = floor;
        while line <= ceiling {
            let _ = writeln!(
                svg,
                "<line x1=\"{left}\" x2=\"{:.1}\" y1=\"{1:.1}\" y2=\"{1:.1}\" stroke=\"#ddd\"/><text x=\"4\" y=\"{1:.1}\">{2} ms</text>",
                x(steps),
                y(line),
                line / 1000.0
            );
            line *= 10.0;
        }
        for second in (0..=(steps as u32) / 2).step_by(2) {
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\">{second} s</text>",
                x(f64::from(second) * 2.0),
                height - 22.0
            );
        }
        for (at, (name, values)) in series.iter().enumerate() {
            let colour = COLOURS[at % COLOURS.len()];
            let points: Vec<String> = values
                .iter()
                .enumerate()
                .map(|(step, value)| format!("{:.1},{:.1}", x(step as f64 + 0.5), y(*value)))
                .collect();
            let _ = writeln!(
                svg,
                "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" points=\"{}\"/>",
                points.join(" ")
            );
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{name}</text>",
                width - 150.0,
                top + 20.0 + 18.0 * at as f64
            );
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn rounds(&self) -> impl Iterator<Item = &Vec<Value>> {
        self.all["rounds"]
            .as_array()
            .expect("made so")
            .iter()
            .filter_map(Value::as_array)
    }

    fn runs(&self, name: &str) -> impl Iterator<Item = &Value> {
        self.rounds()
            .filter_map(move |runs| runs.iter().find(|run| run["name"] == name))
    }

    fn values(&self, name: &str, field: &str) -> Vec<f64> {
        self.runs(name)
            .filter_map(|run| run[field].as_f64())
            .collect()
    }

    /// The p99 of a run by that of the first undisturbed one of its round.
    fn ratios(&self, name: &str) -> Vec<f64> {
        let base = self.values(Disturbance::None.name(), "p99_us");
        self.values(name, "p99_us")
            .iter()
            .zip(base)
            .map(|(value, base)| value / base)
            .collect()
    }

    /// How far two undisturbed runs of one round were apart, at most.
    fn noise(&self) -> f64 {
        let again = self.ratios(Disturbance::NoneAgain.name());
        again
            .into_iter()
            .map(|ratio| ratio.max(1.0 / ratio))
            .fold(1.0, f64::max)
    }

    fn told(&self, name: &str, field: &str) -> String {
        let values: Vec<f64> = self
            .values(name, field)
            .iter()
            .map(|micros| micros / 1000.0)
            .collect();
        format!(
            "{:.2} ({:.2} to {:.2})",
            middle(&values),
            least(&values),
            most(&values)
        )
    }

    fn over_time(&self, name: &str) -> Vec<f64> {
        let runs: Vec<Vec<f64>> = self
            .runs(name)
            .filter_map(|run| run["p99_us_each_half_second"].as_array())
            .map(|values| values.iter().filter_map(Value::as_f64).collect())
            .collect();
        let steps = runs.iter().map(Vec::len).min().unwrap_or(0);
        (0..steps)
            .map(|step| middle(&runs.iter().map(|run| run[step]).collect::<Vec<_>>()))
            .collect()
    }
}

fn middle(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.get(sorted.len() / 2), sorted.len() % 2) {
        (Some(upper), 0) => (upper + sorted[sorted.len() / 2 - 1]) / 2.0,
        (Some(upper), _) => *upper,
        (None, _) => 0.0,
    }
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn most(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}
