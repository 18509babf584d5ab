//! `portcullis check`: everything that is wrong with the configuration.

use std::sync::Arc;

use super::output::say;
use super::{Cli, Failure};
use crate::edge::Edge;
use crate::observe::Metrics;

pub(super) fn run(cli: &Cli) -> Result<(), Failure> {
    let config = cli.load_config()?;
    // What only the rooms themselves can tell: whether a key fits its certificate.
    Edge::new(&config.edge, Arc::new(Metrics::new()))?;
    let (routes, upstreams) = (config.gateway.routes.len(), config.upstreams.len());
    let file = cli.config.display();
    say(format_args!(
        "{file}: valid ({routes} routes, {upstreams} upstreams)"
    ))
}
