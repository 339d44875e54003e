//! Where a pod may run: selectors over other pods, and a node that was named outright.
//!
//! All pods of a virtual cluster share one host namespace, so a term's namespaces become
//! requirements on labels that every host pod bears: its cluster, its virtual namespace and that
//! namespace's labels.

use serde_json::{Map, Value, json};
use vcluster_resources::label::{CLUSTER_UID, VIRTUAL_NAMESPACE};

use super::scope::Scope;
use crate::{
    Refusal,
    json::{array, array_mut},
    label,
};

/// Rewrites `affinity` and `topologySpreadConstraints`.
pub(super) fn rewrite(spec: &mut Map<String, Value>, scope: &Scope<'_>) -> Result<(), Refusal> {
    let affinity = spec.get_mut("affinity").and_then(Value::as_object_mut);
    if let Some(affinity) = affinity {
        rewrite_terms(affinity, "podAffinity", Union::Refused, scope)?;
        rewrite_terms(affinity, "podAntiAffinity", Union::Split, scope)?;
    }
    for constraint in array_mut(spec, "topologySpreadConstraints") {
        let namespaces = [json!(&scope.owner.namespace)];
        merge_label_keys(constraint, scope);
        if let Some(selector) = object_in(constraint, "labelSelector") {
            *selector = confined(selector, vec![within(&namespaces)], scope);
        }
    }
    Ok(())
}

/// What becomes of a required term whose namespaces are both listed and selected: the union of two
/// sets, which one selector cannot say.
#[derive(Clone, Copy)]
enum Union {
    /// Every term must hold and none may: two terms say the same.
    Split,
    /// Every term must find a pod: two terms would ask for two.
    Refused,
}

fn rewrite_terms(
    affinity: &mut Map<String, Value>,
    kind: &str,
    union: Union,
    scope: &Scope<'_>,
) -> Result<(), Refusal> {
    let Some(affinity) = affinity.get_mut(kind).and_then(Value::as_object_mut) else {
        return Ok(());
    };
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    if let Some(Value::Array(terms)) = affinity.get_mut(required) {
        let mut rewritten = Vec::with_capacity(terms.len());
        for (index, term) in terms.iter().enumerate() {
            let parts = split(term, scope);
            if parts.len() > 1 && matches!(union, Union::Refused) {
                return Err(Refusal::not_supported(
                    format!("spec.affinity.{kind}.{required}[{index}]"),
                    "namespaces and namespaceSelector together cannot be translated here; use one \
                     of them (every namespace has the label kubernetes.io/metadata.name)",
                ));
            }
            rewritten.extend(parts);
        }
        *terms = rewritten;
    }
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    if let Some(Value::Array(terms)) = affinity.get_mut(preferred) {
        let mut rewritten = Vec::with_capacity(terms.len());
        for weighted in terms.iter() {
            let Some(term) = weighted.get("podAffinityTerm") else {
                rewritten.push(weighted.clone());
                continue;
            };
            // The parts are disjoint, so a pod's weight counts once.
            for part in split(term, scope) {
                let mut weighted = weighted.clone();
                weighted["podAffinityTerm"] = part;
                rewritten.push(weighted);
            }
        }
        *terms = rewritten;
    }
    Ok(())
}

/// The terms that together say on the host what `term` says inside, disjoint by namespace.
fn split(term: &Value, scope: &Scope<'_>) -> Vec<Value> {
    let listed = array(term, "/namespaces");
    let selector = term.get("namespaceSelector").filter(|s| s.is_object());
    let selected = selector.map(|selector| label::requirements(selector, label::NAMESPACE));
    let own = [json!(&scope.owner.namespace)];
    let parts = match selected {
        None if listed.is_empty() => vec![vec![within(&own)]],
        None => vec![vec![within(listed)]],
        // An empty selector is every namespace.
        Some(selected) if selected.is_empty() || listed.is_empty() => vec![selected],
        Some(mut selected) => {
            selected.push(outside(listed));
            vec![vec![within(listed)], selected]
        }
    };
    let mut term = term.clone();
    merge_label_keys(&mut term, scope);
    if let Some(term) = term.as_object_mut() {
        term.remove("namespaces");
        term.remove("namespaceSelector");
    }
    parts
        .into_iter()
        .map(|namespaces| {
            let mut term = term.clone();
            // No selector selects no pod, on both sides.
            if let Some(selector) = object_in(&mut term, "labelSelector") {
                *selector = confined(selector, namespaces, scope);
            }
            term
        })
        .collect()
}

