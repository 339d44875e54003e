//! CustomResourceDefinitions: what a host's says of a kind, and its copy inside.
//!
//! They are large, so that of each there is one in memory for all tenants; a copy is made when it is compared or sent.
//!
//! The copy serves the one version that the rule names, so that no conversion is needed and no webhook of the host is
//! called from inside. Versions of earlier rules, in which objects may be stored, stay in it and are not served: an API
//! server takes none away that `status.storedVersions` names. A definition that the tenant installed himself is left
//! alone, whatever it says. Nothing here ever deletes one: that would delete every object of the tenant's.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use vcluster_resources::custom_resource::{Direction, Rule};
use vcluster_resources::label::{CLUSTER_UID, MANAGED, MANAGED_VALUE};

use super::Identity;
use crate::{
    Kind, Patch,
    json::{array, is_true, text},
    kind::Scope,
    patch::Format,
};

/// Annotation that definitions of groups of Kubernetes' own must bear.
const APPROVED: &str = "api-approved.kubernetes.io";
/// What of a version the copy has.
const VERSION: [&str; 6] = [
    "additionalPrinterColumns",
    "deprecated",
    "deprecationWarning",
    "schema",
    "selectableFields",
    "subresources",
];

/// What a definition of the host says of the kind that a rule names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Learnt {
    /// What the kind is.
    pub identity: Identity,
    /// Whether its status is a subresource.
    pub has_status: bool,
    host: Arc<Value>,
}

/// Why a rule cannot be followed, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The host's definition lacks the version.
    #[error("the host cluster's definition does not serve version {version}: it serves {served}")]
    Version {
        /// What the rule names.
        version: String,
        /// What is served.
        served: String,
    },
    /// A tenant may write in one namespace of the host only.
    #[error(
        "objects of this kind live in no namespace: they can only be shown, with direction FromHost"
    )]
    Scope,
    /// Where are they to be shown?
    #[error(
        "the rule must name the virtual namespace in which objects of the host namespace are shown (namespace)"
    )]
    NoNamespace,
    /// It lies in none.
    #[error("objects of this kind live in no namespace: the rule must name none")]
    Namespace,
    /// It is no definition.
    #[error("the host cluster's definition cannot be read")]
    Malformed,
}

/// What the host's definition says of the kind of a rule.
///
/// # Errors
/// The rule and the definition do not fit.
pub fn learn(host: &Arc<Value>, rule: &Rule) -> Result<Learnt, Error> {
    let kind = text(host, "/spec/names/kind").ok_or(Error::Malformed)?;
    let is_namespaced = match text(host, "/spec/scope") {
        Some("Namespaced") => true,
        Some("Cluster") => false,
        Some(_) | None => return Err(Error::Malformed),
    };
    match (rule.direction, is_namespaced, &rule.namespace) {
        (Direction::ToHost, false, _) => return Err(Error::Scope),
        (Direction::FromHost, true, None) => return Err(Error::NoNamespace),
        (Direction::FromHost, false, Some(_)) => return Err(Error::Namespace),
        (Direction::ToHost, true, _)
        | (Direction::FromHost, true, Some(_))
        | (Direction::FromHost, false, None) => {}
    }
    let version = served(host, &rule.version)?;
    Ok(Learnt {
        identity: Identity {
            group: rule.group.clone(),
            version: rule.version.clone(),
            kind: kind.to_owned(),
            plural: rule.plural.clone(),
            is_namespaced,
            comes_from_host: rule.direction == Direction::FromHost,
        },
        has_status: version
            .pointer("/subresources/status")
            .is_some_and(Value::is_object),
        host: Arc::clone(host),
    })
}

/// The kind that a host's definition defines, in the version in which it is stored, as one whose objects go to the host;
/// nothing if they live in no namespace.
pub fn stored(host: &Value) -> Option<Identity> {
    let versions = array(host, "/spec/versions");
    let is_stored = |version: &&Value| is_true(version, "/storage") && is_true(version, "/served");
    let is_served = |version: &&Value| is_true(version, "/served");
    let mut all = versions.iter();
    let version = all
        .find(is_stored)
        .or_else(|| versions.iter().find(is_served))?;
    let name = |pointer| text(host, pointer).map(ToOwned::to_owned);
    (text(host, "/spec/scope") == Some("Namespaced")).then_some(Identity {
        group: name("/spec/group")?,
        version: text(version, "/name")?.to_owned(),
        kind: name("/spec/names/kind")?,
        plural: name("/spec/names/plural")?,
        is_namespaced: true,
        comes_from_host: false,
    })
}

/// What of a host's definition anybody needs, so that no more is kept, and nothing else counts as a change: not who may
/// convert its versions, whose certificate is renewed now and then.
pub fn prune(host: &Value) -> Value {
    let mut spec = host["spec"].clone();
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("conversion");
    }
    let mut metadata = json!({"name": host["metadata"]["name"]});
    let approved = host
        .pointer("/metadata/annotations")
        .and_then(|all| all.get(APPROVED));
    if let Some(approved) = approved {
        metadata["annotations"][APPROVED] = approved.clone();
    }
    json!({"metadata": metadata, "spec": spec})
}

/// What the host's definition says of a kind of the table that is [`defined`](crate::kind::Description::defined).
///
/// # Errors
/// It does not serve the version of the table.
pub fn of_kind(host: &Arc<Value>, kind: Kind) -> Result<Learnt, Error> {
    let api = kind.description().api;
    let version = served(host, api.version)?;
    Ok(Learnt {
        identity: Identity {
            group: api.group.to_owned(),
            version: api.version.to_owned(),
            kind: api.kind.to_owned(),
            plural: api.plural.to_owned(),
            is_namespaced: api.scope == Scope::Namespaced,
            comes_from_host: kind.is_mirrored(),
        },
        has_status: version
            .pointer("/subresources/status")
            .is_some_and(Value::is_object),
        host: Arc::clone(host),
    })
}

