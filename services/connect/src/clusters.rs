//! The virtual clusters of the host, followed by watch.
//!
//! Answers at once where a cluster's API server is, or why it cannot be reached; never asks the host for
//! it. While the host API server is away the last state goes on to count: virtual API servers do not need it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use futures::{StreamExt, pin_mut};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use vcluster_chassis::drain::Shutdown;
use vcluster_chassis::health::Gate;
use vcluster_resources::VirtualCluster;
use vcluster_resources::layout::API_PORT;

use crate::route::ClusterKey;

/// What is known of a virtual cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Its API server has an address.
    At(Place),
    /// It has none yet; the text is what it waits for.
    NotReady(String),
    /// It is being deleted.
    Deleting,
    /// What its status says is no address that the gateway goes to.
    Broken,
}

/// Where the API server of a virtual cluster is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// UID of the VirtualCluster: another one of the same name is another cluster.
    pub uid: String,
    /// Address.
    pub address: SocketAddr,
    /// What its status says, while it is not ready.
    pub waits_for: Option<String>,
}

/// Every virtual cluster. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Clusters {
    known: Arc<RwLock<HashMap<ClusterKey, State>>>,
}

impl Clusters {
    /// Follows the host's VirtualClusters in a tracked task; the gate opens after the first full list.
    pub fn follow(client: kube::Client, gate: Gate, shutdown: &Shutdown) -> Self {
        let this = Self::default();
        gate.close("virtual clusters were not listed yet");
        let token = shutdown.token();
        let following = this.clone();
        shutdown.spawn("virtual clusters", async move {
            token.run_until_cancelled(following.run(client, gate)).await;
        });
        this
    }

    /// What is known of a cluster; `None` if there is none.
    pub fn get(&self, key: &ClusterKey) -> Option<State> {
        self.known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(key)
            .cloned()
    }

    async fn run(self, client: kube::Client, gate: Gate) {
        let events = watcher(
            Api::<VirtualCluster>::all(client),
            watcher::Config::default(),
        );
        let events = events.default_backoff();
        pin_mut!(events);
        let mut listing = HashMap::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.take(event, &mut listing, &gate),
                Err(error) => tracing::warn!(%error, "virtual clusters cannot be followed"),
            }
        }
    }

    fn take(
        &self,
        event: watcher::Event<VirtualCluster>,
        listing: &mut HashMap<ClusterKey, State>,
        gate: &Gate,
    ) {
        match event {
            watcher::Event::Init => listing.clear(),
            watcher::Event::InitApply(cluster) => listing.extend(entry(&cluster)),
            watcher::Event::InitDone => {
                tracing::info!(clusters = listing.len(), "virtual clusters were listed");
                *self.write() = std::mem::take(listing);
                gate.open();
            }
            watcher::Event::Apply(cluster) => self.write().extend(entry(&cluster)),
            watcher::Event::Delete(cluster) => {
                if let Some((key, _)) = entry(&cluster) {
                    self.write().remove(&key);
                }
            }
        }
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<ClusterKey, State>> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets what is known of a cluster.
    #[cfg(test)]
    pub(crate) fn set(&self, key: &ClusterKey, state: Option<State>) {
        match state {
            Some(state) => drop(self.write().insert(key.clone(), state)),
            None => drop(self.write().remove(key)),
        }
    }
}

/// Key and state of an object; none for one whose names the gateway cannot be asked for.
fn entry(cluster: &VirtualCluster) -> Option<(ClusterKey, State)> {
    let key = ClusterKey::parse(&cluster.namespace()?, &cluster.name_any()).ok()?;
    Some((key, state(cluster)))
}

/// What an object says.
fn state(cluster: &VirtualCluster) -> State {
    if cluster.metadata.deletion_timestamp.is_some() {
        return State::Deleting;
    }
    let status = cluster.status.clone().unwrap_or_default();
    let ready = matches!(
        status.phase,
        Some(vcluster_resources::cluster::Phase::Ready)
    );
    let message = status.message.filter(|message| !message.is_empty());
    let Some(endpoint) = status.endpoint else {
        return State::NotReady(message.unwrap_or_else(|| "it was not looked at yet".to_owned()));
    };
    match (address(&endpoint), cluster.uid()) {
        (Some(address), Some(uid)) => State::At(Place {
            uid,
            address,
            waits_for: message.filter(|_| !ready),
        }),
        (None, _) | (_, None) => State::Broken,
    }
}

