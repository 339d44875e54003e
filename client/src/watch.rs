//! A watch that goes on after a broken connection from where it was.
//!
//! [`Watch::next`] gives every change once the listing is through. It resumes by the last
//! `resource_version`; if the service no longer holds that, it begins again and says so with
//! [`Event::Restarted`], after which everything that exists is told again.

use std::collections::VecDeque;

use tokio::time::{Duration, Instant};
use tonic::{Code, Streaming};
use vcluster_proto::control::v1::{
    EventType, VirtualCluster, WatchVirtualClustersRequest, WatchVirtualClustersResponse,
    control_service_client::ControlServiceClient,
};

use crate::{Client, Error, credentials::Need, retry::Effect};

/// Which clusters to watch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// One host namespace; `None` means all.
    pub host_namespace: Option<String>,
    /// One cluster; needs the host namespace.
    pub name: Option<String>,
}

/// What a watch tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It exists, or came to be.
    Added(VirtualCluster),
    /// It changed.
    Modified(VirtualCluster),
    /// It is gone; this was its last state.
    Deleted(VirtualCluster),
    /// Everything that existed at the beginning has been told.
    Synced,
    /// What was told before may be stale; everything that exists is told again.
    Restarted,
}

/// A running watch. Dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    client: Client,
    scope: Scope,
    /// Where to resume: known once the listing is through, because a place within it would skip
    /// the rest.
    position: Option<String>,
    synced: bool,
    told: bool,
    need: Need,
    stream: Option<Streaming<WatchVirtualClustersResponse>>,
    pending: VecDeque<Event>,
    /// Failed tries since the last event.
    tries: u32,
    /// When the present series of failures began.
    failing_since: Option<Instant>,
}

impl Client {
    /// Watches the clusters of `scope`. Nothing is sent before the first [`Watch::next`].
    pub fn watch(&self, scope: Scope) -> Watch {
        Watch {
            client: self.clone(),
            scope,
            position: None,
            synced: false,
            told: false,
            need: Need::Call,
            stream: None,
            pending: VecDeque::new(),
            tries: 0,
            failing_since: None,
        }
    }
}

impl Watch {
    /// The next event. Waits without a limit while the connection is healthy; gives up with the
    /// error when it has been broken for the client's deadline. Cancel safe.
    pub async fn next(&mut self) -> Result<Event, Error> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Ok(event);
            }
            if let Err(error) = self.advance().await {
                self.recover(error).await?;
            }
        }
    }

    /// Opens the stream if there is none, and takes one message from it.
    async fn advance(&mut self) -> Result<(), Error> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            empty @ None => {
                let opened = open(
                    &self.client,
                    &self.scope,
                    self.position.as_deref(),
                    self.need,
                );
                empty.insert(opened.await?)
            }
        };
        match stream.message().await {
            Ok(Some(message)) => {
                self.tries = 0;
                self.need = Need::Call;
                self.failing_since = None;
                self.take(message)
            }
            // The service ends streams at times, to spread them again over its replicas.
            Ok(None) => Err(Error::Rejected(Box::new(
                (&tonic::Status::unavailable("the service ended the watch")).into(),
            ))),
            Err(status) => Err(Error::from_status(status, &self.client.address)),
        }
    }

    fn take(&mut self, message: WatchVirtualClustersResponse) -> Result<(), Error> {
        let kind = message.r#type();
        let cluster = message.virtual_cluster;
        let needed = || Error::Incomplete("virtual_cluster");
        match kind {
            EventType::Added => self
                .pending
                .push_back(Event::Added(cluster.ok_or_else(needed)?)),
            EventType::Modified => {
                self.pending
                    .push_back(Event::Modified(cluster.ok_or_else(needed)?));
            }
            EventType::Deleted => {
                self.pending
                    .push_back(Event::Deleted(cluster.ok_or_else(needed)?));
            }
            EventType::Synced => {
                self.synced = true;
                self.pending.push_back(Event::Synced);
            }
            // A kind of a newer service carries nothing that this client could use but its place.
            EventType::Bookmark | EventType::Unspecified => {}
        }
        self.told |= !self.pending.is_empty();
        if self.synced && !message.resource_version.is_empty() {
            self.position = Some(message.resource_version);
        }
        Ok(())
    }

    /// Decides whether to go on after `error`, and waits before the next try.
    async fn recover(&mut self, error: Error) -> Result<(), Error> {
        self.stream = None;
        if error.code() == Code::OutOfRange && self.position.take().is_some() {
            self.synced = false;
        }
        let lost_place = self.position.is_none() && std::mem::take(&mut self.told);
        if lost_place {
            self.pending.push_back(Event::Restarted);
        }
        if error.code() == Code::OutOfRange && lost_place {
            return Ok(());
        }
        self.tries += 1;
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        let wait = if self.client.may_renew(&error, self.need) {
            self.need = Need::Refused;
            Some(Duration::ZERO)
        } else {
            self.client
                .retry
                .next(&error, Effect::Idempotent, self.tries, rand::random())
        };
        match wait {
            Some(wait) if since.elapsed() + wait < self.client.deadline => {
                if let Some(observer) = &self.client.on_retry {
                    observer(&error, wait);
                }
                tokio::time::sleep(wait).await;
                Ok(())
            }
            Some(_) | None => {
                // Whoever asks again gets as much time again.
                self.tries = 0;
                self.failing_since = None;
                Err(error)
            }
        }
    }
}

async fn open(
    client: &Client,
    scope: &Scope,
    position: Option<&str>,
    need: Need,
) -> Result<Streaming<WatchVirtualClustersResponse>, Error> {
    let message = WatchVirtualClustersRequest {
        host_namespace: scope.host_namespace.clone().unwrap_or_default(),
        name: scope.name.clone().unwrap_or_default(),
        resource_version: position.unwrap_or_default().to_owned(),
    };
    let request = client.request(message, need).await?;
    let open = async {
        ControlServiceClient::new(client.channel.clone())
            .watch_virtual_clusters(request)
            .await
    };
    // Only the opening has a limit; the stream itself lives as long as there is interest.
    match tokio::time::timeout(client.deadline, open).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(Error::from_status(status, &client.address)),
        Err(_elapsed) => Err(Error::Deadline {
            address: client.address.as_ref().to_owned(),
            after: client.deadline,
        }),
    }
}
