//! Routes that the authorization server's endpoints hide: those come before every route. (What the
//! session endpoints hide, [`super::sessions`] reports.)
//!
//! Invariant: on none of its hosts is a route only for requests that are the server's, be there an
//! endpoint or nothing; nobody could reach its upstream there. A broader route (`prefix: /`) stays:
//! what is the server's is taken out of it.

use crate::gateway::{PathPattern, RouteSettings};
use crate::oauth::{Found, OAuthSettings, Places};

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
    let found = |host: &str| requests.iter().find_map(|path| places.find(host, path));
    let hosts: Vec<&str> = match route.hosts.is_empty() {
        true => places.iter().map(|place| place.host.as_str()).collect(),
        false => route.hosts.iter().map(String::as_str).collect(),
    };
    // Where an endpoint is tells more than where it is missed.
    let is_there = |host: &&&str| matches!(found(host), Some(Found::Endpoint(_)));
    let hidden = hosts.iter().find(is_there);
    let hidden = hidden.or_else(|| hosts.iter().find(|host| found(host).is_some()));
    hidden.map(|host| (*host).to_owned())
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
