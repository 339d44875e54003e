//! One GET from the host's API server, with the user's identity. That is all the client ever asks
//! of the host directly: where the gateway is.

use std::{io, sync::Arc, time::Duration};

use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::Deserialize;

use super::identity;
use crate::{
    Credentials, channel,
    credentials::{self, Need},
    gateway::Address,
    kubeconfig::context::Context,
    tls,
};

/// Longest time for the connection, and again for the answer.
const LIMIT: Duration = Duration::from_secs(15);
const LARGEST_BODY: usize = 1 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server's URL cannot be used.
    #[error("the host API server {server:?} of the kubeconfig cannot be used: {problem}")]
    Server {
        /// The URL.
        server: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// It cannot be reached.
    #[error("the host API server {server} cannot be reached")]
    Unreachable {
        /// The URL.
        server: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It refused.
    #[error("the host API server answers {}: {message}", status.as_u16())]
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// The message of its `Status`.
        message: String,
    },
    /// What the kubeconfig names cannot be used.
    #[error(transparent)]
    Identity(#[from] identity::Error),
    /// Certificates or keys cannot be used.
    #[error("the kubeconfig's certificates cannot be used")]
    Tls(#[from] tls::Error),
    /// The token cannot be had.
    #[error(transparent)]
    Credentials(#[from] credentials::Error),
}

/// The part of a Kubernetes `Status` that people read.
#[derive(Deserialize)]
struct Status {
    message: String,
}

/// The body of a successful GET of `path` (absolute, as in the API's documentation).
pub async fn get(context: &Context, credentials: &Credentials, path: &str) -> Result<Bytes, Error> {
    let server = &context.cluster.server;
    let problem = |problem| Error::Server {
        server: server.clone(),
        problem,
    };
    if context.cluster.proxy_url.is_some() {
        return Err(problem(
            "it is behind a proxy-url; name the gateway with --gateway",
        ));
    }
    let base: Uri = server.parse().ok().ok_or_else(|| problem("it is no URL"))?;
    if base.scheme_str() != Some("https") {
        return Err(problem(
            "only https is supported; name the gateway with --gateway",
        ));
    }
    let authority = base.authority().ok_or_else(|| problem("it has no host"))?;
    let address: Address = format!("https://{authority}")
        .parse()
        .ok()
        .ok_or_else(|| problem("its host cannot be read"))?;
    let path = format!("{}{path}", base.path().trim_end_matches('/'));
    let mut request = Request::get(path)
        .header(header::HOST, authority.as_str())
        .header(header::ACCEPT, "application/json")
        .header(
            header::USER_AGENT,
            concat!("vcluster/", env!("CARGO_PKG_VERSION")),
        )
        .body(Empty::<Bytes>::new())
        .ok()
        .ok_or_else(|| problem("its path cannot be read"))?;
    let mut certificate = None;
    match credentials {
        Credentials::Anonymous => {}
        Credentials::Certificate(c) => certificate = Some(c),
        Credentials::Bearer(source) => {
            let header = credentials::authorization(&source.token(Need::Call).await?)?;
            request.headers_mut().insert(header::AUTHORIZATION, header);
        }
    }
    let tls = tls::client_config(&identity::trust(context)?, certificate, &[b"http/1.1"])?;
    let name = context
        .cluster
        .tls_server_name
        .as_deref()
        .unwrap_or_else(|| address.host());
    let name = ServerName::try_from(name.to_owned())
        .ok()
        .ok_or_else(|| problem("its name cannot stand in a certificate"))?;
    let (status, body) = exchange(&address, name, Arc::new(tls), request)
        .await
        .map_err(|source| Error::Unreachable {
            server: server.clone(),
            source,
        })?;
    if status.is_success() {
        return Ok(body);
    }
    let message = serde_json::from_slice(&body).map_or_else(
        |_| {
            status
                .canonical_reason()
                .unwrap_or("no reason given")
                .to_owned()
        },
        |status: Status| status.message,
    );
    Err(Error::Refused { status, message })
}

async fn exchange(
    address: &Address,
    name: ServerName<'static>,
    tls: Arc<rustls::ClientConfig>,
    request: Request<Empty<Bytes>>,
) -> io::Result<(StatusCode, Bytes)> {
    let stream = channel::dial_as(address, name, tls, LIMIT).await?;
    let talk = async {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        let ask = async {
            let response = sender
                .send_request(request)
                .await
                .map_err(io::Error::other)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LARGEST_BODY)
                .collect()
                .await
                .map_err(io::Error::other)?;
            Ok((status, body.to_bytes()))
        };
        tokio::pin!(ask);
        // The connection is driven only as long as the answer takes: nothing runs on behind.
        tokio::select! {
            biased;
            answer = &mut ask => answer,
            ended = connection => {
                ended.map_err(io::Error::other)?;
                ask.await
            }
        }
    };
    tokio::time::timeout(LIMIT, talk)
        .await
        .map_err(|_elapsed| io::Error::new(io::ErrorKind::TimedOut, "no answer in time"))?
}
