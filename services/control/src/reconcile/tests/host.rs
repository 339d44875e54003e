//! A host API that keeps objects, applies patches, deletes with preconditions, and can fail at any
//! request: before it is carried out, or after it, so that only the answer is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use http::{Method, Response};
use serde_json::{Value, json};
use vcluster_chassis::testing::{ApiServer, Call, json as answer};
use vcluster_resources::{VirtualCluster, VirtualClusterSpec, label};

pub(super) const CLUSTER: &str =
    "/apis/vcluster.dev/v1alpha1/namespaces/team-a/virtualclusters/demo";
pub(super) const NAMESPACE: &str = "/api/v1/namespaces/team-a";
const UID: &str = "0d3b6f5e-7c1a-4d58-9f0e-1a2b3c4d5e6f";

#[derive(Clone)]
pub(super) struct Host(Arc<Mutex<State>>);

#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) objects: BTreeMap<String, Value>,
    pub(super) writes: Vec<(Method, String, String, Value)>,
    /// Addresses that are taken.
    pub(super) taken: BTreeSet<String>,
    /// Path prefixes that answer 403.
    pub(super) forbidden: Vec<String>,
    /// Method and path of writes that answer 403, though one may look, and how often.
    pub(super) refused: BTreeMap<(String, String), usize>,
    /// An object that appears when a write was refused, and its path.
    pub(super) after_refusal: Option<(String, Value)>,
    /// Paths that cannot be read, as if the connection broke.
    pub(super) broken: BTreeSet<String>,
    /// Pods do not get ready.
    pub(super) stalled: bool,
    /// Requests until everything fails.
    pub(super) dies_after: Option<usize>,
    version: u64,
}

impl Host {
    /// A host with one virtual cluster in an enabled namespace.
    pub(super) fn new() -> Self {
        let mut state = State::default();
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {
                "name": "team-a", "uid": "ns",
                "labels": { (label::HOST): label::HOST_VALUE },
                "annotations": { (label::CREATED_FOR): "name/demo" },
            },
        });
        state.objects.insert(NAMESPACE.to_owned(), namespace);
        let mut cluster = VirtualCluster::new("demo", VirtualClusterSpec::default());
        cluster.metadata.namespace = Some("team-a".to_owned());
        cluster.metadata.uid = Some(UID.to_owned());
        cluster.metadata.generation = Some(1);
        cluster.metadata.resource_version = Some("1".to_owned());
        let cluster = serde_json::to_value(cluster).unwrap();
        state.objects.insert(CLUSTER.to_owned(), cluster);
        Self(Arc::new(Mutex::new(state)))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// A host of its own in the same state.
    pub(super) fn fork(&self) -> Self {
        let mut state = self.state().clone();
        state.writes.clear();
        Self(Arc::new(Mutex::new(state)))
    }

    pub(super) fn server(&self) -> ApiServer {
        let host = self.clone();
        ApiServer::new(move |call| host.state().answer(call))
    }

    /// The cluster as it is stored.
    pub(super) fn cluster(&self) -> Option<VirtualCluster> {
        let found = self.state().objects.get(CLUSTER).cloned()?;
        Some(serde_json::from_value(found).unwrap())
    }

    pub(super) fn delete_cluster(&self) {
        let mut state = self.state();
        let cluster = state.objects.get_mut(CLUSTER).unwrap();
        cluster["metadata"]["deletionTimestamp"] = "2026-06-01T00:00:00Z".into();
    }

    /// Sync says that it is ready.
    pub(super) fn sync_is_ready(&self) {
        let said = json!({
            "type": "SyncReady", "status": "True", "reason": "Available", "message": "follows",
            "lastTransitionTime": "2026-06-01T00:00:00Z",
        });
        let mut state = self.state();
        let conditions = &mut state.objects.get_mut(CLUSTER).unwrap()["status"]["conditions"];
        conditions.as_array_mut().unwrap().push(said);
    }

    /// Refuses a write so many times.
    pub(super) fn refuse(&self, method: &Method, path: &str, times: usize) {
        let write = (method.to_string(), path.to_owned());
        self.state().refused.insert(write, times);
    }

    /// Events that were written with this reason.
    pub(super) fn events(&self, reason: &str) -> usize {
        let state = self.state();
        let events = state
            .writes
            .iter()
            .filter(|(_, path, _, body)| path.ends_with("/events") && body["reason"] == reason);
        events.count()
    }

    /// Everything but what somebody else made, by path.
    pub(super) fn ours(&self) -> BTreeSet<String> {
        let state = self.state();
        let others = [CLUSTER, NAMESPACE];
        state
            .objects
            .keys()
            .filter(|path| !others.contains(&path.as_str()))
            .cloned()
            .collect()
    }
}

