//! What is counted and logged of one request: exactly one record for each, whatever happens; of one
//! that was denied also a line in the audit log.
//!
//! The record travels with the request into the body of its answer and is written when that ends
//! or is dropped, so a client that goes away is recorded too. Invariant: nothing in it is a
//! secret: ids, never credentials; the path, never the query.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode, Uri};
use tokio::time::Instant;

use super::{Reason, Route};
use crate::auth::{CredentialForm, CredentialKind, Principal};
use crate::clock::Clock;
use crate::id::{ClientId, RequestId};
use crate::oauth::Refusal;
use crate::observe::{
    AccessLine, AccessLog, Actor, AuditAction, AuditEvent, AuditLog, AuditOutcome, Metrics,
    RouteMetrics,
};

/// What every record of one worker needs.
#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) metrics: Arc<Metrics>,
    /// For requests that match no route.
    pub(super) unrouted: RouteMetrics,
    pub(super) log: Option<Rc<AccessLog>>,
    pub(super) audit: AuditLog,
    pub(super) clock: Clock,
}

/// One request's record.
#[derive(Debug)]
pub(super) struct Record(Box<Fields>);

#[derive(Debug)]
struct Fields {
    recorder: Rc<Recorder>,
    started: Instant,
    client: IpAddr,
    request_id: HeaderValue,
    method: Method,
    /// Kept only where an access log is written.
    path: Option<String>,
    route: Option<Arc<Route>>,
    status: StatusCode,
    reason: Option<Reason>,
    /// Why the authorization server refused it.
    refusal: Option<Refusal>,
    /// Whose it was, there.
    oauth_client: Option<ClientId>,
    /// The kind of credential that was shown, good or not.
    credential_kind: CredentialKind,
    caller: Option<Principal>,
    upstream: Option<Arc<str>>,
    upstream_time: Option<Duration>,
    bytes_sent: u64,
    end: End,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The client went away before its end.
    Aborted,
    /// The upstream broke off in its body.
    BrokeOff,
    /// Sent in whole.
    Complete,
}

impl Record {
    pub(super) fn start(
        recorder: &Rc<Recorder>,
        client: IpAddr,
        request_id: HeaderValue,
    ) -> Record {
        recorder.metrics.inflight_requests.inc();
        Record(Box::new(Fields {
            recorder: Rc::clone(recorder),
            started: Instant::now(),
            client,
            request_id,
            method: Method::GET,
            path: None,
            route: None,
            status: StatusCode::OK,
            reason: None,
            refusal: None,
            oauth_client: None,
            credential_kind: CredentialKind::None,
            caller: None,
            upstream: None,
            upstream_time: None,
            bytes_sent: 0,
            end: End::Aborted,
        }))
    }

    /// A path in which someone put a credential is not written (`security.md` row 109).
    pub(super) fn request(&mut self, method: &Method, uri: &Uri, form: &CredentialForm) {
        self.0.method = method.clone();
        if self.is_logged() {
            let query = if uri.query().is_some() {
                "?[redacted]"
            } else {
                ""
            };
            let path = if form.gives_away(uri.path()) {
                "[redacted]"
            } else {
                uri.path()
            };
            self.0.path = Some(format!("{path}{query}"));
        }
    }

    fn is_logged(&self) -> bool {
        self.0.recorder.log.is_some()
    }

    pub(super) fn client(&mut self, client: IpAddr) {
        self.0.client = client;
    }

    pub(super) fn route(&mut self, route: &Arc<Route>) {
        self.0.route = Some(Arc::clone(route));
    }

    pub(super) fn credential(&mut self, kind: CredentialKind) {
        self.0.credential_kind = kind;
    }

    pub(super) fn caller(&mut self, caller: &Principal) {
        self.0.caller = Some(caller.clone());
    }

