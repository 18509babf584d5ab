//! `portcullis test [FILE]`: the policy against its tests.

use std::path::PathBuf;

use super::output::{self, Format, say};
use super::{Cli, Failure, junit};
use crate::config;
use crate::policy::{self, Coverage, Outcome, SuiteReport};

/// The tests, where no file is named.
const TESTS: &str = "gateway.tests.yaml";

/// Which tests, and what is to become of them.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The file of the tests.
    #[arg(default_value = TESTS)]
    file: PathBuf,
    /// Also write the outcome as JUnit XML, for CI.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Also fail where a part of the policy has no test.
    #[arg(long)]
    full: bool,
}

pub(super) fn run(cli: &Cli, arguments: &Arguments) -> Result<(), Failure> {
    let policy = config::policy(cli.config_path()).map_err(Failure::Config)?;
    let suite = config::suite(&arguments.file, &policy).map_err(Failure::Config)?;
    let report = policy::run(&policy, &suite);
    if let Some(file) = &arguments.junit {
        let text = junit::document(&arguments.file.display().to_string(), &report);
        std::fs::write(file, text)
            .map_err(|error| anyhow::Error::new(error).context(file.display().to_string()))?;
    }
    match cli.format {
        Format::Json => output::json(&report)?,
        Format::Table => print(&report, arguments)?,
    }
    let is_incomplete = arguments.full && !report.coverage.missing.is_empty();
    if report.failed > 0 || is_incomplete {
        return Err(Failure::Negative);
    }
    Ok(())
}

fn print(report: &SuiteReport, arguments: &Arguments) -> Result<(), Failure> {
    let file = arguments.file.display();
    for outcome in report.outcomes.iter().filter(|outcome| !outcome.passed) {
        say(format_args!(
            "FAILED {}: {} as {} ({file}:{})",
            outcome.test, outcome.request, outcome.caller, outcome.line
        ))?;
        for line in told(outcome) {
            say(format_args!("  {line}"))?;
        }
    }
    let Coverage {
        total,
        covered,
        missing,
    } = &report.coverage;
    if !missing.is_empty() {
        say("Not tried:")?;
        let rows: Vec<_> = missing
            .iter()
            .map(|cell| [cell.route.clone(), cell.method.clone(), cell.trial.clone()])
            .collect();
        output::table(["ROUTE", "METHOD", "TRIAL"], &rows)?;
    }
    let (tried, failed) = (report.outcomes.len(), report.failed);
    say(format_args!(
        "{tried} requests, {failed} failed; {covered} of {total} parts of the policy tried"
    ))
}

/// What of an outcome is not as it should be.
pub(super) fn told(outcome: &Outcome) -> impl Iterator<Item = String> {
    outcome.mismatches.iter().map(|mismatch| {
        format!(
            "{}: expected {}, found {}",
            mismatch.what, mismatch.expected, mismatch.found
        )
    })
}
