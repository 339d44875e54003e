//! A tiny host API: namespaces, virtual clusters, access reviews.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use http::{Method, Response};
use serde_json::{Value, json};
use vcluster_chassis::testing::{ApiServer, Call, json as answer};

/// What a user of that name may do is denied.
pub(super) const MALLORY: &str = "mallory";

#[derive(Clone, Default)]
pub(super) struct Host(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    version: u64,
    /// Verbs that are denied to everybody, as "verb resource".
    denied: Vec<String>,
    reviews: Vec<String>,
    /// Answers to watches, in order; the last one stays.
    watches: Vec<String>,
    /// Versions from which watches were asked for.
    watched: Vec<String>,
}

impl Host {
    pub(super) fn server(&self) -> ApiServer {
        let host = self.clone();
        ApiServer::new(move |call| host.state().answer(call))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(super) fn namespace(&self, name: &str, labels: &Value) {
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": name, "uid": format!("ns-{name}"), "labels": labels },
        });
        self.state()
            .objects
            .insert(format!("/api/v1/namespaces/{name}"), namespace);
    }

    pub(super) fn get(&self, path: &str) -> Option<Value> {
        self.state().objects.get(path).cloned()
    }

    pub(super) fn deny(&self, what: &str) {
        self.state().denied.push(what.to_owned());
    }

    pub(super) fn reviews(&self) -> Vec<String> {
        self.state().reviews.clone()
    }

    pub(super) fn watches(&self, answers: &[&str]) {
        self.state().watches = answers
            .iter()
            .rev()
            .map(|text| (*text).to_owned())
            .collect();
    }

    pub(super) fn watched(&self) -> Vec<String> {
        self.state().watched.clone()
    }
}

impl State {
    fn answer(&mut self, call: &Call) -> Response<String> {
        if call.path.ends_with("/subjectaccessreviews") {
            return self.review(&call.body);
        }
        if call.query.contains("watch=true") {
            return self.watch(&call.query);
        }
        let name = call.path.rsplit('/').next().unwrap_or_default();
        let many = matches!(name, "virtualclusters" | "namespaces");
        match call.method {
            Method::GET if many => self.list(&call.path, &call.query),
            Method::GET => match self.objects.get(&call.path) {
                Some(found) => answer(200, found),
                None => status(404, "NotFound"),
            },
            Method::POST => self.create(call),
            Method::PUT => self.replace(call),
            Method::DELETE => self.delete(call),
            _ => status(405, "MethodNotAllowed"),
        }
    }

    fn review(&mut self, body: &Value) -> Response<String> {
        let spec = &body["spec"];
        let attributes = &spec["resourceAttributes"];
        let text = |key: &str| attributes[key].as_str().unwrap_or_default().to_owned();
        let what = format!("{} {}", text("verb"), text("resource"));
        self.reviews
            .push(format!("{what} {}/{}", text("namespace"), text("name")));
        let allowed = spec["user"] != MALLORY && !self.denied.contains(&what);
        answer(
            201,
            json!({ "metadata": {}, "spec": spec, "status": { "allowed": allowed } }),
        )
    }

    fn list(&self, path: &str, query: &str) -> Response<String> {
        let limit = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("limit="));
        let limit: usize = limit
            .and_then(|text| text.parse().ok())
            .unwrap_or(usize::MAX);
        let from = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("continue="));
        if from == Some("expired") {
            return status(410, "Expired");
        }
        let from: usize = from.and_then(|text| text.parse().ok()).unwrap_or(0);
        let all = path == "/apis/vcluster.dev/v1alpha1/virtualclusters";
        let inside = |key: &&String| {
            if all {
                key.contains("/virtualclusters/")
            } else {
                key.starts_with(&format!("{path}/"))
            }
        };
        let items: Vec<&Value> = self
            .objects
            .iter()
            .filter(|(key, _)| inside(key))
            .map(|(_, value)| value)
            .collect();
        let page: Vec<_> = items.iter().skip(from).take(limit).collect();
        let next = from + page.len();
        let token = if next < items.len() {
            next.to_string()
        } else {
            String::new()
        };
        let metadata = json!({ "resourceVersion": self.version.to_string(), "continue": token });
        answer(200, json!({ "metadata": metadata, "items": page }))
    }

    fn create(&mut self, call: &Call) -> Response<String> {
        let mut object = call.body.clone();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let path = format!("{}/{name}", call.path);
        if self.objects.contains_key(&path) {
            return status(409, "AlreadyExists");
        }
        self.version += 1;
        object["metadata"]["uid"] = format!("uid-{}", self.version).into();
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        object["metadata"]["creationTimestamp"] = "2026-06-01T00:00:00Z".into();
        if !call.query.contains("dryRun=All") {
            self.objects.insert(path, object.clone());
        }
        answer(201, object)
    }

    fn replace(&mut self, call: &Call) -> Response<String> {
        let Some(found) = self.objects.get(&call.path) else {
            return status(404, "NotFound");
        };
        if found["metadata"]["resourceVersion"] != call.body["metadata"]["resourceVersion"] {
            return status(409, "Conflict");
        }
        self.version += 1;
        let mut object = call.body.clone();
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        if !call.query.contains("dryRun=All") {
            self.objects.insert(call.path.clone(), object.clone());
        }
        answer(200, object)
    }

    fn delete(&mut self, call: &Call) -> Response<String> {
        let Some(found) = self.objects.get(&call.path) else {
            return status(404, "NotFound");
        };
        for key in ["uid", "resourceVersion"] {
            let wanted = &call.body["preconditions"][key];
            if !wanted.is_null() && *wanted != found["metadata"][key] {
                return status(409, "Conflict");
            }
        }
        let mut last = self.objects.remove(&call.path).unwrap();
        last["metadata"]["deletionTimestamp"] = "2026-06-01T00:00:01Z".into();
        answer(200, last)
    }

    fn watch(&mut self, query: &str) -> Response<String> {
        let from = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("resourceVersion="));
        self.watched.push(from.unwrap_or_default().to_owned());
        let text = match self.watches.as_slice() {
            [_, _, ..] => self.watches.pop(),
            _ => self.watches.last().cloned(),
        };
        Response::new(text.unwrap_or_default())
    }
}

fn status(code: u16, reason: &str) -> Response<String> {
    answer(
        code,
        json!({ "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason }),
    )
}
