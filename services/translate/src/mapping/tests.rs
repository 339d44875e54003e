//! What is shown, what is not, and how it follows.

use serde_json::json;

use super::*;
use crate::fixture::{context, patched};

fn from(namespace: Option<&str>) -> HostObject {
    HostObject {
        namespace: namespace.map(str::to_owned),
        name: "shared".to_owned(),
    }
}

fn host(changes: Value) -> Value {
    let mut object = json!({
        "metadata": {"name": "shared", "namespace": "team-a", "uid": "h", "labels": {"app": "x"}},
        "data": {"key": "value"},
    });
    merge(&mut object, changes);
    object
}

fn merge(found: &mut Value, changes: Value) {
    match (found, changes) {
        (Value::Object(found), Value::Object(changes)) => {
            for (key, value) in changes {
                merge(found.entry(key).or_insert(Value::Null), value);
            }
        }
        (found, changes) => *found = changes,
    }
}

fn stored(mut object: Value) -> Value {
    object["metadata"]["uid"] = "v".into();
    object
}

const TO: (&str, &str) = ("default", "config");

#[test]
fn what_belongs_to_a_virtual_cluster_or_is_not_shared_is_never_shown() {
    let shared = json!({"metadata": {"namespace": "infra", "labels": {SHAREABLE: "true"}}});
    let cases = [
        (None, json!({}), Ok(())),
        (Some("team-a"), json!({}), Ok(())),
        (Some("infra"), json!({}), Err(Error::NotShared)),
        (Some("infra"), shared, Ok(())),
        (
            None,
            json!({"metadata": {"labels": {PART: "control-plane"}}}),
            Err(Error::Ours),
        ),
        (
            None,
            json!({"metadata": {"labels": {CLUSTER: "demo"}}}),
            Err(Error::Ours),
        ),
        (
            None,
            json!({"metadata": {"annotations": {CLUSTER_UID: "x"}}}),
            Err(Error::Ours),
        ),
        (
            None,
            json!({"metadata": {"name": "vcluster-pki"}}),
            Err(Error::Ours),
        ),
        (
            None,
            json!({"type": "bootstrap.kubernetes.io/token"}),
            Err(Error::Token),
        ),
    ];
    for (namespace, changes, result) in cases {
        let shown = inside(
            Kind::Secret,
            &host(changes.clone()),
            &from(namespace),
            TO,
            &context(),
        );
        assert_eq!(shown.map(drop), result, "{namespace:?} {changes}");
    }
}

#[test]
fn a_copy_follows_the_host_and_goes_with_it() {
    let context = context();
    let wanted = |changes| inside(Kind::Secret, &host(changes), &from(None), TO, &context).unwrap();
    let step = |wanted, found| step_inside(Kind::Secret, wanted, found, &context).unwrap();
    let first = wanted(json!({"type": "Opaque"}));
    assert_eq!(
        first["metadata"]["annotations"][MAPPED_FROM],
        "team-a/shared"
    );
    assert_eq!(step(Some(first.clone()), None), Step::Create(first.clone()));
    let found = stored(first.clone());
    assert_eq!(step(Some(first), Some(&found)), Step::Nothing);
    let newer = wanted(json!({"type": "Opaque", "data": {"key": "newer"}}));
    let Step::Patch(patch) = step(Some(newer.clone()), Some(&found)) else {
        panic!("not patched")
    };
    let followed = patched(&found, &patch);
    assert_eq!(step(Some(newer), Some(&followed)), Step::Nothing);
    for wanted in [None, Some(wanted(json!({"type": "kubernetes.io/tls"})))] {
        let Step::Delete(delete) = step(wanted, Some(&found)) else {
            panic!("not deleted")
        };
        assert_eq!(delete.uid, "v");
    }
}

#[test]
fn what_a_tenant_made_is_left_alone() {
    let own = json!({"metadata": {"namespace": "default", "name": "config", "uid": "o"}});
    let wanted = inside(
        Kind::ConfigMap,
        &host(json!({})),
        &from(None),
        TO,
        &context(),
    )
    .unwrap();
    let refused = step_inside(Kind::ConfigMap, Some(wanted), Some(&own), &context());
    assert!(matches!(refused, Err(Error::Taken(_))), "{refused:?}");
    let left = step_inside(Kind::ConfigMap, None, Some(&own), &context());
    assert_eq!(left, Ok(Step::Nothing));
}

