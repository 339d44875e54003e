//! What is refused, by field and with the reason.

use super::*;

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
            with(json!({"securityContext": {"capabilities": {"add": ["CHOWN", "SYS_ADMIN"]}}})),
            "spec.containers[0].securityContext.capabilities.add[1]",
        ),
        (
            with(json!({"securityContext": {"capabilities": {"add": ["ALL"]}}})),
            "spec.containers[0].securityContext.capabilities.add[0]",
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
        (json!({"dnsPolicy": "NodeLocal"}), "spec.dnsPolicy"),
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
fn more_annotations_than_a_host_takes_are_refused_by_field() {
    let asking = |path: &str| {
        let env = json!([{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": path}}}]);
        pod_with(json!({"containers": [{"name": "c", "image": "i", "env": env}]}))
    };
    for (path, characters, refused) in [
        // Written with quotes and escapes, each of them has four.
        ("metadata.annotations", "\u{1}".repeat(130_000), true),
        ("metadata.annotations", "a".repeat(130_000), false),
        (
            "metadata.annotations['big']",
            "\u{1}".repeat(130_000),
            false,
        ),
        ("metadata.name", "\u{1}".repeat(130_000), false),
    ] {
        let mut pod = asking(path);
        pod["metadata"]["annotations"] = json!({"big": characters});
        let refusal = match to_host(&pod, &namespace_labels(), &context()) {
            Err(Verdict::Refused(refusal)) => Some(refusal),
            Ok(_) | Err(Verdict::Gated(_) | Verdict::Unclaimed(_)) => None,
        };
        assert_eq!(refusal.is_some(), refused, "{path}");
        if let Some(refusal) = refusal {
            assert_eq!(refusal.field, "metadata.annotations");
            assert!(refusal.message.contains("262144"), "{refusal}");
        }
    }
}

#[test]
fn what_a_refused_pod_names_is_still_needed_as_its_host_pod_may_live() {
    let pod = pod_with(json!({
        "hostPID": true,
        "containers": [{
            "name": "main", "image": "i", "securityContext": {"privileged": true},
            "env": [{"name": "A", "valueFrom": {"newRef": {}, "secretKeyRef": {"name": "key", "key": "k"}}}],
            "envFrom": [{"secretRef": {"name": "env"}}],
        }],
        "volumes": [
            {"name": "root", "hostPath": {"path": "/"}},
            {"name": "t", "projected": {"sources": [
                {"ofTomorrow": {}}, {"configMap": {"name": "ca"}}, {"serviceAccountToken": {"path": "t"}},
            ]}},
        ],
        "ephemeralContainers": [{
            "name": "d", "securityContext": {"privileged": true}, "envFrom": [{"secretRef": {"name": "debug"}}],
        }],
    }));
    assert!(to_host(&pod, &namespace_labels(), &context()).is_err());
    let (references, tokens) = needs(&pod, &context());
    let names: Vec<_> = references
        .iter()
        .map(|needed| needed.name.as_str())
        .collect();
    assert_eq!(names, ["debug", "env", "key", "ca"]);
    assert_eq!(tokens.len(), 1);
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
                    "image",
                    "persistentVolumeClaim",
                    "ephemeral"
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
fn an_administrator_of_the_host_may_let_pods_reach_it() {
    let pod = pod_with(json!({
        "hostNetwork": true,
        "hostPID": true,
        "dnsPolicy": "Default",
        "subdomain": "s",
        "securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]},
        "containers": [{
            "name": "main", "image": "i",
            "ports": [{"containerPort": 80, "hostPort": 80}],
            "readinessProbe": {"tcpSocket": {"port": 1, "host": "127.0.0.1"}},
            "securityContext": {
                "privileged": true, "procMount": "Unmasked", "capabilities": {"add": ["SYS_ADMIN"]},
                "seccompProfile": {"type": "Unconfined"}, "seLinuxOptions": {"type": "spc_t"},
            },
        }],
        "volumes": [
            {"name": "root", "hostPath": {"path": "/"}},
            {"name": "share", "nfs": {"server": "s", "path": "/"}},
        ],
    }));
    let context = Context {
        host_access: HostAccess::Granted,
        ..context()
    };
    let host = to_host(&pod, &namespace_labels(), &context).unwrap().object;
    for key in ["hostNetwork", "hostPID", "volumes", "securityContext"] {
        assert_eq!(host["spec"][key], pod["spec"][key], "{key}");
    }
    for key in ["ports", "readinessProbe", "securityContext"] {
        let pointer = format!("/spec/containers/0/{key}");
        assert_eq!(host.pointer(&pointer), pod.pointer(&pointer), "{key}");
    }
    // The node's name is the pod's: the API refuses any other beside `hostNetwork`.
    for key in ["hostname", "hostnameOverride", "subdomain"] {
        assert_eq!(host["spec"].get(key), None, "{key}");
    }
}

#[test]
fn files_of_the_kernel_show_only_to_a_pod_with_users_of_its_own() {
    let unmasked =
        json!([{"name": "main", "image": "i", "securityContext": {"procMount": "Unmasked"}}]);
    let spec = host_spec(json!({"hostUsers": false, "containers": unmasked}));
    assert_eq!(
        spec["containers"][0]["securityContext"]["procMount"],
        "Unmasked"
    );
}
