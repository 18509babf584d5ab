//! A TLS server that does as the test says and remembers what it was asked.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio_rustls::TlsAcceptor;

use portcullis::dev::certificates;

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) credential: String,
    pub(crate) body: Bytes,
}

/// What the server does with request number n, from 0.
pub(crate) type Act = fn(usize) -> Manner;

/// How one request is answered.
pub(crate) enum Manner {
    Answer,
    /// Answers, and ends the connection with it.
    AnswerAndClose,
    /// Stays silent that long, and holds up all others.
    Stall(std::time::Duration),
}

/// An HTTP/1.1 server on a thread of its own until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) ca: PathBuf,
    memory: Arc<Memory>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

struct Memory {
    act: Act,
    asked: Mutex<Vec<Asked>>,
    count: watch::Sender<usize>,
    /// One request at a time, so that a stall holds up the others.
    turn: tokio::sync::Mutex<()>,
}

impl Server {
    pub(crate) fn start(act: Act) -> Server {
        let folder = tempfile::tempdir().expect("a folder");
        let files = certificates::make(folder.path(), &["localhost".into()]).expect("certificates");
        let chain = CertificateDer::pem_file_iter(&files.cert).expect("a file");
        let chain = chain.collect::<Result<Vec<_>, _>>().expect("PEM");
        let key = PrivateKeyDer::from_pem_file(&files.key).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("they fit");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0)));
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("bound");
        let memory = Arc::new(Memory {
            act,
            asked: Mutex::default(),
            count: watch::Sender::new(0),
            turn: tokio::sync::Mutex::default(),
        });
        let (stop, stopped) = oneshot::channel();
        let serving = serve(
            listener,
            TlsAcceptor::from(Arc::new(tls)),
            Arc::clone(&memory),
        );
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serving => {}
                    _ = stopped => {}
                }
            });
        });
        Server {
            address,
            ca: files.ca,
            memory,
            stop: Some(stop),
            thread: Some(thread),
            _folder: folder,
        }
    }

    /// Everything it was asked until now.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.memory.asked.lock().expect("no panic").clone()
    }

    /// Resolves once it was asked so often.
    pub(crate) fn asked_times(&self, times: usize) -> impl Future<Output = ()> + use<> {
        let mut count = self.memory.count.subscribe();
        async move {
            let enough = count.wait_for(|count| *count >= times).await;
            assert!(enough.is_ok(), "the server went");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, memory: Arc<Memory>) {
    while let Ok((tcp, _)) = listener.accept().await {
        let (tls, memory) = (tls.clone(), Arc::clone(&memory));
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(tcp).await else {
                return;
            };
            let answer = service_fn(move |request| answer(Arc::clone(&memory), request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
            // The client goes when its run is over.
            let _ = connection.await;
        });
    }
}

async fn answer(
    memory: Arc<Memory>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let _one = memory.turn.lock().await;
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes());
    let credential = parts.headers.get("x-api-key").map(|value| value.as_bytes());
    let number = memory.asked.lock().expect("no panic").len();
    memory.asked.lock().expect("no panic").push(Asked {
        method: parts.method.to_string(),
        path: parts.uri.to_string(),
        credential: String::from_utf8_lossy(credential.unwrap_or_default()).into_owned(),
        body: body.unwrap_or_default(),
    });
    memory.count.send_replace(number + 1);
    let mut response = Response::new(Full::new(Bytes::from_static(b"hello")));
    match (memory.act)(number) {
        Manner::Answer => {}
        Manner::AnswerAndClose => {
            let close = http::HeaderValue::from_static("close");
            response
                .headers_mut()
                .insert(http::header::CONNECTION, close);
        }
        Manner::Stall(time) => tokio::time::sleep(time).await,
    }
    Ok(response)
}
