//! A virtual cluster as `-o json` and `-o yaml` show it. A stable contract: fields are added,
//! never renamed or removed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use vcluster_client::{
    VirtualAddress,
    gateway::Address,
    proto::control::v1::{self as wire, Distro, Phase, ReclaimPolicy, store::Kind},
};

/// A list, as an object, so that it can grow fields.
#[derive(Debug, Serialize)]
pub(crate) struct List {
    pub(crate) items: Vec<Cluster>,
}

/// A virtual cluster.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cluster {
    pub(crate) name: String,
    pub(crate) host_namespace: String,
    uid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) create_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delete_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    pub(crate) spec: Spec,
    pub(crate) status: Status,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Spec {
    pub(crate) distro: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<Store>,
    #[serde(skip_serializing_if = "Option::is_none")]
    control_plane: Option<ControlPlane>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Store {
    sqlite: Sqlite,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Sqlite {
    #[serde(skip_serializing_if = "String::is_empty")]
    size: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    storage_class_name: String,
    reclaim_policy: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ControlPlane {
    api_server: Resources,
    controller_manager: Resources,
    store: Resources,
}

#[derive(Debug, Default, Serialize)]
struct Resources {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    requests: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    limits: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    pub(crate) phase: &'static str,
    pub(crate) message: String,
    pub(crate) conditions: Vec<Condition>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) version: String,
    /// Of the host cluster's network.
    #[serde(skip_serializing_if = "String::is_empty")]
    endpoint: String,
    /// At the gateway: where `connect` leads.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) server: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Condition {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) status: String,
    pub(crate) reason: String,
    pub(crate) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_transition_time: Option<Timestamp>,
}

pub(super) fn time(time: Option<prost_types::Timestamp>) -> Option<Timestamp> {
    time.and_then(|t| Timestamp::new(t.seconds, t.nanos).ok())
}

fn resources(resources: Option<wire::Resources>) -> Resources {
    let resources = resources.unwrap_or_default();
    Resources {
        requests: resources.requests.into_iter().collect(),
        limits: resources.limits.into_iter().collect(),
    }
}

impl Cluster {
    /// A cluster that is reached at that gateway.
    pub(crate) fn new(cluster: wire::VirtualCluster, gateway: &Address) -> Self {
        let mut status = Status::from(cluster.status.unwrap_or_default());
        if !status.endpoint.is_empty() {
            let server = VirtualAddress::of(gateway, &cluster.host_namespace, &cluster.name);
            status.server = server.to_string();
        }
        Self {
            name: cluster.name,
            host_namespace: cluster.host_namespace,
            uid: cluster.uid,
            create_time: time(cluster.create_time),
            delete_time: time(cluster.delete_time),
            labels: cluster.labels.into_iter().collect(),
            spec: cluster.spec.unwrap_or_default().into(),
            status,
        }
    }
}

impl From<wire::VirtualClusterSpec> for Spec {
    fn from(spec: wire::VirtualClusterSpec) -> Self {
        let distro = match spec.distro() {
            Distro::Unspecified | Distro::K8s => "k8s",
        };
        let store = spec
            .store
            .and_then(|store| store.kind)
            .map(|Kind::Sqlite(sqlite)| {
                let reclaim_policy = match sqlite.reclaim_policy() {
                    ReclaimPolicy::Unspecified | ReclaimPolicy::Delete => "Delete",
                    ReclaimPolicy::Retain => "Retain",
                };
                Store {
                    sqlite: Sqlite {
                        size: sqlite.size,
                        storage_class_name: sqlite.storage_class_name,
                        reclaim_policy,
                    },
                }
            });
        Self {
            distro,
            version: spec.version,
            store,
            control_plane: spec.control_plane.map(|plane| ControlPlane {
                api_server: resources(plane.api_server),
                controller_manager: resources(plane.controller_manager),
                store: resources(plane.store),
            }),
        }
    }
}

impl From<wire::VirtualClusterStatus> for Status {
    fn from(status: wire::VirtualClusterStatus) -> Self {
        let phase = match status.phase() {
            Phase::Unspecified => "Unknown",
            Phase::Pending => "Pending",
            Phase::Ready => "Ready",
            Phase::Degraded => "Degraded",
            Phase::Deleting => "Deleting",
            Phase::Failed => "Failed",
        };
        let conditions = status.conditions.into_iter().map(|condition| Condition {
            kind: condition.r#type,
            status: condition.status,
            reason: condition.reason,
            message: condition.message,
            last_transition_time: time(condition.last_transition_time),
        });
        Self {
            phase,
            message: status.message,
            conditions: conditions.collect(),
            version: status.version,
            endpoint: status.endpoint,
            server: String::new(),
        }
    }
}
