//! Route by host, path and method: the compiled policy table.
//!
//! Not here: whether the caller may ([`super::authorize`]). Invariants: the most specific pattern
//! alone decides (a route with another method on a less specific pattern never steps in, that is
//! 405), and the table is the same one that `portcullis routes` and `explain` read.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderValue, Method};

use super::path_trie::{PathEntry, PathTrie};
use super::{Access, Challenges, Challenging, PathPattern, RouteSettings};
use crate::observe::{Metrics, RouteMetrics};

/// One route, compiled: its settings and every header and handle that a request on it can need.
#[derive(Debug)]
pub struct Route {
    settings: RouteSettings,
    /// The audience of the resource that it is of; `None` where the gateway gives no tokens.
    resource: Option<String>,
    challenges: Challenges,
    /// Handles of `requests_total` and `request_duration_seconds`.
    pub metrics: RouteMetrics,
}

/// All routes.
#[derive(Debug)]
pub struct RouteTable {
    routes: Vec<Arc<Route>>,
    tables: Tables,
}

/// Which routes a host has.
#[derive(Debug, Default)]
struct Tables {
    /// Routes bound to a host, by lower-case name.
    hosts: BTreeMap<String, PathTrie>,
    /// Routes for every host.
    any_host: PathTrie,
}

/// Which route a request is for.
#[derive(Debug)]
pub enum Resolved<'a> {
    /// This one.
    Route(&'a Arc<Route>),
    /// The path exists, for other methods: the `Allow` value.
    MethodNotAllowed(HeaderValue),
    /// No route has this path on this host.
    NotFound,
}

/// Two routes with the same host, pattern and method: one of them could never be reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("routes {first} and {second} are for the same host, path and method {method}")]
pub struct RouteConflict {
    /// The name of the one before.
    pub first: String,
    /// The name of the one that cannot be added.
    pub second: String,
    /// The method.
    pub method: Method,
}

impl RouteTable {
    /// Compiles the routes.
    pub fn new(
        settings: &[RouteSettings],
        challenging: &Challenging<'_>,
        metrics: &Metrics,
    ) -> Result<RouteTable, RouteConflict> {
        let mut tables = Tables::default();
        for index in 0..settings.len() {
            add_all(&mut tables, index, settings)?;
        }
        let routes = settings
            .iter()
            .map(|route| Arc::new(Route::new(route.clone(), challenging, metrics)));
        Ok(RouteTable {
            routes: routes.collect(),
            tables,
        })
    }

    /// The route for a request. `host` is lower case without port, `path` canonical.
    pub fn resolve(&self, host: &str, path: &str, method: &Method) -> Resolved<'_> {
        let on_host = self.tables.hosts.get(host).and_then(|trie| trie.find(path));
        let Some(entry) = on_host.or_else(|| self.tables.any_host.find(path)) else {
            return Resolved::NotFound;
        };
        match entry.route(method).and_then(|index| self.routes.get(index)) {
            Some(route) => Resolved::Route(route),
            None => Resolved::MethodNotAllowed(allow_value(entry)),
        }
    }

    /// Every route in the order of the config.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }
}

impl Route {
    /// What stands for endpoints of the gateway's own in records and challenges. It is in no
    /// table, so nothing can be forwarded by it; `name` has a colon, which no route's can have.
    pub(super) fn own(
        name: &str,
        access: Access,
        challenging: &Challenging<'_>,
        metrics: &Metrics,
    ) -> Route {
        let settings = RouteSettings {
            name: name.into(),
            hosts: Vec::new(),
            pattern: PathPattern::Prefix(String::new()),
            methods: Vec::new(),
            access,
            upstream: usize::MAX,
            strip_prefix: None,
            timeout: None,
            max_body: None,
            trailers: false,
        };
        Route::new(settings, challenging, metrics)
    }

    fn new(settings: RouteSettings, challenging: &Challenging<'_>, metrics: &Metrics) -> Route {
        let resource = challenging.resource(&settings);
        Route {
            challenges: Challenges::new(challenging, resource, &settings),
            resource: resource.map(|resource| resource.audience.clone()),
            metrics: metrics.route(&settings.name),
            settings,
        }
    }

    /// Its settings.
    pub fn settings(&self) -> &RouteSettings {
        &self.settings
    }

    /// The resource that tokens of our own have to be for here (RFC 8707), as `aud` says it; `None`
    /// where the gateway gives no tokens.
    pub fn resource(&self) -> Option<&str> {
        self.resource.as_deref()
    }

    /// Its `WWW-Authenticate` values.
    pub fn challenges(&self) -> &Challenges {
        &self.challenges
    }
}

fn allow_value(entry: &PathEntry) -> HeaderValue {
    let names: Vec<&str> = entry.methods().map(Method::as_str).collect();
    HeaderValue::try_from(names.join(", ")).expect("method names are visible ASCII")
}

