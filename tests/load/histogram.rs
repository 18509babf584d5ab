use std::time::Duration;

use proptest::prelude::*;

use crate::load::histogram::Histogram;

fn of(nanos: &[u64]) -> Histogram {
    let mut histogram = Histogram::default();
    for nanos in nanos {
        histogram.record(Duration::from_nanos(*nanos));
    }
    histogram
}

#[test]
fn percentiles_of_a_hundred_are_the_places_in_the_list() {
    let histogram = of(&(1..=100).collect::<Vec<_>>());
    for (share, expected) in [(0.5, 50), (0.9, 90), (0.99, 99), (0.999, 100), (1.0, 100)] {
        assert_eq!(
            histogram.at(share),
            Duration::from_nanos(expected),
            "{share}"
        );
    }
    assert_eq!(Histogram::default().at(0.5), Duration::ZERO);
}

#[test]
fn what_is_too_long_counts_as_the_longest() {
    let mut histogram = Histogram::default();
    histogram.record(Duration::MAX);
    assert_eq!(histogram.at(0.5), Histogram::LONGEST);
    assert_eq!(histogram.max(), Histogram::LONGEST);
}

/// Of every size, since each power of two has buckets of its own.
fn latency() -> impl Strategy<Value = u64> {
    (0_u32..42).prop_flat_map(|bits| (1_u64 << bits) - 1..1_u64 << (bits + 1))
}

proptest! {
    #[test]
    fn a_percentile_is_the_sorted_lists_or_at_most_0_4_percent_above(
        mut latencies in prop::collection::vec(latency(), 1..300),
        share in 0.0_f64..=1.0,
    ) {
        let histogram = of(&latencies);
        latencies.sort_unstable();
        let longest = u64::try_from(Histogram::LONGEST.as_nanos()).expect("fits");
        let place = (share * latencies.len() as f64).ceil() as usize;
        let exact = latencies[place.clamp(1, latencies.len()) - 1].min(longest);
        let found = u64::try_from(histogram.at(share).as_nanos()).expect("fits");
        prop_assert!(found >= exact && found - exact <= exact / 256, "{found} for {exact}");
    }

    #[test]
    fn parts_add_up_to_the_whole(
        one in prop::collection::vec(latency(), 0..100),
        other in prop::collection::vec(latency(), 0..100),
    ) {
        let mut merged = of(&one);
        merged.merge(&of(&other));
        let whole = of(&[one, other].concat());
        prop_assert_eq!((merged.count(), merged.max()), (whole.count(), whole.max()));
        for share in (0..=200).map(|place| f64::from(place) / 200.0) {
            prop_assert_eq!(merged.at(share), whole.at(share));
        }
    }
}
