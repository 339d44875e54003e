//! Load balancers: the host's cloud controller acts, and the virtual cluster is told.

use integration_tests::{Tenant, eventually};
use serde_json::{Value, json};

fn inside(tenant: &Tenant) -> Value {
    tenant.kubectl("get service web -o json").json()
}

fn becomes(tenant: &Tenant, what: &str, is: impl Fn(&Value) -> bool) {
    eventually(what, || {
        let service = inside(tenant);
        if is(&service) {
            Ok(())
        } else {
            Err(service.to_string())
        }
    });
}

#[test]
fn what_the_host_s_load_balancer_says_is_told_inside_and_class_and_affinity_reach_it() {
    let tenant = Tenant::create("balance");
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {
            "type": "LoadBalancer",
            "loadBalancerClass": "example.com/fast",
            "allocateLoadBalancerNodePorts": false,
            "loadBalancerSourceRanges": ["198.51.100.0/24"],
            "sessionAffinity": "ClientIP",
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 77}},
            "selector": {"app": "web"},
            "ports": [{"port": 80}],
        },
    });
    tenant.inside().apply(&service.to_string());
    let name = format!("web-x-default-x-{}", tenant.name);
    let host = || {
        let get = format!("-n {} get service {name} -o json", tenant.namespace);
        tenant.host().kubectl(&get).json()
    };
    let (spec, seen) = (host()["spec"].clone(), inside(&tenant)["spec"].clone());
    for field in [
        "type",
        "clusterIP",
        "loadBalancerClass",
        "allocateLoadBalancerNodePorts",
        "loadBalancerSourceRanges",
        "sessionAffinity",
        "sessionAffinityConfig",
    ] {
        assert_eq!(spec[field], seen[field], "{field}");
    }
    assert_eq!(
        spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"],
        77
    );
    assert!(spec["ports"][0].get("nodePort").is_none());

    // The part of a cloud's controller.
    let say = |ingress: Value| {
        let patch = json!({"status": {"loadBalancer": {"ingress": ingress}}}).to_string();
        let args = [
            "-n",
            &tenant.namespace,
            "patch",
            "service",
            &name,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ];
        tenant.host().kubectl_args(&args).ok();
    };
    for ingress in [
        json!([{"ip": "192.0.2.7", "ipMode": "VIP"}]),
        json!([{"ip": "192.0.2.8", "ipMode": "Proxy"}]),
        json!([{"hostname": "lb.example.com", "ports": [{"port": 80, "protocol": "TCP"}]}]),
    ] {
        say(ingress.clone());
        becomes(&tenant, "the status comes up", |service| {
            service["status"]["loadBalancer"]["ingress"] == ingress
        });
    }
    tenant
        .inside()
        .kubectl_args(&[
            "patch", "service", "web", "--type=merge", "-p",
            r#"{"spec":{"type":"ClusterIP","loadBalancerClass":null,"loadBalancerSourceRanges":null,"allocateLoadBalancerNodePorts":null}}"#,
        ])
        .ok();
    say(json!([]));
    becomes(
        &tenant,
        "the status goes with the load balancer",
        |service| service["status"]["loadBalancer"]["ingress"].is_null(),
    );
}
