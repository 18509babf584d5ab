//! `portcullis serve`.

use super::{Cli, Failure};

pub(super) fn run(cli: &Cli) -> Result<(), Failure> {
    let config = cli.load_config()?;
    let running = crate::app::start(cli.config_path(), config)?;
    tracing::info!(
        https = %running.https(),
        http = running.http().map(tracing::field::display),
        metrics = running.metrics().map(tracing::field::display),
        admin = running.admin().map(tracing::field::display),
        "serving"
    );
    running.wait()?;
    Ok(())
}
