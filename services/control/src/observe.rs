//! Looks at everything around one virtual cluster, all at once.
//!
//! Reads are live: the answers decide what is written and what is deleted, and a cache may be old.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace as HostNamespaceObject, Pod as PodObject, Secret};
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;
use vcluster_chassis::tls::Live as Newest;
use vcluster_resources::{VirtualCluster, label};

use crate::address::{Address, Range, Ranges};
use crate::observed::{
    Doubt, Live, MadeFor, Namespace, Observed, Pod, RootsSecret, RootsState, Seen, Sibling,
};
use crate::pki::{Credential, Issuers, Material, Roots, Shared};
use crate::slot::Slot;
use crate::subject::Subject;

mod pod;

/// The ServiceCIDR that the host's API server makes of its own ranges.
const DEFAULT_RANGE: &str = "kubernetes";

/// What was seen, and the keys that minting needs.
#[derive(Debug)]
pub struct Sight {
    /// What planning looks at.
    pub observed: Observed,
    /// The roots of trust, if they are usable.
    pub roots: Option<Roots>,
    /// The installation's authorities.
    pub shared: Arc<Shared>,
    /// The address of the virtual API server, if it has one.
    pub address: Option<Address>,
}

/// Looks.
#[derive(Clone)]
pub struct Observer {
    client: Client,
    release_namespace: String,
    ranges: Vec<Range>,
    shared: Newest<Arc<Shared>>,
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").finish_non_exhaustive()
    }
}

impl Observer {
    /// An observer. With `ranges` the host is not asked for its Service ranges.
    pub fn new(
        client: Client,
        release_namespace: String,
        ranges: Vec<Range>,
        shared: Newest<Arc<Shared>>,
    ) -> Self {
        Self {
            client,
            release_namespace,
            ranges,
            shared,
        }
    }

    /// Looks at everything around one virtual cluster.
    pub async fn look(&self, cluster: &VirtualCluster, subject: &Subject, now: Timestamp) -> Sight {
        let slots = join_all(Slot::ALL.map(|slot| self.slot(slot, subject)));
        let (namespace, siblings, slots, roots, pods, ranges) = futures::join!(
            self.namespace(subject),
            self.siblings(cluster, subject),
            slots,
            self.roots(subject),
            self.pods(subject),
            self.ranges(),
        );
        let (roots_seen, roots) = roots;
        let mut contents = Vec::new();
        let mut objects = BTreeMap::new();
        for (slot, (seen, material)) in Slot::ALL.into_iter().zip(slots) {
            if let (Slot::Secret(credential), Some(material)) = (slot, material) {
                contents.push((credential, material));
            }
            objects.insert(slot, seen);
        }
        let service = objects.get(&Slot::Service).and_then(Seen::present);
        let address = service.and_then(address_of);
        let shared = self.shared.current();
        let health = match (&roots, address) {
            (Some(roots), Some(address)) => {
                let shared = &shared;
                judge(&contents, Issuers { roots, shared }, subject, address, now)
            }
            (Some(_) | None, _) => BTreeMap::new(),
        };
        let observed = Observed {
            namespace,
            siblings,
            objects,
            health,
            roots: roots_seen,
            pods,
            ranges,
            contents: None,
            refused: None,
        };
        Sight {
            observed,
            roots,
            shared,
            address,
        }
    }

    async fn namespace(&self, subject: &Subject) -> Seen<Namespace> {
        let api: Api<HostNamespaceObject> = Api::all(self.client.clone());
        seen(
            api.get_opt(subject.namespace().as_str()).await,
            |namespace| {
                let labels = namespace.labels();
                Namespace {
                    uid: namespace.uid().unwrap_or_default(),
                    enabled: labels
                        .get(label::HOST)
                        .is_some_and(|value| value == label::HOST_VALUE),
                    terminating: namespace.metadata.deletion_timestamp.is_some(),
                    made_for: namespace
                        .annotations()
                        .get(label::CREATED_FOR)
                        .map(|t| MadeFor::read(t)),
                }
            },
        )
    }

    async fn siblings(&self, cluster: &VirtualCluster, subject: &Subject) -> Seen<Vec<Sibling>> {
        let api: Api<VirtualCluster> =
            Api::namespaced(self.client.clone(), subject.namespace().as_str());
        let age = |cluster: &VirtualCluster| {
            (
                cluster.creation_timestamp().map(|time| time.0),
                cluster.uid(),
            )
        };
        seen(api.list(&ListParams::default()).await.map(Some), |list| {
            let others = list
                .items
                .into_iter()
                .filter(|c| c.uid().as_deref() != Some(subject.uid()));
            others
                .map(|other| Sibling {
                    name: other.name_any(),
                    uid: other.uid().unwrap_or_default(),
                    older: age(&other) < age(cluster),
                })
                .collect()
        })
    }

