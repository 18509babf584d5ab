//! Plots as SVG: latency by percentile, and a quantity over time.
//!
//! Text and lines only; colours come from the page (`currentColor` and its classes). Invariant: nothing
//! that a user typed gets in here.

use std::fmt::Write as _;
use std::time::Duration;

use super::histogram::Histogram;

/// Drawn small, so that text stays readable on a phone.
const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 456.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 240.0;

/// Latency by percentile. The horizontal axis counts nines, so that the slowest requests are seen;
/// the vertical one is logarithmic.
pub(crate) fn latency_by_percentile(histogram: &Histogram, title: &str) -> String {
    let nines = (histogram.count().max(10) as f64).log10().ceil();
    let (low, high) = decades(histogram);
    let x = |nine: f64| LEFT + (RIGHT - LEFT) * nine / nines;
    let y = |time: Duration| {
        let height = (micros(time).log10() - low) / (high - low);
        BOTTOM - (BOTTOM - TOP) * height.clamp(0.0, 1.0)
    };
    let mut plot = Plot::new(title, "percentile of requests");
    for (share, name) in PERCENTILES {
        let nine = -(1.0 - share).log10();
        // Six nines are not quite 6 as floats go.
        if nine <= nines + 1e-6 {
            plot.tick_x(x(nine), name);
        }
    }
    let mut decade = low;
    while decade <= high {
        let time = Duration::from_secs_f64(10_f64.powf(decade) / 1e6);
        plot.tick_y(y(time), &power_of_ten(decade));
        decade += 1.0;
    }
    let steps = 160;
    let points = (0..=steps).map(|step| {
        let nine = nines * f64::from(step) / f64::from(steps);
        (x(nine), y(histogram.at(1.0 - 10_f64.powf(-nine))))
    });
    plot.line(points);
    plot.done()
}

const PERCENTILES: [(f64, &str); 8] = [
    (0.0, "0"),
    (0.5, "50"),
    (0.9, "90"),
    (0.99, "99"),
    (0.999, "99.9"),
    (0.9999, "99.99"),
    (0.999_99, "99.999"),
    (0.999_999, "99.9999"),
];

/// A quantity, from zero up, over the seconds of a run.
pub(crate) fn over_time(
    points: impl Iterator<Item = (f64, f64)> + Clone,
    shown: impl Fn(f64) -> String,
    title: &str,
) -> String {
    let most = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
    let seconds = most(&mut points.clone().map(|(at, _)| at)).max(1.0);
    let step = round_step(most(&mut points.clone().map(|(_, value)| value)) / 4.0);
    let top = step * 5.0;
    let x = |at: f64| LEFT + (RIGHT - LEFT) * at / seconds;
    let y = |value: f64| BOTTOM - (BOTTOM - TOP) * value / top;
    let mut plot = Plot::new(title, "seconds");
    let every = round_step(seconds / 6.0).max(1.0);
    let ticks = (0..=6).map(|tick| f64::from(tick) * every);
    for at in ticks.take_while(|at| *at <= seconds) {
        plot.tick_x(x(at), &format!("{at}"));
    }
    for value in (0..=5).map(|tick| f64::from(tick) * step) {
        plot.tick_y(y(value), &shown(value));
    }
    plot.line(points.map(|(at, value)| (x(at), y(value))));
    plot.done()
}

/// `100 us`, `1 ms`: a power of ten of microseconds.
fn power_of_ten(decade: f64) -> String {
    let (unit, above) = match decade {
        ..3.0 => ("us", 0.0),
        ..6.0 => ("ms", 3.0),
        _ => ("s", 6.0),
    };
    format!("{} {unit}", 10_f64.powf(decade - above).round())
}

/// 1, 2 or 5 times a power of ten, and not less than `least`.
fn round_step(least: f64) -> f64 {
    if least <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|step| step * power);
    steps
        .into_iter()
        .find(|step| *step >= least)
        .unwrap_or(10.0 * power)
}

/// The powers of ten, in microseconds, around all latencies.
fn decades(histogram: &Histogram) -> (f64, f64) {
    let low = micros(histogram.at(0.0)).log10().floor();
    let high = micros(histogram.max()).log10().ceil();
    (low, high.max(low + 1.0))
}

fn micros(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).max(1.0)
}

/// An SVG that is being drawn.
struct Plot(String);

impl Plot {
    fn new(title: &str, axis: &str) -> Plot {
        let (middle, below) = (f64::midpoint(LEFT, RIGHT), BOTTOM + 34.0);
        Plot(format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n<title>{title}</title>\n\
             <text x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">{axis}</text>\n"
        ))
    }

    fn tick_x(&mut self, x: f64, name: &str) {
        let below = BOTTOM + 16.0;
        self.add(format_args!(
            "<path class=\"grid\" d=\"M{x:.1} {TOP}V{BOTTOM}\"/>\
             <text x=\"{x:.1}\" y=\"{below}\" text-anchor=\"middle\">{name}</text>"
        ));
    }

    fn tick_y(&mut self, y: f64, name: &str) {
        let (left, line) = (LEFT - 6.0, y + 4.0);
        self.add(format_args!(
            "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>\
             <text x=\"{left}\" y=\"{line:.1}\" text-anchor=\"end\">{name}</text>"
        ));
    }

    fn line(&mut self, points: impl Iterator<Item = (f64, f64)>) {
        let points: Vec<_> = points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        match points.as_slice() {
            // A line of one point would not be seen.
            [only] => {
                let (x, y) = only.split_once(',').unwrap_or_default();
                self.add(format_args!(
                    "<circle class=\"dot\" cx=\"{x}\" cy=\"{y}\" r=\"3\"/>"
                ));
            }
            _ => {
                let points = points.join(" ");
                self.add(format_args!(
                    "<polyline class=\"line\" points=\"{points}\"/>"
                ));
            }
        }
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{element}").expect("a String takes everything");
    }

    fn done(mut self) -> String {
        self.0.push_str("</svg>");
        self.0
    }
}
