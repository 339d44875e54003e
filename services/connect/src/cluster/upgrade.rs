//! Upgraded streams: exec, attach, port-forward and cp, over SPDY/3.1 and WebSocket.
//!
//! Neither protocol is parsed here. The request goes over a connection of its own in HTTP/1.1, because
//! neither can be upgraded in HTTP/2; the answer must be exactly `101` with the protocol that was asked for, and
//! only then are the two connections joined. Any other answer is passed on and both connections are closed, so
//! that nobody is left with an authenticated pipe (CVE-2018-1002105).
//!
//! A WebSocket exec is a GET. The right that lets a caller in is the same for every method, so nothing
//! here, or anywhere before, looks at the method to decide.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tracing::Instrument;

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
/// How long the client may take to see the `101`.
const HANDOVER: Duration = Duration::from_secs(10);
/// The most of a refusal's body that is passed on.
const REFUSAL: usize = 1 << 20;
/// Buffer of each direction.
const BUFFER: usize = 16 << 10;

/// A protocol that a connection may be upgraded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Spdy,
    WebSocket,
}

impl Protocol {
    const fn name(self) -> &'static str {
        match self {
            Self::Spdy => "SPDY/3.1",
            Self::WebSocket => "websocket",
        }
    }

    fn read(token: &[u8]) -> Option<Self> {
        [Self::Spdy, Self::WebSocket]
            .into_iter()
            .find(|protocol| token.eq_ignore_ascii_case(protocol.name().as_bytes()))
    }
}

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

