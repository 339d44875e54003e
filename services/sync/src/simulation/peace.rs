//! What must hold once nothing disturbs sync any more: both sides are the same, as far as they should be.
//!
//! It is checked against the stores themselves, by rules written for this and not by sync's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use vcluster_resources::label;
use vcluster_translate::environment;

use super::law::{CLAIMS, CLUSTERS, PODS, collection, is_deleting, uses};
use super::store::Id;
use super::world::{Cluster, Inner, annotation, text};
use crate::object::Kind;

const NODES: &str = "/api/v1/nodes";

/// Why there is no peace; nothing if there is.
pub(super) fn broken(world: &Inner) -> Option<String> {
    world.clusters.iter().find_map(|cluster| {
        let found = cluster_at_peace(world, cluster);
        found
            .err()
            .map(|why| format!("{}: {why}", cluster.namespace))
    })
}

fn cluster_at_peace(world: &Inner, cluster: &Cluster) -> Result<(), String> {
    let id = Id::new(CLUSTERS, &cluster.namespace, &cluster.name);
    if world.host.get(&id).is_none() {
        return nothing_is_left(world, cluster);
    }
    pods(world, cluster)?;
    tokens(world, cluster)?;
    for kind in [Kind::ConfigMap, Kind::Secret] {
        used(world, cluster, kind)?;
    }
    services(world, cluster)?;
    claims(world, cluster)?;
    nodes(world, cluster)
}

fn nothing_is_left(world: &Inner, cluster: &Cluster) -> Result<(), String> {
    let ours = |object: &Value| annotation(object, label::CLUSTER_UID) == cluster.uid;
    let mut all = world.host.objects();
    all.find(|(_, object)| ours(object))
        .map_or(Ok(()), |(id, _)| Err(format!("{id:?} is left on the host")))
}

/// Host objects of a kind, by the UID of their virtual objects.
fn on_host<'a>(
    world: &'a Inner,
    cluster: &'a Cluster,
    kind: Kind,
) -> BTreeMap<&'a str, &'a Arc<Value>> {
    let all = world
        .host
        .all(&collection(kind))
        .map(|(_, object)| object)
        .collect::<Vec<_>>();
    let ours = all.into_iter().filter(|object| {
        annotation(object, label::CLUSTER_UID) == cluster.uid
            && annotation(object, label::VIRTUAL_KIND) == kind.as_str()
    });
    ours.map(|object| (annotation(object, label::VIRTUAL_UID), object))
        .collect()
}

fn pods(world: &Inner, cluster: &Cluster) -> Result<(), String> {
    let mut host = on_host(world, cluster, Kind::Pod);
    for (id, pod) in cluster.store.all(PODS) {
        let found = host.remove(text(pod, "/metadata/uid"));
        let name = &id.name;
        if is_deleting(pod) {
            return Err(format!("pod {name} is being deleted still"));
        }
        let is_finished = matches!(text(pod, "/status/phase"), "Succeeded" | "Failed");
        let Some(found) = found else {
            if is_finished {
                continue;
            }
            return Err(format!("pod {name} is not on the host"));
        };
        for at in ["/spec/nodeName", "/status/phase", "/status/podIP"] {
            if found.pointer(at) != pod.pointer(at) {
                return Err(format!("pod {name} differs at {at}"));
            }
        }
    }
    host.keys().next().map_or(Ok(()), |uid| {
        Err(format!("the pod of {uid} is left on the host"))
    })
}

/// Secrets with the tokens of pods.
fn tokens(world: &Inner, cluster: &Cluster) -> Result<(), String> {
    let path = collection(Kind::Secret);
    let secrets = world.host.all(&path);
    let mut left = secrets.filter(|(_, secret)| {
        let uid = annotation(secret, label::VIRTUAL_UID);
        let mut pods = cluster.store.all(PODS);
        annotation(secret, label::CLUSTER_UID) == cluster.uid
            && annotation(secret, label::VIRTUAL_KIND) == Kind::Pod.as_str()
            && !pods.any(|(_, pod)| text(pod, "/metadata/uid") == uid)
    });
    left.next().map_or(Ok(()), |(id, _)| {
        Err(format!("tokens are left on the host: {}", id.name))
    })
}

