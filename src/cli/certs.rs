//! `portcullis certs`: a local CA and a server certificate.

use std::path::PathBuf;

use super::Failure;
use super::output::say;
use crate::dev::certificates::{self, DEFAULT_HOSTS};

/// What to make.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A name or address that the certificate is for; may be repeated.
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
    /// Where to put it.
    #[arg(long, default_value = "certs")]
    out: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let defaults = || DEFAULT_HOSTS.map(String::from).to_vec();
    let hosts = if arguments.hosts.is_empty() {
        defaults()
    } else {
        arguments.hosts.clone()
    };
    let files = certificates::make(&arguments.out, &hosts)?;
    say(format_args!("CA:          {}", files.ca.display()))?;
    let (cert, names) = (files.cert.display(), hosts.join(", "));
    say(format_args!("certificate: {cert} (for {names})"))?;
    say(format_args!("key:         {}", files.key.display()))
}
