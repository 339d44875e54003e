//! CreateVirtualCluster.
//!
//! The order is what makes a crash harmless: a missing namespace is made first, marked as made for a
//! cluster of this name; then the cluster, which claims the namespace when it is reconciled. A call
//! that is repeated with the same request id finds whatever the first one made.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams, Preconditions};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use vcluster_chassis::identity::Identity;
use vcluster_chassis::telemetry::propagation;
use vcluster_proto::control::v1 as wire;
use vcluster_resources::{VirtualCluster, VirtualClusterSpec, label};

use super::access::{self, Verb};
use super::failure::Failure;
use super::read::{self, Findings, Wanted};
use super::{MANAGER, Service, write};
use crate::observed::MadeFor;

/// Annotation: digest of the request that created it, so that a repeated request is known from
/// another one under the same id.
const REQUEST_DIGEST: &str = "vcluster.dev/request-digest";

/// What was asked.
struct Order {
    wanted: Wanted,
    request_id: Option<String>,
    digest: String,
    validate_only: bool,
}

/// The host namespace as it was found.
enum Place {
    Ready,
    Missing,
}

impl Service {
    pub(super) async fn create(
        &self,
        caller: &Identity,
        request: wire::CreateVirtualClusterRequest,
    ) -> Result<wire::CreateVirtualClusterResponse, Failure> {
        let order = self.read_order(request)?;
        let target = &order.wanted.target;
        self.allow(caller, Verb::Create, target.scope()).await?;
        let place = self.place(target.namespace()).await?;
        if let Some(found) = self.earlier(&order).await? {
            return Ok(answer(&found));
        }
        let cluster = compose(&order, caller);
        let made = match place {
            Place::Ready => None,
            Place::Missing => {
                let right = access::create_namespace(target.namespace());
                self.authorizer
                    .check(caller, &right)
                    .await
                    .map_err(Failure::access)?;
                if order.validate_only {
                    // The API server cannot check an object of a namespace that is not there.
                    return Ok(answer(&cluster));
                }
                Some(self.make_namespace(&order).await?)
            }
        };
        let result = self.store(&order, &cluster).await;
        if let (Err(failure), Some(namespace)) = (&result, &made)
            && failure.is_refusal()
        {
            self.unmake_namespace(namespace).await;
        }
        result.map(|cluster| answer(&cluster))
    }

    fn read_order(&self, request: wire::CreateVirtualClusterRequest) -> Result<Order, Failure> {
        let mut findings = Findings::default();
        let request_id = read::request_id(&mut findings, &request.request_id);
        let Some(cluster) = request.virtual_cluster else {
            findings.add("virtual_cluster", "must be given");
            return findings.fail(None);
        };
        if !cluster.etag.is_empty() {
            findings.add(
                "virtual_cluster.etag",
                "must not be given: nothing is there yet",
            );
        }
        if cluster.host_namespace == self.release_namespace {
            let text = "must not be the namespace of the vcluster services";
            findings.add("virtual_cluster.host_namespace", text);
        }
        let wanted = read::wanted(&mut findings, cluster);
        let validate_only = request.validate_only;
        let order = wanted.map(|wanted| Order {
            digest: digest(&wanted),
            wanted,
            request_id,
            validate_only,
        });
        findings.fail(order)
    }

    async fn place(&self, namespace: &str) -> Result<Place, Failure> {
        let found = self.namespaces().get_opt(namespace).await;
        let Some(found) = found.map_err(|error| Failure::of_many(&error))? else {
            return Ok(Place::Missing);
        };
        let namespace = namespace.to_owned();
        if found.metadata.deletion_timestamp.is_some() {
            return Err(Failure::Terminating { namespace });
        }
        let enabled = found
            .labels()
            .get(label::HOST)
            .is_some_and(|v| v == label::HOST_VALUE);
        if enabled {
            Ok(Place::Ready)
        } else {
            Err(Failure::NotEnabled { namespace })
        }
    }

    /// The cluster that an earlier call of the same id made; fails if the place is taken.
    async fn earlier(&self, order: &Order) -> Result<Option<VirtualCluster>, Failure> {
        let target = &order.wanted.target;
        let list = self
            .clusters(target.namespace())
            .list(&ListParams::default())
            .await;
        let list = list.map_err(|error| Failure::of_many(&error))?;
        if let Some(same) = list.items.iter().find(|c| c.name_any() == target.name()) {
            return repeated(order, same).map(Some);
        }
        match list.items.first() {
            Some(other) => Err(Failure::Occupied {
                namespace: target.namespace().to_owned(),
                occupant: other.name_any(),
            }),
            None => Ok(None),
        }
    }

    async fn store(
        &self,
        order: &Order,
        cluster: &VirtualCluster,
    ) -> Result<VirtualCluster, Failure> {
        let target = &order.wanted.target;
        let clusters = self.clusters(target.namespace());
        match clusters.create(&post(order.validate_only), cluster).await {
            Ok(stored) => Ok(stored),
            // Another call was faster, perhaps one with the same id.
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {
                let found = clusters.get(target.name()).await;
                repeated(order, &found.map_err(|error| Failure::of(&error, target))?)
            }
            Err(error) => Err(Failure::of(&error, target)),
        }
    }

