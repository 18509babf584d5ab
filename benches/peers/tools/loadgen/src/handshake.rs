//! A new connection, so a full handshake, for each request.

use std::io;
use std::rc::Rc;

use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use crate::Work;
use crate::answer::{self, Answer};
use crate::target;

pub async fn run(work: Rc<Work>, path: String) {
    let request = target::get(&path, "");
    let mut buffer = Vec::new();
    while !work.is_over() {
        let started = Instant::now();
        match once(&work, &request, &mut buffer).await {
            Ok(Answer { status: 200, .. }) => work.tally.good(started.elapsed()),
            Ok(answer) => work.tally.error(&answer.status),
            Err(error) => work.tally.error(&error),
        }
    }
}

async fn once(work: &Work, request: &[u8], buffer: &mut Vec<u8>) -> io::Result<Answer> {
    let mut stream = work.target.connect().await?;
    stream.write_all(request).await?;
    stream.flush().await?;
    let answer = answer::read(&mut stream, buffer).await?;
    // A proxy that has already closed is no error: the answer is here.
    let _ = stream.shutdown().await;
    Ok(answer)
}
