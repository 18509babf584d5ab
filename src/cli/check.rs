//! `portcullis check`: everything that is wrong with the configuration.

use std::sync::Arc;

use super::output::say;
use super::{Cli, Failure};
use crate::edge::Edge;
use crate::observe::Metrics;

pub(super) fn run(cli: &Cli) -> Result<(), Failure> {
    let config = cli.load_config()?;
    // What only the rooms themselves can tell: whether a key fits its certificate, and
    // which hosts a certificate is for.
    let edge = Edge::new(&config.edge, Arc::new(Metrics::new()))?;
    for route in &config.gateway.routes {
        if let Some(host) = route.hosts.iter().find(|host| !edge.covers(host)) {
            let name = &route.name;
            return Err(anyhow::anyhow!(
                "route {name}: no certificate covers {host}, so all its requests would be 421"
            )
            .into());
        }
    }
    let (routes, upstreams) = (config.gateway.routes.len(), config.upstreams.len());
    let file = cli.config_path().display();
    say(format_args!(
        "{file}: valid ({routes} routes, {upstreams} upstreams)"
    ))
}
