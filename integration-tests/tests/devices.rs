//! Devices of the host, claimed from inside a virtual cluster (dynamic resource allocation). The test plays the
//! driver: it says which devices the node has. Nothing prepares them, so the pod is placed and does not start.

use integration_tests::{Host, Tenant, eventually, host};
use serde_json::{Value, json};

const DRIVER: &str = "devices.test.vcluster.dev";

/// A driver's devices on the host's node and the class that chooses them, removed with the test.
struct Devices {
    host: Host,
}

impl Devices {
    #[track_caller]
    fn publish() -> Self {
        let host = Host::get();
        let node = host::name(&host.list("nodes")[0]).to_owned();
        let class = json!({
            "apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": DRIVER},
            "spec": {"selectors": [{"cel": {"expression": format!("device.driver == '{DRIVER}'")}}]},
        });
        let slice = json!({
            "apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": DRIVER},
            "spec": {
                "driver": DRIVER, "nodeName": node,
                "pool": {"name": node, "generation": 1, "resourceSliceCount": 1},
                "devices": [{"name": "first"}, {"name": "second"}],
            },
        });
        host.apply(&class.to_string());
        host.apply(&slice.to_string());
        Self { host }
    }
}

impl Drop for Devices {
    fn drop(&mut self) {
        for kind in ["deviceclass", "resourceslice"] {
            let args = format!("delete {kind} {DRIVER} --ignore-not-found");
            self.host.kubectl(&args).run();
        }
    }
}

fn claim_spec() -> Value {
    json!({"devices": {"requests": [{"name": "one", "exactly": {"deviceClassName": DRIVER}}]}})
}

#[track_caller]
fn allocated(tenant: &Tenant, name: &str) -> Value {
    eventually(&format!("a device for {name}"), || {
        let args = format!("get resourceclaim {name} -o json");
        let claim = tenant.kubectl(&args).json();
        let device = claim.pointer("/status/allocation/devices/results/0");
        match device {
            Some(device) if device["driver"] == DRIVER => Ok(claim.clone()),
            Some(_) | None => Err(claim["status"].clone()),
        }
    })
}

fn host_claims(tenant: &Tenant) -> Vec<String> {
    let claims = tenant.host().list(&format!(
        "-n {} resourceclaims -l vcluster.dev/part=workload",
        tenant.namespace
    ));
    claims
        .iter()
        .map(|claim| host::name(claim).to_owned())
        .collect()
}

#[test]
fn a_pod_gets_the_devices_that_it_claims_by_name_and_by_template() {
    let _devices = Devices::publish();
    let tenant = Tenant::create("devices");
    let inside = tenant.inside();
    let (version, namespace) = ("resource.k8s.io/v1", "default");
    inside.apply(
        &json!({
            "apiVersion": version, "kind": "ResourceClaim",
            "metadata": {"name": "shared", "namespace": namespace}, "spec": claim_spec(),
        })
        .to_string(),
    );
    inside.apply(
        &json!({
            "apiVersion": version, "kind": "ResourceClaimTemplate",
            "metadata": {"name": "own", "namespace": namespace}, "spec": {"spec": claim_spec()},
        })
        .to_string(),
    );
    inside.apply(
        &json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "user", "namespace": namespace},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "resourceClaims": [
                    {"name": "named", "resourceClaimName": "shared"},
                    {"name": "made", "resourceClaimTemplateName": "own"},
                ],
                "containers": [{
                    "name": "main", "image": "docker.io/library/busybox:latest", "command": ["sleep", "3600"],
                    "imagePullPolicy": "IfNotPresent",
                    "resources": {"claims": [{"name": "named"}, {"name": "made"}]},
                }],
            },
        })
        .to_string(),
    );
    let shared = allocated(&tenant, "shared");
    let made = eventually("the claim of the template", || {
        let pod = tenant.kubectl("get pod user -o json").json();
        let statuses = pod.pointer("/status/resourceClaimStatuses/0/resourceClaimName");
        let name = statuses.and_then(Value::as_str);
        name.map(str::to_owned).ok_or_else(|| pod["status"].clone())
    });
    let made = allocated(&tenant, &made);
    let device =
        |claim: &Value| claim["status"]["allocation"]["devices"]["results"][0]["device"].clone();
    assert_ne!(device(&shared), device(&made), "each has one of its own");
    eventually(
        "each side's controller reserves the claim for its own pod",
        || {
            let claim = tenant.kubectl("get resourceclaim shared -o json").json();
            match claim.pointer("/status/reservedFor/0/name") {
                Some(name) if name == "user" => Ok(()),
                Some(_) | None => Err(claim["status"].clone()),
            }
        },
    );
    let class = tenant
        .kubectl(&format!("get deviceclass {DRIVER} -o json"))
        .json();
    assert_eq!(class["spec"]["selectors"].as_array().map(Vec::len), Some(1));

    tenant.kubectl("delete pod user").ok();
    tenant
        .kubectl("delete resourceclaim shared --wait=false")
        .ok();
    eventually("no claim is left on the host", || {
        match host_claims(&tenant) {
            left if left.is_empty() => Ok(()),
            left => Err(left.join(", ")),
        }
    });
}
