//! Readers of settings that name a file: certificates, keys, key sets, secrets.
//!
//! Not here: whether a certificate fits its key, or a key set its issuer; the rooms that use them
//! say so. Invariant: what a secret file holds reaches a [`Secret`] or nothing; no message has it.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::PathBuf;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::secret::{Digest, Secret};

use super::field::Field;
use super::node::Value;
use super::redaction::environment_variable;
use super::report::{Reads, quoted};

/// Whether a secret may be written into the config itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Literal {
    Accept,
    Refuse,
}

impl Field<'_> {
    /// A PEM file with at least one certificate.
    pub(super) fn certificates(&self) -> Option<PathBuf> {
        if self.source().reads() == Reads::Policy {
            return self.path();
        }
        let (path, bytes) = self.file()?;
        let parsed: Result<Vec<CertificateDer<'_>>, _> =
            CertificateDer::pem_slice_iter(&bytes).collect();
        match parsed {
            Ok(certificates) if !certificates.is_empty() => Some(path),
            _ => self.refuse(
                format!("no certificate in {}", quoted(&path.to_string_lossy())),
                "write the path of a PEM file with `-----BEGIN CERTIFICATE-----` in it",
            ),
        }
    }

    /// A PEM file with a private key.
    pub(super) fn private_key(&self) -> Option<PathBuf> {
        if self.source().reads() == Reads::Policy {
            return self.path();
        }
        let (path, bytes) = self.file()?;
        match PrivateKeyDer::from_pem_slice(&bytes) {
            Ok(_) => Some(path),
            Err(_) => self.refuse(
                format!("no private key in {}", quoted(&path.to_string_lossy())),
                "write the path of an unencrypted PEM file: PKCS#8, PKCS#1 or SEC1",
            ),
        }
    }

    /// A JSON Web Key Set (RFC 7517 §5) with at least one key.
    pub(super) fn key_set(&self) -> Option<PathBuf> {
        if self.source().reads() == Reads::Policy {
            return self.path();
        }
        let (path, bytes) = self.file()?;
        let parsed: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
        let keys = parsed.as_ref().and_then(|set| set.get("keys")?.as_array());
        match keys {
            Some(keys) if !keys.is_empty() => Some(path),
            _ => self.refuse(
                format!("no key set in {}", quoted(&path.to_string_lossy())),
                "write the path of a JSON file of the form {\"keys\": […]} (RFC 7517 §5)",
            ),
        }
    }

    /// A secret text.
    pub(super) fn secret(&self, literal: Literal) -> Option<Secret> {
        let bytes = self.secret_bytes(literal)?;
        match std::str::from_utf8(&bytes).map(str::trim) {
            Ok("") => self.refuse(
                "this secret is empty",
                "put the secret where this points to",
            ),
            Ok(text) => Some(Secret::new(text)),
            Err(_) => self.refuse("this secret is not text", "it has to be UTF-8"),
        }
    }

    /// A secret of any bytes: `${env:NAME}`, `{ file: path }`, or written here.
    pub(super) fn secret_bytes(&self, literal: Literal) -> Option<Zeroizing<Vec<u8>>> {
        match self.value() {
            Value::Map(_) => self.section(|section| {
                section.required("file", "write { file: path }", Field::secret_file)
            }),
            Value::Text(text) => match environment_variable(text) {
                Some(name) => self.environment(name),
                None => self.literal(text, literal),
            },
            _ => self.mismatch(
                "a secret",
                "write { file: path } or ${env:NAME}; a literal has to be in quotes",
            ),
        }
    }

    /// Nobody's secret, another one for each setting: what is read for the policy alone has no peppers.
    fn stand_in(&self) -> Zeroizing<Vec<u8>> {
        let name = format!("no secret: {}", self.setting());
        Zeroizing::new(Digest::of_random(name.as_bytes()).to_text().into_bytes())
    }

    fn environment(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        if self.source().reads() == Reads::Policy {
            return Some(self.stand_in());
        }
        match std::env::var_os(name) {
            Some(value) if !value.is_empty() => Some(Zeroizing::new(value.into_encoded_bytes())),
            _ => self.refuse(
                format!("the environment variable {} is not set", quoted(name)),
                "set it for the process that reads this file, or use { file: path }",
            ),
        }
    }

    fn literal(&self, text: &str, literal: Literal) -> Option<Zeroizing<Vec<u8>>> {
        if text.contains("${") {
            return self.refuse(
                "a reference has to be the whole value",
                "write ${env:NAME} and nothing around it",
            );
        }
        match literal {
            Literal::Accept => Some(Zeroizing::new(text.as_bytes().to_vec())),
            Literal::Refuse => self.refuse(
                "this secret must not be in the config",
                "write { file: path } or ${env:NAME}",
            ),
        }
    }

    fn secret_file(&self) -> Option<Zeroizing<Vec<u8>>> {
        if self.source().reads() == Reads::Policy {
            return self.path().map(|_| self.stand_in());
        }
        let (path, file) = self.open()?;
        if let Some(mode) = exposed(&file) {
            return self.refuse(
                format!(
                    "{} may be read by others (mode {mode:04o})",
                    quoted(&path.to_string_lossy())
                ),
                "it holds a secret: chmod 600 it",
            );
        }
        self.content(path, file).map(|(_, bytes)| bytes)
    }

    /// A file that is there, with what is in it.
    fn file(&self) -> Option<(PathBuf, Zeroizing<Vec<u8>>)> {
        let (path, file) = self.open()?;
        self.content(path, file)
    }

    fn open(&self) -> Option<(PathBuf, File)> {
        let path = self.path()?;
        match File::open(&path) {
            Ok(file) => Some((path, file)),
            Err(error) => {
                const RELATIVE: &str = "relative paths are relative to the config file's folder";
                let shown = quoted(&path.to_string_lossy());
                if error.kind() != ErrorKind::NotFound {
                    return self.refuse(format!("cannot read {shown}: {}", error.kind()), RELATIVE);
                }
                let hint = match self.maker() {
                    Some(maker) => format!("make it: {maker}; {RELATIVE}"),
                    None => RELATIVE.into(),
                };
                self.refuse(format!("there is no file {shown}"), hint)
            }
        }
    }

    /// What makes the file that is named here, where there is such a command.
    fn maker(&self) -> Option<String> {
        let text = self.text().unwrap_or_default();
        let path = self.setting();
        match path.rsplit_once('.')?.0 {
            "credentials.pepper" | "credentials.next_pepper" => {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
                let file = match text.bytes().all(plain) {
                    true => text,
                    false => "FILE",
                };
                Some(format!("umask 077; openssl rand -hex 32 > {file}"))
            }
            section if section.starts_with("tls.certificates") => {
                Some("`portcullis certs`, to try things out".into())
            }
            _ => None,
        }
    }

    fn content(&self, path: PathBuf, mut file: File) -> Option<(PathBuf, Zeroizing<Vec<u8>>)> {
        let mut bytes = Zeroizing::new(Vec::new());
        let shown = || quoted(&path.to_string_lossy());
        match file.read_to_end(&mut bytes) {
            Ok(0) => self.refuse(format!("{} is empty", shown()), "it has to be filled first"),
            Ok(_) => Some((path, bytes)),
            Err(error) => self.refuse(
                format!("cannot read {}: {}", shown(), error.kind()),
                "write the path of a file",
            ),
        }
    }
}

/// The permission bits of a file that others than its owner may read, write or run.
#[cfg(unix)]
fn exposed(file: &File) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    // What cannot be asked counts as open to all.
    let mode = file
        .metadata()
        .map_or(0o777, |metadata| metadata.permissions().mode() & 0o7777);
    (mode & 0o077 != 0).then_some(mode)
}

/// Permissions of other systems are not looked at.
#[cfg(not(unix))]
fn exposed(_file: &File) -> Option<u32> {
    None
}
