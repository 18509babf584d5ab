//! A client that sends the bytes it is told to.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};

/// How long any read may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(15);

/// One connection in HTTP/1.
pub(crate) struct Client<S> {
    pub(crate) stream: S,
    pub(crate) buffer: Vec<u8>,
}

/// One answer of the telling handler, which always says how long it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

pub(crate) type Secure = Client<StreamOwned<ClientConnection, TcpStream>>;

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let tcp = TcpStream::connect(address).expect("the edge listens");
    tcp.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    tcp.set_nodelay(true).expect("nodelay");
    tcp
}

impl Client<TcpStream> {
    /// In clear text.
    pub(crate) fn plain(address: SocketAddr) -> Client<TcpStream> {
        Client::over(connect(address))
    }
}

impl<S: Read + Write> Client<S> {
    pub(crate) fn over(stream: S) -> Client<S> {
        Client {
            stream,
            buffer: Vec::new(),
        }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The edge may have answered and closed already; the answer tells.
        let _ = self
            .stream
            .write_all(bytes.as_ref())
            .and_then(|()| self.stream.flush());
    }

    /// Sends and reads one answer.
    pub(crate) fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Answer {
        self.send(bytes);
        self.answer().expect("an answer")
    }

    /// The next answer, unless the connection ends before it.
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        let end = self.find(b"\r\n\r\n")? + 4;
        let head: Vec<u8> = self.buffer.drain(..end).collect();
        let head = String::from_utf8(head)
            .expect("an ASCII head")
            .to_ascii_lowercase();
        let status = head[9..12].parse().expect("a status");
        if status == 100 {
            return self.answer();
        }
        let length = head.split("content-length: ").nth(1).expect("a length");
        let length: usize = length
            .split("\r\n")
            .next()
            .expect("a line")
            .parse()
            .expect("digits");
        while self.buffer.len() < length {
            assert!(self.fill(), "the body is cut off");
        }
        let body = self.buffer.drain(..length).collect();
        Some(Answer {
            status,
            head,
            body: String::from_utf8(body).expect("UTF-8"),
        })
    }

    /// Whether the connection ends without another byte.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && !self.fill()
    }

    /// What comes until the end.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.buffer)
    }

    fn find(&mut self, needle: &[u8]) -> Option<usize> {
        loop {
            let at = self
                .buffer
                .windows(needle.len())
                .position(|window| window == needle);
            if at.is_some() {
                return at;
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Reads once; `false` at the end.
    fn fill(&mut self) -> bool {
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(count) => {
                self.buffer.extend_from_slice(&bytes[..count]);
                count > 0
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                panic!("nothing came, and the connection stays open")
            }
            Err(_) => false,
        }
    }
}

impl Answer {
    pub(crate) fn closes(&self) -> bool {
        self.head.contains("\r\nconnection: close\r\n")
    }
}
