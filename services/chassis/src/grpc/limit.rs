//! How many calls may wait for an answer at once.
//!
//! Refuses instead of queueing: a client that is told at once can go elsewhere or wait; one in a queue
//! runs into its deadline after the work was done for nothing.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Request, Response};
use tokio::sync::Semaphore;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

/// Shares one limit between all connections.
#[derive(Debug, Clone)]
pub(super) struct LimitLayer {
    slots: Arc<Semaphore>,
}

impl LimitLayer {
    pub(super) fn new(max_calls: usize) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(max_calls.min(Semaphore::MAX_PERMITS))),
        }
    }
}

impl<S> Layer<S> for LimitLayer {
    type Service = Limit<S>;

    fn layer(&self, inner: S) -> Limit<S> {
        Limit {
            slots: Arc::clone(&self.slots),
            inner,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Limit<S> {
    slots: Arc<Semaphore>,
    inner: S,
}

impl<S> Service<Request<Body>> for Limit<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            let refused = Status::resource_exhausted("the server has too many calls; try again");
            return Box::pin(std::future::ready(Ok(refused.into_http())));
        };
        let response = self.inner.call(request);
        Box::pin(async move {
            let _slot = slot;
            response.await
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn a_call_beyond_the_limit_is_refused_until_another_ends() {
        let (release, held) = tokio::sync::watch::channel(false);
        let handler = tower::service_fn(move |_: Request<Body>| {
            let mut held = held.clone();
            async move {
                drop(held.wait_for(|go| *go).await);
                Ok::<_, Infallible>(Response::new(Body::empty()))
            }
        });
        let service = LimitLayer::new(1).layer(handler);
        let first = tokio::spawn(service.clone().oneshot(Request::default()));
        tokio::task::yield_now().await;
        let refused = service.clone().oneshot(Request::default()).await.unwrap();
        assert_eq!(refused.headers()["grpc-status"], "8");
        release.send(true).unwrap();
        first.await.unwrap().unwrap();
        let taken = service.oneshot(Request::default()).await.unwrap();
        assert!(!taken.headers().contains_key("grpc-status"));
    }
}
