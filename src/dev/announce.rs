//! What a try-out tells: where everything is, for scripts as one JSON file and for curl as its
//! configuration. The commands for people are [`super::commands`]'.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::commands::Shell;
use super::credentials::Credentials;
use super::state::{self, APP_HOST, State};
use super::{DevError, Options, certificates};
use crate::app::Running;

/// Where everything is. Holds the demo's secrets in the clear.
#[derive(Clone, Serialize)]
pub struct Ready {
    /// The API by the name that the seed gives it.
    url: &'static str,
    /// Where the API listens.
    https: SocketAddr,
    /// Where clear text is refused.
    pub(super) http: Option<SocketAddr>,
    /// Metrics and health.
    pub(super) metrics: Option<SocketAddr>,
    /// The admin API.
    pub(super) admin: Option<String>,
    admin_token_file: PathBuf,
    /// The certificate to trust.
    ca: PathBuf,
    /// For `curl -K`: this certificate, and where the hosts are.
    curl_config: PathBuf,
    /// What the seed's step 1 opens in a browser.
    pub(super) authorize_url: String,
    #[serde(flatten)]
    pub(super) credentials: Credentials,
    /// The same as `https`, to connect to.
    #[serde(skip)]
    pub(super) reachable: SocketAddr,
    /// What a browser is to accept: the hash of the server's public key.
    #[serde(skip)]
    pub(super) public_key: String,
    #[serde(skip)]
    pub(super) shell: Shell,
    /// Where the commands are pasted.
    #[serde(skip)]
    pub(super) here: PathBuf,
    /// How this program was called.
    #[serde(skip)]
    pub(super) program: PathBuf,
}

impl Ready {
    pub(super) fn new(
        state: &State,
        options: &Options,
        running: &Running,
        credentials: Credentials,
    ) -> Result<Ready, DevError> {
        let client = &credentials.client;
        let ready = Ready {
            url: "https://api.osir.com",
            https: running.https(),
            http: running.http(),
            metrics: running.metrics(),
            admin: running.admin().map(ToString::to_string),
            admin_token_file: state.admin_token_file(),
            ca: state.certificates.ca.clone(),
            curl_config: state.folder().join("curl.conf"),
            authorize_url: format!(
                "https://osir.com/oauth/authorize?client_id={}&redirect_uri={}&response_type=code\
                 &scope=domains:read%20domains:write",
                client.client_id, client.redirect_uri
            ),
            credentials,
            reachable: reachable(running.https()),
            public_key: certificates::public_key_hash(&state.certificates.cert)?,
            shell: Shell::new(&options.state),
            here: std::env::current_dir().unwrap_or_default(),
            program: options.program.clone(),
        };
        state::write_private(&ready.curl_config, &ready.curl_config_text()).map_err(|source| {
            DevError::File {
                path: ready.curl_config.clone(),
                source,
            }
        })?;
        Ok(ready)
    }

    /// Writes the JSON file, readable by its owner only.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(io::Error::other)?;
        state::write_private(path, &text)
    }

    /// In quotes, curl reads a backslash as the beginning of an escape.
    fn curl_config_text(&self) -> String {
        let ca = self.ca.display().to_string();
        let ca = ca.replace('\\', r"\\").replace('"', r#"\""#);
        let mut text = format!(
            "# Written by `portcullis dev` at each start, for curl -K: only its CA is trusted, and its\n\
             # hosts are found here, whatever proxy there is.\n\
             cacert = \"{ca}\"\nnoproxy = \"*\"\nsilent\nshow-error\nwrite-out = \"\\n\"\n"
        );
        for host in ["osir.com", "api.osir.com", APP_HOST] {
            let to = self.reachable;
            text.push_str(&format!("connect-to = \"{host}:443:{to}\"\n"));
        }
        text
    }
}

/// Whoever listens everywhere is also here.
fn reachable(mut listening: SocketAddr) -> SocketAddr {
    if listening.ip().is_unspecified() {
        listening.set_ip(match listening {
            SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::LOCALHOST),
        });
    }
    listening
}
