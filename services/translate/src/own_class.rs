//! PriorityClasses and StorageClasses of a virtual cluster's own: to the host, where its spec and the host's
//! administrator both say so.
//!
//! They live in no namespace, and act on the whole host: a priority decides whose pods run, a class of storage what a
//! provisioner does with rights that no tenant has. So the administrator says how far they may go ([`Allowed`]), and
//! what goes further is refused.
//!
//! | field | on the host |
//! |---|---|
//! | name | `NAME.CLUSTER.NAMESPACE.vcluster.dev`, which no other virtual cluster has or may name |
//! | PriorityClass `value` | as it is; refused above what is allowed |
//! | PriorityClass `preemptionPolicy` | `Never`, unless preemption is allowed |
//! | PriorityClass `globalDefault`, the default StorageClass | counts inside only |
//! | StorageClass `provisioner` | refused, unless it is allowed |
//! | StorageClass `parameters` | refused, but for those that say what a volume is like: others name Secrets, pools, servers |
//! | StorageClass `mountOptions` | refused: nodes mount with them |
//! | labels | under our domain; annotations stay inside; what others put on the host's object stays |
//! | everything else | as it is |

use serde_json::{Map, Value, json};
use vcluster_resources::label::{
    CLUSTER, CLUSTER_UID, PART, Part, VIRTUAL_KIND, VIRTUAL_NAME, VIRTUAL_UID,
};
use vcluster_resources::name::{
    CLUSTER_SCOPED, SUBDOMAIN_LIMIT, cluster_scoped_end, cluster_scoped_host_name,
};

use crate::{
    Change, Context, Kind, Refusal, change,
    json::{object, text},
    label,
    mapping::Step,
    mirror::storage_class::HARMLESS,
    plan::{Cause, Delete},
    policy,
    refusal::Reason,
};

/// Fields of a StorageClass that go.
const STORAGE: &[&str] = &[
    "provisioner",
    "parameters",
    "reclaimPolicy",
    "allowVolumeExpansion",
    "volumeBindingMode",
    "allowedTopologies",
];

/// Kinds that go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// PriorityClasses.
    Priority,
    /// StorageClasses.
    Storage,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Priority, Self::Storage];

    /// The kind in the table, which is shown from the host as well.
    pub const fn kind(self) -> Kind {
        match self {
            Self::Priority => Kind::PriorityClass,
            Self::Storage => Kind::StorageClass,
        }
    }
}

/// Annotation of a host object in no namespace: the host namespace of its virtual cluster.
const HOST_NAMESPACE: &str = "vcluster.dev/host-namespace";

/// How far the host's administrator lets them go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Priorities; nothing if none may go.
    pub priorities: Option<Priorities>,
    /// Provisioners that StorageClasses may name.
    pub provisioners: Vec<String>,
}

/// Priorities that may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priorities {
    /// The highest value.
    pub highest: i32,
    /// Whether their pods may push others from a node.
    pub preemption: bool,
}

/// The most classes of one kind of one virtual cluster that go: the host has all of everybody's in one list.
pub const MOST: usize = 32;

/// Host name of the class of that name: no other virtual cluster has it.
pub fn name(class: &str, context: &Context) -> String {
    let namespace = &context.host_namespace;
    cluster_scoped_host_name(class, namespace, &context.cluster, SUBDOMAIN_LIMIT)
}

/// Whether a name is that of a class on the host which was, or could be, made for some virtual cluster. Nobody inside
/// means one by it: not its own, which has another name there, and not another's, which is none of its business.
pub fn is_host_name(kind: Kind, name: &str) -> bool {
    Class::ALL.iter().any(|of| of.kind() == kind) && name.ends_with(CLUSTER_SCOPED)
}

/// The name inside of the class of that host name; nothing if it is not of this virtual cluster. `host` is the host's
/// object, while there is one: a long name cannot be read from the host's.
pub fn named_inside<'a>(
    of: Class,
    name: &'a str,
    host: Option<&'a Value>,
    context: &Context,
) -> Option<&'a str> {
    let told = host.and_then(|host| of_ours(of, host, context));
    let end = cluster_scoped_end(&context.host_namespace, &context.cluster);
    told.or_else(|| name.strip_suffix(&end))
}

/// Whether the virtual cluster asks for classes of that kind to go.
pub fn is_asked_for(class: Class, context: &Context) -> bool {
    let rule = context.policy.to_host.get(class.kind().plural());
    rule.is_some_and(|rule| rule.enabled == Some(true))
}

