//! Classes of virtual clusters on the host: who writes and who names them.

use integration_tests::{Host, host};
use serde_json::{Value, json};

use crate::{
    namespace::{Namespace, service},
    pod::pod,
};

/// A PriorityClass of the host, removed with it.
struct Priority(Host, String);

impl Drop for Priority {
    fn drop(&mut self) {
        let args = format!("delete priorityclass {} --ignore-not-found", self.1);
        self.0.kubectl(&args).run();
    }
}

/// A class in no namespace, with the marks of a virtual cluster of `namespace`.
fn class(version: &str, kind: &str, namespace: &str, more: &Value) -> Value {
    let mut class = json!({
        "apiVersion": version, "kind": kind,
        "metadata": {
            "name": format!("own.demo.{namespace}.vcluster.dev"),
            "labels": {"vcluster.dev/part": "workload"},
            "annotations": {"vcluster.dev/cluster-uid": "1", "vcluster.dev/host-namespace": namespace},
        },
    });
    let fields = more.as_object().expect("fields").clone();
    class.as_object_mut().expect("an object").extend(fields);
    class
}

#[test]
fn sync_writes_only_classes_of_virtual_clusters_as_far_as_the_chart_allows() {
    let place = Namespace::create("test-policy-classes", &json!({}));
    let sync = service("vcluster-sync");
    let (scheduling, storage) = ("scheduling.k8s.io/v1", "storage.k8s.io/v1");
    let priority = |more: &Value| {
        let mut class = class(
            scheduling,
            "PriorityClass",
            place.name,
            &json!({"value": 100, "preemptionPolicy": "Never"}),
        );
        let fields = more.as_object().expect("fields").clone();
        class.as_object_mut().expect("an object").extend(fields);
        class
    };
    place.create_as(&sync, &priority(&json!({}))).ok();
    for more in [
        json!({"value": 101}),
        json!({"globalDefault": true}),
        json!({"preemptionPolicy": "PreemptLowerPriority"}),
    ] {
        place
            .create_as(&sync, &priority(&more))
            .refused(&["sync.toHost.priorityClasses allows"]);
    }
    let mut unmarked = priority(&json!({}));
    unmarked["metadata"]["annotations"] = Value::Null;
    let mut anothers = priority(&json!({}));
    anothers["metadata"]["name"] = "own.demo.another.vcluster.dev".into();
    let mut plain = priority(&json!({}));
    plain["metadata"]["name"] = "own".into();
    for class in [unmarked, anothers, plain] {
        place
            .create_as(&sync, &class)
            .refused(&["the marks and the name of a virtual cluster's"]);
    }
    let provisioned = |more: &Value| {
        let mut class = class(
            storage,
            "StorageClass",
            place.name,
            &json!({"provisioner": "rancher.io/local-path"}),
        );
        let fields = more.as_object().expect("fields").clone();
        class.as_object_mut().expect("an object").extend(fields);
        place.create_as(&sync, &class)
    };
    provisioned(&json!({"parameters": {"type": "ssd"}})).ok();
    for more in [
        json!({"provisioner": "ebs.csi.aws.com"}),
        json!({"parameters": {"csi.storage.k8s.io/provisioner-secret-name": "admin"}}),
        json!({"mountOptions": ["suid"]}),
    ] {
        provisioned(&more).refused(&["only the provisioners that the chart allows"]);
    }

    // The host's own are nobody's to change.
    let own = Priority(Host::get(), "test-policy-own".to_owned());
    let metadata = json!({"name": own.1});
    own.0.apply(&json!({"apiVersion": scheduling, "kind": "PriorityClass", "metadata": metadata, "value": 7}).to_string());
    let marks = priority(&json!({}));
    let marks = json!({"metadata": {"labels": marks["metadata"]["labels"], "annotations": marks["metadata"]["annotations"]}});
    place
        .patch_as(&sync, &format!("priorityclass {}", own.1), &marks)
        .refused(&["sync may"]);
    let delete = format!(
        "delete priorityclass {} --dry-run=server --as={sync}",
        own.1
    );
    own.0
        .kubectl(&delete)
        .refused(&["sync may change or delete only classes"]);
}

#[test]
fn a_tenants_account_names_no_class_of_another_virtual_cluster() {
    let place = Namespace::opened("test-policy-class-names");
    place.bind();
    let tenant = "system:serviceaccount:test-policy-class-names:vcluster-sync";
    let workload = json!({"vcluster.dev/part": "workload"});
    for (namespace, allowed) in [
        (place.name, true),
        ("test-policy-other", false),
        ("names", false),
    ] {
        let made = class(
            "scheduling.k8s.io/v1",
            "PriorityClass",
            namespace,
            &json!({"value": -1}),
        );
        let name = host::name(&made).to_owned();
        let made_by_admin = Priority(Host::get(), name.clone());
        made_by_admin.0.apply(&made.to_string());
        let pod = pod(&place, &workload, &json!({"priorityClassName": name}));
        let claim = json!({"labels": workload, "spec": {
            "storageClassName": name, "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Mi"}},
        }});
        let claim = place.object("v1", "PersistentVolumeClaim", "data-x-shop-x-demo", &claim);
        for object in [pod, claim] {
            let tried = place.create_as(tenant, &object);
            if allowed {
                tried.ok();
            } else {
                tried.refused(&["of another virtual cluster's"]);
            }
        }
    }
    // Nor does it write any.
    let own = class(
        "scheduling.k8s.io/v1",
        "PriorityClass",
        place.name,
        &json!({"value": -1}),
    );
    place.create_as(tenant, &own).refused(&["forbidden"]);
}
