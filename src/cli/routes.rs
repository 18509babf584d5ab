//! `portcullis routes`: the effective policy table.

use super::output::{self, Format};
use super::{Cli, Failure};
use crate::gateway;
use crate::oauth::Places;
use crate::policy;

pub(super) fn run(cli: &Cli) -> Result<(), Failure> {
    let config = cli.load_config()?;
    let oauth = config.oauth.as_ref().map(Places::new);
    let own = gateway::own_places(&config.gateway, oauth.as_ref());
    let rows = policy::rows(&config.gateway, &config.upstreams, &own);
    if cli.format == Format::Json {
        return output::json(&rows);
    }
    let rows: Vec<_> = rows
        .into_iter()
        .map(|row| {
            [
                row.route,
                row.hosts,
                row.methods,
                row.path,
                row.access,
                row.upstream,
            ]
        })
        .collect();
    output::table(
        ["ROUTE", "HOSTS", "METHODS", "PATH", "ACCESS", "UPSTREAM"],
        &rows,
    )
}