/// `selector` over our labels, with the cluster's and the namespaces' requirements.
fn confined(selector: &Value, namespaces: Vec<Value>, scope: &Scope<'_>) -> Value {
    let mut all = label::requirements(selector, label::OBJECT);
    all.extend(namespaces);
    json!({
        "matchLabels": {CLUSTER_UID: scope.context.cluster_uid},
        "matchExpressions": all,
    })
}

/// Merges `matchLabelKeys` and `mismatchLabelKeys` into the selector and drops them. Newer API
/// servers have merged them already; the host must not do it again, with keys that its pods lack.
fn merge_label_keys(term: &mut Value, scope: &Scope<'_>) {
    for (field, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        let keys = term.as_object_mut().and_then(|term| term.remove(field));
        let Some(Value::Array(keys)) = keys else {
            continue;
        };
        let Some(selector) = object_in(term, "labelSelector") else {
            continue;
        };
        for key in keys.iter().filter_map(Value::as_str) {
            let labels = scope.pod.pointer("/metadata/labels");
            let Some(value) = labels.and_then(|labels| labels.get(key)) else {
                continue;
            };
            let merged = json!({"key": key, "operator": operator, "values": [value]});
            if array(selector, "/matchExpressions").contains(&merged) {
                continue;
            }
            match selector.get_mut("matchExpressions") {
                Some(Value::Array(expressions)) => expressions.push(merged),
                Some(_) | None => selector["matchExpressions"] = json!([merged]),
            }
        }
    }
}

fn object_in<'a>(holder: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    holder.get_mut(key).filter(|value| value.is_object())
}

fn within(namespaces: &[Value]) -> Value {
    json!({"key": VIRTUAL_NAMESPACE, "operator": "In", "values": namespaces})
}

fn outside(namespaces: &[Value]) -> Value {
    json!({"key": VIRTUAL_NAMESPACE, "operator": "NotIn", "values": namespaces})
}

/// Turns a node that was named outright into a requirement, so that the host's scheduler still
/// weighs resources and taints.
pub(super) fn pin(spec: &mut Map<String, Value>) {
    let Some(Value::String(node)) = spec.remove("nodeName") else {
        return;
    };
    if node.is_empty() {
        return;
    }
    let here = json!({"key": "metadata.name", "operator": "In", "values": [node]});
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let pointer = format!("/nodeAffinity/{required}/nodeSelectorTerms");
    let affinity = spec.entry("affinity").or_insert_with(|| json!({}));
    if !affinity.is_object() {
        *affinity = json!({});
    }
    // Terms are alternatives: each gets the requirement.
    match affinity.pointer_mut(&pointer).and_then(Value::as_array_mut) {
        Some(terms) if !terms.is_empty() => {
            for term in terms {
                let says_nothing = array(term, "/matchExpressions").is_empty()
                    && array(term, "/matchFields").is_empty();
                if says_nothing {
                    // Matches no node, and must go on to do so.
                    continue;
                }
                match term.get_mut("matchFields").and_then(Value::as_array_mut) {
                    Some(fields) => fields.push(here.clone()),
                    None => term["matchFields"] = json!([here]),
                }
            }
        }
        Some(_) | None => {
            if !affinity.get("nodeAffinity").is_some_and(Value::is_object) {
                affinity["nodeAffinity"] = json!({});
            }
            affinity["nodeAffinity"][required] =
                json!({"nodeSelectorTerms": [{"matchFields": [here]}]});
        }
    }
}
