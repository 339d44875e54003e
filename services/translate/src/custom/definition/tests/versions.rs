//! A rule whose version changes: what becomes of the copy that is there.

use super::*;

fn learnt(version: &str) -> Learnt {
    let mut host = host();
    host["spec"]["versions"][0] = json!({
        "name": "v1alpha2", "served": true, "storage": false, "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {"type": "object", "description": "alpha"}},
    });
    learn(&Arc::new(host), &rule(&json!({"version": version}))).unwrap()
}

/// A copy as an API server has it, which stores objects in these versions.
fn found(version: &str, stored: &[&str]) -> Value {
    let mut found = learnt(version).copy("c1");
    found["metadata"]["uid"] = "v".into();
    found["spec"]["names"]["singular"] = "certificate".into();
    found["status"] = json!({
        "conditions": [{"type": "Established", "status": "True"}], "storedVersions": stored,
    });
    found
}

/// What `ValidateCustomResourceDefinitionStoredVersions` and `validateCustomResourceDefinitionSpec` of an API server ask
/// of the versions of a definition that is there; and the stored versions afterwards.
fn take(found: &mut Value, patch: &Patch) {
    found["spec"]["versions"] = patch.body["spec"]["versions"].clone();
    let versions = array(found, "/spec/versions");
    let mut stored = array(found, "/status/storedVersions").to_vec();
    let storage: Vec<_> = versions
        .iter()
        .filter(|version| is_true(version, "/storage"))
        .collect();
    assert_eq!(
        storage.len(),
        1,
        "exactly one version is marked as storage version"
    );
    if !stored.contains(&storage[0]["name"]) {
        stored.push(storage[0]["name"].clone());
    }
    for name in &stored {
        let named = versions.iter().filter(|version| version["name"] == *name);
        assert_eq!(named.count(), 1, "{name} is missing, or there twice");
    }
    let has_schema = |version: &Value| version.pointer("/schema/openAPIV3Schema").is_some();
    assert!(versions.iter().all(has_schema), "schemas are required");
    found["status"]["storedVersions"] = stored.into();
}

/// `NAME` of each version, with `+` if it is served, `*` if objects are stored in it.
fn versions(found: &Value) -> Vec<String> {
    let versions = array(found, "/spec/versions").iter();
    versions
        .map(|version| {
            let mark = |pointer, mark| if is_true(version, pointer) { mark } else { "" };
            let name = version["name"].as_str().unwrap();
            format!("{name}{}{}", mark("/served", "+"), mark("/storage", "*"))
        })
        .collect()
}

#[test]
fn versions_in_which_objects_may_be_stored_stay_and_are_not_served() {
    for (was, stored, version, to_be) in [
        (
            "v1alpha2",
            &["v1alpha2"][..],
            "v1",
            &["v1+*", "v1alpha2"][..],
        ),
        ("v1", &["v1"], "v1alpha2", &["v1alpha2+*", "v1"]),
    ] {
        let mut found = found(was, stored);
        let before = found["spec"]["versions"][0].clone();
        let learnt = learnt(version);
        let Step::Patch(patch) = step(Some(&found), &learnt, "c1") else {
            panic!("not patched")
        };
        assert_eq!(patch.body["metadata"]["uid"], "v");
        take(&mut found, &patch);
        assert_eq!(versions(&found), to_be);
        if let Some(kept) = found["spec"]["versions"].get(1) {
            assert_eq!(kept["schema"], before["schema"], "as it was");
        }
        assert_eq!(step(Some(&found), &learnt, "c1"), Step::Ready, "once");
    }
}

#[test]
fn a_rule_may_go_to_a_version_and_back_and_the_host_may_drop_one() {
    let mut found = found("v1alpha2", &["v1alpha2"]);
    for (version, to_be) in [
        ("v1", ["v1+*", "v1alpha2"]),
        ("v1alpha2", ["v1alpha2+*", "v1"]),
        ("v1", ["v1+*", "v1alpha2"]),
    ] {
        let Step::Patch(patch) = step(Some(&found), &learnt(version), "c1") else {
            panic!("not patched")
        };
        take(&mut found, &patch);
        assert_eq!(versions(&found), to_be);
    }
    let mut host = host();
    host["spec"]["versions"].as_array_mut().unwrap().remove(0);
    let learnt = learn(&Arc::new(host), &rule(&json!({}))).unwrap();
    assert_eq!(step(Some(&found), &learnt, "c1"), Step::Ready);
    // Somebody has rewritten all objects, and said so.
    found["status"]["storedVersions"] = json!(["v1"]);
    let Step::Patch(patch) = step(Some(&found), &learnt, "c1") else {
        panic!("not patched")
    };
    take(&mut found, &patch);
    assert_eq!(versions(&found), ["v1+*"]);
}
