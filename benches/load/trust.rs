//! Whose certificates are believed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Whose certificates are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Those of the CAs in a file.
    File(PathBuf),
    /// Anybody's, and only a gateway on a loopback address is asked.
    LoopbackUnverified,
    /// Those of the public CAs.
    PublicCas,
}

/// Why there is no trust to be had.
#[derive(Debug, thiserror::Error)]
#[error("--ca {}: no PEM certificates can be read", path.display())]
pub(crate) struct TrustError {
    path: PathBuf,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl Trust {
    /// The client's side of TLS, with this one application protocol.
    pub(crate) fn tls(&self, alpn: &[u8]) -> Result<ClientConfig, TrustError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has the suites of TLS 1.2 and 1.3");
        let config = match self {
            Trust::File(path) => config.with_root_certificates(roots(path)?),
            Trust::LoopbackUnverified => config
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Unverified(provider))),
            Trust::PublicCas => config.with_root_certificates(public_roots()),
        };
        let mut config = config.with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        Ok(config)
    }
}

fn public_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    roots
}

fn roots(path: &Path) -> Result<RootCertStore, TrustError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| TrustError {
        path: path.into(),
        source,
    };
    let mut roots = RootCertStore::empty();
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(|error| failed(Box::new(error)))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| failed(Box::new(error)))?;
        roots
            .add(certificate)
            .map_err(|error| failed(Box::new(error)))?;
    }
    match roots.is_empty() {
        true => Err(failed("it holds none".into())),
        false => Ok(roots),
    }
}

/// Believes every certificate. The handshake's signatures are checked all the same.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl std::fmt::Display for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trust::File(path) => write!(f, "verified by {}", path.display()),
            Trust::LoopbackUnverified => f.write_str("not verified (loopback)"),
            Trust::PublicCas => f.write_str("verified by the public CAs"),
        }
    }
}
