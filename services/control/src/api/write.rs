//! Domain types as the wire has them.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt as _;
use vcluster_proto::control::v1 as wire;
use vcluster_resources::cluster::{ControlPlane, Distro, Phase, ReclaimPolicy, Resources, Store};
use vcluster_resources::{VirtualCluster, VirtualClusterSpec, VirtualClusterStatus};

/// A virtual cluster.
pub(super) fn cluster(cluster: &VirtualCluster) -> wire::VirtualCluster {
    let deleted = cluster.metadata.deletion_timestamp.as_ref();
    wire::VirtualCluster {
        name: cluster.name_any(),
        host_namespace: cluster.namespace().unwrap_or_default(),
        uid: cluster.uid().unwrap_or_default(),
        etag: cluster.resource_version().unwrap_or_default(),
        create_time: cluster.creation_timestamp().map(|time| timestamp(time.0)),
        delete_time: deleted.map(|time| timestamp(time.0)),
        labels: cluster.labels().clone().into_iter().collect(),
        spec: Some(spec(&cluster.spec)),
        status: cluster.status.as_ref().map(status),
    }
}

fn spec(spec: &VirtualClusterSpec) -> wire::VirtualClusterSpec {
    let distro = match spec.distro {
        Distro::K8s => wire::Distro::K8s,
    };
    wire::VirtualClusterSpec {
        distro: distro.into(),
        version: spec.version.clone(),
        store: Some(store(&spec.store)),
        control_plane: Some(control_plane(&spec.control_plane)),
        dns: Some(wire::Dns {
            replicas: spec.dns.replicas,
            resources: resources(&spec.dns.resources),
        }),
    }
}

fn store(store: &Store) -> wire::Store {
    let sqlite = &store.sqlite;
    let reclaim_policy = match sqlite.reclaim_policy {
        ReclaimPolicy::Delete => wire::ReclaimPolicy::Delete,
        ReclaimPolicy::Retain => wire::ReclaimPolicy::Retain,
    };
    wire::Store {
        kind: Some(wire::store::Kind::Sqlite(wire::SqliteStore {
            size: sqlite.size.clone(),
            storage_class_name: sqlite.storage_class_name.clone().unwrap_or_default(),
            reclaim_policy: reclaim_policy.into(),
        })),
    }
}

fn control_plane(plane: &ControlPlane) -> wire::ControlPlane {
    wire::ControlPlane {
        api_server: resources(&plane.api_server),
        controller_manager: resources(&plane.controller_manager),
        store: resources(&plane.store),
    }
}

fn resources(resources: &Resources) -> Option<wire::Resources> {
    (!resources.is_empty()).then(|| wire::Resources {
        requests: quantities(&resources.requests),
        limits: quantities(&resources.limits),
    })
}

fn quantities(quantities: &BTreeMap<String, Quantity>) -> HashMap<String, String> {
    quantities
        .iter()
        .map(|(key, quantity)| (key.clone(), quantity.0.clone()))
        .collect()
}

fn status(status: &VirtualClusterStatus) -> wire::VirtualClusterStatus {
    let phase = match status.phase {
        None => wire::Phase::Unspecified,
        Some(Phase::Pending) => wire::Phase::Pending,
        Some(Phase::Ready) => wire::Phase::Ready,
        Some(Phase::Degraded) => wire::Phase::Degraded,
        Some(Phase::Deleting) => wire::Phase::Deleting,
        Some(Phase::Failed) => wire::Phase::Failed,
    };
    let conditions = status.conditions.iter().map(|condition| wire::Condition {
        r#type: condition.type_.clone(),
        status: condition.status.clone(),
        reason: condition.reason.clone(),
        message: condition.message.clone(),
        last_transition_time: Some(timestamp(condition.last_transition_time.0)),
    });
    wire::VirtualClusterStatus {
        phase: phase.into(),
        message: status.message.clone().unwrap_or_default(),
        conditions: conditions.collect(),
        version: status.version.clone().unwrap_or_default(),
        endpoint: status.endpoint.clone().unwrap_or_default(),
        service_cidrs: status.service_cidrs.clone(),
        dns_address: status.dns_address.clone().unwrap_or_default(),
    }
}

fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.as_second(),
        nanos: time.subsec_nanosecond(),
    }
}