fn add_all(tables: &mut Tables, index: usize, all: &[RouteSettings]) -> Result<(), RouteConflict> {
    let route = &all[index];
    let duplicate = |(first, method): (usize, Method)| RouteConflict {
        first: all[first].name.clone(),
        second: route.name.clone(),
        method,
    };
    if route.hosts.is_empty() {
        tables
            .any_host
            .insert(&route.pattern, &route.methods, index)
            .map_err(duplicate)?;
    }
    for host in &route.hosts {
        let trie = tables.hosts.entry(host.clone()).or_default();
        trie.insert(&route.pattern, &route.methods, index)
            .map_err(duplicate)?;
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::scope::ScopeSet;

    pub(crate) fn route(name: &str, pattern: PathPattern, methods: &[Method]) -> RouteSettings {
        RouteSettings {
            name: name.into(),
            hosts: Vec::new(),
            pattern,
            methods: methods.to_vec(),
            access: Access::Scopes(ScopeSet::parse("a b").expect("valid")),
            upstream: 0,
            strip_prefix: None,
            timeout: None,
            max_body: None,
            trailers: false,
        }
    }

    fn prefix(name: &str, path: &str, methods: &[Method]) -> RouteSettings {
        route(name, PathPattern::Prefix(path.into()), methods)
    }

    fn template(name: &str, path: &str, methods: &[Method]) -> RouteSettings {
        route(name, PathPattern::Template(path.into()), methods)
    }

    fn table(routes: &[RouteSettings]) -> Result<RouteTable, RouteConflict> {
        let challenging = Challenging {
            realm: "osir",
            resources: &[],
        };
        RouteTable::new(routes, &challenging, &Metrics::new())
    }

    fn shown(table: &RouteTable, host: &str, method: &Method, path: &str) -> String {
        match table.resolve(host, path, method) {
            Resolved::Route(route) => route.settings().name.clone(),
            Resolved::MethodNotAllowed(allow) => format!("405 {}", allow.to_str().expect("ASCII")),
            Resolved::NotFound => "404".into(),
        }
    }

    #[test]
    fn row_73_a_prefix_ends_at_a_segment_boundary() {
        let table = table(&[prefix("billing", "/v1/billing", &[Method::GET])]).expect("compiles");
        for (path, expected) in [
            ("/v1/billing", "billing"),
            ("/v1/billing/", "billing"),
            ("/v1/billing/a/b", "billing"),
            ("/v1/billingx", "404"),
            ("/v1/billin", "404"),
            ("/v1", "404"),
            ("/V1/billing", "404"),
        ] {
            assert_eq!(shown(&table, "h", &Method::GET, path), expected, "{path}");
        }
    }

    #[test]
    fn row_70_a_parameter_takes_any_one_segment_also_a_star() {
        let table = table(&[template("one", "/v1/{a}/x", &[Method::GET])]).expect("compiles");
        assert_eq!(shown(&table, "h", &Method::GET, "/v1/*/x"), "one");
        assert_eq!(shown(&table, "h", &Method::GET, "/v1/a/b/x"), "404");
        assert_eq!(shown(&table, "h", &Method::GET, "/v1//x"), "404");
    }

    #[test]
    fn the_most_specific_pattern_alone_decides() {
        let table = table(&[
            prefix("all", "/v1/domains", &[Method::GET, Method::POST]),
            template("transfer", "/v1/domains/{d}/transfer", &[Method::POST]),
            template("exact", "/v1/domains", &[Method::GET]),
        ])
        .expect("compiles");
        assert_eq!(shown(&table, "h", &Method::GET, "/v1/domains"), "exact");
        assert_eq!(shown(&table, "h", &Method::POST, "/v1/domains"), "all");
        assert_eq!(shown(&table, "h", &Method::GET, "/v1/domains/a"), "all");
        assert_eq!(
            shown(&table, "h", &Method::POST, "/v1/domains/a/transfer"),
            "transfer"
        );
        assert_eq!(
            shown(&table, "h", &Method::GET, "/v1/domains/a/transfer"),
            "405 POST"
        );
        assert_eq!(
            shown(&table, "h", &Method::DELETE, "/v1/domains/a"),
            "405 GET, POST"
        );
        assert_eq!(
            shown(&table, "h", &Method::TRACE, "/v1/domains"),
            "405 GET, POST"
        );
    }

    #[test]
    fn rows_67_and_68_a_trailing_slash_does_not_lead_past_a_stricter_route() {
        let table = table(&[
            prefix("all", "/v1/domains", &[Method::POST]),
            template("transfer", "/v1/domains/{d}/transfer", &[Method::POST]),
            template("admin", "/v1/domains/admin", &[Method::POST]),
        ])
        .expect("compiles");
        for (path, expected) in [
            ("/v1/domains/a/transfer", "transfer"),
            ("/v1/domains/a/transfer/", "transfer"),
            ("/v1/domains/admin/", "admin"),
            ("/v1/domains/admin/x", "all"),
            ("/v1/domains/", "all"),
        ] {
            assert_eq!(shown(&table, "h", &Method::POST, path), expected, "{path}");
        }
    }

    #[test]
    fn a_host_of_its_own_comes_before_every_host() {
        let mut bound = prefix("bound", "/v1", &[Method::GET]);
        bound.hosts = vec!["api.test".into()];
        let table = table(&[prefix("any", "/v1", &[Method::GET]), bound]).expect("compiles");
        assert_eq!(shown(&table, "api.test", &Method::GET, "/v1"), "bound");
        assert_eq!(shown(&table, "other.test", &Method::GET, "/v1"), "any");
    }

    #[test]
    fn the_same_host_path_and_method_twice_is_refused() {
        let twice = table(&[
            template("first", "/v1/{a}", &[Method::GET]),
            template("second", "/v1/{b}", &[Method::GET, Method::PUT]),
        ]);
        assert_eq!(
            twice.err().map(|conflict| conflict.to_string()),
            Some("routes first and second are for the same host, path and method GET".into())
        );
    }
}
