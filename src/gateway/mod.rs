//! One request, from intake to record: the story of this product on one page.
//!
//! [`Gateway`] is what stands behind the edge, one per worker. A request that came over TLS goes
//! through `Gateway::admit_and_forward`, a line a step; each step takes what the one before gave,
//! and only the last reaches an upstream. Not here: sockets ([`crate::edge`],
//! [`crate::upstream`]) and what makes a credential good ([`crate::auth`]). Invariant: every
//! request gets one answer and one record, whatever happens.

mod settings;
mod live;
mod intake;
mod path;
mod client_address;
mod route;
mod path_trie;
mod challenges;
mod csrf;
mod authorize;
mod limit;
mod own_endpoints;
mod forward;
mod hygiene;
mod identity;
mod respond;
mod rejection;
mod body;
mod record;
mod request_id;
mod plaintext;
#[doc(hidden)]
pub mod cost;

pub use authorize::{Asked, Authorized, CHECKS, Caller, Check, allows_scopes};
pub use body::ResponseBody;
pub use challenges::{Challenges, Challenging};
pub use identity::told_of;
pub use intake::{Intake, is_known_method};
pub use limit::Admitted;
pub use live::{Gateway, GatewayParts, Live, LiveError};
pub use own_endpoints::{OwnEndpoint, OwnPlace, own_places};
pub use path::{BadPath, CanonicalPath};
pub use path_trie::METHODS;
pub use plaintext::MOST_LOOKUPS;
pub use rejection::{ALL_ANSWERS, ErrorAnswer, Reason, Rejection, UpstreamFault};
pub use route::{Resolved, Route, RouteConflict, RouteTable};
pub use settings::{Access, GatewaySettings, PathPattern, PlaintextCredentials, RouteSettings};

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::Body as _;

use crate::auth::{Credential, Failure};
use crate::edge::{Handler, Malformed, PlainPeer, TlsPeer, Upload};
use crate::upstream::UpstreamBody;
use live::Worker;
use record::Record;
use respond::Connection;

impl Handler for Gateway {
    type Body = ResponseBody;

    async fn handle(
        &self,
        peer: Rc<TlsPeer>,
        request: Result<Request<Upload>, Malformed>,
    ) -> Response<ResponseBody> {
        let connection = Connection::after(request.as_ref().ok());
        if let Err(malformed) = request {
            self.recorder()
                .metrics
                .malformed_requests
                .with_label_values(&[malformed.label()])
                .inc();
        }
        let worker = self.worker();
        let id = self.request_id(&worker, request.as_ref().ok());
        let mut record = Record::start(self.recorder(), peer.address().ip(), id);
        let answer = {
            let steps = pin!(Gateway::admit_and_forward(
                &worker,
                peer,
                request,
                &mut record
            ));
            respond::catch_panic(steps).await
        };
        match answer {
            Some(Ok(Answered::Forwarded(answer))) => respond::forwarded(answer, record),
            Some(Ok(Answered::Own(answer))) => respond::own(answer, record),
            Some(Err(rejection)) => respond::rejected(&rejection, connection, record),
            None => {
                self.recorder().metrics.panics.inc();
                respond::rejected(&Reason::Internal.into(), Connection::Close, record)
            }
        }
    }

    async fn refuse_plaintext(
        &self,
        peer: PlainPeer,
        request: Result<Request<Upload>, Malformed>,
    ) -> Response<ResponseBody> {
        let worker = self.worker();
        let id = self.request_id(&worker, request.as_ref().ok());
        let record = Record::start(self.recorder(), peer.address.ip(), id);
        plaintext::refuse(self, &worker, request.ok(), record).await
    }
}

/// An answer that is no rejection.
enum Answered {
    Forwarded(Response<UpstreamBody>),
    /// Of one of our own endpoints.
    Own(Response<Bytes>),
}

impl Gateway {
    /// The steps of a request.
    async fn admit_and_forward(
        worker: &Worker,
        peer: Rc<TlsPeer>,
        request: Result<Request<Upload>, Malformed>,
        record: &mut Record,
    ) -> Result<Answered, Rejection> {
        let live = worker.live();
        let intake = accept(live, peer, request?, record)?;
        if let Some(endpoint) = OwnEndpoint::of(live, intake.host(), intake.path()) {
            // Boxed: rare, and large beside what a forwarded request holds.
            return Box::pin(endpoint.answer(worker, intake, record))
                .await
                .map(Answered::Own);
        }
        let route = resolve(live, &intake, record)?;
        let caller = authenticate(worker, &intake, route, record).await?;
        let pool = worker.pool(route.settings().upstream);
        let environment = pool.target().settings().environment;
        let authorized = authorize::authorize(intake, route, caller, environment)
            .inspect_err(|denied| count_denial(worker, route, denied))?;
        let admitted = limit::admit(authorized, live.settings())?;
        let own_cookies = live.own_cookies();
        forward::forward(admitted, pool, worker.tokens(), own_cookies, record)
            .await
            .map(Answered::Forwarded)
    }
}

