//! TLS: which certificates, which parameters, and who is on the other end once it is set up.
//!
//! Not here: bytes of HTTP. Invariants: only AEAD suites of TLS 1.2 and 1.3 and no 0-RTT; a
//! [`super::TlsPeer`] carries the names of the very certificate that its handshake used; resumption stays
//! within one set of certificates, since every set has a ticket key of its own, and within one
//! name, which rustls checks.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, ServerConfig};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::CertificateFiles;
use super::peer::CertificateNames;
use crate::observe::Metrics;

/// One set of certificates with the TLS configuration made from it.
#[derive(Debug)]
pub(super) struct Tls {
    pub(super) config: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
}

/// The certificates in the order of the config.
#[derive(Debug)]
struct Certificates(Vec<Certificate>);

#[derive(Debug)]
struct Certificate {
    key: Arc<CertifiedKey>,
    names: Arc<CertificateNames>,
    /// The file, as the metric names it.
    label: String,
    /// `notAfter`, in seconds since the epoch.
    ends: i64,
}

/// What is read of a leaf.
#[derive(Debug)]
struct Leaf {
    names: CertificateNames,
    ends: i64,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Not readable, or no certificate in it.
    #[error("the certificate file {} cannot be used: {reason}", path.display())]
    Chain {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Not readable, or no private key in it.
    #[error("the key file {} cannot be used: {reason}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The key is not the certificate's.
    #[error("the key {} does not belong to the certificate {}", key.display(), cert.display())]
    Mismatch {
        /// The key file.
        key: PathBuf,
        /// The certificate file.
        cert: PathBuf,
    },
    /// The parameters cannot be put together: a bug.
    #[error("TLS cannot be set up")]
    Setup(#[from] rustls::Error),
}

impl Tls {
    /// Reads every certificate and key; all of them are good, or none is used.
    pub(super) fn load(files: &[CertificateFiles]) -> Result<Tls, CertificateError> {
        let provider = Arc::new(aead_provider());
        let loaded = files
            .iter()
            .map(|files| Certificate::load(files, &provider))
            .collect::<Result<_, _>>()?;
        let certificates = Arc::new(Certificates(loaded));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificates) as _);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ignore_client_order = true;
        config.max_early_data_size = 0;
        config.send_tls13_tickets = 1;
        config.ticketer = provider::Ticketer::new()?;
        Ok(Tls {
            config: Arc::new(config),
            certificates,
        })
    }

    /// Shows when each certificate ends, and forgets those of the set before.
    pub(super) fn publish(&self, metrics: &Metrics) {
        metrics.tls_certificate_expiry.reset();
        for certificate in &self.certificates.0 {
            metrics
                .tls_certificate_expiry
                .with_label_values(&[&certificate.label])
                .set(certificate.ends);
        }
    }

    /// The names of the certificate that a client with this SNI was shown.
    pub(super) fn names(&self, server_name: Option<&str>) -> Arc<CertificateNames> {
        let chosen = self.certificates.choose(server_name);
        chosen.map_or_else(Arc::default, |certificate| Arc::clone(&certificate.names))
    }
}

/// aws-lc-rs with AEAD suites only, the cheapest first, and hybrid post-quantum key exchange.
fn aead_provider() -> CryptoProvider {
    let mut provider = provider::default_provider();
    provider.kx_groups = vec![
        provider::kx_group::X25519MLKEM768,
        provider::kx_group::X25519,
        provider::kx_group::SECP256R1,
        provider::kx_group::SECP384R1,
    ];
    let rank = |suite: CipherSuite| match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => 0,
        _ => 1,
    };
    provider
        .cipher_suites
        .sort_by_key(|suite| rank(suite.suite()));
    provider
}

impl Certificates {
    /// By whole name, then by wildcard; the first for a client that names none that is here.
    fn choose(&self, server_name: Option<&str>) -> Option<&Certificate> {
        let named = server_name.and_then(|name| {
            let whole = self
                .0
                .iter()
                .find(|certificate| certificate.names.hold(name));
            whole.or_else(|| {
                self.0
                    .iter()
                    .find(|certificate| certificate.names.cover(name))
            })
        });
        named.or_else(|| self.0.first())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name())
            .map(|certificate| Arc::clone(&certificate.key))
    }
}

impl Certificate {
    fn load(
        files: &CertificateFiles,
        provider: &CryptoProvider,
    ) -> Result<Certificate, CertificateError> {
        let bad_chain = |reason: String| CertificateError::Chain {
            path: files.cert.clone(),
            reason,
        };
        let bad_key = |reason: String| CertificateError::Key {
            path: files.key.clone(),
            reason,
        };
        let chain = CertificateDer::pem_file_iter(&files.cert)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| bad_chain(error.to_string()))?;
        let leaf = chain
            .first()
            .ok_or_else(|| bad_chain("it holds no certificate".into()))?;
        let leaf = Leaf::read(leaf).map_err(bad_chain)?;
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| bad_key(e.to_string()))?;
        let key = provider
            .key_provider
            .load_private_key(key)
            .map_err(|e| bad_key(e.to_string()))?;
        let key = CertifiedKey::new(chain, key);
        key.keys_match().map_err(|_| CertificateError::Mismatch {
            key: files.key.clone(),
            cert: files.cert.clone(),
        })?;
        Ok(Certificate {
            key: Arc::new(key),
            names: Arc::new(leaf.names),
            label: files.cert.display().to_string(),
            ends: leaf.ends,
        })
    }
}

impl Leaf {
    fn read(leaf: &CertificateDer<'_>) -> Result<Leaf, String> {
        let (_, leaf) = X509Certificate::from_der(leaf).map_err(|error| error.to_string())?;
        let names = names(&leaf)?;
        let validity = leaf.validity();
        if !validity.is_valid() {
            tracing::warn!(%validity.not_before, %validity.not_after, "a certificate is not valid now");
        }
        Ok(Leaf {
            names,
            ends: validity.not_after.timestamp(),
        })
    }
}

/// The subject alternative names of a leaf. The common name is nobody's name any more
/// (RFC 9525 §2).
fn names(leaf: &X509Certificate<'_>) -> Result<CertificateNames, String> {
    let mut names = CertificateNames::default();
    let alternative = leaf
        .subject_alternative_name()
        .map_err(|error| error.to_string())?;
    let all = alternative
        .iter()
        .flat_map(|names| &names.value.general_names);
    for name in all {
        match name {
            GeneralName::DNSName(name) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                names.dns.push(name.to_ascii_lowercase());
            }
            GeneralName::IPAddress(bytes) => names.ip.extend(address(bytes)),
            _ => {}
        }
    }
    match names.dns.is_empty() && names.ip.is_empty() {
        true => Err("it has no subject alternative name".into()),
        false => Ok(names),
    }
}

fn address(bytes: &[u8]) -> Option<std::net::IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(Into::into).ok();
    v4.or_else(|| <[u8; 16]>::try_from(bytes).map(Into::into).ok())
}
