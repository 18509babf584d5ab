//! Endpoints of the gateway's own, on the API's listener: a request for one of them leaves the path
//! to the upstreams here.
//!
//! Not here: what they do (the desks of [`crate::auth`], [`crate::oauth`]). Invariants: an own
//! endpoint comes before every route, and the config refuses routes that it would hide; bodies have a
//! size and a time; the store is called on the control runtime, so what a client began ends also
//! without it.

mod cross_origin;
mod oauth;
mod places;
mod sessions;

pub(super) use cross_origin::Reader;
pub(super) use oauth::OAuthEndpoints;
pub use places::{OwnPlace, own_places};

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Serialize;
use tokio::time::timeout;

use super::live::{Live, Worker};
use super::record::Record;
use super::{Intake, Reason, Rejection, Route};
use crate::auth::Principal;
use crate::edge::{Malformed, TlsPeer, Upload};

/// One of the endpoints.
#[derive(Debug)]
pub struct OwnEndpoint(Endpoint);

#[derive(Debug)]
enum Endpoint {
    /// The authorization server's.
    OAuth(oauth::OAuth),
    /// Temporary access.
    Sessions(sessions::Resource),
}

impl OwnEndpoint {
    /// The name of the session endpoints, where a route has its own. The colon keeps it from any
    /// route's.
    pub const SESSIONS: &'static str = "own:sessions";

    /// The endpoint that a host and a canonical path are for, if they are for one, or could only be.
    pub fn of(live: &Live, host: &str, path: &str) -> Option<OwnEndpoint> {
        let oauth = || live.oauth()?.find(host, path).map(Endpoint::OAuth);
        let sessions = sessions::Resource::of(path, &live.settings().sessions.path);
        let endpoint = sessions.map(Endpoint::Sessions).or_else(oauth)?;
        Some(OwnEndpoint(endpoint))
    }

    /// The same for a host that is not known: the first that there is on any.
    pub fn on_any_host(live: &Live, path: &str) -> Option<OwnEndpoint> {
        let oauth = || live.oauth()?.find_on_any_host(path).map(Endpoint::OAuth);
        let sessions = sessions::Resource::of(path, &live.settings().sessions.path);
        let endpoint = sessions.map(Endpoint::Sessions).or_else(oauth)?;
        Some(OwnEndpoint(endpoint))
    }

    /// Who answers it, in words.
    pub fn answered_by(&self) -> String {
        match &self.0 {
            Endpoint::OAuth(endpoint) => endpoint.answered_by(),
            Endpoint::Sessions(_) => "the gateway's session endpoints answer".into(),
        }
    }

    /// What stands for it where a route is asked for; `None` is where nothing is.
    pub fn route<'a>(&'a self, live: &'a Live) -> Option<&'a Arc<Route>> {
        match &self.0 {
            Endpoint::OAuth(endpoint) => endpoint.route(),
            Endpoint::Sessions(_) => Some(live.session_route()),
        }
    }

    /// Whether it is there and takes this method.
    pub fn takes(&self, method: &Method) -> Result<(), Rejection> {
        match &self.0 {
            Endpoint::OAuth(endpoint) => endpoint.takes(method),
            Endpoint::Sessions(resource) => resource.takes(method),
        }
    }

    /// Whether it serves this caller. What the store knows is not asked.
    pub fn serves(&self, principal: &Principal) -> Result<(), Reason> {
        match &self.0 {
            Endpoint::OAuth(_) => Ok(()),
            Endpoint::Sessions(resource) => resource.serves(principal),
        }
    }

    pub(super) async fn answer(
        self,
        worker: &Worker,
        intake: Intake,
        record: &mut Record,
    ) -> Result<Response<Bytes>, Rejection> {
        match self.0 {
            Endpoint::OAuth(endpoint) => endpoint.answer(worker, intake, record).await,
            Endpoint::Sessions(resource) => resource.answer(worker, intake, record).await,
        }
    }
}

/// A whole body of at most so many bytes.
async fn read(
    body: Upload,
    most: usize,
    peer: &Rc<TlsPeer>,
    worker: &Worker,
) -> Result<Bytes, Reason> {
    let idle = worker.live().settings().body_idle;
    match timeout(idle, Limited::new(body, most).collect()).await {
        Err(_) => Err(Reason::Malformed(Malformed::BodyTimeout)),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Reason::PayloadTooLarge),
        Ok(Err(_)) => Err(peer
            .body_fault()
            .map_or(Reason::RequestBody, Reason::Malformed)),
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
    }
}

fn json(status: StatusCode, body: &impl Serialize) -> Response<Bytes> {
    let body = serde_json::to_vec(body).expect("these types have only text keys");
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
