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
use crate::oauth::{AuthorizationServer, Endpoint, Found, OAuthSettings, Own, OwnRequest, Places};
use crate::observe::Metrics;

/// The server, with what stands for each of its endpoints where a route is asked for.
#[derive(Debug)]
pub(in crate::gateway) struct OAuthEndpoints {
    server: Arc<AuthorizationServer>,
    routes: [(Endpoint, Arc<Route>); Endpoint::ALL.len()],
}

/// One of them, or nothing where only they may be.
#[derive(Debug)]
pub(super) struct OAuth {
    server: Arc<AuthorizationServer>,
    at: Option<(Own, Arc<Route>)>,
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

    /// The endpoint on a host and a canonical path, if these are the server's.
    pub(super) fn find(&self, host: &str, path: &str) -> Option<OAuth> {
        self.with(self.server.find(host, path)?)
    }

    /// The same on the first host that has one.
    pub(super) fn find_on_any_host(&self, path: &str) -> Option<OAuth> {
        self.with(self.places().find_on_any_host(path)?)
    }

    /// Where they are.
    pub(in crate::gateway) fn places(&self) -> &Places {
        self.server.places()
    }

    fn with(&self, found: Found) -> Option<OAuth> {
        let at = match found {
            Found::Endpoint(own) => {
                let mut routes = self.routes.iter();
                let (_, route) = routes.find(|(endpoint, _)| *endpoint == own.endpoint)?;
                Some((own, Arc::clone(route)))
            }
            Found::Nothing => None,
        };
        Some(OAuth {
            server: Arc::clone(&self.server),
            at,
        })
    }
}

impl OAuth {
    pub(super) fn route(&self) -> Option<&Arc<Route>> {
        self.at.as_ref().map(|(_, route)| route)
    }

    pub(super) fn answered_by(&self) -> String {
        let own = self.at.as_ref().map(|(own, _)| own);
        let place = own.and_then(|own| self.server.places().of(own));
        let host = place.map_or("", |place| place.host.as_str());
        format!("the gateway's authorization server answers, on {host} only")
    }

    pub(super) fn takes(&self, method: &Method) -> Result<(), Rejection> {
        let endpoint = self.at.as_ref().map(|(own, _)| own.endpoint);
        let endpoint = endpoint.filter(|endpoint| self.server.has(*endpoint));
        let endpoint = endpoint.ok_or(Reason::NotFound)?;
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
        let (own, route) = self.at.ok_or(Reason::NotFound)?;
        record.route(&route);
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
            own,
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
