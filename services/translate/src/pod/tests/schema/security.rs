//! What becomes of the fences between a pod and its node.

use super::fate::{Row, host_access, judged, passes};

pub(super) fn rows() -> Vec<Row> {
    [node(), contexts(), profiles()].concat()
}

fn node() -> Vec<Row> {
    [
        judged("shares it with the node", "spec.hostNetwork", [false], [true]),
        judged("shares it with the node", "spec.hostPID", [false], [true]),
        judged("shares it with the node", "spec.hostIPC", [false], [true]),
        judged("a port of the node", "C.ports[].hostPort", [0], [80]),
        host_access(
            "the node would connect to another place than the pod",
            &[
                "C.{livenessProbe,readinessProbe,startupProbe,lifecycle.postStart,lifecycle.preStop}.{httpGet,tcpSocket}.host",
            ],
        ),
        judged(
            "changes the node's kernel, but for those that each pod has for itself",
            "spec.securityContext.sysctls[].name",
            ["net.ipv4.tcp_rmem", "net/ipv4/tcp_rmem"],
            ["kernel.msgmax", "net.core.somaxconn", "vm.swappiness"],
        ),
        judged(
            "root in the container is root on the node",
            "C.securityContext.privileged",
            [false],
            [true],
        ),
        judged(
            "those that end at the pod",
            "C.securityContext.capabilities.add[]",
            ["NET_ADMIN", "SYS_PTRACE", "CHOWN"],
            ["ALL", "SYS_ADMIN", "SYS_MODULE", "CAP_SYS_ADMIN", "BPF"],
        ),
        judged(
            "shows the node's kernel, but in a user namespace of its own",
            "C.securityContext.procMount",
            ["Default"],
            ["Unmasked"],
        ),
    ]
    .concat()
}

fn contexts() -> Vec<Row> {
    passes(
        "who the container is inside itself",
        &[
            "C.securityContext.{runAsGroup,runAsNonRoot,runAsUser,readOnlyRootFilesystem,allowPrivilegeEscalation}",
            "C.securityContext.capabilities.drop[]",
            "spec.securityContext.{fsGroup,fsGroupChangePolicy,runAsGroup,runAsNonRoot,runAsUser,seLinuxChangePolicy,supplementalGroupsPolicy}",
            "spec.securityContext.supplementalGroups[]",
            "C.securityContext.windowsOptions.runAsUserName",
            "spec.securityContext.windowsOptions.runAsUserName",
            "spec.securityContext.sysctls[].value",
        ],
    )
}

fn profiles() -> Vec<Row> {
    let both = |path: &str| {
        [
            format!("C.securityContext.{path}"),
            format!("spec.securityContext.{path}"),
        ]
    };
    let mut rows = Vec::new();
    for path in both("{seccompProfile,appArmorProfile}.type") {
        rows.extend(judged(
            "a fence must stand",
            &path,
            ["RuntimeDefault", "Localhost"],
            ["Unconfined"],
        ));
    }
    for path in both("{seccompProfile,appArmorProfile}.localhostProfile") {
        rows.extend(passes(
            "one that the node's administrator put there for pods",
            &[&path],
        ));
    }
    for path in both("seLinuxOptions.type") {
        rows.extend(judged(
            "those that confine a container",
            &path,
            [
                "container_t",
                "container_init_t",
                "container_kvm_t",
                "container_engine_t",
            ],
            ["spc_t", "unconfined_t"],
        ));
    }
    for path in both("seLinuxOptions.{user,role}") {
        rows.extend(host_access("may be unconfined ones", &[&path]));
    }
    for path in both("seLinuxOptions.level") {
        rows.extend(passes("parts it from other containers", &[&path]));
    }
    for path in both("windowsOptions.hostProcess") {
        rows.extend(judged("runs on the node itself", &path, [false], [true]));
    }
    for path in both("windowsOptions.{gmsaCredentialSpec,gmsaCredentialSpecName}") {
        rows.extend(host_access("an identity of the host's domain", &[&path]));
    }
    rows
}
