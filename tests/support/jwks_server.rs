//! An HTTPS server on loopback that answers key set requests by script, and a listener that
//! nobody may connect to.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// What the server does with the next connections.
#[derive(Clone)]
pub(crate) enum Reply {
    /// 200 with this body.
    Body(String),
    /// A body without a length that ends with the connection.
    Unframed(String),
    /// These bytes, then close.
    Raw(String),
    /// TLS and the request, and then nothing.
    Silence,
    /// TCP is closed at once.
    Close,
}

pub(crate) struct JwksServer {
    address: SocketAddr,
    ca: NamedTempFile,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    reply: Mutex<Reply>,
    connections: AtomicUsize,
}

impl JwksServer {
    pub(crate) async fn start(reply: Reply) -> JwksServer {
        let (acceptor, ca) = identity();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port");
        let state = Arc::new(State {
            reply: Mutex::new(reply),
            connections: AtomicUsize::new(0),
        });
        JwksServer {
            address: listener.local_addr().expect("bound"),
            ca,
            task: tokio::spawn(serve(listener, acceptor, Arc::clone(&state))),
            state,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}/jwks.json?a=b", self.address.port())
    }

    /// The same server under a name that its certificate does not have.
    pub(crate) fn url_by_address(&self) -> String {
        format!("https://{}/jwks.json", self.address)
    }

    pub(crate) fn ca(&self) -> &std::path::Path {
        self.ca.path()
    }

    pub(crate) fn now_replies(&self, reply: Reply) {
        *self.state.reply.lock().expect("whole") = reply;
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }
}

impl Drop for JwksServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A private CA and a certificate for `localhost`.
fn identity() -> (TlsAcceptor, NamedTempFile) {
    let mut authority = CertificateParams::new(Vec::new()).expect("valid");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key"));
    let authority = authority.expect("signed");
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(vec!["localhost".into()])
        .and_then(|params| params.signed_by(&key, &authority))
        .expect("signed");
    let ca = NamedTempFile::new().expect("a file");
    std::fs::write(&ca, authority.pem()).expect("written");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("supported")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .expect("they fit");
    (TlsAcceptor::from(Arc::new(config)), ca)
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<State>) {
    while let Ok((tcp, _)) = listener.accept().await {
        state.connections.fetch_add(1, Ordering::SeqCst);
        let reply = state.reply.lock().expect("whole").clone();
        tokio::spawn(answer(tcp, acceptor.clone(), reply));
    }
}

async fn answer(tcp: TcpStream, acceptor: TlsAcceptor, reply: Reply) {
    if matches!(reply, Reply::Close) {
        return;
    }
    // A client that does not trust us goes away here.
    let Ok(mut tls) = acceptor.accept(tcp).await else {
        return;
    };
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match tls.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let text = match reply {
        Reply::Body(body) => format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ),
        Reply::Unframed(body) => format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{body}"),
        Reply::Raw(text) => text,
        Reply::Silence => return std::future::pending().await,
        Reply::Close => return,
    };
    // The client may have seen enough and gone.
    let _ = tls.write_all(text.as_bytes()).await;
    let _ = tls.shutdown().await;
}

/// A listener that must stay alone.
pub(crate) struct Trap(std::net::TcpListener);

impl Trap {
    pub(crate) fn set() -> Trap {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        listener.set_nonblocking(true).expect("set");
        Trap(listener)
    }

    pub(crate) fn authority(&self) -> String {
        self.0.local_addr().expect("bound").to_string()
    }

    pub(crate) fn assert_untouched(&self) {
        let accepted = self.0.accept().map(|(_, peer)| peer);
        let kind = accepted.expect_err("nobody may connect").kind();
        assert_eq!(kind, std::io::ErrorKind::WouldBlock);
    }
}
