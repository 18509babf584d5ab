//! The one-command try-out: local CA, demo upstreams, first credentials, a gateway.
//!
//! Needs nothing installed and no configuration; what it makes lies in one folder and survives a
//! restart. Not here: anything that a production gateway does differently. Invariant: the gateway
//! that runs is the real one with a real configuration file, which the folder shows.

pub mod certificates;
mod announce;
mod state;
mod upstreams;

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::app::{self, AppError, Running};
use crate::config::{Config, Problems};
use certificates::MakeError;
use state::{DevKeys, State};
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
}

/// A try-out that runs.
pub struct Dev {
    running: Running,
    ready: Ready,
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
    /// The folder.
    #[error("{}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The keys.
    #[error("the first keys cannot be made: {0}")]
    Keys(String),
    /// The upstreams.
    #[error("the demo upstreams cannot be started")]
    Upstreams(#[source] std::io::Error),
}

/// Makes what is missing and starts everything.
pub fn start(options: &Options) -> Result<Dev, DevError> {
    let state = State::prepare(&options.state)?;
    let upstreams = Upstreams::start().map_err(DevError::Upstreams)?;
    let (path, text) = (
        state.config_path(),
        state::config_text(options, upstreams.addresses()),
    );
    let name = path.display().to_string();
    let config = Config::parse(&name, &text, state.folder()).map_err(DevError::Config)?;
    let running = app::start(&path, config)?;
    // Only now: a second `dev` that cannot start must not change what the first one reads.
    std::fs::write(&path, text).map_err(|source| DevError::File { path, source })?;
    let keys = DevKeys::make(&state, &running)?;
    let ready = Ready::new(&state, &running, &keys);
    Ok(Dev {
        running,
        ready,
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
