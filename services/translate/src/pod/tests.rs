use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::{
    Patch, Refusal,
    fixture::{context, host_of, namespace_labels, patched, pod, pod_with},
    refusal::Reason,
};

mod rich;
mod status;
mod update;

fn host(pod: &Value) -> HostPod {
    to_host(pod, &namespace_labels(), &context()).unwrap()
}

fn host_spec(spec: Value) -> Value {
    host(&pod_with(spec)).object["spec"].clone()
}

fn refusal(spec: Value) -> Refusal {
    match to_host(&pod_with(spec), &namespace_labels(), &context()) {
        Err(Verdict::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_rich_pod_is_translated_whole() {
    let host = host(&rich::pod());
    insta::assert_json_snapshot!("rich_pod", host.object);
    insta::assert_debug_snapshot!("rich_pod_needs", (&host.references, &host.tokens));
}

#[test]
fn a_field_newer_than_this_crate_passes() {
    let spec = host_spec(json!({
        "fieldOfTomorrow": {"a": [1]},
        "containers": [{"name": "main", "image": "i", "alsoNew": true}],
    }));
    assert_eq!(spec["fieldOfTomorrow"], json!({"a": [1]}));
    assert_eq!(spec["containers"][0]["alsoNew"], true);
}

#[test]
fn scheduling_gates_are_waited_for() {
    let gated = pod_with(json!({"schedulingGates": [{"name": "quota"}]}));
    assert_eq!(
        to_host(&gated, &namespace_labels(), &context()),
        Err(Verdict::Gated(vec!["quota".to_owned()]))
    );
}

#[test]
fn what_reaches_the_host_is_refused_by_field() {
    let container = |more: Value| {
        let mut container = json!({"name": "main", "image": "i"});
        let Value::Object(more) = more else { panic!() };
        container.as_object_mut().unwrap().extend(more);
        container
    };
    let with = |more| json!({"containers": [container(more)]});
    let cases = [
        (json!({"hostNetwork": true}), "spec.hostNetwork"),
        (json!({"hostPID": true}), "spec.hostPID"),
        (json!({"hostIPC": true}), "spec.hostIPC"),
        (
            json!({"securityContext": {"windowsOptions": {"hostProcess": true}}}),
            "spec.securityContext.windowsOptions.hostProcess",
        ),
        (
            with(json!({"securityContext": {"privileged": true}})),
            "spec.containers[0].securityContext.privileged",
        ),
        (
            with(json!({"ports": [{"containerPort": 1}, {"containerPort": 2, "hostPort": 2}]})),
            "spec.containers[0].ports[1].hostPort",
        ),
        (
            with(json!({"readinessProbe": {"httpGet": {"port": 1, "host": "10.0.0.1"}}})),
            "spec.containers[0].readinessProbe.httpGet.host",
        ),
        (
            with(json!({"lifecycle": {"preStop": {"tcpSocket": {"port": 1, "host": "h"}}}})),
            "spec.containers[0].lifecycle.preStop.tcpSocket.host",
        ),
        (
            json!({"initContainers": [container(json!({"securityContext": {"privileged": true}}))]}),
            "spec.initContainers[0].securityContext.privileged",
        ),
        (
            json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}),
            "spec.volumes[0].hostPath",
        ),
        (
            json!({"volumes": [{"name": "v", "nfs": {"server": "s", "path": "/"}}]}),
            "spec.volumes[0].nfs",
        ),
    ];
    for (spec, field) in cases {
        let refusal = refusal(spec);
        assert_eq!(refusal.field, field);
        assert_eq!(refusal.reason, Reason::HostAccess, "{field}");
    }
}

#[test]
fn what_needs_another_kind_is_refused_as_not_supported_yet() {
    let volume = |source: Value| json!({"volumes": [{"name": "e", "emptyDir": {}}, source]});
    let source = |source: Value| volume(json!({"name": "v", "projected": {"sources": [source]}}));
    let cases = [
        (
            volume(json!({"name": "v", "persistentVolumeClaim": {"claimName": "c"}})),
            "spec.volumes[1].persistentVolumeClaim",
        ),
        (
            volume(json!({"name": "v", "ephemeral": {}})),
            "spec.volumes[1].ephemeral",
        ),
        (
            volume(json!({"name": "v", "csi": {"driver": "d"}})),
            "spec.volumes[1].csi",
        ),
        (
            volume(json!({"name": "v", "ofTomorrow": {}})),
            "spec.volumes[1].ofTomorrow",
        ),
        (
            source(json!({"clusterTrustBundle": {"path": "p"}})),
            "spec.volumes[1].projected.sources[0].clusterTrustBundle",
        ),
        (
            source(json!({"podCertificate": {}})),
            "spec.volumes[1].projected.sources[0].podCertificate",
        ),
        (
            source(json!({"new": {}})),
            "spec.volumes[1].projected.sources[0].new",
        ),
        (
            json!({"resourceClaims": [{"name": "gpu"}]}),
            "spec.resourceClaims",
        ),
        (
            json!({"runtimeClassName": "gvisor"}),
            "spec.runtimeClassName",
        ),
        (
            json!({"schedulingGroup": {"podGroupName": "g"}}),
            "spec.schedulingGroup",
        ),
        (
            json!({"containers": [{"name": "c", "env": [{"name": "A", "valueFrom": {"newRef": {}}}]}]}),
            "spec.containers[0].env[0].valueFrom.newRef",
        ),
        (
            json!({"containers": [{"name": "c", "envFrom": [{"newRef": {}}]}]}),
            "spec.containers[0].envFrom[0].newRef",
        ),
        (
            json!({"containers": [{"name": "c", "env": [{"name": "A", "valueFrom": {
                "fieldRef": {"fieldPath": "metadata.ownerReferences"}}}]}]}),
            "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath",
        ),
    ];
    for (spec, field) in cases {
        let refusal = refusal(spec);
        assert_eq!(refusal.field, field);
        assert_eq!(refusal.reason, Reason::NotSupported, "{field}");
    }
}

#[test]
fn every_volume_source_of_the_api_has_a_decision() {
    // core/v1 VolumeSource, Kubernetes 1.37.
    let sources = "hostPath emptyDir gcePersistentDisk awsElasticBlockStore gitRepo secret nfs \
        iscsi glusterfs persistentVolumeClaim rbd flexVolume cinder cephfs flocker downwardAPI fc \
        azureFile configMap vsphereVolume quobyte azureDisk photonPersistentDisk projected \
        portworxVolume scaleIO storageos csi ephemeral image";
    for source in sources.split_whitespace() {
        let pod = pod_with(json!({"volumes": [{"name": "v", source: {}}]}));
        match to_host(&pod, &Map::new(), &context()) {
            Ok(_) => assert!(
                [
                    "emptyDir",
                    "secret",
                    "downwardAPI",
                    "configMap",
                    "projected",
                    "image"
                ]
                .contains(&source),
                "{source} passes"
            ),
            Err(verdict) => {
                assert!(
                    !verdict.to_string().contains("not known"),
                    "{source}: {verdict}"
                );
            }
        }
    }
}

#[test]
fn the_host_name_is_what_kubelet_would_make_of_the_virtual_pod() {
    let long = "n".repeat(62) + "-rest";
    let cases = [
        ("web", json!({}), "web", None),
        ("web", json!({"hostname": "db"}), "db", None),
        ("web.v1", json!({}), "web-v1", Some("web.v1")),
        (&long, json!({}), &long[..62], None),
        (
            "web",
            json!({"hostname": "db", "subdomain": "s"}),
            "db",
            None,
        ),
        (
            "web",
            json!({"subdomain": "s", "setHostnameAsFQDN": true}),
            "web",
            Some("web.s.shop.svc.cluster.local"),
        ),
        ("web", json!({"setHostnameAsFQDN": true}), "web", None),
        (
            "web",
            json!({"hostnameOverride": "own.example"}),
            "web",
            Some("own.example"),
        ),
    ];
    for (name, spec, hostname, override_) in cases {
        let mut pod = pod_with(spec);
        pod["metadata"]["name"] = name.into();
        let spec = &host(&pod).object["spec"];
        assert_eq!(spec["hostname"], hostname, "{name}");
        assert_eq!(
            spec.get("hostnameOverride"),
            override_.map(Value::from).as_ref()
        );
        assert_eq!(spec.get("subdomain"), None);
        assert_eq!(spec.get("setHostnameAsFQDN"), None);
    }
    let refusal = refusal(json!({
        "hostname": "h".repeat(60), "subdomain": "s", "setHostnameAsFQDN": true,
    }));
    assert_eq!(refusal.field, "spec.setHostnameAsFQDN");
}

#[test]
fn pods_never_ask_the_host_s_cluster_dns() {
    for (inside, outside) in [
        (json!({}), "Default"),
        (json!({"dnsPolicy": "ClusterFirst"}), "Default"),
        (json!({"dnsPolicy": "ClusterFirstWithHostNet"}), "Default"),
        (json!({"dnsPolicy": "Default"}), "Default"),
        (json!({"dnsPolicy": "None"}), "None"),
    ] {
        let mut pod = pod_with(inside.clone());
        if inside == json!({}) {
            pod["spec"].as_object_mut().unwrap().remove("dnsPolicy");
        }
        assert_eq!(host(&pod).object["spec"]["dnsPolicy"], outside, "{inside}");
    }
}

#[test]
fn the_virtual_api_server_s_address_gives_way_to_what_the_user_sets() {
    let spec = host_spec(json!({
        "containers": [
            {"name": "plain", "image": "i"},
            {"name": "from", "image": "i", "envFrom": [{"prefix": "A_", "secretRef": {"name": "s"}}]},
        ],
        "initContainers": [{"name": "init", "image": "i", "envFrom": null}],
    }));
    let ours = json!({"configMapRef": {"name": "vcluster-env"}});
    assert_eq!(spec["containers"][0]["envFrom"], json!([ours]));
    assert_eq!(spec["initContainers"][0]["envFrom"], json!([ours]));
    assert_eq!(
        spec["containers"][1]["envFrom"],
        json!([ours, {"prefix": "A_", "secretRef": {"name": "s-x-shop-x-demo"}}])
    );
}

#[test]
fn a_reference_is_optional_only_where_every_mention_is() {
    let pod = pod_with(json!({"containers": [
        {"name": "a", "image": "i", "envFrom": [
            {"configMapRef": {"name": "both", "optional": true}},
            {"configMapRef": {"name": "both"}},
            {"configMapRef": {"name": "only", "optional": true}},
        ]},
    ]}));
    let references = references(&pod, &context());
    let found: Vec<_> = references
        .iter()
        .map(|reference| (reference.name.as_str(), reference.optional))
        .collect();
    assert_eq!(found, [("both", false), ("only", true)]);
}

#[test]
fn a_volume_may_hold_several_tokens() {
    let pod = pod_with(json!({
        "serviceAccountName": "builder",
        "volumes": [{"name": "t", "projected": {"sources": [
            {"serviceAccountToken": {"path": "one", "audience": "a", "expirationSeconds": 600}},
            {"serviceAccountToken": {"path": "two", "user": 1000}},
        ]}}],
    }));
    let host = host(&pod);
    assert_eq!(
        host.object["spec"]["volumes"][0]["projected"]["sources"],
        json!([
            {"secret": {"name": "web-x-shop-x-demo.token", "items": [{"key": "t.0", "path": "one"}]}},
            {"secret": {"name": "web-x-shop-x-demo.token", "items": [{"key": "t.1", "path": "two", "user": 1000}]}},
        ])
    );
    let token = |key: &str, audience: Option<&str>, seconds| Token {
        key: key.to_owned(),
        service_account: "builder".to_owned(),
        audience: audience.map(str::to_owned),
        expiration_seconds: seconds,
    };
    assert_eq!(
        host.tokens,
        [token("t.0", Some("a"), 600), token("t.1", None, 3600)]
    );
    assert!(
        host.references.is_empty(),
        "the token Secret is not the user's"
    );
}

#[test]
fn annotations_pass_by_list_and_are_readable_by_the_pod_itself() {
    let mut pod = pod_with(
        json!({"containers": [{"name": "main", "image": "i", "env": [
            {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['iam.example/Role']"}}},
        ]}]}),
    );
    pod["metadata"]["annotations"] = json!({
        "iam.example/Role": "admin",
        "k8s.v1.cni.cncf.io/networks": "host-net",
        "vcluster.dev/name": "forged",
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "true",
    });
    let host = host(&pod).object;
    let annotations = host["metadata"]["annotations"].as_object().unwrap();
    assert!(!annotations.contains_key("iam.example/Role"));
    assert!(!annotations.contains_key("k8s.v1.cni.cncf.io/networks"));
    assert_eq!(annotations["vcluster.dev/name"], "web");
    assert_eq!(
        annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"],
        "true"
    );
    assert_eq!(
        annotations["iam.example.annotation.vcluster.dev/Role"],
        "admin"
    );
    assert_eq!(
        host["spec"]["containers"][0]["env"][0]["valueFrom"]["fieldRef"]["fieldPath"],
        "metadata.annotations['iam.example.annotation.vcluster.dev/Role']"
    );
}

#[test]
fn terms_are_confined_to_the_cluster_and_its_namespaces() {
    let uid = context().cluster_uid;
    let term = |more: Value| {
        let mut term = json!({"topologyKey": "z", "labelSelector": {"matchLabels": {"app": "db"}}});
        let Value::Object(more) = more else { panic!() };
        term.as_object_mut().unwrap().extend(more);
        term
    };
    let app = json!({"key": "label.vcluster.dev/app", "operator": "In", "values": ["db"]});
    let space = |operator: &str, names: &[&str]| json!({"key": "vcluster.dev/namespace", "operator": operator, "values": names});
    let blue =
        json!({"key": "namespace-label.vcluster.dev/team", "operator": "In", "values": ["blue"]});
    let host = |requirements: Value| {
        json!({"topologyKey": "z", "labelSelector": {
            "matchLabels": {"vcluster.dev/cluster-uid": uid}, "matchExpressions": requirements,
        }})
    };
    let blue_selector = json!({"matchLabels": {"team": "blue"}});
    let cases = [
        (json!({}), vec![json!([app, space("In", &["shop"])])]),
        (
            json!({"namespaces": ["a", "b"]}),
            vec![json!([app, space("In", &["a", "b"])])],
        ),
        (json!({"namespaceSelector": {}}), vec![json!([app])]),
        (
            json!({"namespaceSelector": blue_selector}),
            vec![json!([app, blue])],
        ),
        (
            json!({"namespaces": ["a"], "namespaceSelector": {}}),
            vec![json!([app])],
        ),
        (
            json!({"namespaces": ["a"], "namespaceSelector": blue_selector}),
            vec![
                json!([app, space("In", &["a"])]),
                json!([app, blue, space("NotIn", &["a"])]),
            ],
        ),
    ];
    for (more, expected) in cases {
        let expected: Vec<_> = expected.into_iter().map(host).collect();
        let spec = host_spec(json!({"affinity": {"podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [term(more.clone())],
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 7, "podAffinityTerm": term(more.clone())},
            ],
        }}}));
        let anti = &spec["affinity"]["podAntiAffinity"];
        assert_eq!(
            anti["requiredDuringSchedulingIgnoredDuringExecution"],
            json!(expected),
            "{more}"
        );
        let weighted: Vec<_> = expected
            .into_iter()
            .map(|term| json!({"weight": 7, "podAffinityTerm": term}))
            .collect();
        assert_eq!(
            anti["preferredDuringSchedulingIgnoredDuringExecution"],
            json!(weighted),
            "{more}"
        );
    }
    let both = term(json!({"namespaces": ["a"], "namespaceSelector": blue_selector}));
    let refusal = refusal(json!({"affinity": {"podAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [both],
    }}}));
    assert_eq!(
        refusal.field,
        "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]"
    );
}

