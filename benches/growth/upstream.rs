//! An upstream that costs as little as can be: one thread, one fixed answer, any number of ports.

use std::net::{SocketAddr, TcpListener};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Some 600 bytes, as a small API answer has.
const BODY: usize = 512;

/// Listens on so many loopback ports, and answers each request until the process ends.
pub(crate) fn start(ports: usize) -> Vec<SocketAddr> {
    let listen = |_| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        listener.set_nonblocking(true).expect("a socket can be");
        listener
    };
    let listeners: Vec<TcpListener> = (0..ports).map(listen).collect();
    let addresses = listeners
        .iter()
        .map(|listener| listener.local_addr().expect("it is bound"))
        .collect();
    std::thread::spawn(move || serve(listeners));
    addresses
}

fn serve(listeners: Vec<TcpListener>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        for listener in listeners {
            tokio::spawn(accept(listener));
        }
        std::future::pending::<()>().await;
    });
}

async fn accept(listener: TcpListener) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    while let Ok((socket, _)) = listener.accept().await {
        tokio::spawn(answer(socket));
    }
}

/// Requests are GETs, and one waits for the answer before the next: a blank line ends each.
async fn answer(mut socket: tokio::net::TcpStream) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {BODY}\r\n\r\n{}",
        "x".repeat(BODY)
    );
    let mut buffer = vec![0; 4096];
    let mut filled = 0;
    loop {
        let read = socket.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        if buffer[..filled].ends_with(b"\r\n\r\n") {
            socket.write_all(answer.as_bytes()).await?;
            filled = 0;
        }
    }
}
