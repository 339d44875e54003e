//! How far a class of a tenant's own goes.

use serde_json::json;

use super::*;
use crate::fixture::context;

fn asking(classes: Allowed) -> Context {
    let policy = json!({"toHost": {"priorityclasses": {"enabled": true}, "storageclasses": {"enabled": true}}});
    Context {
        policy: serde_json::from_value(policy).unwrap(),
        classes,
        ..context()
    }
}

fn allowing(highest: i32, preemption: bool) -> Context {
    asking(Allowed {
        priorities: Some(Priorities {
            highest,
            preemption,
        }),
        provisioners: vec!["disks.example.com".to_owned()],
    })
}

fn class(name: &str, more: &Value) -> Value {
    let mut class = json!({"metadata": {"name": name, "uid": "1"}});
    let fields = more.as_object().unwrap().clone();
    class.as_object_mut().unwrap().extend(fields);
    class
}

#[test]
fn a_priority_goes_as_high_as_is_allowed_and_pushes_nobody() {
    let cases = [
        (-5, 0, false, "PreemptLowerPriority", Ok("Never")),
        (
            0,
            0,
            true,
            "PreemptLowerPriority",
            Ok("PreemptLowerPriority"),
        ),
        (0, 0, true, "Never", Ok("Never")),
        (1, 0, true, "Never", Err("value")),
        (1_000_000_000, 100, true, "Never", Err("value")),
    ];
    for (value, highest, preemption, policy, becomes) in cases {
        let own = class(
            "gold",
            &json!({"value": value, "preemptionPolicy": policy, "globalDefault": true}),
        );
        let made = to_host(Class::Priority, &own, &allowing(highest, preemption));
        match (made, becomes) {
            (Ok(host), Ok(policy)) => {
                assert_eq!(host["value"], value);
                assert_eq!(host["preemptionPolicy"], policy);
                assert_eq!(host.get("globalDefault"), None);
                assert_eq!(host["metadata"]["name"], "gold.demo.team-a.vcluster.dev");
            }
            (Err(refusal), Err(field)) => assert_eq!(refusal.field, field),
            (made, _) => panic!("{value} becomes {made:?}"),
        }
    }
    let none = to_host(
        Class::Priority,
        &class("gold", &json!({})),
        &asking(Allowed::default()),
    );
    assert!(
        none.unwrap_err()
            .message
            .contains("sync.toHost.priorityClasses")
    );
    let system = to_host(
        Class::Priority,
        &class("system-x", &json!({})),
        &allowing(0, false),
    );
    assert_eq!(system.unwrap_err().field, "metadata.name");
}

#[test]
fn a_class_of_storage_names_a_provisioner_that_is_allowed_and_no_secrets() {
    let own = |more: Value| {
        let mut own = class(
            "fast",
            &json!({"provisioner": "disks.example.com", "reclaimPolicy": "Retain"}),
        );
        own.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        own["metadata"]["annotations"] =
            json!({"storageclass.kubernetes.io/is-default-class": "true"});
        own
    };
    let made = to_host(
        Class::Storage,
        &own(json!({"parameters": {"type": "ssd"}})),
        &allowing(0, false),
    );
    let made = made.unwrap();
    assert_eq!(made["parameters"], json!({"type": "ssd"}));
    assert_eq!(made["reclaimPolicy"], "Retain");
    assert!(!made.to_string().contains("is-default-class"));
    let refused = [
        (json!({"provisioner": "others.example.com"}), "provisioner"),
        (
            json!({"parameters": {"csi.storage.k8s.io/provisioner-secret-name": "admin"}}),
            "parameters[csi.storage.k8s.io/provisioner-secret-name]",
        ),
        (
            json!({"parameters": {"adminSecretNamespace": "kube-system"}}),
            "parameters[adminSecretNamespace]",
        ),
        (json!({"mountOptions": ["suid"]}), "mountOptions"),
    ];
    for (more, field) in refused {
        let refusal = to_host(Class::Storage, &own(more), &allowing(0, false)).unwrap_err();
        assert_eq!(refusal.field, field);
    }
}

