//! What sync must never do, judged at each write by the true state of both sides.
//!
//! - An object on the host is deleted only if its virtual object (by UID) is gone or is being deleted, or is of a kind
//!   that is kept only while something uses it and nothing has for a while, or the whole virtual cluster is going.
//! - A virtual pod is deleted only if the host's side ended its host pod; and it is removed without grace only once no
//!   host pod of it is left.
//! - Nothing of strangers is written or deleted, on either side.
//!
//! A virtual object that was lost with its store, and not by anybody's wish, counts as alive.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use vcluster_resources::label;
use vcluster_translate::environment;

use super::store::{Id, Written};
use super::world::{Cluster, Inner, Target, annotation, text};
use crate::object::Kind;

/// How old a decision may be when it arrives: the longest that a request is under way.
const UNDER_WAY: i64 = 120;
const CLUSTERS: &str = "/apis/vcluster.dev/v1alpha1/virtualclusters";
pub(super) const PODS: &str = "/api/v1/pods";
const NAMESPACES: &str = "/api/v1/namespaces";

/// What was broken, and what is needed to tell.
#[derive(Debug, Default)]
pub(super) struct Law {
    broken: Vec<String>,
    /// UIDs of virtual pods whose host pods were ended by the host's side.
    ended: BTreeSet<String>,
    writes: u64,
}

impl Law {
    /// Takes note that the host's side ends the host pod of a virtual pod.
    pub(super) fn host_ends(&mut self, host: &Value) {
        self.ended
            .insert(annotation(host, label::VIRTUAL_UID).to_owned());
    }

    /// What was broken.
    pub(super) fn broken(&self) -> &[String] {
        &self.broken
    }

    /// How many writes of sync there were, without those by which it says that it lives.
    pub(super) fn writes(&self) -> u64 {
        self.writes
    }

    /// Judges a write of sync.
    pub(super) fn judge(
        &mut self,
        world: &mut Inner,
        process: usize,
        target: Target,
        written: &Written,
        (at, now): (Duration, Timestamp),
    ) {
        if written.id.collection.ends_with("/leases") || written.id.collection.ends_with("/events")
        {
            return;
        }
        if changes(written) {
            self.writes += 1;
        }
        let found = match target {
            Target::Host => on_host(world, written, now),
            Target::Virtual(number) => self.inside(world, number, written),
        };
        if let Err(why) = found {
            let (method, id) = (written.method, &written.id);
            let line = format!(
                "{:.3}: process {process} {target:?} {method} {id:?}: {why}",
                at.as_secs_f64()
            );
            world.trace.note(at, format_args!("BROKEN {line}"));
            self.broken.push(line);
        }
    }

    fn inside(&self, world: &Inner, number: usize, written: &Written) -> Result<(), String> {
        let Some(before) = &written.before else {
            return Ok(());
        };
        let is_ours = before.pointer("/metadata/labels").is_some_and(|labels| {
            labels.get(label::MANAGED).and_then(Value::as_str) == Some(label::MANAGED_VALUE)
        });
        let translated = Kind::all().any(|kind| {
            kind.is_translated()
                && written
                    .id
                    .collection
                    .ends_with(&format!("/{}", kind.plural()))
        });
        // Where the store stands is marked in a namespace that every API server has.
        let is_mark = written.method == "PATCH"
            && written.id.collection == NAMESPACES
            && written.id.name == "kube-system";
        if !is_ours && !translated && !is_mark {
            return Err("it is the tenant's".to_owned());
        }
        if written.method != "DELETE" || is_ours {
            return Ok(());
        }
        if written.id.collection != PODS {
            return Err("the host's side does not decide about it".to_owned());
        }
        let cluster = &world.clusters[number];
        let uid = text(before, "/metadata/uid");
        let host = host_of(world, cluster, uid);
        if is_deleting(before) {
            return match host {
                Some(_) if written.after.is_none() => Err("its containers run still".to_owned()),
                Some(_) | None => Ok(()),
            };
        }
        if self.ended.contains(uid) {
            return Ok(());
        }
        Err("nobody ended its host pod".to_owned())
    }
}

