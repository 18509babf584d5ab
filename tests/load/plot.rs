use std::time::Duration;

use crate::load::histogram::Histogram;
use crate::load::plot::{latency_by_percentile, over_time};

#[test]
fn axes_have_round_steps() {
    let points = [(1.0, 9_000.0), (2.0, 18_138.0)];
    let svg = over_time(points.into_iter(), |value| format!("{value}"), "load");
    for name in [">0<", ">1<", ">2<", ">5000<", ">20000<", ">25000<"] {
        assert!(svg.contains(name), "{name} in {svg}");
    }
    assert!(
        svg.contains("points=\"259.0,"),
        "the first second is in the middle: {svg}"
    );
}

#[test]
fn the_percentile_plot_goes_up_from_left_to_right_within_its_frame() {
    let mut histogram = Histogram::default();
    for micros in 1..=2_000 {
        histogram.record(Duration::from_micros(micros * micros));
    }
    let svg = latency_by_percentile(&histogram, "latency");
    let points = svg
        .split("points=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let points: Vec<(f64, f64)> = points
        .expect("a line")
        .split(' ')
        .map(|point| point.split_once(',').expect("a pair"))
        .map(|(x, y)| (x.parse().expect("x"), y.parse().expect("y")))
        .collect();
    assert!(
        points.is_sorted_by(|a, b| a.0 < b.0 && a.1 >= b.1),
        "{points:?}"
    );
    assert!(
        points
            .iter()
            .all(|(x, y)| (62.0..=456.0).contains(x) && (14.0..=240.0).contains(y))
    );
    for name in [">50<", ">90<", ">99<", ">99.9<", ">1 us<", ">10 s<"] {
        assert!(svg.contains(name), "{name} in {svg}");
    }
}

#[test]
fn nothing_measured_is_still_a_plot() {
    let svg = latency_by_percentile(&Histogram::default(), "latency");
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    let svg = over_time(std::iter::empty(), |value| value.to_string(), "none");
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
}