#[test]
fn a_term_without_a_selector_selects_no_pod_on_either_side() {
    let spec = host_spec(json!({"affinity": {"podAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "z", "namespaces": ["a"]}],
    }}}));
    assert_eq!(
        spec["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"],
        json!([{"topologyKey": "z"}])
    );
}

#[test]
fn label_keys_are_merged_once_and_dropped() {
    let spread = |expressions: Value| {
        json!({"topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule",
            "matchLabelKeys": ["app", "missing"],
            "labelSelector": {"matchExpressions": expressions},
        }]})
    };
    let merged = json!([{"key": "app", "operator": "In", "values": ["web"]}]);
    let by_us = host_spec(spread(json!([])));
    let by_the_api_server = host_spec(spread(merged));
    assert_eq!(by_us, by_the_api_server);
    let constraint = &by_us["topologySpreadConstraints"][0];
    assert_eq!(constraint.get("matchLabelKeys"), None);
    assert_eq!(
        constraint["labelSelector"]["matchExpressions"],
        json!([
            {"key": "label.vcluster.dev/app", "operator": "In", "values": ["web"]},
            {"key": "vcluster.dev/namespace", "operator": "In", "values": ["shop"]},
        ])
    );
}

#[test]
fn a_named_node_becomes_a_requirement() {
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let here = json!({"key": "metadata.name", "operator": "In", "values": ["n1"]});
    let terms = |affinity: Value| {
        let spec = host_spec(json!({"nodeName": "n1", "affinity": affinity}));
        assert_eq!(spec.get("nodeName"), None);
        spec["affinity"]["nodeAffinity"][required]["nodeSelectorTerms"].clone()
    };
    assert_eq!(terms(json!({})), json!([{"matchFields": [here]}]));
    assert_eq!(terms(Value::Null), json!([{"matchFields": [here]}]));
    let ssd = json!([{"key": "disk", "operator": "In", "values": ["ssd"]}]);
    let alternatives = json!([{"matchExpressions": ssd}, {}]);
    assert_eq!(
        terms(json!({"nodeAffinity": {required: {"nodeSelectorTerms": alternatives}}})),
        json!([{"matchExpressions": ssd, "matchFields": [here]}, {}])
    );
}

