//! An upstream that records the bytes of every request and answers as it is told to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What an upstream does with a request.
#[derive(Clone)]
pub enum Reply {
    /// These bytes.
    Bytes(Vec<u8>),
    /// These bytes, then a close.
    BytesThenClose(Vec<u8>),
    /// A close without a byte.
    Close,
    /// Nothing, until the client goes away.
    Silence,
}

/// One request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub head: String,
    pub body: Vec<u8>,
    /// Which connection it came on, from 0.
    pub connection: usize,
    /// Whether all of it came.
    pub complete: bool,
}

/// A running upstream.
#[derive(Clone)]
pub struct Upstream {
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    closed: Arc<Mutex<usize>>,
}

type Script = dyn Fn(&Received, usize) -> Reply + Send + Sync;

impl Upstream {
    /// Answers `200` with a small body.
    pub fn start() -> Upstream {
        Upstream::scripted(|_, _| {
            Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec())
        })
    }

    /// Answers each request with what `script` says of it and its number.
    pub fn scripted(
        script: impl Fn(&Received, usize) -> Reply + Send + Sync + 'static,
    ) -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let upstream = Upstream {
            address,
            received: Arc::default(),
            closed: Arc::default(),
        };
        let (shared, script): (Upstream, Arc<Script>) = (upstream.clone(), Arc::new(script));
        std::thread::spawn(move || {
            for (connection, tcp) in listener.incoming().enumerate() {
                let Ok(tcp) = tcp else { return };
                let (shared, script) = (shared.clone(), Arc::clone(&script));
                std::thread::spawn(move || {
                    shared.converse(tcp, connection, &*script);
                    *shared.closed.lock().expect("not poisoned") += 1;
                });
            }
        });
        upstream
    }

    /// Everything that has arrived.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().expect("not poisoned").clone()
    }

    /// Connections that have ended.
    pub fn closed(&self) -> usize {
        *self.closed.lock().expect("not poisoned")
    }

    fn converse(&self, mut tcp: TcpStream, connection: usize, script: &Script) {
        let mut buffer = Vec::new();
        while let Some(request) = read_request(&mut tcp, &mut buffer, connection) {
            let complete = request.complete;
            let number = {
                let mut received = self.received.lock().expect("not poisoned");
                received.push(request.clone());
                received.len() - 1
            };
            if !complete {
                return;
            }
            match script(&request, number) {
                Reply::Bytes(bytes) => {
                    let _ = tcp.write_all(&bytes);
                }
                Reply::BytesThenClose(bytes) => {
                    let _ = tcp.write_all(&bytes);
                    return;
                }
                Reply::Close => return,
                Reply::Silence => {
                    let _ = tcp.read(&mut [0; 1]);
                    return;
                }
            }
        }
    }
}

fn read_request(tcp: &mut TcpStream, buffer: &mut Vec<u8>, connection: usize) -> Option<Received> {
    let fill = |tcp: &mut TcpStream, buffer: &mut Vec<u8>| {
        let mut bytes = [0; 16 * 1024];
        match tcp.read(&mut bytes) {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                buffer.extend_from_slice(&bytes[..count]);
                true
            }
        }
    };
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        if !fill(tcp, buffer) {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&buffer.drain(..end).collect::<Vec<u8>>()).into_owned();
    let lower = head.to_ascii_lowercase();
    let length = lower
        .lines()
        .find_map(|l| l.strip_prefix("content-length: ")?.trim().parse().ok());
    let ends = |buffer: &[u8]| match length {
        Some(length) => (buffer.len() >= length).then_some(length),
        None if lower.contains("transfer-encoding: chunked") => buffer
            .windows(5)
            .position(|w| w == b"0\r\n\r\n")
            .map(|at| at + 5),
        None => Some(0),
    };
    loop {
        if let Some(end) = ends(buffer) {
            let body = buffer.drain(..end).collect();
            return Some(Received {
                head,
                body,
                connection,
                complete: true,
            });
        }
        if !fill(tcp, buffer) {
            let body = std::mem::take(buffer);
            return Some(Received {
                head,
                body,
                connection,
                complete: false,
            });
        }
    }
}

impl Received {
    /// Every value of a field, by lower-case name.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let lines = self
            .head
            .split("\r\n")
            .skip(1)
            .filter_map(|line| line.split_once(": "));
        lines
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }

    pub fn request_line(&self) -> &str {
        self.head.split("\r\n").next().unwrap_or_default()
    }
}
