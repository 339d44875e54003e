//! The host's scheduler and kubelets, played: each new pod is bound to the next node and at once said to run, by one
//! binding and one status patch. Pods that are deleted are let go.
//!
//! They are no bottleneck: W2 made directly on the host goes through them too, several times as fast as by sync.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::board::{Board, Stage};
use crate::client::Client;
use crate::pods::{self, Event};

/// Pods of one namespace that are worked on at once. Each namespace has its own, so that a regular tenant's pod never
/// waits for a greedy one's; few, because requests of greedy pods' nodes take from the host what a regular tenant needs
/// as well, and that is to be sync's doing, not that of what is played.
const AT_ONCE: usize = 2;

/// The pause between two watches.
const AGAIN: Duration = Duration::from_millis(10);

/// The nodes at work.
pub(crate) struct Nodes {
    shared: Arc<Shared>,
    token: CancellationToken,
}

struct Shared {
    client: Client,
    board: Arc<Board>,
    nodes: usize,
    next: AtomicUsize,
    slots: Mutex<HashMap<String, Arc<Semaphore>>>,
    /// New pods are somebody else's to bind.
    is_idle: AtomicBool,
    /// Users look at the host itself.
    shows: AtomicBool,
    failures: AtomicUsize,
}

impl Nodes {
    /// Begins to work; `watch` and `client` are connections of their own.
    pub(crate) fn start(watch: &Client, client: Client, board: Arc<Board>, nodes: usize) -> Self {
        let shared = Arc::new(Shared {
            client,
            board,
            nodes,
            next: AtomicUsize::new(0),
            slots: Mutex::default(),
            is_idle: AtomicBool::new(false),
            shows: AtomicBool::new(false),
            failures: AtomicUsize::new(0),
        });
        let token = CancellationToken::new();
        let following = {
            let (shared, token, watch) = (Arc::clone(&shared), token.clone(), watch.clone());
            async move {
                while !token.is_cancelled() {
                    let round = follow(&shared, &watch);
                    drop(token.run_until_cancelled(round).await);
                    // An API server ends watches now and then; one that fails is not asked at once.
                    token.run_until_cancelled(tokio::time::sleep(AGAIN)).await;
                }
            }
        };
        tokio::spawn(following);
        Self { shared, token }
    }

    /// Whether new pods are left alone.
    pub(crate) fn idle(&self, is_idle: bool) {
        self.shared.is_idle.store(is_idle, Ordering::Release);
    }

    /// Goes to work again, on the pods too that came meanwhile.
    pub(crate) async fn resume(&self) -> Result<()> {
        self.idle(false);
        let list = self.shared.client.get("/api/v1/pods").await?;
        for pod in list["items"].as_array().into_iter().flatten() {
            // As if it had just been made: the first look at a pod counts.
            let line = serde_json::json!({"type": "ADDED", "object": pod}).to_string();
            see(&self.shared, &Bytes::from(line))?;
        }
        Ok(())
    }

    /// Whether users look at the host itself.
    pub(crate) fn show(&self, shows: bool) {
        self.shared.shows.store(shows, Ordering::Release);
    }

    /// Requests that failed.
    pub(crate) fn failures(&self) -> usize {
        self.shared.failures.load(Ordering::Acquire)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.shared.nodes
    }

    /// The next node, by turns.
    pub(crate) fn next(&self) -> (usize, String) {
        self.shared.next()
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.token.cancel();
    }
}

impl Shared {
    fn slots(&self, namespace: &str) -> Arc<Semaphore> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slots = slots.entry(namespace.to_owned());
        Arc::clone(slots.or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE))))
    }

    fn next(&self) -> (usize, String) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number, format!("node-{}", number % self.nodes))
    }
}

async fn follow(shared: &Arc<Shared>, watch: &Client) -> Result<()> {
    let mut lines = watch.watch("/api/v1/pods").await?;
    while let Some(line) = lines.next().await? {
        see(shared, &line)?;
    }
    Ok(())
}

fn see(shared: &Arc<Shared>, line: &Bytes) -> Result<()> {
    let event: Event<'_> = serde_json::from_slice(line)?;
    let pod = &event.object;
    if event.kind == "DELETED" || pod.metadata.name.is_empty() {
        return Ok(());
    }
    let (namespace, name) = (pod.metadata.namespace.as_ref(), pod.virtual_name());
    let path = format!("/api/v1/namespaces/{namespace}/pods/{}", pod.metadata.name);
    if pod.metadata.deletion_timestamp.is_some() {
        let gone = |shared: Arc<Shared>| async move { shared.client.delete(&path).await };
        work(shared, namespace, gone);
        return Ok(());
    }
    if pod.is_ready() && shared.shows.load(Ordering::Acquire) {
        shared.board.reach(namespace, name, Stage::Ready);
    }
    let is_new = event.kind == "ADDED" && pod.spec.node_name.is_none();
    if !is_new || shared.is_idle.load(Ordering::Acquire) {
        return Ok(());
    }
    shared.board.reach(namespace, name, Stage::OnHost);
    let whole = pod.metadata.name.clone().into_owned();
    let place = (namespace.to_owned(), name.to_owned());
    work(shared, namespace, |shared| async move {
        let (number, node) = shared.next();
        let binding = pods::binding(&whole, &node);
        shared
            .client
            .create(&format!("{path}/binding"), binding)
            .await?;
        let status = pods::running(number);
        shared
            .client
            .patch_strategic(&format!("{path}/status"), status)
            .await?;
        shared.board.reach(&place.0, &place.1, Stage::Running);
        Ok(())
    });
    Ok(())
}

fn work<F>(shared: &Arc<Shared>, namespace: &str, job: impl FnOnce(Arc<Shared>) -> F)
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let slots = shared.slots(namespace);
    let job = job(Arc::clone(shared));
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        // Never closed.
        let _slot = slots.acquire().await;
        if job.await.is_err() {
            shared.failures.fetch_add(1, Ordering::AcqRel);
        }
    });
}
