//! `gateway.yaml` → every room's settings. The only place that knows YAML.
//!
//! Not here: opening listeners or stores. Invariants: a [`Config`] exists only if everything in it
//! was checked and every reference resolved; all problems are reported at once, each with its
//! place; a secret read from a file or the environment is in no message.
//!
//! In the order of the work: `raw` (text → tree with places), `field` (cursors that report what
//! nobody asked for), `scalar`, `file` and `url` (single values), one file per part of the YAML,
//! and `schema`, which describes the same keys to editors.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;

use crate::admin::AdminSettings;
use crate::auth::{CredentialSettings, IssuerSettings};
use crate::edge::EdgeSettings;
use crate::gateway::GatewaySettings;
use crate::oauth::OAuthSettings;
use crate::observe::AccessLogSettings;
use crate::scope::Scope;
use crate::store::StoreSettings;
use crate::upstream::UpstreamSettings;

mod node;
mod raw;
mod problem;
mod redaction;
mod report;
mod nearest;
mod field;
mod scalar;
mod url;
mod file;
mod listen;
mod limits;
mod store;
mod credentials;
mod issuers;
mod oauth;
mod catalogue;
mod upstreams;
mod pattern;
mod routes;
mod sessions;
mod hidden;
mod policy;
mod suite;
mod schema;

pub use policy::policy;
pub use problem::{Problem, Problems};
pub use schema::schema;
pub use suite::suite;

use catalogue::Catalogue;
use field::{Field, Section};
use node::Place;
use report::{Reads, Report};

/// A whole checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Listeners, certificates, connection limits.
    pub edge: EdgeSettings,
    /// The store.
    pub store: StoreSettings,
    /// Where this instance keeps what it has seen of the store's revocation log, if it does.
    pub revocation_memory: Option<PathBuf>,
    /// API keys.
    pub credentials: CredentialSettings,
    /// Issuers of access tokens.
    pub issuers: Vec<IssuerSettings>,
    /// The authorization server, if there is one.
    pub oauth: Option<OAuthSettings>,
    /// Every scope with its description, in the order of the file.
    pub scopes: Vec<(Scope, String)>,
    /// Upstreams in the order of the file; routes refer to them by index.
    pub upstreams: Vec<UpstreamSettings>,
    /// Routes and the rest of the request path.
    pub gateway: GatewaySettings,
    /// The operator's listeners.
    pub admin: AdminSettings,
    /// The access log.
    pub access_log: AccessLogSettings,
    /// How many workers serve requests; `None` is one per core.
    pub workers: Option<usize>,
    /// PEM file of the key that signs internal tokens; `None` is one that lives as long as the
    /// process.
    pub internal_key: Option<PathBuf>,
    /// SHA-256 of the file's bytes, hex: tells configurations apart in metrics and logs.
    pub digest: String,
}

impl Config {
    /// Reads a configuration file, and the files that it names.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(path: &Path) -> Result<Config, Problems> {
        let text = text_of(path, "name another file with --config")?;
        Config::parse(&path.display().to_string(), &text, folder(path))
    }

    /// Where the operator's listeners are, whatever else is wrong with a file: a typing error in
    /// a route must not keep anyone from revoking a key on the gateway that runs.
    pub fn operator(path: &Path) -> Option<AdminSettings> {
        let text = std::fs::read_to_string(path).ok()?;
        let base = path.parent().unwrap_or(Path::new(""));
        let report = Report::new("", &text, base);
        let tree = raw::parse(&text).ok()?;
        Field::document(&report, &tree).section(|root| {
            let listeners = listen::listeners(root)?;
            Some(listen::operator(root)?.with(listeners))
        })
    }

    /// Reads a configuration from `text`, and the files that it names relative to `base`.
    /// `name` stands for the file in messages.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(name: &str, text: &str, base: &Path) -> Result<Config, Problems> {
        Config::read(name, text, base, Reads::Everything)
    }

    fn read(name: &str, text: &str, base: &Path, reads: Reads) -> Result<Config, Problems> {
        let digest = sha256(text);
        // A byte order mark is no part of the first line.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let report = Report::new(name, text, base).reading(reads);
        let tree = match raw::parse(text) {
            Ok(tree) => tree,
            Err(error) => {
                report.redaction().hide_suspect_line(error.place.line);
                let hint = "correct the YAML here; the other checks come after that";
                report.add(&error.place, "", error.message, hint);
                return Err(report.into_problems());
            }
        };
        report.redaction().hide_secrets(&tree);
        let config = Field::document(&report, &tree).section(|root| read(root, digest));
        report.finish(config)
    }
}

fn read(root: &Section<'_>, digest: String) -> Option<Config> {
    let listeners = listen::listeners(root);
    let certificates = listen::certificates(root);
    let store = store::read(root);
    let credentials = credentials::read(root);
    let issuers = issuers::read(root);
    let catalogue = Catalogue::read(root);
    let upstreams = upstreams::read(root);
    let routes = routes::read(root, &catalogue, &upstreams);
    let sessions = sessions::read(root, credentials.as_ref());
    sessions::report_hidden(root, sessions.as_ref(), routes.as_ref());
    let oauth = oauth::read(
        root,
        &oauth::Around {
            catalogue: &catalogue,
            issuers: issuers.as_deref(),
            credentials: credentials.as_ref(),
            listeners: listeners.as_ref(),
        },
    );
    let server = oauth.as_ref().and_then(Option::as_ref);
    hidden::report(root, routes.as_ref(), server);
    let trusted_proxies = root.or("trusted_proxies", Vec::new(), |list| {
        list.set_of(Field::network)
    });
    let plaintext_credentials = credentials::plaintext(root);
    let sizes = limits::sizes(root);
    let timeouts = limits::timeouts(root);
    let access_log = limits::access_log(root);
    let operator = listen::operator(root);
    let workers = limits::workers(root);
    let internal_key = listen::internal_key(root);

    let (listeners, store) = (listeners?, store?);
    let (credentials, sizes) = (credentials?, sizes?);
    let connection_limits = limits::connection_limits(&sizes, &timeouts?);
    Some(Config {
        edge: EdgeSettings {
            https: listeners.https,
            http: listeners.http,
            certificates: certificates?,
            limits: connection_limits,
        },
        gateway: GatewaySettings {
            realm: credentials.realm.clone(),
            routes: routes?,
            trusted_proxies: trusted_proxies?,
            max_body: sizes.body,
            body_idle: connection_limits.body_idle,
            header_count: connection_limits.header_count,
            plaintext_credentials: plaintext_credentials?,
            sessions: sessions?,
        },
        admin: operator?.with(listeners),
        store: store.settings,
        revocation_memory: store.memory,
        credentials,
        issuers: issuers?,
        oauth: oauth?,
        scopes: catalogue.scopes?,
        upstreams: upstreams.settings?,
        access_log: access_log?,
        workers: workers?,
        internal_key: internal_key?,
        digest,
    })
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

fn text_of(path: &Path, hint: &str) -> Result<String, Problems> {
    let name = path.display().to_string();
    let unreadable = |reason: String, hint: &str| {
        let report = Report::new(&name, "", folder(path));
        report.add(&Place::start(), "", reason, hint);
        report.into_problems()
    };
    let bytes = std::fs::read(path).map_err(|error| {
        let reason = match error.kind() {
            ErrorKind::NotFound => format!("there is no file `{name}`"),
            kind => format!("cannot read the file: {kind}"),
        };
        unreadable(reason, hint)
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let reason = format!("the file is not UTF-8 (at byte {offset})");
        unreadable(reason, "save it as UTF-8")
    })
}

fn sha256(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
