//! 10 MiB bodies, one after the other on each connection.

use std::io;
use std::rc::Rc;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::Work;
use crate::answer::{self, Answer};

const SIZE: usize = 10 << 20;
/// Whole TLS records leave it at once.
const BUFFER: usize = 256 * 1024;

/// Which way the bodies go.
#[derive(Clone, Copy)]
pub enum Way {
    Down,
    Up,
}

impl Way {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "down" => Some(Self::Down),
            "up" => Some(Self::Up),
            _ => None,
        }
    }

    fn request(self) -> Vec<u8> {
        match self {
            Self::Down => b"GET /v1/domains/big HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec(),
            Self::Up => {
                let head = "POST /v1/domains/up HTTP/1.1\r\nhost: localhost\r\n";
                format!("{head}content-length: {SIZE}\r\n\r\n").into_bytes()
            }
        }
    }

    fn body(self) -> Vec<u8> {
        match self {
            Self::Down => Vec::new(),
            Self::Up => vec![b'x'; SIZE],
        }
    }
}

/// Ends at the first error: what would follow on the connection means nothing.
pub async fn run(work: Rc<Work>, way: Way) {
    let mut stream = match work.target.connect().await {
        Ok(stream) => stream,
        Err(error) => return work.tally.error(&error),
    };
    let (request, body, mut buffer) = (way.request(), way.body(), vec![0; BUFFER]);
    while !work.is_over() {
        match transfer(&mut stream, &request, &body, &mut buffer).await {
            Ok(Answer { status: 200, bytes }) => {
                work.tally.transferred(bytes.max(body.len() as u64))
            }
            Ok(answer) => return work.tally.error(&answer.status),
            Err(error) => return work.tally.error(&error),
        }
    }
}

async fn transfer(
    stream: &mut TlsStream<TcpStream>,
    request: &[u8],
    body: &[u8],
    buffer: &mut Vec<u8>,
) -> io::Result<Answer> {
    stream.write_all(request).await?;
    stream.write_all(body).await?;
    // tokio-rustls keeps what tokio's cooperative budget did not let it write until it is flushed.
    stream.flush().await?;
    answer::read(stream, buffer).await
}
