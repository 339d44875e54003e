//! Containers of every sort: environment, and what they may ask of the node.

use std::iter;

use serde_json::{Value, json};

use super::{
    downward,
    scope::{ReferenceKind, Scope},
    security,
};
use crate::{Refusal, environment};

/// Rewrites one container at `field`.
pub(super) fn rewrite(container: &mut Value, field: &str, scope: &mut Scope<'_>) {
    scope.judge(security::check_container(container, field, scope));
    let Some(container) = container.as_object_mut() else {
        return scope.refuse(Refusal::invalid(field, "must be an object"));
    };
    let env = container.get_mut("env").and_then(Value::as_array_mut);
    for (index, variable) in env.into_iter().flatten().enumerate() {
        if let Some(source) = variable.get_mut("valueFrom") {
            value_from(source, &format!("{field}.env[{index}].valueFrom"), scope);
        }
    }
    let sources = container.entry("envFrom").or_insert(Value::Null);
    if sources.is_null() {
        *sources = json!([]);
    }
    let Some(sources) = sources.as_array_mut() else {
        return scope.refuse(Refusal::invalid(
            format!("{field}.envFrom"),
            "must be a list",
        ));
    };
    for (index, source) in sources.iter_mut().enumerate() {
        env_from(source, &format!("{field}.envFrom[{index}]"), scope);
    }
    // First, so that everything the user says stands above it.
    let linked = scope.pod.pointer("/spec/enableServiceLinks") != Some(&Value::Bool(false));
    let services = linked.then(|| environment::services_name(&scope.owner.namespace));
    let ours = iter::once(environment::CONFIG_MAP.to_owned()).chain(services);
    let ours = ours.map(|name| json!({"configMapRef": {"name": name}}));
    sources.splice(0..0, ours);
}

fn value_from(source: &mut Value, field: &str, scope: &mut Scope<'_>) {
    for (kind, value) in source.as_object_mut().into_iter().flatten() {
        match kind.as_str() {
            "configMapKeyRef" => scope.refer(ReferenceKind::ConfigMap, value, "name"),
            "secretKeyRef" => scope.refer(ReferenceKind::Secret, value, "name"),
            "fieldRef" => downward::redirect(value, &format!("{field}.fieldRef"), scope),
            // Both look no further than the pod itself.
            "resourceFieldRef" | "fileKeyRef" => {}
            unknown => scope.refuse(unknown_source(field, unknown)),
        }
    }
}

fn env_from(source: &mut Value, field: &str, scope: &mut Scope<'_>) {
    for (kind, value) in source.as_object_mut().into_iter().flatten() {
        match kind.as_str() {
            "configMapRef" => scope.refer(ReferenceKind::ConfigMap, value, "name"),
            "secretRef" => scope.refer(ReferenceKind::Secret, value, "name"),
            "prefix" => {}
            unknown => scope.refuse(unknown_source(field, unknown)),
        }
    }
}

fn unknown_source(field: &str, kind: &str) -> Refusal {
    Refusal::not_supported(
        format!("{field}.{kind}"),
        "this source of environment variables is not known here, and may name objects that the \
         host does not have",
    )
}
