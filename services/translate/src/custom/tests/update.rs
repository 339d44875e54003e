//! What is written to a host object that is there, and what is accepted of it.

use super::*;

#[test]
fn what_a_controller_of_the_host_adds_stays_and_what_it_changes_is_put_right() {
    let context = sending();
    let object = certificate();
    let mut host = to_host(&object, &context).unwrap();
    assert_eq!(update_host(&object, &host, &context), Ok(Change::None));
    host["spec"]["defaulted"] = json!({"by": "webhook"});
    host["spec"]["services"][2]["protocol"] = "TCP".into();
    host["spec"]["renewal"] = "host's".into();
    host["status"] = json!({"ready": true});
    host["extra"] = json!(1);
    assert_eq!(update_host(&object, &host, &context), Ok(Change::None));
    host["spec"]["secretName"] = "changed".into();
    let Ok(Change::Patch(patch)) = update_host(&object, &host, &context) else {
        panic!("not patched")
    };
    assert_eq!(
        patch.body["spec"],
        json!({"secretName": "tls-x-shop-x-demo"})
    );
}

#[test]
fn what_the_host_makes_of_a_write_is_accepted_until_somebody_changes_it() {
    let context = sending();
    let object = certificate();
    let sent = to_host(&object, &context).unwrap();
    let answer = |changes: &Value| {
        let mut host = sent.clone();
        host["metadata"]["uid"] = "h1".into();
        merge(&mut host, changes);
        host
    };
    let rewritten = json!({"spec": {"commonName": "DEMO.WEB", "services": [{"name": "a"}]}});
    let host = answer(&rewritten);
    let accepted = accept(&object, &host, &sent, &context).unwrap();
    for field in ["spec.commonName", "spec.services"] {
        assert!(accepted.message.contains(field), "{}", accepted.message);
    }
    let mut host = host;
    merge(&mut host, &accepted.patch.body);
    assert_eq!(update_host(&object, &host, &context), Ok(Change::None));
    assert_eq!(accept(&object, &host, &sent, &context), None, "once");
    for (changes, is_written) in [
        (
            json!({"spec": {"defaulted": 1, "renewal": "theirs"}, "status": {"ready": true}}),
            false,
        ),
        (json!({"spec": {"commonName": "by.hand"}}), true),
        (json!({"spec": {"services": []}}), true),
        (json!({"spec": {"secretName": "by-hand"}}), true),
        (
            json!({"metadata": {"annotations": {"vcluster.dev/sent": "another"}}}),
            true,
        ),
    ] {
        let mut later = host.clone();
        merge(&mut later, &changes);
        let change = update_host(&object, &later, &context).unwrap();
        assert_eq!(change != Change::None, is_written, "{changes}");
    }
    let mut changed = object.clone();
    changed["spec"]["commonName"] = "other".into();
    assert_ne!(update_host(&changed, &host, &context), Ok(Change::None));
}

#[test]
fn only_what_was_written_is_accepted_and_only_in_its_answer() {
    let context = sending();
    let object = certificate();
    let sent = to_host(&object, &context).unwrap();
    let mut host = sent.clone();
    assert_eq!(accept(&object, &host, &sent, &context), None, "as sent");
    host["spec"]["commonName"] = "DEMO.WEB".into();
    host["spec"]["newerField"] = json!({"kept": false});
    let table = [
        (json!({"spec": {"commonName": "demo.web"}}), false),
        (
            json!({"spec": {"commonName": "demo.web", "newerField": {"kept": true}}}),
            true,
        ),
        (
            json!({"spec": {"commonName": "demo.web", "newerField": null}}),
            true,
        ),
        (
            json!({"spec": {"commonName": {"x": 1}, "newerField": {"kept": true}}}),
            false,
        ),
        (json!({"metadata": {"labels": {"a": "b"}}}), false),
    ];
    for (written, is_accepted) in table {
        let accepted = accept(&object, &host, &written, &context);
        assert_eq!(accepted.is_some(), is_accepted, "{written}");
    }
    // A field that the host leaves out is sent again: its definition may know it one day.
    let mut pruned = host.clone();
    pruned["spec"].as_object_mut().unwrap().remove("newerField");
    assert_eq!(accept(&object, &pruned, &sent, &context), None);
    host["metadata"]["annotations"][to_host::SENT] = "earlier".into();
    assert_eq!(accept(&object, &host, &sent, &context), None);
}

#[test]
fn what_the_host_owns_may_change_in_an_accepted_object() {
    let context = sending();
    let mut object = certificate();
    object["spec"]["renewal"] = "ours".into();
    let sent = to_host(&object, &context).unwrap();
    let mut host = sent.clone();
    host["spec"]["commonName"] = "DEMO.WEB".into();
    let accepted = accept(&object, &host, &sent, &context).unwrap();
    merge(&mut host, &accepted.patch.body);
    host["spec"]["renewal"] = "theirs".into();
    assert_eq!(update_host(&object, &host, &context), Ok(Change::None));
    object["spec"]["renewal"] = "another".into();
    assert_eq!(update_host(&object, &host, &context), Ok(Change::None));
}

#[test]
fn a_field_that_is_taken_away_inside_is_taken_away_on_the_host() {
    let context = sending();
    let mut object = certificate();
    let mut host = to_host(&object, &context).unwrap();
    object["spec"].as_object_mut().unwrap().remove("newerField");
    let Ok(Change::Patch(patch)) = update_host(&object, &host, &context) else {
        panic!("not patched")
    };
    assert_eq!(patch.body["spec"], json!({"newerField": null}));
    merge(&mut host, &patch.body);
    assert_eq!(update_host(&object, &host, &context), Ok(Change::None));
}
