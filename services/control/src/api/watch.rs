//! WatchVirtualClusters: what exists, then every change, over any number of watches of the host.
//!
//! A host watch ends after minutes, or breaks; the next one begins after the last version that was
//! sent, so no state is missed and none is sent twice. Only a version that the host no longer holds
//! ends the stream. Each new host watch asks again whether the caller may.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use vcluster_chassis::access::{self, Attributes, Authorizer};
use vcluster_chassis::identity::Identity;
use vcluster_chassis::retry::Policy;
use vcluster_proto::control::v1 as wire;
use vcluster_resources::{ClusterName, HostNamespace, VirtualCluster};

use super::access::{Scope, Verb, virtual_clusters};
use super::failure::Failure;
use super::kubernetes::{self, Answer};
use super::{Service, read, write};

/// Events that wait for a slow client; then the host watch waits too.
const QUEUE: usize = 64;
/// Clusters in one answer of the first listing.
const PAGE: u32 = 500;
/// Length of one host watch.
const WATCH_SECONDS: u32 = 240;
/// Pauses between host watches that fail.
const BACKOFF: Policy = Policy {
    base: Duration::from_millis(200),
    factor: 2.0,
    cap: Duration::from_secs(10),
};

type Events = BoxStream<'static, Result<wire::WatchVirtualClustersResponse, Status>>;

/// Host watches that may fail one after the other. A client learns of the next and comes again: so
/// nothing goes on for ever that cannot succeed, such as a version that the host has not reached.
const FAILURES: u32 = 6;

/// How one watch of the host went.
enum Round {
    /// To its end.
    Ended,
    /// The host could not be reached, or was too busy.
    Failed,
}

/// Why the stream goes no further.
enum End {
    /// The client has gone.
    Gone,
    /// It is told.
    Failed(Failure),
}

/// One client's watch.
struct Watch {
    clusters: Api<VirtualCluster>,
    fields: Option<String>,
    sender: mpsc::Sender<Result<wire::WatchVirtualClustersResponse, Status>>,
    authorizer: Authorizer,
    caller: Identity,
    right: Attributes,
}

impl Service {
    pub(super) async fn watch(
        &self,
        caller: Identity,
        request: wire::WatchVirtualClustersRequest,
    ) -> Result<Events, Failure> {
        let (namespace, name) = selection(&request)?;
        let from = version(&request.resource_version)?;
        let scope = match (&namespace, &name) {
            (None, _) => Scope::All,
            (Some(namespace), None) => Scope::Namespace(namespace.as_str()),
            (Some(namespace), Some(name)) => Scope::One {
                namespace: namespace.as_str(),
                name: name.as_str(),
            },
        };
        let right = virtual_clusters(Verb::Watch, scope);
        self.authorizer
            .check(&caller, &right)
            .await
            .map_err(Failure::access)?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let watch = Watch {
            clusters: self.clusters_in(namespace.as_ref().map(HostNamespace::as_str)),
            fields: name.map(|name| format!("metadata.name={name}")),
            sender,
            authorizer: self.authorizer.clone(),
            caller,
            right,
        };
        let token = self.shutdown.token();
        self.shutdown
            .spawn_contained("watch of virtual clusters", async move {
                let sender = watch.sender.clone();
                // Large: it holds a whole object.
                let run = Box::pin(watch.run(from));
                let ended = token.run_until_cancelled(run).await;
                if let End::Failed(failure) = ended.unwrap_or(End::Failed(Failure::Draining)) {
                    // A client that does not read does not learn why; it sees the stream end.
                    drop(sender.try_send(Err(failure.into())));
                }
            });
        Ok(ReceiverStream::new(receiver).boxed())
    }
}

fn selection(
    request: &wire::WatchVirtualClustersRequest,
) -> Result<(Option<HostNamespace>, Option<ClusterName>), Failure> {
    let namespace = read::namespace(&request.host_namespace)?;
    if request.name.is_empty() {
        return Ok((namespace, None));
    }
    if namespace.is_none() {
        return Err(Failure::violation(
            "host_namespace",
            "must be given together with name",
        ));
    }
    let name = request.name.parse::<ClusterName>();
    let name = name.map_err(|error| Failure::violation("name", error.to_string()))?;
    Ok((namespace, Some(name)))
}

fn version(text: &str) -> Result<Option<String>, Failure> {
    match text {
        "" => Ok(None),
        // Versions are opaque; but "0" means "any" to Kubernetes, which resumes nothing.
        text if text != "0" && text.len() <= 20 && text.bytes().all(|b| b.is_ascii_digit()) => {
            Ok(Some(text.to_owned()))
        }
        _ => {
            let text = "must be the resource_version of an event of this call";
            Err(Failure::violation("resource_version", text))
        }
    }
}

impl Watch {
    async fn run(self, from: Option<String>) -> End {
        let first = match from {
            Some(version) => Ok(version),
            None => self.existing().await,
        };
        match first {
            Ok(version) => self.follow(version).await,
            Err(end) => end,
        }
    }

