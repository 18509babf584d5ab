use std::time::Duration;

use crate::load::measurement::Point;
use crate::load::progress::Progress;

fn written(live: bool) -> String {
    let mut out = Vec::new();
    let mut progress = Progress::new(&mut out, live);
    progress.show(&Point {
        at: Duration::from_secs(3),
        throughput: 18_138.4,
        p50: Duration::from_micros(680),
        p99: Duration::from_micros(3_310),
        refused: 2,
        failed: 1,
    });
    progress.end();
    String::from_utf8(out).expect("text")
}

#[test]
fn a_terminal_has_one_line_rewritten_and_a_file_one_line_a_second() {
    let line = "   3 s    18,138 req/s  p50  680 us  p99 3.31 ms  4xx/5xx 2  errors 1";
    assert_eq!(written(true), format!("\r\x1b[K{line}\r\x1b[K"));
    assert_eq!(written(false), format!("{line}\n"));
}
