//! Volumes that are another's.

use integration_tests::attempt::{Attempt, Fact, Outcome};
use serde_json::{Value, json};

use crate::{
    object::{REFUSED, attempt, merge, object, told},
    victim::Victim,
};

/// Claims and volumes.
pub(crate) fn volumes(victim: &Victim) -> Vec<Attempt> {
    let claim = |name: &str, more: &Value| {
        let mut spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}});
        merge(&mut spec, more);
        object("v1", "PersistentVolumeClaim", name, &json!({"spec": spec}))
    };
    let forged = json!({
        "metadata": {"annotations": {"vcluster.dev/host-claim-uid": "1"}},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "",
            "csi": {"driver": "host.vcluster.dev", "volumeHandle": victim.volume}},
    });
    vec![
        attempt(
            "another's volume",
            claim(
                "thief",
                &json!({"storageClassName": "", "volumeName": victim.volume}),
            ),
            told(&[REFUSED, "spec.volumeName"]),
        ),
        attempt(
            "a copy of the control plane's claim",
            claim(
                "copy",
                &json!({"dataSource": {"kind": "PersistentVolumeClaim", "name": "data-mallory-0"}}),
            ),
            Outcome::Harmless(vec![Fact::Lacks("\"data-mallory-0\"".to_owned())]),
        ),
        attempt(
            "a volume that names another's storage",
            object("v1", "PersistentVolume", "forged", &forged),
            told(&["NotSupported", "storage class"]),
        ),
    ]
}
