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
        _in_flight: InFlight,
    }
}

impl<B> Answer<B> {
    pub(super) fn new(body: B, in_flight: InFlight) -> Answer<B> {
        Answer {
            body,
            _in_flight: in_flight,
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
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