/// Reads `https://IP[:PORT]`. Names are not followed, nor addresses that no Service has: whoever may write a
/// status must not lead the gateway to its own machine or to a cloud's metadata.
fn address(endpoint: &str) -> Option<SocketAddr> {
    let rest = endpoint.strip_prefix("https://")?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let bare = |text: &str| {
        text.trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>()
            .ok()
    };
    let address = match (rest.parse::<SocketAddr>(), bare(rest)) {
        (Ok(address), _) => address,
        (Err(_), Some(ip)) => SocketAddr::new(ip, API_PORT),
        (Err(_), None) => return None,
    };
    is_service(address.ip()).then_some(address)
}

fn is_service(ip: IpAddr) -> bool {
    if cfg!(test) && ip.is_loopback() {
        // Tests stand in for Services on loopback.
        return true;
    }
    let local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.to_ipv4_mapped().is_some(),
    };
    !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || local)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use vcluster_chassis::health::Health;

    use super::*;

    fn object(status: &serde_json::Value) -> VirtualCluster {
        serde_json::from_value(json!({
            "apiVersion": "vcluster.dev/v1alpha1", "kind": "VirtualCluster",
            "metadata": { "name": "demo", "namespace": "team-a", "uid": "u1" },
            "spec": {}, "status": status,
        }))
        .unwrap()
    }

    fn key() -> ClusterKey {
        ClusterKey::parse("team-a", "demo").unwrap()
    }

    #[test]
    fn an_endpoint_is_where_the_api_server_is() {
        for (endpoint, expected) in [
            ("https://10.96.0.17", "10.96.0.17:443"),
            ("https://10.96.0.17/", "10.96.0.17:443"),
            ("https://10.96.0.17:6443", "10.96.0.17:6443"),
            ("https://[fd00::11]", "[fd00::11]:443"),
            ("https://[fd00::11]:6443", "[fd00::11]:6443"),
        ] {
            assert_eq!(
                address(endpoint),
                Some(expected.parse().unwrap()),
                "{endpoint}"
            );
        }
    }

    #[test]
    fn the_gateway_is_not_led_elsewhere() {
        for endpoint in [
            "http://10.96.0.17",
            "10.96.0.17",
            "https://169.254.169.254",
            "https://demo.team-a.svc",
            "https://0.0.0.0",
            "https://10.96.0.17/x",
            "https://user@10.96.0.17",
            "https://255.255.255.255",
            "https://[fe80::1]",
            "https://[::ffff:169.254.169.254]",
            "https://10.96.0.17:99999",
            "https://",
            "",
            "https://224.0.0.1",
        ] {
            assert_eq!(address(endpoint), None, "{endpoint}");
        }
    }

    #[test]
    fn a_cluster_without_an_address_says_what_it_waits_for() {
        let waiting = object(&json!({ "message": "waiting for the control plane" }));
        assert_eq!(
            state(&waiting),
            State::NotReady("waiting for the control plane".to_owned())
        );
        assert!(matches!(state(&object(&json!({}))), State::NotReady(_)));
    }

    #[test]
    fn a_cluster_that_is_being_deleted_is_not_served() {
        let mut deleting = object(&json!({ "endpoint": "https://10.96.0.17" }));
        let time = json!("2026-01-01T00:00:00Z");
        deleting.metadata.deletion_timestamp = serde_json::from_value(time).unwrap();
        assert_eq!(state(&deleting), State::Deleting);
    }

    #[test]
    fn what_a_full_list_does_not_hold_is_gone_and_nothing_goes_before_it() {
        let health = Health::new(&Shutdown::new());
        let (clusters, gate) = (Clusters::default(), health.gate("routes"));
        let mut listing = HashMap::new();
        let demo = object(&json!({ "endpoint": "https://10.96.0.17" }));
        for event in [
            watcher::Event::Init,
            watcher::Event::InitApply(demo.clone()),
        ] {
            clusters.take(event, &mut listing, &gate);
            assert_eq!(clusters.get(&key()), None);
            assert!(!health.is_ready());
        }
        clusters.take(watcher::Event::InitDone, &mut listing, &gate);
        assert!(matches!(clusters.get(&key()), Some(State::At(_))));
        assert!(health.is_ready());
        clusters.take(watcher::Event::Init, &mut listing, &gate);
        assert!(
            clusters.get(&key()).is_some(),
            "a list that is under way removes nothing"
        );
        clusters.take(watcher::Event::InitDone, &mut listing, &gate);
        assert_eq!(clusters.get(&key()), None);
        clusters.take(watcher::Event::Apply(demo.clone()), &mut listing, &gate);
        clusters.take(watcher::Event::Delete(demo), &mut listing, &gate);
        assert_eq!(clusters.get(&key()), None);
    }
}