/// The version of that name, if it is served.
fn served<'a>(host: &'a Value, version: &str) -> Result<&'a Value, Error> {
    let versions = array(host, "/spec/versions");
    let served = || {
        versions
            .iter()
            .filter(|version| is_true(version, "/served"))
    };
    let named = |found: &&Value| text(found, "/name") == Some(version);
    served().find(named).ok_or_else(|| {
        let names: Vec<_> = served()
            .filter_map(|version| text(version, "/name"))
            .collect();
        Error::Version {
            version: version.to_owned(),
            served: names.join(", "),
        }
    })
}

fn copy(host: &Value, version: &Value, cluster_uid: &str) -> Value {
    let mut only = Map::from_iter([
        ("name".to_owned(), version["name"].clone()),
        ("served".to_owned(), true.into()),
        ("storage".to_owned(), true.into()),
    ]);
    for key in VERSION {
        if let Some(value) = version.get(key) {
            only.insert(key.to_owned(), value.clone());
        }
    }
    let mut annotations = json!({CLUSTER_UID: cluster_uid});
    let approved = host
        .pointer("/metadata/annotations")
        .and_then(|all| all.get(APPROVED));
    if let Some(approved) = approved {
        annotations[APPROVED] = approved.clone();
    }
    let mut spec = json!({
        "group": host["spec"]["group"],
        "names": host["spec"]["names"],
        "scope": host["spec"]["scope"],
        "versions": [only],
        "conversion": {"strategy": "None"},
    });
    if let Some(preserve) = host.pointer("/spec/preserveUnknownFields") {
        spec["preserveUnknownFields"] = preserve.clone();
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": host["metadata"]["name"],
            "labels": {MANAGED: MANAGED_VALUE},
            "annotations": annotations,
        },
        "spec": spec,
    })
}

/// The versions of a copy in which objects may be stored, but for the one that is served now: as they are, and not
/// served.
fn kept(found: &Value, served: &str) -> Vec<Value> {
    let stored = array(found, "/status/storedVersions");
    let is_kept = |version: &&Value| {
        text(version, "/name") != Some(served) && stored.contains(&version["name"])
    };
    let versions = array(found, "/spec/versions").iter().filter(is_kept);
    versions
        .map(|version| {
            let mut version = version.clone();
            version["served"] = false.into();
            version["storage"] = false.into();
            version
        })
        .collect()
}

impl Learnt {
    /// The definition inside a virtual cluster of that UID.
    pub fn copy(&self, cluster_uid: &str) -> Value {
        // It was there when this was learnt.
        let version = served(&self.host, &self.identity.version).unwrap_or(&Value::Null);
        copy(&self.host, version, cluster_uid)
    }
}

/// What is to be done about the definition inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It is as it should be, and served.
    Ready,
    /// It is as it should be; the API server has not taken it up yet.
    Wait,
    /// Create it.
    Create(Value),
    /// Change it.
    Patch(Patch),
    /// The tenant installed one himself, which serves the kind.
    Own,
    /// The tenant installed one himself, which does not.
    Unfit,
}

/// What is to be done, from what was found inside.
pub fn step(found: Option<&Value>, learnt: &Learnt, cluster_uid: &str) -> Step {
    let mut wanted = learnt.copy(cluster_uid);
    let Some(found) = found else {
        return Step::Create(wanted);
    };
    let established = is_established(found);
    let mark =
        |pointer: &str, key: &str| found.pointer(pointer).and_then(|all| all.get(key)).cloned();
    let is_copy = mark("/metadata/labels", MANAGED) == Some(MANAGED_VALUE.into())
        && mark("/metadata/annotations", CLUSTER_UID) == Some(cluster_uid.into());
    if !is_copy {
        return match (serves(found, &learnt.identity), established) {
            (true, true) => Step::Own,
            (true, false) => Step::Wait,
            (false, _) => Step::Unfit,
        };
    }
    if let Some(versions) = wanted["spec"]["versions"].as_array_mut() {
        versions.extend(kept(found, &learnt.identity.version));
    }
    if !holds(&found["spec"], &wanted["spec"]) {
        let uid = text(found, "/metadata/uid").unwrap_or_default();
        let body = json!({"spec": wanted["spec"]});
        return Step::Patch(Patch::new(None, Format::Merge, uid, body));
    }
    if established { Step::Ready } else { Step::Wait }
}

/// Whether it is served, as the API server says.
pub fn is_established(definition: &Value) -> bool {
    array(definition, "/status/conditions")
        .iter()
        .any(|condition| {
            text(condition, "/type") == Some("Established")
                && text(condition, "/status") == Some("True")
        })
}

fn serves(definition: &Value, identity: &Identity) -> bool {
    let scope = if identity.is_namespaced {
        "Namespaced"
    } else {
        "Cluster"
    };
    let versions = array(definition, "/spec/versions");
    text(definition, "/spec/names/kind") == Some(&identity.kind)
        && text(definition, "/spec/scope") == Some(scope)
        && versions.iter().any(|version| {
            text(version, "/name") == Some(&identity.version) && is_true(version, "/served")
        })
}

/// Whether `found` has every member of `wanted`, and lists alike. What an API server adds by default does not count.
fn holds(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, wanted)| found.get(key).is_some_and(|found| holds(found, wanted))),
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len()
                && found
                    .iter()
                    .zip(wanted)
                    .all(|(found, wanted)| holds(found, wanted))
        }
        (found, wanted) => found == wanted,
    }
}

#[cfg(test)]
mod tests;
