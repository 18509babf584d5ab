//! Which requests are for the authorization server.

use http::Method;

use crate::id::InteractionId;

use super::{LoginMode, OAuthSettings};

/// An endpoint of the authorization server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `/oauth/authorize` (RFC 6749 §3.1).
    Authorize,
    /// `/oauth/interaction/{id}/decision`: where the consent form goes.
    Decision,
    /// `/oauth/interaction/{id}`: the page that asks the user.
    Interaction,
    /// `/oauth/introspect` (RFC 7662).
    Introspect,
    /// `/oauth/jwks` (RFC 7517).
    Jwks,
    /// `/oauth/interaction/{id}/login`: where the login form goes.
    Login,
    /// `/.well-known/oauth-authorization-server` (RFC 8414).
    Metadata,
    /// `/.well-known/oauth-protected-resource` (RFC 9728).
    ResourceMetadata,
    /// `/oauth/interaction/{id}/resume`: where the operator's login page sends the browser back to.
    Resume,
    /// `/oauth/revoke` (RFC 7009).
    Revoke,
    /// `/oauth/token` (RFC 6749 §3.2).
    Token,
}

/// An endpoint, and what the path says besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// Which.
    pub endpoint: Endpoint,
    /// Which interaction.
    pub(super) interaction: Option<InteractionId>,
    /// Which resource, by its place in the settings.
    pub(super) resource: usize,
}

impl Endpoint {
    /// All of them.
    pub const ALL: [Endpoint; 11] = [
        Endpoint::Authorize,
        Endpoint::Decision,
        Endpoint::Interaction,
        Endpoint::Introspect,
        Endpoint::Jwks,
        Endpoint::Login,
        Endpoint::Metadata,
        Endpoint::ResourceMetadata,
        Endpoint::Resume,
        Endpoint::Revoke,
        Endpoint::Token,
    ];

    /// The word for it in metrics and logs, where a route has its name.
    pub const fn label(self) -> &'static str {
        match self {
            Endpoint::Authorize => "own:oauth-authorize",
            Endpoint::Decision => "own:oauth-decision",
            Endpoint::Interaction => "own:oauth-interaction",
            Endpoint::Introspect => "own:oauth-introspect",
            Endpoint::Jwks => "own:oauth-jwks",
            Endpoint::Login => "own:oauth-login",
            Endpoint::Metadata => "own:oauth-metadata",
            Endpoint::ResourceMetadata => "own:oauth-resource-metadata",
            Endpoint::Resume => "own:oauth-resume",
            Endpoint::Revoke => "own:oauth-revoke",
            Endpoint::Token => "own:oauth-token",
        }
    }

    /// The methods that it has, as `Allow` says them.
    pub const fn methods(self) -> &'static str {
        match self {
            Endpoint::Authorize => "GET, HEAD, POST",
            Endpoint::Interaction => "GET, HEAD",
            Endpoint::Jwks | Endpoint::Metadata | Endpoint::ResourceMetadata => {
                "GET, HEAD, OPTIONS"
            }
            Endpoint::Decision | Endpoint::Introspect | Endpoint::Login => "POST",
            // It carries something out, so not HEAD.
            Endpoint::Resume => "GET",
            Endpoint::Revoke | Endpoint::Token => "POST, OPTIONS",
        }
    }

    /// Whether it is there, whoever logs users in.
    pub(super) const fn is_for(self, login: &LoginMode) -> bool {
        match self {
            Endpoint::Decision | Endpoint::Interaction | Endpoint::Login => !login.is_delegated(),
            Endpoint::Resume => login.is_delegated(),
            Endpoint::Authorize
            | Endpoint::Introspect
            | Endpoint::Jwks
            | Endpoint::Metadata
            | Endpoint::ResourceMetadata
            | Endpoint::Revoke
            | Endpoint::Token => true,
        }
    }

    /// Whether it has this method. HEAD is GET without its body, which HTTP leaves out by itself.
    pub fn takes(self, method: &Method) -> bool {
        let mut methods = self.methods().split(", ");
        methods.any(|name| name == method.as_str())
    }

    /// Whether scripts of any site may call it: nothing on it depends on a cookie.
    pub(super) const fn is_open_to_scripts(self) -> bool {
        matches!(
            self,
            Endpoint::Jwks
                | Endpoint::Metadata
                | Endpoint::ResourceMetadata
                | Endpoint::Revoke
                | Endpoint::Token
        )
    }
}

const INTERACTION: &str = "/oauth/interaction/";
const METADATA: &str = "/.well-known/oauth-authorization-server";
const RESOURCE_METADATA: &str = "/.well-known/oauth-protected-resource";

/// The endpoint of a host and a canonical path.
pub(super) fn find(settings: &OAuthSettings, host: &str, path: &str) -> Option<Own> {
    // Whatever is not ours is told by its first segment.
    if !path.starts_with("/oauth/") && !path.starts_with("/.well-known/oauth-") {
        return None;
    }
    if let Some(rest) = path.strip_prefix(METADATA) {
        let (authority, issuer_path) = authority_and_path(&settings.issuer);
        let is_ours = is_host_of(authority, host) && rest == issuer_path;
        return is_ours.then_some(plain(Endpoint::Metadata));
    }
    if let Some(rest) = path.strip_prefix(RESOURCE_METADATA) {
        return resource(settings, host, rest);
    }
    if is_host_of(&settings.token_host, host)
        && let Some(endpoint) = for_clients(path)
    {
        return Some(plain(endpoint));
    }
    match is_host_of(&settings.authorize_host, host) {
        true => for_browsers(path),
        false => None,
    }
}

