//! Pods on the host: references, names, environment, volumes.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::{
    Context, HostAccess, Patch, Refusal,
    fixture::{context, host_of, namespace_labels, patched, pod, pod_with},
    refusal::Reason,
};

mod dns;
mod hosts;
mod odd;
mod refused;
mod rich;
mod scheduling;
mod schema;
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
fn the_virtual_api_server_s_address_gives_way_to_what_the_user_sets() {
    let spec = host_spec(json!({
        "containers": [
            {"name": "plain", "image": "i"},
            {"name": "from", "image": "i", "envFrom": [{"prefix": "A_", "secretRef": {"name": "s"}}]},
        ],
        "initContainers": [{"name": "init", "image": "i", "envFrom": null}],
    }));
    let ours = json!({"configMapRef": {"name": "vcluster-env"}});
    let services = json!({"configMapRef": {"name": "shop.vcluster-env"}});
    assert_eq!(spec["containers"][0]["envFrom"], json!([ours, services]));
    assert_eq!(
        spec["initContainers"][0]["envFrom"],
        json!([ours, services])
    );
    assert_eq!(
        spec["containers"][1]["envFrom"],
        json!([ours, services, {"prefix": "A_", "secretRef": {"name": "s-x-shop-x-demo"}}])
    );
}

#[test]
fn a_pod_without_service_links_has_the_variables_of_the_api_server_only() {
    let spec = host_spec(json!({"enableServiceLinks": false}));
    let ours = json!({"configMapRef": {"name": "vcluster-env"}});
    assert_eq!(spec["containers"][0]["envFrom"], json!([ours]));
    assert_eq!(spec["enableServiceLinks"], false);
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
fn a_token_can_be_read_by_those_who_may_read_it_on_a_cluster_of_ones_own() {
    let user =
        |user: i64| json!({"name": "main", "image": "i", "securityContext": {"runAsUser": user}});
    let unsaid = json!({"name": "main", "image": "i"});
    let table = [
        (json!(null), vec![unsaid.clone()], None),
        (json!({"runAsUser": 0}), vec![unsaid.clone()], Some(0o600)),
        (
            json!({"runAsUser": 1000}),
            vec![unsaid.clone()],
            Some(0o444),
        ),
        (json!({"runAsUser": 0}), vec![user(1000)], Some(0o444)),
        (json!({}), vec![user(1000), user(1000)], Some(0o444)),
        (json!({}), vec![user(1000), user(1001)], None),
        (json!({}), vec![user(1000), unsaid.clone()], None),
        (
            json!({"fsGroup": 2000}),
            vec![user(1000), unsaid],
            Some(0o600),
        ),
    ];
    for (security, containers, mode) in table {
        let mut pod = pod_with(json!({
            "containers": containers,
            "volumes": [{"name": "t", "projected": {"defaultMode": 0o400, "sources": [
                {"serviceAccountToken": {"path": "token"}},
            ]}}],
        }));
        pod["spec"]["securityContext"] = security.clone();
        let host = host(&pod).object;
        let source = &host["spec"]["volumes"][0]["projected"]["sources"][0];
        let found = source["secret"]["items"][0]
            .get("mode")
            .and_then(Value::as_u64);
        assert_eq!(found, mode, "{security} {containers:?}");
    }
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

proptest! {
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