    /// Kept only where an access log is written.
    pub(super) fn upstream(&mut self, upstream: &Arc<str>, time: Duration) {
        if self.is_logged() {
            self.0.upstream = Some(Arc::clone(upstream));
            self.0.upstream_time = Some(time);
        }
    }

    pub(super) fn status(&mut self, status: StatusCode) {
        self.0.status = status;
    }

    pub(super) fn rejected(&mut self, reason: Reason) {
        self.0.reason = Some(reason);
        self.0.status = reason.answer().status;
    }

    /// What the authorization server says of a request.
    pub(super) fn oauth(&mut self, refusal: Option<Refusal>, client: Option<ClientId>) {
        self.0.refusal = refusal;
        self.0.oauth_client = client;
    }

    pub(super) fn request_id(&self) -> &HeaderValue {
        &self.0.request_id
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.0.bytes_sent += bytes as u64;
    }

    pub(super) fn complete(&mut self) {
        self.0.end = End::Complete;
    }

    pub(super) fn broke_off(&mut self) {
        self.0.end = End::BrokeOff;
    }
}

impl Drop for Fields {
    fn drop(&mut self) {
        let elapsed = self.started.elapsed();
        let metrics = match &self.route {
            Some(route) => &route.metrics,
            None => &self.recorder.unrouted,
        };
        metrics.count(&self.method, self.status);
        metrics.duration.observe(elapsed.as_secs_f64());
        self.recorder.metrics.inflight_requests.dec();
        if let Some(log) = &self.recorder.log {
            log.write(&self.line(elapsed));
        }
        if matches!(
            self.status,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
        ) && let Some(reason) = self.reason()
        {
            self.recorder.audit.record_denial(self.denial(reason));
        }
    }
}

impl Fields {
    /// Why it was not done, if it was not.
    fn reason(&self) -> Option<&'static str> {
        let reason = self.reason.map(Reason::label);
        reason.or(self.refusal.map(Refusal::label))
    }

    /// What the audit log is told of a request that was denied.
    fn denial(&self, reason: &'static str) -> AuditEvent {
        let (action, outcome) = (AuditAction::Request, AuditOutcome::Denied);
        let client = Actor::Client {
            address: self.client,
        };
        let mut event = AuditEvent::new(action, client, outcome).reason(reason);
        if let Ok(id) = RequestId::parse(self.request_id.to_str().unwrap_or_default()) {
            event = event.request(id);
        }
        if let Some(route) = &self.route {
            event = event.route(route.settings().name.as_str().into());
        }
        if let Some(caller) = &self.caller {
            event = event.credential(caller.credential_id().clone());
            if let Some(account) = caller.account() {
                event = event.account(account.clone());
            }
        }
        match &self.oauth_client {
            Some(client) => event.client(client.clone()),
            None => event,
        }
    }

    fn line(&self, elapsed: Duration) -> AccessLine<'_> {
        let caller = self.caller.as_ref();
        AccessLine {
            time: self.recorder.clock.now(),
            request_id: self.request_id.to_str().unwrap_or_default(),
            client: self.client,
            method: self.method.as_str(),
            path: self.path.as_deref(),
            route: self
                .route
                .as_ref()
                .map(|route| route.settings().name.as_str()),
            status: self.status.as_u16(),
            reason: self.reason(),
            credential_kind: self.credential_kind.label(),
            credential_id: caller.map(|caller| caller.credential_id().as_str()),
            account: caller
                .and_then(|caller| caller.account())
                .map(|account| account.as_str()),
            client_id: match &self.oauth_client {
                Some(client) => Some(client.as_str()),
                None => caller.and_then(Principal::client_id),
            },
            upstream: self.upstream.as_deref(),
            upstream_seconds: self.upstream_time.map(|time| time.as_secs_f64()),
            seconds: elapsed.as_secs_f64(),
            bytes_sent: self.bytes_sent,
            end: match self.end {
                End::Aborted => "aborted",
                End::BrokeOff => "broke_off",
                End::Complete => "complete",
            },
        }
    }
}