fn for_clients(path: &str) -> Option<Endpoint> {
    match path {
        "/oauth/introspect" => Some(Endpoint::Introspect),
        "/oauth/jwks" => Some(Endpoint::Jwks),
        "/oauth/revoke" => Some(Endpoint::Revoke),
        "/oauth/token" => Some(Endpoint::Token),
        _ => None,
    }
}

fn for_browsers(path: &str) -> Option<Own> {
    if path == "/oauth/authorize" {
        return Some(plain(Endpoint::Authorize));
    }
    let rest = path.strip_prefix(INTERACTION)?;
    let (id, endpoint) = match rest.split_once('/') {
        None => (rest, Endpoint::Interaction),
        Some((id, "decision")) => (id, Endpoint::Decision),
        Some((id, "login")) => (id, Endpoint::Login),
        Some((id, "resume")) => (id, Endpoint::Resume),
        Some(_) => return None,
    };
    Some(Own {
        interaction: Some(InteractionId::parse(id).ok()?),
        ..plain(endpoint)
    })
}

/// RFC 9728 §3.1: the path of the resource comes after the well-known one.
fn resource(settings: &OAuthSettings, host: &str, rest: &str) -> Option<Own> {
    let position = settings.resources.iter().position(|resource| {
        let (authority, path) = authority_and_path(resource);
        is_host_of(authority, host) && path.trim_end_matches('/') == rest.trim_end_matches('/')
    })?;
    Some(Own {
        resource: position,
        ..plain(Endpoint::ResourceMetadata)
    })
}

const fn plain(endpoint: Endpoint) -> Own {
    Own {
        endpoint,
        interaction: None,
        resource: 0,
    }
}

/// `host[:port]` and the path of an `https` URL. A path of `/` alone is none.
pub fn authority_and_path(url: &str) -> (&str, &str) {
    let after = url.strip_prefix("https://").unwrap_or_default();
    let (authority, path) = after.split_at(after.find('/').unwrap_or(after.len()));
    (authority, if path == "/" { "" } else { path })
}

/// Whether `host`, lower case and without port, is that of an authority.
fn is_host_of(authority: &str, host: &str) -> bool {
    let name = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case(host)
}

/// Where an interaction's page is.
pub(super) fn interaction_path(id: &InteractionId) -> String {
    format!("{INTERACTION}{id}")
}

/// Where a resource's metadata is (RFC 9728 §3.1).
pub(super) fn resource_metadata_url(resource: &str) -> String {
    let (authority, path) = authority_and_path(resource);
    format!("https://{authority}{RESOURCE_METADATA}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::server::tests::settings;

    fn found(host: &str, path: &str) -> Option<&'static str> {
        find(&settings(), host, path).map(|own| own.endpoint.label())
    }

    #[test]
    fn an_endpoint_is_found_on_its_own_host_only() {
        for (host, path, endpoint) in [
            ("osir.com", "/oauth/authorize", Some("own:oauth-authorize")),
            ("api.osir.com", "/oauth/authorize", None),
            ("api.osir.com", "/oauth/token", Some("own:oauth-token")),
            ("osir.com", "/oauth/token", None),
            ("api.osir.com", "/oauth/tokens", None),
            ("api.osir.com", "/oauth/token/", None),
            ("api.osir.com", "/v1/domains", None),
            (
                "osir.com",
                "/oauth/interaction/int_1",
                Some("own:oauth-interaction"),
            ),
            (
                "osir.com",
                "/oauth/interaction/int_1/login",
                Some("own:oauth-login"),
            ),
            (
                "osir.com",
                "/oauth/interaction/int_1/resume",
                Some("own:oauth-resume"),
            ),
            ("api.osir.com", "/oauth/interaction/int_1/resume", None),
            ("osir.com", "/oauth/interaction/int_1/x", None),
            (
                "osir.com",
                "/.well-known/oauth-authorization-server",
                Some("own:oauth-metadata"),
            ),
            (
                "osir.com",
                "/.well-known/oauth-authorization-server/x",
                None,
            ),
            (
                "api.osir.com",
                "/.well-known/oauth-authorization-server",
                None,
            ),
            (
                "api.osir.com",
                "/.well-known/oauth-protected-resource",
                Some("own:oauth-resource-metadata"),
            ),
            ("osir.com", "/.well-known/oauth-protected-resource", None),
        ] {
            assert_eq!(found(host, path), endpoint, "{host}{path}");
        }
    }

    #[test]
    fn the_path_of_an_issuer_or_resource_comes_after_the_well_known_one() {
        let mut settings = settings();
        settings.issuer = "https://osir.com/tenant".into();
        settings.resources = vec!["https://api.osir.com/mcp".into()];
        let label = |host, path| find(&settings, host, path).map(|own| own.endpoint.label());
        let metadata = "/.well-known/oauth-authorization-server/tenant";
        assert_eq!(label("osir.com", metadata), Some("own:oauth-metadata"));
        let resource = "/.well-known/oauth-protected-resource/mcp";
        assert_eq!(
            label("api.osir.com", resource),
            Some("own:oauth-resource-metadata")
        );
        assert_eq!(
            resource_metadata_url("https://api.osir.com/mcp"),
            format!("https://api.osir.com{resource}")
        );
    }
}
