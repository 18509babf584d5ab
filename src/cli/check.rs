//! `portcullis check`: everything that is wrong with the configuration.

use std::sync::Arc;

use serde::Serialize;

use super::output::{self, Format, say};
use super::{Cli, Failure};
use crate::config::{Config, Problems};
use crate::edge::Edge;
use crate::oauth::authority_and_path;
use crate::observe::{Causes, Metrics};
use crate::store::{RedisStore, StoreSettings};

/// What programs are told.
#[derive(Serialize)]
struct Verdict {
    file: String,
    valid: bool,
    routes: Option<usize>,
    upstreams: Option<usize>,
    problems: Vec<Told>,
}

/// One thing that is wrong.
#[derive(Default, Serialize)]
struct Told {
    /// Which setting.
    path: Option<String>,
    line: Option<usize>,
    column: Option<usize>,
    message: String,
    hint: Option<String>,
}

pub(super) fn run(cli: &Cli) -> Result<(), Failure> {
    let file = cli.config_path().display().to_string();
    let mut verdict = Verdict {
        file,
        valid: false,
        routes: None,
        upstreams: None,
        problems: Vec::new(),
    };
    let examined = examine(cli, &mut verdict);
    verdict.valid = examined.is_ok();
    if cli.format == Format::Json {
        output::json(&verdict)?;
        return examined;
    }
    examined?;
    let Verdict {
        file,
        routes: Some(routes),
        upstreams: Some(upstreams),
        ..
    } = verdict
    else {
        return Ok(());
    };
    say(format_args!(
        "{file}: valid ({routes} routes, {upstreams} upstreams)"
    ))
}

fn examine(cli: &Cli, verdict: &mut Verdict) -> Result<(), Failure> {
    let config = Config::load(cli.config_path()).map_err(|problems| {
        verdict.problems = told(&problems);
        Failure::Config(problems)
    })?;
    verdict.routes = Some(config.gateway.routes.len());
    verdict.upstreams = Some(config.upstreams.len());
    // What only the rooms themselves can tell: whether a key fits its certificate, and
    // which hosts a certificate is for.
    let edge = Edge::new(&config.edge, Arc::new(Metrics::new()));
    let edge = edge.map_err(|error| verdict.add(error))?;
    if let StoreSettings::Redis(settings) = &config.store {
        RedisStore::check_certificates(settings).map_err(|error| verdict.add(error))?;
    }
    check_hosts(&config, &edge, verdict)
}

impl Verdict {
    /// What one of the rooms found, which knows of no line.
    fn add(&mut self, error: impl Into<anyhow::Error>) -> anyhow::Error {
        let error = error.into();
        self.problems.push(Told {
            message: Causes(&*error).to_string(),
            ..Told::default()
        });
        error
    }
}

fn told(problems: &Problems) -> Vec<Told> {
    let told = problems.iter().map(|problem| Told {
        path: Some(problem.path().to_owned()),
        line: Some(problem.line()),
        column: Some(problem.column()),
        message: problem.message().to_owned(),
        hint: Some(problem.hint().to_owned()),
    });
    told.collect()
}

/// Every host that is named is to be one that clients can reach.
fn check_hosts(config: &Config, edge: &Edge, verdict: &mut Verdict) -> Result<(), Failure> {
    let hosts = hosts(config);
    let bare: Vec<_> = hosts
        .iter()
        .filter(|(_, host)| !edge.covers(host))
        .collect();
    if bare.is_empty() {
        return Ok(());
    }
    // All of them: the certificate is replaced, and those that are covered stay so.
    let mut names: Vec<&str> = hosts.iter().map(|(_, host)| host.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let names: String = names.iter().map(|name| format!(" --host {name}")).collect();
    let hint = format!(
        "name a certificate for it in tls.certificates; to try things out, portcullis certs{names}"
    );
    let mut lines = Vec::new();
    for (place, host) in bare {
        let message = format!("no certificate covers {host}, so all its requests would be 421");
        lines.push(format!("{place}: {message}"));
        verdict.problems.push(Told {
            path: Some(place.clone()),
            message,
            hint: Some(hint.clone()),
            ..Told::default()
        });
    }
    let lines = lines.join("\nerror: ");
    Err(anyhow::anyhow!("{lines}\n  = help: {hint}").into())
}

/// Each host that the configuration names, in lower case without port, and where it does.
fn hosts(config: &Config) -> Vec<(String, String)> {
    let routes = config.gateway.routes.iter().flat_map(|route| {
        let place = format!("route {}", route.name);
        route
            .hosts
            .iter()
            .map(move |host| (place.clone(), host.clone()))
    });
    let mut hosts: Vec<_> = routes.collect();
    if let Some(oauth) = &config.oauth {
        let mut add = |place: &str, authority: &str| {
            let host = without_port(authority).to_ascii_lowercase();
            if !hosts.iter().any(|(_, known)| *known == host) {
                hosts.push((place.into(), host));
            }
        };
        add("oauth.issuer", authority_and_path(&oauth.issuer).0);
        add("oauth.authorize_host", &oauth.authorize_host);
        add("oauth.token_host", &oauth.token_host);
        for audience in &oauth.resources {
            add("access_tokens: audience", authority_and_path(audience).0);
        }
    }
    hosts
}

/// The host of `host`, `host:port` or `[address]:port`.
fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}
