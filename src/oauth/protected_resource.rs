//! What access tokens are for, as they (RFC 8707) and challenges (RFC 9728 §5.1) name it.
//!
//! Not here: which resource a route is of ([`crate::gateway`]), and the document itself.

use super::OAuthSettings;
use super::endpoint::{authority_and_path, resource_metadata_url};
use super::place::host_of;

/// A resource that tokens are for, with the document that says who gives them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtectedResource {
    /// What tokens for it have in `aud`, to the byte.
    pub audience: String,
    /// Lower case, without port.
    pub host: String,
    /// Without a slash at its end.
    pub path: String,
    /// The URL of the document.
    pub metadata: String,
}

impl ProtectedResource {
    /// All of them, in the order of the config.
    pub(super) fn all(settings: &OAuthSettings) -> Vec<ProtectedResource> {
        let resources = settings.resources.iter();
        let resources = resources.map(|resource| {
            let (authority, path) = authority_and_path(resource);
            ProtectedResource {
                audience: resource.clone(),
                host: host_of(authority),
                path: path.trim_end_matches('/').to_owned(),
                metadata: resource_metadata_url(resource),
            }
        });
        resources.collect()
    }
}