impl State {
    fn answer(&mut self, call: &Call) -> Response<String> {
        match &mut self.dies_after {
            Some(0) => return unavailable(),
            Some(left) => *left -= 1,
            None => {}
        }
        if self
            .forbidden
            .iter()
            .any(|prefix| call.path.starts_with(prefix))
        {
            return status(403, "Forbidden", &json!({}));
        }
        if call.method == Method::GET && self.broken.contains(&call.path) {
            return unavailable();
        }
        let write = (call.method.to_string(), call.path.clone());
        if let Some(times @ 1..) = self.refused.get_mut(&write) {
            *times -= 1;
            self.objects.extend(self.after_refusal.take());
            return status(403, "exceeded quota", &json!({}));
        }
        let answer = self.carry_out(call);
        // The last request before the end is carried out, and its answer is lost.
        if self.dies_after == Some(0) {
            unavailable()
        } else {
            answer
        }
    }

    fn carry_out(&mut self, call: &Call) -> Response<String> {
        if let Some(found) = discovery(&call.path) {
            return answer(200, found);
        }
        if call.method != Method::GET {
            let write = (
                call.method.clone(),
                call.path.clone(),
                call.query.clone(),
                call.body.clone(),
            );
            self.writes.push(write);
        }
        let kind = call
            .headers
            .get("content-type")
            .and_then(|value| value.to_str().ok());
        match (call.method.as_str(), kind) {
            ("GET", _) => self.get(&call.path),
            ("POST", _) => self.create(call),
            ("PATCH", Some("application/apply-patch+yaml")) => self.apply(call),
            ("PATCH", _) => self.merge(call),
            ("DELETE", _) => self.delete(call),
            _ => status(405, "MethodNotAllowed", &json!({})),
        }
    }

    fn get(&self, path: &str) -> Response<String> {
        let collection = [
            "pods",
            "servicecidrs",
            "virtualclusters",
            "secrets",
            "configmaps",
        ];
        if !collection
            .iter()
            .any(|plural| path.ends_with(&format!("/{plural}")))
        {
            return match self.objects.get(path) {
                Some(found) => answer(200, found),
                None => status(404, "NotFound", &json!({})),
            };
        }
        let items: Vec<Value> = if path.ends_with("/servicecidrs") {
            vec![
                json!({ "metadata": { "name": "kubernetes" }, "spec": { "cidrs": ["10.96.0.0/20"] } }),
            ]
        } else {
            let prefix = format!("{path}/");
            let inside = self
                .objects
                .iter()
                .filter(|(key, _)| key.starts_with(&prefix));
            inside.map(|(_, value)| value.clone()).collect()
        };
        answer(
            200,
            json!({ "metadata": { "resourceVersion": "1" }, "items": items }),
        )
    }

    fn create(&mut self, call: &Call) -> Response<String> {
        if call.path.ends_with("/events") {
            return answer(201, &call.body);
        }
        let path = format!(
            "{}/{}",
            call.path,
            call.body["metadata"]["name"].as_str().unwrap()
        );
        if self.objects.contains_key(&path) {
            return status(409, "AlreadyExists", &json!({}));
        }
        self.put(path, call.body.clone())
    }

