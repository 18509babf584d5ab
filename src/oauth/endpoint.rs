//! The endpoints of the authorization server: their names and methods. Where they are is
//! [`super::place`]'s.

use http::Method;

use crate::id::InteractionId;

use super::LoginMode;

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

/// Beneath it are the pages that ask the user.
pub(super) const INTERACTION: &str = "/oauth/interaction/";
pub(super) const METADATA: &str = "/.well-known/oauth-authorization-server";
pub(super) const RESOURCE_METADATA: &str = "/.well-known/oauth-protected-resource";

/// `host[:port]` and the path of an `https` URL. A path of `/` alone is none.
pub fn authority_and_path(url: &str) -> (&str, &str) {
    let after = url.strip_prefix("https://").unwrap_or_default();
    let (authority, path) = after.split_at(after.find('/').unwrap_or(after.len()));
    (authority, if path == "/" { "" } else { path })
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
