//! `portcullis fleet`: the gateways that share a store.

use super::manage::Desk;
use super::output::{self, Format, say};
use super::{Cli, Failure, runtime};
use crate::admin::{FleetView, InstanceView};
use crate::auth::InstanceState;

/// Of a digest, in characters.
const SHORT: usize = 12;

pub(super) fn run(cli: &Cli) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let fleet = match Desk::open(cli).await? {
            Desk::Gateway(client) => client.fleet().await?,
            Desk::Store(desk) => FleetView::from(desk.fleet().overview().await?),
        };
        match cli.format {
            Format::Json => output::json(&fleet),
            Format::Table => show(&fleet),
        }
    })
}

fn show(fleet: &FleetView) -> Result<(), Failure> {
    if fleet.instances.is_empty() {
        return say("no gateway is running on this store");
    }
    let common = commonest(fleet);
    let rows: Vec<_> = fleet
        .instances
        .iter()
        .map(|each| row(each, common))
        .collect();
    let heading = [
        "INSTANCE",
        "NAME",
        "VERSION",
        "CONFIG",
        "STARTED",
        "LEASE AGE",
        "LAST REVOCATION",
        "STATE",
    ];
    output::table(heading, &rows)?;
    if fleet.configs_differ {
        say(
            "* another configuration than most have: digests differ where a file differs by a byte",
        )?;
    }
    if let Some(seconds) = fleet.list_lost_seconds {
        say(format_args!(
            "the store lost its list of gateways {seconds:.0} s ago: one that is cut off since then is \
             not on it"
        ))?;
    }
    Ok(())
}

/// The configuration that most of those have that may serve; of several the first by name.
fn commonest(fleet: &FleetView) -> Option<&str> {
    let serving = || {
        let instances = fleet.instances.iter();
        instances.filter(|each| each.state != InstanceState::Lapsed)
    };
    let count = |config: &str| serving().filter(|each| each.config == config).count();
    let configs = serving().map(|each| each.config.as_str());
    configs.min_by_key(|config| (std::cmp::Reverse(count(config)), *config))
}

fn row(instance: &InstanceView, common: Option<&str>) -> [String; 8] {
    let config: String = instance.config.chars().take(SHORT).collect();
    let mark = match common == Some(&*instance.config) {
        true => "",
        false => " *",
    };
    let lease = instance.lease_age_seconds;
    [
        instance.instance.to_string(),
        instance.name.clone(),
        instance.version.clone(),
        format!("{config}{mark}"),
        instance.started_at.clone(),
        lease.map_or("none".into(), |age| format!("{age:.1} s")),
        instance
            .last_revocation
            .clone()
            .unwrap_or_else(|| "none".into()),
        match instance.state {
            InstanceState::Draining => "draining".into(),
            InstanceState::Lapsed => format!("lapsed: silent since {}", instance.reported_at),
            InstanceState::Live => "live".into(),
            InstanceState::Silent => format!("silent since {}", instance.reported_at),
        },
    ]
}
