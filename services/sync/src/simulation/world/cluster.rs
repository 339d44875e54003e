//! Virtual clusters: what their servers have, and what becomes of it.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use vcluster_resources::{label, layout};
use vcluster_translate::environment;

use super::{Inner, Target, World, annotation, text};
use crate::simulation::ground;
use crate::simulation::law::{self, CLAIMS, CLUSTERS, NAMESPACES};
use crate::simulation::store::{Id, Store};
use crate::tenant::store::{STORE_MARK, STORE_UID};

/// A virtual cluster.
#[derive(Debug)]
pub(in crate::simulation) struct Cluster {
    /// Name of the VirtualCluster.
    pub(in crate::simulation) name: String,
    /// Host namespace.
    pub(in crate::simulation) namespace: String,
    /// UID of the VirtualCluster.
    pub(in crate::simulation) uid: String,
    /// UIDs of those that were there before it.
    pub(in crate::simulation) earlier: Vec<String>,
    /// Address of its API server.
    pub(in crate::simulation) ip: String,
    /// What its API server has.
    pub(in crate::simulation) store: Store,
    /// What its API server had before it lost everything, and will have again.
    pub(in crate::simulation) lost: Option<Store>,
    /// A copy of what its API server had.
    pub(in crate::simulation) copy: Option<Store>,
}

impl Cluster {
    /// UIDs of it and of those that were there before it.
    pub(in crate::simulation) fn uids(&self) -> impl Iterator<Item = &str> {
        self.earlier.iter().chain([&self.uid]).map(String::as_str)
    }

    /// Namespace and name of its VirtualCluster.
    pub(in crate::simulation) fn place(&self) -> (String, String) {
        (self.namespace.clone(), self.name.clone())
    }

    /// What the tenant has, and has not lost by its own wish.
    pub(in crate::simulation) fn truth(&self) -> &Store {
        self.lost.as_ref().unwrap_or(&self.store)
    }
}

impl World {
    /// Has the right store answer again for a virtual cluster.
    pub(in crate::simulation) fn give_back(&self, number: usize) {
        let mut inner = self.locked();
        let cluster = &mut inner.clusters[number];
        if let Some(lost) = cluster.lost.take() {
            cluster.store = lost;
        }
        inner.tell(Target::Virtual(number), None);
    }

    /// Has the host namespace of a virtual cluster go with all in it, and come again with another virtual cluster of the
    /// same name.
    pub(in crate::simulation) fn make_anew(&self, number: usize, generation: usize) {
        let now = self.now();
        let mut inner = self.locked();
        let namespace = inner.clusters[number].namespace.clone();
        let within = |(id, _): &(&Id, &Arc<Value>)| {
            id.namespace == namespace || (id.collection == NAMESPACES && id.name == namespace)
        };
        let all: Vec<_> = inner
            .host
            .objects()
            .filter(within)
            .map(|(id, _)| id.clone())
            .collect();
        for id in all {
            inner.host.lose(&id, now);
        }
        let mut earlier = std::mem::take(&mut inner.clusters[number].earlier);
        earlier.push(inner.clusters[number].uid.clone());
        let cluster = Cluster {
            earlier,
            uid: format!("cluster-{number}-{generation}-{}", inner.host.version()),
            store: ground::inside(&format!("v{number}-{}-", inner.host.version()), now),
            ..ground::cluster(number, now)
        };
        inner
            .host
            .put(&Id::new(NAMESPACES, "", &namespace), json!({}), now);
        let secret = Id::new("/api/v1/secrets", &namespace, layout::SYNC_SECRET);
        inner.host.put(&secret, ground::credential(), now);
        let id = Id::new(CLUSTERS, &namespace, &cluster.name);
        inner.host.put(&id, ground::virtual_cluster(&cluster), now);
        inner.clusters[number] = cluster;
        inner.tell(Target::Host, None);
        inner.tell(Target::Virtual(number), None);
    }

