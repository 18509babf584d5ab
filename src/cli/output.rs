//! Tables for people, JSON for programs.

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
    println!("{}", serde_json::to_string(value)?);
    Ok(())
}

/// Prints rows under a heading, columns aligned. Control characters are shown escaped: a name that
/// came from elsewhere moves no cursor.
pub(super) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) {
    let rows: Vec<[String; N]> = rows
        .iter()
        .map(|row| row.clone().map(|cell| visible(&cell)))
        .collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([heading[column].len()]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    print_row(&heading.map(String::from), &widths);
    for row in &rows {
        print_row(row, &widths);
    }
}

fn print_row<const N: usize>(row: &[String; N], widths: &[usize; N]) {
    let cells = row
        .iter()
        .zip(widths)
        .map(|(cell, width)| format!("{cell:<width$}"));
    println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
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
