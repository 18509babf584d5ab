//! TLS to Redis: the same rustls as everywhere else, with files that are read once.
//!
//! Invariant: a server whose certificate does not chain to the CA, or is for another name, is
//! never spoken to.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsConnector;

use super::settings::{InvalidRedisSettings, RedisCertificate, RedisSettings};

pub(super) fn connector(settings: &RedisSettings) -> Result<TlsConnector, InvalidRedisSettings> {
    let builder = ClientConfig::builder().with_root_certificates(roots(settings)?);
    let config = match &settings.certificate {
        None => builder.with_no_client_auth(),
        Some(certificate) => {
            let (chain, key) = read(certificate).map_err(InvalidRedisSettings::Certificate)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(InvalidRedisSettings::CertificateUnusable)?
        }
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn read(
    certificate: &RedisCertificate,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), rustls_pki_types::pem::Error> {
    let chain = CertificateDer::pem_file_iter(&certificate.chain)?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(&certificate.key)?;
    Ok((chain, key))
}

fn roots(settings: &RedisSettings) -> Result<RootCertStore, InvalidRedisSettings> {
    let mut roots = RootCertStore::empty();
    match &settings.ca {
        None => {
            roots.add_parsable_certificates(
                webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned(),
            );
        }
        Some(path) => {
            for certificate in
                CertificateDer::pem_file_iter(path).map_err(InvalidRedisSettings::Ca)?
            {
                let certificate = certificate.map_err(InvalidRedisSettings::Ca)?;
                roots
                    .add(certificate)
                    .map_err(|_| InvalidRedisSettings::NoCa)?;
            }
        }
    }
    if roots.is_empty() {
        return Err(InvalidRedisSettings::NoCa);
    }
    Ok(roots)
}
