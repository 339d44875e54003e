//! What sync keeps inside a virtual cluster beside its mirrors of host objects.
//!
//! | object | what for |
//! |---|---|
//! | ServiceCIDR of each host range | the virtual API server takes the addresses that the host gives |
//! | ClusterRole and ClusterRoleBinding `system:coredns` | the DNS server reads what it answers about |
//! | Service `kube-system/kube-dns` | tools find the DNS server; its address is control's host Service |
//! | Service `kube-system/vcluster-metrics` and ClusterRole `system:vcluster:metrics-reader` | metrics: see [`aggregation`](crate::aggregation) |
//!
//! Each bears the label `vcluster.dev/managed=true`, by which the control plane's static policies keep tenants from
//! changing it. What has the name and not the label is somebody else's: it is neither changed nor deleted, and the
//! virtual cluster waits until it is gone. The Service has no EndpointSlice: its address answers on the host.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request};
use serde_json::{Value, json};
use vcluster_chassis::retry::Policy;
use vcluster_resources::label::{CLUSTER_UID, MANAGED, MANAGED_VALUE};
use vcluster_resources::layout::DNS_USER;
use vcluster_resources::ownership::SYNC_FROM_HOST;
use vcluster_translate::Context;
use vcluster_translate::service::DNS_SERVICE;

use crate::aggregation;
use crate::apply::with_causes;
use crate::deadline::{REQUEST, within};
use crate::tenant::{About, Tenant};

/// Delays while something is missing. The first is short: a new virtual cluster waits for this.
const RETRY: Policy = Policy {
    base: Duration::from_millis(200),
    factor: 1.5,
    cap: Duration::from_secs(5),
};

/// An object that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    collection: &'static str,
    object: Value,
    /// Whether it is of use only once a controller says so in its condition `Ready`.
    becomes_ready: bool,
}

impl Kept {
    /// An object that is of use as soon as it is there.
    pub(crate) fn new(collection: &'static str, object: Value) -> Self {
        Self {
            collection,
            object,
            becomes_ready: false,
        }
    }
}

/// Why an object is not as it should be.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0} exists and is not kept by sync (label {MANAGED}={MANAGED_VALUE}): remove it")]
    Foreign(String),
    #[error(
        "{0} is not ready: the controller-manager of the virtual cluster has not taken it up yet"
    )]
    NotReady(String),
    #[error("{0} cannot be written")]
    Request(String, #[source] Box<kube::Error>),
}

/// Everything that is kept in a virtual cluster.
pub fn wanted(context: &Context, service_cidrs: &[String]) -> Vec<Kept> {
    let mut all: Vec<Kept> = service_cidrs.iter().map(|cidr| range(cidr)).collect();
    all.extend([dns_role(), dns_binding(), dns_service(context)]);
    all.extend(aggregation::kept(&context.kubelet_host));
    for kept in &mut all {
        kept.object["metadata"]["labels"][MANAGED] = MANAGED_VALUE.into();
        kept.object["metadata"]["annotations"][CLUSTER_UID] = context.cluster_uid.as_str().into();
    }
    all
}

fn range(cidr: &str) -> Kept {
    let named: String = cidr
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    Kept {
        collection: "/apis/networking.k8s.io/v1/servicecidrs",
        object: json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "ServiceCIDR",
            "metadata": {"name": format!("host-{named}").to_lowercase()},
            "spec": {"cidrs": [cidr]},
        }),
        becomes_ready: true,
    }
}

fn dns_role() -> Kept {
    Kept {
        collection: "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        object: json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": DNS_USER},
            "rules": [
                {
                    "apiGroups": [""],
                    "resources": ["endpoints", "services", "pods", "namespaces"],
                    "verbs": ["list", "watch"],
                },
                {
                    "apiGroups": ["discovery.k8s.io"],
                    "resources": ["endpointslices"],
                    "verbs": ["list", "watch"],
                },
            ],
        }),
        becomes_ready: false,
    }
}

fn dns_binding() -> Kept {
    Kept {
        collection: "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        object: json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": DNS_USER},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": DNS_USER},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": DNS_USER}],
        }),
        becomes_ready: false,
    }
}

fn dns_service(context: &Context) -> Kept {
    let (namespace, name) = DNS_SERVICE;
    let ip = context.dns.to_string();
    let port = |name: &str, protocol: &str| json!({"name": name, "port": 53, "protocol": protocol, "targetPort": 53});
    Kept {
        collection: "/api/v1/namespaces/kube-system/services",
        object: json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": {
                    "k8s-app": "kube-dns",
                    "kubernetes.io/cluster-service": "true",
                    "kubernetes.io/name": "CoreDNS",
                },
            },
            "spec": {
                "type": "ClusterIP",
                "clusterIP": ip,
                "clusterIPs": [ip],
                "ports": [port("dns", "UDP"), port("dns-tcp", "TCP")],
            },
        }),
        becomes_ready: false,
    }
}

