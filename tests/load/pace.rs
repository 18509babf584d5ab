use std::time::Duration;

use clap::Parser as _;
use tokio::time::Instant;

use crate::load::arguments::Arguments;
use crate::load::pace::{Pace, Schedule};
use crate::load::plan::Plan;

fn pace(rate: &str, thread: usize, threads: usize) -> Pace {
    let arguments = ["load", "--url", "https://localhost/", "--rate", rate];
    let arguments = Arguments::try_parse_from(arguments).expect("arguments");
    let rate = Plan::parse(&arguments).expect("a plan").rate;
    Pace::new(rate.map(|rate| Schedule {
        rate,
        thread,
        threads,
        duration: Duration::from_secs(1),
    }))
}

#[test]
fn threads_share_the_rate_in_turn() {
    let start = Instant::now();
    let after = |millis| start + Duration::from_millis(millis);
    let (first, second) = (pace("100", 0, 2), pace("100", 1, 2));
    first.begin(start);
    second.begin(start);
    assert_eq!(first.take(after(0)), Some(after(0)));
    assert_eq!(first.take(after(19)), None);
    assert_eq!(second.take(after(9)), None);
    assert_eq!(second.take(after(10)), Some(after(10)));
    assert_eq!(first.take(after(20)), Some(after(20)));
}

#[test]
fn a_turn_that_is_taken_late_is_still_counted_from_when_it_was_due() {
    let start = Instant::now();
    let after = |millis| start + Duration::from_millis(millis);
    let pace = pace("10", 0, 1);
    pace.begin(start);
    assert_eq!(pace.take(after(1000)), Some(after(0)));
    assert_eq!(pace.take(after(1000)), Some(after(100)));
    assert_eq!(pace.missed(after(1000)), 8);
    assert_eq!(pace.missed(after(500)), 3);
    assert_eq!(
        pace.missed(after(60_000)),
        8,
        "nothing is due after the end"
    );
}

#[test]
fn nobody_asks_before_the_start() {
    let closed = Pace::new(None);
    let now = Instant::now();
    assert_eq!(closed.take(now), None);
    closed.begin(now);
    assert_eq!(closed.take(now), Some(now));
    assert_eq!(closed.missed(now), 0);
}
