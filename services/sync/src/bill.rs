//! What each tenant costs: CPU time, requests, bytes, watches.
//!
//! A tenant's futures are wrapped: each poll adds the CPU time of its thread to the tenant's bill. Its clients are
//! wrapped: each request, and each byte of a body as it passes, is counted for the side that it goes to. Everything
//! is a few atomic additions. What a server says about when to come again (`Retry-After`) is seen here as well, because
//! nobody behind the client sees an answer's head. Not on any bill is what all tenants share: the host's watches, and
//! the connections to the host with their encryption. A bill runs from when this replica takes the tenant until it lets
//! it go, however often the tenant is taken up anew meanwhile.

use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::RETRY_AFTER;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use kube::client::Body;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;
use tower::{Layer, Service};

#[cfg(test)]
mod tests;

/// The longest that a server is left alone because it asks for it.
const QUIET: Duration = Duration::from_mins(1);

/// What one tenant has cost.
#[derive(Debug, Default)]
pub struct Bill {
    cpu_nanos: AtomicU64,
    /// To and from its virtual API server.
    pub virtual_: Arc<Traffic>,
    /// To and from the host, as its own ServiceAccount.
    pub host: Arc<Traffic>,
}

/// What passed between sync and one API server.
#[derive(Debug, Default)]
pub struct Traffic {
    requests: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    watches: AtomicI64,
    quiet: Mutex<Option<Instant>>,
}

/// The traffic at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Passed {
    /// Requests, watches and lists among them.
    pub requests: u64,
    /// Bytes of their bodies.
    pub sent: u64,
    /// Bytes of the bodies of the answers.
    pub received: u64,
    /// Watches that are open.
    pub watches: i64,
}

impl Bill {
    /// CPU time that was spent for the tenant.
    pub fn cpu(&self) -> Duration {
        Duration::from_nanos(self.cpu_nanos.load(Ordering::Relaxed))
    }

    /// Begins anew: the tenant is this replica's again, after it was another's. Watches that are open stay counted.
    pub fn reset(&self) {
        self.cpu_nanos.store(0, Ordering::Relaxed);
        for traffic in [&self.virtual_, &self.host] {
            for sum in [&traffic.requests, &traffic.sent, &traffic.received] {
                sum.store(0, Ordering::Relaxed);
            }
        }
    }

    /// A future whose polls are on the bill.
    pub fn meter<F: Future>(self: &Arc<Self>, future: F) -> Metered<F> {
        Metered {
            bill: Arc::clone(self),
            future: Box::pin(future),
        }
    }
}

impl Traffic {
    /// How long the server has asked to be left alone, from now.
    pub fn quiet(&self) -> Option<Duration> {
        let quiet = *self.quiet.lock().unwrap_or_else(PoisonError::into_inner);
        let left = quiet?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// Takes note of an answer that asks to be left alone.
    fn heed(&self, status: StatusCode, headers: &HeaderMap) {
        if !matches!(status.as_u16(), 429 | 503) {
            return;
        }
        let seconds = headers
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok());
        // A date, which is allowed as well, no API server sends.
        let Some(seconds) = seconds.and_then(|seconds| seconds.trim().parse().ok()) else {
            return;
        };
        let until = Instant::now() + Duration::from_secs(seconds).min(QUIET);
        let mut quiet = self.quiet.lock().unwrap_or_else(PoisonError::into_inner);
        *quiet = Some(quiet.map_or(until, |known| known.max(until)));
    }

    /// What has passed so far.
    pub fn passed(&self) -> Passed {
        Passed {
            requests: self.requests.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
            watches: self.watches.load(Ordering::Relaxed),
        }
    }
}

/// CPU time of this thread so far.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
}

/// A future whose polls are on a bill.
#[derive(Debug)]
pub struct Metered<F> {
    bill: Arc<Bill>,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Metered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let _spending = Spending {
            begun: thread_time(),
            bill: Arc::clone(&self.bill),
        };
        self.future.as_mut().poll(context)
    }
}

/// Time that goes on a bill when it is dropped, be it by a panic.
struct Spending {
    begun: Duration,
    bill: Arc<Bill>,
}

impl Drop for Spending {
    fn drop(&mut self) {
        let spent = thread_time().saturating_sub(self.begun);
        let nanos = u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX);
        self.bill.cpu_nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

/// Counts what passes through a client.
#[derive(Debug, Clone)]
pub struct Counting(pub Arc<Traffic>);

impl<S> Layer<S> for Counting {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted {
            inner,
            traffic: Arc::clone(&self.0),
        }
    }
}

/// A client whose traffic is counted.
#[derive(Debug, Clone)]
pub struct Counted<S> {
    inner: S,
    traffic: Arc<Traffic>,
}

impl<S, B> Service<Request<Body>> for Counted<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    B: 'static,
{
    type Response = Response<CountedBody<B>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let traffic = Arc::clone(&self.traffic);
        // Bodies are whole, so that their size is known.
        let size = request.body().size_hint().lower();
        let query = request.uri().query().unwrap_or_default();
        let is_watch = query.split('&').any(|part| part == "watch=true");
        traffic.requests.fetch_add(1, Ordering::Relaxed);
        traffic.sent.fetch_add(size, Ordering::Relaxed);
        let sent = self.inner.call(request);
        Box::pin(async move {
            let response = sent.await?;
            traffic.heed(response.status(), response.headers());
            let watch = is_watch.then(|| Watching::begin(Arc::clone(&traffic)));
            Ok(response.map(|inner| CountedBody {
                inner: Box::pin(inner),
                traffic,
                _watch: watch,
            }))
        })
    }
}

/// A watch that is open, until dropped.
#[derive(Debug)]
struct Watching(Arc<Traffic>);

impl Watching {
    fn begin(traffic: Arc<Traffic>) -> Self {
        traffic.watches.fetch_add(1, Ordering::Relaxed);
        Self(traffic)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.watches.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer, whose bytes are counted as they come.
#[derive(Debug)]
pub struct CountedBody<B> {
    inner: Pin<Box<B>>,
    traffic: Arc<Traffic>,
    _watch: Option<Watching>,
}

impl<B: http_body::Body<Data = Bytes>> http_body::Body for CountedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = self.inner.as_mut().poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            let bytes = u64::try_from(data.len()).unwrap_or(u64::MAX);
            self.traffic.received.fetch_add(bytes, Ordering::Relaxed);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
