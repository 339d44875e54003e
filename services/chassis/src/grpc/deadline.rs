//! The time a call has.
//!
//! The client's `grpc-timeout` holds for the whole call, streams included; the server's own limit holds
//! until the head of the response, since a watch may rightly last for hours. Handlers find the earlier
//! of both as [`Deadline`] in the request's extensions, to pass on what is left of it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::panic::trailers;

/// When a call must have been answered; an extension of each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(pub Instant);

impl Deadline {
    /// What is left of it.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// Cuts off calls whose time is over, with `DEADLINE_EXCEEDED`.
#[derive(Debug, Clone, Copy)]
pub(super) struct DeadlineLayer {
    max: Duration,
}

impl DeadlineLayer {
    pub(super) fn new(max: Duration) -> Self {
        Self { max }
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Timed<S>;

    fn layer(&self, inner: S) -> Timed<S> {
        Timed {
            max: self.max,
            inner,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Timed<S> {
    max: Duration,
    inner: S,
}

impl<S> Service<Request<Body>> for Timed<S>
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

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let now = Instant::now();
        let asked = timeout(request.headers()).and_then(|timeout| now.checked_add(timeout));
        let limit = now + self.max;
        let deadline = asked.map_or(limit, |asked| asked.min(limit));
        request.extensions_mut().insert(Deadline(deadline));
        let response = self.inner.call(request);
        Box::pin(async move {
            match tokio::time::timeout_at(deadline, response).await {
                Ok(response) => Ok(response?.map(|body| bound(body, asked))),
                Err(_elapsed) => Ok(exceeded().into_http()),
            }
        })
    }
}

fn exceeded() -> Status {
    Status::deadline_exceeded("the call's time is over")
}

fn bound(body: Body, deadline: Option<Instant>) -> Body {
    match deadline {
        Some(deadline) if !body.is_end_stream() => Body::new(Bound {
            body,
            over: Some(Box::pin(tokio::time::sleep_until(deadline))),
        }),
        Some(_) | None => body,
    }
}

struct Bound {
    body: Body,
    /// Absent once the stream is at its end, by itself or because the time is over.
    over: Option<Pin<Box<Sleep>>>,
}

impl http_body::Body for Bound {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(over) = &mut this.over else {
            return Poll::Ready(None);
        };
        // The time is asked first: a stream that always has more would never let it be asked.
        if over.as_mut().poll(cx).is_ready() {
            this.over = None;
            this.body = Body::empty();
            return Poll::Ready(Some(Ok(Frame::trailers(trailers(&exceeded())))));
        }
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if !matches!(&frame, Some(Ok(frame)) if frame.is_data()) {
            this.over = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.over.is_none() || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Parses `grpc-timeout`: at most eight digits and a unit (gRPC over HTTP/2). A malformed one counts as
/// none, as in other servers.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::{BodyExt, StreamBody};
    use tower::ServiceExt;

    use super::*;

    const LIMIT: DeadlineLayer = DeadlineLayer {
        max: Duration::from_mins(1),
    };

    fn request(timeout: Option<&str>) -> Request<Body> {
        let mut request = Request::default();
        if let Some(timeout) = timeout {
            request
                .headers_mut()
                .insert("grpc-timeout", timeout.parse().unwrap());
        }
        request
    }

    #[test]
    fn timeouts_are_parsed_as_the_protocol_says() {
        let cases = [
            ("1H", Some(Duration::from_hours(1))),
            ("2M", Some(Duration::from_mins(2))),
            ("3S", Some(Duration::from_secs(3))),
            ("4m", Some(Duration::from_millis(4))),
            ("5u", Some(Duration::from_micros(5))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("123456789n", None),
            ("+1S", None),
            ("S", None),
            ("1", None),
            ("1s", None),
        ];
        for (text, expected) in cases {
            assert_eq!(timeout(request(Some(text)).headers()), expected, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_handler_is_cut_off_at_the_earlier_deadline() {
        for (asked, seconds) in [(None, 60), (Some("2S"), 2), (Some("9H"), 60)] {
            let begun = Instant::now();
            let handler = tower::service_fn(|_: Request<Body>| {
                std::future::pending::<Result<Response<Body>, Infallible>>()
            });
            let response = LIMIT.layer(handler).oneshot(request(asked)).await.unwrap();
            assert_eq!(response.headers()["grpc-status"], "4");
            assert_eq!(begun.elapsed().as_secs(), seconds, "{asked:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_when_the_clients_time_is_over_and_only_then() {
        let begun = Instant::now();
        let handler = tower::service_fn(async |request: Request<Body>| {
            let deadline = request.extensions().get::<Deadline>().unwrap();
            assert_eq!(
                deadline.remaining(),
                Duration::from_mins(1),
                "the server's limit"
            );
            let frames = futures::stream::pending::<Result<Frame<Bytes>, Status>>();
            Ok::<_, Infallible>(Response::new(Body::new(StreamBody::new(frames))))
        });
        let response = LIMIT
            .layer(handler)
            .oneshot(request(Some("90S")))
            .await
            .unwrap();
        let body = response.into_body().collect().await.unwrap();
        assert_eq!(body.trailers().unwrap()["grpc-status"], "4");
        assert_eq!(begun.elapsed(), Duration::from_secs(90));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_always_has_more_ends_in_time_too() {
        let handler = tower::service_fn(async |_: Request<Body>| {
            let endless =
                futures::stream::repeat_with(|| Ok::<_, Status>(Frame::data(Bytes::new())));
            Ok::<_, Infallible>(Response::new(Body::new(StreamBody::new(endless))))
        });
        let response = LIMIT
            .layer(handler)
            .oneshot(request(Some("2S")))
            .await
            .unwrap();
        let mut body = response.into_body();
        assert!(body.frame().await.unwrap().unwrap().is_data());
        tokio::time::advance(Duration::from_secs(2)).await;
        let last = body.frame().await.unwrap().unwrap();
        assert_eq!(last.trailers_ref().unwrap()["grpc-status"], "4");
        assert!(body.frame().await.is_none());
    }
}
