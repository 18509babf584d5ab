//! The folder of a try-out: certificates, secrets, store, configuration, and the keys in the clear
//! (this is for trying things out: they open nothing but the demo).

use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::certificates::{self, CertificatePaths, DEFAULT_HOSTS};
use super::upstreams::SERVICES;
use super::{DevError, Options};
use crate::admin::{AdminClient, NewKeyBody};
use crate::app::Running;
use crate::id::KeyId;
use crate::secret::{Secret, random_bytes};

/// The folder with everything in it.
pub(super) struct State {
    folder: PathBuf,
    pub(super) certificates: CertificatePaths,
    admin_token: Secret,
}

/// The two keys of a try-out.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct DevKeys {
    /// Every scope.
    pub(super) full: DevKey,
    /// Only the `:read` scopes.
    pub(super) read_only: DevKey,
}

/// One key, in the clear.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct DevKey {
    pub(super) id: KeyId,
    pub(super) key: String,
}

impl State {
    pub(super) fn prepare(folder: &Path) -> Result<State, DevError> {
        let failed = |source| DevError::File {
            path: folder.into(),
            source,
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(failed)?;
        let folder = folder.canonicalize().map_err(failed)?;
        let hosts = DEFAULT_HOSTS.map(String::from);
        let certificates = certificates::make(&folder.join("certs"), &hosts)?;
        secret_file(&folder.join("pepper"))?;
        let admin_token = secret_file(&folder.join("admin-token"))?;
        Ok(State {
            folder,
            certificates,
            admin_token,
        })
    }

    pub(super) fn admin_token_file(&self) -> PathBuf {
        self.folder.join("admin-token")
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the configuration is shown, and read again on a reload.
    pub(super) fn config_path(&self) -> PathBuf {
        self.folder.join("gateway.yaml")
    }
}

/// A file of 256 random bits as hex, made if it is not there; its content.
fn secret_file(path: &Path) -> Result<Secret, DevError> {
    let failed = |source| DevError::File {
        path: path.into(),
        source,
    };
    if path.exists() {
        return fs::read_to_string(path)
            .map(|text| Secret::new(text.trim()))
            .map_err(failed);
    }
    let hex: String = random_bytes::<32>()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    write_private(path, &hex).map_err(failed)?;
    Ok(Secret::new(hex))
}

/// Writes a file that only its owner can read, whole or not at all.
pub(super) fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension("new");
    let _ = fs::remove_file(&draft);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&draft, path)
}

/// The configuration of a try-out.
pub(super) fn config_text(options: &Options, upstreams: &[SocketAddr; 4]) -> String {
    let mut text = format!(
        "# Written by `portcullis dev` at each start; copy it to make it yours.\n\
         listen:\n  https: {}\n  http: {}\n  metrics: {}\n  admin: {}\n\
         tls:\n  certificates:\n    - {{ cert: certs/gateway.pem, key: certs/gateway-key.pem }}\n\
         store: {{ embedded: portcullis.redb }}\n\
         credentials:\n  realm: osir\n  prefix: osir\n  pepper: {{ file: pepper }}\n\
         admin_token: {{ file: admin-token }}\n\
         audit_log: audit.jsonl\n\
         access_log: {{ file: access.log }}\n",
        options.https, options.http, options.metrics, options.admin
    );
    text.push_str("scopes:\n");
    let nouns = ["domains", "servers", "email settings", "billing info"];
    for (service, noun) in SERVICES.iter().zip(nouns) {
        text.push_str(&format!(
            "  {service}:read: View {noun}\n  {service}:write: Manage {noun}\n"
        ));
    }
    text.push_str("upstreams:\n");
    for (service, address) in SERVICES.iter().zip(upstreams) {
        text.push_str(&format!(
            "  {service}: {{ endpoints: [http://{address}] }}\n"
        ));
    }
    text.push_str("routes:\n");
    for service in SERVICES {
        for (access, methods) in [("read", "GET, HEAD"), ("write", "POST, PUT, PATCH, DELETE")] {
            text.push_str(&format!(
                "  - name: {service}-{access}\n    prefix: /v1/{service}\n    methods: [{methods}]\n    \
                 access: {{ scopes: [{service}:{access}] }}\n    upstream: {service}\n"
            ));
        }
    }
    text
}

impl DevKeys {
    /// The keys of an earlier start if the store still has them, else new ones.
    pub(super) fn make(state: &State, running: &Running) -> Result<DevKeys, DevError> {
        let failed = |error: &dyn std::fmt::Display| DevError::Keys(error.to_string());
        let address = running
            .admin()
            .ok_or_else(|| DevError::Keys("no admin API".into()))?;
        let client = AdminClient::new(address.clone(), Some(&state.admin_token))
            .map_err(|error| failed(&error))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| failed(&error))?;
        let path = state.folder.join("dev-keys.json");
        runtime.block_on(async {
            if let Some(keys) = read(&path)
                && client
                    .key(&keys.full.id)
                    .await
                    .is_ok_and(|found| found.key.revoked_at.is_none())
                && client
                    .key(&keys.read_only.id)
                    .await
                    .is_ok_and(|found| found.key.revoked_at.is_none())
            {
                return Ok(keys);
            }
            let keys = DevKeys {
                full: make_key(&client, "every scope", &["read", "write"]).await?,
                read_only: make_key(&client, "read only", &["read"]).await?,
            };
            let text = serde_json::to_string(&keys).map_err(|error| failed(&error))?;
            write_private(&path, &text).map_err(|source| DevError::File { path, source })?;
            Ok(keys)
        })
    }
}

fn read(path: &Path) -> Option<DevKeys> {
    serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
}

async fn make_key(client: &AdminClient, name: &str, accesses: &[&str]) -> Result<DevKey, DevError> {
    let scopes = SERVICES.iter().flat_map(|service| {
        accesses
            .iter()
            .map(move |access| format!("{service}:{access}"))
    });
    let body = NewKeyBody {
        account: "acct_dev".into(),
        name: name.into(),
        scopes: scopes.collect(),
        env: None,
        not_before: None,
        expires_at: None,
        allowed_ips: Vec::new(),
    };
    let created = client.create_key(&body).await;
    let created = created.map_err(|error| DevError::Keys(error.to_string()))?;
    Ok(DevKey {
        id: created.id,
        key: created.key.expose().to_owned(),
    })
}
