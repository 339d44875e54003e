//! VirtualClusters: one per host namespace, and the part of it that is sync's.

use serde_json::{Value, json};

use crate::namespace::{Namespace, service};

#[test]
fn a_host_namespace_takes_one_virtual_cluster() {
    // Without the label, so that nobody builds it.
    let place = Namespace::create("test-policy-one", &json!({}));
    let cluster = |name: &str| {
        place.object(
            "vcluster.dev/v1alpha1",
            "VirtualCluster",
            name,
            &json!({"spec": {}}),
        )
    };
    place.host.apply(&cluster("first").to_string());
    let refusal = "host namespace \"test-policy-one\" already has the virtual cluster \"first\": one per host namespace";
    let second = place
        .host
        .kubectl("create -f -")
        .input(cluster("second").to_string());
    second.refused(&[refusal]);
    let again = place
        .host
        .kubectl("create -f -")
        .input(cluster("first").to_string());
    again.refused(&["AlreadyExists"]);
    place
        .host
        .kubectl("-n test-policy-one delete virtualcluster first --wait=false")
        .ok();
}

#[test]
fn sync_changes_its_own_part_of_a_virtual_cluster() {
    let place = Namespace::create("test-policy-part", &json!({}));
    let cluster = place.object(
        "vcluster.dev/v1alpha1",
        "VirtualCluster",
        "first",
        &json!({"spec": {}}),
    );
    place.host.apply(&cluster.to_string());
    let sync = service("vcluster-sync");
    let patch = |more: &str, patch: &Value| {
        place.patch_as(&sync, &format!("virtualcluster first{more}"), patch)
    };
    let found = place.host.list("-n test-policy-part virtualclusters");
    let mut finalizers = found[0]["metadata"]["finalizers"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    finalizers.push("vcluster.dev/sync".into());
    patch("", &json!({"metadata": {"finalizers": finalizers}})).ok();
    finalizers.push("example.com/other".into());
    for change in [
        json!({"metadata": {"finalizers": finalizers}}),
        json!({"metadata": {"labels": {"a": "b"}}}),
        json!({"spec": {"version": "1.37.0"}}),
    ] {
        patch("", &change).refused(&["only its own finalizer"]);
    }
    // By server-side apply, as sync does it: the patch of kubectl reads first, which sync may not.
    let applied = |status: &Value| {
        let args = format!(
            "apply --server-side --force-conflicts --subresource=status --dry-run=server -f - --as={sync}"
        );
        let (version, kind) = ("vcluster.dev/v1alpha1", "VirtualCluster");
        let object = place.object(version, kind, "first", &json!({ "status": status }));
        place.host.kubectl(&args).input(object.to_string())
    };
    for status in [
        json!({"phase": "Ready"}),
        json!({"endpoint": "https://192.0.2.1"}),
        json!({"message": "all is well"}),
        json!({"version": "1.37.9"}),
        json!({"observedGeneration": 7}),
        json!({"serviceCIDRs": ["192.0.2.0/28"]}),
        json!({"dnsAddress": "192.0.2.1"}),
    ] {
        applied(&status).refused(&["only the conditions SyncReady"]);
    }
    place
        .host
        .kubectl("-n test-policy-part delete virtualcluster first --wait=false")
        .ok();
}
