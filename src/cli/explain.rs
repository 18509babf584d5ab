//! `portcullis explain METHOD PATH`: why a request would be let through or not.

use std::net::IpAddr;

use serde_json::Value;

use super::output::{self, Format};
use super::secret_argument::{hidden, read};
use super::{Cli, Failure, manage, runtime};
use crate::policy::{ExplainCredential, ExplainRequest};
use crate::scope::Scope;
use crate::secret::Secret;

/// The request that is thought of.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Its method.
    method: String,
    /// Its path, perhaps with a query.
    path: String,
    /// With this API key; `-` reads it from standard input, which `ps` does not show.
    #[arg(long, conflicts_with_all = ["token", "scopes"], value_parser = hidden)]
    key: Option<Secret>,
    /// With this access token; `-` reads it from standard input.
    #[arg(long, conflicts_with = "scopes", value_parser = hidden)]
    token: Option<Secret>,
    /// As someone with these scopes, separated by commas.
    #[arg(long, value_delimiter = ',', value_parser = Scope::parse)]
    scopes: Option<Vec<Scope>>,
    /// To this host.
    #[arg(long)]
    host: Option<String>,
    /// From this address.
    #[arg(long)]
    address: Option<IpAddr>,
}

pub(super) fn run(cli: &Cli, arguments: &Arguments) -> Result<(), Failure> {
    let request = arguments.request()?;
    let explanation = runtime()?.block_on(ask(cli, &request))?;
    match cli.format {
        Format::Json => output::json(&explanation)?,
        Format::Table => print(&explanation)?,
    }
    match explanation["verdict"].as_str() {
        Some("allow") => Ok(()),
        _ => Err(Failure::Negative),
    }
}

async fn ask(cli: &Cli, request: &ExplainRequest) -> Result<Value, Failure> {
    if let Some(client) = manage::client_of_environment(cli)? {
        return Ok(client.explain(request).await?);
    }
    let (client, config) = manage::gateway_or_config(cli).await?;
    match client {
        Some(client) => Ok(client.explain(request).await?),
        None => Ok(crate::app::explain_offline(&config?, request).await?),
    }
}

impl Arguments {
    fn request(&self) -> Result<ExplainRequest, Failure> {
        let credential = match (&self.key, &self.token, &self.scopes) {
            (Some(key), _, _) => ExplainCredential::Key(read(key)?),
            (_, Some(token), _) => ExplainCredential::Token(read(token)?),
            (_, _, Some(scopes)) => ExplainCredential::Scopes(scopes.iter().cloned().collect()),
            (None, None, None) => ExplainCredential::None,
        };
        Ok(ExplainRequest {
            method: self.method.clone(),
            path: self.path.clone(),
            host: self.host.clone(),
            address: self.address,
            credential,
        })
    }
}

fn print(explanation: &Value) -> Result<(), Failure> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let checks = explanation["checks"].as_array();
    let rows: Vec<_> = checks
        .into_iter()
        .flatten()
        .map(|check| {
            [
                text(&check["step"]),
                text(&check["verdict"]),
                text(&check["detail"]),
            ]
        })
        .collect();
    output::table(["STEP", "VERDICT", "DETAIL"], &rows)?;
    let verdict = text(&explanation["verdict"]);
    let status = explanation["status"].as_u64().unwrap_or(0);
    let (route, upstream) = (text(&explanation["route"]), text(&explanation["upstream"]));
    output::say(format_args!(
        "{verdict} ({status}), route {route}, upstream {upstream}"
    ))
}
