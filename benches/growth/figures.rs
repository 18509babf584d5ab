//! The figures of one curve: samples in, medians with their least and greatest out.

use std::fmt::Write as _;
use std::path::Path;

use crate::plot;

/// One curve: everything that was measured while one thing grew.
pub(crate) struct Curve {
    title: &'static str,
    /// What grows.
    axis: &'static str,
    panels: Vec<Panel>,
}

/// One thing that was measured.
pub(crate) struct Panel {
    pub(crate) measure: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) series: Vec<Series>,
}

/// It under one condition.
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<Point>,
}

/// It at one place of the curve.
pub(crate) struct Point {
    pub(crate) x: f64,
    samples: Vec<f64>,
}

impl Curve {
    pub(crate) fn new(title: &'static str, axis: &'static str) -> Curve {
        Curve {
            title,
            axis,
            panels: Vec::new(),
        }
    }

    /// Adds what one round found.
    pub(crate) fn add(
        &mut self,
        measure: (&'static str, &'static str),
        series: &str,
        x: usize,
        y: f64,
    ) {
        let panel = find_or_push(
            &mut self.panels,
            |panel| panel.measure == measure.0,
            || Panel {
                measure: measure.0,
                unit: measure.1,
                series: Vec::new(),
            },
        );
        let series = find_or_push(
            &mut panel.series,
            |known| known.name == series,
            || Series {
                name: series.into(),
                points: Vec::new(),
            },
        );
        let point = find_or_push(
            &mut series.points,
            |point| point.x == x as f64,
            || Point {
                x: x as f64,
                samples: Vec::new(),
            },
        );
        point.samples.push(y);
    }

    /// Writes `growth-NAME.csv` and `growth-NAME.svg`.
    pub(crate) fn write(&self, folder: &Path, name: &str) {
        let svg = plot::draw(self.title, self.axis, &self.panels);
        for (kind, text) in [("csv", self.csv()), ("svg", svg)] {
            let path = folder.join(format!("growth-{name}.{kind}"));
            std::fs::write(&path, text)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }

    fn csv(&self) -> String {
        let mut text = format!("measure,unit,series,{},median,min,max,rounds\n", self.axis);
        for (panel, series, point) in self.each() {
            let (low, high) = point.range();
            let _ = writeln!(
                text,
                "{},{},{},{},{:.3},{low:.3},{high:.3},{}",
                panel.measure,
                panel.unit,
                series.name,
                point.x,
                point.median(),
                point.samples.len()
            );
        }
        text
    }

    /// One table: a row for each series, a column for each point.
    pub(crate) fn markdown(&self) -> String {
        let mut places: Vec<f64> = self.each().map(|(.., point)| point.x).collect();
        places.sort_by(f64::total_cmp);
        places.dedup();
        let heads: Vec<String> = places.iter().map(|x| grouped(*x)).collect();
        let mut text = format!("| {} | {} |\n", self.axis, heads.join(" | "));
        let _ = writeln!(text, "|---|{}", "---|".repeat(places.len()));
        for panel in &self.panels {
            for series in &panel.series {
                let cells = places.iter().map(|x| series.cell(*x));
                let cells = cells.collect::<Vec<_>>().join(" | ");
                let (measure, unit) = (panel.measure, panel.unit);
                let _ = writeln!(text, "| {measure}, {unit}: {} | {cells} |", series.name);
            }
        }
        text
    }

    fn each(&self) -> impl Iterator<Item = (&Panel, &Series, &Point)> {
        self.panels.iter().flat_map(|panel| {
            let series = panel.series.iter();
            series.flat_map(move |series| {
                let points = series.points.iter();
                points.map(move |point| (panel, series, point))
            })
        })
    }
}

impl Series {
    fn cell(&self, x: f64) -> String {
        let Some(point) = self.points.iter().find(|point| point.x == x) else {
            return String::new();
        };
        let ((low, high), median) = (point.range(), point.median());
        if point.samples.len() == 1 {
            return short(median);
        }
        format!("{} ({}–{})", short(median), short(low), short(high))
    }
}

impl Point {
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match sorted.len() % 2 {
            1 => sorted[middle],
            _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
        }
    }

    /// The least and the greatest.
    pub(crate) fn range(&self) -> (f64, f64) {
        let samples = self.samples.iter().copied();
        (
            samples.clone().fold(f64::INFINITY, f64::min),
            samples.fold(f64::NEG_INFINITY, f64::max),
        )
    }
}

/// Three digits that matter.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if size >= 1000.0 => grouped(value),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A whole number with commas between thousands.
pub(crate) fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn find_or_push<T>(
    list: &mut Vec<T>,
    is_it: impl Fn(&T) -> bool,
    make: impl FnOnce() -> T,
) -> &mut T {
    let at = list.iter().position(is_it).unwrap_or_else(|| {
        list.push(make());
        list.len() - 1
    });
    &mut list[at]
}
