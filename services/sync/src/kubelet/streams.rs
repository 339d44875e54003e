//! exec, attach and port-forward: an upgraded connection on each side, joined.
//!
//! The request goes to the host over a connection of its own in HTTP/1.1, with the tenant's token and nothing of the
//! client's but the protocol's handshake. Both SPDY/3.1 and WebSocket pass as bytes.

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use vcluster_chassis::drain::Shutdown;
use vcluster_chassis::upgrade::{self, End, Protocol};
use vcluster_translate::reach::Asked;

use super::answer::{MOST, Refused};
use super::record::{self, Record};
use super::{Admitted, Verb, query};
use crate::apply::with_causes;
use crate::peer::Held;
use crate::reply::{self, Body, Kind, Refusal};
use crate::server::Host;
use crate::tenant_token;

/// How long the head of the answer may take; a container runtime may be slow to begin.
const ANSWER: Duration = Duration::from_mins(2);
/// How long a stream may be silent: what kubelets allow by default.
const IDLE: Duration = Duration::from_hours(4);
/// By which a token may hide in the handshake of a WebSocket.
const BEARER: &[u8] = b"base64url.bearer.authorization.k8s.io";

/// What a stream is between.
pub(super) struct Stream<'a> {
    pub(super) host: &'a Host,
    pub(super) shutdown: &'a Shutdown,
    pub(super) verb: Verb,
    pub(super) asked: Asked,
}

/// Why the host gave no stream.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot connect to the host's API server")]
    Dial(#[from] std::io::Error),
    #[error("no token")]
    Token(#[from] tenant_token::Error),
    #[error("the connection to the host's API server broke")]
    Broken(#[from] hyper::Error),
    #[error("the request cannot be made")]
    Request(#[from] http::Error),
    #[error("the host's API server did not answer in time")]
    Late,
    #[error("the host's API server switched to a protocol that was not asked for")]
    Protocol,
}

impl Stream<'_> {
    /// Answers the client, and joins the two connections if the host switches.
    pub(super) async fn serve(
        self,
        admitted: Admitted,
        mut request: Request<Incoming>,
        mut record: Record,
    ) -> Response<Body> {
        let protocol = match protocol(&request) {
            Ok(protocol) => protocol,
            Err(refusal) => return record::refused(refusal.into_response(), record),
        };
        // The connection is the client's until the stream ends, though no request is on it any more.
        let held = request.extensions().get::<Held>().cloned();
        let client = hyper::upgrade::on(&mut request);
        let asking = self.ask(&admitted, protocol, &request);
        let answer = tokio::time::timeout(ANSWER, asking).await;
        let mut response = match answer.unwrap_or(Err(Error::Late)) {
            Ok(response) => response,
            Err(error) => {
                let tenant = &admitted.access.tenant;
                tracing::warn!(%tenant, error = with_causes(&error), "the host gave no stream");
                let refusal = Refusal::new(Kind::Unavailable, error.to_string());
                return record::refused(refusal.into_response(), record);
            }
        };
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return self.refused(response, &admitted, record).await;
        }
        let server = hyper::upgrade::on(&mut response);
        record.answered(StatusCode::SWITCHING_PROTOCOLS);
        let bytes = record.bytes();
        let permit = admitted.permit;
        self.shutdown.spawn_contained("stream", async move {
            let end = upgrade::join(client, server, &bytes, IDLE).await;
            record.ended(match end {
                End::Complete => "complete",
                End::Broken => "broken",
                End::Idle => "idle",
            });
            drop((record, permit, held));
        });
        let mut switched = Response::new(reply::empty());
        *switched.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *switched.headers_mut() = upgrade::handshake(response.headers(), protocol);
        switched
    }

    async fn ask(
        &self,
        admitted: &Admitted,
        protocol: Protocol,
        request: &Request<Incoming>,
    ) -> Result<Response<Incoming>, Error> {
        let token = admitted.access.token.header().await?;
        let onward = self.onward(admitted, protocol, request, token)?;
        let stream = self.host.dial().await?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(MOST)
            .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
            .await?;
        self.shutdown.spawn_contained("stream to the host", async {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a stream's connection to the host ended");
            }
        });
        let response = sender.send_request(onward).await?;
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if switches && !upgrade::switches_to(&response, protocol) {
            return Err(Error::Protocol);
        }
        Ok(response)
    }

    fn onward(
        &self,
        admitted: &Admitted,
        protocol: Protocol,
        request: &Request<Incoming>,
        token: HeaderValue,
    ) -> Result<Request<Empty<Bytes>>, http::Error> {
        let query = request.uri().query().unwrap_or_default();
        let path = format!(
            "/api/v1/namespaces/{}/pods/{}/{}?{}",
            admitted.access.tenant.namespace,
            admitted.pods.host_name,
            self.verb.as_str(),
            query::stream(self.verb, query, self.asked.container.as_deref())
        );
        let mut onward = Request::builder()
            .method(request.method().clone())
            .uri(path)
            .body(Empty::new())?;
        *onward.headers_mut() = upgrade::handshake(request.headers(), protocol);
        let headers = onward.headers_mut();
        headers.insert(header::HOST, HeaderValue::from_str(self.host.authority())?);
        headers.insert(header::AUTHORIZATION, token);
        headers.insert(header::USER_AGENT, crate::server::AGENT);
        Ok(onward)
    }

    async fn refused(
        &self,
        response: Response<Incoming>,
        admitted: &Admitted,
        record: Record,
    ) -> Response<Body> {
        let (head, body) = response.into_parts();
        let said = tokio::time::timeout(ANSWER, Limited::new(body, MOST).collect()).await;
        let said = said.ok().and_then(Result::ok);
        let said = said
            .map(http_body_util::Collected::to_bytes)
            .unwrap_or_default();
        let refused = Refused::read(head.status, &said, &self.asked, &admitted.pods);
        record::refused(refused.into_status(), record)
    }
}

fn protocol(request: &Request<Incoming>) -> Result<Protocol, Refusal> {
    let bad = |message: String| Refusal::new(Kind::Bad, message);
    let lines = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let bears = |line: &HeaderValue| line.as_bytes().windows(BEARER.len()).any(|w| w == BEARER);
    if lines.iter().any(bears) {
        // It would go to the host, whose it may be.
        return Err(bad(
            "a bearer token in Sec-WebSocket-Protocol is not passed on".to_owned(),
        ));
    }
    upgrade::asked(request)
        .map_err(|error| bad(error.to_string()))?
        .ok_or_else(|| bad("an upgrade to SPDY/3.1 or websocket is needed".to_owned()))
}
