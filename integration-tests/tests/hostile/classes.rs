//! Classes of the host that are not shown.

use integration_tests::{
    Host,
    attempt::{Attempt, Fact, Outcome},
};
use serde_json::{Value, json};

use crate::object::{attempt, object, pod, told};

/// A class of the host that its administrator shares with nobody, removed with the test.
pub(crate) struct Unshared<'a> {
    host: &'a Host,
    name: String,
}

impl<'a> Unshared<'a> {
    /// Makes a PriorityClass that is above everything but the system's.
    pub(crate) fn priority(host: &'a Host, name: String) -> Self {
        let class = object(
            "scheduling.k8s.io/v1",
            "PriorityClass",
            &name,
            &json!({"value": 900_000_000}),
        );
        host.apply(&class.to_string());
        Self { host, name }
    }
}

impl Drop for Unshared<'_> {
    fn drop(&mut self) {
        let args = format!("delete priorityclass {} --ignore-not-found", self.name);
        self.host.kubectl(&args).run();
    }
}

/// Pods whose classes only bear the names of the host's, or of none.
pub(crate) fn classes(unshared: &Unshared<'_>) -> Vec<Attempt> {
    let name = unshared.name.as_str();
    let priority = json!({"value": 999_000_000});
    vec![
        attempt(
            "a class of the name of one that the host does not share",
            object("scheduling.k8s.io/v1", "PriorityClass", name, &priority),
            Outcome::StaysInside,
        ),
        attempt(
            "the priority of that class",
            pod("preemptor", &json!({"priorityClassName": name})),
            Outcome::Harmless(vec![
                Fact::Is("/spec/priorityClassName", Value::Null),
                Fact::Is("/spec/priority", json!(0)),
            ]),
        ),
        attempt(
            "a runtime of the tenant's own",
            object(
                "node.k8s.io/v1",
                "RuntimeClass",
                "unfenced",
                &json!({"handler": "runc"}),
            ),
            Outcome::StaysInside,
        ),
        attempt(
            "a runtime that the host does not show",
            pod("unfenced", &json!({"runtimeClassName": "unfenced"})),
            told(&["NotSynced", "spec.runtimeClassName"]),
        ),
    ]
}
