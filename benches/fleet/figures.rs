//! What the revocations of a run come to.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::fleet::GATEWAYS;
use crate::watch::End;

/// One revocation, and its end at each gateway.
pub(crate) struct Revocation {
    pub(crate) called: Instant,
    pub(crate) answered: Instant,
    /// Whether the answer came with the proof that all gateways know.
    pub(crate) is_proven: bool,
    pub(crate) ends: Vec<End>,
}

/// A run: milliseconds of each revocation, in order of size.
pub(crate) struct Run {
    /// From the call to its answer, where that did not wait for the gateways.
    answer: Vec<f64>,
    /// From the call to its answer with the proof that all gateways know.
    proof: Vec<f64>,
    /// From the call to the arrival of the last 200 at any gateway.
    last_allow: Vec<f64>,
    /// From the call until each gateway has refused.
    refused: Vec<f64>,
    /// From the answer to the arrival of the last 200 at any gateway; 0 where that came before.
    after_answer: Vec<f64>,
    late: usize,
    bound: Duration,
}

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reliability.md");
const BEGIN: &str = "<!-- written by the fleet bench: begin -->\n";
const END: &str = "<!-- written by the fleet bench: end -->\n";

impl Run {
    pub(crate) fn of(revocations: &[Revocation], bound: Duration) -> Run {
        let last = |one: &Revocation, of: fn(&End) -> Instant| {
            one.ends.iter().map(of).max().expect("there are gateways")
        };
        let sorted = |of: &dyn Fn(&Revocation) -> Option<Duration>| {
            let all = revocations.iter().filter_map(of);
            let mut all: Vec<f64> = all.map(|time| time.as_secs_f64() * 1e3).collect();
            all.sort_by(f64::total_cmp);
            all
        };
        let answer = |one: &Revocation| one.answered - one.called;
        let since = Instant::saturating_duration_since;
        // After a proof, nobody lets it in at all.
        let late = |one: &&Revocation| {
            let trusted = if one.is_proven { Duration::ZERO } else { bound };
            last(one, |end| end.last_sent) > one.answered + trusted
        };
        Run {
            answer: sorted(&|one| (!one.is_proven).then(|| answer(one))),
            proof: sorted(&|one| one.is_proven.then(|| answer(one))),
            last_allow: sorted(&|one| Some(since(&last(one, |end| end.last_allow), one.called))),
            refused: sorted(&|one| Some(since(&last(one, |end| end.first_refusal), one.called))),
            after_answer: sorted(&|one| {
                let after = since(&last(one, |end| end.last_allow), one.answered);
                (!one.is_proven).then_some(after)
            }),
            late: revocations.iter().filter(late).count(),
            bound,
        }
    }

    /// Let in past the bound.
    pub(crate) fn late(&self) -> usize {
        self.late
    }

    fn rows(&self) -> [(&'static str, &[f64]); 5] {
        [
            ("the call to its answer", &self.answer),
            ("the call to the proof of all (`?wait=5s`)", &self.proof),
            ("the call to the last 200 anywhere", &self.last_allow),
            ("the call to a 401 everywhere", &self.refused),
            ("the answer to the last 200 anywhere", &self.after_answer),
        ]
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} revocations", self.refused.len())?;
        for (name, all) in self.rows() {
            let [p50, p99, most] = [50, 99, 100].map(|percent| percentile(all, percent));
            write!(f, "; {name}: p50 {p50:.2}, p99 {p99:.2}, max {most:.2} ms")?;
        }
        Ok(())
    }
}

/// The least value that so many of a hundred are not above.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted[rank.max(1) - 1]
}

/// All runs as a table: the median of the runs, and the least and the greatest.
pub(crate) fn report(runs: &[Run], rate: u32) -> String {
    let first = runs.first().expect("a run");
    let mut text = format!(
        "`cargo bench --bench fleet` on {}: {} runs of {} revocations, {GATEWAYS} gateways on one Redis, \
         {rate} other requests/s at each. Milliseconds: median of the runs (least to most).\n\n\
         | from … to … | p50 | p99 | max |\n|---|---|---|---|\n",
        machine(),
        runs.len(),
        first.refused.len(),
    );
    for (row, (name, _)) in first.rows().into_iter().enumerate() {
        let cells = [50, 99, 100].map(|percent| {
            let of = |run: &Run| percentile(run.rows()[row].1, percent);
            let mut all: Vec<f64> = runs.iter().map(of).collect();
            all.sort_by(f64::total_cmp);
            let (least, most) = (all[0], all[all.len() - 1]);
            format!("{:.2} ({least:.2} to {most:.2})", percentile(&all, 50))
        });
        text.push_str(&format!("| {name} | {} |\n", cells.join(" | ")));
    }
    let late: usize = runs.iter().map(Run::late).sum();
    let bound = first.bound.as_secs();
    text.push_str(&format!(
        "\nLet in later than the bound (`credentials.cache.stale`, {bound} s) after the answer, or at all after a \
         proof: {late}.\n"
    ));
    text
}

/// Puts the report into docs/reliability.md, between its marks.
pub(crate) fn write(report: &str) {
    let page = std::fs::read_to_string(PAGE).expect("the page");
    let (before, rest) = page.split_once(BEGIN).expect("the page has its marks");
    let (_, after) = rest.split_once(END).expect("the page has its marks");
    std::fs::write(PAGE, format!("{before}{BEGIN}{report}{END}{after}")).expect("writable");
}

fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| {
        let value = line.strip_prefix("model name")?;
        value.split_once(": ").map(|(_, model)| model.to_owned())
    });
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let now = portcullis::clock::Clock::system().now().to_string();
    let minute = now.get(..16).unwrap_or(&now).replace('T', " ");
    format!("{cores} cores ({}), {minute}", model.unwrap_or_default())
}
