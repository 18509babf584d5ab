//! `portcullis schema`: the JSON Schema of gateway.yaml.

use super::output::say;
use super::{Cli, Failure};

pub(super) fn run(cli: &Cli) -> Result<(), Failure> {
    cli.refuse_config("schema")?;
    say(serde_json::to_string_pretty(&crate::config::schema())?)
}
