//! Bodies of answers that fall silent.
//!
//! A head has its deadline before this; here a body that stops in the middle is given up, or whoever
//! reads a list from a server that is gone would wait for ever. Watches and followed logs may be silent for as
//! long as they like: kube's watcher and the reader of the log have deadlines of their own.

use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{FutureExt, Map};
use http::{Request, Response};
use tower::{Layer, Service};
use tower_http::timeout::TimeoutBody;

/// Gives up bodies that are silent for so long.
#[derive(Debug, Clone, Copy)]
pub(super) struct SilenceLayer(pub(super) Duration);

impl<S> Layer<S> for SilenceLayer {
    type Service = Silence<S>;

    fn layer(&self, inner: S) -> Silence<S> {
        Silence {
            limit: self.0,
            inner,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Silence<S> {
    limit: Duration,
    inner: S,
}

type Limited<B, E> = Result<Response<TimeoutBody<B>>, E>;
type Limit<B, E> = Box<dyn FnOnce(Result<Response<B>, E>) -> Limited<B, E> + Send>;

impl<S, B, A> Service<Request<A>> for Silence<S>
where
    S: Service<Request<A>, Response = Response<B>>,
{
    type Response = Response<TimeoutBody<B>>;
    type Error = S::Error;
    type Future = Map<S::Future, Limit<B, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let limit = if may_be_silent(request.uri().query().unwrap_or_default()) {
            Duration::MAX
        } else {
            self.limit
        };
        let limited = move |answer: Result<Response<B>, S::Error>| {
            answer.map(|answer| answer.map(|body| TimeoutBody::new(limit, body)))
        };
        self.inner.call(request).map(Box::new(limited))
    }
}

fn may_be_silent(query: &str) -> bool {
    query
        .split('&')
        .any(|pair| matches!(pair, "watch=true" | "watch=1" | "follow=true" | "follow=1"))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};
    use tower::ServiceExt;

    use super::*;

    async fn ends(uri: &str) -> bool {
        let stalled = tower::service_fn(async |_: Request<()>| {
            let frames = futures::stream::pending::<Result<Frame<Bytes>, Infallible>>();
            Ok::<_, Infallible>(Response::new(StreamBody::new(frames)))
        });
        let request = Request::builder().uri(uri).body(()).unwrap();
        let limit = SilenceLayer(Duration::from_secs(30));
        let answer = limit.layer(stalled).oneshot(request).await.unwrap();
        let read = answer.into_body().collect();
        tokio::time::timeout(Duration::from_hours(1), read)
            .await
            .is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_is_given_up_unless_it_follows_something() {
        assert!(ends("/api/v1/pods").await);
        assert!(ends("/api/v1/pods?limit=500&labelSelector=watch%3Dtrue").await);
        assert!(!ends("/api/v1/pods?&watch=true&resourceVersion=1").await);
        assert!(!ends("/api/v1/namespaces/a/pods/b/log?&container=c&follow=true").await);
    }
}
