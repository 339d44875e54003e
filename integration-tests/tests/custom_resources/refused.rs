//! Rules that cannot be followed.

use integration_tests::{Tenant, eventually};
use serde_json::{Value, json};

use crate::{
    GADGETS,
    definitions::{define, definition},
    rule::{patch, rule, said},
    sides::{gone, inside, outside},
};

#[test]
fn a_rule_that_cannot_be_followed_is_told_and_keeps_nothing_else_waiting() {
    let tenant = Tenant::create("rules");
    define(
        tenant.host(),
        &definition("Gadget", "gadgets", "Namespaced"),
    );
    for (rules, says) in [
        (
            json!([rule(
                "certificates.cert-manager.io",
                &json!({"references": [{"path": "metadata.name", "kind": "Secret"}]})
            )]),
            "path must not lie in apiVersion, kind or metadata",
        ),
        (
            json!([rule(
                GADGETS,
                &json!({"references": [{"path": "spec.x", "kind": "Pod", "made": "ByHost"}]})
            )]),
            "made can be ByHost only with kind Secret or ConfigMap",
        ),
        (
            json!([rule(GADGETS, &json!({"patches": [{"path": "spec.x"}]}))]),
            "a patch must have an expression",
        ),
        (
            json!([rule(GADGETS, &json!({"hostOwns": ["a[*]"]}))]),
            "hostOwns must be paths",
        ),
        (
            json!([rule(GADGETS, &json!({"namespace": "x"}))]),
            "namespace must not be given",
        ),
        (
            json!([rule("gadgets.core", &json!({}))]),
            "group must be a DNS name with a dot",
        ),
    ] {
        patch(&tenant, &rules).refused(&[says]);
    }
    // What a schema cannot tell, the condition does.
    let broken = json!({"patches": [{"path": "spec.x", "expression": "value +"}]});
    patch(&tenant, &json!([rule(GADGETS, &broken)])).ok();
    said(&tenant, "False", &["patches[0].expression", "CEL"]);
    let uses = json!({"references": [{"path": "spec.config", "kind": "ConfigMap"}]});
    let rules = json!([
        rule("secretstores.external-secrets.io", &json!({})),
        rule(GADGETS, &uses),
    ]);
    patch(&tenant, &rules).ok();
    said(
        &tenant,
        "False",
        &["secretstores.external-secrets.io", "sync.customResources"],
    );
    let config = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "default", "name": "settings"},
        "data": {"a": "b"},
    });
    let gadget = |name: &str, spec: &Value| {
        json!({
            "apiVersion": "test.vcluster.dev/v1", "kind": "Gadget",
            "metadata": {"namespace": "default", "name": name}, "spec": spec,
        })
    };
    tenant.inside().apply(&config.to_string());
    inside(&tenant, &format!("crd {GADGETS}"), |_| true);
    let apply = |object: &Value| {
        eventually("the kind is served inside", || {
            let output = tenant.kubectl("apply -f -").input(object.to_string()).run();
            output
                .succeeded()
                .then_some(())
                .ok_or_else(|| output.to_string())
        });
    };
    apply(&gadget(
        "a",
        &json!({"config": "settings", "kept": {"x": [1]}}),
    ));
    let made = outside(&tenant, GADGETS, "a");
    assert_eq!(made["spec"]["config"], "settings-x-default-x-rules");
    assert_eq!(made["spec"]["kept"], json!({"x": [1]}));
    outside(&tenant, "configmaps", "settings");
    // Whoever names the control plane's own objects is refused, in whatever field.
    apply(&gadget("greedy", &json!({"account": "vcluster-sync"})));
    eventually("the tenant is told", || {
        let args = "get events --field-selector=involvedObject.kind=Gadget,involvedObject.name=greedy -o json";
        let events = tenant.kubectl(args).json().to_string();
        events.contains("spec.account").then_some(()).ok_or(events)
    });
    tenant.kubectl(&format!("delete {GADGETS} a")).ok();
    gone(&tenant, GADGETS, "a");
    // While a rule cannot be followed nobody knows what its objects use.
    outside(&tenant, "configmaps", "settings");
    patch(&tenant, &json!([rule(GADGETS, &uses)])).ok();
    gone(&tenant, "configmaps", "settings");
}
