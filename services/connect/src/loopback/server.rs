//! A virtual API server, or a service of the platform: it demands the gateway's certificate and remembers what arrived.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use http::Version;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio_rustls::TlsAcceptor;
use vcluster_chassis::tls::{ALPN_H2, ALPN_HTTP1, ClientAuth, Live, server_config};

use super::*;

/// The head of a request as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) target: String,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
    /// Number of the connection on which it came.
    pub(super) connection: usize,
}

pub(super) type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;
type Script = Arc<dyn Fn(Request<Incoming>) -> Answering + Send + Sync>;

/// A server whose answers a test scripts.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    script: Arc<Mutex<Script>>,
}

impl Server {
    pub(super) async fn start(ca: &Authority, clients: &Authority) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let config = server_config(
            ca.server(&["127.0.0.1"]).identity(),
            ClientAuth::Required(Live::from(clients.roots())),
            &[ALPN_H2, ALPN_HTTP1],
        );
        let first: Script = Arc::new(|_| Box::pin(async { plain(200, "hello") }));
        let this = Self {
            address,
            seen: Arc::default(),
            script: Arc::new(Mutex::new(first)),
        };
        let (seen, script) = (Arc::clone(&this.seen), Arc::clone(&this.script));
        tokio::spawn(async move {
            for connection in 0.. {
                let (tcp, _) = listener.accept().await.unwrap();
                let acceptor = TlsAcceptor::from(Arc::clone(&config));
                let (seen, script) = (Arc::clone(&seen), Arc::clone(&script));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(tcp).await else {
                        return;
                    };
                    let h2 = stream.get_ref().1.alpn_protocol() == Some(ALPN_H2);
                    let service = service_fn(move |request: Request<Incoming>| {
                        seen.lock().unwrap().push(Seen {
                            target: request.uri().path_and_query().unwrap().to_string(),
                            version: request.version(),
                            headers: request.headers().clone(),
                            connection,
                        });
                        let script = script.lock().unwrap().clone();
                        async move { Ok::<_, Infallible>(script(request).await) }
                    });
                    let io = TokioIo::new(stream);
                    if h2 {
                        let mut builder =
                            hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                        builder.timer(TokioTimer::new());
                        drop(builder.serve_connection(io, service).await);
                    } else {
                        let builder = hyper::server::conn::http1::Builder::new();
                        drop(builder.serve_connection(io, service).with_upgrades().await);
                    }
                });
            }
        });
        this
    }

    /// Answers from now on by this function.
    pub(super) fn answers<F, R>(&self, script: F)
    where
        F: Fn(Request<Incoming>) -> R + Send + Sync + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        *self.script.lock().unwrap() = Arc::new(move |request| Box::pin(script(request)));
    }

    /// What has arrived, in order.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The one request that has arrived.
    pub(super) fn only(&self) -> Seen {
        let mut seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.remove(0)
    }
}

impl Seen {
    /// Every line of a header.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        let lines = self.headers.get_all(name).iter();
        lines
            .map(|value| value.to_str().unwrap().to_owned())
            .collect()
    }
}

pub(super) fn plain(code: u16, text: &'static str) -> Response<Body> {
    let mut response = Response::new(crate::body::full(text));
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}
