//! CSIStorageCapacities: how much room the host's drivers have left, where its administrator lets virtual clusters see it.
//!
//! They live beside their driver on the host, in whatever namespace, and inside all in one: those of a virtual cluster
//! are read only, as everything in `kube-system` that mirrors the host. Shown is what is about a class that is shown,
//! and about nodes of which at least one is.
//!
//! | field | inside |
//! |---|---|
//! | name | `NAMESPACE.NAME` of the host's; what is too long for one name is left out |
//! | `storageClassName` | the class's name inside |
//! | `nodeTopology`, `capacity`, `maximumVolumeSize` | as they are |
//! | labels, annotations | as of every mirror |

use serde_json::{Value, json};
use vcluster_resources::name::SUBDOMAIN_LIMIT;
use vcluster_resources::sync_policy::Selector;

use crate::{
    Change, Context, change,
    json::text,
    kind::{Api, Description, Inside, Outside, Scope},
    mapping::Step,
    mirror,
    plan::{Cause, Delete},
};

/// Namespace of those of a virtual cluster.
pub const NAMESPACE: &str = "kube-system";
/// What is shown as it is.
const FIELDS: [&str; 4] = [
    "nodeTopology",
    "storageClassName",
    "capacity",
    "maximumVolumeSize",
];
/// What cannot be changed.
const FROZEN: [&str; 2] = ["/nodeTopology", "/storageClassName"];

/// Its row in the table of kinds. Who shows it follows it by itself, and only where it is to be shown.
pub const KIND: Description = Description::read_only(
    Api::new(
        "storage.k8s.io",
        "v1",
        "CSIStorageCapacity",
        "csistoragecapacities",
        Scope::Namespaced,
    ),
    Inside::Nothing,
    Outside::Nothing,
);

/// Name inside of the host's object; nothing if there is no room for one.
pub fn name(host: &Value) -> Option<String> {
    let part = |pointer| text(host, pointer);
    // No namespace holds a dot, so no two objects meet.
    let name = format!(
        "{}.{}",
        part("/metadata/namespace")?,
        part("/metadata/name")?
    );
    (name.len() <= SUBDOMAIN_LIMIT).then_some(name)
}

/// Name on the host of the class that it is about.
pub fn class(host: &Value) -> Option<&str> {
    text(host, "/storageClassName")
}

/// The nodes that it is about; nothing if no node reaches the storage, or nobody knows which.
pub fn topology(host: &Value) -> Option<Selector> {
    let selector = host.get("nodeTopology").filter(|one| one.is_object())?;
    serde_json::from_value(selector.clone()).ok()
}

/// Whether it is about a node.
pub fn is_about(topology: &Selector, node: &Value) -> bool {
    let labels = node.pointer("/metadata/labels");
    topology.matches(|key| labels.and_then(|labels| labels.get(key)?.as_str()))
}

/// The object inside that shows the host's, whose class is called `class` there.
pub fn inside(host: &Value, class: &str, context: &Context) -> Option<Value> {
    let mut shown = json!({
        "apiVersion": KIND.api.version(),
        "kind": KIND.api.kind,
        "metadata": mirror::metadata(host, context),
    });
    shown["metadata"]["name"] = name(host)?.into();
    shown["metadata"]["namespace"] = NAMESPACE.into();
    for field in FIELDS {
        if let Some(value) = host.get(field).filter(|value| !value.is_null()) {
            shown[field] = value.clone();
        }
    }
    shown["storageClassName"] = class.into();
    Some(shown)
}

/// The next step about the object of a name inside, `wanted` being how it should be. Somebody else's stays as it is.
pub fn step(wanted: Option<&Value>, found: Option<&Value>, context: &Context) -> Step {
    let Some(found) = found else {
        return wanted.cloned().map_or(Step::Nothing, Step::Create);
    };
    if !mirror::is_ours(found, context) {
        return Step::Nothing;
    }
    let Some(wanted) = wanted else {
        return removal(found, Cause::HostGone);
    };
    match change::mirror(found, wanted, &FIELDS, &FROZEN) {
        Change::None => Step::Nothing,
        Change::Patch(patch) => Step::Patch(patch),
        Change::Replace => removal(found, Cause::Replace),
    }
}

fn removal(found: &Value, cause: Cause) -> Step {
    Step::Delete(Delete {
        uid: text(found, "/metadata/uid").unwrap_or_default().to_owned(),
        grace_seconds: None,
        cause,
    })
}

#[cfg(test)]
mod tests;
