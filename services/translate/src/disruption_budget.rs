//! PodDisruptionBudgets: down to the host, where pods are drained.
//!
//! The host could not count for itself: percentages and `maxUnavailable` need the scale of a controller that is not
//! there. So the host's budget asks for as many healthy pods as the virtual controller has counted, of the very pods
//! that the virtual one selects. Its status stays the virtual controller's.
//!
//! | field | on the host |
//! |---|---|
//! | `spec.selector` | over our labels, confined to the virtual namespace; none selects none |
//! | `spec.minAvailable`, `spec.maxUnavailable` | `minAvailable`: `status.desiredHealthy`, a number |
//! | `spec.unhealthyPodEvictionPolicy` | as it is |

use serde_json::{Map, Value, json};

use crate::{
    Change, Context, Kind, Owner, Refusal,
    change::change,
    json::{array, is_set, text},
    kind::{Api, Description, Scope, ToHost},
    label, name,
    owner::metadata,
};

/// Its row in the table of kinds.
pub const KIND: Description = Description::to_host(
    Api::new(
        "policy",
        "v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        Scope::Namespaced,
    )
    .short(&["pdb"]),
    ToHost {
        wanted: is_counted,
        ..ToHost::new(to_host, update_host)
    },
);

/// More than any number of pods.
const ALL: i64 = i32::MAX as i64;

/// Whether the virtual controller has said how many pods must be healthy.
fn is_counted(budget: &Value, _context: &Context) -> bool {
    healthy(budget).is_some()
}

/// How many pods must be healthy. Where the controller cannot count, or has not counted since the budget was changed,
/// no pod may go, as inside.
fn healthy(budget: &Value) -> Option<i64> {
    let failed = array(budget, "/status/conditions").iter().any(|condition| {
        text(condition, "/type") == Some("DisruptionAllowed")
            && text(condition, "/reason") == Some("SyncFailed")
    });
    if failed {
        return Some(ALL);
    }
    // Zero before it was ever looked at.
    let counted = budget.pointer("/status/observedGeneration")?.as_i64()?;
    let generation = budget
        .pointer("/metadata/generation")
        .and_then(Value::as_i64);
    if generation.is_some_and(|generation| counted < generation) {
        return Some(ALL);
    }
    let desired = budget.pointer("/status/desiredHealthy")?.as_i64()?;
    Some(desired.clamp(0, ALL))
}

/// The host budget of a virtual one.
///
/// # Errors
/// It lacks a name, namespace or UID.
pub fn to_host(budget: &Value, context: &Context) -> Result<Value, Refusal> {
    let owner = Owner::of_virtual(budget, "PodDisruptionBudget", context)?;
    let mut spec = json!({ "minAvailable": healthy(budget).unwrap_or(ALL) });
    if let Some(selector) = budget.pointer("/spec/selector").filter(|s| s.is_object()) {
        spec["selector"] = label::own_pods(selector, Some(&owner.namespace), context);
    }
    if is_set(budget, "/spec/unhealthyPodEvictionPolicy") {
        spec["unhealthyPodEvictionPolicy"] = budget["spec"]["unhealthyPodEvictionPolicy"].clone();
    }
    let (kind, namespace) = (Kind::PodDisruptionBudget, &owner.namespace);
    let host_name = name::of_kind(kind, namespace, &owner.name, context);
    let labels = label::OBJECT.translate(budget, "/metadata/labels");
    Ok(json!({
        "apiVersion": KIND.api.version(),
        "kind": KIND.api.kind,
        "metadata": metadata(&owner, &host_name, labels, Map::new(), context),
        "spec": spec,
    }))
}

/// How the host budget of a virtual one comes to be as it is wanted.
///
/// # Errors
/// As [`to_host`].
pub fn update_host(budget: &Value, host: &Value, context: &Context) -> Result<Change, Refusal> {
    Ok(change(host, &to_host(budget, context)?, &["spec"]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::context;

    fn budget(spec: &Value, status: &Value) -> Value {
        json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "1"},
            "spec": spec, "status": status,
        })
    }

    #[test]
    fn the_host_asks_for_what_the_virtual_controller_has_counted() {
        let failed =
            json!([{"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed"}]);
        let cases = [
            (json!({}), None),
            (json!({"desiredHealthy": 0}), None),
            (
                json!({"desiredHealthy": 2, "observedGeneration": 1}),
                Some(2),
            ),
            (
                json!({"desiredHealthy": -1, "observedGeneration": 1}),
                Some(0),
            ),
            (
                json!({"desiredHealthy": 0, "observedGeneration": 1, "conditions": failed}),
                Some(ALL),
            ),
        ];
        for (status, wanted) in cases {
            let budget = budget(&json!({"maxUnavailable": "50%", "selector": {}}), &status);
            assert_eq!(is_counted(&budget, &context()), wanted.is_some());
            let Some(wanted) = wanted else { continue };
            let host = to_host(&budget, &context()).unwrap();
            assert_eq!(host["spec"]["minAvailable"], wanted);
            assert_eq!(host["spec"].get("maxUnavailable"), None);
        }
    }

    #[test]
    fn a_count_from_before_the_budget_was_changed_lets_no_pod_go() {
        let status = json!({"desiredHealthy": 1, "observedGeneration": 3});
        let mut budget = budget(&json!({"minAvailable": 5}), &status);
        for (generation, wanted) in [(3, 1), (4, ALL)] {
            budget["metadata"]["generation"] = generation.into();
            assert_eq!(healthy(&budget), Some(wanted));
        }
    }

    #[test]
    fn it_selects_pods_of_its_own_namespace_and_of_nobody_else() {
        let status = json!({"desiredHealthy": 1, "observedGeneration": 1});
        let selector = json!({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "tier", "operator": "Exists"}]});
        let spec = json!({"selector": selector, "minAvailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow"});
        let host = to_host(&budget(&spec, &status), &context()).unwrap();
        insta::assert_json_snapshot!("disruption_budget", host);
        let everything = budget(&json!({"selector": {}}), &status);
        let everything = to_host(&everything, &context()).unwrap();
        let own = &everything["spec"]["selector"]["matchLabels"];
        assert_eq!(own["vcluster.dev/namespace"], "shop");
        assert_eq!(own["vcluster.dev/part"], "workload");
        let nothing = to_host(&budget(&json!({}), &status), &context()).unwrap();
        assert_eq!(nothing["spec"].get("selector"), None);
    }
}
