//! An API server in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Response;
use kube::Client;
use serde_json::{Value, json};
use vcluster_chassis::testing::{ApiServer, Call, json as answer};

use crate::object::{Kind, Object};

/// Answers a request before the store does.
type Script = Box<dyn Fn(&Call) -> Option<Response<String>> + Send>;

/// Changes what is written before it is stored.
type Admission = Box<dyn Fn(&mut Value) + Send>;

/// Objects by path, and the requests that were made.
#[derive(Clone)]
pub(crate) struct Store {
    inner: Arc<Mutex<Inner>>,
}

/// A copy of a store.
pub(crate) struct Copy {
    version: u64,
    objects: BTreeMap<String, Value>,
}

struct Inner {
    prefix: &'static str,
    version: u64,
    objects: BTreeMap<String, Value>,
    calls: Vec<String>,
    bodies: Vec<Value>,
    script: Option<Script>,
    admission: Option<Admission>,
}

impl Store {
    /// Makes it empty; its UIDs begin with `prefix`.
    pub(crate) fn new(prefix: &'static str) -> Self {
        let inner = Inner {
            prefix,
            version: 100,
            objects: BTreeMap::new(),
            calls: Vec::new(),
            bodies: Vec::new(),
            script: None,
            admission: None,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// A client of it.
    pub(crate) fn client(&self) -> Client {
        let store = self.clone();
        ApiServer::new(move |call| store.handle(call)).client()
    }

    /// Has requests answered by `script` where it gives an answer.
    pub(crate) fn script(
        &self,
        script: impl Fn(&Call) -> Option<Response<String>> + Send + 'static,
    ) {
        self.locked().script = Some(Box::new(script));
    }

    /// Has what requests write changed as a mutating webhook does.
    pub(crate) fn admit(&self, admission: impl Fn(&mut Value) + Send + 'static) {
        self.locked().admission = Some(Box::new(admission));
    }

    /// Requests since the last call, as `METHOD PATH`.
    pub(crate) fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.locked().calls)
    }

    /// Bodies of all requests so far.
    pub(crate) fn bodies(&self) -> Vec<Value> {
        self.locked().bodies.clone()
    }

