//! What a run showed, as a row of docs/reliability.md.
//!
//! Each fault leaves its row in `target/faults`; with `WRITE_RELIABILITY` set, the last test puts
//! all of them into the page, between its two marks.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::oracle::{Class, Judgement};

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// In the table's order.
    pub(crate) order: usize,
    pub(crate) fault: String,
    /// How long the fault was.
    pub(crate) fault_ms: u128,
    /// Of each column, how often which status came; 0 is no answer.
    counts: BTreeMap<String, BTreeMap<u16, u64>>,
    pub(crate) wrong_allows: usize,
    pub(crate) latest_allow_ms: u128,
    pub(crate) recovery_ms: u128,
}

/// Columns of counts, and the classes in each.
const COLUMNS: [(&str, &[Class]); 6] = [
    ("keys, sessions", &[Class::Key, Class::Session]),
    ("JWTs", &[Class::Jwt, Class::AccessToken]),
    ("refreshes", &[Class::Refresh]),
    ("codes", &[Class::Code]),
    (
        "revoked meanwhile",
        &[
            Class::RevokedKey,
            Class::RevokedSession,
            Class::RevokedJwt,
            Class::RevokedGrant,
        ],
    ),
    ("wrong", &[Class::Wrong]),
];
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reliability.md");
const BEGIN: &str = "<!-- written by scripts/faults: begin -->\n";
const END: &str = "<!-- written by scripts/faults: end -->\n";

impl Row {
    pub(crate) fn new(
        (order, fault): (usize, &str),
        fault_ms: u128,
        judgement: &Judgement,
        recovery_ms: u128,
    ) -> Row {
        let mut counts = BTreeMap::new();
        for (column, classes) in COLUMNS {
            let mut sum = BTreeMap::new();
            for class in classes {
                for (status, count) in judgement.counts.get(class).into_iter().flatten() {
                    *sum.entry(*status).or_default() += count;
                }
            }
            counts.insert(column.to_owned(), sum);
        }
        Row {
            order,
            fault: fault.into(),
            fault_ms,
            counts,
            wrong_allows: judgement.wrong_allows.len(),
            latest_allow_ms: judgement.latest_allow.as_millis(),
            recovery_ms,
        }
    }

    /// Keeps it for the page.
    pub(crate) fn keep(&self) {
        let folder = folder();
        std::fs::create_dir_all(&folder).expect("writable");
        let text = serde_json::to_string_pretty(self).expect("JSON");
        let file = folder.join(format!("{:02}.json", self.order));
        std::fs::write(file, text).expect("writable");
    }

    pub(crate) fn markdown(&self) -> String {
        let mut cells = vec![self.fault.clone(), seconds(self.fault_ms)];
        for (column, _) in COLUMNS {
            cells.push(statuses(self.counts.get(column)));
        }
        cells.push(self.wrong_allows.to_string());
        cells.push(seconds(self.latest_allow_ms));
        cells.push(seconds(self.recovery_ms));
        format!("| {} |\n", cells.join(" | "))
    }
}

fn statuses(counts: Option<&BTreeMap<u16, u64>>) -> String {
    let one = |(status, count): (&u16, &u64)| match status {
        0 => format!("none: {count}"),
        status => format!("{status}: {count}"),
    };
    let all: Vec<String> = counts.into_iter().flatten().map(one).collect();
    all.join(", ")
}

fn seconds(millis: u128) -> String {
    format!("{}.{:02} s", millis / 1000, millis % 1000 / 10)
}

fn table(rows: &[Row]) -> String {
    let mut names = vec!["fault", "for"];
    names.extend(COLUMNS.map(|(column, _)| column));
    names.extend(["wrong allows", "latest allow", "recovery"]);
    let mut text = format!(
        "| {} |\n|{}\n",
        names.join(" | "),
        "---|".repeat(names.len())
    );
    for row in rows {
        text.push_str(&row.markdown());
    }
    text
}

/// The rows of the last run, in order.
pub(crate) fn rows() -> Vec<Row> {
    let files = std::fs::read_dir(folder()).expect("the faults ran before");
    let read = |file: std::fs::DirEntry| {
        let text = std::fs::read_to_string(file.path()).expect("readable");
        serde_json::from_str(&text).expect("a row")
    };
    let mut rows: Vec<Row> = files.flatten().map(read).collect();
    rows.sort_by_key(|row| row.order);
    rows
}

/// Puts the rows into the page; `about` says where they come from.
pub(crate) fn write(rows: &[Row], about: &str) {
    let page = page();
    let (before, rest) = page.split_once(BEGIN).expect("the page has its marks");
    let (_, after) = rest.split_once(END).expect("the page has its marks");
    let text = format!("{before}{BEGIN}{about}\n\n{}{END}{after}", table(rows));
    std::fs::write(PAGE, text).expect("writable");
}

pub(crate) fn page() -> String {
    std::fs::read_to_string(PAGE).expect("the page")
}

/// The faults in the page's table.
pub(crate) fn told() -> Vec<String> {
    let page = page();
    let (_, rest) = page.split_once(BEGIN).expect("the page has its marks");
    let (table, _) = rest.split_once(END).expect("the page has its marks");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| "));
    let first = rows.filter_map(|row| row.split(" | ").next());
    first.skip(1).map(str::to_owned).collect()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/faults")
}
