//! Reading one answer, as far as a bench needs it: its status, and that its body came whole.
//!
//! Not an HTTP parser: it believes what the proxy sends.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The first size of a buffer, and by how much one grows.
const STEP: usize = 64 * 1024;
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

pub struct Answer {
    pub status: u16,
    /// The body's bytes; with chunked coding, the chunks' heads among them.
    pub bytes: u64,
}

/// Reads one answer; the buffer is only a place to read into and may be used again.
pub async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
) -> io::Result<Answer> {
    let (head_end, filled) = read_head(stream, buffer).await?;
    let head = std::str::from_utf8(&buffer[..head_end])
        .map_err(|_| bad())?
        .to_ascii_lowercase();
    let status = head
        .get(9..12)
        .and_then(|code| code.parse().ok())
        .ok_or_else(bad)?;
    let length = head
        .split("\r\n")
        .find_map(|line| line.strip_prefix("content-length:"));
    let bytes = match length {
        Some(length) => {
            let length = length.trim().parse().map_err(|_| bad())?;
            read_length(stream, buffer, (filled - head_end) as u64, length).await?;
            length
        }
        None => read_chunks(stream, buffer, head_end, filled).await?,
    };
    Ok(Answer { status, bytes })
}

/// Where the head ends, and how much of the buffer is filled.
async fn read_head(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
) -> io::Result<(usize, usize)> {
    let mut filled = 0;
    loop {
        if filled == buffer.len() {
            buffer.resize(filled + STEP, 0);
        }
        let read = read_some(stream, &mut buffer[filled..]).await?;
        let searched = filled.saturating_sub(3);
        filled += read;
        let found = buffer[searched..filled]
            .windows(4)
            .position(|four| four == b"\r\n\r\n");
        if let Some(position) = found {
            return Ok((searched + position + 4, filled));
        }
    }
}

async fn read_length(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut [u8],
    mut have: u64,
    length: u64,
) -> io::Result<()> {
    while have < length {
        have += read_some(stream, buffer).await? as u64;
    }
    Ok(())
}

/// Reads until the last chunk has come, however it was cut by reads.
async fn read_chunks(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut [u8],
    head_end: usize,
    filled: usize,
) -> io::Result<u64> {
    let mut tail = buffer[head_end..filled].to_vec();
    let mut total = tail.len() as u64;
    while !tail.ends_with(LAST_CHUNK) {
        let read = read_some(stream, buffer).await?;
        total += read as u64;
        tail.extend_from_slice(&buffer[..read]);
        tail.drain(..tail.len().saturating_sub(LAST_CHUNK.len()));
    }
    Ok(total)
}

async fn read_some(stream: &mut (impl AsyncRead + Unpin), into: &mut [u8]) -> io::Result<usize> {
    match stream.read(into).await? {
        0 => Err(bad()),
        read => Ok(read),
    }
}

fn bad() -> io::Error {
    io::Error::other("bad answer")
}
