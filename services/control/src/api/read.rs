//! Requests as domain types, with every violation by field before anything is asked or written.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use vcluster_proto::control::v1 as wire;
use vcluster_resources::cluster::{
    ControlPlane, DEFAULT_STORE_SIZE, DEFAULT_VERSION, Distro, Dns, ReclaimPolicy, Resources,
    SqliteStore, Store,
};
use vcluster_resources::{ClusterName, HostNamespace, VirtualClusterSpec};

use super::access::Scope;
use super::failure::{Failure, Violation};
use crate::quantity::thousandths;

pub(super) mod labels;

/// Most pods of a DNS server.
const MOST_DNS_REPLICAS: i32 = 10;

/// Which virtual cluster a call is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    namespace: HostNamespace,
    name: ClusterName,
}

impl Target {
    pub(super) fn namespace(&self) -> &str {
        self.namespace.as_str()
    }

    pub(super) fn name(&self) -> &str {
        self.name.as_str()
    }

    pub(super) fn scope(&self) -> Scope<'_> {
        Scope::One {
            namespace: self.namespace(),
            name: self.name(),
        }
    }
}

/// A virtual cluster as somebody wants it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    pub(super) target: Target,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) spec: VirtualClusterSpec,
}

/// Gathers violations.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Violation>);

impl Findings {
    pub(super) fn add(&mut self, field: impl Into<String>, text: impl Into<String>) {
        self.0.push(Violation::new(field, text));
    }

    /// The value, or its error noted.
    fn take<T, E: std::fmt::Display>(&mut self, field: &str, value: Result<T, E>) -> Option<T> {
        value
            .map_err(|error| self.add(field, error.to_string()))
            .ok()
    }

    pub(super) fn fail<T>(self, value: Option<T>) -> Result<T, Failure> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            Some(_) | None => Err(Failure::Invalid(self.0)),
        }
    }
}

/// The cluster of that name.
pub(super) fn target(namespace: &str, name: &str) -> Result<Target, Failure> {
    let mut findings = Findings::default();
    let target = named(&mut findings, ["host_namespace", "name"], namespace, name);
    findings.fail(target)
}

/// A namespace, or all of them.
pub(super) fn namespace(text: &str) -> Result<Option<HostNamespace>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = text.parse::<HostNamespace>();
    parsed
        .map(Some)
        .map_err(|error| Failure::violation("host_namespace", error.to_string()))
}

/// The cluster that an update or a create is about, if it can be told.
pub(super) fn named(
    findings: &mut Findings,
    fields: [&str; 2],
    namespace: &str,
    name: &str,
) -> Option<Target> {
    let namespace = findings.take(fields[0], namespace.parse());
    let name = findings.take(fields[1], name.parse());
    Some(Target {
        namespace: namespace?,
        name: name?,
    })
}

/// A whole virtual cluster.
pub(super) fn wanted(findings: &mut Findings, cluster: wire::VirtualCluster) -> Option<Wanted> {
    let fields = ["virtual_cluster.host_namespace", "virtual_cluster.name"];
    let target = named(findings, fields, &cluster.host_namespace, &cluster.name);
    let labels = labels::read(findings, cluster.labels);
    let spec = spec(findings, cluster.spec.unwrap_or_default());
    Some(Wanted {
        target: target?,
        labels,
        spec: spec?,
    })
}

fn spec(findings: &mut Findings, spec: wire::VirtualClusterSpec) -> Option<VirtualClusterSpec> {
    let distro = distro(findings, spec.distro);
    let version = version(findings, spec.version);
    let store = store(findings, spec.store);
    let control_plane = control_plane(findings, spec.control_plane.unwrap_or_default());
    let dns = dns(findings, spec.dns.unwrap_or_default());
    Some(VirtualClusterSpec {
        dns,
        distro: distro?,
        version: version?,
        store: store?,
        control_plane,
    })
}

fn distro(findings: &mut Findings, number: i32) -> Option<Distro> {
    match wire::Distro::try_from(number) {
        Ok(wire::Distro::Unspecified | wire::Distro::K8s) => Some(Distro::K8s),
        Err(_unknown) => {
            findings.add(
                "virtual_cluster.spec.distro",
                "must be DISTRO_K8S or unspecified",
            );
            None
        }
    }
}

pub(super) fn version(findings: &mut Findings, version: String) -> Option<String> {
    if version.is_empty() {
        return Some(DEFAULT_VERSION.to_owned());
    }
    let patch = version.strip_prefix("1.37.");
    let canonical = patch.is_some_and(|patch| {
        let digits = !patch.is_empty() && patch.bytes().all(|b| b.is_ascii_digit());
        digits && (patch == "0" || !patch.starts_with('0')) && version.len() <= 20
    });
    if canonical {
        return Some(version);
    }
    findings.add(
        "virtual_cluster.spec.version",
        "must be 1.37.PATCH, for example 1.37.2",
    );
    None
}

