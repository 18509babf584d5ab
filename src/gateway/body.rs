//! The body of every answer: a constant, or the upstream's as it comes. An enum, not a box.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::hygiene;
use super::record::Record;
use crate::edge::BoxError;
use crate::upstream::UpstreamBody;

/// An answer's body together with the record that ends when it does.
#[derive(Debug)]
pub struct ResponseBody {
    source: Source,
    record: Record,
}

#[derive(Debug)]
enum Source {
    Fixed(Option<Bytes>),
    Upstream(UpstreamBody),
}

impl ResponseBody {
    /// Bytes that are at hand.
    pub(super) fn fixed(bytes: Bytes, record: Record) -> ResponseBody {
        ResponseBody {
            source: Source::Fixed(Some(bytes).filter(|b| !b.is_empty())),
            record,
        }
    }

    /// An upstream's.
    pub(super) fn upstream(body: UpstreamBody, record: Record) -> ResponseBody {
        ResponseBody {
            source: Source::Upstream(body),
            record,
        }
    }

    fn poll_source(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.source {
            Source::Fixed(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Source::Upstream(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(Into::into))),
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = std::task::ready!(self.poll_source(cx));
        match frame {
            Some(Ok(frame)) => {
                let frame = match frame.into_trailers() {
                    Ok(mut trailers) => {
                        hygiene::clean_trailers(&mut trailers);
                        Frame::trailers(trailers)
                    }
                    Err(frame) => frame,
                };
                self.record.sent(frame.data_ref().map_or(0, Bytes::len));
                if self.source.is_end() {
                    self.record.complete();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                self.record.broke_off();
                Poll::Ready(Some(Err(error)))
            }
            None => {
                self.record.complete();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Fixed(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            Source::Upstream(body) => body.size_hint(),
        }
    }
}

impl Source {
    fn is_end(&self) -> bool {
        match self {
            Source::Fixed(bytes) => bytes.is_none(),
            Source::Upstream(body) => body.is_end_stream(),
        }
    }
}
