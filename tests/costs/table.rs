//! The table of costs: what each thing cost when it was last measured, and how far off it may be.
//!
//! `tests/data/costs.tsv` holds it. A figure that leaves its slack upward has become dearer; one
//! that leaves it downward would let the next change lose as much unseen, so both fail.
//! `UPDATE_COSTS=1` writes what was measured instead.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Holds figures of one group against their rows; `slack` in percent is for rows that are new.
///
/// # Panics
/// If any is off, with all that are.
pub(crate) fn hold(group: &str, slack: f64, figures: &[(String, f64)]) {
    if cfg!(debug_assertions) {
        panic!("a debug build says nothing about costs: run this with --release");
    }
    // Tests of one program run side by side; programs run one after the other.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    for (what, figure) in figures {
        println!("{group}: {what}: {}", shown(*figure));
    }
    let rows = read();
    if std::env::var_os("UPDATE_COSTS").is_some() {
        return write(&updated(rows, group, slack, figures));
    }
    let complaints = complaints(&rows, group, figures);
    assert!(
        complaints.is_empty(),
        "\n{complaints}If that is meant: UPDATE_COSTS=1 scripts/costs, and look at the difference.\n"
    );
}

struct Row {
    group: String,
    what: String,
    figure: f64,
    slack: f64,
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/costs.tsv")
}

fn read() -> Vec<Row> {
    let text = std::fs::read_to_string(path()).unwrap_or_default();
    let row = |line: &str| {
        let parts: Vec<&str> = line.split('\t').collect();
        let [group, what, figure, slack] = parts[..] else {
            panic!("costs.tsv: {line}");
        };
        Row {
            group: group.into(),
            what: what.into(),
            figure: figure.parse().expect("a figure"),
            slack: slack.parse().expect("a slack"),
        }
    };
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(row).collect()
}

const HEADING: &str = "\
# What one request costs: tests/costs/ and benches/stages.rs hold these. Written by UPDATE_COSTS=1.
# group\twhat\tfigure\tslack in percent
";

fn write(rows: &[Row]) {
    let mut text = String::from(HEADING);
    for row in rows {
        let (group, what, slack) = (&row.group, &row.what, row.slack);
        let line = writeln!(text, "{group}\t{what}\t{}\t{slack}", shown(row.figure));
        line.expect("a String takes everything");
    }
    std::fs::write(path(), text).expect("writable");
}

/// Other groups stay; a row of this one keeps its slack.
fn updated(rows: Vec<Row>, group: &str, slack: f64, figures: &[(String, f64)]) -> Vec<Row> {
    let slack_of = |what: &str| {
        let mut rows = rows.iter();
        let row = rows.find(|row| row.group == group && row.what == what);
        row.map_or(slack, |row| row.slack)
    };
    let ours: Vec<Row> = figures
        .iter()
        .map(|(what, figure)| Row {
            group: group.into(),
            what: what.clone(),
            figure: *figure,
            slack: slack_of(what),
        })
        .collect();
    let mut rows: Vec<Row> = rows.into_iter().filter(|row| row.group != group).collect();
    rows.extend(ours);
    rows.sort_by(|one, other| one.group.cmp(&other.group));
    rows
}

fn complaints(rows: &[Row], group: &str, figures: &[(String, f64)]) -> String {
    let mut complaints = String::new();
    let rows: Vec<&Row> = rows.iter().filter(|row| row.group == group).collect();
    let mut complain = |what: &str, text: &str| {
        let line = writeln!(complaints, "{group}: {what}: {text}");
        line.expect("a String takes everything");
    };
    for (what, figure) in figures {
        let Some(row) = rows.iter().find(|row| row.what == *what) else {
            complain(what, "is not in tests/data/costs.tsv");
            continue;
        };
        let (low, high) = (
            row.figure * (1.0 - row.slack / 100.0),
            row.figure * (1.0 + row.slack / 100.0),
        );
        if !(low..=high).contains(figure) {
            let verdict = if *figure > high { "dearer" } else { "cheaper" };
            let (now, then) = (shown(*figure), shown(row.figure));
            let slack = row.slack;
            complain(
                what,
                &format!("{verdict}: {now}, and it was {then} (slack {slack} %)"),
            );
        }
    }
    for row in rows {
        if !figures.iter().any(|(what, _)| *what == row.what) {
            complain(&row.what, "was not measured any more");
        }
    }
    complaints
}

fn shown(figure: f64) -> String {
    match figure {
        small if small < 100.0 => format!("{small:.2}"),
        large => format!("{large:.0}"),
    }
}
