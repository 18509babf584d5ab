//! Where the endpoints are: the one table by which requests find them, and which operators see.
//!
//! Not here: what they do. Invariant: a request is for an endpoint if and only if a [`Place`] of
//! this table is its host and path.

use super::OAuthSettings;
use super::endpoint::{
    Endpoint, INTERACTION, METADATA, Own, RESOURCE_METADATA, authority_and_path,
};
use crate::id::InteractionId;

/// Where one endpoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which.
    pub endpoint: Endpoint,
    /// Its only host: lower case, without port.
    pub host: String,
    /// Its canonical path, in which [`Place::PARAMETER`] stands for one segment.
    pub path: String,
    /// Whether it is there. The pages of the other kind of login are not, and answer 404
    /// themselves: no upstream ever gets what belongs to a login.
    pub served: bool,
    /// Whose metadata, by its place in the settings.
    resource: usize,
}

/// Where all endpoints of one authorization server are.
#[derive(Clone, Debug)]
pub struct Places(Vec<Place>);

impl Places {
    /// Of these settings.
    pub fn new(settings: &OAuthSettings) -> Places {
        let all = Endpoint::ALL.into_iter();
        Places(all.flat_map(|endpoint| endpoint.places(settings)).collect())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Place> {
        self.0.iter()
    }

    /// The endpoint of a host, lower case and without port, and a canonical path.
    pub fn find(&self, host: &str, path: &str) -> Option<Own> {
        // Whatever is not ours is told by its first segment.
        if !path.starts_with("/oauth/") && !path.starts_with("/.well-known/oauth-") {
            return None;
        }
        let mut here = self.iter().filter(|place| place.host == host);
        here.find_map(|place| place.own(path))
    }

    /// The endpoint of a canonical path on any host: the first, if hosts differ about it.
    pub fn find_on_any_host(&self, path: &str) -> Option<Own> {
        self.iter().find_map(|place| place.own(path))
    }

    /// Where an endpoint that was found is.
    pub fn of(&self, own: &Own) -> Option<&Place> {
        let is_it =
            |place: &&Place| (place.endpoint, place.resource) == (own.endpoint, own.resource);
        self.iter().find(is_it)
    }
}

impl Place {
    /// Stands for the id of an interaction.
    pub const PARAMETER: &'static str = "{interaction}";

    /// What a canonical path means here.
    fn own(&self, path: &str) -> Option<Own> {
        let interaction = match self.path.split_once(Place::PARAMETER) {
            Some((before, after)) => {
                let id = path.strip_prefix(before)?.strip_suffix(after)?;
                Some(segment(id)?)
            }
            None if self.path == self.without_slash(path) => None,
            None => return None,
        };
        Some(Own {
            endpoint: self.endpoint,
            interaction,
            resource: self.resource,
        })
    }

    /// A resource is the same with a slash after it; everything else is not.
    fn without_slash<'a>(&self, path: &'a str) -> &'a str {
        match self.endpoint {
            Endpoint::ResourceMetadata => path.trim_end_matches('/'),
            _ => path,
        }
    }
}

/// An id is no longer than its segment.
fn segment(id: &str) -> Option<InteractionId> {
    let whole = (!id.contains('/')).then_some(id)?;
    InteractionId::parse(whole).ok()
}

impl Endpoint {
    /// Whom it serves, for `routes` and `explain`. It judges that itself.
    pub const fn callers(self) -> &'static str {
        match self {
            Endpoint::Authorize => "a browser that a client sent",
            Endpoint::Decision | Endpoint::Interaction | Endpoint::Login | Endpoint::Resume => {
                "the browser of the interaction"
            }
            Endpoint::Introspect => "a client with its secret",
            Endpoint::Jwks | Endpoint::Metadata | Endpoint::ResourceMetadata => "everyone",
            Endpoint::Revoke | Endpoint::Token => "a client, with its secret if it has one",
        }
    }

    /// One place for most; metadata has one for each resource.
    fn places(self, settings: &OAuthSettings) -> Vec<Place> {
        let at = |authority: &str, path: String, resource: usize| Place {
            endpoint: self,
            host: host_of(authority),
            path,
            served: self.is_for(&settings.login),
            resource,
        };
        let browsers = |path: String| vec![at(&settings.authorize_host, path, 0)];
        let clients = |path: &str| vec![at(&settings.token_host, path.into(), 0)];
        let page = format!("{INTERACTION}{}", Place::PARAMETER);
        match self {
            Endpoint::Authorize => browsers("/oauth/authorize".into()),
            Endpoint::Decision => browsers(format!("{page}/decision")),
            Endpoint::Interaction => browsers(page),
            Endpoint::Introspect => clients("/oauth/introspect"),
            Endpoint::Jwks => clients("/oauth/jwks"),
            Endpoint::Login => browsers(format!("{page}/login")),
            Endpoint::Metadata => {
                let (authority, path) = authority_and_path(&settings.issuer);
                vec![at(authority, format!("{METADATA}{path}"), 0)]
            }
            Endpoint::ResourceMetadata => {
                let resources = settings.resources.iter().enumerate();
                let place = |(position, resource): (usize, &String)| {
                    // RFC 9728 §3.1: the path of the resource comes after the well-known one.
                    let (authority, path) = authority_and_path(resource);
                    let path = format!("{RESOURCE_METADATA}{}", path.trim_end_matches('/'));
                    at(authority, path, position)
                };
                resources.map(place).collect()
            }
            Endpoint::Resume => browsers(format!("{page}/resume")),
            Endpoint::Revoke => clients("/oauth/revoke"),
            Endpoint::Token => clients("/oauth/token"),
        }
    }
}

/// The host of an authority, as requests have it.
pub(super) fn host_of(authority: &str) -> String {
    let name = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => authority.split(':').next(),
    };
    name.unwrap_or_default().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::endpoint::resource_metadata_url;
    use crate::oauth::server::tests::settings;

    fn found(host: &str, path: &str) -> Option<&'static str> {
        let own = Places::new(&settings()).find(host, path);
        own.map(|own| own.endpoint.label())
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
            ("osir.com", "/oauth/interaction/int_1/login/x", None),
            ("osir.com", "/oauth/interaction/", None),
            ("osir.com", "/oauth/interaction//login", None),
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
            (
                "api.osir.com",
                "/.well-known/oauth-protected-resource/",
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
        let places = Places::new(&settings);
        let label = |host, path| places.find(host, path).map(|own| own.endpoint.label());
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

    #[test]
    fn every_endpoint_has_a_place_and_is_found_there() {
        let mut settings = settings();
        settings.authorize_host = "[2001:DB8::1]:8443".into();
        settings.resources.push("https://other.example/mcp/".into());
        let places = Places::new(&settings);
        for endpoint in Endpoint::ALL {
            assert!(places.iter().any(|place| place.endpoint == endpoint));
        }
        for place in places.iter() {
            let path = place.path.replace(Place::PARAMETER, "int_1");
            let own = places.find(&place.host, &path).expect("an endpoint");
            assert_eq!(places.of(&own), Some(place));
            assert_eq!(places.find_on_any_host(&path), Some(own));
        }
        for host in ["2001:db8::1", "other.example"] {
            assert!(places.iter().any(|place| place.host == host), "{host}");
        }
    }
}
