//! Objects of the host, shown inside.

use integration_tests::{Tenant, eventually};
use serde_json::{Value, json};

use crate::{
    GADGETS, SHELVES,
    definitions::{define, definition},
    rule::{patch, rule, said},
    sides::inside,
};

#[test]
fn objects_of_the_host_are_shown_inside_and_a_definition_of_the_tenant_s_own_is_left_alone() {
    let tenant = Tenant::create("shown");
    let host = tenant.host();
    define(host, &definition("Gadget", "gadgets", "Namespaced"));
    define(host, &definition("Shelf", "shelves", "Cluster"));
    // The tenant has a definition of its own, with a field more.
    let mut own = definition("Gadget", "gadgets", "Namespaced");
    own["metadata"]["annotations"] = json!({"example.com/own": "yes"});
    define(&tenant.inside(), &own);
    tenant.kubectl("create namespace gadgets").ok();
    let shared = format!("shelf-{}", tenant.namespace);
    let shelf = |name: &str, labels: &Value| {
        json!({
            "apiVersion": "test.vcluster.dev/v1", "kind": "Shelf",
            "metadata": {"name": name, "labels": labels}, "spec": {"height": 3},
        })
    };
    host.apply(&shelf(&shared, &json!({"vcluster.dev/shareable": "true"})).to_string());
    host.apply(&shelf(&format!("{shared}-not"), &json!({})).to_string());
    let gadget = json!({
        "apiVersion": "test.vcluster.dev/v1", "kind": "Gadget",
        "metadata": {"namespace": tenant.namespace, "name": "lamp"}, "spec": {"on": true},
    });
    host.apply(&gadget.to_string());
    patch(
        &tenant,
        &json!([
            rule(
                GADGETS,
                &json!({"direction": "FromHost", "namespace": "gadgets"})
            ),
            rule(SHELVES, &json!({"direction": "FromHost"})),
        ]),
    )
    .ok();
    said(
        &tenant,
        "True",
        &[GADGETS, SHELVES, "definition of its own"],
    );
    let lamp = format!("-n gadgets {GADGETS} lamp");
    inside(&tenant, &lamp, |object| object["spec"]["on"] == true);
    inside(&tenant, &format!("{SHELVES} {shared}"), |object| {
        object["spec"]["height"] == 3
    });
    tenant
        .kubectl(&format!("get {SHELVES} {shared}-not"))
        .refused(&["NotFound"]);
    let kept = tenant.kubectl(&format!("get crd {GADGETS} -o json")).json();
    assert_eq!(kept["metadata"]["annotations"]["example.com/own"], "yes");

    let change = json!({"spec": {"on": false}}).to_string();
    let args = [
        "-n",
        &tenant.namespace,
        "patch",
        GADGETS,
        "lamp",
        "--type=merge",
        "-p",
        &change,
    ];
    host.kubectl_args(&args).ok();
    inside(&tenant, &lamp, |object| object["spec"]["on"] == false);
    // Whoever changes it inside changes nothing.
    let change = json!({"spec": {"on": "broken"}}).to_string();
    let args = [
        "-n",
        "gadgets",
        "patch",
        GADGETS,
        "lamp",
        "--type=merge",
        "-p",
        &change,
    ];
    drop(tenant.inside().kubectl_args(&args).run());
    inside(&tenant, &lamp, |object| object["spec"]["on"] == false);
    host.kubectl(&format!("-n {} delete {GADGETS} lamp", tenant.namespace))
        .ok();
    eventually("it is gone inside", || {
        let output = tenant.kubectl(&format!("get {lamp}")).run();
        if output.succeeded() {
            Err(output.to_string())
        } else {
            Ok(())
        }
    });
    host.kubectl(&format!("delete {SHELVES} {shared} {shared}-not"))
        .ok();
}
