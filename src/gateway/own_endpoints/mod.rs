//! Endpoints of the gateway's own, on the API's listener: a request for one of them leaves the path
//! to the upstreams here.
//!
//! Not here: what they do (the desks of [`crate::auth`]). Invariants: an own endpoint comes before
//! every route, and the config refuses routes that it would hide; bodies have a size and a time;
//! the store is called on the control runtime, so what a client began ends also without it.

mod sessions;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde::Serialize;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::live::{Live, Worker};
use super::record::Record;
use super::{Intake, Reason, Rejection, Route};
use crate::auth::Principal;
use crate::edge::Malformed;

/// One of the endpoints.
#[derive(Debug)]
pub struct OwnEndpoint(Endpoint);

#[derive(Debug)]
enum Endpoint {
    /// Temporary access.
    Sessions(sessions::Resource),
}

/// The longest body, in bytes.
const BODY: usize = 16 * 1024;

impl OwnEndpoint {
    /// The endpoint that a canonical path is for, if it is for one.
    pub fn of(live: &Live, path: &str) -> Option<OwnEndpoint> {
        let sessions = sessions::Resource::of(path, &live.settings().sessions.path);
        Some(OwnEndpoint(Endpoint::Sessions(sessions?)))
    }

    /// What stands for it where a route is asked for.
    pub fn route<'a>(&self, live: &'a Live) -> &'a Arc<Route> {
        match &self.0 {
            Endpoint::Sessions(_) => live.session_route(),
        }
    }

    /// Whether it is there and takes this method.
    pub fn takes(&self, method: &Method) -> Result<(), Rejection> {
        match &self.0 {
            Endpoint::Sessions(resource) => resource.takes(method),
        }
    }

    /// Whether it serves this caller. What the store knows is not asked.
    pub fn serves(&self, principal: &Principal) -> Result<(), Reason> {
        match &self.0 {
            Endpoint::Sessions(resource) => resource.serves(principal),
        }
    }

    /// Answers. Nobody keeps it: it is about credentials.
    pub(super) async fn answer(
        self,
        worker: &Worker,
        intake: Intake,
        record: &mut Record,
    ) -> Result<Response<Bytes>, Rejection> {
        let mut answer = match self.0 {
            Endpoint::Sessions(resource) => resource.answer(worker, intake, record).await?,
        };
        let no_store = HeaderValue::from_static("no-store");
        answer.headers_mut().insert(CACHE_CONTROL, no_store);
        Ok(answer)
    }
}

/// A whole body, which may hold secrets.
async fn read(body: Incoming, worker: &Worker) -> Result<Zeroizing<Vec<u8>>, Reason> {
    let idle = worker.live().settings().body_idle;
    match timeout(idle, Limited::new(body, BODY).collect()).await {
        Err(_) => Err(Reason::Malformed(Malformed::BodyTimeout)),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Reason::PayloadTooLarge),
        Ok(Err(_)) => Err(Reason::RequestBody),
        Ok(Ok(whole)) => Ok(Zeroizing::new(whole.to_bytes().to_vec())),
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
