//! Kinds that go to the host only where a VirtualCluster asks for it.

use integration_tests::{Host, Tenant, eventually, host};
use serde_json::{Value, json};

const BUSYBOX: &str = "docker.io/library/busybox:latest";

fn on_host(tenant: &Tenant, collection: &str, name: &str) -> Option<Value> {
    let all = tenant
        .host()
        .list(&format!("-n {} {collection}", tenant.namespace));
    all.into_iter()
        .find(|object| object["metadata"]["annotations"]["vcluster.dev/name"] == name)
}

fn pod(name: &str, account: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "serviceAccountName": account, "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": BUSYBOX, "imagePullPolicy": "IfNotPresent",
                "command": ["sleep", "3600"]}],
        },
    })
}

fn account() -> Value {
    json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "builder", "namespace": "default",
            "annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/admin"}},
        "imagePullSecrets": [{"name": "registry"}],
    })
}

/// What a token found in the pod says of whose it is.
fn subject(tenant: &Tenant, pod: &str) -> String {
    let script = "cat /var/run/secrets/kubernetes.io/serviceaccount/token";
    let token = tenant
        .inside()
        .kubectl_args(&["exec", pod, "--", "sh", "-c", script])
        .ok();
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token},
    });
    let review = review.to_string();
    let of = |cluster: &Host| {
        let answer = cluster.kubectl("create -o json -f -").input(&*review);
        answer.json()["status"].clone()
    };
    assert_ne!(of(tenant.host())["authenticated"], json!(true));
    let status = of(&tenant.inside());
    status["user"]["username"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn a_pod_has_a_host_account_of_its_own_that_may_do_nothing_where_its_cluster_asks_for_it() {
    let tenant = Tenant::create("accounts");
    let inside = tenant.inside();
    inside.apply(&account().to_string());
    inside.apply(&pod("before", "builder").to_string());
    tenant
        .kubectl("wait --for=condition=Ready pod/before --timeout=120s")
        .ok();
    let runs_as = |name: &str| {
        let pod = on_host(&tenant, "pods", name).unwrap_or_default();
        pod["spec"]["serviceAccountName"].clone()
    };
    assert_eq!(runs_as("before"), "vcluster-workload");
    assert_eq!(on_host(&tenant, "serviceaccounts", "builder"), None);

    tenant
        .patch_sync(&json!({"toHost": {"serviceaccounts": {"enabled": true}}}))
        .ok();
    let made = eventually("the account is on the host", || {
        on_host(&tenant, "serviceaccounts", "builder").ok_or("not yet")
    });
    inside.apply(&pod("after", "builder").to_string());
    tenant
        .kubectl("wait --for=condition=Ready pod/after --timeout=120s")
        .ok();
    assert_eq!(runs_as("after"), "builder-x-default-x-accounts");
    assert_eq!(runs_as("before"), "vcluster-workload", "it runs");
    assert_eq!(host::name(&made), "builder-x-default-x-accounts");
    assert_eq!(made["automountServiceAccountToken"], false);
    assert_eq!(
        made["imagePullSecrets"],
        json!([{"name": "registry-x-default-x-accounts"}])
    );
    let annotations = &made["metadata"]["annotations"];
    assert_eq!(annotations.get("eks.amazonaws.com/role-arn"), None);
    eventually("the tenant is told", || {
        let events = tenant.kubectl("get events -o json").json().to_string();
        let said = events.contains("AnnotationsKeptInside")
            && events.contains("eks.amazonaws.com/role-arn");
        said.then_some(()).ok_or(events)
    });
    assert_eq!(
        on_host(&tenant, "serviceaccounts", "attachdetach-controller"),
        None,
        "no pod uses it"
    );

    // The token is the virtual cluster's; of the host there is none, and the account has no right there.
    assert_eq!(
        subject(&tenant, "after"),
        "system:serviceaccount:default:builder"
    );
    let pod = on_host(&tenant, "pods", "after").expect("it is on the host");
    assert!(!pod.to_string().contains("serviceAccountToken"), "{pod}");
    let account = format!(
        "--as=system:serviceaccount:{}:builder-x-default-x-accounts",
        tenant.namespace
    );
    for right in ["get secrets", "list pods", "create pods"] {
        let args = format!("auth can-i {right} -n {} {account}", tenant.namespace);
        let answer = tenant.host().kubectl(&args).run();
        assert_eq!(answer.stdout.trim(), "no", "{right}: {answer}");
    }

    // With the last pod that uses it, it goes.
    tenant.kubectl("delete pod before after --wait=true").ok();
    eventually("the account leaves the host", || {
        match on_host(&tenant, "serviceaccounts", "builder") {
            None => Ok(()),
            Some(left) => Err(left.to_string()),
        }
    });
}

fn class(kind: &str, name: &str, more: &Value) -> String {
    let version = match kind {
        "PriorityClass" => "scheduling.k8s.io/v1",
        _ => "storage.k8s.io/v1",
    };
    let mut class = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}});
    let fields = more.as_object().expect("fields").clone();
    class.as_object_mut().expect("an object").extend(fields);
    class.to_string()
}

