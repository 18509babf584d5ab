//! What a try-out tells: commands to copy for people, one JSON file for scripts.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::state::{self, DevKeys, State};
use crate::app::Running;

/// Where everything is. Holds the demo's keys in the clear.
#[derive(Clone, Serialize)]
pub struct Ready {
    /// The API by the name that the seed gives it.
    url: &'static str,
    /// Where the API listens.
    https: SocketAddr,
    /// Where clear text is refused.
    http: Option<SocketAddr>,
    /// Metrics and health.
    metrics: Option<SocketAddr>,
    /// The admin API.
    admin: Option<String>,
    admin_token_file: PathBuf,
    /// The certificate to trust.
    ca: PathBuf,
    keys: DevKeys,
}

impl Ready {
    pub(super) fn new(state: &State, running: &Running, keys: &DevKeys) -> Ready {
        Ready {
            url: "https://api.osir.com",
            https: running.https(),
            http: running.http(),
            metrics: running.metrics(),
            admin: running.admin().map(ToString::to_string),
            admin_token_file: state.admin_token_file(),
            ca: state.certificates.ca.clone(),
            keys: keys.clone(),
        }
    }

    /// Writes the JSON file, readable by its owner only.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(io::Error::other)?;
        state::write_private(path, &text)
    }
}

/// The commands to copy: the seed's own, with only the key, `--cacert` and `--connect-to` added.
impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ca, https) = (self.ca.display(), self.https);
        let to = format!("--cacert {ca} --connect-to api.osir.com:443:{https}");
        let (full, read_only) = (&self.keys.full.key, &self.keys.read_only.key);
        let url = format!("{}/v1/domains", self.url);
        let mut show = |title: &str, command: String| writeln!(f, "# {title}\n{command}\n");
        show(
            "An API key as a bearer token",
            format!("curl {to} -X GET {url} -H \"Authorization: Bearer {full}\""),
        )?;
        show(
            "An API key in its own header",
            format!("curl {to} -X GET {url} -H \"X-API-Key: {full}\""),
        )?;
        show("401: no credential", format!("curl -i {to} {url}"))?;
        show(
            "403: this key may read, not write",
            format!("curl -i {to} -X POST {url} -H \"X-API-Key: {read_only}\" -d name=example.com"),
        )?;
        show(
            "Temporary access: a session token that may read for 15 minutes",
            format!(
                "curl {to} -X POST {}/auth/sessions -H \"Authorization: Bearer {full}\" \\\n  -H \
                 \"Content-Type: application/json\" -d '{{\"scopes\":[\"domains:read\"],\"ttl\":900}}'",
                self.url
            ),
        )?;
        if let Some(http) = self.http {
            show(
                "426: nothing is answered in clear text",
                format!("curl -i http://{http}/v1/domains"),
            )?;
        }
        if let Some(metrics) = self.metrics {
            show(
                "Metrics for Prometheus",
                format!("curl http://{metrics}/metrics"),
            )?;
        }
        if let Some(admin) = &self.admin {
            let token = self.admin_token_file.display();
            let at = format!("PORTCULLIS_ADMIN={admin} PORTCULLIS_ADMIN_TOKEN=$(cat {token})");
            show(
                "Why a request is refused",
                format!("{at} portcullis explain POST /v1/domains --key {read_only}"),
            )?;
            show("Make and revoke keys", format!("{at} portcullis key list"))?;
        }
        Ok(())
    }
}
