//! `portcullis certs`: a local CA and a server certificate.

use std::path::{Path, PathBuf};

use rustls_pki_types::ServerName;

use super::output::{self, Format, say};
use super::{Cli, Failure};
use crate::dev::certificates::{self, DEFAULT_HOSTS};

/// What to make.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A name or address that the certificate is for; may be repeated.
    #[arg(long = "host", value_name = "NAME", value_parser = host)]
    hosts: Vec<String>,
    /// Where to put it.
    #[arg(long, default_value = "certs")]
    out: PathBuf,
}

/// What was made.
#[derive(serde::Serialize)]
struct Made<'a> {
    ca: &'a Path,
    certificate: &'a Path,
    key: &'a Path,
    hosts: &'a [String],
}

/// A name that clients can ask for: a DNS name, perhaps with `*.` in front, or an address.
fn host(text: &str) -> Result<String, &'static str> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    match ServerName::try_from(name) {
        Ok(ServerName::IpAddress(_)) if name != text => Err("no wildcard stands for addresses"),
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("neither a DNS name nor an address"),
    }
}

pub(super) fn run(cli: &Cli, arguments: &Arguments) -> Result<(), Failure> {
    cli.refuse_config("certs")?;
    let defaults = || DEFAULT_HOSTS.map(String::from).to_vec();
    let hosts = if arguments.hosts.is_empty() {
        defaults()
    } else {
        arguments.hosts.clone()
    };
    let files = certificates::make(&arguments.out, &hosts)?;
    if cli.format == Format::Json {
        return output::json(&Made {
            ca: &files.ca,
            certificate: &files.cert,
            key: &files.key,
            hosts: &hosts,
        });
    }
    say(format_args!("CA:          {}", files.ca.display()))?;
    let (cert, names) = (files.cert.display(), hosts.join(", "));
    say(format_args!("certificate: {cert} (for {names})"))?;
    say(format_args!("key:         {}", files.key.display()))
}
