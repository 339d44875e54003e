//! What comes up of what the host owns.

use super::*;

#[test]
fn a_status_that_is_written_by_itself_is_not_sent_whatever_the_rule_says() {
    let context = context(
        rule(&json!({"hostOwns": ["spec.renewal"], "patches": []})),
        identity(false, true),
    );
    let mut host = to_host(&certificate(), &context).unwrap();
    assert_eq!(host.get("status"), None);
    host["status"] = json!({"url": "another"});
    assert_eq!(
        update_host(&certificate(), &host, &context),
        Ok(Change::None)
    );
}

#[test]
fn what_came_up_is_reversed_once() {
    let with = json!({"patches": [{"path": "status.url", "reverse": "'x' + value"}]});
    let context = context(rule(&with), identity(false, true));
    let mut object = certificate();
    let mut host = to_host(&object, &context).unwrap();
    host["status"] = json!({"url": "new"});
    let up = status_to_virtual(&host, &object, &context).unwrap();
    assert_eq!(up.body["status"], json!({"url": "xnew"}));
    merge(&mut object, &up.body);
    assert_eq!(status_to_virtual(&host, &object, &context), None);
    host.as_object_mut().unwrap().remove("status");
    assert_eq!(status_to_virtual(&host, &object, &context), None);
}

#[test]
fn what_the_host_owns_comes_up_with_the_names_put_back() {
    let context = sending();
    let object = certificate();
    let mut host = to_host(&object, &context).unwrap();
    host["metadata"]["uid"] = "h1".into();
    host["metadata"]["generation"] = 3.into();
    host["spec"]["renewal"] = "host's".into();
    host["status"] = json!({
        "url": "http:web", "secret": "tls-x-shop-x-demo", "observedGeneration": 3,
        "conditions": [{"message": "team-a/web-x-shop-x-demo is ready: tls-x-shop-x-demo.", "observedGeneration": 2}],
    });
    let first = status_to_virtual(&host, &object, &context).unwrap();
    assert_eq!(first.subresource, None);
    assert_eq!(
        first.body,
        json!({"metadata": {"uid": "u1"}, "spec": {"renewal": "host's"}})
    );
    let mut object = object;
    merge(&mut object, &first.body);
    let second = status_to_virtual(&host, &object, &context).unwrap();
    assert_eq!(
        second.body["status"],
        json!({
            "url": "web", "secret": "tls", "observedGeneration": 7,
            "conditions": [{"message": "shop/web is ready: tls.", "observedGeneration": 2}],
        })
    );
    merge(&mut object, &second.body);
    assert_eq!(status_to_virtual(&host, &object, &context), None);
    // What the host has not said yet takes nothing away.
    host.as_object_mut().unwrap().remove("status");
    assert_eq!(status_to_virtual(&host, &object, &context), None);
}
