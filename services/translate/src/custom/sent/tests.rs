//! What stays and what goes of a host object whose virtual one is edited.

use serde_json::json;

use super::*;

fn host(body: &Value) -> Value {
    json!({"metadata": {"annotations": annotations(body)}})
}

#[test]
fn what_was_sent_and_is_not_wanted_goes_and_what_was_added_stays() {
    let table = [
        (
            "kept",
            json!({"a": 1}),
            json!({"a": 1}),
            json!({"a": 1}),
            json!({"a": 1}),
        ),
        (
            "the host's beside an edit",
            json!({"size": 1}),
            json!({"size": 2}),
            json!({"size": 1, "resourceRef": {"name": "db"}}),
            json!({"size": 2, "resourceRef": {"name": "db"}}),
        ),
        (
            "the host's in an object that goes",
            json!({"ref": {"a": 1, "deep": {"b": 1}}}),
            json!({}),
            json!({"ref": {"a": 1, "deep": {"b": 1}, "ip": 7}}),
            json!({"ref": {"ip": 7}}),
        ),
        (
            "an object that goes whole",
            json!({"ref": {"a": {}, "b": {"c": 1}}}),
            json!({}),
            json!({"ref": {"a": {}, "b": {"c": 1}}}),
            json!({}),
        ),
        (
            "null is nothing: ours goes",
            json!({"a": 1}),
            json!({"a": null}),
            json!({"a": 1}),
            json!({}),
        ),
        (
            "null is nothing: theirs stays",
            json!({"a": null}),
            json!({"a": null, "b": 1}),
            json!({"a": "theirs"}),
            json!({"a": "theirs", "b": 1}),
        ),
        (
            "an object where a text was",
            json!({"a": "x"}),
            json!({"a": {"b": 1}}),
            json!({"a": "x"}),
            json!({"a": {"b": 1}}),
        ),
        (
            "a text where an object was",
            json!({"a": {"b": 1}}),
            json!({"a": "x"}),
            json!({"a": {"b": 1, "theirs": 1}}),
            json!({"a": "x"}),
        ),
        (
            "a list that is not edited keeps what was added to its items",
            json!({"ports": [{"port": 1}], "x": 1}),
            json!({"ports": [{"port": 1}], "x": 2}),
            json!({"ports": [{"port": 1, "protocol": "TCP"}], "x": 1}),
            json!({"ports": [{"port": 1, "protocol": "TCP"}], "x": 2}),
        ),
        (
            "a list that is edited is written whole",
            json!({"ports": [{"port": 1, "name": "a"}]}),
            json!({"ports": [{"port": 1}]}),
            json!({"ports": [{"port": 1, "name": "a", "protocol": "TCP"}]}),
            json!({"ports": [{"port": 1}]}),
        ),
        (
            "a list that grows is written whole",
            json!({"ports": [1]}),
            json!({"ports": [1, 2]}),
            json!({"ports": [1]}),
            json!({"ports": [1, 2]}),
        ),
    ];
    for (what, sent, wanted, theirs, to_be) in table {
        let known = known(&host(&sent));
        assert_eq!(
            merge(Some(&theirs), Some(&wanted), &known),
            Some(to_be.clone()),
            "{what}"
        );
        let known = members(&wanted);
        assert_eq!(
            merge(Some(&to_be), Some(&wanted), &known),
            Some(to_be),
            "{what}, again"
        );
    }
}

#[test]
fn on_doubt_nothing_goes() {
    let sent = json!({"a": 1, "b": {"c": 1}});
    let mut unmarked = host(&sent);
    unmarked["metadata"]["annotations"]
        .as_object_mut()
        .unwrap()
        .remove(FIELDS);
    let mut another = host(&sent);
    another["metadata"]["annotations"][SENT] = "by an earlier version".into();
    let mut broken = host(&sent);
    broken["metadata"]["annotations"][FIELDS] = "{".into();
    for host in [json!({}), unmarked, another, broken] {
        let known = known(&host);
        assert_eq!(known, Value::Null);
        let theirs =
            json!({"a": 1, "b": {"c": 1, "d": 2}, "ports": [{"port": 1, "protocol": "TCP"}]});
        let wanted = json!({"new": 1, "ports": [{"port": 1}]});
        let mut to_be = theirs.clone();
        to_be["new"] = 1.into();
        assert_eq!(merge(Some(&theirs), Some(&wanted), &known), Some(to_be));
    }
}

#[test]
fn the_names_of_members_have_a_bound_and_beyond_it_none_are_known() {
    let wide = |count: usize| -> Value {
        let members = (0..count).map(|n| (format!("member-{n:04}"), json!("a value")));
        members.collect::<Map<_, _>>().into()
    };
    let fits = annotations(&wide(1_000));
    assert_ne!(
        known(&json!({"metadata": {"annotations": fits}}))["member-0999"],
        Value::Null
    );
    let large = annotations(&wide(2_000));
    assert!(large[FIELDS].as_str().unwrap().len() < 100);
    assert_eq!(
        known(&json!({"metadata": {"annotations": large}})),
        json!({})
    );
}

#[test]
fn no_value_is_named() {
    let body =
        json!({"spec": {"password": "hunter2", "list": ["hunter2"], "on": true, "none": null}});
    let fields = annotations(&body)[FIELDS].to_string();
    assert!(!fields.contains("hunter2"), "{fields}");
    let list = members(&json!(["hunter2"]));
    assert_eq!(
        members(&body),
        json!({"spec": {"password": 0, "list": list, "on": 0}})
    );
}

#[test]
fn the_annotation_is_the_same_text_whatever_the_order_of_members() {
    let one: Value = serde_json::from_str(r#"{"b":{"d":1,"c":{}},"a \"":1}"#).unwrap();
    let two: Value = serde_json::from_str(r#"{"a \"":1,"b":{"c":{},"d":1}}"#).unwrap();
    assert_eq!(annotations(&one), annotations(&two));
    let digest = Digest::of(&one);
    let text = format!(r#"{{"of":"{digest}","members":{{"a \"":0,"b":{{"c":{{}},"d":0}}}}}}"#);
    assert_eq!(annotations(&one)[FIELDS], text);
    assert_eq!(known(&host(&one)), members(&one));
}
