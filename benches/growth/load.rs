//! Keep-alive TLS connections that ask as fast as they are answered, on one thread.
//!
//! So many requests are under way at once, and the connections take turns in a circle: with more
//! connections than requests under way, each is used, and only their number differs. Invariant: any
//! answer but 200 ends the bench, so no figure is that of a refusal.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::gateway::{GatewayProcess, HOST};
use crate::process;
use crate::ring::Random;

/// Which requests there are.
pub(crate) struct Requests(Box<dyn Choose>);

/// A path and a key for the next request.
trait Choose: Fn(&mut Random) -> (String, String) + Send + Sync {}

impl<F: Fn(&mut Random) -> (String, String) + Send + Sync> Choose for F {}

impl Requests {
    /// A path and a key for each request.
    pub(crate) fn new(
        choose: impl Fn(&mut Random) -> (String, String) + Send + Sync + 'static,
    ) -> Requests {
        Requests(Box::new(choose))
    }

    fn write_next(&self, random: &mut Random, bytes: &mut Vec<u8>) {
        let (path, key) = self.0(random);
        let head = ["GET ", &path, " HTTP/1.1\r\nhost: ", HOST];
        bytes.clear();
        for part in head
            .into_iter()
            .chain(["\r\nx-api-key: ", &key, "\r\n\r\n"])
        {
            bytes.extend_from_slice(part.as_bytes());
        }
    }
}

/// Connections that ask.
pub(crate) struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    requests: Requests,
    connected: AtomicUsize,
    answered: AtomicU64,
    stop: AtomicBool,
    /// One for each request that may be under way.
    turns: Semaphore,
    /// One for each handshake that may be under way.
    handshakes: Semaphore,
}

/// What one round found.
pub(crate) struct Round {
    /// User and system time of the gateway for each request.
    pub(crate) cpu_us: f64,
    /// Answers.
    pub(crate) answered: f64,
    /// Answers in a second.
    pub(crate) rate: f64,
}

const HANDSHAKES: usize = 64;
/// How long anything may take before the bench gives up.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(5);

impl Load {
    /// Connects and begins to ask.
    pub(crate) fn start(
        gateway: &GatewayProcess,
        connections: usize,
        under_way: usize,
        requests: Requests,
    ) -> Load {
        let shared = Arc::new(Shared {
            requests,
            connected: AtomicUsize::new(0),
            answered: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            turns: Semaphore::new(0),
            handshakes: Semaphore::new(HANDSHAKES),
        });
        let (config, address) = (trust(&gateway.ca()), gateway.address());
        let here = Arc::clone(&shared);
        let thread = std::thread::spawn(move || drive(&here, connections, &config, address));
        let load = Load {
            shared,
            thread: Some(thread),
        };
        load.wait("every connection", || {
            load.shared.connected.load(Ordering::Relaxed) == connections
        });
        load.allow(under_way);
        load
    }

    /// Lets more requests be under way.
    pub(crate) fn allow(&self, more: usize) {
        self.shared.turns.add_permits(more);
    }

    /// Waits for so many answers.
    pub(crate) fn await_answers(&self, count: u64) {
        let target = self.answered() + count;
        self.wait("answers", || self.answered() >= target);
    }

    /// Lets it run for `window`, and tells what that cost the gateway.
    pub(crate) fn round(&self, gateway: &GatewayProcess, window: Duration) -> Round {
        let (started, before) = (tokio::time::Instant::now(), self.answered());
        let cpu = process::cpu(gateway.pid());
        std::thread::sleep(window);
        self.check();
        let cpu = process::cpu(gateway.pid()).saturating_sub(cpu);
        let answered = (self.answered() - before) as f64;
        assert!(answered > 0.0, "the gateway answers");
        Round {
            cpu_us: cpu.as_secs_f64() * 1e6 / answered,
            answered,
            rate: answered / started.elapsed().as_secs_f64(),
        }
    }

    fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    fn wait(&self, what: &str, mut there: impl FnMut() -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !there() {
            self.check();
            assert!(
                tokio::time::Instant::now() < deadline,
                "it did not come: {what}"
            );
            std::thread::sleep(LOOK);
        }
    }

    /// A client that failed has said why on stderr.
    fn check(&self) {
        let ended = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        assert!(!ended, "the clients have given up");
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Whoever waits for a turn shall see that it is over.
        self.shared.turns.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn drive(shared: &Arc<Shared>, connections: usize, config: &TlsConnector, address: SocketAddr) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut clients = tokio::task::JoinSet::new();
    runtime.block_on(async {
        for number in 0..connections {
            let (shared, config) = (Arc::clone(shared), config.clone());
            clients.spawn(async move {
                let stream = connect(&shared, config, address).await;
                ask(&shared, stream, Random::from(number as u64)).await;
            });
        }
        while let Some(ended) = clients.join_next().await {
            ended.expect("a client ends when it is told to");
        }
    });
}

async fn connect(shared: &Shared, tls: TlsConnector, address: SocketAddr) -> TlsStream<TcpStream> {
    let permit = shared.handshakes.acquire().await.expect("never closed");
    let tcp = TcpStream::connect(address)
        .await
        .expect("the gateway listens");
    tcp.set_nodelay(true).expect("a socket can be");
    let name = ServerName::try_from(HOST).expect("a host name");
    let stream = tls.connect(name, tcp).await.expect("a handshake");
    drop(permit);
    shared.connected.fetch_add(1, Ordering::Relaxed);
    stream
}

async fn ask(shared: &Shared, mut stream: TlsStream<TcpStream>, mut random: Random) {
    let (mut request, mut answer) = (Vec::with_capacity(256), Vec::with_capacity(2048));
    // Turns are given in the order in which they were asked for: a circle.
    while let Ok(turn) = shared.turns.acquire().await {
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        shared.requests.write_next(&mut random, &mut request);
        stream.write_all(&request).await.expect("a request is sent");
        stream.flush().await.expect("a request is sent");
        read_answer(&mut stream, &mut answer).await;
        shared.answered.fetch_add(1, Ordering::Relaxed);
        drop(turn);
    }
}

/// Reads one answer with a content length.
async fn read_answer(stream: &mut TlsStream<TcpStream>, answer: &mut Vec<u8>) {
    answer.clear();
    let mut whole = None;
    while whole.is_none_or(|whole| answer.len() < whole) {
        let read = stream.read_buf(answer).await.expect("an answer");
        assert!(read > 0, "the gateway closed a connection");
        whole = whole.or_else(|| length(answer));
    }
}

/// Of head and body, once the head is there.
fn length(answer: &[u8]) -> Option<usize> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&answer[..end]).expect("an ASCII head");
    assert!(head.starts_with("HTTP/1.1 200 "), "not answered: {head}");
    let field = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let body: usize = field.expect("a content length").parse().expect("a number");
    Some(end + body)
}

fn trust(ca: &Path) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).expect("a CA file") {
        roots.add(certificate.expect("PEM")).expect("a CA");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder
        .expect("aws-lc-rs has suites for TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    // Each connection is a stranger.
    config.resumption = rustls::client::Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}
