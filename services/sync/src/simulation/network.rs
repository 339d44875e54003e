//! The network between sync and the API servers of a simulated world: where every request goes, and what may happen to
//! it on the way.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use http::{Request, Response, StatusCode, Uri};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use kube::Client;
use kube::client::Body;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tokio::time::Instant;
use tower::BoxError;

use super::store::{Answer, Call, Place, Selector};
use super::weather::{Fate, Fault};
use super::wire;
use super::world::{Target, World, text};
use crate::server::Server;
use crate::tenant_token::{self, TenantToken};

/// How long an API server keeps a watch that asks for no other time.
const WATCH: Duration = Duration::from_mins(5);
/// How long a connection is believed that does not answer pings.
const PINGS: Duration = Duration::from_secs(30);
/// How often a watch that is told nothing is told the version.
const BOOKMARK: Duration = Duration::from_mins(1);

/// How many lines a watch may say again.
const PAST: usize = 32;

type Lines = StreamBody<BoxStream<'static, Result<Frame<Bytes>, BoxError>>>;

/// What one process of sync reaches.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    world: Arc<World>,
    process: usize,
}

impl Network {
    pub(super) fn new(world: Arc<World>, process: usize) -> Self {
        Self { world, process }
    }

    /// Clients of the host, as sync itself.
    pub(super) fn host(&self) -> Server {
        self.server(Target::Host)
    }

    /// A client of the host that brings a tenant's token.
    pub(crate) fn tenant(&self, token: Arc<TenantToken>) -> Client {
        tenant_token::client(self.client(Target::Host), token)
    }

    /// Clients of the virtual API server at that address.
    pub(crate) fn virtual_cluster(&self, address: &Uri) -> Server {
        self.server(self.world.at(address.host().unwrap_or_default()))
    }

    fn server(&self, target: Target) -> Server {
        Server {
            watch: self.client(target),
            request: self.client(target),
        }
    }

    fn client(&self, target: Target) -> Client {
        let wire = Wire {
            world: Arc::clone(&self.world),
            process: self.process,
            target,
        };
        let service = tower::service_fn(move |request| {
            let wire = wire.clone();
            async move {
                // As the pool that is replaced by this.
                let answer = tokio::time::timeout(wire.target.patience(), wire.exchange(request));
                answer.await.unwrap_or_else(|elapsed| Err(elapsed.into()))
            }
        });
        Client::new(service, "default")
    }
}

/// The way from one process to one API server.
#[derive(Debug, Clone)]
struct Wire {
    world: Arc<World>,
    process: usize,
    target: Target,
}

impl Wire {
    async fn exchange(self, request: Request<Body>) -> Result<Response<Lines>, BoxError> {
        let call = read(request).await;
        let Fate {
            before,
            fault,
            after,
        } = self.world.fate(self.process, self.target, &call);
        self.world.sends(self.process, self.target, &call);
        tokio::time::sleep(before).await;
        match fault {
            Fault::Silence => return std::future::pending().await,
            Fault::Refused => return Err(io::Error::from(io::ErrorKind::ConnectionRefused).into()),
            Fault::Status(code) => return Ok(answer(&Answer::status(code, "Simulated"))),
            Fault::Late(delay) => {
                self.arrive_late(call, delay);
                return std::future::pending().await;
            }
            Fault::Adrift(delay) => {
                self.arrive_late(call, delay);
                return Err(io::Error::from(io::ErrorKind::ConnectionReset).into());
            }
            Fault::None | Fault::Lost | Fault::Torn => {}
        }
        if call.is_watch() {
            return Ok(self.watch(&call));
        }
        let Some(answered) = self.world.handle(self.process, self.target, &call, false) else {
            return std::future::pending().await;
        };
        tokio::time::sleep(after).await;
        if self.world.is_dead(self.process) {
            return std::future::pending().await;
        }
        match fault {
            Fault::Lost => Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
            Fault::Torn => Ok(torn(&answered)),
            Fault::None
            | Fault::Silence
            | Fault::Refused
            | Fault::Status(_)
            | Fault::Late(_)
            | Fault::Adrift(_) => Ok(answer(&answered)),
        }
    }

    /// Has a request arrive so much later, although whoever sent it may have given up, or be gone.
    fn arrive_late(&self, call: Call, delay: Duration) {
        let wire = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            wire.world.handle(wire.process, wire.target, &call, true);
        });
    }

    fn watch(self, call: &Call) -> Response<Lines> {
        let Some(place) = Place::of(&call.path) else {
            return answer(&Answer::status(404, "NotFound"));
        };
        let number = |name: &str| call.parameter(name)?.parse::<u64>().ok();
        let asked = number("timeoutSeconds").map_or(WATCH, Duration::from_secs);
        let version = number("resourceVersion").unwrap_or_default();
        let topic = self.world.subscribe(self.target, &place.id.collection);
        let watching = Watching {
            selector: Selector::of(call, &place),
            version,
            epoch: self.world.epoch(self.process, self.target),
            end: Instant::now() + asked,
            topic,
            said: VecDeque::new(),
            past: VecDeque::new(),
            echoes: self.world.echoes(self.process, self.target),
            is_over: false,
            wire: self,
        };
        let lines = futures::stream::unfold(watching, Watching::next).boxed();
        Response::new(StreamBody::new(lines))
    }
}

