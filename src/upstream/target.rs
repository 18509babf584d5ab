//! One upstream as all workers share it: settings, TLS trust and metric handles.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::HeaderValue;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};

use super::{Endpoint, Protocol, UpstreamSettings};
use crate::observe::{Metrics, UpstreamMetrics};

/// One upstream, compiled from its settings. Shared by every worker's [`super::Pool`].
#[derive(Debug)]
pub struct Target {
    name: Arc<str>,
    pub(super) settings: UpstreamSettings,
    pub(super) addresses: Vec<Address>,
    pub(super) metrics: UpstreamMetrics,
}

/// One endpoint with what a connection to it needs.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) endpoint: Endpoint,
    /// `host:port`, without the scheme's own port: for `Host` and `:authority`.
    pub(super) authority: HeaderValue,
    pub(super) tls: Option<Tls>,
}

/// The TLS side of an `https` endpoint.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    pub(super) config: Arc<rustls::ClientConfig>,
    pub(super) name: ServerName<'static>,
}

/// Why an upstream's settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The CA file cannot be read, or holds no certificate.
    #[error("upstream {upstream}: the CA file {} cannot be used: {reason}", path.display())]
    Ca {
        /// The upstream's name.
        upstream: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An endpoint's host is no name that a certificate could carry.
    #[error("upstream {upstream}: {host} is not a host name")]
    Host {
        /// The upstream's name.
        upstream: String,
        /// The host.
        host: String,
    },
}

impl Target {
    /// Reads the CA and resolves the metric handles. Connects to nothing.
    pub fn new(settings: UpstreamSettings, metrics: &Metrics) -> Result<Target, TargetError> {
        let needs_tls = settings
            .endpoints
            .iter()
            .any(|e| e.protocol == Protocol::Https);
        let config = if needs_tls {
            Some(tls_config(&settings)?)
        } else {
            None
        };
        let addresses = settings
            .endpoints
            .iter()
            .map(|endpoint| Address::new(endpoint, &settings.name, config.as_ref()))
            .collect::<Result<_, _>>()?;
        let metrics = metrics.upstream(&settings.name);
        metrics.healthy.set(1);
        Ok(Target {
            name: settings.name.as_str().into(),
            addresses,
            metrics,
            settings,
        })
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether connections of this target are as good for `other`. Where a CA file is read they
    /// are not: it may have changed.
    pub fn stands_for(&self, other: &Target) -> bool {
        self.settings == other.settings && self.settings.ca.is_none()
    }

    /// The settings it was compiled from.
    pub fn settings(&self) -> &UpstreamSettings {
        &self.settings
    }
}

impl Address {
    fn new(
        endpoint: &Endpoint,
        upstream: &str,
        config: Option<&Arc<rustls::ClientConfig>>,
    ) -> Result<Address, TargetError> {
        let no_host = || TargetError::Host {
            upstream: upstream.into(),
            host: endpoint.host.clone(),
        };
        let host = match endpoint.host.parse::<std::net::Ipv6Addr>() {
            Ok(address) => format!("[{address}]"),
            Err(_) => endpoint.host.clone(),
        };
        let authority = match (endpoint.protocol, endpoint.port) {
            (Protocol::Http | Protocol::H2c, 80) | (Protocol::Https, 443) => host,
            (_, port) => format!("{host}:{port}"),
        };
        let authority = HeaderValue::try_from(authority).map_err(|_| no_host())?;
        let tls = match (endpoint.protocol, config) {
            (Protocol::Https, Some(config)) => Some(Tls {
                config: Arc::clone(config),
                name: ServerName::try_from(endpoint.host.clone()).map_err(|_| no_host())?,
            }),
            _ => None,
        };
        Ok(Address {
            endpoint: endpoint.clone(),
            authority,
            tls,
        })
    }
}

fn tls_config(settings: &UpstreamSettings) -> Result<Arc<rustls::ClientConfig>, TargetError> {
    let mut roots = rustls::RootCertStore::empty();
    match &settings.ca {
        Some(path) => trust_file(&mut roots, path).map_err(|reason| TargetError::Ca {
            upstream: settings.name.clone(),
            path: path.clone(),
            reason,
        })?,
        None => {
            roots.add_parsable_certificates(
                webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned(),
            );
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs has suites for TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn trust_file(roots: &mut rustls::RootCertStore, path: &Path) -> Result<(), String> {
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        Err("it holds no certificate".into())
    } else {
        Ok(())
    }
}
