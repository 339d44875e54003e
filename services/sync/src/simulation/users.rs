//! What tenants do in their virtual clusters, by chance.

use jiff::Timestamp;
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::ground::NAMESPACES;
use super::law::{CLAIMS, PODS};
use super::store::{Id, Store, deleted};

/// One of a few names, so that they come again.
fn name(kind: &str, chance: &mut StdRng) -> String {
    format!("{kind}{}", chance.random_range(0..4))
}

/// What a tenant may do, each as likely as the others.
const ACTS: u32 = 22;
/// Those of them that some tenants like.
const FORCES: u32 = 11;
const SETS: u32 = 13;
const CLAIM: u32 = 20;

/// What tenants like to do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Habits {
    /// How much more often than else they make claims.
    pub(super) claims: u32,
    /// How much more often than else they set ConfigMaps and Secrets.
    pub(super) sets: u32,
    /// How much more often than else they have pods made anew.
    pub(super) anew: u32,
    /// How many of their pods use tokens.
    pub(super) tokens: f64,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            claims: 0,
            sets: 0,
            anew: 0,
            tokens: 0.2,
        }
    }
}

impl Habits {
    /// Draws what is done.
    fn draw(self, chance: &mut StdRng) -> u32 {
        let liked = [(CLAIM, self.claims), (SETS, self.sets), (FORCES, self.anew)];
        let all = liked.iter().map(|(_, more)| more).sum::<u32>();
        let drawn = chance.random_range(0..ACTS + all);
        let mut first = ACTS;
        let found = liked.iter().find(|(_, more)| {
            first += more;
            (first - more..first).contains(&drawn)
        });
        found.map_or(drawn, |(act, _)| *act)
    }
}

/// Does one thing in a virtual cluster; tells what.
pub(super) fn act(
    store: &mut Store,
    now: Timestamp,
    habits: Habits,
    chance: &mut StdRng,
) -> String {
    let namespace = NAMESPACES[chance.random_range(0..NAMESPACES.len())];
    let id = |collection: &str, name: &str| Id::new(collection, namespace, name);
    match habits.draw(chance) {
        0..8 => {
            let id = id(PODS, &name("pod", chance));
            if store.get(&id).is_none() {
                store.put(&id, pod(habits, chance), now);
            }
            format!("makes {id:?}")
        }
        8..11 => {
            let id = id(PODS, &name("pod", chance));
            let grace = [None, Some(json!(0)), Some(json!(3))];
            let grace = grace[chance.random_range(0..grace.len())].clone();
            delete(store, &id, grace.as_ref(), now);
            format!("deletes {id:?} with grace {grace:?}")
        }
        FORCES => {
            let id = id(PODS, &name("pod", chance));
            store.lose(&id, now);
            store.put(&id, pod(habits, chance), now);
            format!("forces {id:?} to be made anew")
        }
        12 => {
            let id = id(PODS, &name("pod", chance));
            let value = chance.random_range(0..100).to_string();
            store.change(&id, now, |pod| {
                pod["metadata"]["labels"]["x"] = value.into();
            });
            format!("labels {id:?}")
        }
        SETS..17 => {
            let collection = ["/api/v1/configmaps", "/api/v1/secrets"][chance.random_range(0..2)];
            let id = id(collection, &name("c", chance));
            let value = chance.random_range(0..100).to_string();
            if !store.change(&id, now, |object| {
                object["data"]["a"] = value.as_str().into();
            }) {
                store.put(&id, json!({"data": {"a": value}}), now);
            }
            format!("sets {id:?}")
        }
        17 => {
            let collection = ["/api/v1/configmaps", "/api/v1/secrets"][chance.random_range(0..2)];
            let id = id(collection, &name("c", chance));
            store.lose(&id, now);
            format!("deletes {id:?}")
        }
        18 => {
            let id = id("/api/v1/services", &name("svc", chance));
            if store.get(&id).is_none() {
                let ip = format!(
                    "10.96.{}.{}",
                    chance.random_range(100..200),
                    chance.random_range(1..250)
                );
                let spec = json!({
                    "type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip],
                    "selector": {"app": "web"}, "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
                });
                store.put(&id, json!({"spec": spec}), now);
            }
            format!("makes {id:?}")
        }
        19 => {
            let id = id("/api/v1/services", &name("svc", chance));
            store.lose(&id, now);
            format!("deletes {id:?}")
        }
        CLAIM => {
            let id = id(CLAIMS, &name("data", chance));
            if store.get(&id).is_none() {
                store.put(&id, claim(), now);
            }
            format!("makes {id:?}")
        }
        _ => {
            let id = id(CLAIMS, &name("data", chance));
            store.lose(&id, now);
            format!("deletes {id:?}")
        }
    }
}

fn claim() -> Value {
    json!({
        "spec": {
            "accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem",
            "resources": {"requests": {"storage": "1Gi"}},
        },
        "status": {"phase": "Pending"},
    })
}

/// Makes so many pods at once.
pub(super) fn flood(store: &mut Store, count: u32, now: Timestamp) {
    for number in 0..count {
        let id = Id::new(PODS, NAMESPACES[0], &format!("flood{number}"));
        make_pod(store, &id, now);
    }
}

/// Makes a pod that uses nothing.
pub(super) fn make_pod(store: &mut Store, id: &Id, now: Timestamp) {
    store.put(id, pod_of(&json!({"name": "main", "image": "nginx"})), now);
}

/// Deletes an object as a user does.
fn delete(store: &mut Store, id: &Id, grace: Option<&Value>, now: Timestamp) {
    let Some(found) = store.get(id).cloned() else {
        return;
    };
    match deleted(id, &found, grace, now) {
        Some(left) => drop(store.put(id, left, now)),
        None => drop(store.lose(id, now)),
    }
}

fn pod(habits: Habits, chance: &mut StdRng) -> Value {
    let mut container = json!({"name": "main", "image": "nginx"});
    match chance.random_range(0..4) {
        0 => container["envFrom"] = json!([{"configMapRef": {"name": name("c", chance)}}]),
        1 => container["envFrom"] = json!([{"secretRef": {"name": name("c", chance)}}]),
        _ => {}
    }
    let mut pod = pod_of(&container);
    if chance.random_bool(habits.tokens) {
        pod["spec"]["volumes"] = json!([{"name": "token", "projected": {"sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
        ]}}]);
    }
    pod
}

fn pod_of(container: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"labels": {"app": "web"}},
        "spec": {
            "containers": [container],
            "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "serviceAccountName": "default",
            "terminationGracePeriodSeconds": 10,
        },
        "status": {"phase": "Pending", "qosClass": "BestEffort"},
    })
}
