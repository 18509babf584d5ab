//! What clients read before they call: metadata (RFC 8414), resource metadata (RFC 9728), keys.

use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};

use super::problem::Problem;
use super::{OAuthSettings, SigningKeys, answer};

/// How long others may keep the keys. A new key is published for longer before its first use.
const KEYS_CACHE: &str = "public, max-age=300";
const METADATA_CACHE: &str = "public, max-age=3600";

/// The documents that only a reload changes, made once.
pub(super) struct Documents {
    metadata: Bytes,
    resources: Vec<Bytes>,
}

impl Documents {
    pub(super) fn new(settings: &OAuthSettings) -> Documents {
        let resources = settings.resources.iter();
        Documents {
            metadata: metadata(settings).to_string().into(),
            resources: resources
                .map(|resource| resource_metadata(settings, resource).to_string().into())
                .collect(),
        }
    }

    pub(super) fn metadata(&self) -> Response<Bytes> {
        answer::public_json(self.metadata.clone(), METADATA_CACHE)
    }

    pub(super) fn resource(&self, position: usize) -> Response<Bytes> {
        let document = self.resources.get(position).cloned().unwrap_or_default();
        answer::public_json(document, METADATA_CACHE)
    }
}

/// The public keys as they are now.
pub(super) fn jwks(keys: &SigningKeys) -> Result<Response<Bytes>, Problem> {
    let jwks = keys.jwks().ok_or(Problem::Unavailable)?;
    Ok(answer::public_json(jwks, KEYS_CACHE))
}

/// RFC 8414 §2. What is left out has a default that would promise something else, so all of it is
/// said.
fn metadata(settings: &OAuthSettings) -> Value {
    let with_secret = ["client_secret_post", "client_secret_basic"];
    let with_none = ["client_secret_post", "client_secret_basic", "none"];
    let client = |path: &str| format!("https://{}/oauth/{path}", settings.token_host);
    let mut document = json!({
        "issuer": settings.issuer,
        "authorization_endpoint": format!("https://{}/oauth/authorize", settings.authorize_host),
        "token_endpoint": client("token"),
        "revocation_endpoint": client("revoke"),
        "introspection_endpoint": client("introspect"),
        "jwks_uri": client("jwks"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": with_none,
        "revocation_endpoint_auth_methods_supported": with_none,
        "introspection_endpoint_auth_methods_supported": with_secret,
        "scopes_supported": scopes(settings),
        "authorization_response_iss_parameter_supported": true,
        "protected_resources": settings.resources,
    });
    if let Some(page) = &settings.documentation {
        document["service_documentation"] = page.as_str().into();
    }
    document
}

/// RFC 9728 §2; what has no value is left out (§3.2).
fn resource_metadata(settings: &OAuthSettings, resource: &str) -> Value {
    let mut document = json!({
        "resource": resource,
        "authorization_servers": [settings.issuer],
        "bearer_methods_supported": ["header"],
        "resource_name": settings.realm,
    });
    if !settings.scopes.is_empty() {
        document["scopes_supported"] = scopes(settings).into();
    }
    if let Some(page) = &settings.documentation {
        document["resource_documentation"] = page.as_str().into();
    }
    document
}

fn scopes(settings: &OAuthSettings) -> Vec<&str> {
    let names = settings.scopes.iter();
    names.map(|(scope, _)| scope.as_str()).collect()
}
