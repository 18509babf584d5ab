//! The command line understood: everything a run needs, checked once.
//!
//! Not here: anything that takes the network. Invariant: a [`Plan`] can be carried out; its
//! credentials are the only secret in it, and [`Plan::options`] leaves them out.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, header};
use http_body_util::Full;

use super::arguments::{Arguments, HeaderForm};
use super::credentials::{Credentials, Unsendable};
use super::quantity::count;
use super::target::{Target, TargetError};
use super::trust::{Trust, TrustError};
use portcullis::secret::Secret;

/// What a run is to do.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) target: Target,
    pub(crate) trust: Trust,
    pub(crate) protocol: Protocol,
    pub(crate) connections: NonZeroUsize,
    pub(crate) threads: NonZeroUsize,
    pub(crate) duration: Duration,
    pub(crate) timeout: Duration,
    pub(crate) rate: Option<Rate>,
    credentials: Credentials,
    header_form: HeaderForm,
    method: Method,
    body: Bytes,
}

/// The application protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2 {
        /// Requests at a time on a connection.
        streams: NonZeroUsize,
    },
}

/// Requests a second: finite and above zero.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct Rate(f64);

/// Why the command line cannot be carried out. Nothing in it is a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("--body {}: not readable", path.display())]
    Body {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(transparent)]
    Credential(#[from] Unsendable),
    #[error("--insecure is for a gateway on a loopback address only; --ca names a CA to trust")]
    InsecureElsewhere,
    #[error("--key-file {}: not readable", path.display())]
    KeyFile {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("--key-file {} holds no credential", .0.display())]
    KeyFileEmpty(PathBuf),
    #[error("--method is not a method")]
    Method,
    #[error("{0} must be a number above zero")]
    Number(&'static str),
    #[error(
        "--threads must not be more than --connections: each thread has connections of its own"
    )]
    Threads,
    #[error("{0} must be a time above zero such as 10s, 2m or 500ms")]
    Time(&'static str),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error(transparent)]
    Url(#[from] TargetError),
}

impl Plan {
    pub(crate) fn parse(arguments: &Arguments) -> Result<Plan, Refusal> {
        let url = arguments.url.as_deref().unwrap_or_default();
        let target = Target::parse(url, arguments.connect_to)?;
        let credentials = Credentials::new(arguments.header_form, &secrets(arguments)?)?;
        let body = body(arguments.body.as_deref())?;
        let method = match (&arguments.method, &arguments.body) {
            (Some(method), _) => method.parse().map_err(|_| Refusal::Method)?,
            (None, Some(_)) => Method::POST,
            (None, None) => Method::GET,
        };
        let trust = match (&arguments.ca, arguments.insecure) {
            (Some(file), _) => Trust::File(file.clone()),
            (None, true) => Trust::LoopbackUnverified,
            (None, false) => Trust::PublicCas,
        };
        let streams = arguments.streams.unwrap_or(8);
        let plan = Plan {
            target,
            trust,
            protocol: match arguments.http2 {
                true => Protocol::Http2 {
                    streams: above_zero("--streams", streams)?,
                },
                false => Protocol::Http1,
            },
            connections: above_zero("--connections", arguments.connections)?,
            threads: above_zero("--threads", arguments.threads)?,
            duration: time("--duration", &arguments.duration)?,
            timeout: time("--timeout", &arguments.timeout)?,
            rate: arguments.rate.map(Rate::parse).transpose()?,
            credentials,
            header_form: arguments.header_form,
            method,
            body,
        };
        match plan.threads > plan.connections {
            true => Err(Refusal::Threads),
            false => Ok(plan),
        }
    }

    /// The request of a turn.
    pub(crate) fn request(&self, turn: usize) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        let host = self.target.authority();
        match self.protocol {
            Protocol::Http1 => {
                *request.uri_mut() = self.target.origin_form();
                request.headers_mut().insert(header::HOST, host.clone());
            }
            Protocol::Http2 { .. } => *request.uri_mut() = self.target.uri().clone(),
        }
        if let Some(credential) = self.credentials.at(turn) {
            let field = HeaderName::clone(self.credentials.field());
            request.headers_mut().insert(field, credential.clone());
        }
        if !self.body.is_empty() {
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(header::CONTENT_TYPE, json);
        }
        request
    }

    /// What was asked for, without any secret, to be shown.
    pub(crate) fn options(&self) -> Vec<(&'static str, String)> {
        let mut options = vec![
            ("request", format!("{} {}", self.method, self.target)),
            ("protocol", self.protocol.to_string()),
            ("connections", self.connections.to_string()),
            ("threads", self.threads.to_string()),
            ("loop", self.pace()),
            ("duration", format!("{:?}", self.duration)),
            ("timeout", format!("{:?}", self.timeout)),
            ("credentials", self.shown_credentials()),
            ("certificates", self.trust.to_string()),
        ];
        if !self.body.is_empty() {
            options.push(("body", format!("{} bytes", count(self.body.len() as u64))));
        }
        options
    }

    /// How many credentials are in rotation.
    pub(crate) fn credentials(&self) -> usize {
        self.credentials.count()
    }

    /// "closed loop", or "open loop at 500 requests/s".
    pub(crate) fn pace(&self) -> String {
        match self.rate {
            None => "closed loop".into(),
            Some(Rate(rate)) => format!("open loop at {rate} requests/s"),
        }
    }

    fn shown_credentials(&self) -> String {
        let field = match self.header_form {
            HeaderForm::Bearer => "Authorization: Bearer",
            HeaderForm::XApiKey => "X-API-Key",
        };
        match self.credentials.count() {
            0 => "none".into(),
            1 => format!("1, as {field}"),
            many => format!("{} in rotation, as {field}", count(many as u64)),
        }
    }
}

