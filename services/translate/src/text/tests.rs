//! Texts of the host, told inside with virtual names.

use serde_json::json;

use super::*;
use crate::fixture::context;

fn names() -> Names {
    let mut names = Names::new(&context());
    names.add("web-x-shop-x-demo".to_owned(), "shop", "web");
    names.add("a.b-x-shop-x-demo".to_owned(), "shop", "a.b");
    let host = json!({"metadata": {"name": "web-x-shop-x-demo", "uid": "b057"}});
    let owner = Owner {
        cluster_uid: "c".to_owned(),
        kind: "Pod".to_owned(),
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
        uid: "5a1e".to_owned(),
    };
    names.add_object(&host, &owner);
    names
}

#[test]
fn host_names_in_text_are_put_back() {
    // Texts as kubelet, scheduler and API server write them.
    let cases = [
        (
            "back-off 5m0s restarting failed container=nginx pod=web-x-shop-x-demo_team-a(b057)",
            "back-off 5m0s restarting failed container=nginx pod=web_shop(5a1e)",
        ),
        (
            "Successfully assigned team-a/web-x-shop-x-demo to node-1",
            "Successfully assigned shop/web to node-1",
        ),
        (
            r#"MountVolume.SetUp failed for volume "v" : object "team-a"/"a.b-x-shop-x-demo" not registered"#,
            r#"MountVolume.SetUp failed for volume "v" : object "shop"/"a.b" not registered"#,
        ),
        (
            r#"pods "web-x-shop-x-demo" is forbidden: exceeded quota: q in team-a."#,
            r#"pods "web" is forbidden: exceeded quota: q in team-a."#,
        ),
        ("It was web-x-shop-x-demo.", "It was web."),
        (
            "my-web-x-shop-x-demo is another",
            "my-web-x-shop-x-demo is another",
        ),
        ("by team-a, not by default", "by team-a, not by default"),
        ("日本 team-a/web-x-shop-x-demo 語", "日本 shop/web 語"),
        ("", ""),
    ];
    for (text, expected) in cases {
        assert_eq!(names().translate(text), expected);
    }
}

#[test]
fn what_the_host_says_of_an_object_of_any_kind_is_put_back() {
    let object = json!({
        "metadata": {"namespace": "shop", "name": "web", "uid": "1"},
        "spec": {
            "tls": [{"secretName": "cert"}],
            "containers": [{"envFrom": [{"configMapRef": {"name": "conf"}}]}],
            "dataSource": {"kind": "PersistentVolumeClaim", "name": "old"},
            "source": {"persistentVolumeClaimName": "data"},
        },
    });
    for kind in Kind::all() {
        let host = name::of_kind(kind, "shop", "web", &context());
        for object in [Some(&object), None] {
            let names = Names::about(kind, ("shop", "web"), object, &context());
            let said = format!("{kind} {host:?} is forbidden: exceeded quota");
            let told = format!("{kind} \"web\" is forbidden: exceeded quota");
            assert_eq!(names.translate(&said), told);
        }
    }
    for (kind, said, told) in [
        (Kind::Pod, "conf-x-shop-x-demo", "conf"),
        (Kind::Pod, "web-x-shop-x-demo.token", "web"),
        (Kind::Ingress, "cert-x-shop-x-demo", "cert"),
        (Kind::PersistentVolumeClaim, "old-x-shop-x-demo", "old"),
        (Kind::VolumeSnapshot, "data-x-shop-x-demo", "data"),
        (Kind::Service, "cert-x-shop-x-demo", "cert-x-shop-x-demo"),
    ] {
        let names = Names::about(kind, ("shop", "web"), Some(&object), &context());
        assert_eq!(names.translate(said), told, "{kind}");
    }
}

#[test]
fn text_without_known_names_stays_byte_for_byte() {
    let text = "  0/3 nodes are available: 3 Insufficient cpu.\n\tpreemption: …  ";
    assert_eq!(names().translate(text), text);
}
