//! From a virtual pod to its host pod.

use serde_json::{Map, Value, json};
use vcluster_resources::layout::WORKLOAD_SERVICE_ACCOUNT;

use super::{
    annotation, claims, container, dns, hostname, hosts, resize, scheduling,
    scope::{Reference, ReferenceKind, Scope, Token},
    security, volume,
};
use crate::{
    Context, Owner, Refusal,
    digest::Digest,
    json::{array, array_mut, object, text},
    label, name,
    owner::metadata,
    policy,
    text::Names,
};

/// A host pod, and what must be there for its containers to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPod {
    /// The pod to create in the host namespace.
    pub object: Value,
    /// Objects that it names, each once.
    pub references: Vec<Reference>,
    /// Tokens that it mounts; if any, the Secret [`name::of_tokens`] must hold them all.
    pub tokens: Vec<Token>,
}

/// Why there is no host pod.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Verdict {
    /// The pod is not to be scheduled yet; its own controllers will say when.
    #[error("waits for its scheduling gates: {}", .0.join(", "))]
    Gated(Vec<String>),
    /// ResourceClaims are still to be made for it, by a controller inside; the entries of `spec.resourceClaims`.
    #[error("waits for the ResourceClaims of {}", .0.join(", "))]
    Unclaimed(Vec<String>),
    /// It will not be made as it stands.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Fields of a PodSpec that do not pass; see [`super`].
const DROPPED: [&str; 9] = [
    "ephemeralContainers",
    "evictionResponders",
    "overhead",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "schedulerName",
    "schedulingGates",
    "serviceAccount",
];

/// The host pod of the virtual pod `pod`, whose namespace bears `namespace_labels`.
///
/// # Errors
/// The pod waits for its scheduling gates or its ResourceClaims, or is refused.
pub fn to_host(
    pod: &Value,
    namespace_labels: &Map<String, Value>,
    context: &Context,
) -> Result<HostPod, Verdict> {
    let gates: Vec<_> = array(pod, "/spec/schedulingGates")
        .iter()
        .map(|gate| text(gate, "/name").unwrap_or_default().to_owned())
        .collect();
    if !gates.is_empty() {
        return Err(Verdict::Gated(gates));
    }
    let awaited = claims::awaited(pod);
    if !awaited.is_empty() {
        return Err(Verdict::Unclaimed(awaited));
    }
    Ok(complete(pod, namespace_labels, context)?)
}

fn complete(
    pod: &Value,
    namespace_labels: &Map<String, Value>,
    context: &Context,
) -> Result<HostPod, Refusal> {
    let owner = Owner::of_virtual(pod, "Pod", context)?;
    let mut scope = Scope::new(pod, &owner, context);
    let spec = spec(&mut scope);
    scope.verdict()?;
    gather_ephemeral(&mut scope);

    let mut labels = label::OBJECT.translate(pod, "/metadata/labels");
    labels.extend(
        namespace_labels
            .iter()
            .map(|(key, value)| (label::NAMESPACE.key(key), value.clone())),
    );
    let mut annotations = annotation::passed(pod);
    annotations.append(&mut scope.annotations);
    annotations.insert(
        annotation::APPLIED.to_owned(),
        Digest::of(&changeable(&spec)).to_string().into(),
    );
    annotations.insert(
        annotation::RESOURCES.to_owned(),
        resize::resources(pod).to_string().into(),
    );
    let host_name = name::of(&owner.namespace, &owner.name, context);
    let metadata = metadata(&owner, &host_name, labels, annotations, context);
    annotation::fit(&metadata)?;
    let object = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": spec,
    });
    Ok(HostPod {
        object,
        references: scope.references(),
        tokens: scope.tokens,
    })
}