    /// Has a person say of each store that sync has doubts about that it is right; tells whether there was one.
    pub(in crate::simulation) fn accept_stores(&self) -> bool {
        let mut inner = self.locked();
        let doubted: Vec<_> = (0..inner.clusters.len())
            .filter(|number| inner.is_doubted(*number))
            .collect();
        for number in &doubted {
            inner.accept(*number, self.now());
        }
        !doubted.is_empty()
    }

    /// Has a person accept the store that is there in place of the right one; false if it is the right one. Data of what
    /// it lacks must be kept.
    pub(in crate::simulation) fn accept_loss(&self, number: usize) -> bool {
        let mut inner = self.locked();
        let Some(lost) = inner.clusters[number].lost.take() else {
            return false;
        };
        let cluster = &inner.clusters[number];
        let lives = |store: &Store, uid: &str| {
            let mut claims = store.all(CLAIMS);
            claims.any(|(_, claim)| text(claim, "/metadata/uid") == uid)
        };
        let claims = inner.host.all(CLAIMS).filter(|(_, claim)| {
            let uid = annotation(claim, label::VIRTUAL_UID);
            annotation(claim, label::CLUSTER_UID) == cluster.uid
                && lives(&lost, uid)
                && !lives(&cluster.store, uid)
        });
        let claims: Vec<_> = claims.map(|(_, claim)| Arc::clone(claim)).collect();
        for claim in claims {
            inner.law.must_keep(&claim);
        }
        inner.accept(number, self.now());
        true
    }
}

impl Inner {
    /// Whether there is a host pod of a virtual one.
    pub(in crate::simulation) fn is_on_host(&self, number: usize, id: &Id) -> bool {
        let cluster = &self.clusters[number];
        let uid = cluster
            .store
            .get(id)
            .map_or("", |pod| text(pod, "/metadata/uid"));
        law::host_of(self, cluster, uid).is_some()
    }

    /// The ConfigMap by which the host remembers a store.
    fn note_of(&self, number: usize) -> Id {
        let namespace = &self.clusters[number].namespace;
        Id::new("/api/v1/configmaps", namespace, environment::CONFIG_MAP)
    }

    /// The mark of a store that the host remembers.
    pub(in crate::simulation) fn mark_of(&self, number: usize) -> Option<String> {
        let kept = self.host.get(&self.note_of(number))?;
        Some(annotation(kept, STORE_MARK).to_owned()).filter(|mark| !mark.is_empty())
    }

    /// Whether sync says that a store is not what it was.
    fn is_doubted(&self, number: usize) -> bool {
        let (namespace, name) = self.clusters[number].place();
        let object = self.host.get(&Id::new(CLUSTERS, &namespace, &name));
        let conditions = object.and_then(|object| object.pointer("/status/conditions")?.as_array());
        let mut reasons = conditions
            .into_iter()
            .flatten()
            .map(|one| text(one, "/reason"));
        reasons.any(|reason| matches!(reason, "StoreReplaced" | "StoreRolledBack"))
    }

    /// Takes the annotation off by which the host remembers a store.
    fn accept(&mut self, number: usize, now: Timestamp) {
        let cluster = &self.clusters[number];
        let pods = cluster.store.all(law::PODS);
        let uids = pods.map(|(_, pod)| text(pod, "/metadata/uid"));
        let is_ended =
            |uid: &&str| law::host_of(self, cluster, uid).is_none_or(|host| law::is_deleting(host));
        let ended: Vec<_> = uids.filter(is_ended).map(ToOwned::to_owned).collect();
        for uid in ended {
            self.law.accepted_without_host(&uid);
        }
        let id = self.note_of(number);
        self.host.change(&id, now, |kept| {
            if let Some(all) = kept["metadata"]["annotations"].as_object_mut() {
                all.remove(STORE_UID);
            }
        });
        self.tell(Target::Host, Some(&id.collection));
    }
}

/// The mark that a store bears.
pub(in crate::simulation) fn mark(store: &Store) -> Option<String> {
    let system = store.get(&Id::new(NAMESPACES, "", "kube-system"))?;
    Some(annotation(system, STORE_MARK).to_owned()).filter(|mark| !mark.is_empty())
}
