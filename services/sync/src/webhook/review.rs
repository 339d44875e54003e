//! AdmissionReviews (`admission.k8s.io/v1`): read and answered. No I/O.

use k8s_openapi::ByteString;
use serde_json::{Value, json};
use vcluster_translate::service::admission;

use crate::directory;
use crate::object::Name;

/// Why a review is not understood.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be read.
    #[error("the review cannot be read: {0}")]
    Body(String),
    /// It is too large.
    #[error("the Service is too large: as it is and as it was it may have {0} bytes")]
    Large(usize),
    /// It is not JSON.
    #[error("the review is not JSON")]
    Json(#[from] serde_json::Error),
    /// It lacks a part.
    #[error("the review lacks {0}")]
    Missing(&'static str),
}

/// Why a Service is not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// HTTP status.
    pub code: u16,
    /// Reason as Kubernetes' clients know it.
    pub reason: String,
    /// What is wrong and what to do.
    pub message: String,
    /// The fields at fault (`StatusCause`), as the host names them.
    pub causes: Vec<Value>,
}

/// What the API server is told: changes (a JSON patch), or a refusal.
pub(super) type Answer = Result<Vec<Value>, Denied>;

/// A Service that a virtual API server is about to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    uid: String,
    is_of_services: bool,
    object: Value,
    old: Option<Value>,
    dry_run: bool,
    generate_name: Option<String>,
}

impl Review {
    /// Reads an AdmissionReview.
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        let mut review: Value = serde_json::from_slice(body)?;
        let mut take = |key: &str| {
            let part = review.pointer_mut("/request")?.get_mut(key)?.take();
            part.is_object().then_some(part)
        };
        let (object, old) = (take("object"), take("oldObject"));
        let request = review.get("request").ok_or(Error::Missing("request"))?;
        let text = |pointer: &str| request.pointer(pointer).and_then(Value::as_str);
        let uid = text("/uid").ok_or(Error::Missing("request.uid"))?;
        let is_of_services = text("/resource/group").unwrap_or_default().is_empty()
            && text("/resource/resource") == Some("services")
            && text("/subResource").unwrap_or_default().is_empty()
            && matches!(text("/operation"), Some("CREATE" | "UPDATE"));
        let old = old.filter(|_| text("/operation") == Some("UPDATE"));
        let mut object = object.unwrap_or_default();
        let metadata = |object: &Value, key: &str| {
            let text = object
                .pointer("/metadata")
                .and_then(|all| all.get(key)?.as_str());
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let mut generate_name = None;
        if is_of_services {
            let namespace = text("/namespace").ok_or(Error::Missing("request.namespace"))?;
            if !object.get("metadata").is_some_and(Value::is_object) {
                return Err(Error::Missing("request.object.metadata"));
            }
            object["metadata"]["namespace"] = namespace.into();
            let stored = old.as_ref().and_then(|old| metadata(old, "uid"));
            let stored = stored.as_deref().unwrap_or(admission::Review::UID);
            object["metadata"]["uid"] = stored.into();
            if metadata(&object, "name").is_none() {
                generate_name = metadata(&object, "generateName");
            }
        }
        Ok(Self {
            uid: uid.to_owned(),
            is_of_services,
            object,
            old,
            dry_run: request.get("dryRun") == Some(&Value::Bool(true)),
            generate_name,
        })
    }

    /// Whether it is about a Service to be made or changed, as everything is that should come here.
    pub fn is_of_services(&self) -> bool {
        self.is_of_services
    }

    /// How many ports it has.
    pub fn ports(&self) -> usize {
        let ports = self.object.pointer("/spec/ports").and_then(Value::as_array);
        ports.map_or(0, Vec::len)
    }

    /// Where its name is to begin, if the API server is to choose it.
    pub fn generate_name(&self) -> Option<&str> {
        self.generate_name.as_deref()
    }

    /// The Service, called so if its name is still to be chosen.
    pub fn object(&self, chosen: Option<&str>) -> Value {
        let mut object = self.object.clone();
        if let Some(name) = chosen {
            object["metadata"]["name"] = name.into();
        }
        object
    }

    /// What is to be decided about the Service.
    pub fn of<'a>(&'a self, object: &'a Value) -> admission::Review<'a> {
        admission::Review {
            object,
            old: self.old.as_ref(),
            dry_run: self.dry_run,
        }
    }

    /// Namespace and name, for logs.
    pub fn name(&self) -> Name {
        let text = |key: &str| {
            let text = self
                .object
                .pointer("/metadata")
                .and_then(|all| all.get(key)?.as_str());
            text.unwrap_or_default()
        };
        Name::new(text("namespace"), text("name"))
    }

    /// The AdmissionReview that answers it.
    pub fn answer(&self, answer: Answer) -> Value {
        let mut response = json!({"uid": self.uid});
        match answer {
            Ok(patch) => {
                response["allowed"] = true.into();
                if !patch.is_empty() {
                    let patch = ByteString(Value::from(patch).to_string().into_bytes());
                    response["patchType"] = "JSONPatch".into();
                    response["patch"] = json!(patch);
                }
            }
            Err(denied) => {
                response["allowed"] = false.into();
                response["status"] = json!({
                    "status": "Failure",
                    "code": denied.code,
                    "reason": denied.reason,
                    "message": denied.message,
                    "details": {
                        "kind": "services",
                        "name": &*self.name().name,
                        "causes": denied.causes,
                    },
                });
            }
        }
        json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "response": response,
        })
    }
}

impl Denied {
    /// Nothing is wrong with the Service: later it may work.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }

    /// The tenant has its fill.
    pub fn too_many(message: impl Into<String>) -> Self {
        Self::new(429, "TooManyRequests", message)
    }

    /// More ports than a Service may have.
    pub fn too_many_ports(ports: usize, most: usize) -> Self {
        let message = format!("must have at most {most} ports, has {ports}");
        let cause =
            json!({"reason": "FieldValueTooMany", "field": "spec.ports", "message": message});
        Self {
            causes: vec![cause],
            ..Self::new(422, "Invalid", format!("spec.ports: {message}"))
        }
    }

    /// Another object stands in the way.
    pub fn exists(message: impl Into<String>) -> Self {
        Self::new(409, "AlreadyExists", message)
    }

    pub(super) fn new(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.to_owned(),
            message: message.into(),
            causes: Vec::new(),
        }
    }
}

impl From<vcluster_translate::Refusal> for Denied {
    fn from(refusal: vcluster_translate::Refusal) -> Self {
        let cause = json!({
            "reason": "FieldValueForbidden",
            "field": refusal.field,
            "message": refusal.message,
        });
        Self {
            causes: vec![cause],
            ..Self::new(403, "Forbidden", refusal.to_string())
        }
    }
}

impl From<directory::Error> for Denied {
    fn from(error: directory::Error) -> Self {
        let message = crate::apply::with_causes(&error);
        match error {
            directory::Error::Unknown { .. }
            | directory::Error::Deleting { .. }
            | directory::Error::Name(_) => Self::new(403, "Forbidden", message),
            directory::Error::NotReady(_) | directory::Error::Unavailable(_) => {
                Self::unavailable(message)
            }
        }
    }
}
