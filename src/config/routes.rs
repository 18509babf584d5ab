//! `routes`: the policy. Which requests go where, and who may make them.
//!
//! Invariant: every route says who may use it; every scope and upstream that it names exists; no
//! two routes are for the same requests.

use std::collections::BTreeMap;

use http::Method;

use crate::gateway::{Access, PathPattern, RouteSettings};
use crate::scope::ScopeSet;

use super::catalogue::Catalogue;
use super::field::{Field, Section};
use super::nearest::nearest;
use super::node::Value;
use super::pattern;
use super::report::quoted;
use super::scalar::name_fault;
use super::upstreams::Upstreams;

const ACCESS: &str = "write { scopes: [all, of, these] }, { any_scope: [one, of, these] }, authenticated, or { public: \"why\" }";
const HINT: &str = "add routes: a list of { name, prefix, methods, access, upstream }";

/// Reads `routes`.
pub(super) fn read(
    root: &Section<'_>,
    catalogue: &Catalogue<'_>,
    upstreams: &Upstreams<'_>,
) -> Option<Vec<RouteSettings>> {
    root.required("routes", HINT, |list| {
        let mut drafts = Vec::new();
        // Each is kept whether or not it is right: they are also compared with each other.
        let read = list.list_of(|item| {
            item.section(|section| {
                drafts.push(draft(section, catalogue, upstreams));
                Some(())
            })
        });
        report_repeated_names(&drafts);
        report_ambiguities(&drafts);
        let routes: Vec<Option<RouteSettings>> = drafts.into_iter().map(Draft::finish).collect();
        read.and_then(|_| routes.into_iter().collect())
    })
}

/// A route as far as it could be read.
struct Draft<'a> {
    field: Field<'a>,
    pattern_field: Option<Field<'a>>,
    name: Option<String>,
    pattern: Option<PathPattern>,
    hosts: Option<Vec<String>>,
    methods: Option<Vec<Method>>,
    access: Option<Access>,
    upstream: Option<usize>,
    rest: Option<Rest>,
}

/// What a route may leave out.
struct Rest {
    strip_prefix: Option<String>,
    timeout: Option<std::time::Duration>,
    max_body: Option<u64>,
    trailers: bool,
}

fn draft<'a>(
    section: &Section<'a>,
    catalogue: &Catalogue<'_>,
    upstreams: &Upstreams<'_>,
) -> Draft<'a> {
    let name = section.required("name", "add name: for logs and metrics", name);
    let pattern = pattern::pattern(section);
    let hosts = section.or("hosts", Vec::new(), |field| field.set_of(pattern::host));
    let methods = section.required("methods", "add methods: [GET, HEAD]", |field| {
        field.set_of(pattern::method)
    });
    let access = section.required("access", ACCESS, |field| access(field, catalogue));
    let upstream = section.required("upstream", "add upstream: one of upstreams", |field| {
        upstream(field, &upstreams.names)
    });
    let rest = rest(section, pattern.as_ref());
    Draft {
        field: section.get("name").unwrap_or(section.field().clone()),
        pattern_field: section.get("prefix").or(section.get("path")),
        name,
        pattern,
        hosts,
        methods,
        access,
        upstream,
        rest,
    }
}

impl Draft<'_> {
    fn finish(self) -> Option<RouteSettings> {
        let rest = self.rest?;
        Some(RouteSettings {
            name: self.name?,
            hosts: self.hosts?,
            pattern: self.pattern?,
            methods: self.methods?,
            access: self.access?,
            upstream: self.upstream?,
            strip_prefix: rest.strip_prefix,
            timeout: rest.timeout,
            max_body: rest.max_body,
            trailers: rest.trailers,
        })
    }

    /// A method that both are for on a host that both are for.
    fn common_method<'m>(&'m self, other: &Draft<'_>) -> Option<&'m Method> {
        let (mine, theirs) = (self.hosts.as_ref()?, other.hosts.as_ref()?);
        // A route with hosts goes before one without, so those two do not compete.
        let same_hosts = match (mine.is_empty(), theirs.is_empty()) {
            (true, true) => true,
            (false, false) => mine.iter().any(|host| theirs.contains(host)),
            (true, false) | (false, true) => false,
        };
        let theirs = other.methods.as_ref()?;
        let mut mine = self.methods.as_ref()?.iter();
        mine.find(|method| same_hosts && theirs.contains(method))
    }
}

