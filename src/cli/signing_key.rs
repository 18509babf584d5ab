//! `portcullis signing-key …`: what the gateway's own access tokens are signed with, on a running
//! gateway or directly on its store.

use clap::Subcommand;

use super::manage::Desk;
use super::output::{self, Format, say};
use super::{Cli, Failure, runtime};
use crate::admin::{RotatedSigningKeyView, SigningKeyView};
use crate::auth::{RotationHaste, SigningKeyOutcome};
use crate::store::SigningAlgorithm;

/// What to do with signing keys.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the published keys, the newest first.
    List,
    /// Go to another key: it is published now, and signs when all who verify know it.
    Rotate {
        /// In an emergency: another key signs at once, and no token that an older key signed is
        /// accepted any more. Clients have to refresh.
        #[arg(long)]
        now: bool,
    },
}

pub(super) fn run(cli: &Cli, command: &Command) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let desk = Desk::open(cli).await?;
        match command {
            Command::List => list(cli, &desk).await,
            Command::Rotate { now: true } => rotate(cli, &desk, RotationHaste::Emergency).await,
            Command::Rotate { now: false } => rotate(cli, &desk, RotationHaste::Planned).await,
        }
    })
}

async fn list(cli: &Cli, desk: &Desk) -> Result<(), Failure> {
    let keys = match desk {
        Desk::Gateway(client) => client.signing_keys().await?.keys,
        Desk::Store(desk) => {
            let keys = desk.signing_keys().list().await?;
            keys.iter().map(SigningKeyView::from).collect()
        }
    };
    if cli.format == Format::Json {
        return output::json(&keys);
    }
    let rows: Vec<_> = keys.iter().map(row).collect();
    output::table(
        [
            "KID",
            "ALGORITHM",
            "STATE",
            "PUBLISHED",
            "SIGNS FROM",
            "VERIFIED UNTIL",
        ],
        &rows,
    )
}

fn row(key: &SigningKeyView) -> [String; 6] {
    let algorithm = match key.algorithm {
        SigningAlgorithm::Es256 => "ES256",
        SigningAlgorithm::Rs256 => "RS256",
    };
    [
        key.kid.clone(),
        algorithm.to_owned(),
        key.state.label().to_owned(),
        key.created_at.clone(),
        key.signs_at.clone().unwrap_or_default(),
        key.verified_until.clone().unwrap_or_default(),
    ]
}

async fn rotate(cli: &Cli, desk: &Desk, haste: RotationHaste) -> Result<(), Failure> {
    let rotated = match desk {
        Desk::Gateway(client) => client.rotate_signing_key(haste).await?,
        Desk::Store(desk) => {
            let rotated = desk.signing_keys().rotate(haste, Desk::actor()).await?;
            RotatedSigningKeyView::from(rotated)
        }
    };
    if cli.format == Format::Json {
        return output::json(&rotated);
    }
    let (kid, at) = (&rotated.kid, &rotated.signs_at);
    match rotated.outcome {
        SigningKeyOutcome::Activated => say(format_args!("{kid} signs since {at}")),
        SigningKeyOutcome::Published => {
            say(format_args!("{kid} is published, and signs from {at} on"))
        }
        SigningKeyOutcome::Waiting => say(format_args!(
            "{kid} was published before, and signs from {at} on"
        )),
    }
}
