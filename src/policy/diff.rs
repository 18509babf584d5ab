//! Who gains and who loses access from one policy to another.
//!
//! Both policies are asked about every kind of request that either can tell apart (`paths`), for the
//! least that each of them asks for. What holds for the least holds for more, since more scopes never
//! let anyone through less. Not here: bounds, times and texts. Invariant: something is looser if
//! there is a caller whom the new policy lets through and the old one did not.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use serde::Serialize;

use super::accepted;
use super::decision::{Policy, Reach};
use super::paths::{Kind, kinds, shown};
use super::table;
use crate::auth::{CredentialKind, Supposed, SupposedIdentity};
use crate::environment::Environment;
use crate::gateway::{Access, METHODS, PathPattern, Route};
use crate::id::CredentialId;
use crate::scope::ScopeSet;
use crate::upstream::{IdentityMode, Protocol, UpstreamSettings};

/// Every difference in access between two policies.
#[derive(Debug, Serialize)]
pub struct PolicyDiff {
    /// How many lines let someone through who was not.
    pub looser: usize,
    /// How many lines refuse someone who was not.
    pub tighter: usize,
    /// How many lines send the same callers elsewhere, or tell it otherwise who they are.
    pub moved: usize,
    /// The lines.
    pub differences: Vec<Difference>,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Difference {
    /// In which direction.
    pub change: Change,
    /// Who gains or loses.
    pub who: String,
    /// Which methods; empty where a setting is meant.
    pub methods: Vec<String>,
    /// Which paths, or which setting.
    pub paths: Vec<String>,
    /// On which hosts; `*` is all.
    pub hosts: Vec<String>,
    /// What there was.
    pub was: String,
    /// What there is.
    pub now: String,
}

/// In which direction access changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Someone is let through who was not.
    Looser,
    /// The same callers reach something else.
    Moved,
    /// Someone is refused who was not.
    Tighter,
}

/// Someone with no more than a rule asks for.
struct Least {
    /// `None` shows no credential.
    caller: Option<Supposed>,
    words: String,
    world: Environment,
}

/// What changes, without where.
type What = (Change, String, String, String);

/// What changes, for which methods on which hosts.
type Where<'a> = (What, Vec<String>, BTreeSet<&'a str>);

/// Compares two policies.
pub fn diff(old: &Policy, new: &Policy) -> PolicyDiff {
    let policies = [old, new];
    let patterns: Vec<PathPattern> = policies
        .iter()
        .flat_map(|policy| patterns(policy))
        .collect();
    let kinds = kinds(patterns.iter());
    let hosts: BTreeSet<&str> = policies.iter().flat_map(|policy| hosts(policy)).collect();
    let mut methods: BTreeMap<(What, &Kind, &str), Vec<&Method>> = BTreeMap::new();
    for kind in &kinds {
        for host in &hosts {
            for method in &METHODS {
                let was = old.reach(Some(host), &kind.path, method);
                let now = new.reach(Some(host), &kind.path, method);
                for what in changes((old, was), (new, now)) {
                    methods.entry((what, kind, host)).or_default().push(method);
                }
            }
        }
    }
    let mut differences = accepted::differences(old.parts(), new.parts());
    differences.extend(gathered(methods, &hosts));
    differences.sort();
    let count = |change| differences.iter().filter(|it| it.change == change).count();
    PolicyDiff {
        looser: count(Change::Looser),
        tighter: count(Change::Tighter),
        moved: count(Change::Moved),
        differences,
    }
}

fn patterns(policy: &Policy) -> impl Iterator<Item = PathPattern> {
    let parts = policy.parts();
    let routes = parts.gateway.routes.iter().map(|it| it.pattern.clone());
    let own = parts.own.iter().map(|own| own.path.clone());
    routes.chain(own.map(PathPattern::Template))
}

/// The hosts that something is bound to, and one that nothing is.
fn hosts(policy: &Policy) -> impl Iterator<Item = &str> {
    let parts = policy.parts();
    let routes = parts.gateway.routes.iter();
    let routes = routes.flat_map(|route| route.hosts.iter().map(String::as_str));
    let own = parts.own.iter().filter_map(|own| own.host.as_deref());
    let own = own.filter_map(|host| host.split(':').next());
    routes.chain(own).chain([""])
}

/// What changes for requests of one kind.
fn changes(old: (&Policy, Reach<'_>), new: (&Policy, Reach<'_>)) -> Vec<What> {
    let (was, now) = (described(old.1), described(new.1));
    let mut changes = Vec::new();
    for (change, from, to) in [(Change::Looser, old, new), (Change::Tighter, new, old)] {
        let gained = gained(from, to);
        changes.extend(gained.map(|who| (change, who, was.clone(), now.clone())));
    }
    if let (Reach::Route(from, before), Reach::Route(to, after)) = (old.1, new.1) {
        let (was, now) = (Aim::of(from, before), Aim::of(to, after));
        if was != now {
            let who = "whoever is let through".to_owned();
            let told = |aim: Aim, name: &str| format!("{name}: {}", aim.0);
            changes.push((
                Change::Moved,
                who,
                told(was, &before.name),
                told(now, &after.name),
            ));
        }
    }
    changes
}

