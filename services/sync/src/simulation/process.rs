//! A process of sync in a simulated world: the shipped engine, sharing tenants with others as shipped.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use vcluster_chassis::drain::Shutdown;
use vcluster_chassis::health::Health;
use vcluster_chassis::lease::{Candidate, Leadership, Timing};
use vcluster_translate::Annotations;

use super::network::Network;
use super::world::World;
use crate::app;
use crate::config;
use crate::engine::Engine;
use crate::metrics::Metrics;
use crate::queue;
use crate::replicas::{self, Replicas};
use crate::server::Host;

/// Keys in work at once, of all tenants.
pub(super) const WORKERS: usize = 4;
/// Writes of a tenant per second, and how many it may save up.
pub(super) const WRITES: u32 = 50;
pub(super) const BURST: u32 = 100;

/// Where the replicas of sync have their Leases.
const NAMESPACE: &str = "vcluster-system";

/// What differs between runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    /// Time between two scans.
    pub(super) scan: Duration,
    /// How many keys of a tenant may be in work at once.
    pub(super) in_flight: usize,
    /// How many writes a tenant may save up.
    pub(super) burst: u32,
}

/// A process, until it is dropped: then nothing of it acts any more.
pub(super) struct Process {
    pub(super) number: usize,
    pub(super) engine: Arc<Engine>,
    shutdown: Shutdown,
    world: Arc<World>,
}

impl Process {
    /// Starts it.
    pub(super) fn start(
        world: &Arc<World>,
        number: usize,
        Settings {
            scan,
            in_flight,
            burst,
        }: Settings,
    ) -> Self {
        let network = Network::new(Arc::clone(world), number);
        let mut config = kube::Config::new(Uri::from_static("https://127.0.0.1:1"));
        config.root_cert = Some(Vec::new());
        let mut host = Host::new(&config).expect("the configuration is sound");
        host.own = network.host();
        host.simulated = Some(network);
        let clock = Arc::new(world.clock());
        let kubelet_host = "vcluster-sync.vcluster-system.svc".to_owned();
        let own = host.own.request.clone();
        let shutdown = Shutdown::new();
        let health = Health::new(&shutdown);
        let pod = format!("sync-{number}");
        let candidate = Candidate {
            namespace: NAMESPACE.to_owned(),
            name: replicas::lease(&pod),
            holder: replicas::holder(&pod, None),
            pod_uid: None,
            timing: Timing::default(),
        };
        let lasts = candidate.timing.lease_duration;
        let leadership = Leadership::campaign(own, candidate, world.clock(), &shutdown);
        let replicas = Replicas::new(&host.own, NAMESPACE, leadership.holder(), lasts);
        let engine = Engine::new(
            limits(scan, in_flight, burst),
            host,
            clock,
            Metrics::default(),
            kubelet_host,
        );
        let engine = Arc::new(engine.among(replicas));
        let (led, begun) = (Arc::clone(&engine), shutdown.clone());
        shutdown.spawn("lead", async move {
            app::lead(&led, leadership, &health, &begun, Duration::from_secs(30)).await;
        });
        Self {
            number,
            engine,
            shutdown,
            world: Arc::clone(world),
        }
    }

    /// Tells it to stop, as a roll-out does.
    pub(super) fn stop(&self) {
        self.shutdown.begin("the simulation says so");
    }

    /// Whether it goes on.
    pub(super) fn stays(&self) -> bool {
        !self.shutdown.has_begun()
    }
}

impl Drop for Process {
    /// Nothing that it sends arrives any more: for everybody else it ended at that very await. Its tasks end by themselves.
    fn drop(&mut self) {
        self.world.kill(self.number);
        self.shutdown.begin("it crashed");
    }
}

fn limits(scan_interval: Duration, in_flight: usize, writes_burst: u32) -> config::Engine {
    config::Engine {
        workers: WORKERS,
        max_concurrent_lists: 1,
        scan_interval,
        hosts_image: None,
        annotations: Annotations::default(),
        classes: vcluster_translate::own_class::Allowed::default(),
        selector: None,
        fresh_objects: 4,
        storage_capacities: false,
        pod_cidrs: Vec::new(),
        denied_endpoint_cidrs: Vec::new(),
        custom_resources: crate::custom::Allowed::default(),
        host_requests: 16,
        weights: std::collections::BTreeMap::new(),
        tenant: config::Limits {
            queue: queue::Limits {
                weight: 1,
                in_flight,
            },
            writes_per_second: WRITES,
            writes_burst,
            events_per_second: 10,
            object_bytes: 8192,
        },
    }
}
