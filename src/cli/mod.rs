//! The command line: one file per command family; no logic of its own.
//!
//! Invariants: exit codes are those of interface.md §5; a created secret is on stdout once and
//! nowhere else; what is for people goes to stderr where stdout is for programs.

mod audit;
mod certs;
mod check;
mod client;
mod dev;
mod diff;
mod explain;
mod fleet;
mod key;
mod key_report;
mod manage;
mod moment;
mod output;
mod proof;
mod routes;
mod schema;
mod secret_argument;
mod serve;
mod session;
mod signing_key;
mod store;
mod suite;
mod junit;
mod token;
mod user;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, Problems};
use crate::observe::Causes;
use output::Format;

/// Done.
pub const DONE: u8 = 0;
/// The thing asked about failed: a finding, a denial, an unreachable gateway.
pub const FAILED: u8 = 1;
/// The command line makes no sense (clap's own code).
pub const USAGE: u8 = 2;
/// The configuration is not valid (`EX_CONFIG` of sysexits.h).
pub const CONFIG_INVALID: u8 = 78;

/// The configuration file, where none is named.
const CONFIG: &str = "gateway.yaml";
/// The end of `--help`.
const ENVIRONMENT: &str = "\
Environment:
  PORTCULLIS_ADMIN        The running gateway that keys, clients, users, sessions, tokens, fleet, explain
                          and store export are asked of, in place of a configuration file: unix:PATH
                          or IP:PORT
  PORTCULLIS_ADMIN_TOKEN  Its admin token
  PORTCULLIS_LOG          What is logged: error, warn, info, debug, or a filter of tracing-subscriber

Exit codes:
  0   Done, or the answer is yes
  1   It failed, or the answer is no: a denial, a finding, a gateway that does not know a revocation yet
  2   The command line makes no sense
  78  A configuration, or a file of policy tests, is not valid";

/// An edge API gateway that authenticates and authorizes every request, and fails closed.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, max_term_width = 100, after_help = ENVIRONMENT)]
pub struct Cli {
    /// The configuration file [default: gateway.yaml]. Not together with `PORTCULLIS_ADMIN`, which
    /// names a running gateway.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    /// How lists and created things are shown.
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway. SIGTERM drains, SIGHUP reloads.
    Serve,
    /// Try everything out with one command: certificates, store, upstreams, keys and a gateway.
    Dev(dev::Arguments),
    /// Validate the configuration.
    Check,
    /// Show the effective policy table.
    Routes,
    /// Say which route a request takes, and each check with its verdict.
    Explain(explain::Arguments),
    /// Check the policy against a file of tests.
    Test(suite::Arguments),
    /// Say who gains and who loses access from one configuration to another.
    Diff(diff::Arguments),
    /// Make, list, show, rotate, revoke and import API keys; report what is wrong with them.
    #[command(subcommand)]
    Key(key::Command),
    /// Register, list, show, rotate and disable OAuth clients.
    #[command(subcommand)]
    Client(client::Command),
    /// Make, list, show, disable and enable users; list and revoke their apps.
    #[command(subcommand)]
    User(user::Command),
    /// List and end sessions.
    #[command(subcommand)]
    Session(session::Command),
    /// List and rotate what access tokens are signed with.
    #[command(subcommand)]
    SigningKey(signing_key::Command),
    /// Revoke tokens, by name or by showing one.
    #[command(subcommand)]
    Token(token::Command),
    /// Check that nothing of an audit log was changed or removed.
    #[command(subcommand)]
    Audit(audit::Command),
    /// List the gateways that share the store: configuration, lease, last revocation seen.
    Fleet(fleet::Arguments),
    /// Write a whole store into a file, and take one in.
    #[command(subcommand)]
    Store(store::Command),
    /// Print the JSON Schema of gateway.yaml.
    Schema,
    /// Make a local CA and a server certificate for trying things out.
    Certs(certs::Arguments),
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The configuration is not valid.
    Config(Problems),
    /// Anything else.
    Other(anyhow::Error),
    /// It was done, and the answer is no: already shown.
    Negative,
    /// What was asked makes no sense together.
    Usage(String),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::Other(error.into())
    }
}

/// Runs a command.
pub fn run(cli: &Cli) -> ExitCode {
    log_to_stderr();
    leave_no_core();
    let done = match &cli.command {
        Command::Serve => serve::run(cli),
        Command::Dev(arguments) => dev::run(cli, arguments),
        Command::Check => check::run(cli),
        Command::Routes => routes::run(cli),
        Command::Explain(arguments) => explain::run(cli, arguments),
        Command::Test(arguments) => suite::run(cli, arguments),
        Command::Diff(arguments) => diff::run(cli, arguments),
        Command::Key(command) => key::run(cli, command),
        Command::Client(command) => client::run(cli, command),
        Command::User(command) => user::run(cli, command),
        Command::Session(command) => session::run(cli, command),
        Command::SigningKey(command) => signing_key::run(cli, command),
        Command::Token(command) => token::run(cli, command),
        Command::Audit(command) => audit::run(cli, command),
        Command::Fleet(arguments) => fleet::run(cli, arguments),
        Command::Store(command) => store::run(cli, command),
        Command::Schema => schema::run(cli),
        Command::Certs(arguments) => certs::run(cli, arguments),
    };
    ExitCode::from(match done {
        Ok(()) => DONE,
        Err(Failure::Negative) => FAILED,
        Err(Failure::Config(problems)) => {
            eprintln!("{problems}");
            CONFIG_INVALID
        }
        // Whoever read stdout has seen enough.
        Err(Failure::Other(error)) if is_broken_pipe(&error) => DONE,
        Err(Failure::Other(error)) => {
            eprintln!("error: {}", Causes(&*error));
            if let Some(hint) = manage::hint(&error) {
                eprintln!("  = help: {hint}");
            }
            FAILED
        }
        Err(Failure::Usage(message)) => {
            eprintln!("error: {message}");
            USAGE
        }
    })
}

impl Cli {
    /// Reads the command line; ends the process where it makes no sense.
    pub fn from_command_line() -> Cli {
        secret_argument::command_line()
    }

    fn load_config(&self) -> Result<Config, Failure> {
        Config::load(self.config_path()).map_err(Failure::Config)
    }

    /// For a command that reads no configuration: one that is named is not ignored.
    fn refuse_config(&self, command: &str) -> Result<(), Failure> {
        match &self.config {
            Some(_) => Err(Failure::Usage(format!(
                "`{command}` reads no configuration file: leave out --config"
            ))),
            None => Ok(()),
        }
    }

    /// The configuration file.
    fn config_path(&self) -> &Path {
        self.config.as_deref().unwrap_or(Path::new(CONFIG))
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// `PORTCULLIS_LOG` holds a filter as tracing-subscriber writes them; the default is `info`.
/// JSON for programs, text where a person looks on.
fn log_to_stderr() {
    let filter =
        EnvFilter::try_from_env("PORTCULLIS_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second subscriber in one process is only a test's.
    let _ = if std::io::stderr().is_terminal() {
        log.with_ansi(false).try_init()
    } else {
        log.json().try_init()
    };
}

/// A core dump would hold every key of the moment (security.md row 109). Only the limit is set;
/// a `core_pattern` that pipes to a program may ignore it, see docs/decisions/0008-cli-admin.md.
fn leave_no_core() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "core dumps could not be switched off");
    }
}

/// A runtime for a command that talks to a gateway or a store.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
}
