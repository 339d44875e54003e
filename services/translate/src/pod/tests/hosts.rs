//! `/etc/hosts` of pods with a subdomain.

use super::*;

fn stateful(more: Value) -> Value {
    let mut spec = json!({"hostname": "web-0", "subdomain": "web"});
    let Value::Object(more) = more else { panic!() };
    spec.as_object_mut().unwrap().extend(more);
    pod_with(spec)
}

fn with_image(image: Option<&str>) -> Context {
    Context {
        hosts_image: image.map(str::to_owned),
        ..context()
    }
}

#[test]
fn a_pod_with_a_subdomain_gets_its_qualified_name_before_anything_of_it_runs() {
    let own = json!({"name": "own", "mountPath": "/etc/hosts", "subPath": "hosts"});
    let pod = stateful(json!({
        "initContainers": [{"name": "init", "image": "i"}],
        "containers": [
            {"name": "main", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v"}]},
            {"name": "stubborn", "image": "i", "volumeMounts": [own]},
        ],
        "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}],
    }));
    let spec = &host(&pod).object["spec"];
    let writer = &spec["initContainers"][0];
    assert_eq!(
        writer["args"],
        json!([
            "hosts",
            "--file",
            "/vcluster/hosts",
            "--names",
            "web-0.web.shop.svc.cluster.local\tweb-0",
            "--aliases",
            "1.2.3.4\ta\tb\n",
        ])
    );
    assert_eq!(writer["envFrom"], Value::Null);
    let mount = json!({"name": "vcluster-hosts", "mountPath": "/etc/hosts", "subPath": "hosts"});
    assert_eq!(spec["initContainers"][1]["volumeMounts"], json!([mount]));
    assert_eq!(spec["containers"][0]["volumeMounts"][1], mount);
    assert_eq!(spec["containers"][1]["volumeMounts"], json!([own]));
    assert_eq!(
        spec["volumes"][0],
        json!({"name": "vcluster-hosts", "emptyDir": {}})
    );
    // The short name stays the host name.
    assert_eq!(spec["hostname"], "web-0");
    assert_eq!(spec.get("hostnameOverride"), None);
}

#[test]
fn pods_whose_file_is_right_already_get_no_container_more() {
    let has = |pod: &Value, context: &Context| {
        let host = to_host(pod, &namespace_labels(), context).unwrap().object;
        host["spec"].get("initContainers").is_some()
    };
    let image = with_image(Some("sync:1"));
    assert!(has(&stateful(json!({})), &image));
    assert!(!has(&pod(), &image));
    assert!(!has(&stateful(json!({})), &with_image(None)));
    for more in [
        json!({"hostnameOverride": "own.example"}),
        json!({"os": {"name": "windows"}}),
    ] {
        assert!(!has(&stateful(more.clone()), &image), "{more}");
    }
}

#[test]
fn its_class_and_its_share_of_a_quota_stay_as_they_were() {
    let resources =
        json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}});
    let mut more = resources.clone();
    more["limits"]["example.com/gpu"] = "1".into();
    let writer = |resources: Value| {
        let pod = stateful(
            json!({"containers": [{"name": "main", "image": "i", "resources": resources}]}),
        );
        host(&pod).object["spec"]["initContainers"][0]["resources"].clone()
    };
    assert_eq!(writer(more), resources);
    assert_eq!(writer(json!({})), json!({}));
}

#[test]
fn a_name_of_ours_in_the_pod_is_refused_by_field() {
    let refusal = refusal(json!({
        "subdomain": "web",
        "containers": [{"name": "main", "image": "i"}, {"name": "vcluster-hosts", "image": "i"}],
    }));
    assert_eq!(refusal.field, "spec.containers[1].name");
}

#[test]
fn a_newer_image_is_for_newer_pods() {
    let pod = stateful(json!({}));
    let old = host_of(&pod);
    let newer = with_image(Some("sync:2"));
    assert_eq!(
        update_host(&pod, &old, &namespace_labels(), &newer),
        Ok(None)
    );
}

#[test]
fn nothing_of_it_is_seen_inside() {
    let pod = stateful(json!({"initContainers": [{"name": "init", "image": "i"}]}));
    let mut host = host_of(&pod);
    host["status"] = json!({
        "phase": "Pending",
        "conditions": [{"type": "Initialized", "status": "False",
            "message": "containers with incomplete status: [vcluster-hosts init]"}],
        "initContainerStatuses": [{"name": "vcluster-hosts"}, {"name": "init"}],
        "containerStatuses": [{"name": "main",
            "volumeMounts": [{"name": "vcluster-hosts", "mountPath": "/etc/hosts"}]}],
    });
    let names = || names(&pod, Some(&host), &context());
    let patch = status_to_virtual(&host, &pod, names, true).unwrap();
    let after = patched(&pod, &patch);
    assert!(
        !after["status"].to_string().contains("vcluster-hosts"),
        "{after}"
    );
    assert_eq!(
        after["status"]["conditions"][0]["message"],
        "containers with incomplete status: [init]"
    );
}
