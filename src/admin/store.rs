//! `/v1/store/export`: the whole store as one file, from the gateway that has it; both ends of it.
//!
//! Not here: what is in the file ([`crate::auth::ArchiveDesk`]). Invariants: the answer is a stream
//! in bounded memory, which waits for whoever reads it; an export that fails before its first byte
//! is an answer like any other, one that fails later breaks the connection, so that a short file
//! does not pass for a whole one.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::channel::Sender;
use http_body_util::{BodyExt as _, Channel, Either, Full, Limited};
use hyper::body::Incoming;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::client::{AdminClient, ClientError};
use super::problem::AdminProblem;
use crate::auth::{ArchiveDesk, ExportError};
use crate::observe::Actor;

/// An answer that is there, or one that comes.
pub(super) type AnswerBody = Either<Full<Bytes>, Channel<Bytes, io::Error>>;

/// What there is.
pub(super) enum Resource {
    Export,
}

/// Pieces on their way.
const QUEUE: usize = 2;
/// For the answer to begin, and between two pieces of it.
const PIECE: Duration = Duration::from_secs(60);
/// A refusal, in bytes.
const REFUSAL: usize = 64 * 1024;

impl Resource {
    pub(super) fn parse(path: &str) -> Option<Resource> {
        (path == "/v1/store/export").then_some(Resource::Export)
    }

    pub(super) async fn carry_out(
        self,
        desk: &ArchiveDesk,
        actor: Actor,
        request: &Request<Incoming>,
    ) -> Result<Response<AnswerBody>, AdminProblem> {
        match (self, request.method()) {
            (Resource::Export, &Method::GET) => export(desk, actor).await,
            (Resource::Export, _) => Err(AdminProblem::Method("GET")),
        }
    }
}

async fn export(desk: &ArchiveDesk, actor: Actor) -> Result<Response<AnswerBody>, AdminProblem> {
    let export = desk.export(actor).ok_or(AdminProblem::ExportUnderWay)?;
    let (pieces, mut taken) = mpsc::channel(QUEUE);
    // A task of its own: it leaves its audit line also when nobody reads any more.
    let work = tokio::spawn(export.run(pieces));
    let Some(first) = taken.recv().await else {
        let ended = work.await.map_err(|_| ExportError::Gone);
        let failed = ended.and_then(|ended| ended.map(drop));
        return Err(failed.err().unwrap_or(ExportError::Gone).into());
    };
    let (sender, body) = Channel::new(QUEUE);
    tokio::spawn(pump(first, taken, work, sender));
    let mut response = Response::new(Either::Right(body));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

/// Hands the pieces on; stops when nobody takes them, which ends the export as well.
async fn pump(
    first: Bytes,
    mut taken: mpsc::Receiver<Bytes>,
    work: JoinHandle<Result<u64, ExportError>>,
    mut sender: Sender<Bytes, io::Error>,
) {
    let mut piece = Some(first);
    while let Some(data) = piece {
        if sender.send_data(data).await.is_err() {
            return;
        }
        piece = taken.recv().await;
    }
    if !matches!(work.await, Ok(Ok(_))) {
        sender.abort(io::Error::other("the export broke off"));
    }
}

impl AdminClient {
    /// `GET /v1/store/export`, piece by piece.
    pub async fn export_store(&self, to: mpsc::Sender<Bytes>) -> Result<(), ClientError> {
        let late = |_| ClientError::Deadline(self.address().clone());
        let request = self.request(Method::GET, "/v1/store/export", Full::new(Bytes::new()));
        let mut sender = self.connect().await?;
        let answer = tokio::time::timeout(PIECE, sender.send_request(request)).await;
        let answer = answer.map_err(late)?.map_err(|error| self.io(error))?;
        let (head, mut body) = answer.into_parts();
        if !head.status.is_success() {
            let refusal = Limited::new(body, REFUSAL).collect().await;
            let refusal = refusal
                .map(|refusal| refusal.to_bytes())
                .unwrap_or_default();
            return self.read::<Value>(head.status, &refusal).map(drop);
        }
        loop {
            let frame = tokio::time::timeout(PIECE, body.frame()).await;
            let Some(frame) = frame.map_err(late)? else {
                return Ok(());
            };
            let frame = frame.map_err(|error| self.io(error))?;
            if let Ok(data) = frame.into_data()
                && to.send(data).await.is_err()
            {
                // Whoever took them says why.
                return Ok(());
            }
        }
    }
}
