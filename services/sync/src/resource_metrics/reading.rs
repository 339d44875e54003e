//! The lists that metrics are composed of: read in pages, of each object only what metrics need.
//!
//! Promises:
//! - of one tenant so many requests are under way at once;
//! - what one tenant's requests hold in bytes is bounded, and what all tenants' hold together: a page while it is read,
//!   what is kept of it, and the answer until it is sent;
//! - who does not get its share in time is refused, and holds nothing any more.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde::de::{DeserializeOwned, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use vcluster_resources::TenantUri;

use crate::apply::with_causes;
use crate::kubelet::slots::Slots;
use crate::reply::{self, Kind, Refusal};

/// How long everything of one request may be read.
const DEADLINE: Duration = Duration::from_secs(25);
/// How long a request waits for its share of what may be held.
const WAIT: Duration = Duration::from_secs(5);
/// Requests of one tenant at once.
const REQUESTS: usize = 8;
/// Bytes that one tenant's requests hold.
const HELD_BY_TENANT: usize = 24 << 20;
/// Bytes that all tenants' requests hold.
const HELD: usize = 64 << 20;
/// Bytes of one answer: the host's PodMetrics come in one.
const ANSWER: usize = 16 << 20;
/// Objects of a page, at first: fewer of large ones.
const PAGE: usize = 100;
/// Objects of one answer. A metrics server knows no pages.
const OBJECTS: usize = 20_000;
/// What an object weighs besides what is written in it.
const OBJECT: usize = 256;
/// How much more than its text an object takes in memory.
const IN_MEMORY: usize = 2;

/// Rights to read, of all tenants.
#[derive(Debug)]
pub(crate) struct Readings {
    requests: Slots,
    of_tenants: Slots,
    all: Arc<Semaphore>,
}

impl Readings {
    pub(crate) fn new() -> Self {
        Self {
            requests: Slots::new(REQUESTS),
            of_tenants: Slots::new(HELD_BY_TENANT),
            all: Arc::new(Semaphore::new(HELD)),
        }
    }

    /// A right to read, unless the tenant has its fill.
    pub(crate) fn enter(&self, tenant: &TenantUri) -> Result<Reading, Refusal> {
        let slot = self.requests.enter(tenant).ok_or_else(too_many)?;
        Ok(Reading {
            _slot: slot,
            of_tenant: Share::new(self.of_tenants.of(tenant)),
            of_all: Share::new(Arc::clone(&self.all)),
            kept: 0,
            end: Instant::now() + DEADLINE,
        })
    }
}

/// What one request reads, and what it holds of the bounds until it is dropped.
#[derive(Debug)]
pub(crate) struct Reading {
    _slot: OwnedSemaphorePermit,
    of_tenant: Share,
    of_all: Share,
    /// Of what is held, what is kept of pages that were read.
    kept: usize,
    end: Instant,
}

/// Why something is not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It is more than may be held.
    #[error("larger than what one virtual cluster may have in memory at once")]
    Large,
    /// The others of the tenant hold its share.
    #[error("the virtual cluster's other requests hold its share of the memory")]
    OfTenant,
    /// Other tenants hold what there is.
    #[error("other virtual clusters hold the memory that there is")]
    OfAll,
    /// Whoever is asked does not answer, or not so.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    /// What a user is told; `failed` if whoever was asked did not answer.
    pub(super) fn refusal(&self, failed: &str) -> Refusal {
        match self {
            Self::Large => Refusal::new(
                Kind::Bad,
                "the virtual cluster has too many or too large pods for one request for metrics: ask for one namespace, or by a selector",
            ),
            Self::OfTenant => too_many(),
            Self::OfAll => Refusal::new(
                Kind::Unavailable,
                "metrics of too many virtual clusters are read at once; try again in a moment",
            ),
            Self::Failed(_) => Refusal::new(Kind::Unavailable, failed),
        }
    }
}

fn too_many() -> Refusal {
    Refusal::new(
        Kind::TooMany,
        "the virtual cluster asks for too many metrics at once; try again in a moment",
    )
}

impl Reading {
    /// All objects at a path that has a query, if an empty one, in pages.
    pub(super) async fn pages<T: DeserializeOwned + Serialize>(
        &mut self,
        client: &Client,
        path: &str,
    ) -> Result<Vec<T>, Error> {
        let (mut all, mut limit, mut next) = (Vec::new(), PAGE, None::<String>);
        loop {
            let separator = if path.ends_with('?') { "" } else { "&" };
            let mut page = format!("{path}{separator}limit={limit}");
            if let Some(token) = &next {
                // A continue token is base64url: it needs no escape.
                page.push_str("&continue=");
                page.push_str(token);
            }
            let read: List<T> = match self.answer(client, &page).await {
                Err(Error::Large) if limit > 1 => {
                    limit /= 4;
                    limit = limit.max(1);
                    continue;
                }
                read => read?,
            };
            let is_empty = read.items.is_empty();
            next = read
                .metadata
                .unwrap_or_default()
                .next
                .filter(|token| !token.is_empty());
            all.extend(read.items);
            match next {
                None => return Ok(all),
                // It would never end.
                Some(_) if is_empty => {
                    return Err(Error::Failed("an empty page has a next".to_owned()));
                }
                Some(_) => {}
            }
        }
    }

