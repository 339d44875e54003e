//! JSON that no API server would store.

use super::*;

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
            let _ = status_to_virtual(&odd, &pod, || names(&pod, Some(&odd), &context()), true);
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
        let _ = status_to_virtual(&host, &virtual_pod, || names, true);
        let mut with_spec = pod();
        with_spec["spec"] = virtual_pod;
        let _ = to_host(&with_spec, &Map::new(), &context());
    }
}
