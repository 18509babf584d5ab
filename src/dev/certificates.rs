//! A local CA, and a server certificate signed by it: for trying things out, not for production.
//!
//! Invariant: a CA and a server key that are there are kept, so that whoever trusts them goes on
//! trusting what is made later; private keys are readable by their owner only.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use x509_parser::prelude::{ParsedExtension, X509Certificate};

use crate::clock::{Clock, Timestamp};

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
    /// The CA that is there signs nothing any more.
    #[error("{}: this CA has ended; remove it with its key, and trust the new one", .0.display())]
    AuthorityEnded(PathBuf),
    /// A CA whose other half is missing. To make a new one would take the trust in the old one
    /// away without a word.
    #[error("{}: missing, but the other half of this CA is there; put it back, or remove both", .0.display())]
    AuthorityHalf(PathBuf),
    /// A name that no certificate can carry, or a CA key that cannot be read.
    #[error("the certificate cannot be made")]
    Certificate(#[from] rcgen::Error),
    /// A server certificate or key that this CA did not make: someone's own.
    #[error("{}: not made here; move it away, or choose another folder with --out", .0.display())]
    Foreign(PathBuf),
    /// A file.
    #[error("{}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Makes a server certificate for `hosts` in `folder`, and the CA if there is none yet. A server
/// certificate that is there is replaced if it was made here, with the same key, and else left alone.
pub fn make(folder: &Path, hosts: &[String]) -> Result<CertificatePaths, MakeError> {
    fs::create_dir_all(folder).map_err(failed(folder))?;
    let paths = CertificatePaths {
        ca: folder.join("ca.pem"),
        cert: folder.join("gateway.pem"),
        key: folder.join("gateway-key.pem"),
    };
    refuse_foreign(&paths)?;
    let authority = Authority::keep_or_make(&paths.ca, &folder.join("ca-key.pem"))?;
    // The key that is there stays: whoever accepted it (a browser, by its hash) goes on doing so.
    let key = match paths.key.exists() {
        true => KeyPair::from_pem(&fs::read_to_string(&paths.key).map_err(failed(&paths.key))?)?,
        false => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
    };
    let certificate = server(hosts, authority.until)?.signed_by(&key, &authority.issuer)?;
    write(&paths.cert, &certificate.pem(), 0o644)?;
    write(&paths.key, &key.serialize_pem(), 0o600)?;
    Ok(paths)
}

/// How Chromium's `--ignore-certificate-errors-spki-list` names a server certificate: the SHA-256 of
/// its public key (`SubjectPublicKeyInfo`), in base64.
pub fn public_key_hash(certificate: &Path) -> Result<String, MakeError> {
    let text = fs::read_to_string(certificate).map_err(failed(certificate))?;
    let unreadable = || MakeError::Certificate(rcgen::Error::CouldNotParseCertificate);
    let (_, pem) = x509_parser::pem::parse_x509_pem(text.as_bytes()).map_err(|_| unreadable())?;
    let parsed = pem.parse_x509().map_err(|_| unreadable())?;
    let hash = digest::digest(&digest::SHA256, parsed.public_key().raw);
    Ok(STANDARD.encode(hash))
}

/// A certificate that was not signed by the CA beside it is someone's own, and so is its key.
fn refuse_foreign(paths: &CertificatePaths) -> Result<(), MakeError> {
    for path in [&paths.cert, &paths.key] {
        let signed_here = || {
            let ca = fs::read_to_string(&paths.ca).ok()?;
            let server = fs::read_to_string(&paths.cert).ok()?;
            is_signed_by(&server, &ca)
        };
        if path.exists() && signed_here() != Some(true) {
            return Err(MakeError::Foreign(path.clone()));
        }
    }
    Ok(())
}

/// Whether the first certificate of one PEM text was signed with the key of another's.
fn is_signed_by(server: &str, ca: &str) -> Option<bool> {
    let (_, server) = x509_parser::pem::parse_x509_pem(server.as_bytes()).ok()?;
    let (_, ca) = x509_parser::pem::parse_x509_pem(ca.as_bytes()).ok()?;
    let (server, ca) = (server.parse_x509().ok()?, ca.parse_x509().ok()?);
    let key_id = |certificate: &X509Certificate<'_>, authority: bool| {
        certificate
            .iter_extensions()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::AuthorityKeyIdentifier(id) if authority => {
                    id.key_identifier.as_ref().map(|id| id.0.to_vec())
                }
                ParsedExtension::SubjectKeyIdentifier(id) if !authority => Some(id.0.to_vec()),
                _ => None,
            })
    };
    Some(server.issuer() == ca.subject() && key_id(&server, true) == key_id(&ca, false))
}

