//! The one-command try-out: local CA, demo upstreams and a demo app, first credentials, a gateway.
//!
//! Needs nothing installed and no configuration; what it makes lies in one folder and survives a
//! restart. Not here: anything that a production gateway does differently. Invariant: the gateway
//! that runs is the real one with a real configuration file, which the folder shows.

pub mod certificates;
mod state;
mod upstreams;
mod callback;
mod credentials;
mod announce;
mod commands;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::app::{self, AppError, Running};
use crate::config::{Config, Problems};
use callback::Callback;
use certificates::MakeError;
use commands::Shell;
use credentials::Credentials;
use state::State;
use upstreams::Upstreams;

pub use announce::Ready;

/// What to start, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// The API.
    pub https: SocketAddr,
    /// Clear text.
    pub http: SocketAddr,
    /// Metrics and health.
    pub metrics: SocketAddr,
    /// The admin API.
    pub admin: SocketAddr,
    /// The folder.
    pub state: PathBuf,
    /// How this program was called: what the commands that are printed call it.
    pub program: PathBuf,
}

/// A try-out that runs.
pub struct Dev {
    running: Running,
    ready: Ready,
    _state: State,
    _upstreams: Upstreams,
}

/// Why it does not run.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// The gateway.
    #[error(transparent)]
    App(#[from] AppError),
    /// The certificates.
    #[error(transparent)]
    Certificates(#[from] MakeError),
    /// The configuration that was written: a bug.
    #[error("{0}")]
    Config(Problems),
    /// The keys, the client or the user.
    #[error("the first credentials cannot be made: {0}")]
    Credentials(String),
    /// The folder.
    #[error("{}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another one has it.
    #[error("another portcullis dev uses {}: stop it, or use --state OTHER", .0.display())]
    InUse(PathBuf),
    /// The upstreams.
    #[error("the demo upstreams cannot be started")]
    Upstreams(#[source] std::io::Error),
}

/// Makes what is missing and starts everything.
pub fn start(options: &Options) -> Result<Dev, DevError> {
    let state = State::prepare(&options.state)?;
    let callback = Arc::new(Callback::new(state.code_file()));
    let upstreams = Upstreams::start(&callback).map_err(DevError::Upstreams)?;
    let (path, text) = (
        state.config_path(),
        state::config_text(options, upstreams.addresses()),
    );
    let name = path.display().to_string();
    let config = Config::parse(&name, &text, state.folder()).map_err(DevError::Config)?;
    let running = app::start(&path, config)?;
    // Only now: a second `dev` that cannot start must not change what the first one reads.
    std::fs::write(&path, text).map_err(|source| DevError::File { path, source })?;
    let credentials = Credentials::make(&state, &running)?;
    let client = credentials.client.clone();
    let ready = Ready::new(&state, options, &running, credentials)?;
    callback.tell(Shell::new(state.folder()), client);
    Ok(Dev {
        running,
        ready,
        _state: state,
        _upstreams: upstreams,
    })
}

impl Dev {
    /// Where everything is.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Serves until SIGTERM or SIGINT.
    pub fn wait(self) -> Result<(), DevError> {
        Ok(self.running.wait()?)
    }

    /// Drains and ends.
    pub fn stop(self) {
        self.running.stop();
    }
}
