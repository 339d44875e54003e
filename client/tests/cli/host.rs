//! A host API server that knows one ConfigMap and one token.

use std::{convert::Infallible, sync::Arc};

use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio_rustls::TlsAcceptor;

use super::gateway::Authority;

/// The token that it accepts.
pub(crate) const TOKEN: &str = "host-token";
const PATH: &str = "/api/v1/namespaces/kube-public/configmaps/vcluster-gateway";

/// Serves on a port of loopback, and returns its address.
pub(crate) async fn serve(authority: &Authority, map: Option<(String, String)>) -> String {
    let (chain, key) = authority.sign("kube-apiserver");
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<_, _>>();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("it was just made");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs has them")
        .with_no_client_auth()
        .with_single_cert(chain.expect("it was just made"), key)
        .expect("they fit");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (acceptor, map) = (acceptor.clone(), map.clone());
            tokio::spawn(async move {
                let Ok(tls) = acceptor.accept(tcp).await else {
                    return;
                };
                let service = hyper::service::service_fn(|request| {
                    let answer = answer(&request, map.as_ref());
                    async { Ok::<_, Infallible>(answer) }
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(tls), service)
                    .await;
            });
        }
    });
    format!("https://{address}")
}

fn answer(request: &Request<Incoming>, map: Option<&(String, String)>) -> Response<Full<Bytes>> {
    let token = request
        .headers()
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    let refuse = |status: StatusCode, message: &str| {
        let body = serde_json::json!({"kind": "Status", "message": message});
        (status, body)
    };
    let (status, body) = match map {
        _ if token != Some(&format!("Bearer {TOKEN}")) => {
            refuse(StatusCode::UNAUTHORIZED, "Unauthorized")
        }
        Some((address, ca)) if request.uri().path() == PATH => (
            StatusCode::OK,
            serde_json::json!({"kind": "ConfigMap", "data": {"address": address, "ca.crt": ca}}),
        ),
        Some(_) | None => refuse(StatusCode::NOT_FOUND, "configmaps not found"),
    };
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response
}
