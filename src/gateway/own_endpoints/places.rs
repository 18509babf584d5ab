//! The gateway's own endpoints as operators see them: for `routes` and `explain`.
//!
//! Invariant: what is told here is read from what requests are dispatched by.

use super::super::GatewaySettings;
use super::OwnEndpoint;
use super::sessions::Resource;
use crate::id::SessionId;
use crate::oauth::Places;

/// Where one endpoint is, and whom it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnPlace {
    /// Its name in logs and metrics, where a route has its own.
    pub name: &'static str,
    /// Its only host; `None` is every host.
    pub host: Option<String>,
    /// As `Allow` says them.
    pub methods: &'static str,
    /// The canonical path; a name in braces stands for one segment.
    pub path: String,
    /// Whom it serves, in words.
    pub callers: &'static str,
}

/// All that there are under these settings.
pub fn own_places(settings: &GatewaySettings, oauth: Option<&Places>) -> Vec<OwnPlace> {
    let oauth = oauth.into_iter().flat_map(Places::iter);
    let oauth = oauth.filter(|place| place.served);
    let oauth = oauth.map(|place| OwnPlace {
        name: place.endpoint.label(),
        host: Some(place.host.clone()),
        methods: place.endpoint.methods(),
        path: place.path.clone(),
        callers: place.endpoint.callers(),
    });
    sessions(&settings.sessions.path)
        .into_iter()
        .chain(oauth)
        .collect()
}

fn sessions(base: &str) -> [OwnPlace; 3] {
    const PARENT: &str = "an API key or access token";
    let one = Resource::One(SessionId::random());
    [
        ("", Resource::All, PARENT),
        ("/{id}", one, "what gave the session, or the session"),
        ("/current", Resource::Current, "a session token"),
    ]
    .map(|(beneath, resource, callers)| OwnPlace {
        name: OwnEndpoint::SESSIONS,
        host: None,
        methods: resource.allow(),
        path: format!("{base}{beneath}"),
        callers,
    })
}
