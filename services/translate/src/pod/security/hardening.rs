//! The fences between a container and its node's kernel: none may be taken down.

use serde_json::Value;

use super::refusal;
use crate::{
    Refusal,
    json::{array, is_true, text},
    pod::scope::Scope,
};

/// Kernel parameters that each pod has for itself (the standard "baseline", 1.37).
const SYSCTLS: [&str; 14] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_notsent_lowat",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_slow_start_after_idle",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];
/// SELinux types that confine a container.
const SELINUX_TYPES: [&str; 4] = [
    "container_engine_t",
    "container_init_t",
    "container_kvm_t",
    "container_t",
];

/// Checks what a pod says for all of its containers.
pub(super) fn check_pod(spec: &Value) -> Result<(), Refusal> {
    check_context(spec, "spec")?;
    let sysctls = array(spec, "/securityContext/sysctls");
    for (index, sysctl) in sysctls.iter().enumerate() {
        let name = text(sysctl, "/name").unwrap_or_default();
        // As in sysctl(8), either sign parts the name.
        if !SYSCTLS.contains(&name.replace('/', ".").as_str()) {
            return Err(refusal(
                format!("spec.securityContext.sysctls[{index}].name"),
                &format!("{name:?} changes the kernel of the host's node for others too"),
                &format!("use one of {}", SYSCTLS.join(", ")),
            ));
        }
    }
    Ok(())
}

/// Checks what a container says for itself.
pub(super) fn check_container(
    container: &Value,
    field: &str,
    scope: &Scope<'_>,
) -> Result<(), Refusal> {
    check_context(container, field)?;
    // In a user namespace of its own, root in the container is nobody on the node.
    let own_users = scope.pod.pointer("/spec/hostUsers") == Some(&Value::Bool(false));
    match text(container, "/securityContext/procMount") {
        None | Some("Default") => Ok(()),
        Some(_) if own_users => Ok(()),
        Some(_) => Err(refusal(
            format!("{field}.securityContext.procMount"),
            "shows files of the kernel of the host's node",
            "use \"Default\", or set spec.hostUsers to false",
        )),
    }
}

/// What pods and containers say alike in their `securityContext`.
fn check_context(holder: &Value, field: &str) -> Result<(), Refusal> {
    for profile in ["seccompProfile", "appArmorProfile"] {
        match text(holder, &format!("/securityContext/{profile}/type")) {
            // A profile on the node is one that its administrator put there for pods.
            None | Some("RuntimeDefault" | "Localhost") => {}
            Some(_) => {
                return Err(refusal(
                    format!("{field}.securityContext.{profile}.type"),
                    "takes down a fence between the container and the host's node",
                    "use \"RuntimeDefault\" or \"Localhost\"",
                ));
            }
        }
    }
    check_selinux(holder, field)?;
    let windows = |key: &str| format!("{field}.securityContext.windowsOptions.{key}");
    if is_true(holder, "/securityContext/windowsOptions/hostProcess") {
        return Err(refusal(
            windows("hostProcess"),
            "runs on the host's node itself",
            "remove it or set it to false",
        ));
    }
    for key in ["gmsaCredentialSpec", "gmsaCredentialSpecName"] {
        if text(holder, &format!("/securityContext/windowsOptions/{key}")).is_some() {
            return Err(refusal(
                windows(key),
                "is an identity of the host's domain",
                "remove it",
            ));
        }
    }
    Ok(())
}

fn check_selinux(holder: &Value, field: &str) -> Result<(), Refusal> {
    for key in ["type", "user", "role"] {
        let value = text(holder, &format!("/securityContext/seLinuxOptions/{key}"));
        let confines = value.is_none_or(|value| key == "type" && SELINUX_TYPES.contains(&value));
        if !confines {
            return Err(refusal(
                format!("{field}.securityContext.seLinuxOptions.{key}"),
                "can take down a fence between the container and the host's node",
                &format!(
                    "use only level, and as type one of {}",
                    SELINUX_TYPES.join(", ")
                ),
            ));
        }
    }
    Ok(())
}
