//! Writes.

use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Answer, Call, Id, Place, Role, Store, Written};

/// Collections of which each object has a status of its own, which no other write touches.
const WITH_STATUS: &[&str] = &[
    "/api/v1/pods",
    "/api/v1/services",
    "/api/v1/nodes",
    "/api/v1/persistentvolumeclaims",
    "/apis/vcluster.dev/v1alpha1/virtualclusters",
];
const PODS: &str = "/api/v1/pods";

impl Store {
    /// Answers a request; tells also what was written.
    pub(in crate::simulation) fn handle(
        &mut self,
        call: &Call,
        now: Timestamp,
    ) -> (Answer, Option<Written>) {
        let Some(place) = Place::of(&call.path) else {
            let ready = call.path == "/readyz";
            let answer = if ready {
                Answer::success(200)
            } else {
                Answer::status(404, "NotFound")
            };
            return (answer, None);
        };
        match call.method {
            Method::GET => (self.read(call, &place), None),
            Method::POST if place.subresource == "token" => (token(now), None),
            Method::POST => self.create(&place, &call.body, now),
            Method::PUT => self.replace(&place, &call.body, now),
            Method::PATCH => self.patch(&place, &call.body, now),
            Method::DELETE => self.delete(&place, &call.body, now),
            _ => (Answer::status(405, "MethodNotAllowed"), None),
        }
    }

    fn done(
        &mut self,
        code: u16,
        method: &'static str,
        place: &Place,
        object: Option<Value>,
        now: Timestamp,
    ) -> (Answer, Option<Written>) {
        let before = self.objects.get(&place.id).cloned();
        let after = self.commit(&place.id, object, now);
        let answer = match &after {
            Some(object) => Answer::new(code, object),
            None => Answer::success(code),
        };
        let written = Written {
            id: place.id.clone(),
            method,
            before,
            after,
            meant: None,
            is_late: false,
        };
        (answer, Some(written))
    }

    fn create(&mut self, place: &Place, body: &Value, now: Timestamp) -> (Answer, Option<Written>) {
        if place.subresource == "binding" {
            return self.bind(place, body, now);
        }
        let text = |field: &str| body["metadata"][field].as_str().unwrap_or_default();
        let mut name = text("name").to_owned();
        if name.is_empty() {
            name = format!("{}{}", text("generateName"), self.version);
        }
        let id = Id::new(&place.id.collection, &place.id.namespace, &name);
        let namespace = Id::new("/api/v1/namespaces", "", &id.namespace);
        if !id.namespace.is_empty() && !self.objects.contains_key(&namespace) {
            return (Answer::status(404, "NotFound"), None);
        }
        if self.objects.contains_key(&id) {
            return (Answer::status(409, "AlreadyExists"), None);
        }
        let mut object = body.clone();
        let is_range = id.collection.ends_with("/servicecidrs");
        if self.role == Role::Virtual && is_range {
            object["status"] = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        }
        if id.collection == PODS {
            object["status"] = json!({"phase": "Pending"});
        }
        let place = Place {
            id,
            subresource: String::new(),
        };
        self.done(201, "POST", &place, Some(object), now)
    }

    fn bind(&mut self, place: &Place, body: &Value, now: Timestamp) -> (Answer, Option<Written>) {
        let Some(object) = self.objects.get(&place.id) else {
            return (Answer::status(404, "NotFound"), None);
        };
        let mut object = Value::clone(object);
        let uid = body.pointer("/metadata/uid");
        let is_another = uid.is_some_and(|uid| object["metadata"]["uid"] != *uid);
        if is_another || !object["spec"]["nodeName"].is_null() {
            return (Answer::status(409, "Conflict"), None);
        }
        object["spec"]["nodeName"] = body["target"]["name"].clone();
        let (_, written) = self.done(201, "POST", place, Some(object), now);
        (Answer::success(201), written)
    }

    fn replace(
        &mut self,
        place: &Place,
        body: &Value,
        now: Timestamp,
    ) -> (Answer, Option<Written>) {
        let Some(found) = self.objects.get(&place.id) else {
            return (Answer::status(404, "NotFound"), None);
        };
        if body["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"] {
            return (Answer::status(409, "Conflict"), None);
        }
        self.done(200, "PUT", place, Some(body.clone()), now)
    }

