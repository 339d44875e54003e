//! UpdateVirtualCluster: reads, replaces the fields that the mask names, and writes bound to the
//! version that was read, so that nobody's change is lost.

use kube::ResourceExt as _;
use kube::api::PostParams;
use vcluster_chassis::identity::Identity;
use vcluster_proto::control::v1 as wire;
use vcluster_resources::VirtualCluster;
use vcluster_resources::cluster::{ControlPlane, Dns, ReclaimPolicy};

use super::access::Verb;
use super::failure::Failure;
use super::read::{self, Findings, Target, labels};
use super::{MANAGER, Service, write};

/// Tries of an update without an etag, which may be made on top of any state.
const TRIES: usize = 5;

/// Fields that can be replaced.
const MUTABLE: [&str; 5] = [
    "labels",
    "spec.version",
    "spec.control_plane",
    "spec.dns",
    "spec.store.sqlite.reclaim_policy",
];
/// Fields that cannot, and are often tried.
const IMMUTABLE: [&str; 5] = [
    "name",
    "host_namespace",
    "spec.distro",
    "spec.store.sqlite.size",
    "spec.store.sqlite.storage_class_name",
];

/// One field and its new value.
#[derive(Debug, Clone, PartialEq)]
enum Change {
    Labels(std::collections::BTreeMap<String, String>),
    Version(String),
    ControlPlane(ControlPlane),
    Dns(Dns),
    ReclaimPolicy(ReclaimPolicy),
}

/// What was asked.
#[derive(Debug)]
struct Order {
    target: Target,
    etag: Option<String>,
    changes: Vec<Change>,
    validate_only: bool,
}

impl Service {
    pub(super) async fn update(
        &self,
        caller: &Identity,
        request: wire::UpdateVirtualClusterRequest,
    ) -> Result<wire::UpdateVirtualClusterResponse, Failure> {
        let order = read_order(request)?;
        self.allow(caller, Verb::Update, order.target.scope())
            .await?;
        let mut tries = 1;
        loop {
            match self.try_update(&order).await {
                Err(Failure::Stale) if order.etag.is_none() && tries < TRIES => tries += 1,
                Ok(cluster) => {
                    return Ok(wire::UpdateVirtualClusterResponse {
                        virtual_cluster: Some(write::cluster(&cluster)),
                    });
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    async fn try_update(&self, order: &Order) -> Result<VirtualCluster, Failure> {
        let failed = |error| Failure::of(&error, &order.target);
        let clusters = self.clusters(order.target.namespace());
        let found = clusters
            .get_opt(order.target.name())
            .await
            .map_err(failed)?;
        let mut cluster = found.ok_or_else(|| Failure::not_found(&order.target))?;
        if order.etag.is_some() && order.etag != cluster.resource_version() {
            return Err(Failure::Stale);
        }
        for change in &order.changes {
            change.apply(&mut cluster);
        }
        let params = PostParams {
            dry_run: order.validate_only,
            field_manager: Some(MANAGER.to_owned()),
        };
        clusters
            .replace(order.target.name(), &params, &cluster)
            .await
            .map_err(failed)
    }
}

impl Change {
    fn apply(&self, cluster: &mut VirtualCluster) {
        match self {
            Self::Labels(labels) => cluster.metadata.labels = Some(labels.clone()),
            Self::Version(version) => cluster.spec.version.clone_from(version),
            Self::ControlPlane(plane) => cluster.spec.control_plane.clone_from(plane),
            Self::Dns(dns) => cluster.spec.dns.clone_from(dns),
            Self::ReclaimPolicy(policy) => cluster.spec.store.sqlite.reclaim_policy = *policy,
        }
    }
}

fn read_order(request: wire::UpdateVirtualClusterRequest) -> Result<Order, Failure> {
    let mut findings = Findings::default();
    let Some(cluster) = request.virtual_cluster else {
        findings.add("virtual_cluster", "must be given");
        return findings.fail(None);
    };
    let fields = ["virtual_cluster.host_namespace", "virtual_cluster.name"];
    let target = read::named(
        &mut findings,
        fields,
        &cluster.host_namespace,
        &cluster.name,
    );
    let etag = (!cluster.etag.is_empty()).then(|| cluster.etag.clone());
    let paths = request.update_mask.unwrap_or_default().paths;
    if paths.is_empty() {
        findings.add(
            "update_mask",
            format!("must name at least one of {}", MUTABLE.join(", ")),
        );
    }
    let changes = paths
        .iter()
        .filter_map(|path| change(&mut findings, path, &cluster))
        .collect();
    let validate_only = request.validate_only;
    let order = target.map(|target| Order {
        target,
        etag,
        changes,
        validate_only,
    });
    findings.fail(order)
}

fn change(findings: &mut Findings, path: &str, cluster: &wire::VirtualCluster) -> Option<Change> {
    let spec = cluster.spec.clone().unwrap_or_default();
    match path {
        "labels" => Some(Change::Labels(labels::read(
            findings,
            cluster.labels.clone(),
        ))),
        "spec.version" => read::version(findings, spec.version).map(Change::Version),
        "spec.control_plane" => {
            let plane = spec.control_plane.unwrap_or_default();
            Some(Change::ControlPlane(read::control_plane(findings, plane)))
        }
        "spec.dns" => {
            let dns = read::dns(findings, spec.dns.unwrap_or_default());
            Some(Change::Dns(dns))
        }
        "spec.store.sqlite.reclaim_policy" => {
            let policy = match spec.store.and_then(|store| store.kind) {
                Some(wire::store::Kind::Sqlite(sqlite)) => sqlite.reclaim_policy,
                None => wire::ReclaimPolicy::Unspecified.into(),
            };
            read::reclaim_policy(findings, policy).map(Change::ReclaimPolicy)
        }
        path if IMMUTABLE.contains(&path) => {
            findings.add(format!("virtual_cluster.{path}"), "is immutable");
            None
        }
        unknown => {
            let text = format!("names {unknown:?}, and can name {}", MUTABLE.join(", "));
            findings.add("update_mask", text);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(paths: &[&str]) -> wire::UpdateVirtualClusterRequest {
        wire::UpdateVirtualClusterRequest {
            virtual_cluster: Some(wire::VirtualCluster {
                name: "demo".to_owned(),
                host_namespace: "team-a".to_owned(),
                spec: Some(wire::VirtualClusterSpec {
                    version: "1.37.3".to_owned(),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            update_mask: Some(prost_types::FieldMask {
                paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            }),
            validate_only: false,
        }
    }

    fn violations(paths: &[&str]) -> Vec<String> {
        match read_order(request(paths)) {
            Err(Failure::Invalid(found)) => found.into_iter().map(|v| v.field).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_what_the_mask_names_is_changed() {
        let order = read_order(request(&["spec.version"])).unwrap();
        assert_eq!(order.changes, [Change::Version("1.37.3".to_owned())]);
    }

    #[test]
    fn an_empty_unknown_or_immutable_mask_is_refused_by_field() {
        assert_eq!(violations(&[]), ["update_mask"]);
        assert_eq!(violations(&["status", "*"]), ["update_mask", "update_mask"]);
        assert_eq!(
            violations(&["spec.distro"]),
            ["virtual_cluster.spec.distro"]
        );
    }

    #[test]
    fn every_mutable_path_is_understood() {
        assert_eq!(
            read_order(request(&MUTABLE)).unwrap().changes.len(),
            MUTABLE.len()
        );
    }
}