    async fn slot(&self, slot: Slot, subject: &Subject) -> (Seen<Live>, Option<Material>) {
        let namespace = subject.namespace().as_str();
        let name = slot.name(subject);
        if let Slot::Secret(_) = slot {
            let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
            return match api.get_opt(&name).await {
                Ok(Some(secret)) => {
                    let live = live(&secret.metadata, Value::Null);
                    (Seen::Present(live), Some(Material::of(secret)))
                }
                Ok(None) => (Seen::Absent, None),
                Err(error) => (Seen::Unknown(doubt(&error)), None),
            };
        }
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), namespace, &slot.resource());
        let object = seen(api.get_opt(&name).await, |object| {
            let body = serde_json::to_value(&object).unwrap_or_default();
            live(&object.metadata, body)
        });
        (object, None)
    }

    async fn roots(&self, subject: &Subject) -> (Seen<RootsSecret>, Option<Roots>) {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.release_namespace);
        let secret = match api.get_opt(&subject.roots_secret()).await {
            Ok(Some(secret)) => secret,
            Ok(None) => return (Seen::Absent, None),
            Err(error) => return (Seen::Unknown(doubt(&error)), None),
        };
        let uid = secret.metadata.uid.clone().unwrap_or_default();
        match Roots::read(&Material::of(secret)) {
            Ok(roots) => (
                Seen::Present(RootsSecret {
                    uid,
                    state: RootsState::Good,
                }),
                Some(roots),
            ),
            Err(error) => {
                let state = RootsState::Damaged(error.to_string());
                (Seen::Present(RootsSecret { uid, state }), None)
            }
        }
    }

    async fn pods(&self, subject: &Subject) -> Seen<Vec<Pod>> {
        let api: Api<PodObject> =
            Api::namespaced(self.client.clone(), subject.namespace().as_str());
        let selector = format!(
            "{}={},{}={}",
            label::CLUSTER_UID,
            subject.uid(),
            label::PART,
            label::Part::ControlPlane.as_str(),
        );
        let pods = api.list(&ListParams::default().labels(&selector)).await;
        seen(pods.map(Some), |list| {
            let ours = |pod: &PodObject| {
                pod.annotations()
                    .get(label::CLUSTER_UID)
                    .is_some_and(|uid| uid == subject.uid())
            };
            list.items
                .into_iter()
                .filter(ours)
                .map(|pod| pod::read(&pod))
                .collect()
        })
    }

    async fn ranges(&self) -> Seen<Ranges> {
        if !self.ranges.is_empty() {
            return Seen::Present(Ranges::new(&self.ranges, Vec::new()));
        }
        let api: Api<ServiceCIDR> = Api::all(self.client.clone());
        match api.list(&ListParams::default()).await {
            Ok(list) => {
                let live = list
                    .items
                    .into_iter()
                    .filter(|c| c.metadata.deletion_timestamp.is_none());
                let (default, added): (Vec<_>, Vec<_>) =
                    live.partition(|cidr| cidr.name_any() == DEFAULT_RANGE);
                Seen::Present(Ranges::new(&cidrs(default), cidrs(added)))
            }
            // A host before Kubernetes 1.33 has no such objects; its range is then a flag.
            Err(kube::Error::Api(status)) if status.code == 404 => Seen::Absent,
            Err(error) => Seen::Unknown(doubt(&error)),
        }
    }
}

fn cidrs(objects: Vec<ServiceCIDR>) -> Vec<Range> {
    let specs = objects.into_iter().filter_map(|object| object.spec);
    let cidrs = specs.flat_map(|spec| spec.cidrs.unwrap_or_default());
    cidrs.filter_map(|cidr| cidr.parse().ok()).collect()
}

fn judge(
    contents: &[(Credential, Material)],
    issuers: Issuers<'_>,
    subject: &Subject,
    address: Address,
    now: Timestamp,
) -> BTreeMap<Credential, crate::pki::credential::Health> {
    contents
        .iter()
        .map(|(credential, material)| {
            (
                *credential,
                credential.inspect(material, issuers, subject, address, now),
            )
        })
        .collect()
}

fn address_of(live: &Live) -> Option<Address> {
    live.body
        .pointer("/spec/clusterIP")
        .and_then(Value::as_str)
        .and_then(Address::of)
}

fn live(metadata: &kube::api::ObjectMeta, body: Value) -> Live {
    let annotations = metadata.annotations.as_ref();
    Live {
        uid: metadata.uid.clone().unwrap_or_default(),
        owner: annotations.and_then(|map| map.get(label::CLUSTER_UID).cloned()),
        deleting: metadata.deletion_timestamp.is_some(),
        body,
    }
}

fn seen<K, T>(answer: Result<Option<K>, kube::Error>, read: impl FnOnce(K) -> T) -> Seen<T> {
    match answer {
        Ok(Some(found)) => Seen::Present(read(found)),
        Ok(None) => Seen::Absent,
        Err(error) => Seen::Unknown(doubt(&error)),
    }
}

/// Why something could not be seen. The text stands in conditions, so it says no more than what the
/// API server itself tells users.
pub(crate) fn doubt(error: &kube::Error) -> Doubt {
    if let kube::Error::Api(status) = error {
        return match status.code {
            403 => Doubt::Forbidden,
            _ => Doubt::Failed(status.message.clone()),
        };
    }
    tracing::warn!(%error, "the API server cannot be asked");
    Doubt::Failed("the API server cannot be reached".to_owned())
}
