//! Routes that the authorization server's endpoints hide: those come before every route. (What the
//! session endpoints hide, [`super::sessions`] reports.)
//!
//! Invariant: on none of its hosts is a route only for requests that an endpoint takes; nobody could
//! reach its upstream there. A broader route (`prefix: /`) stays: the endpoints are taken out of it.

use crate::gateway::{PathPattern, RouteSettings};
use crate::oauth::{OAuthSettings, Places};

use super::field::Section;
use super::report::quoted;

/// Reports them, as far as the parts of the file were right.
pub(super) fn report(
    root: &Section<'_>,
    routes: Option<&Vec<RouteSettings>>,
    oauth: Option<&OAuthSettings>,
) {
    let (Some(routes), Some(oauth)) = (routes, oauth) else {
        return;
    };
    let places = Places::new(oauth);
    let items = root.get("routes").and_then(|list| list.items());
    for (route, item) in routes.iter().zip(items.unwrap_or_default()) {
        let Some(host) = hidden_on(route, &places) else {
            continue;
        };
        let (PathPattern::Prefix(path) | PathPattern::Template(path)) = &route.pattern;
        let path = quoted(path);
        item.report(
            format!("{path} belongs to the authorization server on {host}"),
            "move the route, or name its other hosts with hosts: […]",
        );
    }
}

/// A host of the route on which requests for it are the authorization server's.
fn hidden_on(route: &RouteSettings, places: &Places) -> Option<String> {
    let requests = requests(&route.pattern);
    let is_hidden = |host: &&str| {
        requests
            .iter()
            .any(|path| places.find(host, path).is_some())
    };
    let hosts: Vec<&str> = match route.hosts.is_empty() {
        true => places.iter().map(|place| place.host.as_str()).collect(),
        false => route.hosts.iter().map(String::as_str).collect(),
    };
    hosts.into_iter().find(is_hidden).map(str::to_owned)
}

/// Paths that a route is for: the pattern itself, and one beneath a prefix, with an id in the place
/// of parameters.
fn requests(pattern: &PathPattern) -> Vec<String> {
    const ID: &str = "int_0";
    match pattern {
        PathPattern::Prefix(prefix) => vec![prefix.clone(), format!("{prefix}/{ID}")],
        PathPattern::Template(template) => {
            let segment = |segment| match str::starts_with(segment, '{') {
                true => ID,
                false => segment,
            };
            let segments: Vec<&str> = template.split('/').map(segment).collect();
            vec![segments.join("/")]
        }
    }
}
