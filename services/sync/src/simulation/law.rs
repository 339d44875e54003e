//! What sync must never do, judged at each write by the true state of both sides.
//!
//! - An object on the host is deleted only if its virtual object (by UID) is gone or is being deleted, or is of a kind
//!   that is kept only while something uses it and nothing has for a while, or the whole virtual cluster is going.
//! - A virtual pod is deleted only if the host's side ended its host pod, or sync did for a store that a person gave up; and it is removed without grace only once no
//!   host pod of it is left.
//! - Nothing of strangers is written or deleted, on either side.
//! - A write meets the very object that it names. Nothing is made for what is known to be gone, and nothing written for
//!   a virtual cluster whose API server has been out of reach for long, or by a process that was told to stop.
//! - Only who holds the lease sends a write, and still holds it when that arrives, unless something on the way kept it
//!   long; the first write follows the finalizer; of a virtual cluster that goes, pods are deleted before what they use.
//!
//! A virtual object that was lost with its store, and not by anybody's wish, counts as alive.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use serde_json::Value;
use vcluster_resources::label;
use vcluster_resources::ownership::SYNC_FINALIZER;
use vcluster_translate::environment;

use super::pressure::Pressure;
use super::store::{Call, Id, Place, Written};
use super::world::{Cluster, Inner, Target, annotation, text};
use crate::object::Kind;
use crate::replicas::leases::TENANT;

/// How old a decision may be when it arrives: the longest that a request is under way.
const UNDER_WAY: i64 = 120;
/// How long it may take until an API server is known to be out of reach: an idle one is asked every 30 seconds, and what is
/// under way then ends.
const NOTICED: Duration = Duration::from_secs(40);
/// How long after it was told to stop a process may write: what was under way may take 4 seconds.
const ENDED: Duration = Duration::from_millis(4500);
/// How long what was begun for an object may go on after it is known to be gone.
const BELIEVED: Duration = Duration::from_secs(30);
pub(super) const CLUSTERS: &str = "/apis/vcluster.dev/v1alpha1/virtualclusters";
pub(super) const PODS: &str = "/api/v1/pods";
pub(super) const NAMESPACES: &str = "/api/v1/namespaces";
pub(super) const CLAIMS: &str = "/api/v1/persistentvolumeclaims";
pub(super) const VOLUMES: &str = "/api/v1/persistentvolumes";

/// What was broken, and what is needed to tell.
#[derive(Debug, Default)]
pub(super) struct Law {
    broken: Vec<String>,
    /// UIDs of virtual pods whose host pods were ended by the host's side, or for a store that a person gave up.
    ended: BTreeSet<String>,
    /// UIDs of host claims whose data must be kept: a person accepted a store that lacks them.
    data: BTreeSet<String>,
    /// Which processes were told to stop, and when.
    stopped: BTreeMap<usize, Duration>,
    /// UIDs of virtual objects that a process was told are gone, and when.
    gone: BTreeMap<(usize, String), Duration>,
    writes: u64,
    /// Those to VirtualClusters.
    said: u64,
    pressure: Pressure,
    /// Virtual API servers' collections that were listed lately.
    lists: Vec<(Target, String)>,
}

impl Law {
    /// Takes note of how many writes a tenant may save up.
    pub(super) fn may_save(&mut self, burst: u32) {
        self.pressure.may_save(burst);
    }

    /// Takes note that the host's side ends the host pod of a virtual pod.
    pub(super) fn host_ends(&mut self, host: &Value) {
        self.ended
            .insert(annotation(host, label::VIRTUAL_UID).to_owned());
    }

    /// Takes note that a person accepts a store in which a pod lives whose host pod was ended for the other one.
    pub(super) fn accepted_without_host(&mut self, uid: &str) {
        self.ended.insert(uid.to_owned());
    }

    /// Takes note that a person accepts a store that lacks what a host claim was made for.
    pub(super) fn must_keep(&mut self, claim: &Value) {
        self.data.insert(text(claim, "/metadata/uid").to_owned());
    }

    /// Takes note that a process is told that a virtual object is gone.
    pub(super) fn told_gone(&mut self, process: usize, uid: &str, at: Duration) {
        self.gone.entry((process, uid.to_owned())).or_insert(at);
    }

    /// Takes note that a process is told to stop.
    pub(super) fn told_to_stop(&mut self, process: usize, at: Duration) {
        self.stopped.entry(process).or_insert(at);
    }

    /// What was broken.
    pub(super) fn broken(&self) -> &[String] {
        &self.broken
    }

