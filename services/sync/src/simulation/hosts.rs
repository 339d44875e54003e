//! What happens on the host: its scheduler, kubelets, garbage collector, and those who take pods away.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use vcluster_resources::label;

use super::ground::NODES;
use super::law::{CLAIMS, CLUSTERS, Law, PODS, VOLUMES, is_deleting};
use super::store::{Id, Store, deleted};
use super::world::{annotation, text};

/// How often they look.
pub(super) const TICK: Duration = Duration::from_millis(500);
/// After so many looks the garbage collector looks, too.
pub(super) const GARBAGE: u64 = 8;

/// One look of scheduler and kubelets.
pub(super) fn tick(store: &mut Store, now: Timestamp, chance: &mut StdRng) {
    bind(store, now);
    if !is_busy(store) {
        return;
    }
    let pods: Vec<_> = store
        .all(PODS)
        .map(|(id, pod)| (id.clone(), Arc::clone(pod)))
        .collect();
    for (id, pod) in pods.into_iter().filter(|(_, pod)| is_live(pod)) {
        if is_deleting(&pod) {
            end_if_time(store, &id, &pod, now);
        } else if pod["spec"]["nodeName"].is_null() {
            if chance.random_bool(0.6) {
                let node = NODES[chance.random_range(0..NODES.len())];
                store.change(&id, now, |pod| pod["spec"]["nodeName"] = node.into());
            }
        } else if text(&pod, "/status/phase") == "Pending" && chance.random_bool(0.6) {
            let ip = format!(
                "10.244.{}.{}",
                chance.random_range(0..9),
                chance.random_range(1..250)
            );
            store.change(&id, now, |pod| pod["status"] = running(&ip, now));
        }
    }
}

/// Binds claims that are new, and removes the volumes of those that are gone.
fn bind(store: &mut Store, now: Timestamp) {
    let is_new = |claim: &Value| claim["spec"]["volumeName"].is_null() && !is_deleting(claim);
    let claims = store.all(CLAIMS).filter(|(_, claim)| is_new(claim));
    let claims: Vec<_> = claims
        .map(|(id, claim)| (id.clone(), text(claim, "/metadata/uid").to_owned()))
        .collect();
    for (id, uid) in claims {
        let name = format!("pv-{uid}");
        let volume = json!({
            "spec": {
                "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                "volumeMode": "Filesystem", "persistentVolumeReclaimPolicy": "Delete",
                "claimRef": {
                    "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                    "namespace": id.namespace, "name": id.name, "uid": uid,
                },
            },
            "status": {"phase": "Bound"},
        });
        store.put(&Id::new(VOLUMES, "", &name), volume, now);
        store.change(&id, now, |claim| {
            claim["spec"]["volumeName"] = name.into();
            claim["status"] = json!({
                "phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            });
        });
    }
    let of = |volume: &Value| text(volume, "/spec/claimRef/uid").to_owned();
    let live: BTreeSet<_> = store
        .all(CLAIMS)
        .map(|(_, claim)| text(claim, "/metadata/uid").to_owned())
        .collect();
    let volumes = store
        .all(VOLUMES)
        .filter(|(_, volume)| !live.contains(&of(volume)));
    let gone: Vec<_> = volumes.map(|(id, _)| id.clone()).collect();
    for id in gone {
        store.lose(&id, now);
    }
}

/// Whether there is a pod that is not as it will stay.
fn is_busy(store: &Store) -> bool {
    let mut pods = store.all(PODS).map(|(_, pod)| pod);
    let is_still = |pod: &Value| !is_deleting(pod) && text(pod, "/status/phase") == "Running";
    pods.any(|pod| is_live(pod) && !is_still(pod))
}

fn running(ip: &str, now: Timestamp) -> Value {
    let since = crate::object::time(now);
    json!({
        "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "hostIP": "192.0.2.10",
        "startTime": since, "qosClass": "BestEffort",
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": since}],
        "containerStatuses": [{
            "name": "main", "ready": true, "restartCount": 0, "image": "nginx", "imageID": "",
            "state": {"running": {"startedAt": since}},
        }],
    })
}

fn end_if_time(store: &mut Store, id: &Id, pod: &Value, now: Timestamp) {
    let end = text(pod, "/metadata/deletionTimestamp")
        .parse()
        .unwrap_or(now);
    if now < end {
        return;
    }
    store.change(id, now, |pod| {
        pod["metadata"]["deletionGracePeriodSeconds"] = 0.into();
    });
    store.lose(id, now);
}

/// Whether sync made a pod for a virtual cluster of today.
fn is_live(pod: &Value) -> bool {
    annotation(pod, label::CLUSTER_UID).starts_with("cluster-")
}

/// Somebody on the host takes the labels off an object of sync's; tells which.
pub(super) fn unlabel(store: &mut Store, now: Timestamp, chance: &mut StdRng) -> Option<String> {
    let ours = store.objects().filter(|(_, object)| {
        is_live(object) && !annotation(object, label::VIRTUAL_KIND).is_empty()
    });
    let ours: Vec<_> = ours.map(|(id, _)| id.clone()).collect();
    if ours.is_empty() {
        return None;
    }
    let id = &ours[chance.random_range(0..ours.len())];
    store.change(id, now, |object| object["metadata"]["labels"] = json!({}));
    Some(format!("takes the labels off {id:?}"))
}

/// Somebody deletes a VirtualCluster.
pub(super) fn delete_cluster(store: &mut Store, namespace: &str, name: &str, now: Timestamp) {
    let id = Id::new(CLUSTERS, namespace, name);
    let Some(found) = store.get(&id).cloned() else {
        return;
    };
    match deleted(&id, &found, None, now) {
        Some(left) => drop(store.put(&id, left, now)),
        None => drop(store.lose(&id, now)),
    }
}

/// Removes what belongs to a VirtualCluster that is gone.
pub(super) fn collect_garbage(store: &mut Store, now: Timestamp) {
    let live: Vec<_> = store
        .all(CLUSTERS)
        .map(|(_, found)| text(found, "/metadata/uid").to_owned())
        .collect();
    let orphans = store.objects().filter(|(_, object)| {
        let owner = text(object, "/metadata/ownerReferences/0/uid");
        !owner.is_empty() && !live.iter().any(|uid| uid == owner)
    });
    let orphans: Vec<_> = orphans.map(|(id, _)| id.clone()).collect();
    for id in orphans {
        store.lose(&id, now);
    }
}

/// Somebody on the host takes a pod away, gracefully or not; tells which.
pub(super) fn take_away(
    store: &mut Store,
    law: &mut Law,
    now: Timestamp,
    chance: &mut StdRng,
) -> Option<String> {
    let ours = |(_, pod): &(&Id, &Arc<Value>)| is_live(pod);
    let pods: Vec<_> = store
        .all(PODS)
        .filter(ours)
        .map(|(id, pod)| (id.clone(), Arc::clone(pod)))
        .collect();
    if pods.is_empty() {
        return None;
    }
    let (id, pod) = &pods[chance.random_range(0..pods.len())];
    law.host_ends(pod);
    let grace = if chance.random_bool(0.3) {
        Some(json!(0))
    } else {
        None
    };
    match deleted(id, pod, grace.as_ref(), now) {
        Some(left) => drop(store.put(id, left, now)),
        None => drop(store.lose(id, now)),
    }
    Some(format!("takes {id:?} away with grace {grace:?}"))
}
