//! Answers over HTTP/2.

use std::convert::Infallible;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::Simulated;
use super::request::{Query, Target};
use super::store::{Refused, Store, merge};
use crate::report::say;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// How long accepting rests after an error, such as too many open files.
const REST: Duration = Duration::from_millis(50);

/// Accepts connections for as long as it is polled.
pub(super) async fn accept(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    simulated: Arc<Simulated>,
) -> ! {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(connection(stream, Arc::clone(&tls), Arc::clone(&simulated)));
            }
            Err(error) => {
                say(&format!("a simulated API server cannot accept: {error}"));
                tokio::time::sleep(REST).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, tls: Arc<ServerConfig>, simulated: Arc<Simulated>) {
    // Whoever leaves early is served no more: that is no error here.
    drop(stream.set_nodelay(true));
    let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await else {
        return;
    };
    let service = service_fn(move |request| {
        let simulated = Arc::clone(&simulated);
        async move { Ok::<_, Infallible>(answer(&simulated, request).await) }
    });
    let served = http2::Builder::new(TokioExecutor::new())
        .max_concurrent_streams(250)
        .serve_connection(TokioIo::new(stream), service);
    drop(served.await);
}

async fn answer(simulated: &Arc<Simulated>, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let query = Query::of(head.uri.query());
    let Some(target) = Target::of(path) else {
        return plain(simulated, path);
    };
    if head.method == Method::GET && query.is_watch() {
        return watch(simulated, target, query);
    }
    let body = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes);
    let body: Value = serde_json::from_slice(&body.unwrap_or_default()).unwrap_or_default();
    let mut store = simulated.locked();
    let answer = act(&mut store, &head.method, &target, &query, body);
    let version = store.version();
    drop(store);
    simulated
        .version
        .send_if_modified(|told| std::mem::replace(told, version) != version);
    match answer {
        Ok(bytes) if head.method == Method::POST => whole(StatusCode::CREATED, bytes),
        Ok(bytes) => whole(StatusCode::OK, bytes),
        Err(refused) => refuse(refused),
    }
}

/// What is no object.
fn plain(simulated: &Simulated, path: &str) -> Response<Body> {
    match path {
        "/readyz" | "/livez" | "/healthz" => whole(StatusCode::OK, Bytes::from_static(b"ok")),
        "/version" => {
            let version = json!({"major": "1", "minor": "37", "gitVersion": "v1.37.2"});
            whole(StatusCode::OK, version.to_string().into())
        }
        "/reset" => {
            simulated.locked().reset();
            whole(StatusCode::OK, Bytes::from_static(b"{}"))
        }
        _other => refuse(Refused::NotFound),
    }
}

