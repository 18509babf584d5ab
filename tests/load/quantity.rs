use std::time::Duration;

use crate::load::quantity::{bytes, count, latency, rate};

#[test]
fn quantities_are_short_and_have_units() {
    assert_eq!(
        ["0", "999", "1,000", "1,234,567"],
        [0, 999, 1_000, 1_234_567].map(count)[..]
    );
    assert_eq!(
        ["0.0", "9.4", "18,139"],
        [0.0, 9.44, 18_138.7].map(rate)[..]
    );
    let times = [
        85_000,
        999_900,
        6_812_000,
        31_049_000,
        310_400_000,
        12_340_000_000,
    ];
    let read = times.map(|nanos| latency(Duration::from_nanos(nanos)));
    assert_eq!(
        read,
        ["85 us", "1.00 ms", "6.81 ms", "31.0 ms", "310 ms", "12.3 s"]
    );
    let sizes = [0.0, 512.0, 1_500.0, 108_000_000.0, 5e16];
    assert_eq!(
        sizes.map(bytes),
        ["0 B", "512 B", "1.5 kB", "108 MB", "50000 TB"]
    );
}
