//! `/etc/hosts` of a pod with a subdomain.
//!
//! kubelet writes the file, and makes the pod's qualified name of the *host* namespace. Only the
//! file tells a program its qualified name (`hostname -f`), and the pod's addresses are known only
//! when the pod has a node: so an init container of ours writes it, before all others, and each
//! container mounts it in place of kubelet's. Nothing of that is seen inside: statuses and events
//! of it do not come up.
//!
//! Ephemeral containers keep kubelet's file, as they may mount no single file; so does a container
//! that mounts a file of its own there.

use serde_json::{Map, Value, json};

use super::scope::Scope;
use crate::{
    Refusal,
    json::{array, array_mut, object, text},
};

/// Name of our init container and of its volume.
pub(crate) const NAME: &str = "vcluster-hosts";
/// Where the init container has the volume.
const FOLDER: &str = "/vcluster";
/// The file, in the volume.
const FILE: &str = "hosts";
const ETC_HOSTS: &str = "/etc/hosts";

/// The names of a pod with a subdomain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    /// `web-0.web.shop.svc.cluster.local`.
    pub(super) full: String,
    /// `web-0`.
    pub(super) short: String,
}

/// Has `/etc/hosts` tell these names, if there is an image that can.
pub(super) fn tell(
    spec: &mut Map<String, Value>,
    names: &Names,
    scope: &Scope<'_>,
) -> Result<(), Refusal> {
    let Some(image) = &scope.context.hosts_image else {
        return Ok(());
    };
    if spec.get("os").and_then(|os| text(os, "/name")) == Some("windows") {
        return Ok(());
    }
    for list in ["volumes", "initContainers", "containers"] {
        let members = spec.get(list).and_then(Value::as_array);
        if let Some(index) = members
            .into_iter()
            .flatten()
            .position(|member| text(member, "/name") == Some(NAME))
        {
            return Err(Refusal::not_supported(
                format!("spec.{list}[{index}].name"),
                format!("{NAME:?} is taken by the virtual cluster; use another name"),
            ));
        }
    }
    let writer = writer(spec, image, names);
    let mount = json!({"name": NAME, "mountPath": ETC_HOSTS, "subPath": FILE});
    for list in ["initContainers", "containers"] {
        for container in array_mut(spec, list).filter_map(Value::as_object_mut) {
            let mounts = container.entry("volumeMounts").or_insert_with(|| json!([]));
            let Some(mounts) = mounts.as_array_mut() else {
                continue;
            };
            let own = |mount: &Value| text(mount, "/mountPath") == Some(ETC_HOSTS);
            if !mounts.iter().any(own) {
                mounts.push(mount.clone());
            }
        }
    }
    prepend(spec, "initContainers", writer);
    prepend(spec, "volumes", json!({"name": NAME, "emptyDir": {}}));
    Ok(())
}

fn prepend(spec: &mut Map<String, Value>, list: &str, member: Value) {
    match spec.get_mut(list).and_then(Value::as_array_mut) {
        Some(members) => members.insert(0, member),
        None => {
            spec.insert(list.to_owned(), json!([member]));
        }
    }
}

/// The container that writes the file.
fn writer(spec: &Map<String, Value>, image: &str, names: &Names) -> Value {
    let first = spec.get("containers").and_then(|list| list.get(0));
    let mut security = json!({
        "runAsUser": 65532,
        "runAsNonRoot": true,
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]},
    });
    if let Some(profile) = first.and_then(|first| first.pointer("/securityContext/seccompProfile"))
    {
        security["seccompProfile"] = profile.clone();
    }
    json!({
        "name": NAME,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["hosts", "--file", format!("{FOLDER}/{FILE}"), "--names", format!("{}\t{}", names.full, names.short), "--aliases", aliases(spec)],
        "env": [{"name": "VCLUSTER_POD_IPS", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIPs"}}}],
        "resources": resources(first),
        "securityContext": security,
        "volumeMounts": [{"name": NAME, "mountPath": FOLDER}],
    })
}

/// What the first container has of CPU and memory: the pod's class and its share of a quota stay as
/// they were, as init containers end before the others begin.
fn resources(first: Option<&Value>) -> Value {
    let mut resources = Map::new();
    for key in ["limits", "requests"] {
        let found: Map<_, _> = first
            .and_then(|first| object(first, &format!("/resources/{key}")))
            .into_iter()
            .flatten()
            .filter(|(name, _)| matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage"))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if !found.is_empty() {
            resources.insert(key.to_owned(), found.into());
        }
    }
    resources.into()
}

/// The user's `hostAliases`, as kubelet writes them.
fn aliases(spec: &Map<String, Value>) -> String {
    let aliases = spec.get("hostAliases").and_then(Value::as_array);
    let lines = aliases.into_iter().flatten().map(|alias| {
        let names: Vec<_> = array(alias, "/hostnames")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let ip = text(alias, "/ip").unwrap_or_default();
        format!("{ip}\t{}\n", names.join("\t"))
    });
    lines.collect()
}
