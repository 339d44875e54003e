//! What would reach the host's nodes, and is therefore refused.
//!
//! The line is the Pod Security Standard "baseline" where it is about the host itself: its
//! namespaces, ports, devices, addresses and kernel. What is about the container's own hardening is
//! left to the host's pod security admission.

use serde_json::Value;

use crate::{
    Refusal,
    json::{array, is_true, text},
};

/// Capabilities that end at the pod: those of the standard "baseline", and those over the pod's own
/// network. With others (`SYS_ADMIN`, `SYS_MODULE`, ...) root in a container is root on its node.
const CAPABILITIES: [&str; 15] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Checks the fields of the pod itself.
pub(super) fn check_pod(spec: &Value) -> Result<(), Refusal> {
    for (key, what) in [
        ("hostNetwork", "network"),
        ("hostPID", "processes"),
        ("hostIPC", "inter-process communication"),
    ] {
        if is_true(spec, &format!("/{key}")) {
            return Err(Refusal::host_access(
                format!("spec.{key}"),
                format!(
                    "shares the {what} of the host's node, which virtual clusters may not; remove it or set it to false"
                ),
            ));
        }
    }
    if is_true(spec, "/securityContext/windowsOptions/hostProcess") {
        return Err(host_process("spec.securityContext"));
    }
    for (key, kind) in [
        ("resourceClaims", "ResourceClaims"),
        ("runtimeClassName", "RuntimeClasses"),
        ("schedulingGroup", "PodGroups"),
        ("workloadRef", "Workloads"),
    ] {
        let value = spec.get(key).unwrap_or(&Value::Null);
        let empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        if !empty {
            return Err(Refusal::not_supported(
                format!("spec.{key}"),
                format!("{kind} are not translated to the host yet; remove it"),
            ));
        }
    }
    Ok(())
}

/// Checks one container of any sort.
pub(super) fn check_container(container: &Value, field: &str) -> Result<(), Refusal> {
    if is_true(container, "/securityContext/privileged") {
        return Err(Refusal::host_access(
            format!("{field}.securityContext.privileged"),
            "has all rights on the host's node, which virtual clusters may not; remove it or set \
             it to false",
        ));
    }
    if is_true(container, "/securityContext/windowsOptions/hostProcess") {
        return Err(host_process(&format!("{field}.securityContext")));
    }
    check_capabilities(container, field)?;
    for (index, port) in array(container, "/ports").iter().enumerate() {
        if port.get("hostPort").and_then(Value::as_i64).unwrap_or(0) != 0 {
            return Err(Refusal::host_access(
                format!("{field}.ports[{index}].hostPort"),
                "opens a port of the host's node, which virtual clusters may not; remove it",
            ));
        }
    }
    if !array(container, "/resources/claims").is_empty() {
        return Err(Refusal::not_supported(
            format!("{field}.resources.claims"),
            "ResourceClaims are not translated to the host yet; remove it",
        ));
    }
    for handler in [
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "lifecycle/postStart",
        "lifecycle/preStop",
    ] {
        for action in ["httpGet", "tcpSocket"] {
            if text(container, &format!("/{handler}/{action}/host")).is_some() {
                return Err(Refusal::host_access(
                    format!("{field}.{}.{action}.host", handler.replace('/', ".")),
                    "the host's node itself makes this connection, so it may only lead to the \
                     pod; remove it",
                ));
            }
        }
    }
    Ok(())
}

fn check_capabilities(container: &Value, field: &str) -> Result<(), Refusal> {
    let added = array(container, "/securityContext/capabilities/add");
    for (index, capability) in added.iter().enumerate() {
        if !capability
            .as_str()
            .is_some_and(|name| CAPABILITIES.contains(&name))
        {
            return Err(Refusal::host_access(
                format!("{field}.securityContext.capabilities.add[{index}]"),
                format!(
                    "{capability} is a right over the host's node, which virtual clusters may not \
                     have; allowed are {}",
                    CAPABILITIES.join(", ")
                ),
            ));
        }
    }
    Ok(())
}

fn host_process(field: &str) -> Refusal {
    Refusal::host_access(
        format!("{field}.windowsOptions.hostProcess"),
        "runs on the host's node itself, which virtual clusters may not; remove it or set it to \
         false",
    )
}
