//! A local CA, and a server certificate signed by it: for trying things out, not for production.
//!
//! Invariant: a CA that is there is kept, so that whoever trusts it goes on trusting what is made
//! later; private keys are readable by their owner only.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};

/// The names of `dev` and of the seed's API.
pub const DEFAULT_HOSTS: [&str; 6] = [
    "localhost",
    "127.0.0.1",
    "::1",
    "api.osir.test",
    "osir.com",
    "api.osir.com",
];

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificatePaths {
    /// The CA's certificate, for clients to trust.
    pub ca: PathBuf,
    /// The server's chain.
    pub cert: PathBuf,
    /// The server's private key.
    pub key: PathBuf,
}

/// Why nothing was made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// A name that no certificate can carry, or a CA key that cannot be read.
    #[error("the certificate cannot be made")]
    Certificate(#[from] rcgen::Error),
    /// A file.
    #[error("{}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Makes a server certificate for `hosts` in `folder`, and the CA if there is none yet.
pub fn make(folder: &Path, hosts: &[String]) -> Result<CertificatePaths, MakeError> {
    let at = |name: &str| folder.join(name);
    fs::create_dir_all(folder).map_err(|source| MakeError::File {
        path: folder.into(),
        source,
    })?;
    let issuer = authority(&at("ca.pem"), &at("ca-key.pem"))?;

    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(hosts.to_vec())?;
    params
        .distinguished_name
        .push(DnType::CommonName, "Portcullis development server");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    lasts_a_year(&mut params);
    let certificate = params.signed_by(&key, &issuer)?;

    let paths = CertificatePaths {
        ca: at("ca.pem"),
        cert: at("gateway.pem"),
        key: at("gateway-key.pem"),
    };
    write(&paths.cert, &certificate.pem(), 0o644)?;
    write(&paths.key, &key.serialize_pem(), 0o600)?;
    Ok(paths)
}

/// The CA in these files; made if neither is there.
fn authority(cert: &Path, key: &Path) -> Result<Issuer<'static, KeyPair>, MakeError> {
    if key.exists() {
        let read = |path: &Path| {
            let failed = |source| MakeError::File {
                path: path.into(),
                source,
            };
            fs::read_to_string(path).map_err(failed)
        };
        let key = KeyPair::from_pem(&read(key)?)?;
        return Ok(Issuer::from_ca_cert_pem(&read(cert)?, key)?);
    }
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(Vec::new())?;
    params
        .distinguished_name
        .push(DnType::CommonName, "Portcullis development CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    lasts_a_year(&mut params);
    let certificate = params.self_signed(&pair)?;
    write(cert, &certificate.pem(), 0o644)?;
    write(key, &pair.serialize_pem(), 0o600)?;
    Ok(Issuer::new(params, pair))
}

/// From yesterday, for clocks that are a little behind.
fn lasts_a_year(params: &mut CertificateParams) {
    let now = crate::clock::Clock::system().now();
    let day = std::time::Duration::from_secs(24 * 60 * 60);
    let date = |at: crate::clock::Timestamp| {
        let at = jiff::Timestamp::from_millisecond(at.as_millis())
            .unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let date = jiff::tz::TimeZone::UTC.to_datetime(at).date();
        let byte = |part: i8| u8::try_from(part).unwrap_or(1);
        rcgen::date_time_ymd(date.year().into(), byte(date.month()), byte(date.day()))
    };
    params.not_before = date(now.minus(day));
    params.not_after = date(now.plus(365 * day));
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), MakeError> {
    let failed = |source| MakeError::File {
        path: path.into(),
        source,
    };
    // Made anew each time, so that a mode that was too wide before does not stay.
    let _ = fs::remove_file(path);
    let options = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path);
    options
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(failed)
}