/// Keeps everything there until the tenant's token is cancelled: at once, and again after each interval.
pub async fn keep(tenant: Arc<Tenant>, wanted: Vec<Kept>, interval: Duration) {
    let token = tenant.token.clone();
    let kept = async {
        let mut failures = 0;
        loop {
            let pause = match everything(&tenant, &wanted).await {
                Ok(()) => {
                    tenant.note(About::Provision, None);
                    failures = 0;
                    interval
                }
                Err(error) => {
                    let missing = with_causes(&error);
                    tracing::debug!(tenant = %tenant.id, missing, "not everything is there inside");
                    // One failure says nothing about what was there before: the link is watched by others.
                    if tenant.noted(About::Provision).is_some()
                        || matches!(error, Error::Foreign(_))
                    {
                        tenant.note(About::Provision, Some(&missing));
                    }
                    failures += 1;
                    RETRY.delay(failures - 1).max(RETRY.base)
                }
            };
            tokio::time::sleep(pause).await;
        }
    };
    token.run_until_cancelled(kept).await;
}

async fn everything(tenant: &Tenant, wanted: &[Kept]) -> Result<(), Error> {
    for kept in wanted {
        ensure(tenant, kept).await?;
    }
    Ok(())
}

/// What is to be done about one object, from what is there.
#[derive(Debug, PartialEq)]
enum Step {
    Nothing,
    Create,
    Patch(Value),
    /// It cannot be changed: it is deleted, by its UID, and made again.
    Replace,
    Foreign,
    Wait,
}

fn step(kept: &Kept, found: Option<&Value>) -> Step {
    let Some(found) = found else {
        return Step::Create;
    };
    let labels = found.pointer("/metadata/labels");
    let managed = labels
        .and_then(|labels| labels.get(MANAGED))
        .and_then(Value::as_str);
    if managed != Some(MANAGED_VALUE) {
        return Step::Foreign;
    }
    let frozen = ["/roleRef", "/spec/clusterIP", "/spec/cidrs"];
    if frozen
        .iter()
        .any(|at| kept.object.pointer(at) != found.pointer(at))
    {
        return Step::Replace;
    }
    if !holds(found, &kept.object) {
        let mut patch = kept.object.clone();
        patch["metadata"]["uid"] = found["metadata"]["uid"].clone();
        return Step::Patch(patch);
    }
    let conditions = found
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    let ready = conditions.into_iter().flatten().any(|condition| {
        condition.get("type") == Some(&json!("Ready"))
            && condition.get("status") == Some(&json!("True"))
    });
    if kept.becomes_ready && !ready {
        return Step::Wait;
    }
    Step::Nothing
}

/// Whether `found` has every member of `wanted`, and lists alike.
pub(crate) fn holds(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, wanted)| found.get(key).is_some_and(|found| holds(found, wanted))),
        (found, wanted) => found == wanted,
    }
}

async fn ensure(tenant: &Tenant, kept: &Kept) -> Result<(), Error> {
    let name = kept.object["metadata"]["name"].as_str().unwrap_or_default();
    let called = format!(
        "{} {name:?}",
        kept.object["kind"].as_str().unwrap_or_default()
    );
    let path = format!("{}/{name}", kept.collection);
    let found = match send(tenant, Method::GET, &path, None).await {
        Ok(found) => Some(found),
        Err(kube::Error::Api(status)) if status.code == 404 => None,
        Err(error) => return Err(failed(called, error)),
    };
    let answer = match step(kept, found.as_ref()) {
        Step::Nothing => return Ok(()),
        Step::Foreign => return Err(Error::Foreign(called)),
        Step::Wait => return Err(Error::NotReady(called)),
        Step::Create => {
            let path = format!("{}?fieldManager={SYNC_FROM_HOST}", kept.collection);
            send(tenant, Method::POST, &path, Some(&kept.object)).await
        }
        Step::Patch(patch) => {
            let path = format!("{path}?fieldManager={SYNC_FROM_HOST}");
            send(tenant, Method::PATCH, &path, Some(&patch)).await
        }
        Step::Replace => {
            let uid = found
                .as_ref()
                .and_then(|found| found.pointer("/metadata/uid"));
            let options =
                json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}});
            let deleted = send(tenant, Method::DELETE, &path, Some(&options)).await;
            deleted.map_err(|error| failed(called.clone(), error))?;
            let path = format!("{}?fieldManager={SYNC_FROM_HOST}", kept.collection);
            send(tenant, Method::POST, &path, Some(&kept.object)).await
        }
    };
    answer.map_err(|error| failed(called.clone(), error))?;
    if kept.becomes_ready {
        return Err(Error::NotReady(called));
    }
    Ok(())
}

fn failed(called: String, error: kube::Error) -> Error {
    Error::Request(called, Box::new(error))
}

/// Sends a request to the virtual API server; a write takes from the tenant's allowance.
pub(crate) async fn send(
    tenant: &Tenant,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, kube::Error> {
    if method != Method::GET {
        tenant.virtual_writes.take().await;
    }
    let media = if method == Method::PATCH {
        "application/merge-patch+json"
    } else {
        "application/json"
    };
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::CONTENT_TYPE, media)
        .body(body.into_bytes())
        .map_err(kube::Error::HttpError)?;
    let client = &tenant.clients.virtual_.request;
    within(REQUEST, client.request(request)).await
}

#[cfg(test)]
mod tests;
