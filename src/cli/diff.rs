//! `portcullis diff OLD NEW`: who gains and who loses access.

use std::path::PathBuf;

use super::output::{self, Format, say};
use super::{Cli, Failure};
use crate::config;
use crate::policy::{self, Change, Difference};

/// Two configurations.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration before.
    old: PathBuf,
    /// The configuration that is proposed.
    new: PathBuf,
}

pub(super) fn run(cli: &Cli, arguments: &Arguments) -> Result<(), Failure> {
    cli.refuse_config("diff")?;
    let read = |file: &PathBuf| config::policy(file).map_err(Failure::Config);
    let diff = policy::diff(&read(&arguments.old)?, &read(&arguments.new)?);
    if cli.format == Format::Json {
        output::json(&diff)?;
    } else {
        let (looser, tighter, moved) = (diff.looser, diff.tighter, diff.moved);
        if !diff.differences.is_empty() {
            let rows: Vec<_> = diff.differences.iter().map(row).collect();
            let heading = ["CHANGE", "WHO", "METHODS", "WHAT", "HOSTS", "WAS", "NOW"];
            output::table(heading, &rows)?;
        }
        say(format_args!(
            "{looser} looser, {tighter} tighter, {moved} moved"
        ))?;
    }
    match diff.looser {
        0 => Ok(()),
        _ => Err(Failure::Negative),
    }
}

fn row(line: &Difference) -> [String; 7] {
    let change = match line.change {
        Change::Looser => "looser",
        Change::Moved => "moved",
        Change::Tighter => "tighter",
    };
    [
        change.into(),
        line.who.clone(),
        line.methods.join(" "),
        line.paths.join(" "),
        line.hosts.join(" "),
        line.was.clone(),
        line.now.clone(),
    ]
}