#[test]
fn a_service_of_the_host_has_its_own_address_inside() {
    let spec = json!({"spec": {
        "type": "NodePort", "clusterIP": "10.96.1.2", "clusterIPs": ["10.96.1.2"],
        "selector": {"app": "db"}, "ports": [{"port": 5432, "targetPort": 5432, "nodePort": 30000}],
    }});
    let show = |changes| inside(Kind::Service, &host(changes), &from(None), TO, &context());
    let wanted = show(spec.clone()).unwrap();
    assert_eq!(
        wanted["spec"],
        json!({"type": "ClusterIP", "clusterIP": "10.96.1.2", "clusterIPs": ["10.96.1.2"], "ipFamilyPolicy": "SingleStack",
            "ports": [{"port": 5432, "targetPort": 5432}]})
    );
    assert!(!service::is_on_host(&wanted, &context()));
    let mut found = stored(wanted.clone());
    found["spec"]["sessionAffinity"] = "None".into();
    let step = |wanted, found| step_inside(Kind::Service, wanted, found, &context()).unwrap();
    assert_eq!(step(Some(wanted.clone()), Some(&found)), Step::Nothing);
    let mut moved = wanted.clone();
    moved["spec"]["clusterIP"] = "10.96.1.3".into();
    assert!(matches!(step(Some(moved), Some(&found)), Step::Delete(_)));
    // Of two families as it is, and of one only although it might have two.
    for (policy, addresses, expected) in [
        (
            "RequireDualStack",
            json!(["10.96.1.2", "fd96::2"]),
            "RequireDualStack",
        ),
        ("PreferDualStack", json!(["10.96.1.2"]), "SingleStack"),
    ] {
        let mut of_two = spec.clone();
        of_two["spec"]["ipFamilyPolicy"] = policy.into();
        of_two["spec"]["clusterIPs"] = addresses;
        assert_eq!(show(of_two).unwrap()["spec"]["ipFamilyPolicy"], expected);
    }
    for address in [json!("None"), Value::Null] {
        let mut headless = spec.clone();
        headless["spec"]["clusterIP"] = address;
        assert_eq!(show(headless), Err(Error::NoAddress));
    }
}

#[test]
fn a_service_that_is_mapped_out_leads_to_its_pods_by_a_plain_name() {
    let context = context();
    let inside = json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "s"},
        "spec": {"type": "LoadBalancer", "clusterIP": "10.96.1.2", "selector": {"app": "web"},
            "ports": [{"port": 80, "targetPort": 8080, "nodePort": 30000}]},
    });
    let wanted = outside(&inside, "shop-web", &context).unwrap();
    assert_eq!(wanted["metadata"]["name"], "shop-web");
    assert_eq!(wanted["spec"]["type"], "ClusterIP");
    assert_eq!(wanted["spec"].get("clusterIP"), None);
    assert_eq!(wanted["spec"]["selector"]["vcluster.dev/namespace"], "shop");
    assert_eq!(
        crate::owner::of_ours(&wanted, &context),
        None,
        "it is no translation"
    );
    let mut found = stored(wanted.clone());
    found["spec"]["clusterIP"] = "10.96.9.9".into();
    let step = |wanted, found| step_outside(wanted, found, &context).unwrap();
    assert_eq!(step(Some(wanted.clone()), Some(&found)), Step::Nothing);
    let mut changed = wanted.clone();
    changed["spec"]["ports"] = json!([{"port": 81}]);
    let Step::Patch(patch) = step(Some(changed.clone()), Some(&found)) else {
        panic!("not patched")
    };
    let followed = patched(&found, &patch);
    assert_eq!(step(Some(changed), Some(&followed)), Step::Nothing);
    assert!(matches!(step(None, Some(&found)), Step::Delete(_)));
    let mut strangers = found.clone();
    strangers["metadata"]["annotations"] = json!({});
    assert!(matches!(
        step_outside(Some(wanted), Some(&strangers), &context),
        Err(Error::Taken(_))
    ));
    let mut bare = inside;
    bare["spec"]["selector"] = json!({});
    assert_eq!(outside(&bare, "x", &context), Err(Error::NoSelector));
}
