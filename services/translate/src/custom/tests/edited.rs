//! An object that is edited inside, to whose host object a controller has added something.

use super::*;

/// Objects with few names, so that they meet.
fn members() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        Just(json!({})),
        (0..3).prop_map(Value::from),
        prop::collection::vec(0..2, 0..2).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 3, |inner| {
        prop::collection::btree_map("[a-c]", inner, 0..4)
            .prop_map(|all| all.into_iter().collect::<serde_json::Map<_, _>>().into())
    })
}

type Path = Vec<String>;

/// The paths of all members, of the objects before what is in them.
fn paths(value: &Value) -> Vec<Path> {
    let members = value.as_object().into_iter().flatten();
    members
        .flat_map(|(key, value)| {
            let below = paths(value).into_iter().map(|path| {
                let key = std::iter::once(key.clone());
                key.chain(path).collect()
            });
            std::iter::once(vec![key.clone()]).chain(below)
        })
        .collect()
}

/// What is there, if anything but null.
fn reach<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    let found = path.iter().try_fold(value, |value, key| value.get(key));
    found.filter(|found| !found.is_null())
}

/// Whether nothing of `value` stands in the way of something at a path.
fn leaves_room(value: &Value, path: &[String]) -> bool {
    (0..path.len()).all(|n| reach(value, &path[..n]).is_none_or(Value::is_object))
        && reach(value, path).is_none()
}

/// What was sent, on top of what a controller has added.
fn with_sent(host: &mut Value, sent: &Value) {
    match (host, sent) {
        (_, Value::Null) => {}
        (Value::Object(host), Value::Object(sent)) => {
            for (key, sent) in sent {
                with_sent(host.entry(key.clone()).or_insert(Value::Null), sent);
            }
        }
        (host, sent) => *host = sent.clone(),
    }
}

fn with(spec: &Value) -> Value {
    let mut object = certificate();
    object["spec"]["more"] = spec.clone();
    object
}

proptest! {
    #[test]
    fn an_edit_takes_away_what_was_sent_and_nothing_that_the_host_added(
        sent in members(), edited in members(), added in members(),
    ) {
        let context = sending();
        let mut host = to_host(&with(&sent), &context).unwrap();
        host["metadata"]["uid"] = "h1".into();
        let mut before = added.clone();
        with_sent(&mut before, &sent);
        host["spec"]["more"] = before.clone();
        host["spec"]["theirs"] = added.clone();
        prop_assert_eq!(update_host(&with(&sent), &host, &context), Ok(Change::None));

        let edit = with(&edited);
        if let Change::Patch(patch) = update_host(&edit, &host, &context).unwrap() {
            merge(&mut host, &patch.body);
        }
        prop_assert_eq!(update_host(&edit, &host, &context), Ok(Change::None), "once");

        prop_assert_eq!(&host["spec"]["theirs"], &added);
        let after = &host["spec"]["more"];
        let is_leaf = |value: &Value| !value.is_object();
        for path in paths(&before) {
            let Some(there) = reach(&before, &path).filter(|there| is_leaf(there)) else { continue };
            // What a list or a number inside covers is not the host's any more.
            if reach(&sent, &path).is_none() && leaves_room(&edited, &path) {
                prop_assert_eq!(reach(after, &path), Some(there), "added: {:?}", &path);
            }
        }
        for path in paths(&sent) {
            let was = reach(&sent, &path);
            if was.is_some_and(is_leaf) && reach(&edited, &path).is_none() {
                prop_assert_eq!(reach(after, &path), None, "taken away inside: {:?}", &path);
            }
        }
        for path in paths(&edited) {
            match reach(&edited, &path) {
                Some(value) if is_leaf(value) => {
                    prop_assert_eq!(reach(after, &path), Some(value), "wanted: {:?}", &path);
                }
                Some(_) => prop_assert!(reach(after, &path).is_some_and(Value::is_object)),
                None => {}
            }
        }
    }
}

/// As a controller of the sort that makes a database for a claim.
fn bound(context: &Context) -> (Value, Value) {
    let object = certificate();
    let mut host = to_host(&object, context).unwrap();
    host["metadata"]["uid"] = "h1".into();
    host["spec"]["resourceRef"] = json!({"name": "db-1"});
    host["spec"]["newerField"]["assigned"] = "10.0.0.1".into();
    (object, host)
}

#[test]
fn an_edit_leaves_the_binding_that_a_controller_of_the_host_wrote() {
    let context = sending();
    let (mut object, host) = bound(&context);
    object["spec"]["size"] = 2.into();
    object["spec"].as_object_mut().unwrap().remove("newerField");
    let Ok(Change::Patch(patch)) = update_host(&object, &host, &context) else {
        panic!("not patched")
    };
    assert_eq!(
        patch.body["spec"],
        json!({"size": 2, "newerField": {"kept": null}})
    );
}

#[test]
fn a_rule_that_writes_otherwise_leaves_it_too() {
    let (object, host) = bound(&sending());
    let rule = rule(&json!({"patches": [{"path": "spec.commonName", "expression": "'other'"}]}));
    let context = context(rule, identity(false, true));
    let Ok(Change::Patch(patch)) = update_host(&object, &host, &context) else {
        panic!("not patched")
    };
    assert_eq!(patch.body["spec"]["commonName"], "other");
    for field in ["resourceRef", "newerField"] {
        assert!(patch.body["spec"].get(field).is_none(), "{}", patch.body);
    }
}

#[test]
fn what_an_earlier_version_wrote_loses_nothing_and_is_marked_once() {
    let context = sending();
    let (mut object, mut host) = bound(&context);
    let annotations = host["metadata"]["annotations"].as_object_mut().unwrap();
    annotations.remove(sent::FIELDS);
    let Ok(Change::Patch(patch)) = update_host(&object, &host, &context) else {
        panic!("not marked")
    };
    assert!(patch.body.get("spec").is_none(), "{}", patch.body);
    let mut marked = host.clone();
    merge(&mut marked, &patch.body);
    assert_eq!(update_host(&object, &marked, &context), Ok(Change::None));
    // It is edited before it was marked: what was sent of it nobody knows.
    object["spec"]["newerField"] = json!({"size": 2});
    let Ok(Change::Patch(patch)) = update_host(&object, &host, &context) else {
        panic!("not patched")
    };
    assert_eq!(patch.body["spec"], json!({"newerField": {"size": 2}}));
    merge(&mut host, &patch.body);
    assert_eq!(update_host(&object, &host, &context), Ok(Change::None));
}

#[test]
fn what_the_host_owns_by_a_changed_rule_is_not_taken_away_although_it_was_sent() {
    let earlier = context(
        rule(&json!({"hostOwns": ["status"]})),
        identity(false, true),
    );
    let object = certificate();
    let mut host = to_host(&object, &earlier).unwrap();
    host["metadata"]["uid"] = "h1".into();
    let Ok(Change::Patch(patch)) = update_host(&object, &host, &sending()) else {
        panic!("not patched")
    };
    assert!(patch.body.get("spec").is_none(), "{}", patch.body);
    merge(&mut host, &patch.body);
    assert_eq!(host["spec"]["renewal"], "theirs");
    assert_eq!(update_host(&object, &host, &sending()), Ok(Change::None));
}
