//! `portcullis schema`: the JSON Schema of gateway.yaml.

use super::Failure;

pub(super) fn run() -> Result<(), Failure> {
    println!(
        "{}",
        serde_json::to_string_pretty(&crate::config::schema())?
    );
    Ok(())
}
