//! `portcullis schema`: the JSON Schema of gateway.yaml.

use super::Failure;
use super::output::say;

pub(super) fn run() -> Result<(), Failure> {
    say(serde_json::to_string_pretty(&crate::config::schema())?)
}
