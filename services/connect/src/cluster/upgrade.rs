//! Upgraded streams: exec, attach, port-forward and cp, over SPDY/3.1 and WebSocket.
//!
//! Neither protocol is parsed here. The request goes over a connection of its own in HTTP/1.1, because
//! neither can be upgraded in HTTP/2; the answer must be exactly `101` with the protocol that was asked for, and
//! only then are the two connections joined. Any other answer is passed on and both connections are closed, so
//! that nobody is left with an authenticated pipe (CVE-2018-1002105).
//!
//! A WebSocket exec is a GET. The right that lets a caller in is the same for every method, so nothing
//! here, or anywhere before, looks at the method to decide.

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tracing::Instrument;
use vcluster_chassis::upgrade::{self, Protocol};

use super::{Admitted, told, watch_over};
use crate::body::{self, Body};
use crate::gateway::Gateway;
use crate::limits::Entered;
use crate::record::Record;
use crate::refusal::{Kind, Refusal};
use crate::relay::{self, Ended};
use crate::strip;
use crate::upstream::{Error, Protocol as Transport, Upstream};

/// How long the head of the answer may take; a container runtime may be slow to begin.
const ANSWER: Duration = Duration::from_mins(2);
/// How long an upgraded stream may be silent: longer than the kubelet lets it be, which ends it cleanly.
const IDLE: Duration = Duration::from_hours(5);
/// The most of a refusal's body that is passed on.
const REFUSAL: usize = 1 << 20;

/// The answer to a request for an upgrade.
pub(super) struct Upgraded {
    head: http::response::Parts,
    rest: Rest,
}

enum Rest {
    /// Both sides switch.
    Joined {
        client: OnUpgrade,
        server: OnUpgrade,
        ended: Ended,
        entered: Entered,
    },
    /// The server refused.
    Refused { body: Body, entered: Entered },
}

impl Upgraded {
    pub(super) fn code(&self) -> StatusCode {
        self.head.status
    }
}

/// Reads what upgrade a request asks for, if any.
pub(super) fn asked<B: http_body::Body>(request: &Request<B>) -> Result<Option<Protocol>, Refusal> {
    upgrade::asked(request).map_err(|error| Refusal::new(Kind::Bad, error.to_string()))
}

/// Asks the virtual API server for the upgrade over a connection of its own.
pub(super) async fn begin(
    gateway: &Gateway,
    admitted: &Admitted,
    upstream: &Upstream,
    protocol: Protocol,
    mut request: Request<Incoming>,
    entered: Entered,
) -> Result<Upgraded, Refusal> {
    let client = hyper::upgrade::on(&mut request);
    let asked = ask(upstream, protocol, &request);
    let asked = match tokio::time::timeout(ANSWER, asked).await {
        Ok(asked) => asked,
        Err(_elapsed) => Err(Error::AnswerTimeout),
    };
    let mut response = asked.map_err(|error| {
        gateway.upstreams.distrust(&admitted.cluster);
        told(&error, admitted)
    })?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        super::check_trust(gateway, admitted, response.status(), &path(&request))?;
        return Ok(refused(response, entered));
    }
    if !upgrade::switches_to(&response, protocol) {
        return Err(Refusal::new(
            Kind::BadGateway,
            "the virtual API server switched to a protocol that was not asked for",
        ));
    }
    let server = hyper::upgrade::on(&mut response);
    let ended = watch_over(
        gateway,
        Admitted {
            presented: admitted.presented.clone(),
            caller: admitted.caller.clone(),
            grant: admitted.grant,
            cluster: admitted.cluster.clone(),
            place: admitted.place.clone(),
            identity: HeaderMap::new(),
        },
        false,
    );
    let head = switching(response.headers(), protocol);
    Ok(Upgraded {
        head,
        rest: Rest::Joined {
            client,
            server,
            ended,
            entered,
        },
    })
}

fn path(request: &Request<Incoming>) -> http::uri::PathAndQuery {
    request
        .uri()
        .path_and_query()
        .cloned()
        .unwrap_or_else(|| http::uri::PathAndQuery::from_static("/"))
}

async fn ask(
    upstream: &Upstream,
    protocol: Protocol,
    request: &Request<Incoming>,
) -> Result<Response<Incoming>, Error> {
    let stream = upstream.target.dial(Transport::Http1).await?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(64 << 10)
        .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(Error::Handshake)?;
    let drive = async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "an upgrade's upstream connection ended");
        }
    };
    // Not tracked by the drain: it ends with the stream that it was opened for, which is.
    tokio::spawn(drive.instrument(tracing::info_span!("upstream")));
    sender
        .send_request(onward(upstream, protocol, request))
        .await
        .map_err(Error::Lost)
}

/// The request as it goes on: lines of headers as they came, and the upgrade in our own words.
fn onward<B>(
    upstream: &Upstream,
    protocol: Protocol,
    request: &Request<B>,
) -> Request<Empty<Bytes>> {
    let mut onward = Request::new(Empty::new());
    onward.method_mut().clone_from(request.method());
    *onward.uri_mut() = request
        .uri()
        .path_and_query()
        .map_or_else(http::Uri::default, |target| http::Uri::from(target.clone()));
    let headers = onward.headers_mut();
    headers.clone_from(request.headers());
    headers.remove(header::CONTENT_LENGTH);
    if let Ok(host) = HeaderValue::from_str(upstream.target.authority()) {
        headers.insert(header::HOST, host);
    }
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(protocol.name()));
    onward
}

/// The head of a `101` as it goes to the client: the handshake and nothing else.
fn switching(from: &HeaderMap, protocol: Protocol) -> http::response::Parts {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = upgrade::handshake(from, protocol);
    response.into_parts().0
}

/// A refusal of the upgrade as it goes to the client: with its real code, for kubectl falls back to another
/// protocol by it, with a bounded body, and closing the connection.
fn refused(response: Response<Incoming>, entered: Entered) -> Upgraded {
    let (mut head, body) = response.into_parts();
    strip::response(&mut head.headers);
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    head.version = Version::default();
    head.extensions.clear();
    Upgraded {
        head,
        rest: Rest::Refused {
            body: Limited::new(body, REFUSAL).boxed_unsync(),
            entered,
        },
    }
}

/// Answers the client, and joins the two connections if both switch.
pub(super) fn finish(gateway: &Gateway, upgraded: Upgraded, mut record: Record) -> Response<Body> {
    let Upgraded { head, rest } = upgraded;
    match rest {
        Rest::Refused { body, entered } => {
            let never = Box::pin(std::future::pending());
            let body = relay::answer(body, never, relay::Cut::Abruptly, record, Some(entered));
            Response::from_parts(head, body)
        }
        Rest::Joined {
            client,
            server,
            ended,
            entered,
        } => {
            let joined = async move {
                let bytes = upgrade::Bytes {
                    received: record.received(),
                    sent: record.sent(),
                };
                let how = tokio::select! {
                    end = upgrade::join(client, server, &bytes, IDLE) => match end {
                        upgrade::End::Complete => "complete",
                        upgrade::End::Broken => "broken",
                        upgrade::End::Idle => "idle",
                    },
                    end = ended => end.as_str(),
                };
                record.ended(how);
                drop((record, entered));
            };
            gateway.shutdown.spawn_contained("upgraded stream", joined);
            Response::from_parts(head, body::empty())
        }
    }
}
