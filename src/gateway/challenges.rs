//! `WWW-Authenticate` (RFC 6750 §3, RFC 9728 §5.1): what a refused client is told, made once a route.
//!
//! Not here: when it is told ([`super::rejection`]), and that a token of ours is for the resource of
//! the route that it comes to ([`Route::resource`](super::Route::resource)). Invariant: a challenge
//! names the protected resource that the route is of, if there is one, because a client compares the
//! `resource` of that document with the URL it asked for (RFC 9728 §3.3).

use http::HeaderValue;

use super::{Access, PathPattern, RouteSettings};
use crate::oauth::ProtectedResource;

/// `WWW-Authenticate` values, made once.
#[derive(Debug)]
pub struct Challenges {
    /// No credential was sent.
    pub missing: HeaderValue,
    /// One was sent and is not good.
    pub invalid: HeaderValue,
    /// It is good and lacks a scope; `None` where no scope is asked for.
    pub scope: Option<HeaderValue>,
}

/// What all challenges of a policy say.
#[derive(Clone, Copy, Debug)]
pub struct Challenging<'a> {
    /// The realm.
    pub realm: &'a str,
    /// What the gateway gives tokens for; nothing where it gives none.
    pub resources: &'a [ProtectedResource],
}

impl Challenges {
    /// `resource` is what [`Challenging::resource`] says of the route.
    pub(super) fn new(
        challenging: &Challenging<'_>,
        resource: Option<&ProtectedResource>,
        route: &RouteSettings,
    ) -> Challenges {
        let value = |text: String| {
            HeaderValue::try_from(text)
                .expect("the config allows only visible ASCII in realm, scopes and URLs")
        };
        let realm = challenging.realm;
        let place = resource.map_or_else(String::new, |resource| {
            format!(r#", resource_metadata="{}""#, resource.metadata)
        });
        let scopes = match &route.access {
            Access::Scopes(scopes) | Access::AnyScope(scopes) => {
                Some(format!(r#", scope="{scopes}""#))
            }
            Access::Authenticated | Access::Public { .. } => None,
        };
        // A client that can get a token by itself is told for which scopes.
        let wanted = match resource {
            Some(_) => scopes.as_deref().unwrap_or_default(),
            None => "",
        };
        Challenges {
            missing: value(format!(r#"Bearer realm="{realm}"{place}{wanted}"#)),
            invalid: value(format!(
                r#"Bearer realm="{realm}", error="invalid_token"{place}{wanted}"#
            )),
            scope: scopes.map(|scopes| {
                value(format!(
                    r#"Bearer error="insufficient_scope"{scopes}{place}"#
                ))
            }),
        }
    }
}

impl<'a> Challenging<'a> {
    /// The resource that a route is of: the one on a host of the route's with the most of its
    /// path. The first one where none fits.
    pub(super) fn resource(&self, route: &RouteSettings) -> Option<&'a ProtectedResource> {
        let fits = |resource: &&ProtectedResource| {
            let hosts = &route.hosts;
            (hosts.is_empty() || hosts.contains(&resource.host))
                && is_within(&route.pattern, resource)
        };
        // Of equals `max_by_key` takes the last, which is the first one here.
        let fitting = self.resources.iter().rev().filter(fits);
        fitting
            .max_by_key(|resource| resource.path.len())
            .or(self.resources.first())
    }
}

/// Whether all that a pattern matches is this resource or beneath it.
fn is_within(pattern: &PathPattern, resource: &ProtectedResource) -> bool {
    let (PathPattern::Prefix(path) | PathPattern::Template(path)) = pattern;
    let rest = path.strip_prefix(&resource.path);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::route::tests::route;

    fn resource(url: &str) -> ProtectedResource {
        let (host, path) = url.split_at(url.find('/').unwrap_or(url.len()));
        ProtectedResource {
            audience: format!("https://{url}"),
            host: host.into(),
            path: path.into(),
            metadata: format!("https://{host}/m{path}"),
        }
    }

    fn of(resources: &[ProtectedResource], hosts: &[&str], pattern: PathPattern) -> Challenges {
        let challenging = Challenging {
            realm: "osir",
            resources,
        };
        let mut route = route("r", pattern, &[http::Method::GET]);
        route.hosts = hosts.iter().map(ToString::to_string).collect();
        Challenges::new(&challenging, challenging.resource(&route), &route)
    }

    fn prefix(path: &str) -> PathPattern {
        PathPattern::Prefix(path.into())
    }

    #[test]
    fn challenges_are_those_of_the_contract() {
        let challenges = of(&[], &[], prefix("/v1"));
        assert_eq!(challenges.missing, r#"Bearer realm="osir""#);
        assert_eq!(
            challenges.invalid,
            r#"Bearer realm="osir", error="invalid_token""#
        );
        assert_eq!(
            challenges.scope.as_ref().expect("scopes"),
            r#"Bearer error="insufficient_scope", scope="a b""#
        );
    }

    #[test]
    fn challenges_of_a_gateway_that_gives_tokens_say_where_and_for_what() {
        let challenges = of(&[resource("h")], &[], prefix("/v1"));
        assert_eq!(
            challenges.missing,
            r#"Bearer realm="osir", resource_metadata="https://h/m", scope="a b""#
        );
        assert_eq!(
            challenges.invalid,
            r#"Bearer realm="osir", error="invalid_token", resource_metadata="https://h/m", scope="a b""#
        );
        assert_eq!(
            challenges.scope.as_ref().expect("scopes"),
            r#"Bearer error="insufficient_scope", scope="a b", resource_metadata="https://h/m""#
        );
    }

    #[test]
    fn a_challenge_names_the_resource_that_the_route_is_of() {
        let resources = ["h", "h/mcp", "h/mcp/files", "other"].map(resource);
        let template = |path: &str| PathPattern::Template(path.into());
        for (hosts, pattern, metadata) in [
            (&[][..], prefix("/v1"), "https://h/m"),
            (&[], prefix(""), "https://h/m"),
            (&[], prefix("/mcp"), "https://h/m/mcp"),
            (&[], prefix("/mcpx"), "https://h/m"),
            (&[], template("/mcp/{tool}"), "https://h/m/mcp"),
            (&[], template("/mcp/files/{name}"), "https://h/m/mcp/files"),
            (&["h"], prefix("/mcp/tools"), "https://h/m/mcp"),
            (&["other"], prefix("/mcp"), "https://other/m"),
            (&["elsewhere"], prefix("/mcp"), "https://h/m"),
        ] {
            let challenges = of(&resources, hosts, pattern.clone());
            let expected =
                format!(r#"Bearer realm="osir", resource_metadata="{metadata}", scope="a b""#);
            assert_eq!(challenges.missing, expected, "{hosts:?} {pattern:?}");
        }
    }
}
