//! The edge with certificates of its own and a handler that tells what it was given.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use portcullis::edge::{
    self, CertificateFiles, ConnectionLimits, Edge, EdgeSettings, Handler, Malformed, PlainPeer,
    TlsPeer, Upload, WorkerSockets,
};
use portcullis::observe::Metrics;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio::sync::{Semaphore, watch};

use crate::client::{Client, Secure, connect};

/// How to set up a house.
pub(crate) struct Setup {
    limits: ConnectionLimits,
    certificates: Vec<Vec<String>>,
    workers: usize,
}

/// A running edge.
pub(crate) struct House {
    pub(crate) https: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) edge: Arc<Edge>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) told: Arc<Told>,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) files: Vec<CertificateFiles>,
    stop: watch::Sender<bool>,
    workers: Vec<JoinHandle<()>>,
}

/// What the handler shares with the test.
#[derive(Debug)]
pub(crate) struct Told {
    /// A line for each request that is one.
    pub(crate) requests: Mutex<Vec<String>>,
    /// `/block` stops its whole worker until this is free.
    pub(crate) gate: Mutex<()>,
    /// `/hold` waits for one of these.
    pub(crate) releases: Semaphore,
    /// Each `/hold` or `/block` that waits has given one of these.
    pub(crate) holding: Semaphore,
}

/// A whole request that any house answers.
pub(crate) const GET: &str = "GET / HTTP/1.1\r\nhost: api.test\r\n\r\n";

/// Pieces of `/big`, and bytes of each.
const BIG: (usize, usize) = (256, 64 * 1024);

impl Setup {
    pub(crate) fn new() -> Setup {
        let long = Duration::from_secs(60);
        Setup {
            limits: ConnectionLimits {
                connections: 100,
                connections_per_address: 100,
                handshake: long,
                header: long,
                idle: long,
                body_idle: long,
                header_bytes: 16 * 1024,
                header_count: 100,
                uri_bytes: 4 * 1024,
                h2_streams: 100,
            },
            certificates: vec![vec!["api.test".into()]],
            workers: 1,
        }
    }

    pub(crate) fn limits(mut self, change: impl FnOnce(&mut ConnectionLimits)) -> Setup {
        change(&mut self.limits);
        self
    }

    pub(crate) fn certificates(mut self, names: &[&[&str]]) -> Setup {
        let owned = |names: &&[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        self.certificates = names.iter().map(owned).collect();
        self
    }

    pub(crate) fn workers(mut self, workers: usize) -> Setup {
        self.workers = workers;
        self
    }

    pub(crate) fn start(self) -> House {
        let folder = tempfile::tempdir().expect("a folder");
        let files = certificates(&folder, "first", &self.certificates);
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let settings = EdgeSettings {
            https: any,
            http: Some(any),
            certificates: files.clone(),
            limits: self.limits,
        };
        let metrics = Arc::new(Metrics::new());
        let edge = Edge::new(&settings, Arc::clone(&metrics)).expect("good certificates");
        let sockets = edge::bind(&settings, self.workers, &metrics).expect("free ports");
        let (https, http) = (sockets[0].https(), sockets[0].http().expect("asked for"));
        assert!(
            sockets
                .iter()
                .all(|one| (one.https(), one.http()) == (https, Some(http)))
        );
        let told = Arc::new(Told {
            requests: Mutex::default(),
            gate: Mutex::default(),
            releases: Semaphore::new(0),
            holding: Semaphore::new(0),
        });
        let (stop, stopping) = watch::channel(false);
        let work = |sockets| {
            work(
                sockets,
                Arc::clone(&edge),
                Arc::clone(&told),
                stopping.clone(),
            )
        };
        let workers = sockets.into_iter().map(work).collect();
        House {
            https,
            http,
            edge,
            metrics,
            told,
            folder,
            files,
            stop,
            workers,
        }
    }
}

fn work(
    sockets: WorkerSockets,
    edge: Arc<Edge>,
    told: Arc<Told>,
    stopping: watch::Receiver<bool>,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let handler = Rc::new(Teller { told });
        let drain = Duration::from_secs(10);
        tokio::task::LocalSet::new().block_on(
            &runtime.expect("a runtime"),
            edge::serve(sockets, edge, handler, stopping, drain),
        );
    })
}

/// A self-signed certificate and its key for each list of names.
pub(crate) fn certificates(
    folder: &tempfile::TempDir,
    prefix: &str,
    names: &[Vec<String>],
) -> Vec<CertificateFiles> {
    let write = |name: String, text: String| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("writable");
        path
    };
    let make = |(at, names): (usize, &Vec<String>)| {
        let made = rcgen::generate_simple_self_signed(names.clone()).expect("names");
        CertificateFiles {
            cert: write(format!("{prefix}-{at}.pem"), made.cert.pem()),
            key: write(
                format!("{prefix}-{at}.key"),
                made.signing_key.serialize_pem(),
            ),
        }
    };
    names.iter().enumerate().map(make).collect()
}

