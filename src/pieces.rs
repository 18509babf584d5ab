//! Plaintext on its way into TLS records, in pieces that are cheap to copy.
//!
//! rustls copies a record's plaintext slice by slice with the C library's `memcpy`. From 2,112 bytes
//! on, glibc before 2.40 does that with `rep movsb`, which AMD's Zen 3 and 4 take several times as
//! long for as for vector moves (glibc bug 30994; figures in docs/performance.md). No piece is that
//! long. Not here: what is sent, and when. Invariant: the pieces are the slices' bytes in order,
//! from the first one on.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

/// The longest piece, in bytes.
const PIECE: usize = 2048;

/// Pieces of one write: more than the 64 KiB that rustls takes at once.
const PIECES: usize = 40;

/// [`AsyncWrite::poll_write_vectored`] to a TLS stream.
pub(crate) fn poll_write_vectored<S: AsyncWrite>(
    stream: Pin<&mut S>,
    cx: &mut Context<'_>,
    slices: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    if slices.iter().all(|slice| slice.len() <= PIECE) {
        return stream.poll_write_vectored(cx, slices);
    }
    let mut pieces = [IoSlice::new(&[]); PIECES];
    let cut = slices.iter().flat_map(|slice| slice.chunks(PIECE));
    let mut count = 0;
    for (piece, bytes) in pieces.iter_mut().zip(cut) {
        *piece = IoSlice::new(bytes);
        count += 1;
    }
    stream.poll_write_vectored(cx, &pieces[..count])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes everything, and notes how it was cut.
    #[derive(Default)]
    struct Writer {
        bytes: Vec<u8>,
        longest: usize,
    }

    impl AsyncWrite for Writer {
        fn poll_write(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let this = self.get_mut();
            for slice in slices {
                this.bytes.extend_from_slice(slice);
                this.longest = this.longest.max(slice.len());
            }
            Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn every_byte_is_written_in_order_and_in_short_pieces() {
        let all: Vec<u8> = (0..200_000_u32).map(|byte| (byte % 251) as u8).collect();
        for cuts in [vec![], vec![1], vec![100, 2048, 4096], vec![70_000, 70_001]] {
            let mut writer = Writer::default();
            let mut cx = Context::from_waker(std::task::Waker::noop());
            while writer.bytes.len() < all.len() {
                let written = writer.bytes.len();
                let ends = cuts.iter().copied().chain([all.len()]);
                let mut slices = Vec::new();
                let mut start = written;
                for end in ends.filter(|end| *end > written) {
                    slices.push(IoSlice::new(&all[start..end]));
                    start = end;
                }
                let wrote = poll_write_vectored(Pin::new(&mut writer), &mut cx, &slices);
                assert!(
                    matches!(wrote, Poll::Ready(Ok(bytes)) if bytes == writer.bytes.len() - written),
                    "{cuts:?}"
                );
                assert!(writer.bytes.len() > written, "no progress, {cuts:?}");
            }
            assert_eq!(writer.bytes, all, "{cuts:?}");
            assert!(writer.longest <= PIECE, "{cuts:?}");
        }
    }
}
