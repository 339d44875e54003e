//! Creating, showing and deleting virtual clusters, by the command line and by kubectl.

use integration_tests::{Host, Tenant, eventually, host};
use serde_json::{Value, json};

fn virtual_cluster(tenant: &Tenant, spec: &Value) -> String {
    json!({
        "apiVersion": "vcluster.dev/v1alpha1", "kind": "VirtualCluster",
        "metadata": {"name": tenant.name, "namespace": tenant.namespace},
        "spec": spec,
    })
    .to_string()
}

fn host_namespace(tenant: &Tenant, labels: &Value) -> String {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": tenant.namespace, "labels": labels},
    })
    .to_string()
}

#[test]
fn a_cluster_is_fresh_inside_and_deleting_it_leaves_nothing() {
    let tenant = Tenant::create("fresh");
    let namespaces = host::items(&tenant.kubectl("get namespaces -o json").json());
    let mut names: Vec<&str> = namespaces.iter().map(host::name).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["default", "kube-node-lease", "kube-public", "kube-system"]
    );

    let (name, namespace) = (&tenant.name, &tenant.namespace);
    let host = tenant.host();
    let volumes = || -> Vec<String> {
        let volumes = host.list("persistentvolumes");
        let ours = |v: &&Value| v["spec"]["claimRef"]["namespace"] == namespace.as_str();
        volumes
            .iter()
            .filter(ours)
            .map(|v| host::name(v).to_owned())
            .collect()
    };
    assert_eq!(volumes().len(), 1, "the store has one volume");
    host.vcluster(&format!("delete {name} -n {namespace} --timeout 120s"))
        .ok();
    host.kubectl(&format!("-n {namespace} get virtualcluster {name}"))
        .refused(&["not found"]);
    eventually("the namespace that was made for it goes", || {
        let output = host.kubectl(&format!("get namespace {namespace}")).run();
        if output.stderr.contains("NotFound") {
            Ok(())
        } else {
            Err(output)
        }
    });
    eventually("its volume goes", || match volumes() {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    });
}

#[test]
fn a_cluster_applied_by_kubectl_is_the_same_as_one_created_by_grpc() {
    let applied = Tenant::unmade("same");
    let host = applied.host();
    host.apply(&host_namespace(
        &applied,
        &json!({"vcluster.dev/host": "true"}),
    ));
    host.apply(&virtual_cluster(&applied, &json!({})));
    applied.wait_for("Ready");
    applied.connect();
    applied.kubectl("get namespaces").ok();

    let created = Tenant::create("same");
    assert_eq!(inventory(&applied), inventory(&created));
    let spec = |tenant: &Tenant| {
        let args = format!("-n {} get virtualcluster same -o json", tenant.namespace);
        host.kubectl(&args).json()["spec"].clone()
    };
    assert_eq!(spec(&applied), spec(&created));
}

