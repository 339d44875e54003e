//! Events of the host, told about the virtual object.

use super::*;
use crate::{
    fixture::{context, host_of, pod},
    pod::names,
};

fn host_event() -> Value {
    json!({
        "metadata": {"name": "web-x-shop-x-demo.18a", "namespace": "team-a", "uid": "e1", "resourceVersion": "9"},
        "involvedObject": {
            "apiVersion": "v1", "kind": "Pod", "namespace": "team-a", "name": "web-x-shop-x-demo",
            "uid": "b057", "resourceVersion": "3", "fieldPath": "spec.containers{main}",
        },
        "reason": "Scheduled",
        "message": "Successfully assigned team-a/web-x-shop-x-demo to n1",
        "source": {"component": "default-scheduler"},
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "count": 1,
        "type": "Normal",
        "related": {"kind": "Pod", "name": "stranger", "namespace": "team-a"},
    })
}

fn translate(event: &Value) -> Option<Value> {
    let host = host_of(&pod());
    let owner = Owner::of_host(&host)?;
    to_virtual(
        event,
        &owner,
        "b057",
        &names(&pod(), Some(&host), &context()),
        &context(),
    )
}

#[test]
fn an_event_is_told_about_the_virtual_object() {
    insta::assert_json_snapshot!("event", translate(&host_event()));
}

#[test]
fn a_repeat_updates_the_same_event_and_another_is_another() {
    let name = |event: &Value| translate(event).unwrap()["metadata"]["name"].clone();
    let mut repeat = host_event();
    repeat["count"] = 2.into();
    assert_eq!(name(&repeat), name(&host_event()));
    let mut other = host_event();
    other["metadata"]["uid"] = "e2".into();
    assert_ne!(name(&other), name(&host_event()));
}

#[test]
fn an_event_about_anything_else_stays_on_the_host() {
    for (pointer, value) in [
        ("/involvedObject/uid", "of-an-earlier-pod"),
        ("/involvedObject/namespace", "team-b"),
        ("/involvedObject/kind", "StatefulSet"),
    ] {
        let mut event = host_event();
        *event.pointer_mut(pointer).unwrap() = value.into();
        assert_eq!(translate(&event), None, "{pointer}");
    }
}

#[test]
fn the_name_fits_however_long_the_object_s_is() {
    let name = event_name(&"a-".repeat(126), "e1");
    assert!(
        name.len() <= SUBDOMAIN_LIMIT && !name.contains("-."),
        "{name}"
    );
}

#[test]
fn an_event_about_a_container_that_is_none_inside_stays_on_the_host() {
    let mut event = host_event();
    event["involvedObject"]["fieldPath"] = "spec.initContainers{vcluster-hosts}".into();
    assert_eq!(translate(&event), None);
}