impl Rate {
    fn parse(rate: f64) -> Result<Rate, Refusal> {
        match rate.is_finite() && rate > 0.0 {
            true => Ok(Rate(rate)),
            false => Err(Refusal::Number("--rate")),
        }
    }

    pub(crate) fn per_second(self) -> f64 {
        self.0
    }
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Protocol::Http1 => f.write_str("HTTP/1.1"),
            Protocol::Http2 { streams } => write!(f, "HTTP/2, {streams} streams a connection"),
        }
    }
}

/// `--key`, else `--key-file`, else the environment, else none.
fn secrets(arguments: &Arguments) -> Result<Vec<Secret>, Refusal> {
    if let Some(key) = &arguments.key {
        return Ok(vec![key.clone()]);
    }
    let Some(path) = &arguments.key_file else {
        let key = std::env::var("PORTCULLIS_KEY").ok();
        return Ok(key.into_iter().map(Secret::new).collect());
    };
    let text = read(path).map_err(|source| Refusal::KeyFile {
        path: path.clone(),
        source,
    })?;
    match Credentials::lines(&text) {
        secrets if secrets.is_empty() => Err(Refusal::KeyFileEmpty(path.clone())),
        secrets => Ok(secrets),
    }
}

fn read(path: &Path) -> std::io::Result<zeroize::Zeroizing<String>> {
    std::fs::read_to_string(path).map(zeroize::Zeroizing::new)
}

fn body(argument: Option<&str>) -> Result<Bytes, Refusal> {
    let Some(text) = argument else {
        return Ok(Bytes::new());
    };
    let Some(path) = text.strip_prefix('@').map(PathBuf::from) else {
        return Ok(Bytes::copy_from_slice(text.as_bytes()));
    };
    let bytes = std::fs::read(&path).map_err(|source| Refusal::Body { path, source })?;
    Ok(bytes.into())
}

fn above_zero(option: &'static str, number: usize) -> Result<NonZeroUsize, Refusal> {
    NonZeroUsize::new(number).ok_or(Refusal::Number(option))
}

/// `10s`, `2m`, `500ms`, or a bare number of seconds.
fn time(option: &'static str, text: &str) -> Result<Duration, Refusal> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds_each = match &text[digits.len()..] {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(Refusal::Time(option)),
    };
    let number: f64 = digits.parse().map_err(|_| Refusal::Time(option))?;
    match Duration::try_from_secs_f64(number * seconds_each) {
        Ok(time) if time > Duration::ZERO && time <= LONGEST => Ok(time),
        _ => Err(Refusal::Time(option)),
    }
}

/// A week: timers take no more than some years.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