/// Kind and name of everything in the host namespace that was made for the cluster.
fn inventory(tenant: &Tenant) -> Vec<String> {
    let kinds = "statefulsets,deployments,pods,services,secrets,configmaps,serviceaccounts,roles,rolebindings,\
                 persistentvolumeclaims,networkpolicies,resourcequotas,limitranges";
    let objects = tenant
        .host()
        .list(&format!("-n {} {kinds}", tenant.namespace));
    let mut names: Vec<String> = objects
        .iter()
        .map(|o| {
            // A Deployment's pods are called at random.
            let dns = o["metadata"]["labels"]["vcluster.dev/part"] == "dns";
            let name = if dns { "dns" } else { host::name(o) };
            format!("{}/{name}", o["kind"].as_str().unwrap_or_default())
        })
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn a_second_cluster_in_a_host_namespace_is_refused() {
    let tenant = Tenant::create("first");
    let namespace = &tenant.namespace;
    let host = tenant.host();
    host.vcluster(&format!("create second -n {namespace}"))
        .refused(&["first", namespace]);
    let second = virtual_cluster(&tenant, &json!({})).replace("\"first\"", "\"second\"");
    host.kubectl("apply -f -")
        .input(second)
        .refused(&["first", "one per host namespace"]);
}

#[test]
fn creating_again_what_exists_says_so_and_changes_nothing() {
    let tenant = Tenant::create("again");
    let (name, namespace) = (&tenant.name, &tenant.namespace);
    let uid = |host: &Host| {
        host.kubectl(&format!("-n {namespace} get virtualcluster {name} -o json"))
            .json()["metadata"]["uid"]
            .clone()
    };
    let before = uid(tenant.host());
    tenant
        .host()
        .vcluster(&format!("create {name} -n {namespace}"))
        .refused(&[name, "already"]);
    assert_eq!(uid(tenant.host()), before);
}

#[test]
fn bad_input_is_refused_with_every_violation_and_nothing_is_written() {
    let host = Host::get();
    let namespace = "test-bad-input";
    host.vcluster(&format!(
        "create Bad_Name -n {namespace} --version 9.9 --store-size many"
    ))
    .refused(&["name", "version", "size"]);
    host.vcluster(&format!("create a-x-b -n {namespace}"))
        .refused(&["name", "-x-"]);
    host.kubectl(&format!("get namespace {namespace}"))
        .refused(&["not found"]);
}

#[test]
fn kubectl_is_told_the_same_rules() {
    let tenant = Tenant::unmade("rules");
    let host = tenant.host();
    host.apply(&host_namespace(
        &tenant,
        &json!({"vcluster.dev/host": "true"}),
    ));
    let cases = [
        ("a-x-b", json!({}), "-x-"),
        ("1st", json!({}), "begin with a letter"),
        ("rules", json!({"version": "1.20.0"}), "1.37"),
        (
            "rules",
            json!({"store": {"sqlite": {"size": "0"}}}),
            "positive quantity",
        ),
        ("rules", json!({"distro": "k9s"}), "distro"),
        ("rules", json!({"dns": {"replicas": 0}}), "replicas"),
        (
            "rules",
            json!({"dns": {"resources": {"requests": {"gpu": "1"}}}}),
            "only cpu and memory",
        ),
    ];
    for (name, spec, word) in cases {
        let object = virtual_cluster(&tenant, &spec).replace("\"rules\"", &format!("\"{name}\""));
        host.kubectl("apply -f -").input(object).refused(&[word]);
    }
}

#[test]
fn an_existing_namespace_is_used_only_if_it_was_opened_for_virtual_clusters() {
    let tenant = Tenant::unmade("opened");
    let host = tenant.host();
    host.apply(&host_namespace(&tenant, &json!({})));
    let (name, namespace) = (&tenant.name, &tenant.namespace);
    host.vcluster(&format!("create {name} -n {namespace}"))
        .refused(&["vcluster.dev/host=true", namespace]);

    host.apply(&virtual_cluster(&tenant, &json!({})));
    let waits = format!(
        "-n {namespace} wait virtualcluster/{name} --timeout=60s \
         --for=jsonpath={{.status.conditions[?(@.type==\"Ready\")].reason}}=HostNamespaceNotEnabled"
    );
    host.kubectl(&waits).ok();
    assert_eq!(
        host.list(&format!("-n {namespace} statefulsets,secrets,services"))
            .len(),
        0
    );

    host.kubectl(&format!(
        "label namespace {namespace} vcluster.dev/host=true"
    ))
    .ok();
    tenant.wait_for("Ready");
    host.vcluster(&format!("delete {name} -n {namespace} --timeout 120s"))
        .ok();
    // It was there before, so it stays.
    host.kubectl(&format!("get namespace {namespace}")).ok();
}

#[test]
fn a_cluster_can_be_made_again_right_after_it_was_deleted() {
    let tenant = Tenant::create("phoenix");
    let (name, namespace) = (&tenant.name, &tenant.namespace);
    let host = tenant.host();
    host.vcluster(&format!("delete {name} -n {namespace} --timeout 120s"))
        .ok();
    host.vcluster(&format!("create {name} -n {namespace} --timeout 180s"))
        .ok();
    tenant.connect();
    tenant.kubectl("get namespaces").ok();
}