/// Whether a host object was made for a class of some virtual cluster, even if somebody took its marks off.
pub fn is_a_tenants(kind: Kind, host: &Value) -> bool {
    let named = text(host, "/metadata/name").is_some_and(|name| is_host_name(kind, name));
    annotation(host, VIRTUAL_KIND).is_some() || named
}

/// The class of this virtual cluster for which a host object was made; nothing if it is anybody else's.
pub fn of_ours<'a>(kind: Class, host: &'a Value, context: &Context) -> Option<&'a str> {
    let class = annotation(host, VIRTUAL_NAME)?;
    let ours = annotation(host, CLUSTER_UID) == Some(context.cluster_uid.as_str())
        && annotation(host, VIRTUAL_KIND) == Some(kind.kind().as_str())
        && text(host, "/metadata/name") == Some(name(class, context).as_str());
    ours.then_some(class)
}

/// Whether a host object was made for the virtual cluster of that UID, whatever is known of it besides.
pub fn is_of(of: Class, host: &Value, cluster_uid: &str) -> bool {
    annotation(host, CLUSTER_UID) == Some(cluster_uid)
        && annotation(host, VIRTUAL_KIND) == Some(of.kind().as_str())
        && text(host, "/metadata/name").is_some_and(|name| is_host_name(of.kind(), name))
}

/// One class more than may go.
pub fn too_many(of: Class) -> Refusal {
    not_allowed(
        "kind",
        format!(
            "it counts inside only: at most {MOST} {} of a virtual cluster go to the host; delete others, or choose by \
             a selector which go",
            of.kind().plural()
        ),
    )
}

/// A claim names a class that is not on the host: `why` says what keeps it from there, if there is such a class inside.
pub fn not_there(name: &str, why: Option<&Refusal>) -> Refusal {
    let (reason, message) = match why {
        Some(why) => (
            Reason::NotSynced,
            format!("StorageClass {name:?} is not on the host: {why}"),
        ),
        None => (
            Reason::NotOnHost,
            format!("there is no StorageClass {name:?}: the claim waits until there is one"),
        ),
    };
    Refusal::new(reason, "spec.storageClassName", message)
}

/// The host changes what cannot be changed again: the object is left as it is there.
pub fn not_kept(of: Class, name: &str) -> Refusal {
    Refusal {
        reason: Reason::HostRefused,
        field: "host".to_owned(),
        message: format!(
            "the host cluster changes what cannot be changed later when {of} {name} is made: it is left as the host has \
             it; once the host's administrator has put that right and deleted {name} there, it is made anew",
            of = of.kind()
        ),
    }
}

/// Deletes the host object of a virtual cluster that is gone.
pub fn removal(host: &Value) -> Step {
    delete(host, Cause::Orphan)
}

fn delete(host: &Value, cause: Cause) -> Step {
    Step::Delete(Delete {
        uid: text(host, "/metadata/uid").unwrap_or_default().to_owned(),
        grace_seconds: None,
        cause,
    })
}

fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(key)?.as_str()
}

/// The host object of a class.
///
/// # Errors
/// It stays inside, by the policy, by what is allowed, or because it has no name or UID.
pub fn to_host(of: Class, class: &Value, context: &Context) -> Result<Value, Refusal> {
    let kind = of.kind();
    policy::admits(kind, class, context)?;
    let part = |field: &str| {
        text(class, &format!("/metadata/{field}"))
            .ok_or_else(|| Refusal::invalid(format!("metadata.{field}"), "must not be empty"))
    };
    let (own, uid) = (part("name")?, part("uid")?);
    let fields = match of {
        Class::Priority => priority(class, own, context)?,
        Class::Storage => storage(class, context)?,
    };
    let mut labels = label::OBJECT.translate(class, "/metadata/labels");
    labels.insert(CLUSTER.to_owned(), context.cluster.as_str().into());
    labels.insert(CLUSTER_UID.to_owned(), context.cluster_uid.as_str().into());
    labels.insert(PART.to_owned(), Part::Workload.as_str().into());
    let api = kind.description().api;
    let mut host = json!({
        "apiVersion": api.version(),
        "kind": api.kind,
        "metadata": {
            "name": name(own, context),
            "labels": labels,
            "annotations": {
                CLUSTER_UID: context.cluster_uid,
                HOST_NAMESPACE: context.host_namespace.as_str(),
                VIRTUAL_KIND: kind.as_str(),
                VIRTUAL_NAME: own,
                VIRTUAL_UID: uid,
            },
        },
    });
    if let Some(host) = host.as_object_mut() {
        host.extend(fields);
    }
    Ok(host)
}

fn fields(class: &Value, keys: &[&str]) -> Map<String, Value> {
    let found = keys
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), class.get(*key)?.clone())));
    found.filter(|(_, value)| !value.is_null()).collect()
}