impl House {
    /// What a client that trusts these certificates offers.
    pub(crate) fn config(&self, files: &[CertificateFiles], alpn: &[&str]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        for files in files {
            let certificate = CertificateDer::from_pem_file(&files.cert).expect("PEM");
            roots.add(certificate).expect("a certificate");
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }

    pub(crate) fn client(&self) -> Secure {
        self.client_with(self.config(&self.files, &["http/1.1"]), "api.test")
    }

    pub(crate) fn client_with(&self, config: ClientConfig, server_name: &str) -> Secure {
        let name = ServerName::try_from(server_name.to_owned()).expect("a name");
        let session = ClientConnection::new(Arc::new(config), name).expect("a session");
        Client::over(StreamOwned::new(session, connect(self.https)))
    }

    /// What the handler was given, once each.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.told
            .requests
            .lock()
            .expect("no test panics in it")
            .clone()
    }

    pub(crate) fn metric(&self, series: &str) -> Option<String> {
        let text = self.metrics.render();
        let line = text.lines().find(|line| line.starts_with(series))?;
        Some(line[series.len()..].trim().to_owned())
    }

    pub(crate) fn begin_to_stop(&self) {
        self.stop.send_replace(true);
    }

    /// Lets it drain and waits for it.
    pub(crate) fn stop(self) {
        self.begin_to_stop();
        for worker in self.workers {
            worker.join().expect("a worker does not panic");
        }
    }

    /// Waits until the handler holds one more request.
    pub(crate) fn wait_until_held(&self) {
        eventually("a request is held", || {
            self.told
                .holding
                .try_acquire()
                .ok()
                .map(tokio::sync::SemaphorePermit::forget)
        });
    }
}

/// Looks until there is something, for a while.
pub(crate) fn eventually<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(15);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}

/// Answers with what it was given.
struct Teller {
    told: Arc<Told>,
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

impl Handler for Teller {
    type Body = Body;

    async fn handle(
        &self,
        peer: Rc<TlsPeer>,
        request: Result<Request<Upload>, Malformed>,
    ) -> Response<Body> {
        let request = match request {
            Ok(request) => request,
            Err(fault) => return answer(400, format!("head {}", fault.label())),
        };
        let line = format!("{} {}", request.method(), request.uri());
        self.told
            .requests
            .lock()
            .expect("no test panics in it")
            .push(line.clone());
        match request.uri().path() {
            "/unread" => answer(401, "unread".into()),
            "/big" => big(),
            "/block" => {
                self.told.holding.add_permits(1);
                drop(self.told.gate.lock().expect("no test panics in it"));
                answer(200, line)
            }
            "/panic" => panic!("as asked"),
            "/covers" => answer(
                200,
                peer.covers(request.uri().query().unwrap_or("")).to_string(),
            ),
            "/hold" => {
                self.told.holding.add_permits(1);
                let release = self.told.releases.acquire().await;
                release.expect("never closed").forget();
                answer(200, line)
            }
            _ => match request.into_body().collect().await {
                Ok(body) => {
                    let trailers = body.trailers().map_or(0, http::HeaderMap::len);
                    let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
                    answer(200, format!("{line} [{body}] {trailers}"))
                }
                Err(_) => {
                    let fault = peer.body_fault().map_or("none", Malformed::label);
                    answer(400, format!("body {fault}"))
                }
            },
        }
    }

    async fn refuse_plaintext(
        &self,
        _: PlainPeer,
        request: Result<Request<Upload>, Malformed>,
    ) -> Response<Body> {
        match request {
            Ok(request) => answer(426, format!("plain {} {}", request.method(), request.uri())),
            Err(fault) => answer(426, format!("plain head {}", fault.label())),
        }
    }
}

fn answer(status: u16, text: String) -> Response<Body> {
    let mut response = Response::new(http_body_util::Full::from(text).boxed_unsync());
    *response.status_mut() = http::StatusCode::from_u16(status).expect("a status");
    response
}

/// More than any buffer on the way holds.
fn big() -> Response<Body> {
    let (mut sender, body) = http_body_util::channel::Channel::new(1);
    tokio::task::spawn_local(async move {
        let piece = Bytes::from(vec![b'x'; BIG.1]);
        for _ in 0..BIG.0 {
            if sender.send(Frame::data(piece.clone())).await.is_err() {
                return;
            }
        }
    });
    Response::new(body.boxed_unsync())
}
