//! End-to-end load: `cargo bench --bench load -- --url https://…` asks a gateway over TLS and tells
//! how fast it answered; without `--url` it starts a gateway and upstreams of its own.
//!
//! A tool for users, so it has no part in any request path. `benches/README.md` tells how to use
//! it, `docs/decisions/0009-load-bench.md` why it is made as it is. Invariants: a credential is
//! sent to the target and shown nowhere; nothing leaves without TLS; certificates are verified
//! unless the target is this machine.

pub(crate) mod arguments;
pub(crate) mod plan;
pub(crate) mod target;
pub(crate) mod credentials;
mod trust;
mod own;
pub(crate) mod measurement;
mod worker;
mod lane;
mod line;
mod dial;
mod failure;
pub(crate) mod pace;
mod alarm;
mod tally;
pub(crate) mod histogram;
pub(crate) mod quantity;
pub(crate) mod progress;
mod summary;
pub(crate) mod report;
pub(crate) mod plot;
mod machine;

use std::ffi::OsString;
use std::future::Future;
use std::io::{IsTerminal as _, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser as _;

use arguments::{Arguments, Format};
use dial::Dial;
use measurement::measure;
use own::Own;
use plan::Plan;
use progress::Progress;
use summary::Summary;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Requests succeeded.
pub(crate) const DONE: u8 = 0;
/// None did, or nothing could be asked.
pub(crate) const FAILED: u8 = 1;
/// The command line makes no sense (clap's own code).
pub(crate) const USAGE: u8 = 2;

/// Where the tool writes.
pub(crate) struct Console<'a> {
    /// The summary.
    pub(crate) out: &'a mut dyn Write,
    /// Progress and errors.
    pub(crate) err: &'a mut dyn Write,
    /// Whether `err` is a terminal, on which a line can be rewritten.
    pub(crate) live: bool,
}

fn main() -> ExitCode {
    machine::allow_many_files();
    let live = std::io::stderr().is_terminal();
    let mut console = Console {
        out: &mut std::io::stdout(),
        err: &mut std::io::stderr(),
        live,
    };
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            // Nobody can be heard then; the run ends by its duration.
            std::future::pending::<()>().await;
        }
    };
    ExitCode::from(run(std::env::args_os(), interrupted, &mut console))
}

/// Everything from the command line to the exit code. `stop` ends the run early.
pub(crate) fn run(
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    stop: impl Future<Output = ()>,
    console: &mut Console<'_>,
) -> u8 {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            let (to, code) = match error.use_stderr() {
                true => (&mut *console.err, USAGE),
                false => (&mut *console.out, DONE),
            };
            // A console that is gone has no reader to miss it.
            let _ = write!(to, "{}", error.render());
            return code;
        }
    };
    match load(arguments, stop, console) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(console.err, "error: {error:#}");
            match error.is::<plan::Refusal>() {
                true => USAGE,
                false => FAILED,
            }
        }
    }
}

fn load(
    mut arguments: Arguments,
    stop: impl Future<Output = ()>,
    console: &mut Console<'_>,
) -> anyhow::Result<u8> {
    let own = match arguments.url {
        Some(_) => None,
        None => Some(Own::start()?),
    };
    if let Some(own) = &own {
        own.aim(&mut arguments);
    }
    let plan = Arc::new(Plan::parse(&arguments)?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut progress = Progress::new(console.err, console.live);
    let (dial, outcome) = runtime.block_on(async {
        let dial = Dial::reach(&plan).await?;
        progress.begin(&plan);
        let outcome = measure(&plan, &dial, stop, &mut progress).await?;
        anyhow::Ok((dial, outcome))
    })?;
    drop(own);
    let summary = Summary::new(&plan, &dial, &outcome);
    match arguments.format {
        Format::Json => writeln!(console.out, "{}", serde_json::to_string_pretty(&summary)?)?,
        Format::Text => writeln!(console.out, "{summary}")?,
    }
    write_report(&arguments.report, &report::html(&summary))?;
    if arguments.format == Format::Text {
        writeln!(console.out, "report       {}", arguments.report.display())?;
    }
    match summary.trouble() {
        Some(trouble) => {
            writeln!(console.err, "error: {trouble}")?;
            Ok(FAILED)
        }
        None => Ok(DONE),
    }
}

fn write_report(file: &Path, html: &str) -> anyhow::Result<()> {
    let failed = || format!("the report {} cannot be written", file.display());
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).with_context(failed)?;
    }
    std::fs::write(file, html).with_context(failed)
}