/// A watch as the server sees it.
struct Watching {
    wire: Wire,
    selector: Selector,
    version: u64,
    epoch: u64,
    end: Instant,
    topic: Arc<Notify>,
    /// What was said last, of which some may be said again.
    said: VecDeque<String>,
    /// The same for longer, for when all of it is said again.
    past: VecDeque<String>,
    echoes: u64,
    is_over: bool,
}

type Said = (Result<Frame<Bytes>, BoxError>, Watching);

impl Watching {
    async fn next(mut self) -> Option<Said> {
        loop {
            let (process, target) = (self.wire.process, self.wire.target);
            if self.wire.world.is_dead(process) {
                return std::future::pending().await;
            }
            if self.is_over || Instant::now() >= self.end {
                return None;
            }
            // Begun before the look, so that nothing in between is missed.
            let news = Arc::clone(&self.topic).notified_owned();
            if self.wire.world.epoch(process, target) != self.epoch {
                self.is_over = true;
                if self.wire.world.toss(process, target, 0.5) {
                    return None;
                }
                let cut = io::Error::from(io::ErrorKind::ConnectionReset);
                return Some((Err(cut.into()), self));
            }
            let echoes = self.wire.world.echoes(process, target);
            if echoes != self.echoes {
                self.echoes = echoes;
                let again: Vec<_> = self.past.iter().rev().cloned().collect();
                if !again.is_empty() {
                    return Some((Ok(frame(&again)), self));
                }
            }
            let Some(delay) = self.wire.world.hearing(process, target) else {
                // Pings are not answered either.
                let waited = tokio::time::timeout(PINGS, news).await;
                self.is_over = waited.is_err();
                continue;
            };
            let Some((lines, version)) =
                self.wire.world.since(target, self.version, &self.selector)
            else {
                self.is_over = true;
                let status = Answer::status(410, "Expired").body;
                let line = format!(r#"{{"type":"ERROR","object":{status}}}"#);
                return Some((Ok(frame(&[line])), self));
            };
            // A store that was replaced may be younger than what this watch has seen: then it waits.
            let version = version.max(self.version);
            if lines.is_empty() {
                self.version = version;
                if !self.wait(news).await {
                    return Some((Ok(frame(&[bookmark(version)])), self));
                }
                continue;
            }
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            self.version = version;
            let lines = self.disturb(lines);
            return Some((Ok(frame(&lines)), self));
        }
    }

    /// Waits until there may be news; false if it is time to say something.
    async fn wait(&self, news: OwnedNotified) -> bool {
        tokio::select! {
            biased;
            () = news => true,
            () = tokio::time::sleep_until(self.end) => true,
            () = tokio::time::sleep(BOOKMARK) => false,
        }
    }

    fn remember(&mut self, line: &str) {
        self.past.push_back(line.to_owned());
        if self.past.len() > PAST {
            self.past.pop_front();
        }
        let (process, target) = (self.wire.process, self.wire.target);
        if target != Target::Host
            && line.starts_with(r#"{"type":"DELETED""#)
            && let Ok(event) = serde_json::from_str::<serde_json::Value>(line)
        {
            let uid = text(&event, "/object/metadata/uid");
            self.wire.world.told_gone(process, uid);
        }
    }

    /// Says some of what was said before again: out of order, and older than what is known.
    fn disturb(&mut self, lines: Vec<String>) -> Vec<String> {
        let mut told = Vec::new();
        for line in lines {
            let again = self
                .wire
                .world
                .again(self.wire.process, self.wire.target, self.said.len());
            if let Some(again) = again.and_then(|at| self.said.get(at)) {
                told.push(again.clone());
            }
            self.remember(&line);
            self.said.push_back(line.clone());
            if self.said.len() > 8 {
                self.said.pop_front();
            }
            told.push(line);
        }
        told
    }
}

fn bookmark(version: u64) -> String {
    let object = serde_json::json!({
        "kind": "Any", "apiVersion": "v1", "metadata": {"resourceVersion": version.to_string()},
    });
    serde_json::json!({"type": "BOOKMARK", "object": object}).to_string()
}

fn frame(lines: &[String]) -> Frame<Bytes> {
    Frame::data(Bytes::from(wire::forged(lines.join("\n") + "\n")))
}

async fn read(request: Request<Body>) -> Call {
    let (head, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes);
    let sent = body.unwrap_or_default();
    Call {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        body: serde_json::from_slice(&sent).unwrap_or_default(),
        sent,
    }
}

fn answer(answer: &Answer) -> Response<Lines> {
    let bytes = Bytes::from(wire::forged(answer.body.clone()));
    respond(answer.code, vec![Ok(Frame::data(bytes))])
}

/// An answer that breaks off.
fn torn(answer: &Answer) -> Response<Lines> {
    let mut text = answer.body.clone();
    text.truncate(text.len() / 2);
    let cut = io::Error::from(io::ErrorKind::ConnectionReset);
    respond(
        answer.code,
        vec![Ok(Frame::data(Bytes::from(text))), Err(cut.into())],
    )
}

fn respond(code: u16, frames: Vec<Result<Frame<Bytes>, BoxError>>) -> Response<Lines> {
    let mut response = Response::new(StreamBody::new(futures::stream::iter(frames).boxed()));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or_default();
    response
}
