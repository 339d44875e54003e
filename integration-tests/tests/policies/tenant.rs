//! What a tenant's account writes.

use serde_json::{Value, json};

use crate::{
    namespace::Namespace,
    pod::{claim, container, context, pod, volume},
};

#[test]
fn a_tenants_account_makes_powerless_pods_only() {
    let place = Namespace::opened("test-policy-powerless");
    place.bind();
    let tenant = "system:serviceaccount:test-policy-powerless:vcluster-sync";
    let workload = json!({"vcluster.dev/part": "workload"});
    for harmless in [
        json!({}),
        context(&json!({"capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}})),
        claim("data-x-shop-x-demo"),
        claim("data-0123456789abcdef0123"),
    ] {
        let pod = pod(&place, &workload, &harmless);
        place.create_as(tenant, &pod).ok();
    }
    place
        .create_as(tenant, &pod(&place, &json!({}), &json!({})))
        .refused(&["vcluster.dev/part=workload"]);
    let keys = "vcluster-pki";
    let (node, fences) = ("host's node", "fences");
    let (mounts, reads) = (
        "may not mount the control plane's Secrets",
        "may not read the control plane's Secrets",
    );
    let others = "only claims that were translated";
    for (spec, refusal) in [
        (
            json!({"serviceAccountName": "vcluster-sync"}),
            "vcluster-workload",
        ),
        (json!({"hostNetwork": true}), node),
        (json!({"hostPID": true}), node),
        (volume(json!({"hostPath": {"path": "/"}})), node),
        (
            context(&json!({"privileged": true})),
            "may not be privileged",
        ),
        (
            container(json!({"ports": [{"containerPort": 1, "hostPort": 1}]})),
            "nor open a port",
        ),
        (
            context(&json!({"capabilities": {"add": ["SYS_ADMIN"]}})),
            fences,
        ),
        (
            context(&json!({"seccompProfile": {"type": "Unconfined"}})),
            fences,
        ),
        (
            context(&json!({"appArmorProfile": {"type": "Unconfined"}})),
            fences,
        ),
        (
            json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}),
            fences,
        ),
        (
            json!({"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}}),
            fences,
        ),
        (
            volume(json!({"nfs": {"server": "192.0.2.1", "path": "/"}})),
            "only volumes of the kinds",
        ),
        (volume(json!({"secret": {"secretName": keys}})), mounts),
        (
            volume(json!({"csi": {"driver": "d", "nodePublishSecretRef": {"name": keys}}})),
            mounts,
        ),
        (
            container(json!({"envFrom": [{"secretRef": {"name": keys}}]})),
            reads,
        ),
        (claim("data-demo-0"), others),
        (claim("somebody-s"), others),
    ] {
        let pod = pod(&place, &workload, &spec);
        place.create_as(tenant, &pod).refused(&[refusal]);
    }
}

#[test]
fn a_tenants_account_changes_translated_objects_only() {
    let place = Namespace::opened("test-policy-tenant");
    place.bind();
    let keys = place.object("v1", "Secret", "vcluster-pki", &json!({}));
    place.host.apply(&keys.to_string());
    let tenant = "system:serviceaccount:test-policy-tenant:vcluster-sync";
    let workload = json!({"vcluster.dev/part": "workload"});
    let secret = |type_: &str| {
        let more = json!({"labels": workload, "type": type_});
        let mut secret = place.object("v1", "Secret", "s", &more);
        secret["metadata"]["annotations"] =
            json!({"kubernetes.io/service-account.name": "vcluster-sync"});
        secret
    };
    place.create_as(tenant, &secret("Opaque")).ok();
    place
        .create_as(tenant, &secret("kubernetes.io/service-account-token"))
        .refused(&["tokens of the host"]);
    let marked = json!({"metadata": {"labels": workload}});
    place
        .patch_as(tenant, "secret vcluster-pki", &marked)
        .refused(&["only translated objects"]);
    let args = format!(
        "-n {} delete secret vcluster-pki --dry-run=server --as={tenant}",
        place.name
    );
    place
        .host
        .kubectl(&args)
        .refused(&["only translated objects"]);
}

#[test]
fn a_tenants_account_writes_no_object_that_reaches_beyond_the_tenant() {
    let place = Namespace::opened("test-policy-beyond");
    place.bind();
    let tenant = "system:serviceaccount:test-policy-beyond:vcluster-sync";
    let written = |version: &str, kind: &str, spec: &Value| {
        let labels = json!({"vcluster.dev/part": "workload"});
        let object = place.object(version, kind, "o", &json!({"labels": labels, "spec": spec}));
        place.create_as(tenant, &object)
    };
    let claim = |more: Value| {
        let mut spec = json!({
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}},
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        written("v1", "PersistentVolumeClaim", &spec)
    };
    let copy =
        |name: &str| claim(json!({"dataSource": {"kind": "PersistentVolumeClaim", "name": name}}));
    claim(json!({})).ok();
    copy("data-x-shop-x-demo").ok();
    copy("data-demo-0").refused(&["a copy only of what was translated"]);
    claim(json!({"volumeName": "somebody-s"})).refused(&["may not choose among"]);
    claim(json!({"selector": {"matchLabels": {"a": "b"}}})).refused(&["may not choose among"]);

    let service = |more: Value| {
        let mut spec = json!({"ports": [{"port": 1}]});
        for (key, value) in more.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        written("v1", "Service", &spec)
    };
    service(json!({"selector": {"vcluster.dev/namespace": "shop"}})).ok();
    service(json!({"selector": {"app": "api"}})).refused(&["only translated pods"]);
    service(json!({"externalIPs": ["192.0.2.1"]})).refused(&["by externalIPs"]);

    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    let rule = |host: Option<&str>| {
        let paths = json!([{"path": "/", "pathType": "Prefix", "backend": backend}]);
        let mut rule = json!({"http": {"paths": paths}});
        if let Some(host) = host {
            rule["host"] = host.into();
        }
        json!({ "rules": [rule] })
    };
    let (networking, everybody) = (
        "networking.k8s.io/v1",
        ["may not take the requests of everybody"],
    );
    written(networking, "Ingress", &rule(Some("shop.example.com"))).ok();
    written(networking, "Ingress", &rule(None)).refused(&everybody);
    written(networking, "Ingress", &json!({"defaultBackend": backend})).refused(&everybody);

    let own = json!({"matchLabels": {"vcluster.dev/part": "workload"}});
    for (version, kind, key) in [
        (networking, "NetworkPolicy", "podSelector"),
        ("policy/v1", "PodDisruptionBudget", "selector"),
    ] {
        let named = |name: &str, spec: &Value| {
            let labels = json!({"vcluster.dev/part": "workload"});
            let object = place.object(
                version,
                kind,
                name,
                &json!({"labels": labels, "spec": spec}),
            );
            place.create_as(tenant, &object)
        };
        let translated = "o-x-shop-x-demo";
        named(translated, &json!({ key: own })).ok();
        named(translated, &json!({key: {}})).refused(&["may select only pods"]);
        if kind == "NetworkPolicy" {
            for reserved in ["vcluster-control-plane-egress", "vcluster-dns-ingress", "o"] {
                named(reserved, &json!({ key: own }))
                    .refused(&["network policies that were translated"]);
            }
        }
    }
}

#[test]
fn a_tenants_account_writes_translated_service_accounts_only() {
    let place = Namespace::opened("test-policy-accounts");
    place.bind();
    let tenant = "system:serviceaccount:test-policy-accounts:vcluster-sync";
    let workload = json!({"vcluster.dev/part": "workload"});
    let translated = "builder-x-shop-x-demo";
    let account = |name: &str, more: &Value| {
        let labels = json!({"labels": workload, "automountServiceAccountToken": false});
        let mut account = place.object("v1", "ServiceAccount", name, &labels);
        for (key, value) in more.as_object().into_iter().flatten() {
            match key.as_str() {
                "annotations" => account["metadata"]["annotations"] = value.clone(),
                key => account[key] = value.clone(),
            }
        }
        place.create_as(tenant, &account)
    };
    let pulls = |secret: &str| json!({"imagePullSecrets": [{"name": secret}]});
    account(
        translated,
        &json!({"annotations": {"vcluster.dev/kind": "ServiceAccount"}}),
    )
    .ok();
    account(translated, &pulls("registry-x-shop-x-demo")).ok();
    account("builder", &json!({})).refused(&["only service accounts that were translated"]);
    for more in [
        json!({"automountServiceAccountToken": true}),
        json!({"secrets": [{"name": "vcluster-sync"}]}),
        pulls("vcluster-pki"),
    ] {
        account(translated, &more).refused(&["may hold no tokens"]);
    }
    let identity =
        json!({"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/admin"}});
    account(translated, &identity)
        .refused(&["only annotations that the host's administrator allows"]);
    for own in ["vcluster-sync", "vcluster-workload", "default"] {
        let marked = json!({"metadata": {"labels": workload}});
        place
            .patch_as(tenant, &format!("serviceaccount {own}"), &marked)
            .refused(&["a tenant may"]);
        let args = format!(
            "-n {} delete serviceaccount {own} --dry-run=server --as={tenant}",
            place.name
        );
        place.host.kubectl(&args).refused(&["a tenant may"]);
    }
    let named = |name: &str| pod(&place, &workload, &json!({"serviceAccountName": name}));
    place
        .create_as(tenant, &named("default"))
        .refused(&["vcluster-workload"]);
    place.host.apply(
        &place
            .object("v1", "ServiceAccount", translated, &json!({}))
            .to_string(),
    );
    place.create_as(tenant, &named(translated)).ok();
    let token = format!("-n {} create token {translated} --as={tenant}", place.name);
    place.host.kubectl(&token).refused(&["forbidden"]);
}
