//! Opens connections one after the other, makes one request on each, and holds them all.

use std::io;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use crate::Work;
use crate::answer;
use crate::target;

pub async fn run(work: &Work, path: &str) {
    let request = target::get(path, "");
    let (mut held, mut buffer) = (Vec::with_capacity(work.connections), Vec::new());
    for _ in 0..work.connections {
        let started = Instant::now();
        match open(work, &request, &mut buffer).await {
            Ok(stream) => {
                held.push(stream);
                work.tally.good(started.elapsed());
            }
            Err(error) => work.tally.error(&error),
        }
    }
    println!("ready");
    tokio::time::sleep(work.duration).await;
}

async fn open(
    work: &Work,
    request: &[u8],
    buffer: &mut Vec<u8>,
) -> io::Result<TlsStream<TcpStream>> {
    let mut stream = work.target.connect().await?;
    stream.write_all(request).await?;
    stream.flush().await?;
    match answer::read(&mut stream, buffer).await?.status {
        200 => Ok(stream),
        status => Err(io::Error::other(status.to_string())),
    }
}
