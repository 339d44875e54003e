//! The virtual API servers, and the connections to them.
//!
//! Each virtual cluster has two pools, so that watches do not take the places of short requests. They are made
//! from its address and credential at the first request, made anew when either changes, and dropped when the
//! cluster is gone or another one has taken its name. The credential is read again every few minutes, and
//! earlier when the API server refuses it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls_pki_types::InvalidDnsNameError;
use tokio::time::Instant;
use vcluster_chassis::drain::Shutdown;

use crate::clusters::{Clusters, Place, State};
use crate::metrics::Metrics;
use crate::refusal::{Kind, Refusal};
use crate::route::ClusterKey;

pub mod credential;
mod pool;
mod target;

pub(crate) use pool::MAX_WINDOW;
pub use pool::{Answer, Pool};
pub use target::{Protocol, Target};

/// How long a credential is used without being read again.
const FRESH: Duration = Duration::from_mins(5);
/// The shortest time between two reads.
const AGAIN: Duration = Duration::from_secs(2);
/// How often pools are looked through.
const SWEEP: Duration = Duration::from_secs(30);
/// Connections to one API server, of each pool.
const CONNECTIONS: usize = 16;

/// Why a request got no answer from the server it was forwarded to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No TCP connection, or it broke before it was used.
    #[error("cannot connect")]
    Connect(#[source] std::io::Error),
    /// No TLS session.
    #[error("TLS failed")]
    Tls(#[source] std::io::Error),
    /// Neither in time.
    #[error("cannot connect in time")]
    ConnectTimeout,
    /// Neither, a moment ago, for somebody else.
    #[error("another attempt to connect has just failed")]
    JustFailed,
    /// It does not speak the protocol.
    #[error("the server does not speak the protocol")]
    Protocol,
    /// The connection broke as it began to speak the protocol.
    #[error("the connection was lost before it was used")]
    Handshake(#[source] hyper::Error),
    /// The connection broke before there was an answer.
    #[error("the connection was lost before there was an answer")]
    Lost(#[source] hyper::Error),
    /// No answer in time.
    #[error("no answer in time")]
    AnswerTimeout,
    /// Every connection has its fill of streams.
    #[error("every connection is full")]
    Exhausted,
    /// The gateway has no credential for it.
    #[error("there is no credential for it")]
    Credential(#[source] Arc<credential::Error>),
    /// Its address cannot be in a certificate.
    #[error("the address is malformed")]
    Address(#[from] InvalidDnsNameError),
}

impl Error {
    /// What a caller is told of it; `who` is the server in words for users.
    pub fn refusal(&self, who: &str, waits_for: Option<&str>) -> Refusal {
        let waiting = waits_for
            .map(|text| format!(" ({text})"))
            .unwrap_or_default();
        let second = Duration::from_secs(1);
        match self {
            Self::Connect(_) | Self::Handshake(_) | Self::ConnectTimeout | Self::JustFailed => {
                Refusal::new(
                    Kind::Unavailable,
                    format!("{who} cannot be reached now{waiting}"),
                )
                .retry_after(second)
            }
            Self::Tls(_) | Self::Protocol | Self::Address(_) => Refusal::new(
                Kind::BadGateway,
                format!("{who} and the gateway do not trust or understand each other{waiting}"),
            ),
            Self::Lost(_) => Refusal::new(
                Kind::BadGateway,
                format!("{who} broke off before it answered{waiting}"),
            ),
            Self::AnswerTimeout => Refusal::new(
                Kind::Timeout,
                format!("{who} did not answer in time{waiting}"),
            ),
            Self::Exhausted => Refusal::new(
                Kind::Unavailable,
                format!("too many requests to {who} are under way"),
            )
            .retry_after(second),
            Self::Credential(_) => Refusal::new(
                Kind::Unavailable,
                format!("the gateway has no credential for {who} yet{waiting}"),
            )
            .retry_after(second),
        }
    }
}

/// Everything to speak to one virtual API server.
#[derive(Debug)]
pub struct Upstream {
    /// The server itself, for connections of their own.
    pub target: Arc<Target>,
    /// For requests that end by themselves.
    pub short: Pool,
    /// For requests that stay.
    pub long: Pool,
    fingerprint: [u8; 32],
}

/// Every virtual API server that was asked for. Clones are the same.
#[derive(Debug, Clone)]
pub struct Upstreams {
    inner: Arc<Inner>,
}

struct Inner {
    client: kube::Client,
    metrics: Metrics,
    entries: Mutex<HashMap<ClusterKey, Arc<Entry>>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Entry {
    place: Place,
    /// Held by the one that reads; tells how reading has last failed, and until when that counts.
    reading: tokio::sync::Mutex<Option<(Instant, Arc<credential::Error>)>>,
    loaded: Mutex<Option<Loaded>>,
}

#[derive(Debug, Clone)]
struct Loaded {
    upstream: Arc<Upstream>,
    /// When the credential is to be read again.
    until: Instant,
    read_at: Instant,
}

impl Upstreams {
    /// Makes the registry and sweeps it in a tracked task.
    pub fn new(
        client: kube::Client,
        clusters: Clusters,
        metrics: Metrics,
        shutdown: &Shutdown,
    ) -> Self {
        let inner = Inner {
            client,
            metrics,
            entries: Mutex::new(HashMap::new()),
        };
        let this = Self {
            inner: Arc::new(inner),
        };
        let token = shutdown.token();
        let sweeping = this.clone();
        shutdown.spawn("upstreams", async move {
            token.run_until_cancelled(sweeping.sweep(clusters)).await;
        });
        this
    }

    /// Gives what is needed to speak to the API server of `key` at `place`.
    pub async fn get(&self, key: &ClusterKey, place: &Place) -> Result<Arc<Upstream>, Error> {
        let entry = self.entry(key, place);
        let known = entry.loaded();
        if let Some(known) = &known
            && Instant::now() < known.until
        {
            return Ok(Arc::clone(&known.upstream));
        }
        let mut failed = match (entry.reading.try_lock(), &known) {
            (Ok(guard), _) => guard,
            // Somebody reads it already; what is there is good enough meanwhile.
            (Err(_), Some(known)) => return Ok(Arc::clone(&known.upstream)),
            (Err(_), None) => entry.reading.lock().await,
        };
        if let Some(known) = entry.loaded()
            && Instant::now() < known.until
        {
            return Ok(known.upstream);
        }
        if let Some((until, error)) = &*failed
            && Instant::now() < *until
            && known.is_none()
        {
            return Err(Error::Credential(Arc::clone(error)));
        }
        let read = self.read(key, &entry).await;
        *failed = match &read {
            Err(Error::Credential(error)) => Some((Instant::now() + AGAIN, Arc::clone(error))),
            Err(_) | Ok(_) => None,
        };
        read
    }

    /// Reads the credential again at the next request: the API server refused it.
    pub fn distrust(&self, key: &ClusterKey) {
        let entry = self.entries().get(key).cloned();
        if let Some(entry) = entry
            && let Some(loaded) = entry.lock().as_mut()
        {
            loaded.until = loaded.until.min(loaded.read_at + AGAIN);
        }
    }

    fn entry(&self, key: &ClusterKey, place: &Place) -> Arc<Entry> {
        let mut entries = self.entries();
        if let Some(entry) = entries.get(key)
            && entry.place.uid == place.uid
            && entry.place.address == place.address
        {
            return Arc::clone(entry);
        }
        let entry = Arc::new(Entry {
            place: place.clone(),
            reading: tokio::sync::Mutex::new(None),
            loaded: Mutex::new(None),
        });
        entries.insert(key.clone(), Arc::clone(&entry));
        entry
    }

    async fn read(&self, key: &ClusterKey, entry: &Entry) -> Result<Arc<Upstream>, Error> {
        let known = entry.loaded();
        let now = Instant::now();
        let material = credential::read(&self.inner.client, key, &entry.place.uid).await;
        let (upstream, until) = match (material, known) {
            (Ok(material), Some(known)) if known.upstream.fingerprint == material.fingerprint => {
                (known.upstream, now + FRESH)
            }
            (Ok(material), _) => (Arc::new(self.build(&entry.place, material)?), now + FRESH),
            (Err(error), Some(known)) => {
                tracing::warn!(%error, cluster = %key, "gateway credential is kept");
                (known.upstream, now + AGAIN)
            }
            (Err(error), None) => return Err(Error::Credential(Arc::new(error))),
        };
        *entry.lock() = Some(Loaded {
            upstream: Arc::clone(&upstream),
            until,
            read_at: now,
        });
        Ok(upstream)
    }

    fn build(&self, place: &Place, material: credential::Material) -> Result<Upstream, Error> {
        let (roots, identity) = (material.roots.into(), material.identity.into());
        let host = place.address.ip().to_string();
        let target = Arc::new(Target::new(&host, place.address.port(), &roots, &identity)?);
        let pool = || Pool::new(Arc::clone(&target), CONNECTIONS, self.inner.metrics.clone());
        Ok(Upstream {
            short: pool(),
            long: pool(),
            target,
            fingerprint: material.fingerprint,
        })
    }

    #[expect(clippy::infinite_loop, reason = "ends by being dropped")]
    async fn sweep(self, clusters: Clusters) {
        let mut ticks = tokio::time::interval(SWEEP);
        loop {
            ticks.tick().await;
            self.entries().retain(|key, entry| match clusters.get(key) {
                Some(State::At(place)) => place.uid == entry.place.uid,
                Some(State::NotReady(_) | State::Deleting | State::Broken) | None => false,
            });
            let entries: Vec<_> = self.entries().values().cloned().collect();
            for upstream in entries.iter().filter_map(|entry| entry.loaded()) {
                upstream.upstream.short.sweep();
                upstream.upstream.long.sweep();
            }
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<ClusterKey, Arc<Entry>>> {
        self.inner
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn lock(&self) -> MutexGuard<'_, Option<Loaded>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn loaded(&self) -> Option<Loaded> {
        self.lock().clone()
    }
}
