//! Flags turned into values that the parts take.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use vcluster_translate::Annotations;
use vcluster_translate::own_class::{self, Priorities};

use crate::args::{Args, EngineArgs};
use crate::custom::Allowed;
use crate::queue;

/// Fresh objects: some ten MiB, and more than change within a second on a host that is not the largest.
const FRESH_OBJECTS: usize = 512;

/// How the engine works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    /// Keys in work at once.
    pub workers: usize,
    /// Tenants that are listed for the first time at once.
    pub max_concurrent_lists: usize,
    /// Time between two scans of a tenant.
    pub scan_interval: Duration,
    /// Image that writes `/etc/hosts` of pods with a subdomain.
    pub hosts_image: Option<String>,
    /// Annotations that reach the host beside the harmless ones.
    pub annotations: Annotations,
    /// Classes of virtual clusters that reach the host.
    pub classes: own_class::Allowed,
    /// Whether virtual clusters see how much room the host's storage has left.
    pub storage_capacities: bool,
    /// Ranges of the host's pods, where its nodes do not tell them.
    pub pod_cidrs: Vec<IpNet>,
    /// Ranges that no endpoint of a tenant's Service may be in.
    pub denied_endpoint_cidrs: Vec<IpNet>,
    /// Custom resources that may be synced.
    pub custom_resources: Allowed,
    /// Labels of the virtual clusters that are served; all of them without.
    pub selector: Option<String>,
    /// Objects that are fresh at once, of all tenants.
    pub fresh_objects: usize,
    /// Requests to the host at once, at most.
    pub host_requests: usize,
    /// Limits of each tenant with a weight of 1.
    pub tenant: Limits,
    /// Weights of tenants, by host namespace, that are not 1.
    pub weights: BTreeMap<String, u32>,
}

impl Engine {
    /// Limits of the tenant of a host namespace.
    pub fn limits_of(&self, namespace: &str) -> Limits {
        let weight = self.weights.get(namespace).copied().unwrap_or(1).max(1);
        let mut limits = self.tenant;
        limits.queue.weight *= weight;
        limits.writes_per_second = limits.writes_per_second.saturating_mul(weight);
        limits.writes_burst = limits.writes_burst.saturating_mul(weight);
        limits
    }
}

/// Limits of one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Share and cap in the queue.
    pub queue: queue::Limits,
    /// Writes per second, on each side.
    pub writes_per_second: u32,
    /// Writes at once, on each side.
    pub writes_burst: u32,
    /// Events per second that are shown inside.
    pub events_per_second: u32,
    /// Bytes of recent objects that are kept.
    pub object_bytes: usize,
}

/// The process.
#[derive(Debug, Clone)]
pub struct Config {
    /// gRPC.
    pub listen: SocketAddr,
    /// The kubelet API.
    pub kubelet_listen: SocketAddr,
    /// Admission webhooks.
    pub webhook_listen: SocketAddr,
    /// Metrics of pods and nodes.
    pub resource_metrics_listen: SocketAddr,
    /// Namespace of the release.
    pub namespace: String,
    /// Pod of this process.
    pub pod: String,
    /// UID of that pod.
    pub pod_uid: Option<String>,
    /// Where other replicas reach the gRPC API, if that is known.
    pub address: Option<SocketAddr>,
    /// Serve without the Lease.
    pub unopposed: bool,
    /// The engine.
    pub engine: Engine,
    /// How long the drain may take.
    pub drain_timeout: Duration,
}

/// A flag that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("--{flag} must be {allowed}")]
pub struct Error {
    flag: &'static str,
    allowed: &'static str,
}

impl TryFrom<&Args> for Config {
    type Error = Error;

    fn try_from(args: &Args) -> Result<Self, Error> {
        Ok(Self {
            listen: args.listen,
            kubelet_listen: args.kubelet_listen,
            webhook_listen: args.webhook_listen,
            resource_metrics_listen: args.resource_metrics_listen,
            namespace: args.namespace.clone(),
            pod: args.pod_name.clone(),
            pod_uid: args.pod_uid.clone(),
            address: args
                .pod_ip
                .map(|ip| SocketAddr::new(ip, args.listen.port())),
            unopposed: args.unopposed,
            engine: Engine::try_from(&args.engine)?,
            drain_timeout: args.drain.drain_timeout,
        })
    }
}

impl TryFrom<&EngineArgs> for Engine {
    type Error = Error;

    fn try_from(args: &EngineArgs) -> Result<Self, Error> {
        let positive = |flag, value: usize| match value {
            0 => Err(Error {
                flag,
                allowed: "at least 1",
            }),
            1.. => Ok(value),
        };
        if args.scan_interval < Duration::from_secs(10) {
            return Err(Error {
                flag: "scan-interval",
                allowed: "at least 10s",
            });
        }
        let in_flight = positive("tenant-in-flight", args.tenant_in_flight)?;
        let writes = args.tenant_writes_per_second;
        positive("tenant-writes-per-second", writes as usize)?;
        positive("tenant-writes-burst", args.tenant_writes_burst as usize)?;
        positive(
            "tenant-events-per-second",
            args.tenant_events_per_second as usize,
        )?;
        Ok(Self {
            workers: positive("workers", args.workers)?,
            max_concurrent_lists: positive("max-concurrent-lists", args.max_concurrent_lists)?,
            scan_interval: args.scan_interval,
            hosts_image: args.hosts_image.clone().filter(|image| !image.is_empty()),
            annotations: Annotations {
                ingresses: keys(&args.ingress_annotations),
                services: keys(&args.service_annotations),
                service_accounts: keys(&args.service_account_annotations),
            },
            classes: own_class::Allowed {
                priorities: args.highest_priority.map(|highest| Priorities {
                    highest,
                    preemption: args.preemption,
                }),
                provisioners: keys(&args.storage_provisioners),
            },
            storage_capacities: args.storage_capacities,
            pod_cidrs: args.pod_cidrs.clone(),
            denied_endpoint_cidrs: args.denied_endpoint_cidrs.clone(),
            custom_resources: args.custom_resources.iter().cloned().collect(),
            selector: args
                .selector
                .clone()
                .filter(|selector| !selector.is_empty()),
            fresh_objects: FRESH_OBJECTS,
            host_requests: positive("host-requests", args.host_requests)?,
            weights: args.tenant_weights.iter().cloned().collect(),
            tenant: Limits {
                queue: queue::Limits {
                    weight: 1,
                    in_flight,
                },
                writes_per_second: writes,
                writes_burst: args.tenant_writes_burst,
                events_per_second: args.tenant_events_per_second,
                object_bytes: args.tenant_object_kib.saturating_mul(1024),
            },
        })
    }
}

/// The keys of a list that may be empty, as a flag that is set to nothing is.
fn keys(list: &[String]) -> Vec<String> {
    let keys = list.iter().map(|key| key.trim());
    keys.filter(|key| !key.is_empty())
        .map(ToOwned::to_owned)
        .collect()
}
