//! Bodies on their way through: counted, never collected, ended when they must.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderValue};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;

use crate::body::{Body, BoxError};
use crate::limits::Entered;
use crate::record::Record;
use crate::vigil::End;

/// How a stream is ended from here, so that its client does the right thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// As if it were complete: Kubernetes' clients watch again from where they were.
    Cleanly,
    /// With an error: what came so far is not the whole.
    Abruptly,
    /// With the status `UNAVAILABLE` in trailers.
    Grpc,
}

/// The future that tells when a stream must end.
pub type Ended = Pin<Box<dyn Future<Output = End> + Send>>;

/// The answer of an upstream on its way to the client.
struct Relayed<B> {
    inner: B,
    ended: Ended,
    cut: Cut,
    over: bool,
    record: Record,
    sent: Arc<AtomicU64>,
    _entered: Option<Entered>,
}

/// Wraps the body of an answer; the record ends with it.
pub fn answer<B>(
    inner: B,
    ended: Ended,
    cut: Cut,
    mut record: Record,
    entered: Option<Entered>,
) -> Body
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let sent = record.sent();
    if inner.is_end_stream() {
        // Nobody will ask it for anything.
        record.ended("complete");
    }
    Relayed {
        inner,
        ended,
        cut,
        over: false,
        record,
        sent,
        _entered: entered,
    }
    .boxed_unsync()
}

/// Wraps an answer that is made here; the record ends with it.
pub fn whole(inner: Body, record: Record) -> Body {
    answer(
        inner,
        Box::pin(std::future::pending()),
        Cut::Abruptly,
        record,
        None,
    )
}

/// The stream was ended from here.
#[derive(Debug, thiserror::Error)]
#[error("the stream was ended by the gateway: {}", .0.as_str())]
struct CutOff(End);

impl<B> Relayed<B> {
    fn cut_off(&mut self, end: End) -> Option<Result<Frame<Bytes>, BoxError>> {
        self.over = true;
        self.record.ended(end.as_str());
        match self.cut {
            Cut::Cleanly => None,
            Cut::Abruptly => Some(Err(Box::new(CutOff(end)))),
            Cut::Grpc => {
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from_static("14"));
                let message = HeaderValue::from_static("the%20gateway%20ended%20the%20stream");
                trailers.insert("grpc-message", message);
                Some(Ok(Frame::trailers(trailers)))
            }
        }
    }
}

impl<B> HttpBody for Relayed<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.over {
            return Poll::Ready(None);
        }
        // First, because an upstream that always has something would never let it be asked.
        if let Poll::Ready(end) = self.ended.as_mut().poll(cx) {
            return Poll::Ready(self.cut_off(end));
        }
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.sent
                        .fetch_add(data.remaining() as u64, Ordering::Relaxed);
                }
                if self.inner.is_end_stream() {
                    self.record.ended("complete");
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.over = true;
                self.record.ended("broken");
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(None) => {
                self.over = true;
                self.record.ended("complete");
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of a request on its way to an upstream.
struct Counted<B> {
    inner: B,
    received: Arc<AtomicU64>,
}

/// Wraps the body of a request, counting its bytes.
pub fn request<B>(inner: B, received: Arc<AtomicU64>) -> Body
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    Counted { inner, received }.boxed_unsync()
}

impl<B> HttpBody for Counted<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.received
                .fetch_add(data.remaining() as u64, Ordering::Relaxed);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
