//! The other tenant: what it has, and that it is as it was.

use integration_tests::Tenant;
use serde_json::{Value, json};

use crate::object::{object, pod};

/// What the victim has.
pub(crate) struct Victim {
    /// Address of its Service.
    pub(crate) address: String,
    /// Address of its pod.
    pub(crate) pod: String,
    /// The host's volume of its claim.
    pub(crate) volume: String,
    /// Its host namespace.
    pub(crate) namespace: String,
}

/// A Secret, a volume, a Service and the pod that uses all of it.
pub(crate) fn settle(victim: &Tenant) -> Victim {
    let claim = json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}}});
    let volumes = json!([
        {"name": "crown", "secret": {"secretName": "crown"}},
        {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
    ]);
    let port = json!({"spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}});
    for object in [
        object(
            "v1",
            "Secret",
            "crown",
            &json!({"stringData": {"jewel": "koh-i-noor"}}),
        ),
        object("v1", "PersistentVolumeClaim", "data", &claim),
        object("v1", "Service", "web", &port),
        pod(
            "crown",
            &json!({"metadata": {"labels": {"app": "web"}}, "volumes": volumes}),
        ),
    ] {
        victim.inside().apply(&object.to_string());
    }
    victim
        .kubectl("wait --for=condition=Ready pod/crown --timeout=120s")
        .ok();
    Victim {
        address: victim
            .kubectl("get service web -o jsonpath={.spec.clusterIP}")
            .ok(),
        pod: victim
            .kubectl("get pod crown -o jsonpath={.status.podIP}")
            .ok(),
        volume: victim
            .kubectl("get pvc data -o jsonpath={.spec.volumeName}")
            .ok(),
        namespace: victim.namespace.clone(),
    }
}

/// UIDs of the host's objects of a tenant.
pub(crate) fn untouched(tenant: &Tenant) -> Vec<Value> {
    let kinds = "pods,services,secrets,persistentvolumeclaims";
    let args = format!(
        "-n {} {kinds} -l vcluster.dev/part=workload",
        tenant.namespace
    );
    let found = tenant.host().list(&args);
    found
        .iter()
        .map(|object| object["metadata"]["uid"].clone())
        .collect()
}