    /// How many writes of sync there were, without those by which it says that it lives.
    pub(super) fn writes(&self) -> u64 {
        self.writes
    }

    /// The same without what is said of virtual clusters.
    pub(super) fn writes_to_objects(&self) -> u64 {
        self.writes - self.said
    }

    /// Forgets what was listed.
    pub(super) fn begin_lists(&mut self) {
        self.lists.clear();
    }

    /// What was listed since: which collection of which virtual API server.
    pub(super) fn lists(&self) -> &[(Target, String)] {
        &self.lists
    }

    /// Judges a request of sync at the moment when it is sent.
    pub(super) fn sent(
        &mut self,
        world: &mut Inner,
        process: usize,
        target: Target,
        call: &Call,
        at: Duration,
    ) {
        let Some(place) = Place::of(&call.path) else {
            return;
        };
        let weather = world.weather(process, target);
        let pressed = self
            .pressure
            .sent((process, target), weather, (call, &place), at);
        if let Err(why) = pressed {
            let line = sending(process, target, call, at, &why);
            self.breaks(world, at, line);
        }
        if call.method == Method::GET {
            let is_list = place.id.name.is_empty() && !call.is_watch();
            if is_list && target != Target::Host && call.parameter("fieldSelector").is_none() {
                self.lists.push((target, place.id.collection));
            }
            return;
        }
        let late = self.is_late(process, &place, at);
        let ghost = self.is_of_a_ghost(process, target, call, at);
        let blind = is_blind(world, process, target, &place, at);
        for (is_so, why) in [
            (blind, "its virtual API server has not answered for long"),
            (late, "it was told to stop"),
            (ghost, "it is made for what is known to be gone"),
        ] {
            if is_so {
                let line = sending(process, target, call, at, why);
                self.breaks(world, at, line);
            }
        }
        if place.id.collection.ends_with("/leases")
            || holds(world, process, target, &place.id.namespace)
        {
            return;
        }
        let line = sending(process, target, call, at, "it does not hold the lease");
        self.breaks(world, at, line);
    }

    /// Whether a process writes for a tenant although it was told to stop, longer ago than a write may be under way.
    fn is_late(&self, process: usize, place: &Place, at: Duration) -> bool {
        let stopped = self.stopped.get(&process);
        let is_object = ["/leases", "/events", "/virtualclusters"]
            .iter()
            .all(|end| !place.id.collection.ends_with(end));
        let is_object = is_object && place.subresource != "token";
        is_object && stopped.is_some_and(|stopped| at > *stopped + ENDED)
    }

    /// Whether an object is made on the host for a virtual one of which the process has been told that it is gone.
    fn is_of_a_ghost(&self, process: usize, target: Target, call: &Call, at: Duration) -> bool {
        let uid = annotation(&call.body, label::VIRTUAL_UID);
        let told = self.gone.get(&(process, uid.to_owned()));
        let is_made = target == Target::Host && call.method == Method::POST;
        is_made && told.is_some_and(|told| at > *told + BELIEVED)
    }

    fn breaks(&mut self, world: &mut Inner, at: Duration, line: String) {
        world.trace.note(at, format_args!("BROKEN {line}"));
        self.broken.push(line);
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
        self.writes += 1;
        self.said += u64::from(written.id.collection == CLUSTERS);
        let is_let_go = !written.is_late && !holds(world, process, target, &written.id.namespace);
        let found = match target {
            _ if is_mistaken(written) => Err("another object was meant".to_owned()),
            _ if is_let_go => Err("it arrives after the lease was given up".to_owned()),
            Target::Host => self
                .keeps_data(world, written)
                .and_then(|()| on_host(world, written, now)),
            Target::Virtual(number) => self.inside(world, number, written),
        };
        if let Err(why) = found {
            let (method, id) = (written.method, &written.id);
            let line = format!(
                "{:.3}: process {process} {target:?} {method} {id:?}: {why}",
                at.as_secs_f64()
            );
            self.breaks(world, at, line);
        }
    }