fn accept(
    live: &Live,
    peer: Rc<TlsPeer>,
    request: Request<Upload>,
    record: &mut Record,
) -> Result<Intake, Rejection> {
    record.request(request.method(), request.uri(), live.authenticator().form());
    let intake = Intake::accept(peer, request, live.settings())?;
    record.client(intake.client());
    Ok(intake)
}

/// 404 and 405 come before 401 (interface.md §7.4): routes are documented, not secret.
fn resolve<'a>(
    live: &'a Live,
    intake: &Intake,
    record: &mut Record,
) -> Result<&'a Arc<Route>, Rejection> {
    match live
        .routes()
        .resolve(intake.host(), intake.path(), &intake.method)
    {
        Resolved::Route(route) => {
            record.route(route);
            Ok(route)
        }
        Resolved::MethodNotAllowed(allow) => Err(Rejection::method(allow)),
        Resolved::NotFound => Err(Reason::NotFound.into()),
    }
}

async fn authenticate(
    worker: &Worker,
    intake: &Intake,
    route: &Route,
    record: &mut Record,
) -> Result<Caller, Rejection> {
    if matches!(route.settings().access, Access::Public { .. }) {
        return Ok(Caller::Public);
    }
    let live = worker.live();
    let credential = shown(live, intake, record).map_err(|reason| {
        let rejection = Rejection::from(reason);
        if reason == Reason::Csrf {
            count_denial(worker, route, &rejection);
        }
        rejection
    })?;
    let verdict = live
        .authenticator()
        .authenticate(credential, intake.client(), route.resource());
    match verdict.await {
        Ok(principal) => {
            record.caller(&principal);
            Ok(Caller::Known(principal))
        }
        Err(failure) => Err(refusal(failure, route)),
    }
}

/// The one credential of a request: in a header or, where the config says so, in the session cookie
/// of a browser that one of our own pages asked.
fn shown<'a>(
    live: &'a Live,
    intake: &'a Intake,
    record: &mut Record,
) -> Result<Credential<'a>, Reason> {
    let (headers, form) = (&intake.headers, live.authenticator().form());
    let credential = Credential::extract(headers, form).map_err(Reason::Credentials)?;
    record.credential(credential.kind());
    let (Credential::Absent, Some(cookie)) = (credential, &live.settings().sessions.cookie) else {
        return Ok(credential);
    };
    let credential = cookie
        .credential(headers, form)
        .map_err(Reason::Credentials)?;
    record.credential(credential.kind());
    match credential {
        Credential::Absent => {}
        _ => csrf::check(intake, &credential, cookie, live.authenticator().csrf())?,
    }
    Ok(credential)
}

fn refusal(failure: Failure, route: &Route) -> Rejection {
    let challenges = route.challenges();
    match failure {
        Failure::Absent => {
            Rejection::with_challenge(Reason::Missing, Some(challenges.missing.clone()))
        }
        Failure::Refused(refusal) => {
            Rejection::with_challenge(Reason::Refused(refusal), Some(challenges.invalid.clone()))
        }
        Failure::Unavailable(unavailable) => Reason::Unavailable(unavailable).into(),
    }
}

fn count_denial(worker: &Worker, route: &Route, denied: &Rejection) {
    let labels = [route.settings().name.as_str(), denied.reason().label()];
    worker
        .metrics()
        .authorization_denied
        .with_label_values(&labels)
        .inc();
}

impl Connection {
    /// What becomes of the connection if this request is refused: HTTP/1 cannot go on after a body
    /// that nobody read (`security.md` rows 33 and 34); an HTTP/2 stream ends by itself.
    fn after(request: Option<&Request<Upload>>) -> Connection {
        match request {
            Some(request) if request.version() == Version::HTTP_2 => Connection::Keep,
            Some(request) if request.body().is_end_stream() => Connection::Keep,
            Some(_) | None => Connection::Close,
        }
    }
}
