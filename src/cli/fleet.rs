//! `portcullis fleet`: the gateways that share a store, and the end of one that could not tell of it.

use clap::{Args, Subcommand};

use std::collections::BTreeSet;

use super::manage::Desk;
use super::output::{self, Format, say};
use super::secret_argument::id;
use super::{Cli, Failure, runtime};
use crate::admin::{FleetView, ForgottenInstanceView, InstanceView};
use crate::auth::InstanceState;
use crate::id::InstanceId;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

/// What to do with the list, other than to show it.
#[derive(Debug, Subcommand)]
enum Command {
    /// Take a gateway off the list that has ended and could not say so: killed, its machine lost.
    ///
    /// You vouch that it serves no more. `--wait` does not wait for it from then on, so a revocation
    /// counts as proven without it. One that is only cut off goes on with what it knows until
    /// its lease ends, up to `credentials.cache.stale` after it heard of the store last, whatever
    /// the list says: stop it first. One that reported in the last 6 s is not forgotten.
    Forget {
        /// Its id, as `portcullis fleet` shows it.
        #[arg(value_parser = id(InstanceId::parse))]
        id: InstanceId,
    },
}

/// Of a digest, in characters.
const SHORT: usize = 12;

pub(super) fn run(cli: &Cli, arguments: &Arguments) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let desk = Desk::open(cli).await?;
        match &arguments.command {
            None => list(cli, &desk).await,
            Some(Command::Forget { id }) => forget(cli, &desk, id).await,
        }
    })
}

async fn list(cli: &Cli, desk: &Desk) -> Result<(), Failure> {
    let fleet = match desk {
        Desk::Gateway(client) => client.fleet().await?,
        Desk::Store(desk) => FleetView::from(desk.fleet().overview().await?),
    };
    match cli.format {
        Format::Json => output::json(&fleet),
        Format::Table => show(&fleet),
    }
}

async fn forget(cli: &Cli, desk: &Desk, id: &InstanceId) -> Result<(), Failure> {
    let forgotten = match desk {
        Desk::Gateway(client) => client.forget_instance(id).await?,
        Desk::Store(desk) => {
            let forgotten = desk.forget_instance(id, Desk::actor()).await?;
            ForgottenInstanceView::from(forgotten)
        }
    };
    if cli.format == Format::Json {
        return output::json(&forgotten);
    }
    let (name, at) = (&forgotten.name, &forgotten.reported_at);
    say(format_args!(
        "{id} ({name}) is forgotten; it reported last at {at}"
    ))
}

fn show(fleet: &FleetView) -> Result<(), Failure> {
    if fleet.instances.is_empty() {
        return say("no gateway is running on this store");
    }
    let common = commonest(fleet);
    let rows: Vec<_> = fleet
        .instances
        .iter()
        .map(|each| row(each, is_marked(fleet, each, common)))
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
        let mark = match common {
            Some(_) => "another configuration than most have",
            None => "the configurations differ, and none is that of most",
        };
        say(format_args!(
            "* {mark}: digests differ where a file differs by a byte"
        ))?;
    }
    if let Some(seconds) = fleet.list_lost_seconds {
        say(format_args!(
            "the store lost its list of gateways {seconds:.0} s ago: one that is cut off since then is \
             not on it"
        ))?;
    }
    Ok(())
}

/// The configuration that more of those have that may serve than any other; `None` where none is.
fn commonest(fleet: &FleetView) -> Option<&str> {
    let serving = || {
        let instances = fleet.instances.iter();
        instances.filter(|each| each.state != InstanceState::Lapsed)
    };
    let count = |config: &str| serving().filter(|each| each.config == config).count();
    let configs: BTreeSet<_> = serving().map(|each| each.config.as_str()).collect();
    let most = configs.iter().map(|config| count(config)).max()?;
    let mut common = configs.into_iter().filter(|config| count(config) == most);
    common.next().filter(|_| common.next().is_none())
}

/// Where no configuration is that of most, none is taken for the right one.
fn is_marked(fleet: &FleetView, instance: &InstanceView, common: Option<&str>) -> bool {
    match common {
        Some(common) => instance.config != common,
        None => fleet.configs_differ,
    }
}

fn row(instance: &InstanceView, is_marked: bool) -> [String; 8] {
    let config: String = instance.config.chars().take(SHORT).collect();
    let mark = if is_marked { " *" } else { "" };
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

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(configs: &[&str]) -> FleetView {
        let instances: Vec<_> = configs
            .iter()
            .zip(0..)
            .map(|(config, number)| {
                serde_json::json!({
                    "instance": format!("gw_{number:016}"), "name": "edge:1", "version": "0.1.0",
                    "config": config, "started_at": "2026-11-30T22:14:07.512Z",
                    "reported_at": "2026-11-30T22:14:07.512Z", "lease_age_seconds": 0.5,
                    "stale_seconds": 300.0, "last_revocation": null, "state": "live",
                })
            })
            .collect();
        let differ = configs.iter().any(|config| *config != configs[0]);
        let fleet = serde_json::json!({
            "instances": instances, "configs_differ": differ, "list_lost_seconds": null,
        });
        serde_json::from_value(fleet).expect("a fleet")
    }

    fn marks(configs: &[&str]) -> Vec<bool> {
        let fleet = fleet(configs);
        let common = commonest(&fleet);
        let instances = fleet.instances.iter();
        instances
            .map(|each| is_marked(&fleet, each, common))
            .collect()
    }

    #[test]
    fn the_odd_one_is_marked_and_of_a_tie_all_are() {
        assert_eq!(marks(&["a", "a"]), [false, false]);
        assert_eq!(marks(&["b", "a", "b"]), [false, true, false]);
        assert_eq!(marks(&["b", "a"]), [true, true]);
        assert_eq!(marks(&["b", "a", "c", "c"]), [true, true, false, false]);
    }
}
