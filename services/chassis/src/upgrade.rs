//! Upgraded connections that are passed on: exec, attach and port-forward, over SPDY/3.1 and WebSocket.
//!
//! Neither protocol is parsed here. A request for an upgrade must name exactly one of them; the answer must be a `101`
//! to exactly that one, and only then may the two connections be joined. Nobody is left with an authenticated
//! pipe after another answer (CVE-2018-1002105).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

/// How long both ends may take to hand their connections over after the `101`.
const HANDOVER: Duration = Duration::from_secs(10);
/// Buffer of each direction: what an end does not take holds the other back.
const BUFFER: usize = 16 << 10;
/// What belongs to the handshakes of both protocols, as Kubernetes speaks them.
const HANDSHAKE: [&str; 6] = [
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "x-stream-protocol-version",
];

/// A protocol that a connection may be upgraded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// SPDY/3.1.
    Spdy,
    /// WebSocket.
    WebSocket,
}

impl Protocol {
    /// Its name in `Upgrade`.
    pub const fn name(self) -> &'static str {
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

/// A request for an upgrade that is not granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(&'static str);

/// Reads what upgrade a request asks for, if any. It must be HTTP/1.1, name one protocol that is known, and
/// have no body.
pub fn asked<B: http_body::Body>(request: &Request<B>) -> Result<Option<Protocol>, Malformed> {
    let headers = request.headers();
    let wants =
        tokens(headers, &header::CONNECTION).any(|token| token.eq_ignore_ascii_case(b"upgrade"));
    // `Upgrade` that `Connection` does not name is to be ignored (RFC 9110, 7.8).
    if !wants || request.version() == Version::HTTP_2 {
        return Ok(None);
    }
    let protocols: Vec<&[u8]> = tokens(headers, &header::UPGRADE).collect();
    let [only] = protocols.as_slice() else {
        return Err(Malformed(
            "a request for an upgrade names exactly one protocol in Upgrade",
        ));
    };
    let Some(protocol) = Protocol::read(only) else {
        return Err(Malformed(
            "connections are upgraded to SPDY/3.1 or websocket only",
        ));
    };
    if request.version() != Version::HTTP_11 {
        return Err(Malformed("connections are upgraded in HTTP/1.1 only"));
    }
    if ![Method::GET, Method::POST].contains(request.method()) {
        return Err(Malformed("connections are upgraded by GET or POST only"));
    }
    if !request.body().is_end_stream() || headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(Malformed("a request for an upgrade has no body"));
    }
    Ok(Some(protocol))
}

/// Whether an answer switches to exactly what was asked for.
pub fn switches_to<B>(response: &Response<B>, protocol: Protocol) -> bool {
    let headers = response.headers();
    let protocols: Vec<&[u8]> = tokens(headers, &header::UPGRADE).collect();
    let named = matches!(protocols.as_slice(), [only] if Protocol::read(only) == Some(protocol));
    response.status() == StatusCode::SWITCHING_PROTOCOLS
        && named
        && tokens(headers, &header::CONNECTION).any(|token| token.eq_ignore_ascii_case(b"upgrade"))
}

/// The headers of a handshake, asked or answered, as they go on: those of the protocols, and the upgrade in our
/// own words. Nothing else passes.
pub fn handshake(headers: &HeaderMap, protocol: Protocol) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for (name, value) in headers {
        if HANDSHAKE.contains(&name.as_str()) {
            kept.append(name, value.clone());
        }
    }
    kept.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    kept.insert(header::UPGRADE, HeaderValue::from_static(protocol.name()));
    kept
}

/// The elements of a comma-separated header over all its lines, empty ones left out.
pub fn tokens<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|line| {
            line.as_bytes()
                .split(|byte| *byte == b',')
                .map(<[u8]>::trim_ascii)
        })
        .filter(|token| !token.is_empty())
}

/// How a joined stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Both ends closed.
    Complete,
    /// An end broke.
    Broken,
    /// Nothing came for too long.
    Idle,
}

/// Bytes of a joined stream, counted as they pass.
#[derive(Debug, Clone, Default)]
pub struct Bytes {
    /// From the client.
    pub received: Arc<AtomicU64>,
    /// To the client.
    pub sent: Arc<AtomicU64>,
}

impl Bytes {
    fn sum(&self) -> u64 {
        self.received.load(Ordering::Relaxed) + self.sent.load(Ordering::Relaxed)
    }
}

/// Copies bytes both ways until both ends are done, or nothing has passed for `idle`. An end that closes its half
/// leaves the other open. Dropping it closes both.
pub async fn join(client: OnUpgrade, server: OnUpgrade, bytes: &Bytes, idle: Duration) -> End {
    let both = async { tokio::try_join!(client, server) };
    let (client, server) = match tokio::time::timeout(HANDOVER, both).await {
        Ok(Ok(both)) => both,
        Ok(Err(error)) => {
            tracing::debug!(%error, "a connection was not handed over");
            return End::Broken;
        }
        Err(_elapsed) => return End::Broken,
    };
    // Bytes that came with the handshake are in here and come first.
    let mut client = Counted::new(client, &bytes.received);
    let mut server = Counted::new(server, &bytes.sent);
    let end = tokio::select! {
        copied = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER) => {
            match copied {
                Ok(_) => End::Complete,
                Err(error) => {
                    tracing::debug!(%error, "an upgraded stream broke");
                    End::Broken
                }
            }
        }
        () = silent(bytes, idle) => End::Idle,
    };
    // An end that is gone already cannot be closed.
    drop(tokio::time::timeout(HANDOVER, client.shutdown()).await);
    drop(tokio::time::timeout(HANDOVER, server.shutdown()).await);
    end
}

/// How often silence is looked for within the time that it may last.
const LOOKS: u32 = 8;

/// Waits until no byte has passed for so long, or up to an eighth longer.
async fn silent(bytes: &Bytes, idle: Duration) {
    let (mut before, mut looks) = (bytes.sum(), 0);
    while looks < LOOKS {
        tokio::time::sleep(idle / LOOKS).await;
        let now = bytes.sum();
        looks = if now == before { looks + 1 } else { 0 };
        before = now;
    }
}

/// A connection whose reads are counted.
struct Counted {
    inner: TokioIo<Upgraded>,
    read: Arc<AtomicU64>,
}

impl Counted {
    fn new(inner: Upgraded, read: &Arc<AtomicU64>) -> Self {
        Self {
            inner: TokioIo::new(inner),
            read: Arc::clone(read),
        }
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        let read = buffer.filled().len() - before;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
