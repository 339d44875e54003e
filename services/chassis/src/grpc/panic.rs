//! A panic of one handler is the failure of one call.
//!
//! The client learns nothing of it but `INTERNAL`; the log has what the panic said.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::drain::panic_message;

/// Turns panics of handlers and of the streams that they return into `INTERNAL`.
#[derive(Debug, Clone, Copy)]
pub(super) struct CatchPanicLayer;

impl<S> Layer<S> for CatchPanicLayer {
    type Service = CatchPanic<S>;

    fn layer(&self, inner: S) -> CatchPanic<S> {
        CatchPanic { inner }
    }
}

#[derive(Debug, Clone)]
pub(super) struct CatchPanic<S> {
    inner: S,
}

impl<S> Service<Request<Body>> for CatchPanic<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let response = AssertUnwindSafe(self.inner.call(request)).catch_unwind();
        Box::pin(async move {
            match response.await {
                Ok(response) => Ok(response?.map(|body| {
                    Body::new(Caught {
                        body,
                        panicked: false,
                    })
                })),
                Err(panic) => Ok(status(panic.as_ref()).into_http()),
            }
        })
    }
}

fn status(panic: &(dyn Any + Send)) -> Status {
    tracing::error!(panic = panic_message(panic), "handler panicked");
    Status::internal("internal error")
}

struct Caught {
    body: Body,
    panicked: bool,
}

impl http_body::Body for Caught {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.panicked {
            return Poll::Ready(None);
        }
        let body = AssertUnwindSafe(&mut self.body);
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(body.0).poll_frame(cx)));
        polled.unwrap_or_else(|panic| {
            // A stream that has panicked is broken inside: it is not touched again.
            self.panicked = true;
            Poll::Ready(Some(Ok(Frame::trailers(trailers(&status(panic.as_ref()))))))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.panicked || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Writes a status as the trailers that end a stream.
pub(super) fn trailers(status: &Status) -> http::HeaderMap {
    let mut trailers = http::HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        tracing::error!("a status cannot be written as trailers");
    }
    trailers
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn a_panic_before_the_response_is_internal() {
        let handler = tower::service_fn(async |_: Request<Body>| -> Result<_, Infallible> {
            panic!("secret detail")
        });
        let response = CatchPanicLayer
            .layer(handler)
            .oneshot(Request::default())
            .await
            .unwrap();
        assert_eq!(response.headers()["grpc-status"], "13");
        assert_eq!(response.headers()["grpc-message"], "internal%20error");
    }

    #[tokio::test]
    async fn a_panic_within_a_stream_ends_it_with_internal() {
        let handler = tower::service_fn(async |_: Request<Body>| {
            let frames =
                futures::stream::poll_fn(|_| -> Poll<Option<Result<Frame<Bytes>, Status>>> {
                    panic!("later")
                });
            let body = Body::new(http_body_util::StreamBody::new(frames));
            Ok::<_, Infallible>(Response::new(body))
        });
        let response = CatchPanicLayer
            .layer(handler)
            .oneshot(Request::default())
            .await
            .unwrap();
        let trailers = response
            .into_body()
            .collect()
            .await
            .unwrap()
            .trailers()
            .unwrap()
            .clone();
        assert_eq!(trailers["grpc-status"], "13");
    }
}
