//! A client that sends the bytes it is told to, and reads answers strictly.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// How long any read may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// One connection.
pub struct Raw<S> {
    stream: S,
    buffer: Vec<u8>,
}

/// How to connect over TLS.
#[derive(Clone)]
pub struct Tls {
    pub address: SocketAddr,
    pub server_name: String,
    pub config: Arc<ClientConfig>,
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Tls {
    /// Trusts the CA in a PEM file; offers only HTTP/1.1.
    pub fn new(address: SocketAddr, ca: &std::path::Path, server_name: &str) -> Tls {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca).expect("a CA file") {
            roots.add(certificate.expect("PEM")).expect("a CA");
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Tls {
            address,
            server_name: server_name.into(),
            config: Arc::new(config),
        }
    }

    pub fn connect(&self) -> Raw<StreamOwned<ClientConnection, TcpStream>> {
        let tcp = TcpStream::connect(self.address).expect("the gateway listens");
        tcp.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        tcp.set_nodelay(true).expect("nodelay");
        let name = ServerName::try_from(self.server_name.clone()).expect("a name");
        let session = ClientConnection::new(Arc::clone(&self.config), name).expect("a session");
        Raw {
            stream: StreamOwned::new(session, tcp),
            buffer: Vec::new(),
        }
    }
}

impl Raw<TcpStream> {
    /// In clear text.
    pub fn plain(address: SocketAddr) -> Raw<TcpStream> {
        let stream = TcpStream::connect(address).expect("the gateway listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Raw {
            stream,
            buffer: Vec::new(),
        }
    }

    /// Sends no more.
    pub fn shutdown(&self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }
}

impl<S: Read + Write> Raw<S> {
    /// Reads until these bytes are there; an answer that is read later still has them.
    pub fn wait_for(&mut self, bytes: &[u8]) {
        while find(&self.buffer, bytes).is_none() {
            assert!(self.fill(), "the connection ended");
        }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The gateway may have answered and closed already; the answer tells.
        let _ = self
            .stream
            .write_all(bytes.as_ref())
            .and_then(|()| self.stream.flush());
    }

    /// The next answer; panics if there is none.
    pub fn answer(&mut self) -> Answer {
        self.try_answer(false).expect("an answer")
    }

    /// The answer to a HEAD request.
    pub fn head_answer(&mut self) -> Answer {
        self.try_answer(true).expect("an answer")
    }

    /// Whether the connection ends, without another answer.
    pub fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && !self.fill()
    }

    /// What comes until the end.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.buffer)
    }

    fn try_answer(&mut self, head_only: bool) -> Option<Answer> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            if !self.fill() {
                return None;
            }
        };
        let head = String::from_utf8(self.buffer.drain(..end).collect()).expect("an ASCII head");
        let mut lines = head.split("\r\n");
        let status_line = lines.next().expect("a status line");
        let status: u16 = status_line
            .get(9..12)
            .and_then(|s| s.parse().ok())
            .expect("a status");
        if status == 100 {
            return self.try_answer(head_only);
        }
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut answer = Answer {
            status,
            headers,
            body: String::new(),
        };
        if !head_only {
            let body = self.body(&answer);
            answer.body = String::from_utf8_lossy(&body).into_owned();
        }
        Some(answer)
    }

    fn body(&mut self, answer: &Answer) -> Vec<u8> {
        if answer.header("transfer-encoding").is_some() {
            return self.chunked();
        }
        match answer
            .header("content-length")
            .map(|length| length.parse::<usize>().expect("a length"))
        {
            Some(length) => {
                while self.buffer.len() < length {
                    if !self.fill() {
                        return std::mem::take(&mut self.buffer);
                    }
                }
                self.buffer.drain(..length).collect()
            }
            None if matches!(answer.status, 204 | 304) => Vec::new(),
            None => self.rest(),
        }
    }

    fn chunked(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let Some(at) = find(&self.buffer, b"\r\n") else {
                if !self.fill() {
                    body.extend_from_slice(b"[cut off]");
                    return body;
                }
                continue;
            };
            let line = String::from_utf8_lossy(&self.buffer[..at]).into_owned();
            let size = usize::from_str_radix(&line, 16).expect("a chunk size");
            if size == 0 {
                while find(&self.buffer, b"\r\n\r\n").is_none() && self.fill() {}
                let end = find(&self.buffer, b"\r\n\r\n").expect("the last chunk's end");
                let trailers = self.buffer.drain(..end + 4).collect::<Vec<u8>>();
                let trailers = String::from_utf8_lossy(&trailers[at + 2..])
                    .trim_end()
                    .to_owned();
                if !trailers.is_empty() {
                    body.extend_from_slice(format!("[trailers {trailers}]").as_bytes());
                }
                return body;
            }
            while self.buffer.len() < at + 2 + size + 2 {
                if !self.fill() {
                    body.extend_from_slice(b"[cut off]");
                    return body;
                }
            }
            body.extend_from_slice(&self.buffer[at + 2..at + 2 + size]);
            self.buffer.drain(..at + 2 + size + 2);
        }
    }

    /// Reads once; `false` at the end.
    fn fill(&mut self) -> bool {
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => false,
            Ok(count) => {
                self.buffer.extend_from_slice(&bytes[..count]);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("nothing came, and the connection stays open")
            }
            Err(_) => false,
        }
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name);
        let first = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} is there twice: {self:?}");
        first
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}
