//! Bodies of the admin API: read with a size and a time, written as JSON.
//!
//! Not here: what they hold ([`super::wire`] and each family's file). Invariants: no read is longer or
//! takes longer than is said here; what was read is zeroed, since it may be a secret.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::listener::json;
use super::problem::AdminProblem;
use super::wire::BodyProblem;

/// A JSON body, in bytes.
const BODY: usize = 64 * 1024;
/// For a JSON body to be there, and between two pieces of a longer one.
const DEADLINE: Duration = Duration::from_secs(10);

/// Reads a whole JSON body.
pub(super) async fn read<T: DeserializeOwned>(
    request: Request<Incoming>,
) -> Result<T, AdminProblem> {
    let body = collect(request.into_body());
    let bytes = tokio::time::timeout(DEADLINE, body)
        .await
        .map_err(|_| AdminProblem::BodyDeadline)??;
    serde_json::from_slice(&bytes).map_err(|error| BodyProblem::Json(error).into())
}

async fn collect(mut body: Incoming) -> Result<Zeroizing<Vec<u8>>, AdminProblem> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(BODY));
    while let Some(data) = piece(&mut body).await? {
        if bytes.len() + data.len() > BODY {
            return Err(AdminProblem::BodySize(BODY));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// The next piece of a body; `None` is its end. Trailers are skipped.
pub(super) async fn piece(body: &mut Incoming) -> Result<Option<Bytes>, AdminProblem> {
    loop {
        let frame = tokio::time::timeout(DEADLINE, body.frame())
            .await
            .map_err(|_| AdminProblem::BodyDeadline)?;
        match frame {
            None => return Ok(None),
            Some(Err(_)) => return Err(AdminProblem::BodyBroken),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// 200 with this.
pub(super) fn ok(body: &impl Serialize) -> Response<Full<Bytes>> {
    json(StatusCode::OK, render(body))
}

/// 201 with this.
pub(super) fn created(body: &impl Serialize) -> Response<Full<Bytes>> {
    json(StatusCode::CREATED, render(body))
}

fn render(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("the API's own types have only text keys and no failing parts")
}
