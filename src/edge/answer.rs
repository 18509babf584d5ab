//! The body of an answer, which tells its connection when it has ended.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::exchange::InFlight;

pin_project_lite::pin_project! {
    /// The handler's body; its request is in flight until this is dropped.
    #[derive(Debug)]
    pub(super) struct Answer<B> {
        #[pin]
        body: B,
        in_flight: InFlight,
        sharing: Sharing,
    }
}

/// Whether answers share their connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// HTTP/1: an answer that is not taken stalls the socket, which the wire notes.
    Alone,
    /// HTTP/2: a shut window stalls one answer while the socket goes on (row 57).
    Multiplexed,
}

impl<B> Answer<B> {
    pub(super) fn new(body: B, in_flight: InFlight, sharing: Sharing) -> Answer<B> {
        Answer {
            body,
            in_flight,
            sharing,
        }
    }
}

impl<B: Body<Data = Bytes>> Body for Answer<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let polled = this.body.poll_frame(cx);
        match (*this.sharing, &polled) {
            (Sharing::Alone, _) => {}
            // hyper asks for more only once the client's window has room for the last piece.
            (Sharing::Multiplexed, Poll::Ready(Some(_))) => this.in_flight.handed_over(),
            (Sharing::Multiplexed, Poll::Ready(None) | Poll::Pending) => this.in_flight.taken(),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
