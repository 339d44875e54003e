//! A client of the gateway.

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use vcluster_chassis::tls::{ALPN_H2, ALPN_HTTP1, client_config};

use super::*;
use crate::body;

/// One connection.
pub(super) enum Client {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl Client {
    pub(super) async fn http1(world: &World, certificate: Option<&Issued>) -> Self {
        let stream = world.tls(certificate, ALPN_HTTP1, "gateway.test").await;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        Self::Http1(sender)
    }

    pub(super) async fn http2(world: &World, certificate: Option<&Issued>) -> Self {
        let stream = world.tls(certificate, ALPN_H2, "gateway.test").await;
        Self::over(stream).await
    }

    pub(super) async fn over(stream: TlsStream<TcpStream>) -> Self {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(64 << 10)
            .initial_connection_window_size(crate::upstream::MAX_WINDOW)
            .handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        Self::Http2(sender)
    }

    pub(super) async fn send(&mut self, mut request: Request<Body>) -> Response<Incoming> {
        match self {
            Self::Http1(sender) => {
                sender.ready().await.unwrap();
                if !request.headers().contains_key("host") {
                    request
                        .headers_mut()
                        .insert("host", "gateway.test".parse().unwrap());
                }
                sender.send_request(request).await.unwrap()
            }
            Self::Http2(sender) => {
                sender.ready().await.unwrap();
                let target = request.uri().to_string();
                if target.starts_with('/') {
                    *request.uri_mut() = format!("https://gateway.test{target}").parse().unwrap();
                }
                sender.send_request(request).await.unwrap()
            }
        }
    }

    pub(super) async fn get(&mut self, target: &str) -> Response<Incoming> {
        self.send(get(target, &[])).await
    }
}

/// A request without a body.
pub(super) fn get(target: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::new(body::empty());
    *request.uri_mut() = target.parse().unwrap();
    for (name, value) in headers {
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    request
}

impl World {
    fn client_tls(&self, certificate: Option<&Issued>, alpn: &[u8]) -> Arc<ClientConfig> {
        let identity = certificate.map(|issued| Live::from(issued.identity()));
        client_config(self.gateway_ca.roots(), identity, &[alpn])
    }

    /// A TLS connection to the gateway.
    pub(super) async fn tls(
        &self,
        certificate: Option<&Issued>,
        alpn: &[u8],
        name: &str,
    ) -> TlsStream<TcpStream> {
        let connector = TlsConnector::from(self.client_tls(certificate, alpn));
        let tcp = TcpStream::connect(self.address).await.unwrap();
        connector
            .connect(ServerName::try_from(name.to_owned()).unwrap(), tcp)
            .await
            .unwrap()
    }

    /// A connection of jane's for raw HTTP/1.1.
    pub(super) async fn raw(&self) -> TlsStream<TcpStream> {
        self.tls(
            Some(&self.certificate("jane", &["devs"])),
            ALPN_HTTP1,
            "gateway.test",
        )
        .await
    }
}