    /// Stores an object.
    pub(crate) fn put(&self, kind: Kind, object: Value) -> Object {
        let mut inner = self.locked();
        let text = |field: &str| {
            let value = object
                .pointer("/metadata")
                .and_then(|metadata| metadata.get(field));
            value.and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let path = path(kind, &text("namespace"), &text("name"));
        Object::new(inner.store(&path, object)).of_kind(kind)
    }

    /// An object.
    pub(crate) fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<Object> {
        let object = self
            .locked()
            .objects
            .get(&path(kind, namespace, name))
            .cloned();
        object.map(|object| Object::new(object).of_kind(kind))
    }

    /// Changes an object; its version rises.
    pub(crate) fn change(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        change: impl FnOnce(&mut Value),
    ) -> Object {
        let mut inner = self.locked();
        let path = path(kind, namespace, name);
        let mut object = inner
            .objects
            .get(&path)
            .cloned()
            .expect("the object is there");
        change(&mut object);
        Object::new(inner.store(&path, object)).of_kind(kind)
    }

    /// Removes an object without a request.
    pub(crate) fn lose(&self, kind: Kind, namespace: &str, name: &str) -> Object {
        let object = self.locked().objects.remove(&path(kind, namespace, name));
        Object::new(object.expect("the object is there")).of_kind(kind)
    }

    /// What it holds, and where its versions stand.
    pub(crate) fn copy(&self) -> Copy {
        let inner = self.locked();
        Copy {
            version: inner.version,
            objects: inner.objects.clone(),
        }
    }

    /// Puts an older copy back; versions count on from there, and have counted on by so many already.
    pub(crate) fn put_back(&self, copy: &Copy, grown: u64) {
        let mut inner = self.locked();
        inner.version = copy.version + grown;
        inner.objects.clone_from(&copy.objects);
    }

    fn handle(&self, call: &Call) -> Response<String> {
        let mut inner = self.locked();
        inner.calls.push(format!("{} {}", call.method, call.path));
        inner.bodies.push(call.body.clone());
        if let Some(answer) = inner.script.as_ref().and_then(|script| script(call)) {
            return answer;
        }
        match call.method.as_str() {
            "GET" => inner.read(&call.path),
            "POST" => inner.create(&call.path, &call.body),
            "PATCH" => inner.patch(&call.path, &call.body),
            "DELETE" => inner.delete(&call.path, &call.body),
            other => panic!("unexpected {other}"),
        }
    }

    fn locked(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn store(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        let metadata = &mut object["metadata"];
        if metadata["uid"].is_null() {
            metadata["uid"] = format!("{}-{}", self.prefix, self.version).into();
        }
        metadata["resourceVersion"] = self.version.to_string().into();
        self.objects.insert(path.to_owned(), object.clone());
        object
    }

    fn admitted(&self, object: &mut Value) {
        if let Some(admission) = &self.admission {
            admission(object);
        }
    }

    fn read(&self, path: &str) -> Response<String> {
        if let Some(object) = self.objects.get(path) {
            return answer(200, object);
        }
        let last = path.rsplit('/').next().unwrap_or_default();
        if Kind::all().any(|kind| kind.plural() == last) {
            let within = format!("{path}/");
            let items: Vec<_> = self
                .objects
                .iter()
                .filter(|(path, _)| {
                    everywhere(path).starts_with(&within) || path.starts_with(&within)
                })
                .map(|(_, object)| object)
                .collect();
            return answer(
                200,
                json!({"metadata": {"resourceVersion": self.version.to_string()}, "items": items}),
            );
        }
        status(404, "NotFound")
    }

    fn create(&mut self, path: &str, body: &Value) -> Response<String> {
        if let Some(pod) = path.strip_suffix("/binding") {
            let mut object = self.objects.get(pod).cloned().unwrap_or_default();
            object["spec"]["nodeName"] = body["target"]["name"].clone();
            self.store(pod, object);
            return answer(201, json!({"kind": "Status", "status": "Success"}));
        }
        let name = body
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let place = format!("{path}/{name}");
        if self.objects.contains_key(&place) {
            return status(409, "AlreadyExists");
        }
        let mut object = body.clone();
        self.admitted(&mut object);
        let stored = self.store(&place, object);
        answer(201, stored)
    }

    fn patch(&mut self, path: &str, body: &Value) -> Response<String> {
        let place = ["/status", "/ephemeralcontainers", "/resize"]
            .iter()
            .find_map(|subresource| path.strip_suffix(subresource))
            .unwrap_or(path);
        let Some(mut object) = self.objects.get(place).cloned() else {
            return status(404, "NotFound");
        };
        let uid = body.pointer("/metadata/uid");
        if uid.is_some_and(|uid| object.pointer("/metadata/uid") != Some(uid)) {
            return status(409, "Conflict");
        }
        // Also for strategic patches: lists are replaced.
        json_patch::merge(&mut object, body);
        self.admitted(&mut object);
        let stored = self.store(place, object);
        answer(200, stored)
    }

    fn delete(&mut self, path: &str, body: &Value) -> Response<String> {
        let Some(mut object) = self.objects.get(path).cloned() else {
            return status(404, "NotFound");
        };
        let uid = body.pointer("/preconditions/uid");
        assert!(uid.is_some(), "a delete without a UID: {path}");
        if object.pointer("/metadata/uid") != uid {
            return status(409, "Conflict");
        }
        let seconds = body.get("gracePeriodSeconds").and_then(Value::as_i64);
        let graceful = path.contains("/pods/") && seconds != Some(0);
        if !graceful {
            self.objects.remove(path);
            return answer(200, json!({"kind": "Status", "status": "Success"}));
        }
        object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:30Z".into();
        object["metadata"]["deletionGracePeriodSeconds"] = seconds.unwrap_or(30).into();
        let stored = self.store(path, object);
        answer(200, stored)
    }
}

/// The path of an object as if it were in no namespace, as a list of all namespaces has it.
fn everywhere(path: &str) -> String {
    match path.split_once("/namespaces/") {
        Some((root, rest)) => match rest.split_once('/') {
            Some((_namespace, place)) => format!("{root}/{place}"),
            None => path.to_owned(),
        },
        None => path.to_owned(),
    }
}

fn path(kind: Kind, namespace: &str, name: &str) -> String {
    let api = kind.description().api;
    let root = if api.group.is_empty() {
        "/api"
    } else {
        "/apis"
    };
    let (version, plural) = (api.version(), api.plural);
    if namespace.is_empty() {
        format!("{root}/{version}/{plural}/{name}")
    } else {
        format!("{root}/{version}/namespaces/{namespace}/{plural}/{name}")
    }
}

/// What an API server says of a request that it does not do.
pub(crate) fn status(code: u16, reason: &str) -> Response<String> {
    answer(
        code,
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "code": code, "reason": reason, "message": format!("no: {reason}"),
        }),
    )
}
