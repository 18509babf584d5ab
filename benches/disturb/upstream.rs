//! Two upstreams: one that answers at once, and one that takes five seconds.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Where they are.
pub(crate) struct Upstreams {
    pub(crate) quick: SocketAddr,
    pub(crate) slow: SocketAddr,
}

/// How long the slow one takes.
pub(crate) const SLOW: Duration = Duration::from_secs(5);
const SMALL: usize = 600;
const LARGE: usize = 10 << 20;

/// Starts both in a thread of their own, for as long as the process lives.
pub(crate) fn start() -> Upstreams {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let quick = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let slow = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            tell.send(Upstreams {
                quick: quick.local_addr().expect("bound"),
                slow: slow.local_addr().expect("bound"),
            })
            .expect("the bench waits for it");
            tokio::join!(serve(quick, Duration::ZERO), serve(slow, SLOW));
        });
    });
    told.recv().expect("the upstreams start")
}

async fn serve(listener: TcpListener, delay: Duration) {
    let small = answer(SMALL);
    let large: &'static [u8] = answer(LARGE).leak();
    let small: &'static [u8] = small.leak();
    loop {
        let (tcp, _) = listener.accept().await.expect("a connection");
        tcp.set_nodelay(true).expect("nodelay");
        // An end of the connection is the gateway's choice.
        tokio::spawn(async move { converse(tcp, delay, small, large).await });
    }
}

async fn converse(mut tcp: TcpStream, delay: Duration, small: &[u8], large: &[u8]) {
    let mut head = Vec::with_capacity(4096);
    while let Ok(1..) = tcp.read_buf(&mut head).await {
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let is_large = head.starts_with(b"GET /large");
        head.clear();
        if tcp
            .write_all(if is_large { large } else { small })
            .await
            .is_err()
        {
            return;
        }
    }
}

fn answer(bytes: usize) -> Vec<u8> {
    let mut answer =
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {bytes}\r\n\r\n")
            .into_bytes();
    answer.resize(answer.len() + bytes, b'x');
    answer
}