#[test]
fn odd_json_is_refused_or_passes_but_never_panics() {
    for odd in [
        json!(null),
        json!(7),
        json!("x"),
        json!([]),
        json!({}),
        json!([null, 7, []]),
    ] {
        for path in [
            "containers",
            "initContainers",
            "volumes",
            "affinity",
            "imagePullSecrets",
            "hostname",
            "topologySpreadConstraints",
            "nodeName",
            "ephemeralContainers",
            "schedulingGates",
            "readinessGates",
            "tolerations",
            "securityContext",
            "dnsPolicy",
        ] {
            let pod = pod_with(json!({path: odd}));
            let _ = to_host(&pod, &Map::new(), &context());
            let _ = references(&pod, &context());
            let _ = ephemeral_to_host(&pod, &odd, &context());
        }
        for pod in [
            odd.clone(),
            json!({"metadata": odd}),
            json!({"metadata": {"name": odd}, "spec": odd}),
        ] {
            let _ = to_host(&pod, &Map::new(), &context());
            let _ = status_to_virtual(&odd, &pod, &names(&pod, Some(&odd), &context()), true);
            let _ = binding(&odd, &pod);
            let _ = gates_to_host(&pod, &odd);
        }
    }
}

/// Any JSON, with the keys of pods at every depth.
fn anything() -> impl Strategy<Value = Value> {
    let keys = prop::sample::select(vec![
        "spec",
        "metadata",
        "name",
        "namespace",
        "uid",
        "labels",
        "annotations",
        "containers",
        "env",
        "envFrom",
        "valueFrom",
        "fieldRef",
        "fieldPath",
        "configMapRef",
        "volumes",
        "projected",
        "sources",
        "serviceAccountToken",
        "downwardAPI",
        "items",
        "affinity",
        "podAffinity",
        "requiredDuringSchedulingIgnoredDuringExecution",
        "labelSelector",
        "matchLabels",
        "status",
        "conditions",
        "type",
        "hostname",
        "nodeName",
        "message",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        Just(json!("metadata.labels['a']")),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(keys.clone(), inner, 0..6)
                .prop_map(|map| map.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn no_json_makes_it_panic(virtual_pod in anything(), host in anything()) {
        let names = names(&virtual_pod, Some(&host), &context());
        let _ = to_host(&virtual_pod, &Map::new(), &context());
        let _ = update_host(&virtual_pod, &host, &Map::new(), &context());
        let _ = ephemeral_to_host(&virtual_pod, &host, &context());
        let _ = resize_to_host(&virtual_pod, &host);
        let _ = gates_to_host(&virtual_pod, &host);
        let _ = status_to_virtual(&host, &virtual_pod, &names, true);
        let mut with_spec = pod();
        with_spec["spec"] = virtual_pod;
        let _ = to_host(&with_spec, &Map::new(), &context());
    }

    #[test]
    fn no_label_of_the_user_is_a_label_of_the_host(
        labels in prop::collection::hash_map("[a-z./]{1,20}|vcluster.dev/[a-z-]{1,12}", "[a-z]{0,5}", 0..6),
    ) {
        let mut pod = pod();
        pod["metadata"]["labels"] = labels.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
        let host = host(&pod).object;
        let found = host["metadata"]["labels"].as_object().unwrap();
        prop_assert!(found.keys().all(|key| crate::label::is_ours(key)));
        prop_assert_eq!(&found["vcluster.dev/cluster-uid"], &json!(context().cluster_uid));
        for (key, value) in labels {
            prop_assert_eq!(&found[&crate::label::host_key(&key)], &json!(value));
        }
    }
}
