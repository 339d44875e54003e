//! What the containers of a virtual cluster have in common: who they run as, what they may, how they are probed.

use serde_json::{Value, json};

use crate::distro::Images;

/// The user of the containers: nobody in particular, and never root.
pub const USER: u32 = 65532;

/// A container as written, its image pulled as the installation says.
pub fn container(images: &Images, mut container: Value) -> Value {
    if let Some(policy) = &images.pull_policy {
        container["imagePullPolicy"] = policy.as_str().into();
    }
    container
}

/// The `restricted` pod-security standard. The published images of Kubernetes carry the capability
/// NET_BIND_SERVICE on their files and do not start where it is not allowed.
pub fn security(capabilities: &[&str]) -> Value {
    let mut set = json!({ "drop": ["ALL"] });
    if !capabilities.is_empty() {
        set["add"] = capabilities.into();
    }
    json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": set,
    })
}

/// A probe by HTTP: every `period` seconds, failed after so many `failures` in a row.
pub fn probe(scheme: &str, path: &str, port: u16, period: u32, failures: u32) -> Value {
    json!({
        "httpGet": { "path": path, "port": port, "scheme": scheme },
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": 5,
    })
}