/// What signs, and until when.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    until: Timestamp,
}

impl Authority {
    fn keep_or_make(cert: &Path, key: &Path) -> Result<Authority, MakeError> {
        match (cert.exists(), key.exists()) {
            (true, true) => Authority::read(cert, key),
            (false, false) => Authority::make(cert, key),
            (true, false) => Err(MakeError::AuthorityHalf(key.into())),
            (false, true) => Err(MakeError::AuthorityHalf(cert.into())),
        }
    }

    fn read(cert: &Path, key: &Path) -> Result<Authority, MakeError> {
        let pair = fs::read_to_string(key).map_err(failed(key))?;
        let text = fs::read_to_string(cert).map_err(failed(cert))?;
        let issuer = Issuer::from_ca_cert_pem(&text, KeyPair::from_pem(&pair)?)?;
        let until = not_after(&text).ok_or(rcgen::Error::CouldNotParseCertificate)?;
        if until <= Clock::system().now() {
            return Err(MakeError::AuthorityEnded(cert.into()));
        }
        Ok(Authority { issuer, until })
    }

    fn make(cert: &Path, key: &Path) -> Result<Authority, MakeError> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let until = Clock::system().now().plus(AUTHORITY);
        let mut params = parameters("Portcullis development CA", Vec::new(), until)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&pair)?;
        write(key, &pair.serialize_pem(), 0o600)?;
        write(cert, &certificate.pem(), 0o644)?;
        let issuer = Issuer::new(params, pair);
        Ok(Authority { issuer, until })
    }
}

/// Ends with its CA at the latest.
fn server(hosts: &[String], until: Timestamp) -> Result<CertificateParams, MakeError> {
    let until = until.min(Clock::system().now().plus(SERVER));
    let mut params = parameters("Portcullis development server", hosts.to_vec(), until)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// From yesterday, for clocks that are a little behind, to the day of `until`.
fn parameters(
    name: &str,
    hosts: Vec<String>,
    until: Timestamp,
) -> Result<CertificateParams, MakeError> {
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let (year, month, day) = date(Clock::system().now().minus(DAY));
    params.not_before = rcgen::date_time_ymd(year, month, day);
    let (year, month, day) = date(until);
    params.not_after = rcgen::date_time_ymd(year, month, day);
    Ok(params)
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a CA lasts: trusting it once is enough for years.
const AUTHORITY: Duration = DAY.saturating_mul(5 * 365);
/// How long a server certificate lasts: what browsers take from a private CA (at most 825 days).
const SERVER: Duration = DAY.saturating_mul(365);

/// Year, month and day in UTC.
fn date(at: Timestamp) -> (i32, u8, u8) {
    let at =
        jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let date = jiff::tz::TimeZone::UTC.to_datetime(at).date();
    let part = |part: i8| u8::try_from(part).unwrap_or(1);
    (date.year().into(), part(date.month()), part(date.day()))
}

/// When the first certificate of a PEM text ends.
fn not_after(pem: &str) -> Option<Timestamp> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
    let certificate = pem.parse_x509().ok()?;
    Some(Timestamp::from_secs(
        certificate.validity().not_after.timestamp(),
    ))
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), MakeError> {
    // Made anew each time, so that a mode that was too wide before does not stay.
    let _ = fs::remove_file(path);
    let options = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path);
    options
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(failed(path))
}

fn failed(path: &Path) -> impl Fn(io::Error) -> MakeError + '_ {
    |source| MakeError::File {
        path: path.into(),
        source,
    }
}
