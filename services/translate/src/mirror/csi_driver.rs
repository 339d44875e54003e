//! CSIDrivers: the host's, as a virtual cluster sees them. What tokens the host's kubelet gives to a driver is
//! left out: they are the host's.

use serde_json::Value;

use crate::kind::{Api, Description, FromHost, Scope};

/// Its row in the table of kinds.
pub const KIND: Description = Description::from_host(
    Api::new(
        "storage.k8s.io",
        "v1",
        "CSIDriver",
        "csidrivers",
        Scope::Cluster,
    ),
    FromHost {
        frozen: &["/spec/attachRequired", "/spec/volumeLifecycleModes"],
        hide,
        ..FromHost::new(&["spec"])
    },
);

fn hide(driver: &mut Value) {
    if let Some(spec) = driver.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("tokenRequests");
        // Where such tokens go; an API server takes it only beside them.
        spec.remove("serviceAccountTokenInSecrets");
    }
}
