//! Requests at fixed times, whatever has become of those before (open loop).
//!
//! Latency counts from the time at which a request was due, so a proxy that stalls pays for all that waited.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use crate::Work;
use crate::answer::{self, Answer};
use crate::arrivals::Arrivals;
use crate::target;

/// All connections are open before the first request is due.
const SETTLE: Duration = Duration::from_millis(300);

/// A request for each header line of the file.
pub fn requests(path: &str, file: &str) -> io::Result<Rc<[Vec<u8>]>> {
    Ok(std::fs::read_to_string(file)?
        .lines()
        .map(|header| target::get(path, header))
        .collect())
}

/// One connection's share: a request `every` so often, offset so that all connections' arrivals are even.
pub async fn run(work: Rc<Work>, requests: Rc<[Vec<u8>]>, number: usize, every: Duration) {
    if let Err(error) = ask_in_time(&work, &requests, number, every).await {
        work.tally.error(&error);
    }
}

async fn ask_in_time(
    work: &Work,
    requests: &[Vec<u8>],
    number: usize,
    every: Duration,
) -> io::Result<()> {
    let mut stream = work.target.connect().await?;
    let share = number as f64 / work.connections as f64;
    let mut arrivals = Arrivals::new(SETTLE + every.mul_f64(share), every)?;
    let mut buffer = Vec::new();
    let first = (requests.len() as f64 * share) as usize;
    for request in requests.iter().cycle().skip(first + 1) {
        if work.is_over() {
            return Ok(());
        }
        let due = arrivals.next().await?;
        ask(work, &mut stream, request, due, &mut buffer).await?;
    }
    Ok(())
}

async fn ask(
    work: &Work,
    stream: &mut TlsStream<TcpStream>,
    request: &[u8],
    due: Instant,
    buffer: &mut Vec<u8>,
) -> io::Result<()> {
    stream.write_all(request).await?;
    stream.flush().await?;
    match answer::read(stream, buffer).await? {
        Answer { status: 200, .. } => work.tally.good(due.elapsed()),
        answer => work.tally.error(&answer.status),
    }
    Ok(())
}
