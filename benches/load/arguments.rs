//! The command line, as it is typed. What it means is [`super::plan`]'s.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use portcullis::secret::Secret;

/// Load a gateway over TLS and tell how fast it answers.
///
/// Only load gateways that are yours: a load test of somebody else's is an attack. Without --url, a
/// gateway and upstreams are started on this machine and asked.
#[derive(Debug, Parser)]
#[command(
    name = "load",
    bin_name = "cargo bench --bench load --",
    max_term_width = 100,
    after_help = "A key given with --key can be read by every user of this machine (`ps`) and stays in the \
                  shell's history: use --key-file or the environment variable PORTCULLIS_KEY. Keys are sent \
                  to the URL's gateway and appear in no output.\n\n\
                  Exit status: 0 when requests succeeded (2xx or 3xx), 1 when none did, 2 for usage. Ctrl-C \
                  ends the run early with its summary."
)]
pub(crate) struct Arguments {
    /// What to ask: https://HOST[:PORT]/PATH, on a gateway of your own.
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// Connect here instead of to the URL's host, which stays the name that is asked and verified.
    #[arg(long, value_name = "ADDRESS:PORT", requires = "url")]
    pub(crate) connect_to: Option<SocketAddr>,

    /// The API key or token; visible in `ps`, see below. The environment variable PORTCULLIS_KEY is
    /// read when neither this nor --key-file is given.
    #[arg(long, requires = "url", conflicts_with = "key_file", value_parser = hidden)]
    pub(crate) key: Option<Secret>,
    /// A file with one API key or token a line, used in rotation.
    #[arg(long, value_name = "FILE", requires = "url")]
    pub(crate) key_file: Option<PathBuf>,
    /// How the credential is sent.
    #[arg(long, value_enum, value_name = "FORM", default_value_t = HeaderForm::XApiKey)]
    pub(crate) header_form: HeaderForm,

    /// Connections, all opened before the clock starts.
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub(crate) connections: usize,
    /// How long to ask: 10s, 2m, 500ms, or seconds.
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub(crate) duration: String,
    /// Ask over HTTP/2.
    #[arg(long)]
    pub(crate) http2: bool,
    /// Requests at a time on each HTTP/2 connection [default: 8].
    #[arg(long, value_name = "N", requires = "http2")]
    pub(crate) streams: Option<usize>,
    /// Open loop: so many requests a second in all, and a request's latency counts from the time
    /// at which it was due, so that a stalled gateway cannot slow its own examination. Without it, closed
    /// loop: each connection (or stream) asks again as soon as it is answered.
    #[arg(long, value_name = "PER_SECOND")]
    pub(crate) rate: Option<f64>,
    /// Threads that ask; one is enough for most gateways on one machine.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) threads: usize,
    /// How long to wait for an answer or a connection.
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub(crate) timeout: String,

    /// The method [default: GET, or POST with --body].
    #[arg(long)]
    pub(crate) method: Option<String>,
    /// The body of each request, sent as application/json; @FILE reads a file.
    #[arg(long, value_name = "TEXT|@FILE")]
    pub(crate) body: Option<String>,

    /// Trust the certificates in this PEM file instead of the public CAs.
    #[arg(long, value_name = "FILE", requires = "url")]
    pub(crate) ca: Option<PathBuf>,
    /// Do not verify the certificate; only when the gateway is on a loopback address.
    #[arg(long, requires = "url", conflicts_with = "ca")]
    pub(crate) insecure: bool,

    /// Where to write the HTML report.
    #[arg(long, value_name = "FILE", default_value = "target/load-report.html")]
    pub(crate) report: PathBuf,
    /// How the summary is printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,

    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

/// The header field of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum HeaderForm {
    /// `Authorization: Bearer …`
    Bearer,
    /// `X-API-Key: …`
    XApiKey,
}

/// How the summary is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For programs.
    Json,
    /// For people.
    Text,
}

/// Cannot fail, since clap's message would show the argument.
fn hidden(argument: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(argument))
}
