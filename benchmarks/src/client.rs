//! A thin client of one API server: one HTTP/2 connection, bodies as bytes.
//!
//! It costs as little as can be, because it shares the machine with what is measured. It never retries: a request
//! that fails is a failure of the run, and is told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::{Bytes, BytesMut};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The longest that an answer may take.
const DEADLINE: Duration = Duration::from_mins(1);
const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";
/// Room for lists and bursts of events: small windows would measure flow control.
const WINDOW: u32 = 4 << 20;

/// A connection to an API server as one user; made anew where the server has closed it, as one does that was idle.
#[derive(Clone)]
pub(crate) struct Client {
    port: u16,
    tls: Arc<ClientConfig>,
    sender: Arc<Mutex<Sender>>,
    bearer: Option<Arc<str>>,
}

type Sender = SendRequest<Full<Bytes>>;

/// Connects with TLS and HTTP/2.
async fn dial(port: u16, tls: &Arc<ClientConfig>) -> Result<Sender> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("127.0.0.1")?;
    let connector = TlsConnector::from(Arc::clone(tls));
    let stream = connector.connect(name, stream).await?;
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .handshake(TokioIo::new(stream))
        .await?;
    // Ends with the last sender.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

impl Client {
    /// Connects.
    pub(crate) async fn connect(port: u16, tls: &Arc<ClientConfig>) -> Result<Self> {
        let sender = dial(port, tls).await?;
        Ok(Self {
            port,
            tls: Arc::clone(tls),
            sender: Arc::new(Mutex::new(sender)),
            bearer: None,
        })
    }

    /// A connection that can be written to.
    async fn sender(&self) -> Result<Sender> {
        let mut sender = self.held().clone();
        if sender.ready().await.is_ok() {
            return Ok(sender);
        }
        let sender = dial(self.port, &self.tls).await?;
        self.held().clone_from(&sender);
        Ok(sender)
    }

    fn held(&self) -> MutexGuard<'_, Sender> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same connection with a token.
    pub(crate) fn bearing(&self, token: &str) -> Self {
        Self {
            bearer: Some(format!("Bearer {token}").into()),
            ..self.clone()
        }
    }

    /// Sends a request and reads the answer whole.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        media: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes)> {
        let asked = async {
            let answer = self.open(method.clone(), path, media, body).await?;
            let status = answer.status();
            let body = answer.into_body().collect().await?.to_bytes();
            anyhow::Ok((status, body))
        };
        let answer = tokio::time::timeout(DEADLINE, asked).await;
        answer
            .map_err(anyhow::Error::from)
            .flatten()
            .with_context(|| format!("{method} {path} at port {}", self.port))
    }

    async fn open(
        &self,
        method: Method,
        path: &str,
        media: &str,
        body: Bytes,
    ) -> Result<http::Response<Incoming>> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("https://127.0.0.1:{}{path}", self.port))
            .header("content-type", media)
            .header("user-agent", "vcluster-benchmarks");
        if let Some(bearer) = &self.bearer {
            request = request.header("authorization", &**bearer);
        }
        let mut sender = self.sender().await?;
        Ok(sender.send_request(request.body(Full::new(body))?).await?)
    }

    /// Makes an object.
    pub(crate) async fn create(&self, collection: &str, body: impl Into<Bytes>) -> Result<Bytes> {
        let answer = self
            .send(Method::POST, collection, JSON, body.into())
            .await?;
        accepted(&Method::POST, collection, answer)
    }

    /// Makes an object if it is not there.
    pub(crate) async fn ensure(&self, collection: &str, object: &Value) -> Result<()> {
        let body = object.to_string().into();
        let answer = self.send(Method::POST, collection, JSON, body).await?;
        if answer.0 == StatusCode::CONFLICT {
            return Ok(());
        }
        accepted(&Method::POST, collection, answer).map(drop)
    }

    /// Changes an object by a merge patch.
    pub(crate) async fn patch(&self, path: &str, body: impl Into<Bytes>) -> Result<Bytes> {
        let answer = self.send(Method::PATCH, path, MERGE, body.into()).await?;
        accepted(&Method::PATCH, path, answer)
    }

    /// Changes an object by a strategic merge patch.
    pub(crate) async fn patch_strategic(
        &self,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Result<Bytes> {
        let answer = self
            .send(Method::PATCH, path, STRATEGIC, body.into())
            .await?;
        accepted(&Method::PATCH, path, answer)
    }

    /// Says by server-side apply what a field manager wants of an object, and nothing more than that.
    pub(crate) async fn apply(&self, path: &str, manager: &str, object: &Value) -> Result<()> {
        let path = format!("{path}?force=true&fieldManager={manager}");
        let answer = self
            .send(Method::PATCH, &path, APPLY, object.to_string().into())
            .await?;
        accepted(&Method::PATCH, &path, answer).map(drop)
    }

    /// Deletes what is there, at once.
    pub(crate) async fn delete(&self, path: &str) -> Result<()> {
        let options = r#"{"apiVersion":"v1","kind":"DeleteOptions","gracePeriodSeconds":0}"#;
        let answer = self
            .send(Method::DELETE, path, JSON, options.into())
            .await?;
        if answer.0 == StatusCode::NOT_FOUND {
            return Ok(());
        }
        accepted(&Method::DELETE, path, answer).map(drop)
    }

    /// Reads what is there as it is sent.
    pub(crate) async fn get_bytes(&self, path: &str) -> Result<Bytes> {
        let answer = self.send(Method::GET, path, JSON, Bytes::new()).await?;
        accepted(&Method::GET, path, answer)
    }

    /// Reads an object.
    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        Ok(serde_json::from_slice(&self.get_bytes(path).await?)?)
    }

    /// Follows a collection from now on, or from a version.
    pub(crate) async fn watch(&self, collection: &str) -> Result<Lines> {
        let sign = if collection.contains('?') { '&' } else { '?' };
        let path = format!("{collection}{sign}watch=true");
        let answer = self.open(Method::GET, &path, JSON, Bytes::new()).await?;
        if !answer.status().is_success() {
            bail!("watch of {path}: {}", answer.status());
        }
        Ok(Lines {
            body: answer.into_body(),
            read: BytesMut::new(),
        })
    }
}

fn accepted(method: &Method, path: &str, (status, body): (StatusCode, Bytes)) -> Result<Bytes> {
    if status.is_success() {
        return Ok(body);
    }
    let said = String::from_utf8_lossy(&body);
    let said: String = said.chars().take(400).collect();
    bail!("{method} {path}: {status}: {said}")
}

/// The lines of a watch.
pub(crate) struct Lines {
    body: Incoming,
    read: BytesMut,
}

impl Lines {
    /// The next line; none when the server ends the watch.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                return Ok(Some(self.read.split_to(end + 1).freeze()));
            }
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            if let Ok(data) = frame?.into_data() {
                self.read.extend_from_slice(&data);
            }
        }
    }
}
