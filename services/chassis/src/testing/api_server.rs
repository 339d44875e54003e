//! An API server for one test: a script answers each request, and every request is kept.

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use kube::Client;
use kube::client::Body;
use serde::Serialize;
use serde_json::Value;

/// A request as the double saw it.
#[derive(Debug, Clone)]
pub struct Call {
    /// Method.
    pub method: Method,
    /// Path without the query.
    pub path: String,
    /// Query; empty if there is none.
    pub query: String,
    /// Headers.
    pub headers: http::HeaderMap,
    /// Body as JSON; `null` if there is none.
    pub body: Value,
}

type Answer = dyn Fn(&Call) -> Response<String> + Send + Sync;

/// Answers each call by a function and remembers the calls. Clones are the same server.
#[derive(Clone)]
pub struct ApiServer {
    calls: Arc<Mutex<Vec<Call>>>,
    answer: Arc<Answer>,
}

impl ApiServer {
    /// Makes a server that answers with `answer`.
    pub fn new(answer: impl Fn(&Call) -> Response<String> + Send + Sync + 'static) -> Self {
        Self {
            calls: Arc::default(),
            answer: Arc::new(answer),
        }
    }

    /// A client of this server.
    pub fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.handle(request).await) }
        });
        Client::new(service, "default")
    }

    /// The calls so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.locked().clone()
    }

    async fn handle(&self, request: Request<Body>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body = body
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes)
            .unwrap_or_default();
        let call = Call {
            method: head.method,
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: head.headers,
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        };
        self.locked().push(call.clone());
        (self.answer)(&call).map(|body| Full::new(Bytes::from(body)))
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiServer")
            .field("calls", &self.locked().len())
            .finish_non_exhaustive()
    }
}

/// Answers with a status and a JSON body.
pub fn json(status: u16, body: impl Serialize) -> Response<String> {
    let text = serde_json::to_string(&body).expect("test bodies are JSON");
    let mut response = Response::new(text);
    *response.status_mut() = StatusCode::from_u16(status).expect("statuses in tests are HTTP's");
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    response
}
