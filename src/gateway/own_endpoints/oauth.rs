//! The authorization server's endpoints: the whole request in, the whole answer out.
//!
//! Not here: what they do ([`crate::oauth`]), which judges its callers itself.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;

use super::super::live::{Live, Worker};
use super::super::record::Record;
use super::super::{Intake, Reason, Rejection};
use super::read;
use crate::oauth::{AuthorizationServer, Own, OwnRequest};

/// One of them, with the server that has it.
#[derive(Debug)]
pub(in crate::gateway) struct OAuth {
    server: Arc<AuthorizationServer>,
    own: Own,
}

/// Larger than any form of theirs, in bytes.
const BODY: usize = 64 * 1024;

impl OAuth {
    /// The endpoint on a host and a canonical path, if there is one.
    pub(super) fn of(live: &Live, host: &str, path: &str) -> Option<OAuth> {
        let server = live.oauth()?;
        let own = server.endpoint(host, path)?;
        let server = Arc::clone(server);
        Some(OAuth { server, own })
    }

    /// Its name, where a route has its own.
    pub(super) fn name(&self) -> &'static str {
        self.own.endpoint.label()
    }

    pub(super) async fn answer(
        self,
        worker: &Worker,
        intake: Intake,
        record: &mut Record,
    ) -> Result<Response<Bytes>, Rejection> {
        record.own(self.own.endpoint);
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
        };
        let answer = self.server.answer(request).await;
        answer.ok_or_else(|| Reason::Internal.into())
    }
}
