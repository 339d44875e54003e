//! Whose pods, and which containers.

use serde_json::json;
use vcluster_resources::label::{
    CLUSTER_UID, VIRTUAL_KIND, VIRTUAL_NAME, VIRTUAL_NAMESPACE, VIRTUAL_UID,
};

use super::*;

fn tenant() -> TenantUri {
    "vcluster://team-a/demo/c1".parse().unwrap()
}

fn asked() -> Asked {
    Asked {
        namespace: "shop".to_owned(),
        pod: "web".to_owned(),
        uid: None,
        container: Some("main".to_owned()),
    }
}

fn inside() -> Value {
    json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "v1"},
        "spec": {
            "containers": [{"name": "main"}],
            "initContainers": [{"name": "init"}],
            "ephemeralContainers": [{"name": "debug"}, {"name": "not-yet"}],
        },
    })
}

fn host() -> Value {
    json!({
        "metadata": {
            "name": "web-x-shop-x-demo", "namespace": "team-a", "uid": "h1",
            "annotations": {
                CLUSTER_UID: "c1", VIRTUAL_KIND: "Pod", VIRTUAL_NAMESPACE: "shop",
                VIRTUAL_NAME: "web", VIRTUAL_UID: "v1",
            },
        },
        "spec": {
            "containers": [{"name": "main"}, {"name": "injected"}],
            "initContainers": [{"name": "init"}],
            "ephemeralContainers": [{"name": "debug"}],
        },
    })
}

#[test]
fn containers_of_every_sort_are_reached_if_the_tenant_and_the_host_have_them() {
    for (container, expected) in [
        (Some("main"), Ok(())),
        (Some("init"), Ok(())),
        (Some("debug"), Ok(())),
        (None, Ok(())),
        (Some("injected"), Err(Unreachable::NoContainer)),
        (Some("not-yet"), Err(Unreachable::NoContainer)),
        (Some("other"), Err(Unreachable::NoContainer)),
        (Some(""), Err(Unreachable::NoContainer)),
    ] {
        let asked = Asked {
            container: container.map(str::to_owned),
            ..asked()
        };
        let decided = decide(&asked, &inside(), &host(), &tenant());
        assert_eq!(decided, expected, "{container:?}");
    }
}

#[test]
fn a_host_pod_that_is_not_the_translation_of_the_pod_is_not_reached() {
    let swap = |pointer: &str, value: &str| {
        let mut pod = host();
        *pod.pointer_mut(pointer).unwrap() = value.into();
        pod
    };
    let note = |key: &str| format!("/metadata/annotations/{}", key.replace('/', "~1"));
    for pod in [
        swap(&note(CLUSTER_UID), "c2"),
        swap(&note(VIRTUAL_KIND), "Secret"),
        swap(&note(VIRTUAL_NAMESPACE), "other"),
        swap(&note(VIRTUAL_NAME), "other"),
        swap(&note(VIRTUAL_UID), ""),
        swap("/metadata/name", "web"),
        swap("/metadata/namespace", "team-b"),
        json!({"metadata": {"name": "web-x-shop-x-demo", "namespace": "team-a"}}),
        json!(null),
    ] {
        let decided = decide(&asked(), &inside(), &pod, &tenant());
        assert_eq!(decided, Err(Unreachable::NotOurs), "{pod}");
    }
}

#[test]
fn one_stay_of_a_pod_is_not_taken_for_another() {
    let by_uid = |uid: &str| Asked {
        uid: Some(uid.to_owned()),
        ..asked()
    };
    let decide = |asked: &Asked, host: &Value| decide(asked, &inside(), host, &tenant());
    assert_eq!(decide(&by_uid("v1"), &host()), Ok(()));
    assert_eq!(decide(&by_uid("v0"), &host()), Err(Unreachable::OtherPod));
    let mut former = host();
    former["metadata"]["annotations"][VIRTUAL_UID] = "v0".into();
    assert_eq!(decide(&asked(), &former), Err(Unreachable::Former));
}

#[test]
fn what_the_host_says_names_the_pod_as_it_is_called_inside() {
    for (said, expected) in [
        (
            r#"container "main" in pod "web-x-shop-x-demo" is waiting to start: ContainerCreating"#,
            r#"container "main" in pod "web" is waiting to start: ContainerCreating"#,
        ),
        (
            r#"pods "web-x-shop-x-demo" not found in "team-a""#,
            r#"pods "web" not found in "shop""#,
        ),
        (
            "open /var/log/pods/team-a_web-x-shop-x-demo_h1/main/0.log",
            "open /var/log/pods/shop_web_v1/main/0.log",
        ),
        ("team-a/web-x-shop-x-demo", "shop/web"),
        ("nothing of it", "nothing of it"),
    ] {
        let told = in_own_words(said, &asked(), &host(), &inside());
        assert_eq!(told, expected);
    }
}
