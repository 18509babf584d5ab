//! Tables for people, JSON for programs.
//!
//! Invariant: everything on stdout goes through [`say`], so that a reader who went away
//! (`portcullis key list | head -1`) ends a command and does not crash it.

use std::fmt::Display;
use std::io::Write as _;

use serde::Serialize;

use super::Failure;

/// How lists and created things are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Aligned columns.
    Table,
    /// One JSON value.
    Json,
}

/// Prints one JSON value.
pub(super) fn json(value: &impl Serialize) -> Result<(), Failure> {
    say(serde_json::to_string(value)?)
}

/// Prints one line.
pub(super) fn say(line: impl Display) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout().lock(), "{line}")?)
}

/// Prints rows under a heading, columns aligned. Control characters are shown escaped: a name that
/// came from elsewhere moves no cursor.
pub(super) fn table<const N: usize>(
    heading: [&str; N],
    rows: &[[String; N]],
) -> Result<(), Failure> {
    let rows: Vec<[String; N]> = rows
        .iter()
        .map(|row| row.clone().map(|cell| visible(&cell)))
        .collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([heading[column].len()]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    say(aligned(&heading.map(String::from), &widths))?;
    rows.iter().try_for_each(|row| say(aligned(row, &widths)))
}

/// Prints the members of one thing, a line each.
pub(super) fn fields(value: &impl Serialize) -> Result<(), Failure> {
    let value = serde_json::to_value(value)?;
    let members = value.as_object().into_iter().flatten();
    let text = |value: &serde_json::Value| value.as_str().map_or(value.to_string(), Into::into);
    let rows: Vec<_> = members
        .map(|(name, value)| [name.clone(), text(value)])
        .collect();
    table(["FIELD", "VALUE"], &rows)
}

fn aligned<const N: usize>(row: &[String; N], widths: &[usize; N]) -> String {
    let cells = row
        .iter()
        .zip(widths)
        .map(|(cell, width)| format!("{cell:<width$}"));
    cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

fn visible(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect()
            } else {
                vec![c]
            }
        })
        .collect()
}