fn act(
    store: &mut Store,
    method: &Method,
    target: &Target,
    query: &Query,
    body: Value,
) -> Result<Bytes, Refused> {
    let place = |name: &str| {
        (
            target.collection.clone(),
            target.namespace.clone(),
            name.to_owned(),
        )
    };
    let uid = |pointer: &str| {
        body.pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    match (
        method.as_str(),
        target.name.as_deref(),
        target.subresource.as_deref(),
    ) {
        ("GET", None, _) => Ok(list(store, target, query)),
        ("GET", Some(name), _) => store.get(&place(name)),
        ("POST", None, _) => store.create(&target.collection, &target.namespace, body),
        ("POST", Some(name), Some("binding")) => {
            let node = body["target"]["name"].clone();
            store.change(&place(name), None, |pod| {
                pod["spec"]["nodeName"] = node;
                let condition = json!([{"type": "PodScheduled", "status": "True"}]);
                merge(pod, json!({"status": {"conditions": condition}}));
            })?;
            Ok(Bytes::from_static(
                br#"{"kind":"Status","apiVersion":"v1","status":"Success"}"#,
            ))
        }
        ("POST", Some(_), Some("token")) => {
            let status =
                json!({"token": "simulated", "expirationTimestamp": "2036-01-01T00:00:00Z"});
            Ok(json!({"kind": "TokenRequest", "status": status})
                .to_string()
                .into())
        }
        ("PATCH", Some(name), sub) => {
            let (uid, patch) = (uid("/metadata/uid"), patch_of(sub, body));
            store.change(&place(name), uid.as_deref(), |object| merge(object, patch))
        }
        ("PUT", Some(name), _) => {
            let uid = uid("/metadata/uid");
            store.change(&place(name), uid.as_deref(), |object| *object = body)
        }
        ("DELETE", Some(name), _) => {
            store.delete(&place(name), uid("/preconditions/uid").as_deref())
        }
        ("DELETE", None, _) => {
            let all = store.list(&target.collection, &target.namespace);
            let all: Vec<_> = all.into_iter().map(|(place, _)| place.clone()).collect();
            for place in all {
                store.delete(&place, None)?;
            }
            Ok(list(store, target, query))
        }
        _other => Err(Refused::Malformed),
    }
}

/// A status patch changes the status alone, any other everything but it.
fn patch_of(subresource: Option<&str>, mut patch: Value) -> Value {
    if subresource == Some("status") {
        return json!({"status": patch["status"].take()});
    }
    if let Some(patch) = patch.as_object_mut() {
        patch.remove("status");
    }
    patch
}

fn list(store: &Store, target: &Target, query: &Query) -> Bytes {
    let mut text = format!(
        r#"{{"kind":"List","apiVersion":"v1","metadata":{{"resourceVersion":"{}"}},"items":["#,
        store.version()
    )
    .into_bytes();
    let all = store.list(&target.collection, &target.namespace);
    for (number, (_, object)) in all
        .into_iter()
        .filter(|(_, object)| query.selects(object))
        .enumerate()
    {
        if number > 0 {
            text.push(b',');
        }
        text.extend_from_slice(object);
    }
    text.extend_from_slice(b"]}");
    text.into()
}

/// Tells changes for as long as somebody listens.
fn watch(simulated: &Arc<Simulated>, target: Target, query: Query) -> Response<Body> {
    let mut first = Vec::new();
    let store = simulated.locked();
    let from = query.version().unwrap_or_else(|| {
        let all = store.list(&target.collection, &target.namespace);
        let all = all.into_iter().filter(|(_, object)| query.selects(object));
        first.extend(all.map(|(_, object)| line("ADDED", object)));
        store.version()
    });
    drop(store);
    let changes = Watching {
        told: simulated.version.subscribe(),
        simulated: Arc::clone(simulated),
        from,
        ended: false,
        target,
        query,
    };
    let first = stream::iter(first);
    let rest = stream::unfold(changes, |mut watching| async move {
        let lines = watching.next().await?;
        Some((lines, watching))
    });
    let frames = futures::StreamExt::chain(first, rest);
    let frames = futures::StreamExt::map(frames, |bytes| Ok::<_, Infallible>(Frame::data(bytes)));
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    json_type(&mut response);
    response
}

struct Watching {
    told: tokio::sync::watch::Receiver<u64>,
    simulated: Arc<Simulated>,
    from: u64,
    ended: bool,
    target: Target,
    query: Query,
}

impl Watching {
    async fn next(&mut self) -> Option<Bytes> {
        while !self.ended {
            let lines = self.lines();
            if !lines.is_empty() {
                return Some(lines);
            }
            self.told.changed().await.ok()?;
        }
        None
    }

    fn lines(&mut self) -> Bytes {
        let store = self.simulated.locked();
        let Some(changes) = store.since(self.from) else {
            self.ended = true;
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410});
            return line("ERROR", status.to_string().as_bytes());
        };
        let (target, query) = (&self.target, &self.query);
        let wanted = changes.filter(|change| {
            let (collection, namespace, _) = &change.place;
            *collection == target.collection
                && (target.namespace.is_empty() || *namespace == target.namespace)
                && query.selects(&change.object)
        });
        let lines: Vec<Bytes> = wanted
            .map(|change| line(change.kind, &change.object))
            .collect();
        self.from = store.version();
        lines.concat().into()
    }
}

impl Simulated {
    fn locked(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn line(kind: &str, object: &[u8]) -> Bytes {
    let head = format!(r#"{{"type":"{kind}","object":"#);
    [head.as_bytes(), object, b"}\n"].concat().into()
}

fn refuse(refused: Refused) -> Response<Body> {
    let (code, reason) = match refused {
        Refused::NotFound => (StatusCode::NOT_FOUND, "NotFound"),
        Refused::Exists => (StatusCode::CONFLICT, "AlreadyExists"),
        Refused::Conflict => (StatusCode::CONFLICT, "Conflict"),
        Refused::Malformed => (StatusCode::BAD_REQUEST, "BadRequest"),
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": reason,
        "reason": reason, "code": code.as_u16(),
    });
    whole(code, status.to_string().into())
}

fn whole(code: StatusCode, bytes: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(bytes).boxed_unsync());
    *response.status_mut() = code;
    json_type(&mut response);
    response
}

fn json_type(response: &mut Response<Body>) {
    let json = http::HeaderValue::from_static("application/json");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, json);
}