fn not_allowed(field: &str, message: impl Into<String>) -> Refusal {
    Refusal::new(Reason::NotSynced, field, message)
}

fn priority(class: &Value, own: &str, context: &Context) -> Result<Map<String, Value>, Refusal> {
    let Some(allowed) = context.classes.priorities else {
        return Err(not_allowed(
            "kind",
            "it counts inside only: the host's administrator lets no PriorityClasses of virtual clusters go to the \
             host (chart value sync.toHost.priorityClasses)",
        ));
    };
    if own.starts_with("system-") {
        return Err(Refusal::host_access(
            "metadata.name",
            "must not begin with \"system-\": those are Kubernetes' own",
        ));
    }
    let value = class
        .get("value")
        .and_then(Value::as_i64)
        .unwrap_or_default();
    if value > i64::from(allowed.highest) {
        return Err(not_allowed(
            "value",
            format!(
                "it counts inside only: {value} is above {}, the highest that the host's administrator allows",
                allowed.highest
            ),
        ));
    }
    let mut fields = fields(class, &["value", "description"]);
    fields.entry("value").or_insert_with(|| 0.into());
    let never = !allowed.preemption || text(class, "/preemptionPolicy") == Some("Never");
    let policy = if never {
        "Never"
    } else {
        "PreemptLowerPriority"
    };
    fields.insert("preemptionPolicy".to_owned(), policy.into());
    Ok(fields)
}

fn storage(class: &Value, context: &Context) -> Result<Map<String, Value>, Refusal> {
    let provisioner = text(class, "/provisioner").unwrap_or_default();
    let allowed = &context.classes.provisioners;
    if !allowed.iter().any(|one| one == provisioner) {
        let allowed = if allowed.is_empty() {
            "none".to_owned()
        } else {
            allowed.join(", ")
        };
        return Err(not_allowed(
            "provisioner",
            format!(
                "it counts inside only: {provisioner:?} is not one that the host's administrator allows \
                 (chart value sync.toHost.storageClasses.provisioners: {allowed})"
            ),
        ));
    }
    let parameters = object(class, "/parameters").into_iter().flatten();
    for (key, _) in parameters {
        if !HARMLESS.contains(&key.as_str()) {
            return Err(Refusal::host_access(
                format!("parameters[{key}]"),
                format!(
                    "must not be set: it may lead to storage or Secrets of others; allowed are {}",
                    HARMLESS.join(", ")
                ),
            ));
        }
    }
    if class
        .get("mountOptions")
        .and_then(Value::as_array)
        .is_some_and(|all| !all.is_empty())
    {
        return Err(Refusal::host_access(
            "mountOptions",
            "must not be set: the host's nodes would mount with them",
        ));
    }
    Ok(fields(class, STORAGE))
}

/// What is written of a kind, and what of it cannot be changed.
fn written(of: Class) -> (&'static [&'static str], &'static [&'static str]) {
    match of {
        Class::Priority => (
            &["value", "description", "preemptionPolicy"],
            &["/value", "/preemptionPolicy"],
        ),
        Class::Storage => (
            STORAGE,
            &[
                "/provisioner",
                "/parameters",
                "/reclaimPolicy",
                "/volumeBindingMode",
            ],
        ),
    }
}

/// The next step about the host object of a class: `wanted` is what it should be, nothing if it should not be there,
/// and `host` what bears its name.
///
/// # Errors
/// What bears the name is not ours.
pub fn step(
    of: Class,
    wanted: Option<Value>,
    host: Option<&Value>,
    context: &Context,
) -> Result<Step, Refusal> {
    let ours = host.filter(|host| of_ours(of, host, context).is_some());
    match (wanted, host, ours) {
        (None, None, _) | (None, Some(_), None) => Ok(Step::Nothing),
        (None, Some(_), Some(ours)) => Ok(delete(ours, Cause::Unused)),
        (Some(wanted), None, _) => Ok(Step::Create(wanted)),
        (Some(_), Some(_), None) => Err(Refusal::new(
            Reason::NameTaken,
            "metadata.name",
            "its name on the host belongs to an object that was not made for it; use another name",
        )),
        (Some(wanted), Some(_), Some(ours)) => {
            let (keys, frozen) = written(of);
            Ok(match change::change_frozen(ours, &wanted, keys, frozen) {
                Change::None => Step::Nothing,
                Change::Patch(patch) => Step::Patch(patch),
                Change::Replace => delete(ours, Cause::Replace),
            })
        }
    }
}

#[cfg(test)]
mod tests;
