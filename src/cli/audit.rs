//! `portcullis audit …`: whether an audit log is what the gateway wrote.
//!
//! Invariant: it reads the log and nothing else of the gateway's; it may run beside it.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use serde::Serialize;

use super::output::{self, Format, say};
use super::{Cli, Failure};
use crate::observe::{Finding, Verification, verify_audit_log};
use crate::secret::{MacKeys, Purpose};

/// What to do with audit logs.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Find lines that were removed, changed, reordered or put in. Exit 1 with findings.
    ///
    /// The seals are checked with the pepper of the configuration file.
    Verify {
        /// The files that rotation made of one log, oldest first; the configured one alone, if left
        /// out.
        files: Vec<PathBuf>,
        /// A head that was noted down earlier, as `audit verify` and the process log tell it: that
        /// line has to be there unchanged. Shows also a log that was cut off together with its
        /// head file.
        #[arg(long, value_name = "SEQ:HASH", value_parser = anchor)]
        head: Option<Anchor>,
    },
}

/// A noted head.
#[derive(Clone, Debug)]
pub(super) struct Anchor {
    seq: u64,
    hash: String,
}

fn anchor(text: &str) -> Result<Anchor, &'static str> {
    let parts = text.split_once(':').ok_or("not SEQ:HASH")?;
    let seq = parts.0.parse().map_err(|_| "SEQ is not a number")?;
    let hash = parts.1.to_owned();
    Ok(Anchor { seq, hash })
}

/// A check, as programs read it.
#[derive(Serialize)]
struct View<'a> {
    lines: u64,
    lines_before_the_chain: u64,
    lines_lost: u64,
    first: Option<u64>,
    head: Option<String>,
    findings: Vec<FindingView<'a>>,
}

#[derive(Serialize)]
struct FindingView<'a> {
    #[serde(flatten)]
    finding: &'a Finding,
    message: String,
}

pub(super) fn run(cli: &Cli, command: &Command) -> Result<(), Failure> {
    let Command::Verify { files, head } = command;
    let config = cli.load_config()?;
    let files = match files.is_empty() {
        true => vec![config.admin.audit.file.clone()],
        false => files.clone(),
    };
    let keys = MacKeys::new(&config.credentials.peppers, Purpose::AuditSeals);
    let anchor = head.as_ref().map(|head| (head.seq, head.hash.as_str()));
    let found = verify_audit_log(&files, &keys, anchor).context("the audit log cannot be read")?;
    match cli.format {
        Format::Json => output::json(&View::from(&found))?,
        Format::Table => show(&found)?,
    }
    match found.findings.is_empty() {
        true => Ok(()),
        false => Err(Failure::Negative),
    }
}

impl<'a> From<&'a Verification> for View<'a> {
    fn from(found: &'a Verification) -> View<'a> {
        let view = |finding: &'a Finding| FindingView {
            finding,
            message: finding.kind.to_string(),
        };
        View {
            lines: found.lines,
            lines_before_the_chain: found.unchained,
            lines_lost: found.lost,
            first: found.first,
            head: found.head.as_ref().map(|head| head.to_text()),
            findings: found.findings.iter().map(view).collect(),
        }
    }
}

fn show(found: &Verification) -> Result<(), Failure> {
    for Finding { file, line, kind } in &found.findings {
        say(format_args!("{}:{line}: {kind}", file.display()))?;
    }
    if found.unchained > 0 {
        let count = found.unchained;
        say(format_args!(
            "{count} lines are from before the chain: nothing vouches for them"
        ))?;
    }
    if found.lost > 0 {
        let count = found.lost;
        say(format_args!(
            "{count} lines were never written, in a flood or on a full disk"
        ))?;
    }
    if let Some(first @ 1..) = found.first {
        say(format_args!(
            "it begins at line {first} of the chain: older files hold the rest"
        ))?;
    }
    let (lines, findings) = (found.lines, found.findings.len());
    match (&found.head, findings) {
        (None, 0) => say("no line of a chain"),
        (Some(head), 0) => say(format_args!(
            "{lines} lines, nothing wrong; head {}",
            head.to_text()
        )),
        _ => say(format_args!("{lines} lines, {findings} findings")),
    }
}
