//! `--wait`: a revocation says which gateways know of it.
//!
//! Invariant: it ends with 1 where somebody may still serve what was revoked.

use serde::Serialize;

use super::manage::Desk;
use super::output::{self, Format, say};
use super::{Cli, Failure};
use crate::admin::{AdminClient, ClientError, ConfirmationView, ProofView, Proven, Wait};
use crate::auth::KeyDesk;

/// For each command that revokes.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct WaitArgument {
    /// Wait until each gateway knows, at most for so long (5s, 500ms; up to 60s), and show which do
    /// and until when the others may still serve what is revoked. Ends with 1 if one does not
    /// answer.
    #[arg(long, value_name = "DURATION")]
    wait: Option<Wait>,
}

impl Desk {
    /// Revokes on whichever there is, and waits for the fleet where that was asked for.
    pub(super) async fn prove<T>(
        &self,
        wait: WaitArgument,
        on_gateway: impl AsyncFnOnce(&AdminClient) -> Result<T, ClientError>,
        on_store: impl AsyncFnOnce(&KeyDesk) -> Result<T, Failure>,
    ) -> Result<Proven<T>, Failure> {
        match self {
            Desk::Gateway(client) => Ok(client.prove(wait.wait, on_gateway).await?),
            Desk::Store(desk) => {
                let fleet = desk.fleet();
                let begun = fleet.begin();
                let answer = on_store(desk).await?;
                let proof = match wait.wait {
                    None => None,
                    Some(wait) => Some(ProofView::from(fleet.prove(begun, wait.duration()).await)),
                };
                Ok(Proven { answer, proof })
            }
        }
    }
}

/// Shows what was revoked, in words or as JSON, and who knows of it.
pub(super) fn show<T: Serialize>(
    cli: &Cli,
    proven: &Proven<T>,
    words: impl FnOnce(&T) -> Result<(), Failure>,
) -> Result<(), Failure> {
    match cli.format {
        Format::Json => output::json(proven)?,
        Format::Table => {
            words(&proven.answer)?;
            if let Some(proof) = &proven.proof {
                in_words(proof)?;
            }
        }
    }
    match &proven.proof {
        Some(proof) if !proof.complete => Err(Failure::Negative),
        Some(_) | None => Ok(()),
    }
}

fn in_words(proof: &ProofView) -> Result<(), Failure> {
    if proof.confirmations.is_empty() && proof.doubt.is_none() {
        return say("no gateway is running on this store");
    }
    if !proof.confirmations.is_empty() {
        let rows: Vec<_> = proof.confirmations.iter().map(row).collect();
        output::table(["INSTANCE", "NAME", "CONFIRMED"], &rows)?;
    }
    if proof.confirmations.iter().any(is_silent) {
        eprintln!(
            "A gateway that has surely ended is taken off the list by `portcullis fleet forget INSTANCE`."
        );
    }
    if let Some(doubt) = &proof.doubt {
        eprintln!("warning: {doubt}");
    }
    Ok(())
}

fn is_silent(each: &ConfirmationView) -> bool {
    each.confirmed_ms.is_none() && each.may_serve_until.is_some()
}

fn row(each: &ConfirmationView) -> [String; 3] {
    let confirmed = match (each.confirmed_ms, &each.may_serve_until) {
        (Some(millis), _) => format!("{millis} ms"),
        (None, Some(until)) => format!("no answer; may serve until {until}"),
        (None, None) => "serves no more".into(),
    };
    [each.instance.to_string(), each.name.clone(), confirmed]
}