    /// Sends what exists; gives the version of the listing.
    async fn existing(&self) -> Result<String, End> {
        let mut params = ListParams::default().limit(PAGE);
        params.field_selector.clone_from(&self.fields);
        loop {
            let list = self.clusters.list(&params).await;
            let list = list.map_err(|error| End::Failed(Failure::of_many(&error)))?;
            for cluster in &list.items {
                // Resuming in the middle would miss the rest, so these name no version.
                self.send(wire::EventType::Added, Some(cluster), "").await?;
            }
            let version = list.metadata.resource_version.unwrap_or_default();
            let next = list.metadata.continue_.filter(|token| !token.is_empty());
            let Some(token) = next else {
                self.send(wire::EventType::Synced, None, &version).await?;
                return Ok(version);
            };
            params = params.continue_token(&token);
        }
    }

    async fn follow(&self, mut version: String) -> End {
        let mut failures = 0;
        loop {
            let before = version.clone();
            let round = tokio::select! {
                round = self.one_watch(&mut version) => round,
                () = self.sender.closed() => return End::Gone,
            };
            match round {
                Err(end) => return end,
                Ok(Round::Failed) if version == before => failures += 1,
                Ok(Round::Failed | Round::Ended) => failures = 0,
            }
            if failures > FAILURES {
                return End::Failed(Failure::Unavailable);
            }
            // A watch that brought nothing ended at its own time or failed: both may wait.
            if version == before {
                tokio::select! {
                    () = tokio::time::sleep(BACKOFF.delay(failures)) => {}
                    () = self.sender.closed() => return End::Gone,
                }
            }
            match self.authorizer.check(&self.caller, &self.right).await {
                Ok(()) | Err(access::Error::Unavailable(_)) => {}
                Err(error) => return End::Failed(Failure::access(error)),
            }
        }
    }

    /// One watch of the host; an error of the connection ends it and nothing else.
    async fn one_watch(&self, version: &mut String) -> Result<Round, End> {
        let mut params = WatchParams::default().timeout(WATCH_SECONDS);
        params.field_selector.clone_from(&self.fields);
        let stream = match self.clusters.watch(&params, version).await {
            Ok(stream) => stream,
            Err(error) => return ended(&error),
        };
        let mut stream = std::pin::pin!(stream);
        while let Some(event) = stream.next().await {
            match event {
                Ok(event) => match self.pass_on(event).await? {
                    Some(next) => *version = next,
                    None => return Ok(Round::Failed),
                },
                Err(error) => return ended(&error),
            }
        }
        Ok(Round::Ended)
    }

    /// Sends an event; gives the version that it brought, or nothing if it says that the watch failed.
    async fn pass_on(&self, event: WatchEvent<VirtualCluster>) -> Result<Option<String>, End> {
        use wire::EventType;
        let (kind, cluster) = match event {
            WatchEvent::Added(cluster) => (EventType::Added, cluster),
            WatchEvent::Modified(cluster) => (EventType::Modified, cluster),
            WatchEvent::Deleted(cluster) => (EventType::Deleted, cluster),
            WatchEvent::Bookmark(bookmark) => {
                let version = bookmark.metadata.resource_version;
                self.send(EventType::Bookmark, None, &version).await?;
                return Ok(Some(version));
            }
            WatchEvent::Error(status) => {
                if kubernetes::of_status(&status) == Answer::Expired {
                    return Err(End::Failed(Failure::VersionExpired));
                }
                tracing::debug!(message = status.message, "a watch of the host failed");
                return Ok(None);
            }
        };
        let version = cluster.resource_version().unwrap_or_default();
        self.send(kind, Some(&cluster), &version).await?;
        Ok(Some(version))
    }

    async fn send(
        &self,
        kind: wire::EventType,
        cluster: Option<&VirtualCluster>,
        version: &str,
    ) -> Result<(), End> {
        let event = wire::WatchVirtualClustersResponse {
            r#type: kind.into(),
            virtual_cluster: cluster.map(write::cluster),
            resource_version: version.to_owned(),
        };
        self.sender
            .send(Ok(event))
            .await
            .map_err(|_closed| End::Gone)
    }
}

/// What the end of a host watch means for the client's.
fn ended(error: &kube::Error) -> Result<Round, End> {
    match kubernetes::answer(error) {
        Answer::Expired => Err(End::Failed(Failure::VersionExpired)),
        Answer::Busy | Answer::Unreachable => {
            tracing::debug!(%error, "a watch of the host ended");
            Ok(Round::Failed)
        }
        Answer::NotFound
        | Answer::AlreadyExists
        | Answer::Conflict
        | Answer::Invalid(_)
        | Answer::Policy(_)
        | Answer::Quota(_)
        | Answer::NamespaceTerminating(_)
        | Answer::Fault => Err(End::Failed(Failure::of_many(error))),
    }
}
