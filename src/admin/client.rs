//! The command line's side of the admin API: one connection a call.
//!
//! Invariants: a token goes only to a loopback address or a unix socket; a gateway that is not
//! there ([`ClientError::NotRunning`]) is told apart from one that refuses.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt as _, Channel, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::AdminAddress;
use super::proof::Waiting;
use super::wire::{
    CreatedKey, ExplainBody, KeyDetails, KeyList, NewKeyBody, RevokedKey, RotateKeyBody,
    RotatedKeyView,
};
use crate::auth::ImportReport;
use crate::id::{AccountId, KeyId};
use crate::policy::ExplainRequest;
use crate::secret::Secret;

/// Speaks to the admin API of a running gateway.
#[derive(Clone, Debug)]
pub struct AdminClient {
    address: AdminAddress,
    /// The whole value of `Authorization`, marked sensitive.
    token: Option<HeaderValue>,
    waiting: Option<Waiting>,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The answer is not one of the admin API.
    #[error("{0}: the answer is not one of a Portcullis admin API")]
    Answer(AdminAddress),
    /// No answer in time.
    #[error("{0}: no answer in time")]
    Deadline(AdminAddress),
    /// The connection failed.
    #[error("{address}: the connection failed")]
    Io {
        /// Which gateway.
        address: AdminAddress,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Clear-text TCP beyond this machine would show the token to everyone on the way.
    #[error("{0}: the admin token is sent only to a loopback address")]
    NotLoopback(AdminAddress),
    /// Nobody listens there.
    #[error("{address}: no gateway is running there")]
    NotRunning {
        /// Where.
        address: AdminAddress,
        /// How that showed.
        source: io::Error,
    },
    /// The gateway said no.
    #[error("{message}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// Its own words.
        message: String,
    },
    /// A token that no header can carry.
    #[error("the admin token holds a character that is not visible ASCII")]
    Token,
}

/// To connect.
const CONNECT: Duration = Duration::from_secs(5);
/// From connecting to a whole answer.
const CALL: Duration = Duration::from_secs(30);
/// The same for an import.
const IMPORT: Duration = Duration::from_secs(10 * 60);
/// The largest answer that is read.
const ANSWER: usize = 16 * 1024 * 1024;
/// Of a file, sent at once.
const CHUNK: usize = 64 * 1024;

/// A request body that a connection of its own can send.
pub(super) trait Upload:
    Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static
{
}
impl Upload for Full<Bytes> {}
impl Upload for Channel<Bytes, io::Error> {}

impl AdminClient {
    /// For the gateway at `address`; `token` is needed on TCP.
    pub fn new(address: AdminAddress, token: Option<&Secret>) -> Result<AdminClient, ClientError> {
        match &address {
            AdminAddress::Tcp(socket) if !socket.ip().is_loopback() => {
                Err(ClientError::NotLoopback(address))
            }
            AdminAddress::Tcp(_) | AdminAddress::Unix(_) => {
                let token = token.map(bearer).transpose()?;
                let waiting = None;
                Ok(AdminClient {
                    address,
                    token,
                    waiting,
                })
            }
        }
    }

    pub(super) fn address(&self) -> &AdminAddress {
        &self.address
    }

    /// Whether a gateway is there: [`ClientError::NotRunning`] if not.
    pub async fn probe(&self) -> Result<(), ClientError> {
        self.connect::<Full<Bytes>>().await.map(drop)
    }

    /// `GET /v1/keys`.
    pub async fn keys(
        &self,
        after: Option<&KeyId>,
        limit: usize,
        account: Option<&AccountId>,
    ) -> Result<KeyList, ClientError> {
        let mut path = format!("/v1/keys?limit={limit}");
        for (name, id) in [
            ("after", after.map(KeyId::as_str)),
            ("account", account.map(AccountId::as_str)),
        ] {
            if let Some(id) = id {
                path.push_str(&format!("&{name}={}", encode(id)));
            }
        }
        self.call(Method::GET, &path, None).await
    }

    /// `POST /v1/keys`.
    pub async fn create_key(&self, key: &NewKeyBody) -> Result<CreatedKey, ClientError> {
        let body = serde_json::to_vec(key).expect("this type has no failing parts");
        self.call(Method::POST, "/v1/keys", Some(body)).await
    }

    /// `GET /v1/keys/{id}`.
    pub async fn key(&self, id: &KeyId) -> Result<KeyDetails, ClientError> {
        let path = format!("/v1/keys/{}", encode(id.as_str()));
        self.call(Method::GET, &path, None).await
    }

    /// `POST /v1/keys/{id}/revoke`.
    pub async fn revoke_key(&self, id: &KeyId) -> Result<RevokedKey, ClientError> {
        let path = format!("/v1/keys/{}/revoke", encode(id.as_str()));
        self.call(Method::POST, &path, Some(Vec::new())).await
    }

    /// `POST /v1/keys/{id}/rotate`.
    pub async fn rotate_key(
        &self,
        id: &KeyId,
        body: &RotateKeyBody,
    ) -> Result<RotatedKeyView, ClientError> {
        let path = format!("/v1/keys/{}/rotate", encode(id.as_str()));
        let body = serde_json::to_vec(body).expect("this type has no failing parts");
        self.call(Method::POST, &path, Some(body)).await
    }

    /// `POST /v1/keys/import`, streaming `lines`.
    pub async fn import_keys(
        &self,
        lines: impl AsyncRead + Send + Unpin + 'static,
    ) -> Result<ImportReport, ClientError> {
        let (sender, body) = Channel::new(2);
        let request = self.request(Method::POST, "/v1/keys/import", body);
        let pump = pump(lines, sender);
        let (answer, ()) = tokio::join!(self.exchange(request, IMPORT), pump);
        answer
    }