/// Reads what upgrade a request asks for, if any. It must be HTTP/1.1, name one protocol that is known, and have no body.
pub(super) fn asked<B: http_body::Body>(request: &Request<B>) -> Result<Option<Protocol>, Refusal> {
    let headers = request.headers();
    let bad = |message: &str| Err(Refusal::new(Kind::Bad, message));
    let wants = strip::tokens(headers, &header::CONNECTION)
        .any(|token| token.eq_ignore_ascii_case(b"upgrade"));
    // `Upgrade` that `Connection` does not name is to be ignored (RFC 9110, 7.8).
    if !wants || request.version() == Version::HTTP_2 {
        return Ok(None);
    }
    let protocols: Vec<&[u8]> = strip::tokens(headers, &header::UPGRADE).collect();
    let [only] = protocols.as_slice() else {
        return bad("a request for an upgrade names exactly one protocol in Upgrade");
    };
    let Some(protocol) = Protocol::read(only) else {
        return bad("connections are upgraded to SPDY/3.1 or websocket only");
    };
    if request.version() != Version::HTTP_11 {
        return bad("connections are upgraded in HTTP/1.1 only");
    }
    if ![Method::GET, Method::POST].contains(request.method()) {
        return bad("connections are upgraded by GET or POST only");
    }
    if !request.body().is_end_stream() || headers.contains_key(header::TRANSFER_ENCODING) {
        return bad("a request for an upgrade has no body");
    }
    Ok(Some(protocol))
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
    if !switches_to(response.headers(), protocol) {
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

/// Whether a `101` switches to exactly what was asked for.
fn switches_to(headers: &HeaderMap, protocol: Protocol) -> bool {
    let protocols: Vec<&[u8]> = strip::tokens(headers, &header::UPGRADE).collect();
    let named = matches!(protocols.as_slice(), [only] if Protocol::read(only) == Some(protocol));
    named
        && strip::tokens(headers, &header::CONNECTION)
            .any(|token| token.eq_ignore_ascii_case(b"upgrade"))
}

/// The head of a `101` as it goes to the client: the handshake and nothing else.
fn switching(from: &HeaderMap, protocol: Protocol) -> http::response::Parts {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = strip::switched(from);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(protocol.name()));
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
                let how = tokio::select! {
                    how = join(client, server, &record) => how,
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

/// Copies bytes both ways until both ends are done; an end that closes its half leaves the other open.
async fn join(client: OnUpgrade, server: OnUpgrade, record: &Record) -> &'static str {
    let both = async { tokio::try_join!(client, server) };
    let (client, server) = match tokio::time::timeout(HANDOVER, both).await {
        Ok(Ok(both)) => both,
        Ok(Err(error)) => {
            tracing::debug!(%error, "a connection was not handed over");
            return "broken";
        }
        Err(_elapsed) => return "broken",
    };
    // Bytes that came with the handshake are in here and come first.
    let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
    let copied =
        tokio::io::copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER).await;
    let how = match copied {
        Ok((received, sent)) => {
            record.received().fetch_add(received, Ordering::Relaxed);
            record.sent().fetch_add(sent, Ordering::Relaxed);
            "complete"
        }
        Err(error) => {
            tracing::debug!(%error, "an upgraded stream broke");
            "broken"
        }
    };
    // An end that is gone already cannot be closed.
    drop(client.shutdown().await);
    drop(server.shutdown().await);
    how
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(lines: &[(&str, &str)]) -> Request<Body> {
        let mut request = Request::new(body::empty());
        for (name, value) in lines {
            let name = header::HeaderName::from_bytes(name.as_bytes()).unwrap();
            request
                .headers_mut()
                .append(name, HeaderValue::from_str(value).unwrap());
        }
        request
    }

    #[test]
    fn spdy_and_websocket_are_the_only_protocols() {
        for (value, expected) in [
            ("SPDY/3.1", Protocol::Spdy),
            ("spdy/3.1", Protocol::Spdy),
            ("websocket", Protocol::WebSocket),
            ("WebSocket", Protocol::WebSocket),
        ] {
            let asking = request(&[("Connection", "keep-alive, Upgrade"), ("Upgrade", value)]);
            assert_eq!(asked(&asking), Ok(Some(expected)));
        }
        for value in [
            "h2c",
            "tls/1.0",
            "foo",
            "SPDY/3",
            "websocket, h2c",
            "",
            "SPDY/3.1 websocket",
        ] {
            let asking = request(&[("Connection", "Upgrade"), ("Upgrade", value)]);
            assert_eq!(asked(&asking).unwrap_err().kind, Kind::Bad, "{value}");
        }
        let twice = request(&[
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Upgrade", "foo"),
        ]);
        assert!(asked(&twice).is_err());
    }

    #[test]
    fn what_connection_does_not_name_is_no_upgrade() {
        assert_eq!(asked(&request(&[("Upgrade", "websocket")])), Ok(None));
        assert_eq!(
            asked(&request(&[("Connection", "close"), ("Upgrade", "h2c")])),
            Ok(None)
        );
    }

    #[test]
    fn a_request_with_a_body_or_another_method_is_not_upgraded() {
        let asking = || request(&[("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1")]);
        let with_body = asking().map(|_| body::full("x"));
        assert!(asked(&with_body).is_err());
        let mut delete = asking();
        *delete.method_mut() = Method::DELETE;
        assert!(asked(&delete).is_err());
        let mut old = asking();
        *old.version_mut() = Version::HTTP_10;
        assert!(asked(&old).is_err());
    }

    #[test]
    fn a_switch_to_another_protocol_is_none() {
        let head = |lines: &[(&str, &str)]| request(lines).into_parts().0.headers;
        assert!(switches_to(
            &head(&[("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1")]),
            Protocol::Spdy
        ));
        for lines in [
            &[("Connection", "Upgrade"), ("Upgrade", "websocket")][..],
            &[("Upgrade", "SPDY/3.1")],
            &[("Connection", "Upgrade")],
            &[
                ("Connection", "Upgrade"),
                ("Upgrade", "SPDY/3.1"),
                ("Upgrade", "h2c"),
            ],
        ] {
            assert!(!switches_to(&head(lines), Protocol::Spdy), "{lines:?}");
        }
    }
}
