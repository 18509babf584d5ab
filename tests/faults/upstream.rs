//! The service behind the gateways: it answers everything with 200.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Starts it for as long as the runtime lives.
pub(crate) async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.expect("a connection");
            tokio::spawn(converse(tcp));
        }
    });
    address
}

/// Requests without a body.
async fn converse(mut tcp: TcpStream) {
    let _ = tcp.set_nodelay(true);
    let mut head = Vec::with_capacity(4096);
    while let Ok(1..) = tcp.read_buf(&mut head).await {
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        head.clear();
        if tcp.write_all(ANSWER).await.is_err() {
            return;
        }
    }
}