    /// `POST /v1/explain`.
    pub async fn explain(&self, request: &ExplainRequest) -> Result<Value, ClientError> {
        let body = serde_json::to_vec(&ExplainBody::from(request));
        let body = body.expect("this type has no failing parts");
        self.call(Method::POST, "/v1/explain", Some(body)).await
    }

    /// `GET /v1/routes`.
    pub async fn routes(&self) -> Result<Value, ClientError> {
        self.call(Method::GET, "/v1/routes", None).await
    }

    /// `POST /v1/reload`.
    pub async fn reload(&self) -> Result<Value, ClientError> {
        self.call(Method::POST, "/v1/reload", Some(Vec::new()))
            .await
    }

    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<T, ClientError> {
        let body = Full::new(Bytes::from(body.unwrap_or_default()));
        let Some(waiting) = &self.waiting else {
            return self.exchange(self.request(method, path, body), CALL).await;
        };
        let request = self.request(method, &waiting.path(path), body);
        self.exchange(request, CALL + waiting.longer()).await
    }

    pub(super) fn waiting(&self, waiting: Waiting) -> AdminClient {
        AdminClient {
            waiting: Some(waiting),
            ..self.clone()
        }
    }

    pub(super) fn request<B>(&self, method: Method, path: &str, body: B) -> Request<B> {
        let host = match &self.address {
            AdminAddress::Tcp(address) => address.to_string(),
            AdminAddress::Unix(_) => "localhost".into(),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, host)
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, token);
        }
        request
            .body(body)
            .expect("the path is encoded and the token is a header value already")
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        request: Request<impl Upload>,
        deadline: Duration,
    ) -> Result<T, ClientError> {
        let exchange = async {
            let mut sender = self.connect().await?;
            let answer = sender.send_request(request).await;
            let (head, body) = answer.map_err(|error| self.io(error))?.into_parts();
            let body = Limited::new(body, ANSWER).collect().await;
            let body = body.map_err(|source| ClientError::Io {
                address: self.address.clone(),
                source,
            })?;
            self.read(head.status, &body.to_bytes())
        };
        tokio::time::timeout(deadline, exchange)
            .await
            .unwrap_or_else(|_| Err(ClientError::Deadline(self.address.clone())))
    }

    pub(super) fn read<T: DeserializeOwned>(
        &self,
        status: StatusCode,
        body: &[u8],
    ) -> Result<T, ClientError> {
        let strange = |_| ClientError::Answer(self.address.clone());
        if status.is_success() {
            if self
                .waiting
                .as_ref()
                .is_some_and(|waiting| !waiting.keep(body))
            {
                return Err(ClientError::Answer(self.address.clone()));
            }
            return serde_json::from_slice(body).map_err(strange);
        }
        let answer: Value = serde_json::from_slice(body).map_err(strange)?;
        match answer["message"].as_str() {
            Some(message) => Err(ClientError::Refused {
                status,
                message: message.into(),
            }),
            None => Err(ClientError::Answer(self.address.clone())),
        }
    }

    pub(super) async fn connect<B: Upload>(&self) -> Result<SendRequest<B>, ClientError> {
        let connecting = async {
            match &self.address {
                AdminAddress::Tcp(address) => {
                    let stream = TcpStream::connect(address).await;
                    self.shake(stream.map_err(|error| self.absent(error))?)
                        .await
                }
                AdminAddress::Unix(path) => {
                    let stream = UnixStream::connect(path).await;
                    self.shake(stream.map_err(|error| self.absent(error))?)
                        .await
                }
            }
        };
        tokio::time::timeout(CONNECT, connecting)
            .await
            .unwrap_or_else(|_| Err(ClientError::Deadline(self.address.clone())))
    }

    async fn shake<B: Upload>(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Result<SendRequest<B>, ClientError> {
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(|error| self.io(error))?;
        // Ends with the sender, at the end of this one call.
        tokio::spawn(connection);
        Ok(sender)
    }

    fn absent(&self, source: io::Error) -> ClientError {
        let address = self.address.clone();
        match source.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                ClientError::NotRunning { address, source }
            }
            _ => ClientError::Io {
                address,
                source: source.into(),
            },
        }
    }

    pub(super) fn io(&self, source: hyper::Error) -> ClientError {
        ClientError::Io {
            address: self.address.clone(),
            source: source.into(),
        }
    }
}

fn bearer(token: &Secret) -> Result<HeaderValue, ClientError> {
    let value = zeroize::Zeroizing::new(format!("Bearer {}", token.expose()));
    let mut value = HeaderValue::from_str(&value).map_err(|_| ClientError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Sends a file; stops when it ends or nobody takes it any more.
async fn pump(
    mut lines: impl AsyncRead + Send + Unpin,
    mut body: http_body_util::channel::Sender<Bytes, io::Error>,
) {
    let mut chunk = zeroize::Zeroizing::new(vec![0; CHUNK]);
    loop {
        match lines.read(&mut chunk).await {
            Ok(0) => return,
            Ok(size) => {
                let data = Bytes::copy_from_slice(&chunk[..size]);
                if body.send_data(data).await.is_err() {
                    return;
                }
            }
            // A short body would pass for a short file.
            Err(error) => return body.abort(error),
        }
    }
}

/// RFC 3986 §2.3: everything but unreserved characters.
pub(super) fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
