//! `upstreams`: groups of equal servers that requests are forwarded to.

use std::time::Duration;

use crate::environment::Environment;
use crate::upstream::{Endpoint, HostHeader, IdentityMode, Protocol, UpstreamSettings};

use super::field::{Entry, Field, Section};
use super::report::quoted;
use super::scalar::name_fault;

const HINT: &str = "add upstreams: { name: { endpoints: [http://127.0.0.1:9101] } }";
const ENDPOINT_FORM: &str = "http://host:port, https://host:port or h2c://host:port";

/// The upstreams of the file: all their names, and their settings where those are right.
#[derive(Debug)]
pub(super) struct Upstreams<'a> {
    /// In the order of the file, also of those with a problem, so that a route to them is not
    /// another problem.
    pub(super) names: Vec<&'a str>,
    pub(super) settings: Option<Vec<UpstreamSettings>>,
}

/// Reads `upstreams`.
pub(super) fn read<'a>(root: &Section<'a>) -> Upstreams<'a> {
    let entries = root.required("upstreams", HINT, |field| {
        let entries = field.entries()?;
        if entries.is_empty() {
            return field.refuse("there is no upstream", HINT);
        }
        Some(entries)
    });
    let entries = entries.unwrap_or_default();
    let settings: Vec<Option<UpstreamSettings>> = entries.iter().map(upstream).collect();
    Upstreams {
        names: entries.iter().map(|entry| entry.name).collect(),
        settings: settings.into_iter().collect(),
    }
}

fn upstream(entry: &Entry<'_>) -> Option<UpstreamSettings> {
    let name = match name_fault(entry.name) {
        Some(hint) => entry.refuse(format!("{} is not a name", quoted(entry.name)), hint),
        None => Some(entry.name.to_owned()),
    };
    let settings = entry.field.section(settings);
    Some(UpstreamSettings {
        name: name?,
        ..settings?
    })
}

fn settings(section: &Section<'_>) -> Option<UpstreamSettings> {
    let seconds = |key, default| section.or(key, Duration::from_secs(default), Field::duration);
    let endpoints = section.required(
        "endpoints",
        "add endpoints: [http://127.0.0.1:9101]",
        |field| field.set_of(endpoint),
    );
    let ca = section.optional("ca", Field::certificates);
    let timeout = seconds("timeout", 30);
    let connect_timeout = seconds("connect_timeout", 3);
    let idle_timeout = seconds("idle_timeout", 60);
    let keep_alive = seconds("keep_alive", 60);
    let environment = section.or("environment", Environment::Live, environment);
    let identity = section.or("identity", IdentityMode::Headers, identity);
    let host = section.or("host", HostHeader::Preserve, host);
    let forward_credential = section.or("forward_credential", false, Field::switch);
    if let (Some(Some(_)), Some(endpoints), Some(field)) = (&ca, &endpoints, section.get("ca"))
        && endpoints.iter().all(|one| one.protocol != Protocol::Https)
    {
        field.report(
            "`ca` has no effect without TLS",
            "write https:// in `endpoints`",
        );
    }
    Some(UpstreamSettings {
        name: String::new(),
        endpoints: endpoints?,
        ca: ca?,
        timeout: timeout?,
        connect_timeout: connect_timeout?,
        idle_timeout: idle_timeout?,
        keep_alive: keep_alive?,
        environment: environment?,
        identity: identity?,
        host: host?,
        forward_credential: forward_credential?,
    })
}

fn environment(field: &Field<'_>) -> Option<Environment> {
    field.word(&[("live", Environment::Live), ("test", Environment::Test)])
}

fn identity(field: &Field<'_>) -> Option<IdentityMode> {
    field.word(&[
        ("headers", IdentityMode::Headers),
        ("jwt", IdentityMode::Jwt),
        ("none", IdentityMode::None),
    ])
}

fn host(field: &Field<'_>) -> Option<HostHeader> {
    field.word(&[
        ("preserve", HostHeader::Preserve),
        ("upstream", HostHeader::Upstream),
    ])
}

fn endpoint(field: &Field<'_>) -> Option<Endpoint> {
    let url = field.url(ENDPOINT_FORM)?;
    let hint = format!("write it as {ENDPOINT_FORM}");
    let (protocol, default_port) = match url.scheme {
        "h2c" => (Protocol::H2c, 80),
        "http" => (Protocol::Http, 80),
        "https" => (Protocol::Https, 443),
        other => return field.refuse(format!("unknown scheme {}", quoted(other)), hint),
    };
    if !url.rest.is_empty() {
        let message = format!(
            "an endpoint has no path and no query, not even {}",
            quoted(url.rest)
        );
        return field.refuse(message, hint);
    }
    Some(Endpoint {
        protocol,
        host: url.host,
        port: url.port.unwrap_or(default_port),
    })
}
