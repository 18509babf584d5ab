//! The effective policy table: method × path × access × upstream.

use crate::gateway::{Access, GatewaySettings, OwnPlace, PathPattern, RouteSettings};
use crate::upstream::UpstreamSettings;

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct RouteRow {
    /// The route's name.
    pub route: String,
    /// `*`, or the names.
    pub hosts: String,
    /// In the order of the config.
    pub methods: String,
    /// The pattern; a prefix ends in `/**`.
    pub path: String,
    /// What a caller needs.
    pub access: String,
    /// The upstream's name.
    pub upstream: String,
}

/// Every route in the order of the config, and the gateway's own endpoints, which come before them
/// for a request.
pub fn rows(
    settings: &GatewaySettings,
    upstreams: &[UpstreamSettings],
    own: &[OwnPlace],
) -> Vec<RouteRow> {
    settings
        .routes
        .iter()
        .map(|route| row(route, upstreams))
        .chain(own.iter().map(own_row))
        .collect()
}

fn own_row(place: &OwnPlace) -> RouteRow {
    RouteRow {
        route: place.name.into(),
        hosts: place.host.clone().unwrap_or_else(|| "*".into()),
        methods: place.methods.replace(", ", " "),
        path: place.path.clone(),
        access: place.callers.into(),
        upstream: "(the gateway itself)".into(),
    }
}

fn row(route: &RouteSettings, upstreams: &[UpstreamSettings]) -> RouteRow {
    let methods: Vec<&str> = route.methods.iter().map(http::Method::as_str).collect();
    RouteRow {
        route: route.name.clone(),
        hosts: if route.hosts.is_empty() {
            "*".into()
        } else {
            route.hosts.join(" ")
        },
        methods: methods.join(" "),
        path: match &route.pattern {
            PathPattern::Prefix(prefix) => format!("{}/**", prefix.trim_end_matches('/')),
            PathPattern::Template(template) => template.clone(),
        },
        access: access(&route.access),
        upstream: upstreams
            .get(route.upstream)
            .map_or_else(String::new, |u| u.name.clone()),
    }
}

/// What a caller needs, in words.
pub(super) fn access(access: &Access) -> String {
    match access {
        Access::AnyScope(scopes) => format!("one of {scopes}"),
        Access::Authenticated => "any valid credential".into(),
        Access::Public { reason } => format!("public: {reason}"),
        Access::Scopes(scopes) => format!("all of {scopes}"),
    }
}
