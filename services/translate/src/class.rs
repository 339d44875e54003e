//! Classes of the host that a virtual object names: what is not shown cannot be used.
//!
//! A class that the host does not have is nobody's of the host's: a tenant may have classes of its own, for
//! controllers of its own.

use serde_json::Value;

use crate::{
    Kind, Refusal,
    json::{array, text},
    own_class,
    refusal::Reason,
};

/// Annotation that names a class of Ingresses, before there was a field.
const INGRESS_CLASS: &str = "kubernetes.io/ingress.class";

/// How a virtual cluster stands to a class of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// The host has it, and shows it.
    Shown,
    /// The host has it, and does not show it.
    Hidden,
    /// The host does not have it.
    Absent,
}

/// The classes that an object names: their kind, the field and the name.
fn named(kind: Kind, object: &Value) -> Vec<(Kind, &'static str, &str)> {
    let field = |class, field, pointer| text(object, pointer).map(|name| (class, field, name));
    let found = if kind == Kind::Ingress {
        let class = Kind::IngressClass;
        let annotations = object.pointer("/metadata/annotations");
        let old = annotations.and_then(|all| all.get(INGRESS_CLASS)?.as_str());
        let old = old.map(|name| {
            let field = "metadata.annotations[kubernetes.io/ingress.class]";
            (class, field, name)
        });
        vec![
            old,
            field(class, "spec.ingressClassName", "/spec/ingressClassName"),
        ]
    } else if kind == Kind::PersistentVolumeClaim {
        let (class, at) = (Kind::StorageClass, "spec.storageClassName");
        vec![field(class, at, "/spec/storageClassName")]
    } else if kind == Kind::VolumeSnapshot {
        let (class, at) = (Kind::VolumeSnapshotClass, "spec.volumeSnapshotClassName");
        vec![field(class, at, "/spec/volumeSnapshotClassName")]
    } else if kind == Kind::Pod {
        let (class, at) = (Kind::RuntimeClass, "spec.runtimeClassName");
        vec![field(class, at, "/spec/runtimeClassName")]
    } else if kind == Kind::ResourceClaim {
        let at = "spec.devices.requests[].deviceClassName";
        let requests = array(object, "/spec/devices/requests").iter();
        let all = requests.flat_map(|request| {
            let first = array(request, "/firstAvailable").iter();
            first.chain(request.get("exactly")).chain([request])
        });
        let name = |request| text(request, "/deviceClassName");
        all.map(|request| name(request).map(|name| (Kind::DeviceClass, at, name)))
            .collect()
    } else {
        Vec::new()
    };
    found.into_iter().flatten().collect()
}

/// Whether the classes that an object names may be used, `standing` telling how each stands.
///
/// # Errors
/// One of them is the host's and is not shown.
pub fn check(
    kind: Kind,
    object: &Value,
    standing: impl Fn(Kind, &str) -> Standing,
) -> Result<(), Refusal> {
    for (class, field, name) in named(kind, object) {
        if own_class::is_host_name(class, name) {
            return Err(anothers(class, field, name));
        }
        match standing(class, name) {
            Standing::Shown => {}
            // Only the node's own runtimes can run a pod.
            Standing::Absent if class != Kind::RuntimeClass => {}
            Standing::Absent => return Err(absent(class, field, name)),
            Standing::Hidden => return Err(hidden(class, field, name)),
        }
    }
    Ok(())
}

fn absent(class: Kind, field: &str, name: &str) -> Refusal {
    let plural = class.plural();
    let message = format!(
        "the host has no {class} {name:?}: use one that it has and shows (`kubectl get {plural}`)"
    );
    Refusal::new(Reason::NotOnHost, field, message)
}

fn anothers(class: Kind, field: &str, name: &str) -> Refusal {
    let message = format!(
        "{name:?} is how the host calls a {class} of a virtual cluster, which only that one may use, by the name that \
         it has inside"
    );
    Refusal::new(Reason::NotSynced, field, message)
}

