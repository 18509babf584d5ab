//! Where the endpoints are: the one table by which requests find them, and which operators see.
//!
//! Not here: what they do. Invariants: a request is for an endpoint if and only if a [`Place`] of
//! this table is its host and path; what was meant for one and misses it by its host or a slash is
//! nobody's, so that no upstream ever gets a client's secret or a user's password.

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
pub struct Places {
    all: Vec<Place>,
    /// Where browsers go and where clients call.
    hosts: [String; 2],
}

/// What is at a host and path that belong to the authorization server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// One of its endpoints.
    Endpoint(Own),
    /// Nothing, and it is no route's either.
    Nothing,
}

impl Places {
    /// Of these settings.
    pub fn new(settings: &OAuthSettings) -> Places {
        let all = Endpoint::ALL.into_iter();
        Places {
            all: all.flat_map(|endpoint| endpoint.places(settings)).collect(),
            hosts: [&settings.authorize_host, &settings.token_host].map(|host| host_of(host)),
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Place> {
        self.all.iter()
    }

    /// What is at a host, lower case and without port, and a canonical path; `None` is: whatever
    /// routes there are for it.
    pub fn find(&self, host: &str, path: &str) -> Option<Found> {
        // Whatever is not ours is told by its first segment.
        if !path.starts_with("/oauth/") && !path.starts_with("/.well-known/oauth-") {
            return None;
        }
        let mut here = self.iter().filter(|place| place.host == host);
        let found = here.find_map(|place| place.own(path));
        let is_reserved = || self.hosts.iter().any(|own| own == host) && self.reserves(path);
        found
            .map(Found::Endpoint)
            .or_else(|| is_reserved().then_some(Found::Nothing))
    }

    /// The same on any host: the first endpoint, if hosts differ about it.
    pub fn find_on_any_host(&self, path: &str) -> Option<Found> {
        let found = self.iter().find_map(|place| place.own(path));
        found
            .map(Found::Endpoint)
            .or_else(|| self.reserves(path).then_some(Found::Nothing))
    }

    /// Whether a path is the server's on its two hosts, whichever of its endpoints is where: each
    /// endpoint's own, also with slashes after it, and all beneath which its pages are.
    fn reserves(&self, path: &str) -> bool {
        let bare = |path: &'_ str| path.trim_end_matches('/').to_owned();
        let path_is = |place: &Place| bare(&place.path) == bare(path);
        path.starts_with(INTERACTION) || self.iter().any(path_is)
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

    const NOTHING: Option<&str> = Some("nothing");

    fn found(places: &Places, host: &str, path: &str) -> Option<&'static str> {
        places.find(host, path).map(|found| match found {
            Found::Endpoint(own) => own.endpoint.label(),
            Found::Nothing => "nothing",
        })
    }

    #[test]
    fn an_endpoint_is_found_on_its_own_host_only_and_what_misses_it_is_nobodys() {
        let places = Places::new(&settings());
        for (host, path, endpoint) in [
            ("osir.com", "/oauth/authorize", Some("own:oauth-authorize")),
            ("api.osir.com", "/oauth/authorize", NOTHING),
            ("api.osir.com", "/oauth/token", Some("own:oauth-token")),
            ("osir.com", "/oauth/token", NOTHING),
            ("api.osir.com", "/oauth/tokens", None),
            ("api.osir.com", "/oauth/token/", NOTHING),
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
            ("api.osir.com", "/oauth/interaction/int_1/resume", NOTHING),
            ("osir.com", "/oauth/interaction/int_1/x", NOTHING),
            ("osir.com", "/oauth/interaction/int_1/login/x", NOTHING),
            ("osir.com", "/oauth/interaction/", NOTHING),
            ("osir.com", "/oauth/interaction//login", NOTHING),
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
                NOTHING,
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
            ("osir.com", "/.well-known/oauth-protected-resource", NOTHING),
            ("osir.com", "/oauth/revoke/", NOTHING),
            ("osir.com", "/oauth/authorize//", NOTHING),
            ("api.osir.com", "/oauth/interaction/int_1", NOTHING),
            ("api.osir.com", "/oauth/interaction", None),
            ("api.osir.com", "/oauth/token/x", None),
            // Hosts that are neither.
            ("other.example", "/oauth/token", None),
            ("other.example", "/oauth/interaction/x", None),
        ] {
            assert_eq!(found(&places, host, path), endpoint, "{host}{path}");
        }
    }

    #[test]
    fn the_path_of_an_issuer_or_resource_comes_after_the_well_known_one() {
        let mut settings = settings();
        settings.issuer = "https://osir.com/tenant".into();
        settings.resources = vec!["https://api.osir.com/mcp".into()];
        let places = Places::new(&settings);
        let label = |host, path| found(&places, host, path);
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
            let found = places.find(&place.host, &path);
            let Some(Found::Endpoint(own)) = &found else {
                panic!("{place:?}: {found:?}");
            };
            assert_eq!(places.of(own), Some(place));
            assert_eq!(places.find_on_any_host(&path), found);
            let beside = format!("{path}/");
            let is_resource = place.endpoint == Endpoint::ResourceMetadata;
            if !is_resource {
                assert_eq!(places.find_on_any_host(&beside), Some(Found::Nothing));
            }
        }
        for host in ["2001:db8::1", "other.example"] {
            assert!(places.iter().any(|place| place.host == host), "{host}");
        }
    }
}
