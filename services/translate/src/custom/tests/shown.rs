//! Objects of the host that are shown inside.

use super::*;

#[test]
fn objects_of_the_host_namespace_are_shown_in_the_virtual_one_and_no_translations() {
    let rule = rule(
        &json!({"direction": "FromHost", "namespace": "certs", "references": [], "patches": [
            {"path": "spec.note", "reverse": "'shown: ' + value"},
        ]}),
    );
    let context = context(rule, identity(true, true));
    let synced = context.custom.iter().next().unwrap();
    let mut host = certificate();
    host["metadata"]["namespace"] = "team-a".into();
    host["spec"]["note"] = "x".into();
    let shown = Shown::of(&host, synced, &context).unwrap();
    assert_eq!(shown.object["metadata"]["namespace"], "certs");
    assert_eq!(
        shown.object["metadata"]["labels"]["vcluster.dev/managed"],
        "true"
    );
    assert_eq!(shown.object["metadata"].get("finalizers"), None);
    assert_eq!(shown.object["spec"]["note"], "shown: x");
    let mut found = shown.object.clone();
    found["metadata"]["uid"] = "v1".into();
    assert_eq!(shown.difference(&found, synced), None);
    found["spec"]["secretName"] = "tenant's".into();
    assert_eq!(
        shown.difference(&found, synced).unwrap().body["spec"],
        json!({"secretName": "tls"})
    );
    found = shown.object.clone();
    found["status"] = json!({"url": "other"});
    assert_eq!(
        shown.difference(&found, synced).unwrap().body["status"],
        json!({"url": "old"})
    );
    host["metadata"]["annotations"]["vcluster.dev/kind"] = "Certificate.cert-manager.io".into();
    assert_eq!(
        Shown::of(&host, synced, &context),
        None,
        "it is a translation"
    );
}

#[test]
fn what_lives_in_no_namespace_is_shown_only_with_the_administrator_s_label() {
    let rule = rule(&json!({"direction": "FromHost", "references": [], "patches": []}));
    let context = context(rule, identity(true, false));
    let synced = context.custom.iter().next().unwrap();
    let mut host = certificate();
    assert_eq!(Shown::of(&host, synced, &context), None);
    host["metadata"]["labels"]["vcluster.dev/shareable"] = "true".into();
    let shown = Shown::of(&host, synced, &context).unwrap();
    assert_eq!(shown.object["metadata"].get("namespace"), None);
}