/// Waits until an Event inside says these words of the object.
fn told(tenant: &Tenant, name: &str, words: &str) {
    eventually(&format!("{name} is told {words}"), || {
        let args = format!("get events -A --field-selector=involvedObject.name={name} -o json");
        let events = tenant.kubectl(&args).json()["items"].to_string();
        events.contains(words).then_some(()).ok_or(events)
    });
}

#[test]
fn classes_of_a_tenants_own_go_as_far_as_the_host_allows_and_go_with_it() {
    let tenant = Tenant::create("classes");
    let (inside, host) = (tenant.inside(), tenant.host());
    let own = json!({"enabled": true});
    tenant
        .patch_sync(&json!({"toHost": {"priorityclasses": own, "storageclasses": own}}))
        .ok();
    inside.apply(&class("PriorityClass", "gold", &json!({"value": 50})));
    inside.apply(&class("PriorityClass", "vip", &json!({"value": 1_000_000})));
    let local = "rancher.io/local-path";
    let storage = json!({"provisioner": local, "volumeBindingMode": "WaitForFirstConsumer"});
    inside.apply(&class("StorageClass", "mine", &storage));
    for (name, more) in [
        (
            "theirs",
            json!({"provisioner": "kubernetes.io/no-provisioner"}),
        ),
        (
            "prying",
            json!({"provisioner": local,
                "parameters": {"csi.storage.k8s.io/provisioner-secret-name": "admin"}}),
        ),
    ] {
        inside.apply(&class("StorageClass", name, &more));
    }
    told(&tenant, "vip", "above 100");
    told(&tenant, "theirs", "provisioners");
    told(&tenant, "prying", "provisioner-secret-name");

    let on_host = |name: &str| format!("{name}.classes.{}.vcluster.dev", tenant.namespace);
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "mine",
            "resources": {"requests": {"storage": "1Mi"}}},
    });
    inside.apply(&claim.to_string());
    let mut made = pod("web", "default");
    made["spec"]["priorityClassName"] = "gold".into();
    made["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    made["spec"]["volumes"] =
        json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
    inside.apply(&made.to_string());
    let mut greedy = pod("greedy", "default");
    greedy["spec"]["priorityClassName"] = "vip".into();
    inside.apply(&greedy.to_string());
    tenant
        .kubectl("wait --for=condition=Ready pod/web pod/greedy --timeout=120s")
        .ok();
    let outside = |collection: &str, name: &str| {
        self::on_host(&tenant, collection, name).expect("it is on the host")
    };
    let web = &outside("pods", "web")["spec"];
    assert_eq!(
        (
            &web["priorityClassName"],
            &web["priority"],
            &web["preemptionPolicy"]
        ),
        (&json!(on_host("gold")), &json!(50), &json!("Never"))
    );
    let greedy = &outside("pods", "greedy")["spec"];
    assert_eq!(
        (greedy.get("priorityClassName"), &greedy["priority"]),
        (None, &json!(0))
    );
    let data = &outside("persistentvolumeclaims", "data")["spec"];
    assert_eq!(data["storageClassName"], on_host("mine"));
    let volumes = inside.list("persistentvolumes");
    assert_eq!(volumes[0]["spec"]["storageClassName"], "mine");
    let shown = tenant
        .kubectl("get storageclasses,priorityclasses -o name")
        .ok();
    assert!(!shown.contains(".vcluster.dev"), "{shown}");

    // What is changed outside is put back; what is gone inside goes.
    let gold = on_host("gold");
    host.kubectl(&format!("delete priorityclass {gold}")).ok();
    let there = |name: &str| {
        let args = format!("priorityclasses,storageclasses --field-selector=metadata.name={name}");
        !host.list(&args).is_empty()
    };
    eventually("the class is made again", || {
        there(&gold).then_some(()).ok_or("not yet")
    });
    tenant.kubectl("delete pod web greedy --wait=true").ok();
    tenant.kubectl("delete pvc data --wait=true").ok();
    tenant.kubectl("delete priorityclass gold").ok();
    eventually("it goes", || {
        (!there(&gold)).then_some(()).ok_or("it is there")
    });
    assert!(there(&on_host("mine")));
    let (name, namespace) = (&tenant.name, &tenant.namespace);
    host.vcluster(&format!("delete {name} -n {namespace} --timeout 120s"))
        .ok();
    assert!(!there(&on_host("mine")), "it goes with its virtual cluster");
}
