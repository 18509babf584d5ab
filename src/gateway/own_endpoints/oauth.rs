//! The authorization server's endpoints: the whole request in, the whole answer out.
//!
//! Not here: what they do ([`crate::oauth`]), which judges its callers itself.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderValue, Method, Response};

use super::super::live::Worker;
use super::super::record::Record;
use super::super::{Access, Challenging, Intake, Reason, Rejection, Route};
use super::read;
use crate::oauth::{AuthorizationServer, Endpoint, OAuthSettings, Own, OwnRequest, Places};
use crate::observe::Metrics;

/// The server, with what stands for each of its endpoints where a route is asked for.
#[derive(Debug)]
pub(in crate::gateway) struct OAuthEndpoints {
    server: Arc<AuthorizationServer>,
    routes: [(Endpoint, Arc<Route>); Endpoint::ALL.len()],
}

/// One of them.
#[derive(Debug)]
pub(super) struct OAuth {
    server: Arc<AuthorizationServer>,
    route: Arc<Route>,
    own: Own,
}

/// Larger than any form of theirs, in bytes.
const BODY: usize = 64 * 1024;

impl OAuthEndpoints {
    pub(in crate::gateway) fn new(
        server: AuthorizationServer,
        challenging: &Challenging<'_>,
        metrics: &Metrics,
    ) -> OAuthEndpoints {
        let route = |endpoint: Endpoint| {
            let access = Access::Public {
                reason: format!("{}: the endpoint judges that itself", endpoint.callers()),
            };
            let route = Route::own(endpoint.label(), access, challenging, metrics);
            (endpoint, Arc::new(route))
        };
        OAuthEndpoints {
            server: Arc::new(server),
            routes: Endpoint::ALL.map(route),
        }
    }

    pub(in crate::gateway) fn settings(&self) -> &OAuthSettings {
        self.server.settings()
    }

    /// The endpoint on a host and a canonical path, if there is one.
    pub(super) fn find(&self, host: &str, path: &str) -> Option<OAuth> {
        self.with(self.server.endpoint(host, path)?)
    }

    /// The same on the first host that has one.
    pub(super) fn find_on_any_host(&self, path: &str) -> Option<OAuth> {
        self.with(self.places().find_on_any_host(path)?)
    }

    /// Where they are.
    pub(in crate::gateway) fn places(&self) -> &Places {
        self.server.places()
    }

    fn with(&self, own: Own) -> Option<OAuth> {
        let mut routes = self.routes.iter();
        let (_, route) = routes.find(|(endpoint, _)| *endpoint == own.endpoint)?;
        Some(OAuth {
            server: Arc::clone(&self.server),
            route: Arc::clone(route),
            own,
        })
    }
}

impl OAuth {
    pub(super) fn route(&self) -> &Arc<Route> {
        &self.route
    }

    pub(super) fn answered_by(&self) -> String {
        let place = self.server.places().of(&self.own);
        let host = place.map_or("", |place| place.host.as_str());
        format!("the gateway's authorization server answers, on {host} only")
    }

    pub(super) fn takes(&self, method: &Method) -> Result<(), Rejection> {
        let endpoint = self.own.endpoint;
        if !self.server.has(endpoint) {
            return Err(Reason::NotFound.into());
        }
        match endpoint.takes(method) {
            true => Ok(()),
            false => Err(Rejection::method(HeaderValue::from_static(
                endpoint.methods(),
            ))),
        }
    }

    pub(super) async fn answer(
        self,
        worker: &Worker,
        intake: Intake,
        record: &mut Record,
    ) -> Result<Response<Bytes>, Rejection> {
        record.route(&self.route);
        let query = intake.query().map(str::to_owned);
        let Intake {
            body,
            headers,
            method,
            client,
            peer,
            ..
        } = intake;
        let request = OwnRequest {
            own: self.own,
            method,
            query,
            headers,
            body: read(body, BODY, &peer, worker).await?,
            client,
            oauth_client: OnceLock::new(),
        };
        let answer = self.server.answer(request).await;
        let answer = answer.ok_or(Reason::Internal)?;
        record.oauth(answer.refusal, answer.oauth_client);
        Ok(answer.response)
    }
}
