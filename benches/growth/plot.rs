//! Draws a curve as SVG: one panel for each thing that was measured, over one logarithmic axis.
//!
//! Colours follow the reader's light or dark scheme by a media query inside the file, so one file
//! serves both. Bars reach from the least to the greatest round; the vertical axes begin at zero, so
//! that what is flat looks flat.

use std::fmt::Write as _;

use crate::figures::{Panel, Point, grouped, short};

const WIDTH: f64 = 760.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 28.0;
const HEAD: f64 = 40.0;
const PANEL: f64 = 230.0;
/// Of a panel: its heading above, and the gap to the next below.
const PANEL_TOP: f64 = 44.0;
const PANEL_BOTTOM: f64 = 20.0;
const FOOT: f64 = 44.0;

const STYLE: &str = "\
svg { color-scheme: light dark; }
text { font: 12px system-ui, Helvetica, Arial, sans-serif; fill: #24292f; }
.title { font-size: 16px; font-weight: 600; }
.heading { font-weight: 600; }
.back { fill: #ffffff; }
.grid { stroke: #d0d7de; stroke-width: 1; }
.axis { stroke: #57606a; stroke-width: 1; }
.s0 { stroke: #0969da; fill: #0969da; } .s1 { stroke: #bc4c00; fill: #bc4c00; }
.s2 { stroke: #1a7f37; fill: #1a7f37; } .s3 { stroke: #8250df; fill: #8250df; }
path { fill: none !important; stroke-width: 2; }
text.value { font-size: 11px; stroke: none; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; } .back { fill: #0d1117; } .grid { stroke: #30363d; } .axis { stroke: #8b949e; }
.s0 { stroke: #58a6ff; fill: #58a6ff; } .s1 { stroke: #f0883e; fill: #f0883e; }
.s2 { stroke: #3fb950; fill: #3fb950; } .s3 { stroke: #bc8cff; fill: #bc8cff; }
}";

/// The whole picture.
pub(crate) fn draw(title: &str, axis: &str, panels: &[Panel]) -> String {
    let height = HEAD + PANEL * panels.len() as f64 + FOOT;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\">\n<title>{title}</title>\n<style>\n{STYLE}\n</style>\n\
         <rect class=\"back\" width=\"{WIDTH}\" height=\"{height}\"/>\n"
    );
    text(&mut svg, "title", "start", (LEFT, 26.0), title);
    let horizontal = Horizontal::over(panels);
    for (number, panel) in panels.iter().enumerate() {
        let top = HEAD + PANEL * number as f64;
        draw_panel(&mut svg, panel, &horizontal, top);
    }
    let bottom = HEAD + PANEL * panels.len() as f64;
    for x in &horizontal.places {
        let at = (horizontal.at(*x), bottom + 2.0);
        text(&mut svg, "", "middle", at, &grouped(*x));
    }
    let middle = f64::midpoint(LEFT, WIDTH - RIGHT);
    let label = format!("{axis} (logarithmic)");
    text(
        &mut svg,
        "heading",
        "middle",
        (middle, bottom + 28.0),
        &label,
    );
    svg.push_str("</svg>\n");
    svg
}

fn draw_panel(svg: &mut String, panel: &Panel, horizontal: &Horizontal, top: f64) {
    let vertical = Vertical::over(panel, top + PANEL_TOP, top + PANEL - PANEL_BOTTOM);
    let heading = format!("{} ({})", panel.measure, panel.unit);
    text(svg, "heading", "start", (LEFT, top + 16.0), &heading);
    for step in 0..=vertical.steps {
        let value = vertical.step * f64::from(step);
        let y = vertical.at(value);
        let class = if step == 0 { "axis" } else { "grid" };
        line(svg, class, (LEFT, y), (WIDTH - RIGHT, y));
        text(svg, "", "end", (LEFT - 8.0, y + 4.0), &short(value));
    }
    for x in &horizontal.places {
        let x = horizontal.at(*x);
        line(svg, "grid", (x, vertical.top), (x, vertical.bottom));
    }
    let mut legend = LEFT;
    for (number, series) in panel.series.iter().enumerate() {
        let class = format!("s{}", number % 4);
        let places = |point: &Point| (horizontal.at(point.x), vertical.at(point.median()));
        let path: Vec<String> = series
            .points
            .iter()
            .map(|point| {
                let (x, y) = places(point);
                format!("{x:.1},{y:.1}")
            })
            .collect();
        let _ = writeln!(svg, "<path class=\"{class}\" d=\"M{}\"/>", path.join(" L"));
        for point in &series.points {
            draw_point(svg, number, point, places(point), &vertical);
        }
        let (x, y) = (legend + 6.0, top + 32.0);
        let _ = writeln!(
            svg,
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{:.1}\" r=\"4\"/>",
            y - 4.0
        );
        text(svg, "", "start", (x + 9.0, y), &series.name);
        legend += 40.0 + 6.6 * series.name.chars().count() as f64;
    }
}

/// A dot, its bar from the least to the greatest, and its value: above it for every other series
/// and below it for the rest, so that those of two that run together can be read.
fn draw_point(svg: &mut String, number: usize, point: &Point, at: (f64, f64), vertical: &Vertical) {
    let (class, (x, y)) = (format!("s{}", number % 4), at);
    let (low, high) = point.range();
    let (low, high) = (vertical.at(low), vertical.at(high));
    line(svg, &class, (x, low), (x, high));
    for end in [low, high] {
        line(svg, &class, (x - 4.0, end), (x + 4.0, end));
    }
    let _ = writeln!(
        svg,
        "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"/>"
    );
    let beside = match number % 2 {
        0 => high.min(y) - 5.0,
        _ => (low.max(y) + 13.0).min(vertical.bottom - 4.0),
    };
    let value = short(point.median());
    text(
        svg,
        &format!("value {class}"),
        "start",
        (x + 6.0, beside),
        &value,
    );
}

fn line(svg: &mut String, class: &str, from: (f64, f64), to: (f64, f64)) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ = writeln!(
        svg,
        "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
    );
}

fn text(svg: &mut String, class: &str, anchor: &str, at: (f64, f64), words: &str) {
    let (x, y) = at;
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        svg,
        "<text class=\"{class}\" text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">{words}</text>"
    );
}

/// The axis of what grows.
struct Horizontal {
    places: Vec<f64>,
}

impl Horizontal {
    fn over(panels: &[Panel]) -> Horizontal {
        let series = panels.iter().flat_map(|panel| &panel.series);
        let points = series.flat_map(|series| &series.points);
        let mut places: Vec<f64> = points.map(|point| point.x).collect();
        places.sort_by(f64::total_cmp);
        places.dedup();
        Horizontal { places }
    }

    fn at(&self, x: f64) -> f64 {
        let (first, last) = (self.places[0], self.places[self.places.len() - 1]);
        let span = (last / first).ln();
        let share = if span > 0.0 {
            (x / first).ln() / span
        } else {
            0.5
        };
        // Room for the values of the last points.
        LEFT + 16.0 + share * (WIDTH - LEFT - RIGHT - 56.0)
    }
}

/// The axis of what was measured, from zero.
struct Vertical {
    top: f64,
    bottom: f64,
    step: f64,
    steps: u32,
}

impl Vertical {
    fn over(panel: &Panel, top: f64, bottom: f64) -> Vertical {
        let series = panel.series.iter();
        let points = series.flat_map(|series| &series.points);
        let most = points
            .map(|point| point.range().1)
            .fold(f64::MIN_POSITIVE, f64::max);
        let step = round_up(most / 4.0);
        Vertical {
            top,
            bottom,
            step,
            steps: (most / step).ceil() as u32,
        }
    }

    fn at(&self, value: f64) -> f64 {
        let most = self.step * f64::from(self.steps);
        self.bottom - value / most * (self.bottom - self.top)
    }
}

/// To one, two, two and a half, or five times a power of ten.
fn round_up(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0];
    let fitting = steps.into_iter().map(|step| step * power);
    fitting
        .into_iter()
        .find(|step| *step >= value * 0.999)
        .unwrap_or(10.0 * power)
}
