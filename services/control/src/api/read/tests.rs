//! A VirtualCluster as the gRPC API shows it.

use vcluster_resources::SyncPolicy;

use super::*;

fn violations(cluster: wire::VirtualCluster) -> Vec<String> {
    let mut findings = Findings::default();
    let wanted = wanted(&mut findings, cluster);
    match findings.fail(wanted) {
        Ok(wanted) => panic!("{wanted:?}"),
        Err(Failure::Invalid(found)) => found.into_iter().map(|v| v.field).collect(),
        Err(other) => panic!("{other:?}"),
    }
}

fn good() -> wire::VirtualCluster {
    wire::VirtualCluster {
        name: "demo".to_owned(),
        host_namespace: "team-a".to_owned(),
        ..Default::default()
    }
}

#[test]
fn a_name_and_a_namespace_are_enough() {
    let mut findings = Findings::default();
    let read = wanted(&mut findings, good());
    let read = findings.fail(read).unwrap();
    assert_eq!(read.spec, VirtualClusterSpec::default());
}

#[test]
fn every_violation_is_told_at_once_by_its_field() {
    let resources = wire::Resources {
        requests: [
            ("cpu".to_owned(), "2".to_owned()),
            ("gpu".to_owned(), "1".to_owned()),
        ]
        .into(),
        limits: [
            ("cpu".to_owned(), "1".to_owned()),
            ("memory".to_owned(), "-1".to_owned()),
        ]
        .into(),
    };
    let unknown = wire::LabelSelectorRequirement {
        operator: "Is".to_owned(),
        ..Default::default()
    };
    let off = wire::SyncFromHost {
        enabled: Some(false),
        selector: Some(wire::LabelSelector {
            match_expressions: vec![unknown],
            ..Default::default()
        }),
        policy: 7,
        ..Default::default()
    };
    let bad = wire::VirtualCluster {
        name: "a-x-b".to_owned(),
        host_namespace: "Team".to_owned(),
        labels: [("/".to_owned(), String::new())].into(),
        spec: Some(wire::VirtualClusterSpec {
            distro: 7,
            version: "1.36.0".to_owned(),
            store: Some(wire::Store {
                kind: Some(wire::store::Kind::Sqlite(wire::SqliteStore {
                    size: "big".to_owned(),
                    storage_class_name: "A".to_owned(),
                    reclaim_policy: 9,
                })),
            }),
            control_plane: Some(wire::ControlPlane {
                api_server: Some(resources),
                ..Default::default()
            }),
            dns: Some(wire::Dns {
                replicas: 11,
                ..Default::default()
            }),
            sync: Some(wire::SyncPolicy {
                to_host: [("ingress".to_owned(), wire::SyncToHost::default())].into(),
                from_host: [("nodes".to_owned(), off)].into(),
                ..Default::default()
            }),
        }),
        ..Default::default()
    };
    assert_eq!(
        violations(bad),
        [
            "virtual_cluster.host_namespace",
            "virtual_cluster.name",
            "virtual_cluster.labels[/]",
            "virtual_cluster.spec.distro",
            "virtual_cluster.spec.version",
            "virtual_cluster.spec.store.sqlite.size",
            "virtual_cluster.spec.store.sqlite.storage_class_name",
            "virtual_cluster.spec.store.sqlite.reclaim_policy",
            "virtual_cluster.spec.control_plane.api_server.requests[gpu]",
            "virtual_cluster.spec.control_plane.api_server.limits[memory]",
            "virtual_cluster.spec.control_plane.api_server.requests[cpu]",
            "virtual_cluster.spec.dns.replicas",
            "virtual_cluster.spec.sync.from_host[nodes].policy",
            "virtual_cluster.spec.sync.from_host[nodes].selector.match_expressions[0].operator",
            "virtual_cluster.spec.sync.to_host[ingress]",
            "virtual_cluster.spec.sync.from_host[nodes].enabled",
        ]
    );
}

#[test]
fn a_spec_is_read_as_it_was_written() {
    let policy: SyncPolicy = serde_json::from_value(serde_json::json!({
        "toHost": {
            "ingresses": {"enabled": false},
            "services": {"mappings": [{"from": {"namespace": "shop", "name": "web"}, "to": {"name": "web"}}]},
            "secrets": {"namespaces": ["shop"], "selector": {
                "matchLabels": {"app": "web"},
                "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["db"]}],
            }},
        },
        "fromHost": {"nodes": {"policy": "Used"}, "storageclasses": {"enabled": true},
            "secrets": {"mappings": [{"from": {"namespace": "infra", "name": "a"},
                "to": {"namespace": "shop", "name": "b"}}]}},
    }))
    .unwrap();
    let mut cluster =
        vcluster_resources::VirtualCluster::new("demo", VirtualClusterSpec::default());
    cluster.spec.sync = policy;
    cluster.spec.dns.replicas = 3;
    let memory = ("memory".to_owned(), Quantity("64Mi".to_owned()));
    cluster.spec.dns.resources.requests = [memory].into();
    cluster.metadata.namespace = Some("team-a".to_owned());
    let mut findings = Findings::default();
    let read = wanted(&mut findings, crate::api::write::cluster(&cluster));
    assert_eq!(findings.fail(read).unwrap().spec, cluster.spec);
}

#[test]
fn versions_are_written_in_one_way_only() {
    for bad in [
        "1.37",
        "1.37.02",
        "v1.37.2",
        "1.37.2-rc.1",
        "1.38.0",
        "1.37.",
    ] {
        let mut findings = Findings::default();
        assert_eq!(version(&mut findings, bad.to_owned()), None, "{bad}");
    }
}

#[test]
fn a_request_id_is_a_uuid_in_any_spelling() {
    let mut findings = Findings::default();
    let upper = "0D3B6F5E-7C1A-4D58-9F0E-1A2B3C4D5E6F";
    let read = request_id(&mut findings, upper);
    assert_eq!(read.as_deref(), Some(upper.to_lowercase().as_str()));
    assert_eq!(request_id(&mut findings, "x"), None);
    assert!(findings.fail(Some(())).is_err());
}