fn used(world: &Inner, cluster: &Cluster, kind: Kind) -> Result<(), String> {
    let mut host = on_host(world, cluster, kind);
    for (id, object) in cluster.store.all(&collection(kind)) {
        let found = host.remove(text(object, "/metadata/uid"));
        let is_used = cluster
            .store
            .all(PODS)
            .any(|(_, pod)| uses(pod, kind.as_str(), id));
        match (is_used, found) {
            (true, None) => return Err(format!("{kind} {} is used and not on the host", id.name)),
            (false, Some(_)) => return Err(format!("{kind} {} is on the host unused", id.name)),
            (true, Some(found)) if found.get("data") != object.get("data") => {
                return Err(format!("{kind} {} differs", id.name));
            }
            (true, Some(_)) | (false, None) => {}
        }
    }
    host.values()
        .find(|found| !environment::is_named(text(found, "/metadata/name")))
        .map_or(Ok(()), |found| {
            Err(format!(
                "{kind} {} is left on the host",
                text(found, "/metadata/name")
            ))
        })
}

fn services(world: &Inner, cluster: &Cluster) -> Result<(), String> {
    let mut host = on_host(world, cluster, Kind::Service);
    for (id, object) in cluster.store.all(&collection(Kind::Service)) {
        if id.namespace == "kube-system" {
            continue;
        }
        let Some(found) = host.remove(text(object, "/metadata/uid")) else {
            return Err(format!("Service {} is not on the host", id.name));
        };
        for at in ["/spec/clusterIP", "/spec/ports"] {
            if found.pointer(at) != object.pointer(at) {
                return Err(format!("Service {} differs at {at}", id.name));
            }
        }
    }
    host.keys().next().map_or(Ok(()), |uid| {
        Err(format!("the Service of {uid} is left on the host"))
    })
}

fn claims(world: &Inner, cluster: &Cluster) -> Result<(), String> {
    let mut host = on_host(world, cluster, Kind::PersistentVolumeClaim);
    let kept: BTreeSet<_> = host
        .values()
        .filter(|claim| !annotation(claim, label::KEPT).is_empty())
        .map(|claim| {
            (
                annotation(claim, label::VIRTUAL_NAMESPACE),
                annotation(claim, label::VIRTUAL_NAME),
            )
        })
        .collect();
    for (id, claim) in cluster.store.all(CLAIMS) {
        let found = host.remove(text(claim, "/metadata/uid"));
        let Some(found) = found else {
            // The data of an earlier one has its name.
            if kept.contains(&(id.namespace.as_str(), id.name.as_str())) {
                continue;
            }
            return Err(format!("claim {} is not on the host", id.name));
        };
        for at in ["/spec/volumeName", "/status/phase"] {
            if found.pointer(at) != claim.pointer(at) {
                let (above, below) = (claim.pointer(at), found.pointer(at));
                return Err(format!(
                    "claim {}/{} differs at {at}: {above:?} inside, {below:?} on the host",
                    id.namespace, id.name
                ));
            }
        }
    }
    let mut left = host
        .values()
        .filter(|claim| annotation(claim, label::KEPT).is_empty());
    left.next().map_or(Ok(()), |claim| {
        Err(format!(
            "claim {} is left on the host",
            text(claim, "/metadata/name")
        ))
    })
}

fn nodes(world: &Inner, cluster: &Cluster) -> Result<(), String> {
    let names = |(id, _): (&Id, &Arc<Value>)| id.name.clone();
    let host: Vec<_> = world.host.all(NODES).map(names).collect();
    let inside: Vec<_> = cluster.store.all(NODES).map(names).collect();
    if host == inside {
        Ok(())
    } else {
        Err(format!("nodes inside are {inside:?} and not {host:?}"))
    }
}
