//! What becomes of a request in clear text: 426, and a note of the credential that it gave away.
//!
//! Invariants: nothing here can forward (there is no [`super::Intake`] without TLS); the answer is
//! the same whether or not a credential was sent, and does not wait for the store.

use std::sync::Arc;

use http::{Request, Response};

use super::live::Worker;
use super::record::Record;
use super::respond::{self, Connection};
use super::{Gateway, PlaintextCredentials, Reason, ResponseBody};
use crate::auth::{Credential, Exposed};
use crate::edge::Upload;
use crate::observe::{Actor, Causes};

/// Keys of one request that are looked up: honest clients send one (`security.md` row 97).
const MOST_KEYS: usize = 2;
/// Look-ups for clear-text requests under way at once, over all workers.
pub const MOST_LOOKUPS: usize = 32;

/// Refuses one request. What it exposed is counted at once, and named and revoked in the
/// background.
pub(super) async fn refuse(
    gateway: &Gateway,
    worker: &Worker,
    request: Option<Request<Upload>>,
    mut record: Record,
) -> Response<ResponseBody> {
    let label = match &request {
        None => "none",
        Some(request) => {
            let form = worker.live().authenticator().form();
            record.request(request.method(), request.uri(), form);
            let exposed = Exposed::in_headers(request.headers(), form);
            report(gateway, worker, &exposed);
            exposed.label()
        }
    };
    gateway
        .parts()
        .metrics
        .plaintext_refused
        .with_label_values(&[label])
        .inc();
    respond::rejected(&Reason::HttpsRequired.into(), Connection::Close, record)
}

/// Names what was exposed in the log, by id, and revokes it if the config says so.
fn report(gateway: &Gateway, worker: &Worker, exposed: &Exposed<'_>) {
    let keys = exposed
        .credentials()
        .filter_map(|credential| match credential {
            Credential::ApiKey(text) => Some(crate::secret::Secret::new(text)),
            _ => None,
        });
    for key in keys.take(MOST_KEYS) {
        let Ok(permit) = Arc::clone(&gateway.parts().plaintext_lookups).try_acquire_owned() else {
            return; // a flood: what matters is that the store is not part of it
        };
        let authenticator = Arc::clone(worker.live().authenticator());
        let desk = Arc::clone(&gateway.parts().desk);
        let policy = worker.live().settings().plaintext_credentials;
        gateway.parts().control.spawn(async move {
            let _permit = permit;
            match authenticator
                .identify(Credential::ApiKey(key.expose()))
                .await
            {
                Ok(Some(id)) => {
                    tracing::warn!(credential_id = %id, "an API key was sent in clear text");
                    if policy == PlaintextCredentials::Revoke
                        && let Err(error) = desk.revoke(&id, Actor::Gateway).await
                    {
                        tracing::error!(credential_id = %id, error = %Causes(&error), "it could not be revoked");
                    }
                }
                Ok(None) => tracing::debug!("an unknown API key was sent in clear text"),
                Err(unavailable) => {
                    let reason = unavailable.label();
                    tracing::warn!(
                        reason,
                        "an API key sent in clear text could not be looked up"
                    );
                }
            }
        });
    }
}