fn report_repeated_names(drafts: &[Draft<'_>]) {
    let mut lines: BTreeMap<&str, usize> = BTreeMap::new();
    for draft in drafts {
        let Some(name) = draft.name.as_deref() else {
            continue;
        };
        match lines.get(name) {
            Some(first) => draft.field.report(
                format!("the route name {} is repeated", quoted(name)),
                format!("it is the name of the route on line {first}, too; rename one of them"),
            ),
            None => {
                lines.insert(name, draft.field.line());
            }
        }
    }
}

fn report_ambiguities(drafts: &[Draft<'_>]) {
    let mut shapes: BTreeMap<String, Vec<&Draft<'_>>> = BTreeMap::new();
    for draft in drafts {
        let (Some(pattern), Some(field)) = (&draft.pattern, &draft.pattern_field) else {
            continue;
        };
        let same = shapes
            .entry(format!("{:?}", pattern::shape(pattern)))
            .or_default();
        let clash = same.iter().find_map(|earlier| {
            let method = draft.common_method(earlier)?;
            Some((*earlier, method))
        });
        if let Some((earlier, method)) = clash {
            field.report(
                format!("{method} requests for this path already have a route"),
                format!(
                    "the route on line {} has the same paths, hosts and method; remove or change one",
                    earlier.field.line()
                ),
            );
        }
        same.push(draft);
    }
}

fn name(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    match name_fault(text) {
        Some(hint) => field.refuse(format!("{} is not a name", quoted(text)), hint),
        None => Some(text.to_owned()),
    }
}

fn upstream(field: &Field<'_>, names: &[&str]) -> Option<usize> {
    let text = field.text()?;
    if let Some(index) = names.iter().position(|name| *name == text) {
        return Some(index);
    }
    let hint = match nearest(text, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the upstreams are {}", names.join(", ")),
    };
    field.refuse(format!("unknown upstream {}", quoted(text)), hint)
}

fn access(field: &Field<'_>, catalogue: &Catalogue<'_>) -> Option<Access> {
    match field.value() {
        Value::Text(word) if word == "authenticated" => Some(Access::Authenticated),
        Value::Text(word) if word == "public" => {
            field.refuse("a public route needs a reason", "write { public: \"why\" }")
        }
        Value::Map(_) => field.section(|section| {
            let choice = section.one_of(&["scopes", "any_scope", "public"], ACCESS)?;
            let scopes = || choice.field.set_of(|item| catalogue.resolve(item));
            match choice.key {
                "public" => public(&choice.field),
                "any_scope" => scopes().map(|set| Access::AnyScope(ScopeSet::from_iter(set))),
                _ => scopes().map(|set| Access::Scopes(ScopeSet::from_iter(set))),
            }
        }),
        Value::Text(word) => field.refuse(format!("unknown access {}", quoted(word)), ACCESS),
        _ => field.mismatch("an access rule", ACCESS),
    }
}

fn public(field: &Field<'_>) -> Option<Access> {
    const HINT: &str = "write { public: \"why everyone may use this\" }";
    match field.value() {
        Value::Text(reason) if !reason.trim().is_empty() => Some(Access::Public {
            reason: reason.clone(),
        }),
        _ => field.refuse("a public route needs a reason", HINT),
    }
}

fn rest(section: &Section<'_>, pattern: Option<&PathPattern>) -> Option<Rest> {
    let strip_prefix = section.optional("strip_prefix", |field| {
        pattern::strip_prefix(field, pattern)
    });
    let timeout = section.optional("timeout", Field::duration);
    let max_body = section.optional("max_body", Field::size);
    let trailers = section.or("trailers", false, Field::switch);
    Some(Rest {
        strip_prefix: strip_prefix?,
        timeout: timeout?,
        max_body: max_body?,
        trailers: trailers?,
    })
}
