//! What would reach the host's nodes, and is therefore refused.
//!
//! The line is the Pod Security Standard "baseline" (1.37), and beyond it what makes the node itself
//! act for the pod: volumes and connections that it opens with its own rights, identities of the
//! host's domain. It is held here and not left to the host's pod security admission, which is off
//! where a namespace bears no label. An administrator who labels the host namespace
//! `pod-security.kubernetes.io/enforce: privileged` lifts it ([`HostAccess::Granted`]).

use serde_json::Value;

use super::scope::Scope;
use crate::{
    Refusal,
    context::HostAccess,
    json::{array, at, is_true, text},
};

mod hardening;

/// Capabilities that end at the pod: those of the standard "baseline", and those over the pod's own
/// network and processes (`kubectl debug` asks for SYS_PTRACE). With others (`SYS_ADMIN`, `SYS_MODULE`, ...) root in a container is root on its node.
const CAPABILITIES: [&str; 16] = [
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
    "SYS_PTRACE",
];

/// The refusal of something that reaches the host: what it does, and what to do instead.
pub(super) fn refusal(field: impl Into<String>, does: &str, instead: &str) -> Refusal {
    Refusal::host_access(
        field,
        format!(
            "{does}, which this virtual cluster may not; {instead}, or have the host's \
             administrator label the host namespace pod-security.kubernetes.io/enforce=privileged"
        ),
    )
}

/// Checks the fields of the pod itself.
pub(super) fn check_pod(spec: &Value, scope: &Scope<'_>) -> Result<(), Refusal> {
    match scope.context.host_access {
        HostAccess::Granted => {}
        HostAccess::Refused => {
            check_namespaces(spec)?;
            hardening::check_pod(spec)?;
        }
    }
    for (path, kind) in [
        ("schedulingGroup", "PodGroups"),
        ("workloadRef", "Workloads"),
    ] {
        let value = at(spec, &format!("/{path}")).unwrap_or(&Value::Null);
        let empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        if !empty {
            return Err(Refusal::not_supported(
                format!("spec.{}", path.replace('/', ".")),
                format!("{kind} are not translated to the host yet; remove it"),
            ));
        }
    }
    Ok(())
}

fn check_namespaces(spec: &Value) -> Result<(), Refusal> {
    for (key, what) in [
        ("hostNetwork", "network"),
        ("hostPID", "processes"),
        ("hostIPC", "inter-process communication"),
    ] {
        if is_true(spec, &format!("/{key}")) {
            return Err(refusal(
                format!("spec.{key}"),
                &format!("shares the {what} of the host's node"),
                "remove it or set it to false",
            ));
        }
    }
    Ok(())
}

/// Checks one container of any sort.
pub(super) fn check_container(
    container: &Value,
    field: &str,
    scope: &Scope<'_>,
) -> Result<(), Refusal> {
    match scope.context.host_access {
        HostAccess::Granted => {}
        HostAccess::Refused => {
            if is_true(container, "/securityContext/privileged") {
                return Err(refusal(
                    format!("{field}.securityContext.privileged"),
                    "has all rights on the host's node",
                    "remove it or set it to false",
                ));
            }
            check_capabilities(container, field)?;
            hardening::check_container(container, field, scope)?;
            check_connections(container, field)?;
        }
    }
    Ok(())
}

/// Ports that the node opens, and connections that it makes.
fn check_connections(container: &Value, field: &str) -> Result<(), Refusal> {
    for (index, port) in array(container, "/ports").iter().enumerate() {
        if port.get("hostPort").and_then(Value::as_i64).unwrap_or(0) != 0 {
            return Err(refusal(
                format!("{field}.ports[{index}].hostPort"),
                "opens a port of the host's node",
                "remove it",
            ));
        }
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
                return Err(refusal(
                    format!("{field}.{}.{action}.host", handler.replace('/', ".")),
                    "has the host's node itself connect to another place than the pod",
                    "remove it",
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
            return Err(refusal(
                format!("{field}.securityContext.capabilities.add[{index}]"),
                &format!("{capability} is a right over the host's node"),
                &format!("use one of {}", CAPABILITIES.join(", ")),
            ));
        }
    }
    Ok(())
}