fn on_host(world: &Inner, written: &Written, now: Timestamp) -> Result<(), String> {
    if written.id.collection == CLUSTERS {
        return Ok(());
    }
    let Some(before) = &written.before else {
        return Ok(());
    };
    let uid = annotation(before, label::CLUSTER_UID);
    let Some(cluster) = world.clusters.iter().find(|cluster| cluster.uid == uid) else {
        return Err("it is a stranger's".to_owned());
    };
    if cluster.namespace != written.id.namespace {
        return Err("it is in another's namespace".to_owned());
    }
    if written.method != "DELETE" || is_going(world, cluster) {
        return Ok(());
    }
    may_be_deleted(cluster, &written.id, before, now)
}

/// Whether anything is another than before.
fn changes(written: &Written) -> bool {
    match (&written.before, &written.after) {
        (Some(before), Some(after)) => !Arc::ptr_eq(before, after),
        (None, None) => false,
        (Some(_), None) | (None, Some(_)) => true,
    }
}

fn is_going(world: &Inner, cluster: &Cluster) -> bool {
    let id = Id::new(CLUSTERS, &cluster.namespace, &cluster.name);
    world.host.get(&id).is_none_or(|found| is_deleting(found))
}

fn may_be_deleted(cluster: &Cluster, id: &Id, host: &Value, now: Timestamp) -> Result<(), String> {
    let truth = cluster.truth();
    if environment::is_named(&id.name) {
        let namespace = environment::namespace_of(&id.name).unwrap_or_default();
        let there = truth
            .get(&Id::new("/api/v1/namespaces", "", namespace))
            .is_some();
        return if there {
            Err("its namespace is there".to_owned())
        } else {
            Ok(())
        };
    }
    let kind = annotation(host, label::VIRTUAL_KIND);
    let collection = match Kind::named(kind) {
        Some(kind) => collection(kind),
        None => return Err(format!("nothing is known of {kind}")),
    };
    let name = annotation(host, label::VIRTUAL_NAME);
    let virtual_ = Id::new(
        &collection,
        annotation(host, label::VIRTUAL_NAMESPACE),
        name,
    );
    let uid = annotation(host, label::VIRTUAL_UID);
    let alive = truth
        .get(&virtual_)
        .filter(|found| text(found, "/metadata/uid") == uid);
    match alive {
        None => Ok(()),
        Some(found) if is_deleting(found) => Ok(()),
        Some(_) if matches!(kind, "ConfigMap" | "Secret") => {
            let old = |pod: &&Arc<Value>| age(pod, now) > UNDER_WAY && !is_deleting(pod);
            let mut pods = truth.all(PODS).map(|(_, pod)| pod).filter(old);
            match pods.find(|pod| uses(pod, kind, &virtual_)) {
                Some(pod) => Err(format!("{} uses it", text(pod, "/metadata/name"))),
                None => Ok(()),
            }
        }
        Some(_) => Err("its virtual object is alive".to_owned()),
    }
}

/// Path of a kind's collection.
pub(super) fn collection(kind: Kind) -> String {
    let api = kind.description().api;
    let root = if api.group.is_empty() {
        "/api"
    } else {
        "/apis"
    };
    format!("{root}/{}/{}", api.version(), api.plural)
}

/// Whether a pod uses a ConfigMap or Secret.
pub(super) fn uses(pod: &Value, kind: &str, id: &Id) -> bool {
    let field = if kind == "Secret" {
        "secretRef"
    } else {
        "configMapRef"
    };
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array);
    let sources = containers
        .into_iter()
        .flatten()
        .filter_map(|one| one["envFrom"].as_array());
    text(pod, "/metadata/namespace") == id.namespace
        && sources
            .flatten()
            .any(|source| text(source, &format!("/{field}/name")) == id.name)
}

/// The host pod of a virtual pod.
fn host_of<'a>(world: &'a Inner, cluster: &Cluster, uid: &str) -> Option<&'a Arc<Value>> {
    let mut pods = world.host.all(PODS);
    let found = pods.find(|(id, pod)| {
        id.namespace == cluster.namespace && annotation(pod, label::VIRTUAL_UID) == uid
    });
    found.map(|(_, pod)| pod)
}

pub(super) fn is_deleting(object: &Value) -> bool {
    object
        .pointer("/metadata/deletionTimestamp")
        .is_some_and(Value::is_string)
}

fn age(object: &Value, now: Timestamp) -> i64 {
    let made = text(object, "/metadata/creationTimestamp")
        .parse()
        .unwrap_or(now);
    now.duration_since(made).as_secs()
}