    fn patch(&mut self, place: &Place, body: &Value, now: Timestamp) -> (Answer, Option<Written>) {
        let Some(found) = self.objects.get(&place.id).cloned() else {
            return (Answer::status(404, "NotFound"), None);
        };
        let differs = |at: &str| {
            body.pointer(at)
                .is_some_and(|wanted| found.pointer(at) != Some(wanted))
        };
        if differs("/metadata/uid") {
            // As a change of an immutable field, which is what a real one says.
            let cause = json!({"reason": "FieldValueInvalid", "field": "metadata.uid"});
            let details = json!({"causes": [cause]});
            return (Answer::because(422, "Invalid", &details), None);
        }
        if differs("/metadata/resourceVersion") {
            return (Answer::status(409, "Conflict"), None);
        }
        let mut object = Value::clone(&found);
        // Also for strategic patches: lists are replaced.
        json_patch::merge(&mut object, body);
        if place.id.collection.ends_with("/virtualclusters") {
            keep_conditions(&mut object, &found);
        }
        if WITH_STATUS.contains(&place.id.collection.as_str()) {
            if place.subresource == "status" {
                let status = object["status"].take();
                let metadata = object["metadata"].take();
                object = Value::clone(&found);
                object["metadata"] = metadata;
                object["status"] = status;
            } else {
                match (found.get("status"), object.as_object_mut()) {
                    (Some(status), Some(object)) => {
                        drop(object.insert("status".to_owned(), status.clone()));
                    }
                    (None, Some(object)) => drop(object.remove("status")),
                    (_, None) => {}
                }
            }
        }
        if has_ended(&object) {
            return self.done(200, "PATCH", place, None, now);
        }
        self.done(200, "PATCH", place, Some(object), now)
    }

    fn delete(&mut self, place: &Place, body: &Value, now: Timestamp) -> (Answer, Option<Written>) {
        let Some(found) = self.objects.get(&place.id).cloned() else {
            return (Answer::status(404, "NotFound"), None);
        };
        let uid = body.pointer("/preconditions/uid");
        if uid.is_some_and(|uid| found["metadata"]["uid"] != *uid) {
            return (Answer::status(409, "Conflict"), None);
        }
        let after = deleted(&place.id, &found, body.get("gracePeriodSeconds"), now);
        self.done(200, "DELETE", place, after, now)
    }
}

/// What is left of an object after a delete; nothing if it is gone at once.
pub(in crate::simulation) fn deleted(
    id: &Id,
    found: &Value,
    grace: Option<&Value>,
    now: Timestamp,
) -> Option<Value> {
    let mut object = found.clone();
    let is_kept = found["metadata"]["finalizers"]
        .as_array()
        .is_some_and(|all| !all.is_empty());
    let phase = found["status"]["phase"].as_str();
    let runs =
        !found["spec"]["nodeName"].is_null() && !matches!(phase, Some("Succeeded" | "Failed"));
    let wanted = match (id.collection == PODS, runs) {
        (true, true) => {
            let own = found["spec"]["terminationGracePeriodSeconds"]
                .as_i64()
                .unwrap_or(30);
            grace.and_then(Value::as_i64).unwrap_or(own)
        }
        (true, false) | (false, _) => 0,
    };
    if wanted == 0 && !is_kept {
        return None;
    }
    let earlier = found["metadata"]["deletionGracePeriodSeconds"].as_i64();
    if earlier.is_some_and(|earlier| earlier <= wanted) {
        return Some(object);
    }
    let end = now + std::time::Duration::from_secs(wanted.unsigned_abs());
    object["metadata"]["deletionTimestamp"] = crate::object::time(end).into();
    object["metadata"]["deletionGracePeriodSeconds"] = wanted.into();
    Some(object)
}

/// Whether nothing keeps an object that is being deleted.
fn has_ended(object: &Value) -> bool {
    let metadata = &object["metadata"];
    metadata["deletionTimestamp"].is_string()
        && metadata["deletionGracePeriodSeconds"] == 0
        && metadata["finalizers"].as_array().is_none_or(Vec::is_empty)
}

fn token(now: Timestamp) -> Answer {
    let expires = crate::object::time(now + std::time::Duration::from_hours(1));
    Answer::new(
        201,
        &json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "metadata": {}, "spec": {"audiences": []},
            "status": {"token": "t", "expirationTimestamp": expires},
        }),
    )
}

/// Conditions are a map by type: whoever applies some leaves the others.
fn keep_conditions(object: &mut Value, before: &Value) {
    let before = before["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let Some(now) = object["status"]["conditions"].as_array_mut() else {
        return;
    };
    for condition in before {
        if !now.iter().any(|other| other["type"] == condition["type"]) {
            now.push(condition);
        }
    }
    now.sort_by_key(|condition| condition["type"].to_string());
}
