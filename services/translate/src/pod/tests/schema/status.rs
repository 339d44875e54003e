//! Runs the translation of a status with one field set.

use serde_json::{Value, json};

use super::{
    fate::Fate,
    sample::{Leaf, dress},
};
use crate::{
    fixture::{context, host_of, patched, pod_with},
    pod::{names, status_to_virtual},
};

/// A pod of which everything that a status can speak of exists.
fn virtual_pod() -> Value {
    let mut pod = pod_with(json!({
        "initContainers": [{"name": "main", "image": "i"}],
        "ephemeralContainers": [{"name": "main", "image": "i"}],
        "volumes": [{"name": "main", "emptyDir": {}}],
    }));
    pod["metadata"]["generation"] = 4.into();
    pod
}

/// Whether translation does with the field what its fate says.
pub(super) fn check(leaf: &Leaf, fate: &Fate) -> Result<(), String> {
    // Elsewhere a name is that of a container or volume, which must exist.
    let samples = if leaf.path.ends_with("tatuses[].name")
        || leaf.path.ends_with("volumeMounts[].name")
        || leaf.path.ends_with("volumeHealth[].name")
    {
        vec![json!("main")]
    } else {
        leaf.samples()
    };
    match fate {
        Fate::Passes => samples
            .iter()
            .try_for_each(|value| comes_up(leaf, value, Some(value))),
        Fate::Text => comes_up(
            leaf,
            &json!("pod \"web-x-shop-x-demo\" in team-a/web-x-shop-x-demo"),
            Some(&json!("pod \"web\" in shop/web")),
        ),
        Fate::Generation => comes_up(leaf, &json!(1), Some(&json!(4))),
        Fate::Kept if leaf.path == "status.qosClass" => samples
            .iter()
            .try_for_each(|value| comes_up(leaf, value, Some(&json!("BestEffort")))),
        Fate::Kept => samples
            .iter()
            .try_for_each(|value| comes_up(leaf, value, None)),
        Fate::Reference(_)
        | Fate::Rewritten { .. }
        | Fate::Dropped
        | Fate::Refused(_)
        | Fate::Judged { .. } => Err("a fate of the spec".to_owned()),
    }
}

fn comes_up(leaf: &Leaf, host_value: &Value, expected: Option<&Value>) -> Result<(), String> {
    let pod = virtual_pod();
    let mut host = host_of(&pod);
    leaf.set(&mut host, host_value.clone());
    let mut needs = vec![
        ("/status/conditions/0", json!({"type": "PodScheduled"})),
        ("/status/volumeHealth/0", json!({"name": "main"})),
    ];
    for list in [
        "containerStatuses",
        "initContainerStatuses",
        "ephemeralContainerStatuses",
    ] {
        let status: &'static str = format!("/status/{list}/0").leak();
        let mount: &'static str = format!("{status}/volumeMounts/0").leak();
        needs.push((status, json!({"name": "main"})));
        needs.push((mount, json!({"name": "main"})));
    }
    dress(&mut host, &needs);
    let names = || names(&pod, Some(&host), &context());
    let after = match status_to_virtual(&host, &pod, names, true) {
        Some(patch) => patched(&pod, &patch),
        None => pod,
    };
    let found = leaf.get(&after, false);
    if found == expected {
        Ok(())
    } else {
        Err(format!("{host_value} comes up as {found:?}"))
    }
}