#[test]
fn only_what_was_made_for_this_cluster_is_changed_or_deleted() {
    let context = allowing(0, false);
    let made = to_host(
        Class::Priority,
        &class("gold", &json!({"value": -1})),
        &context,
    )
    .unwrap();
    let there = |change: &dyn Fn(&mut Value)| {
        let mut there = made.clone();
        there["metadata"]["uid"] = "b057".into();
        change(&mut there);
        there
    };
    let mine = there(&|_| {});
    let step = |wanted: Option<&Value>, host: Option<&Value>| {
        step(Class::Priority, wanted.cloned(), host, &context)
    };
    assert_eq!(of_ours(Class::Priority, &mine, &context), Some("gold"));
    assert_eq!(step(Some(&made), Some(&mine)), Ok(Step::Nothing));
    assert_eq!(step(Some(&made), None), Ok(Step::Create(made.clone())));
    assert!(matches!(step(None, Some(&mine)), Ok(Step::Delete(_))));
    let moved = there(&|host| host["value"] = 7.into());
    assert!(matches!(
        step(Some(&made), Some(&moved)),
        Ok(Step::Delete(_))
    ));
    let strangers: [&dyn Fn(&mut Value); 3] = [
        &|host| host["metadata"]["annotations"][CLUSTER_UID] = "another".into(),
        &|host| host["metadata"]["name"] = "gold".into(),
        &|host| host["metadata"]["annotations"] = Value::Null,
    ];
    for change in strangers {
        let stranger = there(change);
        assert_eq!(step(None, Some(&stranger)), Ok(Step::Nothing));
        assert!(step(Some(&made), Some(&stranger)).is_err());
    }
}

#[test]
fn a_class_that_nobody_asked_for_stays_inside() {
    assert!(!is_asked_for(Class::Priority, &context()));
    assert!(is_asked_for(Class::Priority, &asking(Allowed::default())));
    let mut context = allowing(0, false);
    context.policy.to_host.clear();
    context.policy = serde_json::from_value(json!({"toHost": {"priorityclasses": {
        "enabled": true, "selector": {"matchLabels": {"go": "yes"}}}}}))
    .unwrap();
    let refusal = to_host(Class::Priority, &class("gold", &json!({})), &context).unwrap_err();
    assert_eq!(refusal.field, "metadata.labels");
}

#[test]
fn a_name_of_the_host_is_read_back_by_its_own_cluster_only() {
    let context = context();
    let read = |name: &str, host: Option<&Value>| {
        named_inside(Class::Storage, name, host, &context).map(ToOwned::to_owned)
    };
    let own = name("fast.ssd", &context);
    assert_eq!(read(&own, None).as_deref(), Some("fast.ssd"));
    for anothers in [
        "fast",
        "fast.prod.team-b.vcluster.dev",
        "fast.demo.team-b.vcluster.dev",
    ] {
        assert_eq!(read(anothers, None), None);
    }
    // The host's object tells a name that is too long to stand in its own.
    let long = "a".repeat(253);
    let class = class(&long, &json!({"provisioner": "disks.example.com"}));
    let made = to_host(Class::Storage, &class, &allowing(0, false)).unwrap();
    let host_name = made["metadata"]["name"].as_str().unwrap();
    assert!(host_name.len() <= SUBDOMAIN_LIMIT);
    assert_eq!(read(host_name, Some(&made)), Some(long));
}

#[test]
fn what_was_made_for_a_tenant_is_known_without_its_marks() {
    let (priority, runtime) = (Kind::PriorityClass, Kind::RuntimeClass);
    let called = |name: &str| json!({"metadata": {"name": name}});
    let host = called("gold.demo.team-a.vcluster.dev");
    assert!(is_a_tenants(priority, &host));
    assert!(!is_a_tenants(priority, &called("gold")));
    assert!(!is_a_tenants(runtime, &host), "of these nobody makes any");
    let unmarked = host;
    assert!(
        !is_of(Class::Priority, &unmarked, "1"),
        "so that nothing deletes it"
    );
}
