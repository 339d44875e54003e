//! The code with which a call ended, wherever it stands: in the head, in the trailers, or nowhere.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Frame, SizeHint};
use tonic::body::Body;
use tonic::{Code, Status};
use tracing::Span;

/// Is told how a call ended. Dropped untold, it knows that the client went away.
pub(super) trait Outcome: Send + Unpin + 'static {
    /// The call ended with this code.
    fn ended(&mut self, code: Code);

    /// Span in which the rest of the response is made.
    fn span(&self) -> Option<&Span> {
        None
    }
}

/// Follows a response to its end.
pub(super) fn follow<O: Outcome>(response: Response<Body>, mut outcome: O) -> Response<Body> {
    if let Some(code) = code(response.headers()) {
        outcome.ended(code);
        return response;
    }
    response.map(|body| {
        Body::new(Followed {
            body,
            outcome: Some(outcome),
        })
    })
}

fn code(headers: &HeaderMap) -> Option<Code> {
    headers
        .get(Status::GRPC_STATUS)
        .map(|code| Code::from_bytes(code.as_bytes()))
}

struct Followed<O> {
    body: Body,
    outcome: Option<O>,
}

impl<O: Outcome> Followed<O> {
    fn end(&mut self, code: Code) {
        if let Some(mut outcome) = self.outcome.take() {
            outcome.ended(code);
        }
    }
}

impl<O: Outcome> http_body::Body for Followed<O> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let span = this.outcome.as_ref().and_then(Outcome::span).cloned();
        let _entered = span.as_ref().map(Span::enter);
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    this.end(code(trailers).unwrap_or(Code::Unknown));
                }
            }
            Some(Err(status)) => this.end(status.code()),
            // A response without a status is broken; the client sees UNKNOWN too.
            None => this.end(Code::Unknown),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
