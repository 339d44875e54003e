//! What is shown of a capacity, under which name, and what becomes of what is there.

use super::*;
use crate::fixture::context;

fn host() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "CSIStorageCapacity",
        "metadata": {
            "name": "csisc-x7k", "namespace": "storage", "uid": "h",
            "labels": {"csi.storage.k8s.io/drivername": "d.example.com", "vcluster.dev/shareable": "true"},
            "ownerReferences": [{"kind": "Deployment", "name": "provisioner"}],
        },
        "nodeTopology": {"matchLabels": {"zone": "a"}},
        "storageClassName": "fast",
        "capacity": "10Gi",
        "maximumVolumeSize": "1Gi",
    })
}

fn shown() -> Value {
    inside(&host(), "fast", &context()).unwrap()
}

/// As the virtual API server stores it.
fn stored() -> Value {
    let mut stored = shown();
    stored["metadata"]["uid"] = "v".into();
    stored["metadata"]["resourceVersion"] = "7".into();
    stored
}

#[test]
fn its_room_is_shown_under_a_name_that_tells_where_it_is_and_nothing_else_of_the_host() {
    assert_eq!(
        shown(),
        json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "CSIStorageCapacity",
            "metadata": {
                "name": "storage.csisc-x7k", "namespace": "kube-system",
                "labels": {
                    "csi.storage.k8s.io/drivername": "d.example.com", "vcluster.dev/managed": "true",
                },
                "annotations": {"vcluster.dev/cluster-uid": context().cluster_uid},
            },
            "nodeTopology": {"matchLabels": {"zone": "a"}},
            "storageClassName": "fast", "capacity": "10Gi", "maximumVolumeSize": "1Gi",
        })
    );
    let own = inside(&host(), "mine", &context()).unwrap();
    assert_eq!(own["storageClassName"], "mine");
}

#[test]
fn a_name_that_is_too_long_for_one_shows_nothing() {
    let mut long = host();
    long["metadata"]["name"] = "n".repeat(245).into();
    assert_eq!(name(&long).map(|name| name.len()), Some(253));
    long["metadata"]["name"] = "n".repeat(246).into();
    assert_eq!(inside(&long, "fast", &context()), None);
}

#[test]
fn it_is_about_the_nodes_that_its_topology_selects() {
    let node = |zone: &str| json!({"metadata": {"labels": {"zone": zone}}});
    let about = |topology: Value, node: &Value| {
        let mut host = host();
        host["nodeTopology"] = topology;
        super::topology(&host).map(|topology| is_about(&topology, node))
    };
    let zone = json!({"matchLabels": {"zone": "a"}});
    let zones =
        json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}]});
    for (topology, node, wanted) in [
        (zone.clone(), node("a"), Some(true)),
        (zone.clone(), node("b"), Some(false)),
        (zone, json!({}), Some(false)),
        (zones, node("b"), Some(true)),
        // Every node, and none.
        (json!({}), json!({}), Some(true)),
        (Value::Null, node("a"), None),
        (
            json!({"matchExpressions": [{"key": "zone", "operator": "Gt"}]}),
            node("a"),
            None,
        ),
    ] {
        assert_eq!(about(topology.clone(), &node), wanted, "{topology}");
    }
}

#[test]
fn what_is_inside_follows_the_host_and_what_the_tenant_made_stays() {
    let (wanted, found) = (shown(), stored());
    let next = |wanted: Option<&Value>, found: Option<&Value>| step(wanted, found, &context());
    assert_eq!(next(None, None), Step::Nothing);
    assert_eq!(next(Some(&wanted), None), Step::Create(wanted.clone()));
    assert_eq!(next(Some(&wanted), Some(&found)), Step::Nothing);

    let mut less = wanted.clone();
    less["capacity"] = "9Gi".into();
    let Step::Patch(patch) = next(Some(&less), Some(&found)) else {
        panic!("not patched");
    };
    assert_eq!(patch.body["capacity"], "9Gi");

    let mut moved = wanted.clone();
    moved["nodeTopology"]["matchLabels"]["zone"] = "b".into();
    for (wanted, cause) in [(Some(&moved), Cause::Replace), (None, Cause::HostGone)] {
        let Step::Delete(delete) = next(wanted, Some(&found)) else {
            panic!("not deleted");
        };
        assert_eq!((&*delete.uid, delete.cause), ("v", cause));
    }

    let mut own = found;
    own["metadata"]["labels"] = json!({});
    for wanted in [Some(&less), None] {
        assert_eq!(next(wanted, Some(&own)), Step::Nothing);
    }
}
