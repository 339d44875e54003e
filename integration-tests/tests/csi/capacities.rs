//! The room that the host's storage has left.

use integration_tests::{Host, Tenant, eventually, host};
use serde_json::{Value, json};

use crate::DRIVER;

/// What the host's storage has left, in the words of its driver, removed with the value.
struct Capacity(Host, String);

impl Capacity {
    fn tell(name: &str, class: &str, capacity: &str) -> Self {
        Self::say(name, class, capacity);
        Self(Host::get(), name.to_owned())
    }

    fn say(name: &str, class: &str, capacity: &str) {
        let told = json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "CSIStorageCapacity",
            "metadata": {"name": name, "namespace": "kube-system", "labels": {"csi.storage.k8s.io/drivername": DRIVER}},
            "storageClassName": class, "capacity": capacity,
            "nodeTopology": {"matchLabels": {"kubernetes.io/hostname": "node-1"}},
        });
        Host::get().apply(&told.to_string());
    }
}

impl Drop for Capacity {
    fn drop(&mut self) {
        let args = format!(
            "-n kube-system delete csistoragecapacity {} --ignore-not-found",
            self.1
        );
        self.0.kubectl(&args).run();
    }
}

/// The dev cluster's chart shares it (`sync.fromHost.storageCapacities`).
#[test]
fn the_room_that_the_host_s_storage_has_left_is_shown_of_shown_classes_and_read_only() {
    let tenant = Tenant::create("room");
    let names = ["one", "two"].map(|name| format!("{name}-{}", tenant.namespace));
    let shown = Capacity::tell(&names[0], "csi", "10Gi");
    let _hidden = Capacity::tell(&names[1], "no-such-class", "20Gi");
    let inside = || {
        let all = host::items(
            &tenant
                .kubectl("-n kube-system get csistoragecapacities -o json")
                .json(),
        );
        let ends = |one: &&Value| host::name(one).ends_with(&tenant.namespace);
        all.iter().filter(ends).cloned().collect::<Vec<_>>()
    };
    let is = |capacity: &str| {
        eventually(&format!("{capacity} are left"), || {
            let found = inside();
            match &found[..] {
                [one] if one["capacity"] == capacity => Ok(one.clone()),
                _ => Err(json!(found)),
            }
        })
    };
    let found = is("10Gi");
    let name = format!("kube-system.{}", names[0]);
    assert_eq!(host::name(&found), name);
    assert_eq!(found["storageClassName"], "csi");
    assert_eq!(
        found["nodeTopology"]["matchLabels"]["kubernetes.io/hostname"],
        "node-1"
    );
    for change in [
        format!("-n kube-system delete csistoragecapacity {name}"),
        format!("-n kube-system annotate csistoragecapacity {name} mine=yes"),
    ] {
        tenant.kubectl(&change).refused(&["mirror the host"]);
    }
    Capacity::say(&names[0], "csi", "9Gi");
    is("9Gi");
    drop(shown);
    eventually("it is gone", || {
        let found = inside();
        if found.is_empty() {
            Ok(())
        } else {
            Err(json!(found))
        }
    });
}