/// The host's class of which a pod has the priority: that of the same name, if it is shown. A class of the tenant's own
/// counts inside only, as it always did.
pub fn priority(pod: &Value, standing: impl Fn(Kind, &str) -> Standing) -> Option<&str> {
    let name = text(pod, "/spec/priorityClassName")?;
    let is_own = name.starts_with("system-") || own_class::is_host_name(Kind::PriorityClass, name);
    match standing(Kind::PriorityClass, name) {
        Standing::Shown if !is_own => Some(name),
        Standing::Shown | Standing::Hidden | Standing::Absent => None,
    }
}

fn hidden(class: Kind, field: &str, name: &str) -> Refusal {
    let plural = class.plural();
    let message = format!(
        "{class} {name:?} of the host is not shown to this virtual cluster, by its spec.sync.fromHost.{plural}: use \
         one that `kubectl get {plural}` shows"
    );
    Refusal::new(Reason::NotSynced, field, message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_class_that_is_not_shown_is_not_used() {
        let claim = json!({"spec": {"storageClassName": "fast"}});
        let by_field = json!({"spec": {"ingressClassName": "edge"}});
        let by_annotation = json!({"metadata": {"annotations": {INGRESS_CLASS: "edge"}}});
        let devices = json!({"spec": {"devices": {"requests": [
            {"name": "a", "exactly": {"deviceClassName": "gpu"}},
        ]}}});
        let snapshot = json!({"spec": {"volumeSnapshotClassName": "fast"}});
        let cases = [
            (
                Kind::VolumeSnapshot,
                &snapshot,
                "spec.volumeSnapshotClassName",
            ),
            (
                Kind::ResourceClaim,
                &devices,
                "spec.devices.requests[].deviceClassName",
            ),
            (Kind::PersistentVolumeClaim, &claim, "spec.storageClassName"),
            (Kind::Ingress, &by_field, "spec.ingressClassName"),
            (
                Kind::Ingress,
                &by_annotation,
                "metadata.annotations[kubernetes.io/ingress.class]",
            ),
        ];
        for (kind, object, field) in cases {
            for standing in [Standing::Shown, Standing::Absent] {
                assert_eq!(check(kind, object, |_, _| standing), Ok(()), "{kind}");
            }
            let refusal = check(kind, object, |_, _| Standing::Hidden).unwrap_err();
            assert_eq!(
                (refusal.field.as_str(), refusal.reason),
                (field, Reason::NotSynced)
            );
        }
        let pod = json!({"spec": {"runtimeClassName": "gvisor", "priorityClassName": "high"}});
        for (standing, reason) in [
            (Standing::Hidden, Reason::NotSynced),
            (Standing::Absent, Reason::NotOnHost),
        ] {
            let refusal = check(Kind::Pod, &pod, |_, _| standing).unwrap_err();
            let said = (refusal.field.as_str(), refusal.reason);
            assert_eq!(said, ("spec.runtimeClassName", reason));
            assert_eq!(priority(&pod, |_, _| standing), None);
        }
        assert_eq!(check(Kind::Pod, &pod, |_, _| Standing::Shown), Ok(()));
        assert_eq!(priority(&pod, |_, _| Standing::Shown), Some("high"));
        let system = json!({"spec": {"priorityClassName": "system-node-critical"}});
        assert_eq!(priority(&system, |_, _| Standing::Shown), None);
        let anothers = "mine.prod.team-b.vcluster.dev";
        for standing in [Standing::Shown, Standing::Hidden, Standing::Absent] {
            let claim = json!({"spec": {"storageClassName": anothers}});
            let refusal = check(Kind::PersistentVolumeClaim, &claim, |_, _| standing).unwrap_err();
            assert_eq!(refusal.field, "spec.storageClassName");
            let pod = json!({"spec": {"priorityClassName": anothers}});
            assert_eq!(priority(&pod, |_, _| standing), None);
        }
        let nothing = check(Kind::ConfigMap, &claim, |_, _| Standing::Hidden);
        assert_eq!(nothing, Ok(()));
    }
}