    /// All objects at a path, in one answer.
    pub(super) async fn whole<T: DeserializeOwned + Serialize>(
        &mut self,
        client: &Client,
        path: &str,
    ) -> Result<Vec<T>, Error> {
        let list: List<T> = self.answer(client, path).await?;
        Ok(list.items)
    }

    /// The answer in JSON, composed of what was read, which is gone by then. It is held until it is sent.
    pub(crate) async fn body(mut self, text: String) -> Result<Response<reply::Body>, Refusal> {
        self.composed(text.len())
            .await
            .map_err(|error| error.refusal("the answer cannot be composed"))?;
        let body = reply::hold(reply::in_pieces(text), self);
        Ok(reply::json_body(StatusCode::OK, body))
    }

    async fn composed(&mut self, bytes: usize) -> Result<(), Error> {
        self.kept = bytes;
        self.hold(bytes).await
    }

    /// One answer; what is kept of it is held.
    async fn answer<T: DeserializeOwned + Serialize>(
        &mut self,
        client: &Client,
        path: &str,
    ) -> Result<List<T>, Error> {
        let end = self.end;
        let text = tokio::time::timeout_at(end, self.text(client, path)).await;
        let text =
            text.unwrap_or_else(|_elapsed| Err(Error::Failed("no answer in time".to_owned())));
        let list = match text {
            Ok(text) => serde_json::from_slice::<List<T>>(&text)
                .map_err(|error| Error::Failed(error.to_string())),
            Err(error) => Err(error),
        };
        let kept = list.as_ref().map_or(0, |list| weight(&list.items));
        self.kept += kept;
        self.hold(self.kept).await?;
        list
    }

    async fn text(&mut self, client: &Client, path: &str) -> Result<Vec<u8>, Error> {
        let request = Request::get(path).body(Body::empty());
        let request = request.map_err(|error| Error::Failed(error.to_string()))?;
        let failed = |error: &kube::Error| Error::Failed(with_causes(error));
        let answer = client.send(request).await.map_err(|error| failed(&error))?;
        if !answer.status().is_success() {
            return Err(Error::Failed(format!("answered with {}", answer.status())));
        }
        let (mut body, mut text) = (answer.into_body(), Vec::new());
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|error| failed(&error))?.into_data() else {
                continue;
            };
            if text.len() + data.len() > ANSWER {
                return Err(Error::Large);
            }
            self.hold(self.kept + text.len() + data.len()).await?;
            text.extend_from_slice(&data);
        }
        Ok(text)
    }

    /// Holds so many bytes: more or fewer than before.
    async fn hold(&mut self, bytes: usize) -> Result<(), Error> {
        if bytes > HELD_BY_TENANT {
            return Err(Error::Large);
        }
        self.of_tenant.hold(bytes).await.ok_or(Error::OfTenant)?;
        self.of_all.hold(bytes).await.ok_or(Error::OfAll)
    }
}

/// Bytes that are held of one bound.
#[derive(Debug)]
struct Share {
    of: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl Share {
    fn new(of: Arc<Semaphore>) -> Self {
        Self { of, held: None }
    }

    /// Holds so many; nothing if the rest is not to be had in time.
    async fn hold(&mut self, bytes: usize) -> Option<()> {
        let held = self
            .held
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        if let Some(less) = held.checked_sub(bytes) {
            drop(self.held.as_mut().and_then(|held| held.split(less)));
            return Some(());
        }
        let more = u32::try_from(bytes - held).ok()?;
        let more = Arc::clone(&self.of).acquire_many_owned(more);
        let more = tokio::time::timeout(WAIT, more).await.ok()?.ok()?;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Some(())
    }
}

/// A list, or a page of it.
#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct List<T> {
    metadata: Option<ListMetadata>,
    #[serde(default = "Vec::new", deserialize_with = "objects")]
    items: Vec<T>,
}

#[derive(Default, Deserialize)]
struct ListMetadata {
    #[serde(rename = "continue")]
    next: Option<String>,
}

/// Objects, so many at most: a small one is larger in memory than in its text.
fn objects<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Vec<T>, D::Error> {
    struct Objects<T>(PhantomData<T>);
    impl<'de, T: DeserializeOwned> Visitor<'de> for Objects<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {OBJECTS} objects")
        }

        fn visit_unit<E>(self) -> Result<Vec<T>, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(item) = items.next_element()? {
                if all.len() == OBJECTS {
                    return Err(serde::de::Error::invalid_length(OBJECTS + 1, &self));
                }
                all.push(item);
            }
            Ok(all)
        }
    }
    from.deserialize_any(Objects(PhantomData))
}

/// What objects take in memory, about.
fn weight<T: Serialize>(objects: &[T]) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0 += text.len();
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Neither these objects nor the count can refuse.
    drop(serde_json::to_writer(&mut count, objects));
    count.0 * IN_MEMORY + objects.len() * OBJECT
}

#[cfg(test)]
mod tests;