    fn keeps_data(&self, world: &Inner, written: &Written) -> Result<(), String> {
        let is_gone = |before: &Arc<Value>| {
            let is_going = world.clusters.iter().any(|cluster| {
                cluster.namespace == written.id.namespace && is_going(world, cluster)
            });
            !is_going && self.data.contains(text(before, "/metadata/uid"))
        };
        if written.method == "DELETE" && written.before.as_ref().is_some_and(is_gone) {
            return Err("a person accepted the store, but not the loss of data".to_owned());
        }
        Ok(())
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
        return is_held(world, written);
    };
    let uid = annotation(before, label::CLUSTER_UID);
    let Some(cluster) = world.clusters.iter().find(|cluster| cluster.uid == uid) else {
        return Err("it is a stranger's".to_owned());
    };
    if cluster.namespace != written.id.namespace {
        return Err("it is in another's namespace".to_owned());
    }
    if written.method != "DELETE" {
        return Ok(());
    }
    if is_going(world, cluster) {
        return pods_first(world, cluster, &written.id);
    }
    may_be_deleted(cluster, &written.id, before, now)
}

/// Whether a write met another object than the one that it names.
fn is_mistaken(written: &Written) -> bool {
    match (&written.meant, &written.before) {
        (Some(meant), Some(before)) => text(before, "/metadata/uid") != meant,
        (Some(_) | None, None) | (None, Some(_)) => false,
    }
}

/// Whether something is written to the host for a virtual cluster that has been out of reach for longer than it takes
/// to notice.
fn is_blind(
    world: &mut Inner,
    process: usize,
    target: Target,
    place: &Place,
    at: Duration,
) -> bool {
    let namespace = &place.id.namespace;
    let found = world
        .clusters
        .iter()
        .position(|cluster| cluster.namespace == *namespace);
    let Some(number) = found.filter(|_| target == Target::Host) else {
        return false;
    };
    let is_object = place.id.collection != CLUSTERS && place.subresource != "token";
    let is_going = is_going(world, &world.clusters[number]);
    let since = world.refused_since(process, Target::Virtual(number));
    let is_known = since.is_some_and(|since| at > since + NOTICED);
    is_object && !is_going && is_known
}

fn sending(process: usize, target: Target, call: &Call, at: Duration, why: &str) -> String {
    let (at, method, path) = (at.as_secs_f64(), &call.method, &call.path);
    format!("{at:.3}: process {process} sends {target:?} {method} {path}: {why}")
}

/// Whether a virtual cluster waits, when it is deleted, for what is made for it now.
fn is_held(world: &Inner, written: &Written) -> Result<(), String> {
    let made = written.after.as_deref().unwrap_or(&Value::Null);
    let uid = annotation(made, label::CLUSTER_UID);
    let cluster = world.clusters.iter().find(|cluster| cluster.uid == uid);
    let found = cluster.and_then(|cluster| {
        let id = Id::new(CLUSTERS, &cluster.namespace, &cluster.name);
        world.host.get(&id)
    });
    let finalizers = found.and_then(|found| found.pointer("/metadata/finalizers")?.as_array());
    let is_held =
        finalizers.is_some_and(|all| all.iter().any(|finalizer| finalizer == SYNC_FINALIZER));
    if is_held || found.is_none() {
        Ok(())
    } else {
        Err("its virtual cluster does not wait for it: the finalizer is missing".to_owned())
    }
}

/// Whether what pods use outlives them.
fn pods_first(world: &Inner, cluster: &Cluster, id: &Id) -> Result<(), String> {
    let mut pods = world.host.all(PODS);
    let left = pods.any(|(_, pod)| annotation(pod, label::CLUSTER_UID) == cluster.uid);
    let is_there = world
        .host
        .get(&Id::new(CLUSTERS, &cluster.namespace, &cluster.name));
    if id.collection != PODS && left && is_there.is_some() {
        Err("pods that may use it are left".to_owned())
    } else {
        Ok(())
    }
}

/// Whether a process holds the lease of the virtual cluster that a request concerns; of one that was made anew the
/// earlier one's is as good, for who has it does not know yet.
fn holds(world: &Inner, process: usize, target: Target, namespace: &str) -> bool {
    let cluster = match target {
        Target::Host => world
            .clusters
            .iter()
            .find(|cluster| cluster.namespace == namespace),
        Target::Virtual(number) => world.clusters.get(number),
    };
    let me = format!("sync-{process}_");
    cluster.is_none_or(|cluster| {
        cluster.uids().any(|uid| {
            let name = format!("{TENANT}{uid}");
            let id = Id::new(
                "/apis/coordination.k8s.io/v1/leases",
                "vcluster-system",
                &name,
            );
            let lease = world.host.get(&id);
            lease.is_some_and(|lease| text(lease, "/spec/holderIdentity").starts_with(&me))
        })
    })
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
pub(super) fn host_of<'a>(
    world: &'a Inner,
    cluster: &Cluster,
    uid: &str,
) -> Option<&'a Arc<Value>> {
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