fn store(findings: &mut Findings, store: Option<wire::Store>) -> Option<Store> {
    let Some(wire::store::Kind::Sqlite(sqlite)) = store.and_then(|store| store.kind) else {
        return Some(Store::default());
    };
    let at = "virtual_cluster.spec.store.sqlite";
    let size = if sqlite.size.is_empty() {
        DEFAULT_STORE_SIZE.to_owned()
    } else {
        sqlite.size
    };
    if !is_positive(&size) {
        findings.add(
            format!("{at}.size"),
            "must be a positive quantity such as 1Gi",
        );
    }
    let class = (!sqlite.storage_class_name.is_empty()).then_some(sqlite.storage_class_name);
    if class
        .as_deref()
        .is_some_and(|class| !labels::is_subdomain(class))
    {
        let text = "must be lower-case letters, digits, '-' and '.', at most 253 characters";
        findings.add(format!("{at}.storage_class_name"), text);
    }
    let reclaim_policy = reclaim_policy(findings, sqlite.reclaim_policy)?;
    Some(Store {
        sqlite: SqliteStore {
            size,
            storage_class_name: class,
            reclaim_policy,
        },
    })
}

pub(super) fn reclaim_policy(findings: &mut Findings, number: i32) -> Option<ReclaimPolicy> {
    match wire::ReclaimPolicy::try_from(number) {
        Ok(wire::ReclaimPolicy::Unspecified | wire::ReclaimPolicy::Delete) => {
            Some(ReclaimPolicy::Delete)
        }
        Ok(wire::ReclaimPolicy::Retain) => Some(ReclaimPolicy::Retain),
        Err(_unknown) => {
            findings.add(
                "virtual_cluster.spec.store.sqlite.reclaim_policy",
                "must be RECLAIM_POLICY_DELETE, RECLAIM_POLICY_RETAIN or unspecified",
            );
            None
        }
    }
}

pub(super) fn control_plane(findings: &mut Findings, plane: wire::ControlPlane) -> ControlPlane {
    let at = "virtual_cluster.spec.control_plane";
    let mut read = |name: &str, wish: Option<wire::Resources>| {
        resources(findings, &format!("{at}.{name}"), wish.unwrap_or_default())
    };
    ControlPlane {
        api_server: read("api_server", plane.api_server),
        controller_manager: read("controller_manager", plane.controller_manager),
        store: read("store", plane.store),
    }
}

pub(super) fn dns(findings: &mut Findings, wish: wire::Dns) -> Dns {
    let at = "virtual_cluster.spec.dns";
    let replicas = match wish.replicas {
        0 => Dns::default().replicas,
        1..=MOST_DNS_REPLICAS => wish.replicas,
        _ => {
            findings.add(format!("{at}.replicas"), "must be between 1 and 10");
            Dns::default().replicas
        }
    };
    let resources = resources(
        findings,
        &format!("{at}.resources"),
        wish.resources.unwrap_or_default(),
    );
    Dns {
        replicas,
        resources,
    }
}

fn resources(findings: &mut Findings, at: &str, wish: wire::Resources) -> Resources {
    let requests = quantities(findings, &format!("{at}.requests"), wish.requests);
    let limits = quantities(findings, &format!("{at}.limits"), wish.limits);
    for (key, limit) in &limits {
        let request = requests
            .get(key)
            .and_then(|request| thousandths(&request.0));
        if request > thousandths(&limit.0) && request.is_some() {
            findings.add(format!("{at}.requests[{key}]"), "must not exceed the limit");
        }
    }
    Resources { requests, limits }
}

fn quantities(
    findings: &mut Findings,
    at: &str,
    wish: HashMap<String, String>,
) -> BTreeMap<String, Quantity> {
    // In order, so that the same request is always answered in the same words.
    let wish: BTreeMap<String, String> = wish.into_iter().collect();
    for (key, value) in &wish {
        if !matches!(key.as_str(), "cpu" | "memory") {
            findings.add(
                format!("{at}[{key}]"),
                "is unknown: only cpu and memory can be given",
            );
        } else if !is_positive(value) {
            let text = "must be a positive quantity such as 500m or 256Mi";
            findings.add(format!("{at}[{key}]"), text);
        }
    }
    wish.into_iter()
        .map(|(key, value)| (key, Quantity(value)))
        .collect()
}

fn is_positive(quantity: &str) -> bool {
    quantity.len() <= 32 && thousandths(quantity).is_some_and(|value| value > 0)
}

/// A request id: a UUID, so that two callers do not choose the same.
pub(super) fn request_id(findings: &mut Findings, text: &str) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    match uuid::Uuid::try_parse(text) {
        Ok(id) => Some(id.to_string()),
        Err(_malformed) => {
            findings.add("request_id", "must be a UUID");
            None
        }
    }
}

#[cfg(test)]
mod tests;
