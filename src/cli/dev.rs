//! `portcullis dev`: everything, with one command.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::output::say;
use super::{Cli, Failure};
use crate::dev::{self, DevError, Options};

/// Where everything is to be.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The API's address.
    #[arg(long, default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// The address at which clear text is refused.
    #[arg(long, default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// The address of metrics and health.
    #[arg(long, default_value = "127.0.0.1:9090")]
    metrics: SocketAddr,
    /// The admin API's address.
    #[arg(long, default_value = "127.0.0.1:9091")]
    admin: SocketAddr,
    /// The folder for certificates, store and keys.
    #[arg(long, default_value = ".portcullis")]
    state: PathBuf,
    /// Write where everything is, as JSON, once it is ready.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

/// An address that is taken has an option here.
fn explained(error: anyhow::Error) -> anyhow::Error {
    let is_taken = |cause: &(dyn std::error::Error + 'static)| {
        let io = cause.downcast_ref::<std::io::Error>();
        io.is_some_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
    };
    match error.chain().any(is_taken) {
        true => anyhow::anyhow!(
            "{error:#}\n  = help: choose another address with --listen, --http, --metrics or --admin"
        ),
        false => error,
    }
}

pub(super) fn run(cli: &Cli, arguments: &Arguments) -> Result<(), Failure> {
    cli.refuse_config("dev")?;
    let options = Options {
        https: arguments.listen,
        http: arguments.http,
        metrics: arguments.metrics,
        admin: arguments.admin,
        state: arguments.state.clone(),
        program: std::env::args_os().next().unwrap_or_default().into(),
    };
    let dev = dev::start(&options).map_err(|error| match error {
        DevError::Config(problems) => Failure::Config(problems),
        other => explained(other.into()).into(),
    })?;
    say(dev.ready())?;
    if let Some(file) = &arguments.ready_file {
        dev.ready().write(file)?;
    }
    dev.wait()?;
    Ok(())
}