    /// Gives the namespace if this call made it.
    async fn make_namespace(&self, order: &Order) -> Result<Namespace, Failure> {
        let target = &order.wanted.target;
        let made_for = MadeFor::Name(target.name().to_owned());
        let namespace = Namespace {
            metadata: ObjectMeta {
                name: Some(target.namespace().to_owned()),
                labels: Some([(label::HOST.to_owned(), label::HOST_VALUE.to_owned())].into()),
                annotations: Some([(label::CREATED_FOR.to_owned(), made_for.write())].into()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        let made = self.namespaces().create(&post(false), &namespace).await;
        made.map_err(|error| {
            let failure = Failure::of(&error, target);
            // Somebody made it a moment ago: the caller should look at it first.
            let raced = matches!(failure, Failure::AlreadyExists { .. });
            if raced { Failure::Unavailable } else { failure }
        })
    }

    /// Takes back a namespace for which no cluster could be made, unless there is one after all.
    async fn unmake_namespace(&self, namespace: &Namespace) {
        let clusters = self
            .clusters(&namespace.name_any())
            .list(&ListParams::default())
            .await;
        if !clusters.is_ok_and(|clusters| clusters.items.is_empty()) {
            return;
        }
        let preconditions = Preconditions {
            uid: namespace.uid(),
            resource_version: namespace.resource_version(),
        };
        let params = DeleteParams::default().preconditions(preconditions);
        let name = namespace.name_any();
        if let Err(error) = self.namespaces().delete(&name, &params).await {
            tracing::warn!(%error, namespace = name, "an unused host namespace stays");
        }
    }
}

fn answer(cluster: &VirtualCluster) -> wire::CreateVirtualClusterResponse {
    wire::CreateVirtualClusterResponse {
        virtual_cluster: Some(write::cluster(cluster)),
    }
}

fn post(dry_run: bool) -> PostParams {
    PostParams {
        dry_run,
        field_manager: Some(MANAGER.to_owned()),
    }
}

/// The existing cluster as the answer to this order, if it was made by it.
fn repeated(order: &Order, found: &VirtualCluster) -> Result<VirtualCluster, Failure> {
    let target = &order.wanted.target;
    let (namespace, name) = (target.namespace().to_owned(), target.name().to_owned());
    let annotation = |key: &str| found.annotations().get(key).map(String::as_str);
    let same_id =
        order.request_id.is_some() && annotation(label::REQUEST_ID) == order.request_id.as_deref();
    let same = annotation(REQUEST_DIGEST) == Some(order.digest.as_str());
    let deleting = found.metadata.deletion_timestamp.is_some();
    match (same_id, same) {
        (true, true) if !deleting => Ok(found.clone()),
        (true, false) => Err(Failure::RequestIdReused { namespace, name }),
        (true | false, _) => Err(Failure::AlreadyExists {
            namespace,
            name,
            deleting,
        }),
    }
}

fn compose(order: &Order, caller: &Identity) -> VirtualCluster {
    let Wanted {
        target,
        labels,
        spec,
    } = &order.wanted;
    let mut cluster = VirtualCluster::new(target.name(), spec.clone());
    let mut annotations = BTreeMap::from([
        (label::CREATED_BY.to_owned(), caller.user.clone()),
        (REQUEST_DIGEST.to_owned(), order.digest.clone()),
    ]);
    if let Some(id) = &order.request_id {
        annotations.insert(label::REQUEST_ID.to_owned(), id.clone());
    }
    if let Some(trace) = traceparent() {
        annotations.insert(label::TRACEPARENT.to_owned(), trace);
    }
    cluster.metadata.namespace = Some(target.namespace().to_owned());
    cluster.metadata.labels = (!labels.is_empty()).then(|| labels.clone());
    cluster.metadata.annotations = Some(annotations);
    cluster
}

/// The trace of this call, for whatever is done about the cluster later.
fn traceparent() -> Option<String> {
    let mut headers = http::HeaderMap::new();
    propagation::inject(&mut headers);
    headers
        .get("traceparent")?
        .to_str()
        .ok()
        .map(ToOwned::to_owned)
}

/// Equal wishes have equal digests, also under a later version that knows more fields: what is as it is by default
/// does not count.
fn digest(wanted: &Wanted) -> String {
    let spec = serde_json::to_value(&wanted.spec).unwrap_or_default();
    let default = serde_json::to_value(VirtualClusterSpec::default()).unwrap_or_default();
    let labels = json!(wanted.labels);
    // Maps are ordered.
    let text = json!([labels, without(spec, &default)]).to_string();
    hex::encode(&Sha256::digest(text)[..16])
}

/// What of a value is not as in another.
fn without(value: Value, default: &Value) -> Value {
    match (value, default) {
        (Value::Object(map), Value::Object(default)) => map
            .into_iter()
            .filter(|(key, value)| default.get(key) != Some(value))
            .map(|(key, value)| {
                let rest = without(value, default.get(&key).unwrap_or(&Value::Null));
                (key, rest)
            })
            .collect(),
        (value, _) => value,
    }
}

#[cfg(test)]
mod tests {
    //! What of a wish counts in its digest.

    use super::*;

    #[test]
    fn what_is_as_it_is_by_default_does_not_count() {
        let default =
            json!({"version": "1", "store": {"size": "1Gi", "policy": "Delete"}, "new": []});
        let cases = [
            (default.clone(), json!({})),
            (
                json!({"version": "2", "store": {"size": "1Gi"}}),
                json!({"version": "2", "store": {}}),
            ),
            (
                json!({"store": {"size": "2Gi", "policy": "Delete"}}),
                json!({"store": {"size": "2Gi"}}),
            ),
            (json!({"new": ["a"]}), json!({"new": ["a"]})),
        ];
        for (value, left) in cases {
            assert_eq!(without(value, &default), left);
        }
    }
}
