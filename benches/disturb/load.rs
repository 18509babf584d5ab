//! Connections that ask at fixed times, each in a thread of its own.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use socket2::{Domain, Socket, Type};
use tokio::time::Instant;

use crate::gateway::Gateway;

/// One request: when it was due, since the run's beginning, and how long it took from then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) due: Duration,
    pub(crate) latency: Duration,
    pub(crate) good: bool,
}

/// Connections that are kept over all runs.
pub(crate) struct Load {
    clients: Vec<Mutex<Client>>,
}

/// One TLS connection and what it asks with.
pub(crate) struct Client {
    stream: StreamOwned<ClientConnection, TcpStream>,
    key: String,
}

/// No answer takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

impl Load {
    pub(crate) fn connect(gateway: &Gateway, connections: usize) -> Load {
        let keys = gateway.keys.iter().cycle();
        let client = |key: &String| Mutex::new(Client::connect(gateway, key, None));
        Load {
            clients: keys.take(connections).map(client).collect(),
        }
    }

    /// Answers a second when each connection asks again at once.
    pub(crate) fn capacity(&self, during: Duration) -> u32 {
        let until = Instant::now() + during;
        let asked: u32 = self
            .each(|_, client| {
                let mut count = 0;
                while Instant::now() < until {
                    assert!(
                        client.ask("/v1/domains"),
                        "the gateway works before it is measured"
                    );
                    count += 1;
                }
                count
            })
            .into_iter()
            .sum();
        asked / u32::try_from(during.as_secs()).expect("seconds").max(1)
    }

    /// `rate` requests a second in all, evenly spaced, the connections in turn.
    pub(crate) fn open_loop(&self, rate: u32, begun: Instant, during: Duration) -> Vec<Sample> {
        let gap = Duration::from_secs(1) / rate;
        let connections = u32::try_from(self.clients.len()).expect("not that many");
        let samples = self.each(|at, client| {
            let first = gap * u32::try_from(at).expect("not that many");
            let mut samples = Vec::new();
            for turn in 0.. {
                let due = first + gap * connections * turn;
                if due >= during {
                    break;
                }
                std::thread::sleep((begun + due).saturating_duration_since(Instant::now()));
                let good = client.ask("/v1/domains");
                let latency = begun.elapsed().saturating_sub(due);
                samples.push(Sample { due, latency, good });
            }
            samples
        });
        samples.into_iter().flatten().collect()
    }

    fn each<T: Send>(&self, work: impl Fn(usize, &mut Client) -> T + Sync) -> Vec<T> {
        std::thread::scope(|scope| {
            let threads: Vec<_> = self
                .clients
                .iter()
                .enumerate()
                .map(|(at, client)| {
                    let work = &work;
                    scope.spawn(move || {
                        work(at, &mut client.lock().expect("no thread panics in it"))
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("a client"))
                .collect()
        })
    }
}

impl Client {
    /// A small receive buffer makes a slow reader felt.
    pub(crate) fn connect(gateway: &Gateway, key: &str, receive_buffer: Option<usize>) -> Client {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes).expect("a size");
        }
        socket
            .connect(&gateway.address.into())
            .expect("the gateway listens");
        let tcp = TcpStream::from(socket);
        tcp.set_nodelay(true).expect("nodelay");
        tcp.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let name = ServerName::try_from("api.osir.com").expect("a name");
        let session = ClientConnection::new(Arc::clone(&gateway.config), name).expect("a session");
        let mut stream = StreamOwned::new(session, tcp);
        stream
            .conn
            .complete_io(&mut stream.sock)
            .expect("a handshake");
        Client {
            stream,
            key: key.to_owned(),
        }
    }

    /// Whether a request is answered with 200.
    pub(crate) fn ask(&mut self, path: &str) -> bool {
        self.send(&self.request(path));
        let mut buffer = [0; 16 * 1024];
        let (mut filled, mut end) = (0, None);
        loop {
            let read = self.stream.read(&mut buffer[filled..]).expect("an answer");
            assert!(read > 0, "the gateway closed the connection");
            filled += read;
            let head = &buffer[..filled];
            end = end.or_else(|| whole(head));
            if end.is_some_and(|end| filled >= end) {
                return head.starts_with(b"HTTP/1.1 200 ");
            }
        }
    }

    pub(crate) fn request(&self, path: &str) -> String {
        format!(
            "GET {path} HTTP/1.1\r\nhost: api.osir.com\r\nx-api-key: {}\r\n\r\n",
            self.key
        )
    }

    pub(crate) fn send(&mut self, bytes: &str) -> bool {
        let sent = self
            .stream
            .write_all(bytes.as_bytes())
            .and_then(|()| self.stream.flush());
        sent.is_ok()
    }

    /// Takes at most so many bytes; `None` at the end.
    pub(crate) fn take(&mut self, bytes: usize) -> Option<usize> {
        let mut buffer = vec![0; bytes];
        self.stream.read(&mut buffer).ok().filter(|read| *read > 0)
    }
}

/// Where an answer ends, once its head is there.
fn whole(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&bytes[..head]).expect("an ASCII head");
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.parse::<usize>().expect("a length"))
    });
    Some(head + 4 + length.expect("a length"))
}

/// Trusts the CAs of a file; speaks HTTP/1.1.
pub(crate) fn trust(ca: &Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).expect("a CA file") {
        roots.add(certificate.expect("PEM")).expect("a CA");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions");
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}
