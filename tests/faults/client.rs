//! A client of one gateway: one TLS connection, made again when it has ended.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

/// The API's host.
pub(crate) const HOST: &str = "api.osir.com";
/// No answer takes so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whom to trust, for all clients of a fleet.
#[derive(Clone)]
pub(crate) struct Trust(Arc<ClientConfig>);

/// A client.
pub(crate) struct Client {
    address: SocketAddr,
    trust: Trust,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

/// What came of a request.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) sent: Instant,
    pub(crate) ended: Instant,
    /// `None` is: the connection failed, or nothing came in time.
    pub(crate) answer: Option<Answer>,
}

impl Trust {
    pub(crate) fn in_ca(ca: &Path) -> Trust {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca).expect("a CA file") {
            roots.add(certificate.expect("PEM")).expect("a CA");
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Trust(Arc::new(config))
    }
}

impl Exchange {
    /// The status, if there is one.
    pub(crate) fn status(&self) -> Option<u16> {
        self.answer.as_ref().map(|answer| answer.status)
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        let answer = self.answer.as_ref().expect("an answer");
        serde_json::from_slice(&answer.body).expect("JSON")
    }
}

impl Client {
    pub(crate) fn of(address: SocketAddr, trust: &Trust) -> Client {
        Client {
            address,
            trust: trust.clone(),
            connection: None,
        }
    }

    /// `GET /v1/domains` with a credential: the name and value of a header.
    pub(crate) async fn get(&mut self, (name, value): (&str, &str)) -> Exchange {
        let request = Request::get("/v1/domains").header(header::HOST, HOST);
        let request = request.header(name, value).body(Full::default());
        self.ask(request.expect("a good request")).await
    }

    pub(crate) async fn post(
        &mut self,
        path: &str,
        content_type: &str,
        credential: Option<(&str, &str)>,
        body: String,
    ) -> Exchange {
        let mut request = Request::post(path)
            .header(header::HOST, HOST)
            .header(header::CONTENT_TYPE, content_type);
        if let Some((name, value)) = credential {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(body)));
        self.ask(request.expect("a good request")).await
    }

    async fn ask(&mut self, request: Request<Full<Bytes>>) -> Exchange {
        let sent = Instant::now();
        let answer = timeout(PATIENCE, self.exchange(request)).await;
        let answer = answer.ok().flatten();
        if answer.is_none() {
            self.connection = None;
        }
        Exchange {
            sent,
            ended: Instant::now(),
            answer,
        }
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Option<Answer> {
        let mut connection = match self.connection.take() {
            Some(open) if !open.is_closed() => open,
            _ => self.connect().await?,
        };
        connection.ready().await.ok()?;
        let (head, body) = connection.send_request(request).await.ok()?.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        self.connection = Some(connection);
        let status = head.status.as_u16();
        Some(Answer { status, body })
    }

    async fn connect(&self) -> Option<SendRequest<Full<Bytes>>> {
        let tcp = TcpStream::connect(self.address).await.ok()?;
        tcp.set_nodelay(true).ok()?;
        let name = ServerName::try_from(HOST).expect("a name");
        let connector = TlsConnector::from(Arc::clone(&self.trust.0));
        let tls = connector.connect(name, tcp).await.ok()?;
        let (sender, connection) = http1::handshake(TokioIo::new(tls)).await.ok()?;
        // Ends with the sender.
        tokio::spawn(connection);
        Some(sender)
    }
}
