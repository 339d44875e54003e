//! What rules do to the fields of an object: names of references, values of patches.

use serde_json::Value;
use vcluster_resources::custom_resource::expression::Subject;
use vcluster_resources::custom_resource::{Made, PatchRule, ReferenceRule};

use super::Synced;
use crate::{Context, Refusal, json::text, name};

/// What an object names: the rule, the place, and the name.
pub(super) struct Named<'a> {
    pub(super) rule: &'a ReferenceRule,
    pub(super) name: &'a str,
}

/// An object as expressions see it.
fn subject<'a>(object: &'a Value, context: &'a Context) -> Subject<'a> {
    let (cluster, namespace) = (context.cluster.as_str(), context.host_namespace.as_str());
    Subject::new(object, cluster, namespace)
}

/// Everything that an object names as its rule says.
///
/// # Errors
/// A condition of the rule cannot be told.
pub(super) fn named<'a>(
    object: &'a Value,
    synced: &'a Synced,
    context: &Context,
) -> Result<Vec<Named<'a>>, Refusal> {
    let mut all = Vec::new();
    let subject = subject(object, context);
    for rule in &synced.rule.references {
        if !holds(rule, &subject)? {
            continue;
        }
        let found = rule.path.find(object).into_iter();
        let names = found.filter_map(|(_, value)| value.as_str().filter(|name| !name.is_empty()));
        all.extend(names.map(|name| Named { rule, name }));
    }
    Ok(all)
}

fn holds(rule: &ReferenceRule, subject: &Subject<'_>) -> Result<bool, Refusal> {
    let Some(when) = &rule.when else {
        return Ok(true);
    };
    let answer = when.is_true(subject);
    answer.map_err(|failure| {
        Refusal::invalid(
            rule.path.to_string(),
            format!(
                "the condition ({}) of its rule cannot be told: {failure}",
                when.source()
            ),
        )
    })
}

/// Puts host names where `object`, whose copy `wanted` is, names others.
///
/// # Errors
/// A name is no text, or a condition cannot be told.
pub(super) fn references(
    wanted: &mut Value,
    object: &Value,
    namespace: &str,
    synced: &Synced,
    context: &Context,
) -> Result<(), Refusal> {
    let subject = subject(object, context);
    for rule in &synced.rule.references {
        if !holds(rule, &subject)? {
            continue;
        }
        rule.path.rewrite(wanted, &mut |place, value| match value {
            None | Some(Value::Null) => Ok(value.cloned()),
            Some(Value::String(name)) if name.is_empty() => Ok(value.cloned()),
            Some(Value::String(name)) => {
                Ok(Some(host_name(&rule.kind, namespace, name, context).into()))
            }
            Some(_) => Err(Refusal::invalid(place, "must be the name of an object")),
        })?;
    }
    Ok(())
}

/// Host name of an object of the kind that a rule names.
pub(super) fn host_name(kind: &str, namespace: &str, name: &str, context: &Context) -> String {
    match kind {
        "Service" => name::of_service(namespace, name, context),
        _other => name::of(namespace, name, context),
    }
}

/// Puts what the expressions of patches make of it.
///
/// # Errors
/// An expression does not fit the object.
pub(super) fn patches(
    wanted: &mut Value,
    object: &Value,
    synced: &Synced,
    context: &Context,
) -> Result<(), Refusal> {
    let subject = subject(object, context);
    for patch in &synced.rule.patches {
        let Some(expression) = &patch.expression else {
            continue;
        };
        patch.path.rewrite(wanted, &mut |place, value| {
            let new = expression.evaluate(value, &subject);
            let new = new.map_err(|failure| {
                let expression = expression.source();
                Refusal::invalid(
                    place,
                    format!("its patch ({expression}) cannot be made: {failure}"),
                )
            })?;
            Ok(Some(new).filter(|new| !new.is_null()))
        })?;
    }
    Ok(())
}

/// Puts what the reverse expressions of patches make of what came up. What does not fit one stays as it came.
pub(super) fn reverse(wanted: &mut Value, host: &Value, patches: &[PatchRule], context: &Context) {
    let subject = subject(host, context);
    for patch in patches {
        let Some(expression) = &patch.reverse else {
            continue;
        };
        let done: Result<(), std::convert::Infallible> =
            patch.path.rewrite(wanted, &mut |_, value| {
                if value.is_none() {
                    return Ok(None);
                }
                let new = expression.evaluate(value, &subject);
                Ok(new.map_or_else(
                    |_unfit| value.cloned(),
                    |new| Some(new).filter(|new| !new.is_null()),
                ))
            });
        let Ok(()) = done;
    }
}

/// Host names of what an object names, and what they are called inside.
pub(super) fn names(
    object: &Value,
    host: &Value,
    synced: &Synced,
    context: &Context,
) -> crate::text::Names {
    let mut names = crate::text::Names::new(context);
    if let Ok(owner) = crate::Owner::of_virtual(object, synced.kind.name(), context) {
        names.add_object(host, &owner);
    }
    let namespace = text(object, "/metadata/namespace").unwrap_or_default();
    for found in named(object, synced, context).unwrap_or_default() {
        let host = host_name(&found.rule.kind, namespace, found.name, context);
        names.add(host, namespace, found.name);
    }
    names
}

/// Whether a rule's reference comes up from the host.
pub(super) fn comes_up(rule: &ReferenceRule) -> bool {
    match rule.made {
        Made::ByHost => true,
        Made::Inside => false,
    }
}
