//! A client that asks the same request again and again on one HTTP/1.1 connection.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, StreamOwned};

use crate::home::Home;

/// How long an answer may take before the test fails; valgrind makes the gateway slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What everyone's API client sends.
pub(crate) const HEAD: &str = "GET /v1/domains/example.com?include=records HTTP/1.1\r\nhost: api.osir.com\r\n\
     user-agent: osir-cli/2.4.1\r\naccept: application/json\r\naccept-encoding: gzip\r\n";

/// One TLS 1.3 HTTP/1.1 connection with a key.
pub(crate) struct KeepAlive {
    pub(crate) stream: StreamOwned<ClientConnection, TcpStream>,
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