/// The host pod's spec. Refusals are left with the scope: see [`Scope::refuse`].
fn spec(scope: &mut Scope<'_>) -> Map<String, Value> {
    let Some(spec) = object(scope.pod, "/spec") else {
        scope.refuse(Refusal::invalid("spec", "must be an object"));
        return Map::new();
    };
    let mut spec = spec.clone();
    scope.judge(security::check_pod(&scope.pod["spec"], scope));
    for key in DROPPED {
        spec.remove(key);
    }
    for list in ["initContainers", "containers"] {
        for (index, found) in array_mut(&mut spec, list).enumerate() {
            container::rewrite(found, &format!("spec.{list}[{index}]"), scope);
        }
    }
    for (index, found) in array_mut(&mut spec, "volumes").enumerate() {
        volume::rewrite(found, &format!("spec.volumes[{index}]"), scope);
    }
    for secret in array_mut(&mut spec, "imagePullSecrets") {
        // kubelet pulls without a Secret that is missing.
        scope.refer_as(ReferenceKind::Secret, secret, "name", true);
    }
    claims::rewrite(&mut spec, scope);
    scope.judge(scheduling::rewrite(&mut spec, scope));
    scheduling::pin(&mut spec);
    match hostname::set(&mut spec, scope) {
        Ok(Some(names)) => scope.judge(hosts::tell(&mut spec, &names, scope)),
        Ok(None) => {}
        Err(refusal) => scope.refuse(refusal),
    }
    dns::set(&mut spec, scope);
    let account = account(scope);
    for (key, value) in [
        ("serviceAccountName", account),
        ("automountServiceAccountToken", json!(false)),
        ("enableServiceLinks", json!(false)),
    ] {
        spec.insert(key.to_owned(), value);
    }
    spec
}

/// The host account that the pod runs as: its own, where those go to the host, and otherwise one for all.
fn account(scope: &mut Scope<'_>) -> Value {
    if !policy::sends_accounts(&scope.owner.namespace, scope.context) {
        return WORKLOAD_SERVICE_ACCOUNT.into();
    }
    let mut named = json!({"name": scope.service_account()});
    scope.refer_as(ReferenceKind::ServiceAccount, &mut named, "name", false);
    named["name"].take()
}

/// Notes what ephemeral containers refer to. They are added later, through an endpoint of their
/// own, but what they need must be there before; their refusals are told where they would be added.
fn gather_ephemeral(scope: &mut Scope<'_>) {
    let pod = scope.pod;
    for found in array(pod, "/spec/ephemeralContainers") {
        container::rewrite(&mut found.clone(), "", scope);
    }
}

/// The part of a host pod's spec that an ordinary update may change.
pub(super) fn changeable(spec: &Map<String, Value>) -> Value {
    let images = |list: &str| -> Map<String, Value> {
        let containers = spec.get(list).and_then(Value::as_array);
        let images = containers.into_iter().flatten().filter_map(|container| {
            // A newer image of ours is for newer pods.
            let name = text(container, "/name").filter(|name| *name != hosts::NAME)?;
            Some((name.to_owned(), container.get("image")?.clone()))
        });
        images.collect()
    };
    json!({
        "containers": images("containers"),
        "initContainers": images("initContainers"),
        "activeDeadlineSeconds": spec.get("activeDeadlineSeconds"),
        "tolerations": spec.get("tolerations"),
    })
}

/// Every ConfigMap, Secret and claim that a virtual pod names, each once, and every token that it
/// mounts, whether or not the pod would be refused: its host pod may have been made when it would
/// not, and needs them as long as it lives.
pub fn needs(pod: &Value, context: &Context) -> (Vec<Reference>, Vec<Token>) {
    let Ok(owner) = Owner::of_virtual(pod, "Pod", context) else {
        return (Vec::new(), Vec::new());
    };
    let mut scope = Scope::new(pod, &owner, context);
    spec(&mut scope);
    gather_ephemeral(&mut scope);
    (scope.references(), scope.tokens)
}

/// The references of [`needs`].
pub fn references(pod: &Value, context: &Context) -> Vec<Reference> {
    needs(pod, context).0
}

/// The host names that texts about a virtual pod may hold: its own and those of what it refers to.
pub fn names(pod: &Value, host: Option<&Value>, context: &Context) -> Names {
    let mut names = Names::new(context);
    let Ok(owner) = Owner::of_virtual(pod, "Pod", context) else {
        return names;
    };
    let namespace = owner.namespace.as_str();
    names.add(
        name::of(namespace, &owner.name, context),
        namespace,
        &owner.name,
    );
    names.add(
        name::of_tokens(namespace, &owner.name, context),
        namespace,
        &owner.name,
    );
    for reference in references(pod, context) {
        names.add(
            name::of(namespace, &reference.name, context),
            namespace,
            &reference.name,
        );
    }
    if let Some(host) = host {
        names.add_object(host, &owner);
    }
    names
}