/// Who is let through by `to` and not by `from`, in words.
fn gained(from: (&Policy, Reach<'_>), to: (&Policy, Reach<'_>)) -> impl Iterator<Item = String> {
    let mut worlds: BTreeMap<String, Vec<Environment>> = BTreeMap::new();
    if let Reach::Own(place) = to.1 {
        let is_same = matches!(from.1, Reach::Own(before) if before == place);
        if !is_same {
            worlds.insert(place.callers.into(), vec![Environment::Live]);
        }
    }
    for least in least(to.1) {
        if !lets(from, &least) {
            worlds.entry(least.words).or_default().push(least.world);
        }
    }
    worlds.into_iter().map(|(words, worlds)| match worlds[..] {
        [Environment::Test] => format!("{words} (test keys)"),
        [_] => words,
        _ => format!("{words} (live and test keys)"),
    })
}

fn lets((policy, reach): (&Policy, Reach<'_>), least: &Least) -> bool {
    match (reach, &least.caller) {
        (Reach::Nothing | Reach::OtherMethods | Reach::Own(_), _) => false,
        (Reach::Route(route, _), None) => {
            matches!(route.settings().access, Access::Public { .. })
        }
        (Reach::Route(route, upstream), Some(caller)) => {
            matches!(route.settings().access, Access::Public { .. })
                || policy.check(route, upstream, None, caller).is_ok()
        }
    }
}

/// Everyone with no more than this asks for.
fn least(reach: Reach<'_>) -> Vec<Least> {
    let Reach::Route(route, upstream) = reach else {
        return Vec::new();
    };
    let sets: Vec<ScopeSet> = match &route.settings().access {
        Access::Public { .. } => {
            return vec![Least {
                caller: None,
                words: "everyone".into(),
                world: Environment::Live,
            }];
        }
        Access::Authenticated => vec![ScopeSet::empty()],
        Access::Scopes(required) => vec![required.clone()],
        Access::AnyScope(accepted) => accepted
            .iter()
            .map(|it| ScopeSet::from_iter([it]))
            .collect(),
    };
    let worlds: &[Environment] = match upstream.environment {
        Environment::Live => &[Environment::Live],
        Environment::Test => &[Environment::Live, Environment::Test],
    };
    let one = |scopes: &ScopeSet, world: Environment| Least {
        caller: Some(holder(scopes.clone(), world)),
        words: match scopes.is_empty() {
            true => "any credential".into(),
            false => format!("holders of {scopes}"),
        },
        world,
    };
    sets.iter()
        .flat_map(|scopes| worlds.iter().map(move |world| one(scopes, *world)))
        .collect()
}

fn holder(scopes: ScopeSet, environment: Environment) -> Supposed {
    Supposed::new(SupposedIdentity {
        kind: CredentialKind::ApiKey,
        credential_id: CredentialId::parse("supposed").expect("letters"),
        subject: "supposed".into(),
        account: None,
        client_id: None,
        issuer: None,
        scopes,
        environment,
        allowed_ips: Vec::new(),
    })
}

/// Where requests go, and what is told there, whatever its name is.
#[derive(PartialEq, Eq)]
struct Aim(String);

impl Aim {
    fn of(route: &Route, upstream: &UpstreamSettings) -> Aim {
        let endpoints = upstream.endpoints.iter().map(|endpoint| {
            let scheme = match endpoint.protocol {
                Protocol::H2c => "h2c",
                Protocol::Http => "http",
                Protocol::Https => "https",
            };
            format!("{scheme}://{}:{}", endpoint.host, endpoint.port)
        });
        let mut words = vec![endpoints.collect::<Vec<_>>().join(" ")];
        words.push(match upstream.identity {
            IdentityMode::Headers => "identity headers".into(),
            IdentityMode::Jwt => "identity jwt".into(),
            IdentityMode::None => "identity none".into(),
        });
        if let Some(prefix) = &route.settings().strip_prefix {
            words.push(format!("without {prefix}"));
        }
        if upstream.forward_credential {
            words.push("with the credential".into());
        }
        Aim(words.join(", "))
    }
}

fn described(reach: Reach<'_>) -> String {
    match reach {
        Reach::Nothing => "404".into(),
        Reach::OtherMethods => "405".into(),
        Reach::Own(place) => format!("{}: {}", place.name, place.callers),
        Reach::Route(route, _) => {
            let settings = route.settings();
            format!("{}: {}", settings.name, table::access(&settings.access))
        }
    }
}

/// Lines that differ only in their methods, hosts or paths become one.
fn gathered(
    methods: BTreeMap<(What, &Kind, &str), Vec<&Method>>,
    all_hosts: &BTreeSet<&str>,
) -> Vec<Difference> {
    let mut hosts: BTreeMap<(What, Vec<String>, &Kind), BTreeSet<&str>> = BTreeMap::new();
    for ((what, kind, host), methods) in methods {
        let methods = methods.iter().map(ToString::to_string).collect();
        hosts.entry((what, methods, kind)).or_default().insert(host);
    }
    let mut paths: BTreeMap<Where<'_>, BTreeSet<&Kind>> = BTreeMap::new();
    for ((what, methods, kind), hosts) in hosts {
        paths
            .entry((what, methods, hosts))
            .or_default()
            .insert(kind);
    }
    let line = |((what, methods, hosts), kinds): (Where<'_>, BTreeSet<&Kind>)| {
        let (change, who, was, now) = what;
        let hosts = match hosts == *all_hosts {
            true => vec!["*".into()],
            // Hosts that something is bound to come first.
            false => hosts.iter().rev().map(|host| host_in_words(host)).collect(),
        };
        Difference {
            change,
            who,
            methods,
            paths: shown(&kinds),
            hosts,
            was,
            now,
        }
    };
    paths.into_iter().map(line).collect()
}

fn host_in_words(host: &str) -> String {
    match host {
        "" => "(all others)".into(),
        _ => host.into(),
    }
}