    fn apply(&mut self, call: &Call) -> Response<String> {
        if let Some(path) = call.path.strip_suffix("/status") {
            let Some(found) = self.objects.get_mut(path) else {
                return status(404, "NotFound", &json!({}));
            };
            // Sync's condition stays, as with server-side apply.
            let sync = found["status"]["conditions"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let sync = sync.into_iter().filter(|said| said["type"] == "SyncReady");
            found["status"] = call.body["status"].clone();
            if let Some(conditions) = found["status"]["conditions"].as_array_mut() {
                conditions.retain(|said| said["type"] != "SyncReady");
                conditions.extend(sync);
            }
            return answer(200, found);
        }
        let wanted = &call.body["metadata"]["uid"];
        let address = call.body["spec"]["clusterIP"].as_str().unwrap_or_default();
        match self.objects.get(&call.path) {
            None if !wanted.is_null() => status(409, "Conflict", &json!({})),
            Some(found) if !wanted.is_null() && found["metadata"]["uid"] != *wanted => {
                status(409, "Conflict", &json!({}))
            }
            None if self.taken.contains(address) => {
                let causes =
                    json!([{ "field": "spec.clusterIPs", "message": "already allocated" }]);
                status(422, "Invalid", &json!({ "causes": causes }))
            }
            found => {
                let mut body = call.body.clone();
                if let Some(found) = found {
                    body["metadata"]["uid"] = found["metadata"]["uid"].clone();
                }
                if body["kind"] == "StatefulSet" || body["kind"] == "Deployment" {
                    body["status"] = json!({ "readyReplicas": i32::from(!self.stalled) });
                }
                if body["kind"] == "Service" && body["spec"]["clusterIP"].is_null() {
                    body["spec"]["clusterIP"] = "10.96.0.99".into();
                }
                self.put(call.path.clone(), body)
            }
        }
    }

    fn merge(&mut self, call: &Call) -> Response<String> {
        let Some(found) = self.objects.get_mut(&call.path) else {
            return status(404, "NotFound", &json!({}));
        };
        for key in ["uid", "resourceVersion"] {
            let wanted = &call.body["metadata"][key];
            if !wanted.is_null() && found["metadata"][key] != *wanted {
                return status(409, "Conflict", &json!({}));
            }
        }
        merge(found, &call.body);
        let object = found.clone();
        let finalizers = object["metadata"]["finalizers"]
            .as_array()
            .map_or(0, Vec::len);
        if finalizers == 0 && !object["metadata"]["deletionTimestamp"].is_null() {
            self.objects.remove(&call.path);
            self.collect(&object["metadata"]["uid"]);
            return answer(200, object);
        }
        self.put(call.path.clone(), object)
    }

    fn delete(&mut self, call: &Call) -> Response<String> {
        let Some(found) = self.objects.get_mut(&call.path) else {
            return status(404, "NotFound", &json!({}));
        };
        let wanted = &call.body["preconditions"]["uid"];
        if found["metadata"]["uid"] != *wanted {
            return status(409, "Conflict", &json!({}));
        }
        if call.path == NAMESPACE {
            found["metadata"]["deletionTimestamp"] = "2026-06-01T00:00:00Z".into();
            return answer(200, found);
        }
        let gone = self.objects.remove(&call.path);
        answer(200, gone)
    }

    /// What the garbage and namespace controllers do once the cluster is gone.
    fn collect(&mut self, owner: &Value) {
        let terminating = self
            .objects
            .get(NAMESPACE)
            .is_some_and(|namespace| !namespace["metadata"]["deletionTimestamp"].is_null());
        self.objects.retain(|path, object| {
            let owned = object["metadata"]["ownerReferences"][0]["uid"] == *owner;
            let taken_along = terminating && path.contains("/namespaces/team-a/");
            !owned && !taken_along
        });
    }

    fn put(&mut self, path: String, mut object: Value) -> Response<String> {
        self.version += 1;
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = format!("uid-{}", self.version).into();
        }
        object["metadata"]["resourceVersion"] = format!("{}", self.version + 1).into();
        object["metadata"]["creationTimestamp"] = "2026-06-01T00:00:00Z".into();
        self.objects.insert(path, object.clone());
        answer(200, object)
    }
}

fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}

/// Kinds that the survey of the namespace looks at.
fn discovery(path: &str) -> Option<Value> {
    match path {
        "/api" => Some(
            json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [] }),
        ),
        "/apis" => Some(json!({ "kind": "APIGroupList", "groups": [] })),
        "/api/v1" => {
            let kind = |name: &str, kind: &str| json!({ "name": name, "singularName": "", "namespaced": true, "kind": kind, "verbs": ["list"] });
            let resources = [
                kind("pods", "Pod"),
                kind("configmaps", "ConfigMap"),
                kind("secrets", "Secret"),
            ];
            Some(json!({ "kind": "APIResourceList", "groupVersion": "v1", "resources": resources }))
        }
        _ => None,
    }
}

fn unavailable() -> Response<String> {
    status(503, "ServiceUnavailable", &json!({}))
}

fn status(code: u16, reason: &str, details: &Value) -> Response<String> {
    answer(
        code,
        json!({ "kind": "Status", "status": "Failure", "code": code, "reason": reason,
                "message": reason, "details": details }),
    )
}
