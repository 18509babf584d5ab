//! The gateway's own endpoints: the whole request in, the whole answer out.
//!
//! Not here: what they do ([`crate::oauth`]). Invariant: no request for one of them reaches an
//! upstream, and none is read beyond a bound.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::timeout;

use super::record::Record;
use super::{Intake, Live, Reason, Rejection};
use crate::edge::Malformed;
use crate::oauth::{AuthorizationServer, Own, OwnRequest};

/// Larger than any form of theirs.
const LARGEST_BODY: usize = 64 * 1024;
/// For a whole body.
const BODY_DEADLINE: Duration = Duration::from_secs(30);

/// Which own endpoint a request is for, if it is for one.
pub(super) fn endpoint(live: &Live, intake: &Intake) -> Option<(Arc<AuthorizationServer>, Own)> {
    let server = live.oauth()?;
    let own = server.endpoint(intake.host(), intake.path())?;
    Some((Arc::clone(server), own))
}

/// Has it answered.
pub(super) async fn answer(
    (server, own): (Arc<AuthorizationServer>, Own),
    intake: Intake,
    record: &mut Record,
) -> Result<Response<Bytes>, Rejection> {
    record.own(own.endpoint);
    let query = intake.query().map(str::to_owned);
    let Intake {
        body,
        headers,
        method,
        client,
        peer,
        ..
    } = intake;
    let collected = timeout(BODY_DEADLINE, Limited::new(body, LARGEST_BODY).collect()).await;
    let body = match collected {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return Err(Reason::PayloadTooLarge.into());
        }
        Ok(Err(_)) => {
            let fault = peer.body_fault().map(Reason::Malformed);
            return Err(fault.unwrap_or(Reason::RequestBody).into());
        }
        Err(_) => return Err(Reason::Malformed(Malformed::BodyTimeout).into()),
    };
    let request = OwnRequest {
        own,
        method,
        query,
        headers,
        body,
        client,
    };
    let answer = server.answer(request).await;
    answer.ok_or_else(|| Reason::Internal.into())
}
