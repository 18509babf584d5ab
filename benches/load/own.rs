//! A gateway and upstreams of the bench's own, for a run without `--url`.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;

use portcullis::dev::{self, Dev};
use portcullis::secret::Secret;

use super::arguments::Arguments;

/// Runs until it is dropped; its folder goes with it.
pub(crate) struct Own {
    dev: Option<Dev>,
    address: SocketAddr,
    ca: PathBuf,
    key: Secret,
    _folder: tempfile::TempDir,
}

impl Own {
    pub(crate) fn start() -> anyhow::Result<Own> {
        let folder = tempfile::tempdir().context("no folder for the gateway")?;
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let dev = dev::start(&dev::Options {
            https: any,
            http: any,
            metrics: any,
            admin: any,
            state: folder.path().to_owned(),
            program: "portcullis".into(),
        })
        .context("the gateway cannot be started")?;
        let ready = serde_json::to_value(dev.ready())?;
        let text = |pointer: &str| {
            let value = ready.pointer(pointer).and_then(|value| value.as_str());
            value.with_context(|| format!("the gateway does not tell its {pointer}"))
        };
        Ok(Own {
            address: text("/https")?.parse()?,
            ca: text("/ca")?.into(),
            key: Secret::new(text("/keys/full/key")?),
            dev: Some(dev),
            _folder: folder,
        })
    }

    /// Makes this the target.
    pub(crate) fn aim(&self, arguments: &mut Arguments) {
        arguments.url = Some("https://api.osir.com/v1/domains".into());
        arguments.connect_to = Some(self.address);
        arguments.ca = Some(self.ca.clone());
        arguments.key = Some(self.key.clone());
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(dev) = self.dev.take() {
            dev.stop();
        }
    }
}
