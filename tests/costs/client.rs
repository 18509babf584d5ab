//! Clients that ask the same request again and again on one connection.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, StreamOwned};
use tokio::runtime::Runtime;

use crate::home::Home;

/// How long an answer may take before the test fails; valgrind makes the gateway slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// What everyone's API client sends.
pub(crate) const HEAD: &str = "GET /v1/domains/example.com?include=records HTTP/1.1\r\nhost: api.osir.com\r\n\
     user-agent: osir-cli/2.4.1\r\naccept: application/json\r\naccept-encoding: gzip\r\n";

/// One TLS 1.3 HTTP/1.1 connection with a key.
pub(crate) struct KeepAlive {
    stream: StreamOwned<ClientConnection, TcpStream>,
    request: String,
}

impl KeepAlive {
    pub(crate) fn connect(home: &Home, gateway: SocketAddr) -> KeepAlive {
        let tcp = TcpStream::connect(gateway).expect("the gateway listens");
        tcp.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        tcp.set_nodelay(true).expect("nodelay");
        let name = ServerName::try_from("api.osir.com").expect("a name");
        let config = Arc::new(trusting(&home.path("certs/ca.pem"), "http/1.1"));
        let session = ClientConnection::new(config, name).expect("a session");
        KeepAlive {
            stream: StreamOwned::new(session, tcp),
            request: format!("{HEAD}x-api-key: {}\r\n\r\n", home.key),
        }
    }

    /// Asks so many times, one after the other; every answer must be the upstream's.
    pub(crate) fn ask(&mut self, times: u32) {
        for _ in 0..times {
            self.stream
                .write_all(self.request.as_bytes())
                .expect("sent");
            self.answer();
        }
        let version = self.stream.conn.protocol_version();
        assert_eq!(version, Some(ProtocolVersion::TLSv1_3));
    }

    fn answer(&mut self) {
        let (mut buffer, mut filled) = ([0; 8 * 1024], 0);
        while !buffer[..filled].ends_with(b"xxx\"}") {
            let read = self.stream.read(&mut buffer[filled..]).expect("an answer");
            filled += read;
            let so_far = String::from_utf8_lossy(&buffer[..filled]);
            assert!(read > 0 && so_far.starts_with("HTTP/1.1 200 "), "{so_far}");
        }
    }
}

/// A configuration that trusts one CA and offers one protocol.
pub(crate) fn trusting(ca: &Path, alpn: &str) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(ca).expect("PEM");
    roots.add(ca).expect("a CA");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    config
}

/// One TLS 1.3 HTTP/2 connection with a key, ten requests at a time.
pub(crate) struct Multiplexed {
    runtime: Runtime,
    sender: h2::client::SendRequest<Bytes>,
    request: http::Request<()>,
}

/// Streams at a time.
pub(crate) const STREAMS: u32 = 10;

impl Multiplexed {
    pub(crate) fn connect(home: &Home, gateway: SocketAddr) -> Multiplexed {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let config = Arc::new(trusting(&home.path("certs/ca.pem"), "h2"));
        let sender = runtime.block_on(async {
            let tcp = tokio::net::TcpStream::connect(gateway).await;
            let tcp = tcp.expect("the gateway listens");
            tcp.set_nodelay(true).expect("nodelay");
            let name = ServerName::try_from("api.osir.com").expect("a name");
            let connector = tokio_rustls::TlsConnector::from(config);
            let tls = connector.connect(name, tcp).await.expect("a handshake");
            let (sender, connection) = h2::client::handshake(tls).await.expect("settings");
            tokio::spawn(connection);
            sender
        });
        let request =
            http::Request::get("https://api.osir.com/v1/domains/example.com?include=records")
                .header("user-agent", "osir-cli/2.4.1")
                .header("accept", "application/json")
                .header("accept-encoding", "gzip")
                .header("x-api-key", &home.key)
                .body(())
                .expect("a request");
        Multiplexed {
            runtime,
            sender,
            request,
        }
    }

    /// Asks so many times, ten at once; every answer must be the upstream's.
    pub(crate) fn ask(&mut self, times: u32) {
        assert_eq!(times % STREAMS, 0, "whole rounds");
        for _ in 0..times / STREAMS {
            let round = async {
                let mut answers = Vec::new();
                for _ in 0..STREAMS {
                    let mut sender = self.sender.clone().ready().await.expect("room");
                    let (answer, _) = sender
                        .send_request(self.request.clone(), true)
                        .expect("sent");
                    answers.push(answer);
                }
                for answer in answers {
                    let answer = answer.await.expect("an answer");
                    assert_eq!(answer.status(), 200);
                    let (mut body, mut length) = (answer.into_body(), 0);
                    while let Some(piece) = body.data().await {
                        let piece = piece.expect("a piece");
                        length += piece.len();
                        body.flow_control()
                            .release_capacity(piece.len())
                            .expect("held");
                    }
                    assert_eq!(length, 600);
                }
            };
            let in_time = async {
                tokio::time::timeout(PATIENCE, round)
                    .await
                    .expect("in time")
            };
            self.runtime.block_on(in_time);
        }
    }
}
