//! The folder of a try-out: certificates, secrets, store, configuration, and what was opened with it.
//!
//! Invariant: only its owner can look into it.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::certificates::{self, CertificatePaths, DEFAULT_HOSTS};
use super::upstreams::{SERVICES, UpstreamAddresses};
use super::{DevError, Options};
use crate::secret::{Secret, random_bytes};

/// The host of the demo's app.
pub(super) const APP_HOST: &str = "yourapp.com";

/// The folder with everything in it.
pub(super) struct State {
    folder: PathBuf,
    pub(super) certificates: CertificatePaths,
    admin_token: Secret,
    /// Locked as long as this process lives.
    _lock: File,
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
        // First of all: what another one reads is not changed under it.
        let lock = lock(folder)?;
        let folder = folder.canonicalize().map_err(failed)?;
        // And the app's, whose page is served here too.
        let hosts = DEFAULT_HOSTS.iter().chain(&[APP_HOST]);
        let hosts: Vec<String> = hosts.map(|host| (*host).to_owned()).collect();
        let certificates = certificates::make(&folder.join("certs"), &hosts)?;
        secret_file(&folder.join("pepper"))?;
        let admin_token = secret_file(&folder.join("admin-token"))?;
        Ok(State {
            folder,
            certificates,
            admin_token,
            _lock: lock,
        })
    }

    pub(super) fn admin_token_file(&self) -> PathBuf {
        self.folder.join("admin-token")
    }

    pub(super) fn admin_token(&self) -> &Secret {
        &self.admin_token
    }

    /// Where the OAuth client is kept.
    pub(super) fn client_file(&self) -> PathBuf {
        self.folder.join("dev-client.json")
    }

    /// Where the app keeps the code of the last login.
    pub(super) fn code_file(&self) -> PathBuf {
        self.folder.join("code")
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

/// Keeps a second `dev` out of the folder.
fn lock(folder: &Path) -> Result<File, DevError> {
    let path = folder.join("lock");
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path);
    let failed = |source| DevError::File {
        path: path.clone(),
        source,
    };
    let file = file.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DevError::InUse(folder.into())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
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
pub(super) fn config_text(options: &Options, upstreams: &UpstreamAddresses) -> String {
    let mut text = format!(
        "# Written by `portcullis dev` at each start; copy it to make it yours.\n\
         listen:\n  https: {}\n  http: {}\n  metrics: {}\n  admin: {}\n\
         tls:\n  certificates:\n    - {{ cert: certs/gateway.pem, key: certs/gateway-key.pem }}\n\
         store: {{ embedded: portcullis.redb }}\n\
         credentials:\n  realm: osir\n  prefix: osir\n  pepper: {{ file: pepper }}\n\
         admin_token: {{ file: admin-token }}\n\
         audit_log: audit.jsonl\n\
         access_log: {{ file: access.log }}\n\
         access_tokens:\n  - {{ issuer: https://osir.com, builtin: true, audience: https://api.osir.com }}\n\
         oauth: {{ issuer: https://osir.com, login: builtin }}\n",
        options.https, options.http, options.metrics, options.admin
    );
    text.push_str("scopes:\n");
    let words = [
        ("domains", "domains"),
        ("servers", "servers"),
        ("email settings", "email"),
        ("billing info", "billing"),
    ];
    for (service, (view, manage)) in SERVICES.iter().zip(words) {
        text.push_str(&format!(
            "  {service}:read: View {view}\n  {service}:write: Manage {manage}\n"
        ));
    }
    text.push_str("upstreams:\n");
    for (service, address) in SERVICES.iter().zip(upstreams.services) {
        text.push_str(&format!(
            "  {service}: {{ endpoints: [http://{address}] }}\n"
        ));
    }
    let app = upstreams.app;
    text.push_str(&format!(
        "  your-app: {{ endpoints: [http://{app}], identity: none }}\n\
         routes:\n  - name: your-app\n    path: /callback\n    hosts: [{APP_HOST}]\n    methods: [GET]\n    \
         access: {{ public: \"the page of the demo's app, to which logins come back\" }}\n    \
         upstream: your-app\n"
    ));
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
